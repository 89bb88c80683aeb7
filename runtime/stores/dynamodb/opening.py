"""From a configuration to the store: which table a scope has, in which region, through which client."""

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping

from runtime.config.worker import DynamodbState
from runtime.stores.dynamodb.api import CapacityUsed, DynamodbApi
from runtime.stores.dynamodb.calls import TableCalls
from runtime.stores.dynamodb.schema import TableSchema
from runtime.stores.dynamodb.scoped import ScopedTable
from runtime.stores.dynamodb.store import DynamodbStore
from runtime.stores.dynamodb.table import LeaseTable

Connect = Callable[[str], Awaitable[DynamodbApi]]
"""Gives the client of a region, made on first use."""


def dynamodb_store(
    state: DynamodbState,
    connect: Connect,
    *,
    worker: str,
    capacity_used: CapacityUsed,
    starts: Mapping[str, float],
    clock: Callable[[], float] = time.time,
    tokens: Callable[[], str] = lambda: secrets.token_hex(8),
) -> DynamodbStore:
    """`starts`: by the name of a mapping its StartingPositionTimestamp, where it has one. `clock`: seconds since the epoch."""

    def open_table(scope: str) -> ScopedTable:
        mapping, _, arn = scope.partition(" ")
        region = state.region or arn.split(":")[3]
        calls = TableCalls(lambda: connect(region), table=state.table_of(mapping), region=region, capacity_used=capacity_used)
        schema = TableSchema(calls, create=state.create)

        async def join(schema: TableSchema) -> None:
            await schema.join(worker=worker, milliseconds=round(clock() * 1000))

        return ScopedTable(scope, LeaseTable(calls, tokens=tokens), schema, join=join, start=starts.get(mapping))

    return DynamodbStore(open_table)
