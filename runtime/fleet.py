"""Shares the shards of a mapping as KCL 3 does: one worker leads and assigns, each finds what it was assigned, and takes it.

What a worker does each round: say that it lives; look who leads, and lead when nobody does; when leading, look at all rows, give
what nobody holds, ask for what another has too many of (`core.fleet_plan`); find the leases that have its name, and take them.

A leader of ours ties its leases to the lock: when it cannot beat the lock for the failover time it works on nothing any more, so
whoever takes the lock of a dead leader need not wait for its leases as well. Everybody's silence is judged by the counters that
the observer saw stand still on its own clock.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from typing import Final, Protocol

from msgspec import Struct

from runtime.clock import now
from runtime.core.fleet_plan import Assignment, plan_assignments
from runtime.core.lease import Lease
from runtime.core.lease_plan import unfinished_parents
from runtime.lease_keeper import HeldLease
from runtime.sharing import Look
from runtime.stream_telemetry import StreamTelemetry

_LOOK: Final = 0.1
"""Of the failover time: between looks for leases of ours, and for the lock."""
_SURVEY: Final = 0.2
"""Between looks of a leader at all rows."""
_BEAT: Final = 1 / 3
"""Between heartbeats, of the lock and of the worker."""
_TIED: Final = 0.85
"""Of it: how long a leader that cannot beat its lock works on; then there is time to stop until the lock has run out."""
_RESIDENCY: Final = 3.0
"""Times the failover time that a lease stays with its owner, until it is moved for balance."""
_MISSED: Final = 0.4
"""Of the failover time: longer than an owner that lives takes to renew."""
_STALE: Final = 60.0
"""Seconds without a word after which a worker counts as gone; KCL's report each 30."""
_FORGET: Final = 3600.0
_HAND_OVER: Final = 30.0
"""Seconds that a hand-over may take beyond the time limit of the function (KCL: in all)."""


class LeaderLock(Struct, frozen=True, kw_only=True):
    """The lock row, as it was seen."""

    owner: str
    version: str
    lasts: float
    """Seconds for which its holder need not be heard of."""
    released: bool = False
    tied: bool = False
    """Its holder works on no lease any longer than it beats the lock."""


class Survey(Struct, frozen=True, kw_only=True):
    """All rows of a scope, as one look met them."""

    leases: tuple[Lease, ...]
    workers: Mapping[str, int]
    """For each that may get leases, when it last said that it lives: seconds since the epoch, on its own clock."""


class FleetRows(Protocol):
    """The rows of one mapping's fleet. Raises StateError."""

    async def owned(self, worker: str, *, known: Collection[str]) -> list[Lease]:
        """The leases that name it as owner or next owner, without those of the shards `known`.

        What was written just now may be missing.
        """
        ...

    async def find(self, shards: Collection[str]) -> list[Lease]:
        """The rows of these shards that exist."""
        ...

    async def survey(self) -> Survey: ...

    async def assign(self, lease: Lease, to: str) -> bool:
        """Give it at once, if owner and wanted_by are as seen. False: they are not."""
        ...

    async def ask(self, lease: Lease, to: str) -> bool:
        """Ask its owner to hand it over, if it still has it and nobody asked. False: it is not so."""
        ...

    async def describe_children(self, shard: str, children: Sequence[str]) -> None:
        """Write into its row which shards follow on a shard; their rows are there."""
        ...

    async def lock(self) -> LeaderLock | None: ...

    async def acquire(self, seen: LeaderLock | None, worker: str, *, lasts: float) -> LeaderLock | None:
        """Take the lock, if it is still as seen. None: another was faster."""
        ...

    async def beat(self, lock: LeaderLock) -> LeaderLock | None:
        """Say that its holder lives. None: it is not ours any more."""
        ...

    async def unlock(self, lock: LeaderLock) -> None: ...

    async def report(self, worker: str, at: int) -> None:
        """Say that a worker lives, at so many seconds since the epoch."""
        ...

    async def forget(self, worker: str) -> None: ...


class Fleet:
    """A `Sharing`."""

    def __init__(
        self,
        rows: FleetRows,
        *,
        worker: str,
        failover: float,
        time_limit: float,
        clock: Callable[[], float],
        telemetry: StreamTelemetry,
    ) -> None:
        """`time_limit`: of the function, in seconds. `clock`: seconds since the epoch, for others to read."""
        self._rows = rows
        self._worker = worker
        self._failover = failover
        self._patience = time_limit + _HAND_OVER
        self._clock = clock
        self._telemetry = telemetry
        self._began = now()
        self._reported = self._beaten = self._surveyed = -inf
        self._lock: LeaderLock | None = None
        """Ours, while we lead."""
        self._watch: tuple[str, float] = ("", now())
        """The version of another's lock, and since when we have seen it so."""
        self._survey = Survey(leases=(), workers={})
        self._sights: dict[str, tuple[int, float]] = {}
        """For each shard its counter, and since when we have seen it so."""
        self._owners: dict[str, tuple[str | None, str | None, float]] = {}
        """For each shard its owner and next owner, and since when."""
        self._words: dict[str, tuple[int, float]] = {}
        """For each worker its last word, and when we first saw it."""
        self._named: dict[str, tuple[int, float]] = {}
        """For each lease that had our name when we did not hold it, its counter, and since when."""
        self._lost: dict[str, int] = {}
        self._gone: dict[str, int] = {}
        """Workers that were found dead: their last word."""
        self._dead_leader: str | None = None
        """The leader before us, whose leases ended with its lock."""
        self._fenced = False
        """The lock was lost, and what we still hold is to be let go."""

    # what a mapping asks

    announces = True

    @property
    def lists(self) -> bool:
        return self._leads

    @property
    def pause(self) -> float:
        return self._failover * _LOOK

    async def look(self, held: Mapping[str, HeldLease]) -> Look:
        await self._say_alive()
        await self._see_to_lock()
        if self._fenced:
            self._fenced = False
            for each in held.values():
                each.lose(expired=True)
        if self._leads and (now() - self._surveyed >= self._failover * _SURVEY or not self._survey.leases):
            await self._lead()
        named = await self._rows.owned(self._worker, known=held)
        take = tuple([lease for lease in named if self._is_ours(lease)]) if self._lock is None or self._leads else ()
        self._named = {lease.shard: self._named[lease.shard] for lease in named}
        rows = {lease.shard: lease for lease in self._survey.leases} | {lease.shard: lease for lease in named}
        rows |= {shard: each.lease for shard, each in held.items()}
        return Look(leases=tuple(rows.values()), quiet={shard: self._quiet(shard) for shard in rows}, take=take)

    async def ready(self, lease: Lease) -> tuple[str, ...]:
        parents = await self._rows.find(lease.parents) if lease.parents else []
        return unfinished_parents(lease, {parent.shard: parent for parent in parents})

    def lost(self, lease: Lease) -> None:
        self._lost[lease.shard] = lease.counter

    def is_namesake(self, lease: Lease) -> bool:
        return lease.owner == self._worker and lease.shard in self._named and self._lost.get(lease.shard) != lease.counter

    @property
    def bound(self) -> float:
        """Until when, on our clock, leases of ours may be worked on at most: a leader's end with its lock."""
        return self._beaten + self._failover * _TIED if self._lock is not None else inf

    async def end(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            await self._rows.unlock(lock)
        await self._rows.forget(self._worker)

    # one round

    @property
    def _leads(self) -> bool:
        return self._lock is not None and now() < self.bound

    async def _say_alive(self) -> None:
        if now() - self._reported >= self._failover * _BEAT:
            began = now()
            await self._rows.report(self._worker, int(self._clock()))
            self._reported = began

    async def _see_to_lock(self) -> None:
        """Beat it while it is ours; else take it when it is free."""
        if self._lock is not None:
            if now() - self._beaten >= self._failover * _BEAT:
                began, lock = now(), await self._rows.beat(self._lock)
                if lock is None:
                    self._lock, self._fenced = None, True  # somebody took it, and what we held with it is free for others
                    self._survey = Survey(leases=(), workers={})
                    self._telemetry.leader_changed(leads=False)
                else:
                    self._lock, self._beaten = lock, began
            return
        seen = await self._rows.lock()
        if seen is None or seen.released or self._stood_still(seen):
            began = now()
            lock = await self._rows.acquire(seen, self._worker, lasts=self._failover)
            if lock is not None:
                self._start_leading(lock, began, before=seen)

    def _stood_still(self, lock: LeaderLock) -> bool:
        version, since = self._watch
        if lock.version != version:
            self._watch = (lock.version, now())
            return False
        return now() - since >= lock.lasts

    def _start_leading(self, lock: LeaderLock, began: float, *, before: LeaderLock | None) -> None:
        """What the last leader held is free if it was tied to the lock, and that has run out."""
        self._lock, self._beaten, self._surveyed = lock, began, -inf
        dead = before.owner if before is not None and before.tied and not before.released else None
        self._dead_leader = dead if dead != self._worker else None
        self._sights, self._owners = {}, {}
        self._telemetry.leader_changed(leads=True)

    # leading

    async def _lead(self) -> None:
        began = now()
        self._survey = survey = await self._rows.survey()
        self._surveyed = began
        self._see(survey)
        quiet = {lease.shard: self._quiet(lease.shard) for lease in survey.leases}
        if (dead := self._dead_leader) is not None:
            quiet |= {lease.shard: inf for lease in survey.leases if dead in (lease.owner, lease.wanted_by)}
        plan = plan_assignments(
            survey.leases,
            self._living(survey, quiet),
            quiet=quiet,
            failover=self._failover,
            resident={shard: began - since for shard, (_, _, since) in self._owners.items()},
            residency=self._failover * _RESIDENCY,
            handing={shard: began - since for shard, (_, wanted_by, since) in self._owners.items() if wanted_by is not None},
            patience=self._patience,
        )
        for each in plan:
            if self._leads:  # of a long plan the rest is for whoever leads then
                await self._carry_out(each)
        self._dead_leader = None  # a process of its name that comes later is another

    def _see(self, survey: Survey) -> None:
        moment = now()
        for lease in survey.leases:
            if self._sights.get(lease.shard, (None, 0.0))[0] != lease.counter:
                self._sights[lease.shard] = (lease.counter, moment)
            before = self._owners.get(lease.shard)
            if before is None or before[:2] != (lease.owner, lease.wanted_by):
                self._owners[lease.shard] = (lease.owner, lease.wanted_by, moment)
        for worker, word in survey.workers.items():
            if self._words.get(worker, (None, 0.0))[0] != word:
                self._words[worker] = (word, moment)

    def _living(self, survey: Survey, quiet: Mapping[str, float]) -> list[str]:
        """Whoever had a word lately, and has not let everything go silent that it holds."""
        moment, wall = now(), self._clock()
        held: dict[str, list[Lease]] = {}
        for lease in survey.leases:
            if not lease.ended and lease.owner is not None:
                held.setdefault(lease.owner, []).append(lease)
        living = {self._worker}
        for worker, word in survey.workers.items():
            fresh = moment - self._words[worker][1] < _STALE and (moment - self._began > _STALE or abs(wall - word) < _STALE)
            silent = worker in held and all(quiet[lease.shard] >= self._failover for lease in held[worker])
            if silent or worker == self._dead_leader:
                self._gone[worker] = word
            if fresh and self._gone.get(worker) != word:
                living.add(worker)
        return sorted(living)

    async def _carry_out(self, each: Assignment) -> None:
        done = await (self._rows.ask if each.asks else self._rows.assign)(each.lease, each.to)
        if done:
            self._telemetry.lease_assigned(each.lease.shard, to=each.to, before=each.lease.owner, asks=each.asks)

    def _quiet(self, shard: str) -> float:
        return now() - self._sights[shard][1] if shard in self._sights else 0.0

    # our own leases

    def _is_ours(self, lease: Lease) -> bool:
        """Whether a lease that has our name, and that we do not hold, is to be taken.

        Given to us and not taken yet: at once. Else it may be another process of our name that works on it, or the one before us:
        then when it has missed a renewal. What a leader of Java gives bears no mark, but is new to us.
        """
        moment = now()
        before = self._named.get(lease.shard)
        since = before[1] if before is not None and before[0] == lease.counter else moment
        self._named[lease.shard] = (lease.counter, since)
        if lease.owner is None:
            return lease.wanted_by == self._worker
        if lease.owner != self._worker or lease.wanted_by not in (None, self._worker):
            return False
        if self._lost.get(lease.shard) == lease.counter:
            return True
        came_up = before is None and moment - self._began > 2 * self._failover
        return came_up or moment - since >= self._failover * _MISSED
