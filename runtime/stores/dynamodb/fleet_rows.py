"""The rows of a fleet in the table of its mapping: a `runtime.fleet_rows.FleetRows`."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from runtime.core.lease import Lease
from runtime.fleet_rows import LeaderLock, Survey, Word
from runtime.stores.dynamodb import changes
from runtime.stores.dynamodb.errors import RowUnreadable
from runtime.stores.dynamodb.fleet import WorkerRow
from runtime.stores.dynamodb.lock import LockRow
from runtime.stores.dynamodb.rows import LeaseRow
from runtime.stores.dynamodb.scoped import ScopedTable
from runtime.together import run_together


class TableFleet:
    """Of one scope."""

    def __init__(self, scoped: ScopedTable, *, tokens: Callable[[], str]) -> None:
        """`tokens` gives texts, none twice."""
        self._scoped = scoped
        self._table = scoped.table
        self._tokens = tokens
        self._unanswered: set[str] = set()
        """Versions of the lock that we wrote without an answer."""

    async def owned(self, worker: str, *, known: Collection[str]) -> list[Lease]:
        await self._scoped.prepare()
        known_keys = self._scoped.keys(known)
        keys = [key for key in await self._table.keys_of(worker) if key not in known_keys]
        found, _ = await self._get_all(keys)  # of what cannot be read the leader tells
        return [lease for lease in found.values() if worker in (lease.owner, lease.wanted_by)]

    async def find(self, shards: Collection[str]) -> list[Lease]:
        await self._scoped.prepare()
        found, unreadable = await self._get_all([self._scoped.key(shard) for shard in shards])
        if unreadable:
            raise unreadable[0]
        return [*found.values()]

    async def survey(self) -> Survey:
        leases, snapshot = await self._scoped.survey()
        workers = {row.worker: _word_of(row) for row in snapshot.workers if not row.failing}
        unreadable = self._scoped.unreadable(snapshot) if snapshot.unreadable else None
        return Survey(leases=tuple(leases), workers=workers, unreadable=unreadable)

    async def assign(self, lease: Lease, to: str) -> bool:
        token = self._tokens()
        change = changes.give(lease, token, to)
        written = await self._table.write(self._scoped.key(lease.shard), change, token=token, counter=lease.counter + 1)
        return isinstance(written, LeaseRow)

    async def ask(self, lease: Lease, to: str) -> bool:
        return await self._scoped.want(lease, to)

    async def delete(self, lease: Lease) -> None:
        await self._scoped.delete(lease)

    async def describe_children(self, shard: str, children: Sequence[str]) -> None:
        await self._table.name_children(self._scoped.key(shard), tuple(children))

    async def lock(self) -> LeaderLock | None:
        await self._scoped.prepare()
        row = await self._table.lock()
        return None if row is None else _lock_of(row)

    async def acquire(self, seen: LeaderLock | None, worker: str, *, lasts: float) -> LeaderLock | None:
        mine = LeaderLock(owner=worker, version=self._tokens(), lasts=lasts, tied=True)
        self._unanswered.add(mine.version)
        taken = await self._table.acquire_lock(None if seen is None else _row_of(seen), _row_of(mine))
        self._unanswered.clear()
        return mine if taken else None

    def wrote(self, lock: LeaderLock) -> bool:
        return lock.version in self._unanswered

    async def beat(self, lock: LeaderLock) -> LeaderLock | None:
        """One whose answer was lost left its version in the row, and the next goes on from there."""
        seen: LeaderLock | None = lock
        while seen is not None:
            version = self._tokens()
            self._unanswered.add(version)
            row = await self._table.beat_lock(_row_of(seen), version=version)
            if row is not None:
                self._unanswered.clear()
                return _lock_of(row)
            self._unanswered.discard(version)
            before, seen = seen, await self.lock()
            seen = seen if seen is not None and seen.version != before.version and self.wrote(seen) else None
        self._unanswered.clear()
        return None

    async def unlock(self, lock: LeaderLock) -> bool:
        seen = await self.lock() if self._unanswered else lock
        ours = seen is not None and (seen.version == lock.version or self.wrote(seen))
        return seen is not None and ours and await self._table.release_lock(_row_of(seen))

    async def word(self, worker: str) -> Word | None:
        await self._scoped.prepare()
        row = await self._table.worker(worker)
        return None if row is None else _word_of(row)

    async def report(self, worker: str, word: Word) -> None:
        await self._scoped.prepare()
        await self._table.report_worker(WorkerRow(worker=worker, updated=word.at, every=word.every, load=word.load))

    async def forget(self, worker: str, word: Word) -> None:
        await self._table.forget_worker(WorkerRow(worker=worker, updated=word.at))

    async def _get_all(self, keys: Sequence[str]) -> tuple[dict[str, Lease], list[RowUnreadable]]:
        """In the order of the keys; and what is wrong with those that cannot be read."""
        found: dict[str, Lease] = {}
        unreadable: list[RowUnreadable] = []

        async def get(key: str) -> None:
            try:
                row = await self._table.get(key)
                if row is not None and self._scoped.is_mine(row):
                    found[key] = self._scoped.lease(row)
            except RowUnreadable as error:
                unreadable.append(error)

        await run_together([partial(get, key) for key in keys])
        return {key: found[key] for key in keys if key in found}, unreadable


def _word_of(row: WorkerRow) -> Word:
    return Word(at=row.updated, every=row.every, load=row.load)


def _lock_of(row: LockRow) -> LeaderLock:
    return LeaderLock(owner=row.owner, version=row.version, lasts=row.lasts, released=row.released, tied=row.tied)


def _row_of(lock: LeaderLock) -> LockRow:
    return LockRow(owner=lock.owner, version=lock.version, lasts=lock.lasts, released=lock.released, tied=lock.tied)
