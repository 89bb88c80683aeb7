"""The leases of one scope in its table: joined once, read as ours, and written so that no lost answer does harm.

A call whose answer does not come (a timeout, a broken connection) may have been carried out. The law: whether it was is told by
the token that it left in the row; until that is known its lease is not taken for lost, and the next call goes on from the row as
that write made it.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

import anyio
from msgspec.structs import replace

from runtime.leases import Lease, StateError
from runtime.stores.dynamodb import changes
from runtime.stores.dynamodb.changes import Expressions
from runtime.stores.dynamodb.errors import RowUnreadable, StateRejected
from runtime.stores.dynamodb.fleet import Snapshot
from runtime.stores.dynamodb.leases import lease_of, row_of
from runtime.stores.dynamodb.rows import LeaseRow, multi_stream_key
from runtime.stores.dynamodb.schema import TableSchema, refusal
from runtime.stores.dynamodb.table import LeaseTable, Refused
from runtime.stores.dynamodb.values import BadRow

Build = Callable[[Lease, str], Expressions]
"""From a lease as it was seen and a token."""
_ONCE_MORE = 3
"""Tries to go on from a row that turned out to be our own."""


class ScopedTable:
    def __init__(
        self,
        scope: str,
        table: LeaseTable,
        schema: TableSchema,
        *,
        join: Callable[[TableSchema], Awaitable[None]],
        start: float | None,
    ) -> None:
        """`start`: the mapping's StartingPositionTimestamp, which rows of Java do not say."""
        self.table = table
        self.schema = schema
        self._scope = scope
        self._source = scope.partition(" ")[2]
        self._start = start
        self._join = join
        self._joined = False
        self._joining = anyio.Lock()  # a table is made, and its fleet judged, once
        self._stream: str | None = None
        """`account:name:epoch`, in a table of several streams."""
        self._unanswered: dict[str, dict[str, int]] = {}
        """For each shard, writes that got no answer: the token that each left, and the counter if it was carried out."""
        self._taken: dict[str, str] = {}
        """For each shard, such a write that was to take its lease."""

    async def prepare(self) -> None:
        """The table is there, and we may write into it. Raises StateError."""
        if not self._joined:
            async with self._joining:
                if not self._joined:
                    await self.schema.ensure()
                    await self._join(self.schema)
                    self._mine((await self.table.scan(consistent=True)).leases)  # a worker that never leads never sees all
                    self._joined = True

    async def load(self) -> list[Lease]:
        """By shard. Raises RowUnreadable when there are rows, and none can be read."""
        leases, snapshot = await self.survey(consistent=True)
        if snapshot.unreadable and not leases:
            raise self.unreadable(snapshot)
        return leases

    async def survey(self, *, consistent: bool = False) -> tuple[list[Lease], Snapshot]:
        """Those that can be read, and all that the scan brought.

        One bad row must not be in the way of the others. Not `consistent`: what was just written may be missing, at half the
        price.
        """
        await self.prepare()
        snapshot = await self.table.scan(consistent=consistent)
        if snapshot.version is not None and not snapshot.version.joinable:
            raise self._rejected(refusal(snapshot.version))
        if snapshot.version is None and not snapshot.leases:
            await self._join(self.schema)  # it was made anew since we joined: who comes later must find whose it is
        return self._read(snapshot)

    async def create(self, new: Sequence[Lease]) -> None:
        await self.prepare()
        keyed = {self.key(lease.shard): lease for lease in reversed(new)}  # of two for one shard the first
        rows = [row_of(lease, source=self._source, key=key, stream=self._stream) for key, lease in keyed.items()]
        await self.table.create(rows[::-1])

    async def take(self, lease: Lease, owner: str) -> Lease | None:
        token = self.table.tokens()
        try:
            written = await self._write(lease, token, changes.take(lease, token, owner))
        except StateError:
            self._taken[lease.shard] = token
            raise
        return None if isinstance(written, Refused) else written

    async def hold(self, lease: Lease, build: Build) -> Lease | Refused:
        """A write of the owner."""
        seen = lease
        for _ in range(_ONCE_MORE):
            token = self.table.tokens()
            written = await self._write(seen, token, build(seen, token))
            if isinstance(written, Lease):
                self._unanswered.pop(lease.shard, None)
                return written
            if written.row is None or not self._is_unanswered(written.row):
                break
            seen = self.lease(written.row)
            if seen.owner != lease.owner:
                break
        self._unanswered.pop(lease.shard, None)
        return written

    async def release(self, lease: Lease) -> bool:
        written = await self.hold(lease, changes.release)
        if isinstance(written, Lease) or written.row is None or lease.owner is None:
            return isinstance(written, Lease)
        row = written.row
        if (row.checkpoint_owner, row.counter) != (lease.owner, lease.counter):
            return False
        asked = replace(lease, wanted_by=row.owner)  # since it was seen last
        return isinstance(await self.hold(asked, changes.release), Lease)

    async def want(self, lease: Lease, worker: str) -> bool:
        await self.prepare()
        counter = lease.counter
        for _ in range(_ONCE_MORE):
            token = self.table.tokens()
            change = changes.want(lease, token, worker, counter=counter)
            written = await self.table.write(self.key(lease.shard), change, token=token, counter=None)
            if isinstance(written, LeaseRow):
                return True
            now = None if written.row is None else self.lease(written.row)
            if now is None or (now.owner, now.wanted_by) != (lease.owner, None) or now.counter == counter:
                return False
            counter = now.counter  # of a lease without an owner, that somebody had meanwhile
        return False

    async def delete(self, lease: Lease) -> None:
        await self.prepare()
        await self.table.delete(self.key(lease.shard), changes.delete(lease))
        self._unanswered.pop(lease.shard, None)

    async def check(self, *, write: bool = False) -> None:
        """Whether it could be used, without making or changing anything. Raises StateError."""
        found = await self.schema.describe()
        if found is None:
            self.schema.check_missing()
        elif found["TableStatus"] in ("ACTIVE", "UPDATING"):
            await self.schema.check_fleet()
            if write:
                _, snapshot = self._read(await self.table.scan())
                if snapshot.unreadable:
                    raise self.unreadable(snapshot)
                await self.schema.can_write()

    # parts

    async def _write(self, lease: Lease, token: str, change: Expressions) -> Lease | Refused:
        if not self._joined:
            await self.prepare()
        after = lease.counter + 1
        try:
            written = await self.table.write(self.key(lease.shard), change, token=token, counter=after)
        except StateError:
            self._unanswered.setdefault(lease.shard, {})[token] = after
            raise
        return written if isinstance(written, Refused) else self.lease(written)

    def _is_unanswered(self, row: LeaseRow) -> bool:
        """Our own write, whose answer was lost, is the last that there was."""
        return row.write is not None and self._unanswered.get(row.shard, {}).get(row.write) == row.counter

    def _shown(self, row: LeaseRow) -> Lease:
        """A lease that we took without learning of it is free for its new owner: else it would wait for its own silence.

        Raises BadRow.
        """
        lease = lease_of(row, self._scope, start=self._start)
        if self._unanswered and self._is_unanswered(row) and self._taken.get(row.shard) == row.write and lease.wanted_by is None:
            return replace(lease, owner=None, wanted_by=lease.owner)
        return lease

    def _read(self, snapshot: Snapshot) -> tuple[list[Lease], Snapshot]:
        leases, unreadable = [], [*snapshot.unreadable]
        for row in self._mine(snapshot.leases):
            try:
                leases.append(self._shown(row))
            except BadRow as error:
                unreadable.append(str(error))
        return sorted(leases, key=lambda lease: lease.shard), replace(snapshot, unreadable=tuple(unreadable))

    def lease(self, row: LeaseRow) -> Lease:
        return self.table.understood(lambda: lease_of(row, self._scope, start=self._start))

    def is_mine(self, row: LeaseRow) -> bool:
        """Not where it is of another stream, in a table of several. Raises StateRejected where the table is another mapping's.

        That one was made since we joined: the table is judged anew before anything else.
        """
        if row.stream is not None:
            self._joined = self._joined and self._stream is not None
            return row.stream == self._stream
        try:
            self._mine([row])
        except StateRejected:
            self._joined = False
            raise
        return True

    def _mine(self, leases: Sequence[LeaseRow]) -> list[LeaseRow]:
        plain = [row for row in leases if row.stream is None]
        for row in plain:
            if row.source not in (None, self._source):
                raise self._rejected(
                    f"row {row.key} is of {row.source}, but the mapping reads {self._source}: give the mapping another name or "
                    "state another table; or delete the table to begin anew"
                )
        if len(plain) == len(leases):
            return plain
        account, name = self._source.split(":")[4], self._source.rpartition("/")[2]
        mine = [row for row in leases if row.stream is not None and row.stream.startswith(f"{account}:{name}:")]
        streams = {row.stream for row in mine}
        if len(streams) != 1 or plain:
            found = ", ".join(sorted(str(row.stream) for row in leases)) or "none"
            raise self._rejected(
                f"it is a table of several streams (streamName: {found[:200]}), and this mapping's is not one of them: let "
                "a Java worker begin with the stream first, or name another table"
            )
        (self._stream,) = streams
        return mine

    def unreadable(self, snapshot: Snapshot) -> RowUnreadable:
        more = f" (and {len(snapshot.unreadable) - 1} more)" if len(snapshot.unreadable) > 1 else ""
        return self.table.unreadable(f"{snapshot.unreadable[0]}{more}")

    def key(self, shard: str) -> str:
        return multi_stream_key(self._stream, shard) if self._stream else shard

    def keys(self, shards: Collection[str]) -> set[str]:
        return {multi_stream_key(self._stream, shard) for shard in shards} if self._stream else {*shards}

    def _rejected(self, what: str) -> StateRejected:
        return StateRejected(f"state table {self.table.calls.table} in {self.table.calls.region}: {what}")
