"""The hot operations: the few requests that make up almost all of a poller's work, and the two roads that they can take.

Both take the body of a request as JSON and give the body of the answer, so what a source reads is the same on either.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from pollers.aws.lean.connection import Content


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HotKind:
    """One row for each, and the same object everywhere: it is looked up for every request."""

    service: str
    """botocore's name of the service."""
    name: str
    """As the service calls the operation."""
    method: str
    """As a client of the SDK calls it."""
    repeatable: bool
    """Acting on one request twice does no harm, so one that a closed connection swallowed is sent again at once."""
    retries: bool
    """As the user's settings say; polls go without: their back-off is the mapping's own."""


RECEIVE: Final = HotKind(service="sqs", name="ReceiveMessage", method="receive_message", repeatable=False, retries=False)
"""One that is repeated after a lost answer strands what the first one was given."""
DELETE: Final = HotKind(service="sqs", name="DeleteMessageBatch", method="delete_message_batch", repeatable=True, retries=True)
EXTEND: Final = HotKind(
    service="sqs",
    name="ChangeMessageVisibilityBatch",
    method="change_message_visibility_batch",
    repeatable=True,
    retries=True,
)
KINESIS_PAGE: Final = HotKind(service="kinesis", name="GetRecords", method="get_records", repeatable=True, retries=False)
DYNAMODB_PAGE: Final = HotKind(service="dynamodbstreams", name="GetRecords", method="get_records", repeatable=True, retries=False)

STATE_WRITE: Final = HotKind(service="dynamodb", name="UpdateItem", method="update_item", repeatable=True, retries=True)
"""Of a lease: conditional, and known again by its token when it is acted on twice."""
STATE_READ: Final = HotKind(service="dynamodb", name="Scan", method="scan", repeatable=True, retries=True)
STATE_FIND: Final = HotKind(service="dynamodb", name="Query", method="query", repeatable=True, retries=True)
STATE_LOOK: Final = HotKind(service="dynamodb", name="GetItem", method="get_item", repeatable=True, retries=True)

BODY: Final = "Body"
"""Where the SDK's parser leaves what it did not parse (`pollers.aws.clients`)."""
RAW_SHAPES: Final = frozenset(
    {
        "ReceiveMessageResult",
        "DeleteMessageBatchResult",
        "ChangeMessageVisibilityBatchResult",
        "GetRecordsOutput",
        "UpdateItemOutput",
        "ScanOutput",
        "QueryOutput",
        "GetItemOutput",
    }
)
"""The answers of hot operations, as botocore's models call them."""


class HotOperation(Protocol):
    """Safe for concurrent calls."""

    async def ask(self, body: bytes, *, repeatable: bool = False) -> Content:
        """The body of the answer. Raises what `pollers.aws.errors` translates.

        `repeatable`: this one may be acted on twice, whatever the kind says.
        """
        ...


class SdkOperation:
    """By the SDK's own client."""

    def __init__(self, client: Any, kind: HotKind) -> None:
        self._method = getattr(client, kind.method)

    async def ask(self, body: bytes, *, repeatable: bool = False) -> Content:  # noqa: ARG002  the SDK repeats by its own settings
        answer = await self._method(**msgspec.json.decode(body))
        content: bytes = answer[BODY]
        return content
