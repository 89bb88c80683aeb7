"""The client of the product: renewals, checkpoints and rounds by the road of hot requests, the rest by the SDK's own client.

A worker with a thousand shards renews three hundred times a second.
"""

from typing import Any, Final

import msgspec

from pollers.aws.answers import read_content
from pollers.aws.clients import AwsClients
from pollers.aws.hot import STATE_FIND, STATE_LOOK, STATE_READ, STATE_WRITE, HotOperation
from runtime.stores.dynamodb.api import Answer


class _Written(msgspec.Struct, rename="pascal"):
    """A row after an UpdateItem. It stays text, for a reader that knows most of it."""

    attributes: msgspec.Raw
    consumed_capacity: dict[str, Any] = {}


class _Scanned(msgspec.Struct, rename="pascal"):
    """A page of a table, likewise."""

    items: list[msgspec.Raw]
    last_evaluated_key: dict[str, Any] = {}
    consumed_capacity: dict[str, Any] = {}


_DECODER: Final = msgspec.json.Decoder(dict[str, Any])
_WRITTEN: Final = msgspec.json.Decoder(_Written)
_SCANNED: Final = msgspec.json.Decoder(_Scanned)
_SAMPLE: Final = {"TableName": "esm", "Key": {"leaseKey": {"S": "shardId-000000000000"}}, "ReturnConsumedCapacity": "TOTAL"}


async def dynamodb_client(clients: AwsClients, region: str) -> "StateClient":
    """Made on first use, and once. Raises SourceError."""
    return StateClient(
        await clients.client("dynamodb", region, retries=True),
        update=await clients.operation(STATE_WRITE, region, _SAMPLE),
        scan=await clients.operation(STATE_READ, region, {"TableName": "esm"}),
        query=await clients.operation(STATE_FIND, region, {"TableName": "esm"}),
        get=await clients.operation(STATE_LOOK, region, _SAMPLE),
    )


class StateClient:
    """A DynamodbApi. What comes by the hot road has binary values as base64, as on the wire.

    Rows that were written or scanned are still their JSON. Raises ValueError for what is no answer of DynamoDB: nothing that a
    proxy says is an empty table.
    """

    def __init__(self, client: Any, *, update: HotOperation, scan: HotOperation, query: HotOperation, get: HotOperation) -> None:
        self._client = client
        self._update = update
        self._scan = scan
        self._query = query
        self._get = get

    async def update_item(self, **request: Any) -> Answer:
        content = await self._update.ask(msgspec.json.encode(request))
        if "ReturnValues" not in request:
            return read_content(content, _DECODER)
        written = _WRITTEN.decode(content)
        return {"Attributes": written.attributes, "ConsumedCapacity": written.consumed_capacity}

    async def scan(self, **request: Any) -> Answer:
        page = _SCANNED.decode(await self._scan.ask(msgspec.json.encode(request)))
        return {"Items": page.items, "LastEvaluatedKey": page.last_evaluated_key, "ConsumedCapacity": page.consumed_capacity}

    async def describe_table(self, **request: Any) -> Answer:
        return self._answer(await self._client.describe_table(**request))

    async def create_table(self, **request: Any) -> Answer:
        return self._answer(await self._client.create_table(**request))

    async def update_table(self, **request: Any) -> Answer:
        return self._answer(await self._client.update_table(**request))

    async def get_item(self, **request: Any) -> Answer:
        return read_content(await self._get.ask(msgspec.json.encode(request)), _DECODER)

    async def put_item(self, **request: Any) -> Answer:
        return self._answer(await self._client.put_item(**request))

    async def delete_item(self, **request: Any) -> Answer:
        return self._answer(await self._client.delete_item(**request))

    async def transact_write_items(self, **request: Any) -> Answer:
        return self._answer(await self._client.transact_write_items(**request))

    async def query(self, **request: Any) -> Answer:
        answer = read_content(await self._query.ask(msgspec.json.encode(request)), _DECODER)
        if "Items" not in answer:
            raise ValueError("Items is missing")
        return answer

    @staticmethod
    def _answer(answer: Any) -> Answer:
        found: Answer = answer
        return found
