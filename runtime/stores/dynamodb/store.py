"""A LeaseStore over DynamoDB: one table for each mapping, as KCL has one for each application. Conditional writes only."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pollers.record import Position
from runtime.leases import Lease, StateError
from runtime.stores.dynamodb import changes
from runtime.stores.dynamodb.errors import StateRejected
from runtime.stores.dynamodb.fleet_rows import TableFleet
from runtime.stores.dynamodb.limits import Series
from runtime.stores.dynamodb.scoped import ScopedTable
from runtime.together import run_series, run_together


class DynamodbStore:
    """A LeaseStore. Calls may run side by side; those for one lease are the caller's to keep apart, as LeaseKeeper does."""

    def __init__(self, open_table: Callable[[str], ScopedTable]) -> None:
        """`open_table` gives the table of a scope, and asks nobody for it yet."""
        self._open_table = open_table
        self._tables: dict[str, ScopedTable] = {}

    async def load(self, scope: str) -> list[Lease]:
        """By shard. The table is made, and its fleet judged, on the first call."""
        return await self._table(scope).load()

    async def silence(self, scope: str) -> Mapping[str, float]:  # noqa: ARG002  # of no scope
        """Nothing: there is no clock in a table that all workers share."""
        return {}

    async def create(self, leases: Sequence[Lease]) -> None:
        """All or nothing for up to a hundred. Of more, who dies in between leaves some to be made later, as of new shards."""
        for scope in dict.fromkeys(lease.scope for lease in leases):
            await self._table(scope).create([lease for lease in leases if lease.scope == scope])

    async def take(self, lease: Lease, owner: str) -> Lease | None:
        return await self._table(lease.scope).take(lease, owner)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease | StateError | None]:
        """Twenty at a time. One that could not be asked has its error in its place, and keeps no other from being renewed."""
        answers: list[Lease | StateError | None] = [None] * len(leases)

        async def renew(number: int, lease: Lease) -> None:
            try:
                written = await self._table(lease.scope).hold(lease, changes.renew)
                answers[number] = written if isinstance(written, Lease) else None
            except StateError as error:
                answers[number] = error

        numbers = {(lease.scope, lease.shard): number for number, lease in reversed(list(enumerate(leases)))}
        await run_series([partial(renew, number, leases[number]) for number in sorted(numbers.values())], within=Series().joined)
        return answers

    async def checkpoint(self, lease: Lease, position: Position, *, window: str | None = None) -> Lease | None:
        """Raises ValueError if the position lies before the lease's: a bug of the caller."""
        if position.order < lease.checkpoint.order:
            raise ValueError(f"the checkpoint of {lease.shard} would go back from {lease.checkpoint} to {position}")

        def build(seen: Lease, token: str) -> changes.Change:
            return changes.checkpoint(seen, token, position, window)

        written = await self._table(lease.scope).hold(lease, build)
        return written if isinstance(written, Lease) else None

    async def release(self, lease: Lease) -> bool:
        """To the worker that wants it, as KCL hands over; else to nobody."""
        return await self._table(lease.scope).release(lease)

    async def want(self, lease: Lease, worker: str) -> bool:
        """As KCL's leader begins a graceful hand-off."""
        return await self._table(lease.scope).want(lease, worker)

    async def delete(self, leases: Sequence[Lease]) -> None:
        await run_together([partial(self._table(lease.scope).delete, lease) for lease in leases])

    def fleet(self, scope: str) -> TableFleet:
        """What its leader and its workers need beyond leases."""
        return TableFleet(self._table(scope), tokens=self._table(scope).table.tokens)

    async def check(self, scopes: Sequence[str]) -> None:
        """What will not work by itself later is told now. Makes nothing. Raises StateRejected."""
        for scope in scopes:
            try:
                await self._table(scope).check()
            except StateRejected:
                raise
            except StateError:  # it passes; the mapping tells of it and tries again
                pass

    async def check_writable(self, scope: str) -> None:
        """Whether the table can be used, by reading it and by a write that cannot succeed. Makes nothing. Raises StateError."""
        await self._table(scope).check(write=True)

    def _table(self, scope: str) -> ScopedTable:
        if scope not in self._tables:
            self._tables[scope] = self._open_table(scope)
        return self._tables[scope]
