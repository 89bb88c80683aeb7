"""Where leases are kept: in memory, or in a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import assert_never

from runtime.config.worker import MemoryState, SqliteState
from runtime.leases import LeaseStore
from runtime.stores.memory import MemoryStore
from runtime.stores.sqlite import SqliteStore


@asynccontextmanager
async def open_store(state: MemoryState | SqliteState) -> AsyncIterator[LeaseStore]:
    """The store that a configuration names, closed at the end of the block. Raises StateError if it cannot be used."""
    match state:
        case MemoryState():
            yield MemoryStore()
        case SqliteState(path=path):
            async with SqliteStore.open(path) as store:
                yield store
        case _:
            assert_never(state)
