"""Two workers and one lease, in every order of their calls: never two believers, no checkpoint that goes back, nothing stuck.

The lease is A's at first; B leads, asks for it or finds it silent, and takes it. Or A leads as well, and B takes its lock.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import anyio
import pytest

from pollers.record import TRIM_HORIZON, Position
from runtime.config.worker import DynamodbState
from runtime.fleet_lock import Leadership
from runtime.fleet_sights import Sights
from runtime.lease_keeper import HeldLease, LeaseKeeper
from runtime.leases import Lease, StateError
from runtime.stores.dynamodb.opening import dynamodb_store
from runtime.stores.dynamodb.store import DynamodbStore
from runtime.stream_telemetry import StreamTelemetry
from runtime.telemetry import Telemetry
from tests.exhaustive.every_order import Script, Stage, Story, every_order
from tests.fakes.fleet_worker import SCOPE, LeaseWorker
from tests.fakes.stream_worker import wait, wall_clock

FAILOVER = 4.0
PAUSE = 2.2
"""Seconds: two of them are longer than the failover time, and one is shorter than a call may take."""
SHARD = "shardId-000000000000"
pytestmark = pytest.mark.usefixtures("no_log")
Set = tuple[Mapping[str, Script], Callable[[], None], Callable[[], Awaitable[None]]]


class Actor:
    """A worker whose moves are told one by one."""

    def __init__(self, name: str, stage: Stage, *, wire: str | None = None) -> None:
        async def connect(_region: str) -> Any:
            return stage.client(wire or name)

        numbers = count(1)
        self.name = name
        self.store: DynamodbStore = dynamodb_store(
            DynamodbState(table="esm-{mapping}", create=True),
            connect,
            worker=name,
            capacity_used=lambda _kind, _operation, _units: None,
            starts={},
            clock=wall_clock,
            tokens=lambda: f"{wire or name}-{next(numbers)}",
        )
        self.rows = self.store.fleet(SCOPE)
        self.leadership = Leadership(self.rows, worker=name, failover=FAILOVER)
        telemetry = StreamTelemetry(Telemetry().of_mapping("m", "kinesis"))
        self.keeper = LeaseKeeper(
            self.store,
            worker=name,
            failover=FAILOVER,
            telemetry=telemetry,
            bound=lambda: self.leadership.bound,
            hand_over=lambda: 30.0,
        )
        self.sights = Sights(failover=FAILOVER, clock=wall_clock)
        self.gives_up = False

    @property
    def held(self) -> HeldLease | None:
        return self.keeper.held.get(SHARD)

    @property
    def believes(self) -> bool:
        """It may work on it: not any more when its work is done and it gives the lease up."""
        return self.held is not None and self.held.ours and not self.gives_up

    async def renew(self) -> None:
        if self.held is not None and self.held.writable:
            await self.keeper._renew([self.held])

    async def checkpoint(self, number: int) -> None:
        if (held := self.held) is not None:
            with held.scope, suppress(StateError):
                await held.checkpoint(lambda: (Position.after(str(number)), None))
            await self.look_after(held)

    async def look_after(self, held: HeldLease) -> None:
        if held.lost or held.lease.wanted_by not in (None, self.name):
            await self.give_up(held)

    async def give_up(self, held: HeldLease) -> None:
        self.gives_up = True
        await self.keeper.let_go(held)
        self.gives_up = False

    async def find(self) -> None:
        """As a worker looks for what it was given."""
        for lease in await self.rows.owned(self.name, known=self.keeper.held):
            if lease.owner is None and lease.wanted_by == self.name:
                await self.keeper.take(lease)

    async def lead(self, *, asks: bool) -> None:
        """One look at the rows, and what follows."""
        survey = await self.rows.survey()
        free = self.leadership.dead(seen=anyio.current_time()) == "a"
        self.sights.see(survey)
        (lease,) = survey.leases
        if self.name in (lease.owner, lease.wanted_by):
            return
        if free or lease.owner is None or self.sights.quiet(SHARD) >= FAILOVER:
            await self.rows.assign(lease, self.name)
        elif asks:
            await self.rows.ask(lease, self.name)


class Law:
    """What must be true at every moment."""

    def __init__(self, stage: Stage, *actors: Actor) -> None:
        self._stage = stage
        self._actors = actors
        self._checkpoint = 0
        stage.on_write = self.note
        self._writer = ""

    def note(self, who: str) -> None:
        self.check_row()
        self._writer = who

    def check_row(self) -> None:
        row = self._stage.table.items("esm-m")[SHARD]
        word = row["checkpoint"]["S"]
        now = int(word) if word.isdigit() else 0
        assert now >= self._checkpoint, f"the checkpoint goes back from {self._checkpoint} to {now}"
        self._checkpoint = now

    def check(self) -> None:
        believers = [actor.name for actor in self._actors if actor.believes]
        assert len(believers) <= 1, f"{believers} believe in one lease"
        leaders = [actor.name for actor in self._actors if actor.leadership.leads]
        assert len(leaders) <= 1, f"{leaders} lead"
        self.check_row()


def ends(stage: Stage) -> Callable[[], Awaitable[None]]:
    """When the two are gone another takes the lease in the time that it takes to see that they are: nothing is stuck."""

    async def end() -> None:
        async with anyio.create_task_group() as tasks:
            third = LeaseWorker("c", stage.client("c"), failover=FAILOVER)
            third.begin(tasks)
            await wait(lambda: third.believes == {SHARD}, within=2 * FAILOVER + 2 * FAILOVER)
            tasks.cancel_scope.cancel()

    return end


async def begin(stage: Stage) -> tuple[Actor, Actor]:
    """The lease is A's."""
    a, b = Actor("a", stage), Actor("b", stage)
    await a.store.create([Lease(scope=SCOPE, shard=SHARD, checkpoint=TRIM_HORIZON)])
    (lease,) = await a.store.load(SCOPE)
    assert await a.keeper.take(lease) is not None
    b.sights.see(await b.rows.survey())
    return a, b


async def asked_for(stage: Stage) -> Set:
    """B asks for it: A renews, moves the checkpoint, hands it over; B finds it."""
    a, b = await begin(stage)

    async def holder() -> None:
        await a.renew()
        await a.checkpoint(1)
        await a.checkpoint(2)

    async def leader() -> None:
        await b.lead(asks=True)
        await b.find()
        await b.checkpoint(3)

    law = Law(stage, a, b)
    return {"a": holder, "b": leader}, law.check, ends(stage)


async def silent(stage: Stage) -> Set:
    """A may be silent for long: B gives it to itself and takes it. A may write at any time."""
    a, b = await begin(stage)

    async def holder() -> None:
        await a.renew()
        await a.checkpoint(1)

    async def leader() -> None:
        await b.lead(asks=False)
        await b.lead(asks=False)
        await b.find()
        await b.checkpoint(2)

    law = Law(stage, a, b)
    return {"a": holder, "b": leader}, law.check, ends(stage)


async def late(stage: Stage) -> Set:
    """A renews in the moment in which B has seen it silent."""
    a, b = await begin(stage)

    async def holder() -> None:
        await anyio.sleep(0.8 * FAILOVER)
        await a.renew()

    async def leader() -> None:
        await b.lead(asks=False)
        await b.find()

    law = Law(stage, a, b)
    return {"a": holder, "b": leader}, law.check, ends(stage)


async def renewing(stage: Stage) -> Set:
    """A leads and renews its lease, but cannot beat its lock in time: B has taken it, and the lease with it."""
    a, b = await begin(stage)
    beats = Actor("a", stage, wire="a's lock")
    a.leadership = beats.leadership
    assert await a.leadership.seek()
    assert not await b.leadership.seek()

    async def holder() -> None:
        await anyio.sleep(0.5 * FAILOVER)
        await a.renew()

    async def leader() -> None:
        await a.leadership.beat()

    async def successor() -> None:
        if await b.leadership.seek():
            await b.lead(asks=False)
            await b.find()

    law = Law(stage, a, b)
    return {"a": holder, "a's lock": leader, "b": successor}, law.check, ends(stage)


async def lock_lost(stage: Stage) -> Set:
    """A leads, and its lease ends with its lock: B takes the lock when it is silent, and the lease at once."""
    a, b = await begin(stage)
    assert await a.leadership.seek()
    assert not await b.leadership.seek()

    async def holder() -> None:
        await a.leadership.beat()
        await a.renew()
        await a.leadership.beat()

    async def successor() -> None:
        for _ in range(2):
            if await b.leadership.seek():
                await b.lead(asks=False)
                await b.find()

    law = Law(stage, a, b)
    return {"a": holder, "b": successor}, law.check, ends(stage)


async def coming_back(stage: Stage) -> Set:
    """A has lost the lock with which its lease ended, and takes again what stands under its name; B may look at the rows late."""
    a, b = await begin(stage)
    assert await a.leadership.seek()
    assert not await b.leadership.seek()
    await anyio.sleep(1.1 * FAILOVER)

    async def holder() -> None:
        if not await a.leadership.beat() or a.held is None:
            return
        a.held.lose(expired=True)
        await a.give_up(a.held)
        a.leadership.mended()
        while a.leadership.waits:  # noqa: ASYNC110  # as rounds are
            await anyio.sleep(0.1)
        for lease in await a.rows.owned("a", known=()):
            if lease.owner == "a":
                await a.keeper.take(lease)

    async def successor() -> None:
        if await b.leadership.seek():
            await b.lead(asks=False)
            await b.find()

    law = Law(stage, a, b)
    return {"a": holder, "b": successor}, law.check, ends(stage)


async def leaving(stage: Stage) -> Set:
    """A leads and stops: it gives the lock back first, then the lease."""
    a, b = await begin(stage)
    assert await a.leadership.seek()
    assert not await b.leadership.seek()

    async def leader() -> None:
        await a.leadership.resign()
        await a.renew()
        if a.held is not None:
            await a.give_up(a.held)

    async def successor() -> None:
        for _ in range(2):
            if await b.leadership.seek():
                await b.lead(asks=False)
                await b.find()

    law = Law(stage, a, b)
    return {"a": leader, "b": successor}, law.check, ends(stage)


def play(story: Story, *, pauses: int, trouble: int) -> int:
    """More of each with ESM_ORDERS=1: that takes a quarter of an hour."""
    more = int(os.environ.get("ESM_ORDERS", "0"))
    return every_order(story, pauses=pauses + more, pause=PAUSE, trouble=trouble)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("pauses", "trouble", "least"), [(1, 0, 400), (0, 1, 400)])
def test_a_hand_over_in_every_order(pauses: int, trouble: int, least: int) -> None:
    assert play(asked_for, pauses=pauses, trouble=trouble) >= least


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("pauses", "trouble", "least"), [(3, 0, 300), (1, 1, 300)])
def test_a_silent_owner_in_every_order(pauses: int, trouble: int, least: int) -> None:
    assert play(silent, pauses=pauses, trouble=trouble) >= least


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("pauses", "trouble", "least"), [(2, 0, 13), (2, 1, 150)])
def test_a_renewal_beside_a_look_that_found_silence_in_every_order(pauses: int, trouble: int, least: int) -> None:
    assert play(late, pauses=pauses, trouble=trouble) >= least


@pytest.mark.timeout(3600)
def test_a_leader_that_renews_when_its_lock_is_lost_in_every_order() -> None:
    assert play(renewing, pauses=2, trouble=0) >= 200


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("pauses", "trouble", "least"), [(2, 0, 400), (1, 1, 300)])
def test_a_leader_that_loses_its_lock_in_every_order(pauses: int, trouble: int, least: int) -> None:
    assert play(lock_lost, pauses=pauses, trouble=trouble) >= least


@pytest.mark.timeout(3600)
def test_a_leader_that_lost_its_lock_and_takes_its_lease_again_in_every_order() -> None:
    assert play(coming_back, pauses=1, trouble=0) >= 300


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("pauses", "trouble", "least"), [(1, 0, 100), (0, 1, 100)])
def test_a_leader_that_leaves_in_every_order(pauses: int, trouble: int, least: int) -> None:
    assert play(leaving, pauses=pauses, trouble=trouble) >= least
