"""From a configuration to the store: which table a scope has, in which region, through which client."""

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

from runtime.config.worker import DynamodbState
from runtime.stores.dynamodb.api import CapacityUsed, DynamodbApi
from runtime.stores.dynamodb.calls import TableCalls
from runtime.stores.dynamodb.schema import TableSchema
from runtime.stores.dynamodb.scoped import ScopedTable
from runtime.stores.dynamodb.store import DynamodbStore
from runtime.stores.dynamodb.table import LeaseTable

Connect = Callable[[str], Awaitable[DynamodbApi]]
"""Gives the client of a region, made on first use."""
_AT_ONCE: Final = 256
"""Tokens for which the system is asked together."""
_DIGITS: Final = 16


def dynamodb_store(
    state: DynamodbState,
    connect: Connect,
    *,
    worker: str,
    capacity_used: CapacityUsed,
    starts: Mapping[str, float],
    clock: Callable[[], float] = time.time,
    tokens: Callable[[], str] | None = None,
) -> DynamodbStore:
    """`starts`: by the name of a mapping its StartingPositionTimestamp, where it has one. `clock`: seconds since the epoch.

    `tokens` gives texts, none twice; at random if it is not said.
    """
    new_token = tokens or _random_tokens().__next__

    def open_table(scope: str) -> ScopedTable:
        mapping, _, arn = scope.partition(" ")
        region = state.region or arn.split(":")[3]
        calls = TableCalls(lambda: connect(region), table=state.table_of(mapping), region=region, capacity_used=capacity_used)
        schema = TableSchema(calls, create=state.create)

        async def join(schema: TableSchema) -> None:
            await schema.join(worker=worker, milliseconds=round(clock() * 1000))

        return ScopedTable(scope, LeaseTable(calls, tokens=new_token), schema, join=join, start=starts.get(mapping))

    return DynamodbStore(open_table)


def _random_tokens() -> Iterator[str]:
    while True:
        digits = os.urandom(_AT_ONCE * _DIGITS // 2).hex()
        for start in range(0, len(digits), _DIGITS):
            yield digits[start : start + _DIGITS]
