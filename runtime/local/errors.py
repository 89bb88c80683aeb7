"""How the endpoint refuses: AWS's error names, and for SQS the older names that clients still see, and HTTP statuses.

SQS was a `query` service before it spoke JSON. Its JSON errors carry the shape's name in `__type` and the old code in the header
`x-amzn-query-error: <code>;<Sender|Receiver>`, which is the code that botocore and others show. Statuses are those of the old
protocol, which public recordings of the JSON protocol confirm (403 for PurgeQueueInProgress). Other services have no such past:
their shapes are not in the table, and how a refusal is shown is theirs (`service.Service.refuse`).
"""

from collections.abc import Mapping
from typing import Any, Final

SQS: Final = "com.amazonaws.sqs#"
COMMON: Final = "com.amazon.coral.service#"

_PREFIX: Final = "AWS.SimpleQueueService."
_TABLE: Final[dict[str, tuple[str, str, int]]] = {
    # shape: (namespace, code in the query protocol, status)
    "BatchEntryIdsNotDistinct": (SQS, _PREFIX + "BatchEntryIdsNotDistinct", 400),
    "BatchRequestTooLong": (SQS, _PREFIX + "BatchRequestTooLong", 400),
    "EmptyBatchRequest": (SQS, _PREFIX + "EmptyBatchRequest", 400),
    "InvalidAddress": (SQS, "InvalidAddress", 404),
    "InvalidAttributeName": (SQS, "InvalidAttributeName", 400),
    "InvalidAttributeValue": (SQS, "InvalidAttributeValue", 400),
    "InvalidBatchEntryId": (SQS, _PREFIX + "InvalidBatchEntryId", 400),
    "InvalidMessageContents": (SQS, "InvalidMessageContents", 400),
    "MessageNotInflight": (SQS, _PREFIX + "MessageNotInflight", 400),
    "OverLimit": (SQS, "OverLimit", 403),
    "PurgeQueueInProgress": (SQS, _PREFIX + "PurgeQueueInProgress", 403),
    "QueueDeletedRecently": (SQS, _PREFIX + "QueueDeletedRecently", 400),
    "QueueDoesNotExist": (SQS, _PREFIX + "NonExistentQueue", 400),
    "QueueNameExists": (SQS, "QueueAlreadyExists", 400),
    "ReceiptHandleIsInvalid": (SQS, "ReceiptHandleIsInvalid", 404),
    "RequestThrottled": (SQS, "RequestThrottled", 403),
    "TooManyEntriesInBatchRequest": (SQS, _PREFIX + "TooManyEntriesInBatchRequest", 400),
    "UnsupportedOperation": (SQS, _PREFIX + "UnsupportedOperation", 400),
    "AccessDeniedException": (COMMON, "AccessDenied", 403),
    "ExpiredTokenException": (COMMON, "ExpiredToken", 403),
    "InternalFailure": (COMMON, "InternalFailure", 500),
    "InvalidParameterValueException": (COMMON, "InvalidParameterValue", 400),
    "MissingAuthenticationTokenException": (COMMON, "MissingAuthenticationToken", 403),
    "MissingRequiredParameterException": (COMMON, "MissingParameter", 400),
    "SerializationException": (COMMON, "MalformedInput", 400),
    "ServiceUnavailable": (COMMON, "ServiceUnavailable", 503),
    "UnknownOperationException": (COMMON, "InvalidAction", 400),
}


class Refused(Exception):
    """The endpoint refuses a request, or one entry of a batch, as AWS would.

    `status` is that of the table, or 400, unless given. `more` are members of the error beside its message.
    """

    def __init__(self, shape: str, message: str, *, status: int | None = None, more: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.shape = shape
        self.message = message
        self.more = more or {}
        self._namespace, self.code, known = _TABLE.get(shape, ("", shape, 400))
        self.status = known if status is None else status

    @property
    def sender(self) -> bool:
        """Whether the caller is at fault, not the service."""
        return self.status < 500  # noqa: PLR2004 - the border between client and server errors

    @property
    def type(self) -> str:
        """What stands in `__type`."""
        return self._namespace + self.shape

    @property
    def query_error(self) -> str:
        """What stands in `x-amzn-query-error`."""
        return f"{self.code};{'Sender' if self.sender else 'Receiver'}"


def invalid(message: str) -> Refused:
    return Refused("InvalidParameterValueException", message)


def invalid_value(value: object, parameter: str, reason: str) -> Refused:
    return invalid(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def missing(parameter: str) -> Refused:
    return Refused("MissingRequiredParameterException", f"The request must contain the parameter {parameter}.")
