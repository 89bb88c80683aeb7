"""Shares the shards of a mapping as KCL 3 does: one worker leads and assigns, each finds what it was assigned, and takes it.

What a worker does each round: look who leads, and lead when nobody does; when leading, look at all rows, give what nobody holds,
ask for what another has too many of (`core.fleet_plan`); find the leases that have its name, and take them. Beside the rounds it
says that it lives, so that neither a long plan nor a drain makes it look dead. Who drains leaves first: others lead, and
nothing is given to it any more.

Everybody's silence is judged by what the observer saw stand still on its own clock.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Final

import anyio

from runtime.clock import now
from runtime.core.fleet_plan import Assignment, plan_assignments
from runtime.core.lease import Lease
from runtime.core.lease_plan import unfinished_parents
from runtime.fleet_cleanup import clean_up
from runtime.fleet_lock import Leadership
from runtime.fleet_rows import FleetRows, FleetSeen, Survey, Word
from runtime.fleet_sights import Sights
from runtime.lease_keeper import HeldLease
from runtime.leases import StateError
from runtime.sharing import Look
from runtime.stream_telemetry import StreamTelemetry
from runtime.together import run_together

_LOOK: Final = 0.1
"""Of the failover time: between looks for leases of ours, and for the lock."""
_SURVEY: Final = 0.2
"""Between looks of a leader at all rows."""
_BEAT: Final = 0.3
"""Between heartbeats, of the lock and of the worker."""
_OFTEN: Final = 20.0
"""Seconds between words at most: for Java a worker is gone that was not heard of for a minute."""
_RESIDENCY: Final = 3.0
"""Times the failover time that a lease stays with its owner, until it is moved for balance."""
_MISSED: Final = 0.4
"""Of the failover time: longer than an owner that lives takes to renew."""
_HAND_OVER: Final = 30.0
"""Seconds that a hand-over may take beyond the time limit of the function. Under a leader of Java: in all."""
_LEADER: Final = "the leader's lock"
_WORD: Final = "the worker's row"
_BLIND: Final = "it cannot see the rows"


class Fleet:
    """A `Sharing`."""

    announces = True

    def __init__(
        self,
        rows: FleetRows,
        *,
        worker: str,
        failover: float,
        time_limit: float,
        clock: Callable[[], float],
        load: Callable[[], tuple[float, ...]] = tuple,
        telemetry: StreamTelemetry,
    ) -> None:
        """`time_limit`: of the function, in seconds. `clock`: seconds since the epoch, for others to read.

        `load`: the last values of the processor's, in percent; none where it is not known.
        """
        self._rows = rows
        self._worker = worker
        self._failover = failover
        self._time_limit = time_limit
        self._clock = clock
        self._load = load
        self._by_load = False
        """Java's workers tell their load, so we do: its leader compares a worker only with its like."""
        self._telemetry = telemetry
        self._began = now()
        self._surveyed = self._cleaned = -inf
        self._leadership = Leadership(rows, worker=worker, failover=failover)
        self._survey = Survey()
        self._loads: Mapping[str, int] = {worker: 0}
        """Of each worker, by the last survey."""
        self._sights = Sights(failover=failover, clock=clock)
        self._untidy: StateError | None = None
        """What kept us from deleting rows of workers that are long gone."""
        self._named: dict[str, tuple[int, float, bool]] = {}
        """For each lease that had our name when we did not hold it: its counter, since when, and whether we were its owner."""
        self._lost: dict[str, int] = {}
        self._word: Word | None = None
        """Our last, if it was not taken back."""
        self._saying = anyio.Lock()  # the last word must not come after it was taken back
        self._leaving = False
        self._looked = -inf
        """When we last saw what there was to see."""
        self._saw = anyio.Event()
        """For the first time."""
        self._blind_since: float | None = None
        """Since when every look has failed."""
        self._seek_at = -inf

    # what a mapping asks

    @property
    def lists(self) -> bool:
        return self._leadership.leads

    @property
    def pause(self) -> float:
        return self._failover * _LOOK

    @property
    def bound(self) -> float:
        """Until when, on our clock, leases of ours may be worked on at most: a leader's end with its lock."""
        return self._leadership.bound

    @property
    def hand_over(self) -> float:
        return _HAND_OVER if self._leadership.foreign else self._time_limit + _HAND_OVER

    @property
    def seen(self) -> FleetSeen:
        leads = self._leadership.leads
        return FleetSeen(leader=self._leadership.leader, leads=leads, loads=self._loads if leads else {})

    async def look(self, held: Mapping[str, HeldLease]) -> Look:
        """Who fails for the failover time leads no more; who has not succeeded for as long does not say that it lives."""
        try:
            look = await self._look(held)
        except StateError:
            self._blind_since = now() if self._blind_since is None else self._blind_since
            await self._give_way()
            raise
        self._blind_since, self._looked = None, now()
        self._saw.set()
        return look

    async def _look(self, held: Mapping[str, HeldLease]) -> Look:
        if self._leadership.fenced:
            for each in held.values():
                each.lose(expired=True)
            self._leadership.mended()
        if self._leadership.resigns:
            await self._resign(_BLIND)
        await self._seek()
        if self._leadership.leads and (now() - self._surveyed >= self._failover * _SURVEY or not self._survey.leases):
            await self._lead()
        named = await self._rows.owned(self._worker, known=held)
        ended = [lease for lease in named if lease.ended and lease.owner == self._worker] if self._leadership.foreign else []
        await self._clean_up(ended)
        ours = [lease for lease in named if self._is_ours(lease) and lease not in ended]
        take = tuple(ours) if self._leadership.may_take else ()
        self._named = {lease.shard: self._named[lease.shard] for lease in named}
        leads = self._leadership.leads
        rows = {lease.shard: lease for lease in self._survey.leases} if leads else {}
        rows.update((lease.shard, lease) for lease in named)
        rows.update((shard, each.lease) for shard, each in held.items())
        problem = self._survey.unreadable or self._untidy if leads else None
        return Look(leases=tuple(rows.values()), quiet=self._sights.quiet_of(rows), take=take, problem=problem)

    async def ready(self, lease: Lease) -> tuple[str, ...]:
        parents = await self._rows.find(lease.parents) if lease.parents else []
        return unfinished_parents(lease, {parent.shard: parent for parent in parents})

    def lost(self, lease: Lease) -> None:
        self._lost[lease.shard] = lease.counter

    def is_namesake(self, lease: Lease) -> bool:
        return lease.owner == self._worker and lease.shard in self._named and self._lost.get(lease.shard) != lease.counter

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run_steadily, self._beat, _LEADER, self._failover * _BEAT, name="beat the leader's lock")
            tasks.start_soon(self._run_steadily, self._say_alive, _WORD, self._saying_every, name="say that we live")

    async def leave(self) -> None:
        self._leaving = True
        while True:
            try:
                await self._resign()
                await self._take_back_word()
            except StateError as error:
                self._telemetry.state_failed(error, who=_LEADER)
                await anyio.sleep(self.pause)
            else:
                return

    async def end(self) -> None:
        self._leaving = True
        await self._resign()
        await self._take_back_word()

    # beside the rounds

    @property
    def _saying_every(self) -> float:
        return min(self._failover * _BEAT, _OFTEN)

    async def _run_steadily(self, act: Callable[[], Awaitable[None]], who: str, every: float) -> None:
        while True:
            began = now()
            try:
                await act()
                self._telemetry.state_answered(who=who)
                pause = every
            except StateError as error:
                self._telemetry.state_failed(error, who=who)
                pause = self._failover * _LOOK
            await anyio.sleep(max(0.0, began + pause - now()))

    async def _beat(self) -> None:
        if await self._leadership.beat():
            reason = "another worker took the lock" if self._leadership.fenced else "it gave the lock back"
            self._telemetry.leader_changed(leads=False, reason=reason)

    async def _say_alive(self) -> None:
        """Only who finds what it is given is to be given anything."""
        await self._saw.wait()
        async with self._saying:
            if not self._leaving and now() - self._looked < self._failover:
                self._by_load = await self._is_by_load()
                load = self._load()
                self._word = Word(at=int(self._clock()), every=self._saying_every, load=load if self._by_load else ())
                await self._rows.report(self._worker, self._word)

    async def _is_by_load(self) -> bool:
        """Others do as the leader does: one of Java by what its machine tells, one of ours by what Java's workers tell."""
        leader = self._leadership.leader
        if leader is None:  # we have not looked yet
            lock = await self._rows.lock()
            leader = None if lock is None else lock.owner
        if leader is None or self._leadership.leads:
            return self._by_load
        word = await self._rows.word(leader)
        return self._by_load if word is None else bool(word.load)

    async def _take_back_word(self) -> None:
        """A row that somebody of our name has written since stays."""
        async with self._saying:
            if self._word is not None:
                await self._rows.forget(self._worker, self._word)
                self._word = None

    async def _resign(self, reason: str = "it stops") -> None:
        if await self._leadership.resign():
            self._telemetry.leader_changed(leads=False, reason=reason)

    # leading

    async def _seek(self) -> None:
        if self._leaving or now() < self._seek_at:
            return
        if await self._leadership.seek():
            self._surveyed, self._survey, self._loads = -inf, Survey(), {self._worker: 0}
            self._sights = Sights(failover=self._failover, clock=self._clock)
            self._telemetry.leader_changed(leads=True, reason="nobody had the lock")
            await self._resign_if_leaving()

    async def _give_way(self) -> None:
        """Others may see what we do not; they look for the lock much more often than we come back for it."""
        if self._blind_since is not None and now() - self._blind_since >= self._failover and self._leadership.has_lock:
            self._seek_at = now() + self._failover
            await self._resign(_BLIND)

    async def _resign_if_leaving(self) -> None:
        if self._leaving:  # since we asked
            await self._resign()

    async def _lead(self) -> None:
        began = now()
        self._survey = survey = await self._rows.survey()
        self._loads = survey.loads(self._worker)
        self._surveyed, dead = began, self._leadership.dead(seen=now())
        self._sights.see(survey)
        quiet = self._sights.silence(survey)
        if dead is not None:
            quiet |= {lease.shard: inf for lease in survey.leases if dead == (lease.owner or lease.wanted_by)}
        living = self._sights.living(survey, quiet, dead={dead} if dead else ())
        of_java = [word for worker, word in survey.workers.items() if worker in living and word.every is None]
        self._by_load = any(word.load for word in of_java)
        plan = plan_assignments(
            survey.leases,
            sorted(living | {self._worker} if self._blind_since is None else living - {self._worker}),
            quiet=quiet,
            failover=self._failover,
            resident=self._sights.resident,
            residency=self._failover * _RESIDENCY,
            handing=self._sights.handing,
            patience=self._time_limit + _HAND_OVER + self._failover,
        )
        await run_together([partial(self._carry_out, each) for each in plan])
        await self._tidy()

    async def _tidy(self) -> None:
        """Rows that stay harm nobody, so who may not delete leads all the same."""
        self._untidy = None
        for worker, word in self._sights.forgotten().items():
            try:
                await self._rows.forget(worker, word)
            except StateError as error:
                self._untidy = error

    async def _carry_out(self, each: Assignment) -> None:
        if not self._leadership.leads or self._leaving:  # of a long plan the rest is for whoever leads then
            return
        if await (self._rows.ask if each.asks else self._rows.assign)(each.lease, each.to):
            self._telemetry.lease_assigned(each.lease.shard, to=each.to, before=each.lease.owner, asks=each.asks)

    # our own leases

    async def _clean_up(self, ended: Sequence[Lease]) -> None:
        if ended and now() - self._cleaned >= self._failover:
            self._cleaned = now()
            await clean_up(self._rows, ended)

    def _is_ours(self, lease: Lease) -> bool:
        """Whether a lease that has our name, and that we do not hold, is to be taken.

        Given to us and not taken yet: at once. Else it may be another process of our name that works on it, or the one before us:
        then when it has missed a renewal. What a leader of Java gives bears no mark, but is new to us.
        """
        moment = now()
        owner = lease.owner == self._worker
        before = self._named.get(lease.shard)
        since = before[1] if before is not None and before[0] == lease.counter else moment
        self._named[lease.shard] = (lease.counter, since, owner)
        if lease.owner is None:
            return lease.wanted_by == self._worker
        if not owner or lease.wanted_by not in (None, self._worker) or self._leadership.waits:
            return False
        if self._lost.get(lease.shard) == lease.counter:
            return True
        is_new = (before is None or not before[2]) and moment - self._began > 2 * self._failover
        return (is_new and self._leadership.foreign) or moment - since >= self._failover * _MISSED
