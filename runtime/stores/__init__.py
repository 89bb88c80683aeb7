"""Where leases are kept: in memory, in a file, or in DynamoDB."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import assert_never

from runtime.config.worker import DynamodbState, MemoryState, SqliteState, State
from runtime.leases import LeaseStore
from runtime.stores.dynamodb.api import CapacityUsed
from runtime.stores.dynamodb.opening import Connect, dynamodb_store
from runtime.stores.memory import MemoryStore
from runtime.stores.sqlite import SqliteStore


@asynccontextmanager
async def open_store(
    state: State, *, connect: Connect, worker: str, capacity_used: CapacityUsed, starts: Mapping[str, float]
) -> AsyncIterator[LeaseStore]:
    """The store that a configuration names, closed at the end of the block. Raises StateError if it cannot be used.

    For DynamoDB: `connect` gives the client of a region, `starts` the StartingPositionTimestamp of a mapping by its name.
    """
    match state:
        case MemoryState():
            yield MemoryStore()
        case SqliteState(path=path):
            async with SqliteStore.open(path) as store:
                yield store
        case DynamodbState():
            yield dynamodb_store(state, connect, worker=worker, capacity_used=capacity_used, starts=starts)
        case _:
            assert_never(state)
