"""The refusals of DynamoDB and its streams that more than one place makes."""

from runtime.local.errors import Refused


def invalid(message: str) -> Refused:
    return Refused("ValidationException", message)


def unsupported(what: str) -> Refused:
    """Something that AWS has and this endpoint has not."""
    return invalid(f"This endpoint does not support {what}.")


def serialization(message: str) -> Refused:
    return Refused("SerializationException", message)


def not_found(what: str) -> Refused:
    return Refused("ResourceNotFoundException", f"Requested resource not found{what}")


def in_use(message: str) -> Refused:
    return Refused("ResourceInUseException", message)
