"""The client of the state tables: what is asked all day goes as hot operations, the rest by the SDK's own client.

A thousand leases are three hundred updates a second, and the SDK spends over a millisecond of CPU on each.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from pollers.aws.clients import AwsClients
from pollers.aws.hot import DYNAMODB_GET, DYNAMODB_QUERY, DYNAMODB_SCAN, DYNAMODB_UPDATE, HotKind, HotOperation
from runtime.stores.dynamodb.api import Answer, DynamodbApi

_SAMPLES: Final[dict[HotKind, dict[str, Any]]] = {
    DYNAMODB_UPDATE: {"TableName": "t", "Key": {"k": {"S": "v"}}},
    DYNAMODB_GET: {"TableName": "t", "Key": {"k": {"S": "v"}}},
    DYNAMODB_QUERY: {"TableName": "t"},
    DYNAMODB_SCAN: {"TableName": "t"},
}


class HotDynamodb:
    """A `DynamodbApi`. Answers of hot operations have binary as base64, as it is on the wire."""

    def __init__(self, clients: AwsClients, client: DynamodbApi, region: str) -> None:
        self._clients = clients
        self._client = client
        self._region = region
        self._operations: dict[str, HotOperation] = {}

    async def update_item(self, **request: Any) -> Answer:
        return await self._ask(DYNAMODB_UPDATE, request)

    async def get_item(self, **request: Any) -> Answer:
        return await self._ask(DYNAMODB_GET, request)

    async def query(self, **request: Any) -> Answer:
        return await self._ask(DYNAMODB_QUERY, request)

    async def scan(self, **request: Any) -> Answer:
        return await self._ask(DYNAMODB_SCAN, request)

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Answer]]:
        """The others are the SDK's."""
        found: Callable[..., Awaitable[Answer]] = getattr(self._client, method)
        return found

    async def _ask(self, kind: HotKind, request: dict[str, Any]) -> Answer:
        operation = self._operations.get(kind.name)
        if operation is None:
            operation = self._operations[kind.name] = await self._clients.operation(kind, self._region, _SAMPLES[kind])
        answer: Answer = msgspec.json.decode(await operation.ask(msgspec.json.encode(request)))
        return answer


async def connect_dynamodb(clients: AwsClients, region: str) -> Any:
    """A `DynamodbApi`. Raises SourceError."""
    return HotDynamodb(clients, await clients.client("dynamodb", region, retries=True), region)
