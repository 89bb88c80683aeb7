"""The rows of a fleet in the table of its mapping: a `runtime.fleet.FleetRows`."""

from collections.abc import Callable, Collection, Sequence

from runtime.core.lease import Lease
from runtime.fleet import LeaderLock, Survey
from runtime.stores.dynamodb import changes
from runtime.stores.dynamodb.fleet import WorkerRow
from runtime.stores.dynamodb.lock import LockRow
from runtime.stores.dynamodb.rows import LeaseRow
from runtime.stores.dynamodb.scoped import ScopedTable


class TableFleet:
    """Of one scope."""

    def __init__(self, scoped: ScopedTable, *, tokens: Callable[[], str]) -> None:
        """`tokens` gives texts, none twice."""
        self._scoped = scoped
        self._table = scoped.table
        self._tokens = tokens
        self._reported: dict[str, int] = {}

    async def owned(self, worker: str, *, known: Collection[str]) -> list[Lease]:
        await self._scoped.prepare()
        known_keys = {self._scoped.key(shard) for shard in known}
        keys = [key for key in await self._table.keys_of(worker) if key not in known_keys]
        leases = [lease for key in keys if (lease := await self._get(key)) is not None]
        return [lease for lease in leases if worker in (lease.owner, lease.wanted_by)]

    async def find(self, shards: Collection[str]) -> list[Lease]:
        await self._scoped.prepare()
        return [lease for shard in shards if (lease := await self._get(self._scoped.key(shard))) is not None]

    async def survey(self) -> Survey:
        leases, snapshot = await self._scoped.survey()
        workers = {row.worker: row.updated for row in snapshot.workers if not row.failing}
        return Survey(leases=tuple(leases), workers=workers)

    async def assign(self, lease: Lease, to: str) -> bool:
        token = self._tokens()
        change = changes.give(lease, token, to)
        written = await self._table.write(self._scoped.key(lease.shard), change, token=token, counter=lease.counter + 1)
        return isinstance(written, LeaseRow)

    async def ask(self, lease: Lease, to: str) -> bool:
        return await self._scoped.want(lease, to)

    async def describe_children(self, shard: str, children: Sequence[str]) -> None:
        await self._table.describe_shard(self._scoped.key(shard), children=tuple(children))

    async def lock(self) -> LeaderLock | None:
        await self._scoped.prepare()
        row = await self._table.lock()
        return None if row is None else _lock_of(row)

    async def acquire(self, seen: LeaderLock | None, worker: str, *, lasts: float) -> LeaderLock | None:
        mine = LeaderLock(owner=worker, version=self._tokens(), lasts=lasts, tied=True)
        return mine if await self._table.acquire_lock(None if seen is None else _row_of(seen), _row_of(mine)) else None

    async def beat(self, lock: LeaderLock) -> LeaderLock | None:
        row = await self._table.beat_lock(_row_of(lock))
        return None if row is None else _lock_of(row)

    async def unlock(self, lock: LeaderLock) -> None:
        await self._table.release_lock(_row_of(lock))

    async def report(self, worker: str, at: int) -> None:
        await self._scoped.prepare()
        await self._table.report_worker(WorkerRow(worker=worker, updated=at))
        self._reported[worker] = at

    async def forget(self, worker: str) -> None:
        """A row that somebody of that name has written since stays."""
        if worker in self._reported:
            await self._table.forget_worker(WorkerRow(worker=worker, updated=self._reported.pop(worker)))

    async def _get(self, key: str) -> Lease | None:
        row = await self._table.get(key)
        return None if row is None else self._scoped.lease(row)


def _lock_of(row: LockRow) -> LeaderLock:
    return LeaderLock(owner=row.owner, version=row.version, lasts=row.lasts, released=row.released, tied=row.tied)


def _row_of(lock: LeaderLock) -> LockRow:
    return LockRow(owner=lock.owner, version=lock.version, lasts=lock.lasts, released=lock.released, tied=lock.tied)
