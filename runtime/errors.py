"""The root of the errors that a user can do something about, and what a task group wraps them in."""


class UserError(Exception):
    """A command ends with it. The message is for the user, one line per problem; where it was raised is of no interest."""


def leaves(error: BaseException) -> list[BaseException]:
    """The errors themselves, of a group in a group, too."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]
