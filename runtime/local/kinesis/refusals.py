"""The errors of Kinesis with AWS's wording. All have status 400, but for InternalFailure and ServiceUnavailable."""

from typing import Final

from runtime.local.errors import Refused
from runtime.local.faults import Kind


def refusal(shape: str, message: str) -> Refused:
    return Refused(shape, message, status=400)


def invalid(message: str) -> Refused:
    return refusal("InvalidArgumentException", message)


def not_found(message: str) -> Refused:
    return refusal("ResourceNotFoundException", message)


def in_use(message: str) -> Refused:
    return refusal("ResourceInUseException", message)


def no_stream(name: str, account: str) -> Refused:
    return not_found(f"Stream {name} under account {account} not found.")


def no_shard(shard: str, stream: str, account: str) -> Refused:
    return not_found(f"Shard {shard} in stream {stream} under account {account} does not exist")


def unsuitable(value: object, parameter: str, constraint: str) -> Refused:
    """A ValidationException. `parameter` as AWS writes it there, with a small first letter."""
    shown = "null" if value is None else f"'{value}'"
    message = f"1 validation error detected: Value {shown} at '{parameter}' failed to satisfy constraint: {constraint}"
    return refusal("ValidationException", message)


def misread(parameter: str, expected: str) -> Refused:
    return refusal("SerializationException", f"{parameter} is not {expected}")


def rate_exceeded(shard: str, stream: str, account: str) -> Refused:
    return refusal(
        "ProvisionedThroughputExceededException", f"Rate exceeded for shard {shard} in stream {stream} under account {account}."
    )


_SHARD_OPERATIONS: Final = frozenset({"GetRecords", "GetShardIterator", "PutRecord", "PutRecords"})
"""Those that are limited for each shard; the others have limits for each stream or account."""
_ANSWERS: Final[dict[Kind, tuple[str, str, int]]] = {
    Kind.ERROR500: ("InternalFailure", "Internal Service Failure", 500),
    Kind.ERROR503: ("ServiceUnavailable", "The request has failed due to a temporary failure of the server.", 503),
    Kind.ACCESS_DENIED: ("AccessDeniedException", "User is not authorized to perform this action on this resource.", 400),
    Kind.EXPIRED_TOKEN: ("ExpiredTokenException", "The security token included in the request is expired", 400),
}


def fault_refusal(kind: Kind, operation: str) -> Refused | None:
    """What a fault answers with, for kinds that answer with an error and need to know nothing more of the request."""
    if kind is Kind.THROTTLE and operation not in _SHARD_OPERATIONS:
        return refusal("LimitExceededException", f"Rate exceeded for {operation}.")
    if kind not in _ANSWERS:
        return None
    shape, message, status = _ANSWERS[kind]
    return Refused(shape, message, status=status)
