"""What a fleet promises in numbers: how fast shards are shared, taken over and left alone. The table has the real conditions."""

from collections import defaultdict
from collections.abc import Callable

import anyio
import pytest

from pollers.record import TRIM_HORIZON
from runtime.leases import Lease
from tests.fakes.dynamodb_table import FakeDynamodb
from tests.fakes.fleet_worker import FAILOVER, SCOPE, LeaseWorker
from tests.fakes.stream_worker import wait
from tests.fakes.virtual_time import virtual_time

RENEW = FAILOVER / 3
SURVEY = FAILOVER / 5
"""Seconds between two assignment rounds of a leader."""
RESIDENCY = 3 * FAILOVER
MANY = 1_000
pytestmark = pytest.mark.usefixtures("no_log")


class Fleet:
    """Workers on one table."""

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self.client = FakeDynamodb()
        self.tasks = tasks
        self.workers: dict[str, LeaseWorker] = {}
        self.units: dict[str, float] = defaultdict(float)

    def start(self, *names: str) -> None:
        for name in names:
            self.workers[name] = LeaseWorker(name, self.client, used=self._count)
            self.workers[name].begin(self.tasks)

    def _count(self, kind: str, _operation: str, units: float) -> None:
        self.units[kind] += units

    async def make(self, shards: int) -> None:
        (first, *_) = self.workers.values()
        await first.store.create(
            [Lease(scope=SCOPE, shard=f"shardId-{number:012}", checkpoint=TRIM_HORIZON) for number in range(shards)]
        )

    @property
    def loads(self) -> list[int]:
        return sorted(len(worker.believes) for worker in self.workers.values())

    def holder_of(self) -> dict[str, str]:
        held: dict[str, str] = {}
        for name, worker in self.workers.items():
            for shard in worker.believes:
                assert shard not in held, f"{shard}: {name} and {held[shard]}"
                held[shard] = name
        return held

    def is_level(self, shards: int) -> bool:
        return sum(self.loads) == shards and self.loads[-1] - self.loads[0] <= 1

    async def all_held(self, shards: int) -> None:
        await wait(lambda: sum(self.loads) == shards, within=60)

    async def level(self, shards: int, *, within: float) -> None:
        try:
            await wait(lambda: self.is_level(shards), within=within)
        except TimeoutError:
            raise AssertionError(f"not level after {within:.1f} s: {self.loads}") from None

    def gone(self, name: str) -> LeaseWorker:
        return self.workers.pop(name)


def names(number: int) -> list[str]:
    return [f"w{each}" for each in range(number)]


@virtual_time
async def test_a_thousand_shards_are_level_over_ten_workers_within_three_rounds_also_when_workers_come_and_go() -> None:
    """At most one apart. From a table with nothing, after three workers have died, and after four have joined."""
    async with anyio.create_task_group() as tasks:
        fleet = Fleet(tasks)
        fleet.start(*names(10))
        await anyio.sleep(5)
        await fleet.make(MANY)
        await fleet.level(MANY, within=3 * SURVEY)

        await anyio.sleep(RESIDENCY)
        for name in ("w1", "w4", "w7"):
            fleet.gone(name).kill()
        await fleet.level(MANY, within=FAILOVER + RENEW + 3 * SURVEY)

        await anyio.sleep(RESIDENCY)
        fleet.start("w10", "w11", "w12", "w13")
        await fleet.level(MANY, within=3 * SURVEY + RENEW)  # its owner hears of it with the next renewal
        fleet.holder_of()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("victim", ["leader", "follower"])
@virtual_time
async def test_shards_of_a_dead_worker_are_worked_on_again_within_failover_and_one_renewal(victim: str) -> None:
    """Whenever it dies between two of its renewals."""
    for moment in range(6):
        async with anyio.create_task_group() as tasks:
            fleet = Fleet(tasks)
            fleet.start(*names(5))
            await anyio.sleep(3)
            await fleet.make(40)
            await fleet.level(40, within=30)
            await anyio.sleep(RENEW * 3 + RENEW * moment / 6)
            leader = next(name for name, worker in fleet.workers.items() if worker.fleet.lists)
            name = leader if victim == "leader" else next(each for each in fleet.workers if each != leader)
            fleet.gone(name).kill()
            died = anyio.current_time()
            await fleet.all_held(40)
            took = anyio.current_time() - died
            assert took <= FAILOVER + RENEW, f"{victim} {moment}: {took:.2f} s"
            tasks.cancel_scope.cancel()


@virtual_time
async def test_a_worker_that_leaves_is_missed_for_two_looks_and_not_for_the_failover_time() -> None:
    """The leader too: a rolling update of all workers."""
    async with anyio.create_task_group() as tasks:
        fleet = Fleet(tasks)
        fleet.start(*names(4))
        await anyio.sleep(3)
        await fleet.make(40)
        await fleet.level(40, within=30)
        for number in range(4):
            await anyio.sleep(RESIDENCY + 5)
            leader = next(name for name, worker in fleet.workers.items() if worker.fleet.lists)
            fleet.start(f"new-{number}")
            await anyio.sleep(5)
            fleet.gone(leader).drain()
            await wait(lambda: sum(fleet.loads) == 40, within=FAILOVER / 2)
        await fleet.level(40, within=60)
        tasks.cancel_scope.cancel()


async def moves_in(fleet: Fleet, seconds: float, act: Callable[[float], None] = lambda _: None) -> int:
    """How many times a shard had another holder than before."""
    last, moved, until = fleet.holder_of(), 0, anyio.current_time() + seconds
    while anyio.current_time() < until:
        act(anyio.current_time())
        await anyio.sleep(0.5)
        now = fleet.holder_of()
        moved += sum(last.get(shard) not in (None, name) for shard, name in now.items())
        last |= now
    return moved


@virtual_time
async def test_nothing_moves_while_shards_are_quiet() -> None:
    async with anyio.create_task_group() as tasks:
        fleet = Fleet(tasks)
        fleet.start(*names(7))
        await anyio.sleep(3)
        await fleet.make(30)
        await fleet.level(30, within=30)
        assert await moves_in(fleet, 300) == 0
        tasks.cancel_scope.cancel()


@virtual_time
async def test_a_worker_that_comes_and_goes_moves_no_more_than_its_own_share() -> None:
    """It starts and is killed each 25 seconds, twelve times: the others keep what they have among themselves."""
    async with anyio.create_task_group() as tasks:
        fleet = Fleet(tasks)
        fleet.start(*names(4))
        await anyio.sleep(3)
        await fleet.make(40)
        await fleet.level(40, within=30)
        await anyio.sleep(RESIDENCY)
        began, lives = anyio.current_time(), 0

        def flap(moment: float) -> None:
            nonlocal lives
            if moment - began >= lives * 25:
                if "flapping" in fleet.workers:
                    fleet.gone("flapping").kill()
                lives += 1
                fleet.start("flapping")

        moved = await moves_in(fleet, 300, flap)
        assert moved <= 2 * 8 * lives, f"{moved} moves in {lives} lives"
        tasks.cancel_scope.cancel()
