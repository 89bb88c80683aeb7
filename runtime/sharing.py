"""How the workers of a mapping share its shards: who takes which lease, and who hands one over.

`SelfPlanned`: every worker reads all rows and plans alone by the same rules; conditional writes settle who was faster.
`runtime.fleet`: a leader plans for all.
"""

from collections.abc import Mapping
from math import inf
from typing import Final, Protocol

import anyio
from msgspec import Struct

from runtime.core.lease_plan import plan_leases
from runtime.fleet_rows import FleetSeen
from runtime.lease_keeper import HeldLease
from runtime.leases import Lease, LeaseStore, StateError

_SOON: Final = 1.0
"""Seconds between looks while rows of a process before us may become ours."""


class Look(Struct, frozen=True, kw_only=True):
    """What one look at the rows found."""

    leases: tuple[Lease, ...]
    """The rows that this worker knows of."""
    quiet: Mapping[str, float]
    """For each shard, the seconds for which its counter has stood still."""
    take: tuple[Lease, ...] = ()
    """To be taken now."""
    want: tuple[Lease, ...] = ()
    """To be asked for after that."""
    problem: StateError | None = None
    """What is wrong beside all this, and must be told."""


class Sharing(Protocol):
    """Of one mapping, in one worker. Raises StateError."""

    async def look(self, held: Mapping[str, HeldLease]) -> Look:
        """Once a round: read what there is to know, do what is ours to do about it. `held`: what this worker holds, by shard."""
        ...

    @property
    def lists(self) -> bool:
        """Whether this worker keeps the rows in step with the shards of the stream, as far as the last look told."""
        ...

    @property
    def pause(self) -> float:
        """Seconds until the next look, at most."""
        ...

    @property
    def bound(self) -> float:
        """Until when, on our clock, the leases that we hold may be believed in at most."""
        ...

    @property
    def hand_over(self) -> float:
        """Seconds after which what runs is cut off, and a lease that another was promised is handed over."""
        ...

    @property
    def seen(self) -> FleetSeen | None:
        """None where nobody leads."""
        ...

    @property
    def announces(self) -> bool:
        """Whether whoever comes to the end of a shard makes the rows of its children."""
        ...

    async def ready(self, lease: Lease) -> tuple[str, ...]:
        """The parents that must end before work on a lease that is held may begin; none: it may."""
        ...

    def lost(self, lease: Lease) -> None:
        """It could not be renewed in time; nobody is known to have taken it."""
        ...

    def is_namesake(self, lease: Lease) -> bool:
        """It has our name for an owner, and is not ours: another process has the same name, or had it."""
        ...

    async def run(self) -> None:
        """What must not wait for a round, until cancelled. Raises nothing."""
        ...

    async def leave(self) -> None:
        """This worker drains: it gets no more leases, and leads no more. What it holds it keeps until its work is done."""
        ...

    async def end(self) -> None:
        """This worker stops: its leases are released by now."""
        ...


class SelfPlanned:
    """A `Sharing`."""

    lists = True
    announces = False
    bound = inf
    hand_over = inf
    seen = None

    def __init__(self, store: LeaseStore, scope: str, *, worker: str, failover: float) -> None:
        self._store = store
        self._scope = scope
        self._worker = worker
        self._failover = failover
        self._lost: dict[str, int] = {}
        """Shards that could not be renewed in time: the counter that we wrote last."""
        self._seen: dict[str, tuple[int, float]] = {}
        """For each shard its counter, and since when we have seen it so."""
        self._first_look = True
        self._resuming_until = anyio.current_time() + 2 * failover

    @property
    def pause(self) -> float:
        """Seconds until the next look, at most."""
        return min(_SOON if anyio.current_time() < self._resuming_until else inf, self._failover / 3)

    async def look(self, held: Mapping[str, HeldLease]) -> Look:
        leases = await self._store.load(self._scope)
        before = await self._store.silence(self._scope) if self._first_look else {}
        now = anyio.current_time()
        if self._first_look:  # who died before we started need not be waited for as long again
            self._seen = {lease.shard: (lease.counter, now - before.get(lease.shard, 0.0)) for lease in leases}
        self._first_look = False
        self._seen = {lease.shard: self._sight(lease, now) for lease in leases}
        quiet = {shard: now - since for shard, (_, since) in self._seen.items()}
        ours = {lease.shard: inf for lease in leases if self._lost.get(lease.shard) == lease.counter}  # nobody took it since
        plan = plan_leases(
            leases,
            worker=self._worker,
            held=held,
            quiet=quiet | ours,
            failover=self._failover,
            resuming=now < self._resuming_until,
        )
        return Look(leases=tuple(leases), quiet=quiet, take=plan.take, want=plan.want)

    def _sight(self, lease: Lease, now: float) -> tuple[int, float]:
        before = self._seen.get(lease.shard)
        return before if before is not None and before[0] == lease.counter else (lease.counter, now)

    async def ready(self, lease: Lease) -> tuple[str, ...]:  # noqa: ARG002  # of the Protocol
        """None is taken before its parents have ended."""
        return ()

    def lost(self, lease: Lease) -> None:
        self._lost[lease.shard] = lease.counter

    def is_namesake(self, lease: Lease) -> bool:
        return lease.owner == self._worker and self._lost.get(lease.shard) != lease.counter

    async def run(self) -> None:
        """There is nothing."""

    async def leave(self) -> None:
        """The leases say all there is to know."""

    async def end(self) -> None:
        """The same."""
