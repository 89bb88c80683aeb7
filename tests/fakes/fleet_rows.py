"""The rows of a fleet beside a MemoryStore, for workers in virtual time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import count

import anyio.lowlevel
from msgspec.structs import replace

from runtime.core.lease import Lease
from runtime.fleet import LeaderLock, Survey
from runtime.stores.memory import MemoryStore


@dataclass
class MemoryFleet:
    """FleetRows. Each call gives way once, and then does what it does in one step."""

    store: MemoryStore
    scope: str
    workers: dict[str, int] = field(default_factory=dict)
    held_lock: LeaderLock | None = None
    children: dict[str, tuple[str, ...]] = field(default_factory=dict)
    versions: "count[int]" = field(default_factory=count)

    async def owned(self, worker: str, *, known: Collection[str]) -> list[Lease]:
        rows = await self.store.load(self.scope)
        return [row for row in rows if (row.wanted_by or row.owner) == worker and row.shard not in known]

    async def find(self, shards: Collection[str]) -> list[Lease]:
        return [row for row in await self.store.load(self.scope) if row.shard in shards]

    async def survey(self) -> Survey:
        return Survey(leases=tuple(await self.store.load(self.scope)), workers=dict(self.workers))

    async def assign(self, lease: Lease, to: str) -> bool:
        await anyio.lowlevel.checkpoint()
        row = self.store._rows.get((lease.scope, lease.shard))
        if row is None or (row.owner, row.wanted_by) != (lease.owner, lease.wanted_by):
            return False
        self.store._rows[lease.scope, lease.shard] = replace(row, owner=None, wanted_by=to, counter=row.counter + 1)
        return True

    async def ask(self, lease: Lease, to: str) -> bool:
        return await self.store.want(lease, to)

    async def describe_children(self, shard: str, children: Sequence[str]) -> None:
        await anyio.lowlevel.checkpoint()
        assert all((self.scope, child) in self.store._rows for child in children), "children before their names"
        self.children[shard] = tuple(children)

    async def lock(self) -> LeaderLock | None:
        await anyio.lowlevel.checkpoint()
        return self.held_lock

    async def acquire(self, seen: LeaderLock | None, worker: str, *, lasts: float) -> LeaderLock | None:
        await anyio.lowlevel.checkpoint()
        if self.held_lock != seen:
            return None
        self.held_lock = LeaderLock(owner=worker, version=str(next(self.versions)), lasts=lasts, tied=True)
        return self.held_lock

    async def beat(self, lock: LeaderLock) -> LeaderLock | None:
        await anyio.lowlevel.checkpoint()
        if self.held_lock is None or (self.held_lock.owner, self.held_lock.version) != (lock.owner, lock.version):
            return None
        self.held_lock = replace(lock, version=str(next(self.versions)))
        return self.held_lock

    async def unlock(self, lock: LeaderLock) -> None:
        await anyio.lowlevel.checkpoint()
        if self.held_lock == lock:
            self.held_lock = replace(lock, released=True)

    async def report(self, worker: str, at: int) -> None:
        await anyio.lowlevel.checkpoint()
        self.workers[worker] = at

    async def forget(self, worker: str) -> None:
        await anyio.lowlevel.checkpoint()
        self.workers.pop(worker, None)
