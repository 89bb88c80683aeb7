"""Leases that end with the process: for trying things out, and for tests in virtual time.

One store may be shared by any number of simulated workers. A call gives way once, before it looks at anything, and then does all
it does in one step: calls interleave as they would over a network, and each is atomic.
"""

from collections.abc import Mapping, Sequence

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from pollers.record import Position
from runtime.leases import Lease


class MemoryStore:
    """A LeaseStore for the tasks of one event loop."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Lease] = {}
        self._written: dict[tuple[str, str], float] = {}

    async def load(self, scope: str) -> list[Lease]:
        """By shard."""
        await anyio.lowlevel.checkpoint()
        return [row for key, row in sorted(self._rows.items()) if key[0] == scope]

    async def silence(self, scope: str) -> Mapping[str, float]:
        await anyio.lowlevel.checkpoint()
        now = anyio.current_time()
        return {key[1]: now - written for key, written in self._written.items() if key[0] == scope}

    async def create(self, leases: Sequence[Lease]) -> None:
        await anyio.lowlevel.checkpoint()
        for lease in leases:
            self._rows.setdefault(_key(lease), lease)

    async def take(self, lease: Lease, owner: str) -> Lease | None:
        await anyio.lowlevel.checkpoint()
        row = self._rows.get(_key(lease))
        if row is None or row.counter != lease.counter:
            return None
        return self._write(replace(row, owner=owner, wanted_by=None, counter=row.counter + 1))

    async def renew(self, leases: Sequence[Lease]) -> list[Lease | None]:
        await anyio.lowlevel.checkpoint()
        return [self._write(replace(row, counter=row.counter + 1)) if (row := self._held(lease)) else None for lease in leases]

    async def checkpoint(self, lease: Lease, position: Position, *, window: str | None = None) -> Lease | None:
        """Raises ValueError if the position lies before the lease's: a bug of the caller."""
        if position.order < lease.checkpoint.order:
            raise ValueError(f"the checkpoint of {lease.shard} would go back from {lease.checkpoint} to {position}")
        await anyio.lowlevel.checkpoint()
        row = self._held(lease)
        return self._write(replace(row, checkpoint=position, window=window, counter=row.counter + 1)) if row else None

    async def release(self, lease: Lease) -> bool:
        await anyio.lowlevel.checkpoint()
        row = self._held(lease)
        if row is None:
            return False
        self._write(replace(row, owner=None, counter=row.counter + 1))
        return True

    async def want(self, lease: Lease, worker: str) -> bool:
        await anyio.lowlevel.checkpoint()
        row = self._rows.get(_key(lease))
        if row is None or row.owner != lease.owner or row.wanted_by is not None:
            return False
        self._rows[_key(row)] = replace(row, wanted_by=worker)  # no sign of life of its owner
        return True

    async def delete(self, leases: Sequence[Lease]) -> None:
        await anyio.lowlevel.checkpoint()
        for lease in leases:
            row = self._rows.get(_key(lease))
            if row is not None and row.counter == lease.counter:
                del self._rows[_key(lease)]
                self._written.pop(_key(lease), None)

    def _held(self, lease: Lease) -> Lease | None:
        """The row as it is now, if owner and counter are as last seen."""
        row = self._rows.get(_key(lease))
        return row if row is not None and (row.owner, row.counter) == (lease.owner, lease.counter) else None

    def _write(self, row: Lease) -> Lease:
        self._rows[_key(row)] = row
        self._written[_key(row)] = anyio.current_time()
        return row


def _key(lease: Lease) -> tuple[str, str]:
    return lease.scope, lease.shard
