"""The client of the product takes nothing for an answer of DynamoDB that is none: an empty table would be a stream begun anew."""

from typing import Any

import pytest
from msgspec.json import decode, encode

from pollers.record import TRIM_HORIZON
from runtime.config.worker import DynamodbState
from runtime.leases import Lease, StateError
from runtime.stores.dynamodb.client import StateClient
from runtime.stores.dynamodb.opening import dynamodb_store
from runtime.stores.dynamodb.store import DynamodbStore
from tests.fakes.dynamodb_table import FakeDynamodb

SCOPE = "orders arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
NO_ANSWERS = [b"{}", b"[]", b"", b"<html>", b'{"message":"log in first"}']


class _Road:
    """A hot operation that says what it is told to, or what the table says."""

    def __init__(self, table: FakeDynamodb, operation: str) -> None:
        self._table = table
        self._operation = operation
        self.says: bytes | None = None

    async def ask(self, body: bytes, *, repeatable: bool = False) -> bytes:  # noqa: ARG002  of the Protocol
        return self.says if self.says is not None else encode(self._table.carry_out(self._operation, decode(body)))


def store_behind(roads: dict[str, _Road], table: FakeDynamodb) -> DynamodbStore:
    async def connect(_region: str) -> Any:
        return StateClient(table, update=roads["UpdateItem"], scan=roads["Scan"], query=roads["Query"], get=roads["GetItem"])

    return dynamodb_store(
        DynamodbState(table="esm-{mapping}", create=True), connect, worker="w1", capacity_used=lambda *_: None, starts={}
    )


@pytest.mark.parametrize("says", NO_ANSWERS)
@pytest.mark.parametrize("operation", ["Scan", "UpdateItem", "Query"])
async def test_what_is_no_answer_is_told_and_asked_again(operation: str, says: bytes) -> None:
    table = FakeDynamodb()
    roads = {name: _Road(table, name) for name in ("Scan", "UpdateItem", "Query", "GetItem")}
    store = store_behind(roads, table)
    await store.create([Lease(scope=SCOPE, shard="shard-1", checkpoint=TRIM_HORIZON)])
    (lease,) = await store.load(SCOPE)

    async def ask() -> object:
        match operation:
            case "Scan":
                return await store.load(SCOPE)
            case "UpdateItem":
                return await store.take(lease, "w1")
            case _:
                return await store.fleet(SCOPE).owned("w1", known=())

    roads[operation].says = says
    with pytest.raises(StateError, match="could not be understood"):
        await ask()
    roads[operation].says = None
    assert await ask() is not None
    assert [row.shard for row in await store.load(SCOPE)] == ["shard-1"]
