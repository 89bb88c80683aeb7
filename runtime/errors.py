"""The root of the errors that a user can do something about."""


class UserError(Exception):
    """A command ends with it. The message is for the user, one line per problem; where it was raised is of no interest."""
