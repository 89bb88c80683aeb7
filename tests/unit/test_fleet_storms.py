"""Fleets through what happens to all of them at once: on fakes in virtual time."""

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Any

import anyio
from botocore.exceptions import ClientError

from handlers.invoker import Outcome, Succeeded
from pollers.record import LATEST, TRIM_HORIZON
from runtime.core.mapping import StreamSettings
from runtime.leases import Lease
from tests.fakes.fleet_worker import LeaseWorker
from tests.fakes.stream_worker import FakeStreamWorker, wait
from tests.fakes.virtual_time import virtual_time
from tests.unit.test_fleet import FAILOVER, SCOPE, OnTable, fleet_of, loads, works_on


def invoked(world: OnTable) -> Counter[str]:
    return Counter(chain.from_iterable(world.function.invoked))


@virtual_time
async def test_a_table_that_is_throttled_for_a_minute_costs_repeats_and_no_record() -> None:
    """Nobody can renew, so all let go; when it answers again all is as before, and never have two worked on one shard."""
    world = fleet_of(6)
    throttled = False

    async def throttle(operation: str, _request: Mapping[str, Any]) -> None:
        await anyio.lowlevel.checkpoint()
        if throttled and operation != "DescribeTable":
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "slow"}}, operation)

    world.client.before = throttle
    async with anyio.create_task_group() as tasks:
        workers = [world.start(tasks, f"w{number}") for number in range(3)]
        await wait(lambda: loads(*workers) == [2, 2, 2], within=60)
        put = []
        for second in range(1200):
            throttled = 200 <= second < 800
            put += world.stream.put(f"key-{second}", 1)
            await anyio.sleep(0.1)
            busy = Counter(chain.from_iterable(works_on(worker) for worker in workers))
            assert set(busy.values()) <= {1}, "two work on one shard"
            if second == 799:
                assert not busy
                assert all("capacity" in str(worker.status.state_error) for worker in workers)
        await wait(lambda: loads(*workers) == [2, 2, 2], within=6 * FAILOVER)
        await wait(lambda: len(invoked(world)) == len(put), within=60)
        assert all(worker.status.state_error is None for worker in workers)
        for worker in workers:
            worker.drain.begin()


@virtual_time
async def test_a_fleet_that_grows_and_shrinks_again_repeats_no_record() -> None:
    world = fleet_of(10)
    put: list[str] = []

    async def seconds(count: int) -> None:
        for _ in range(count):
            put.extend(world.stream.put(f"key-{len(put)}", 1))
            await anyio.sleep(1)

    async with anyio.create_task_group() as tasks:
        workers: list[FakeStreamWorker] = [world.start(tasks, "w0")]
        await seconds(40)
        workers += [world.start(tasks, f"w{number}") for number in range(1, 10)]
        await seconds(40)
        assert loads(*workers) == [1] * 10
        for worker in workers[:9]:
            worker.drain.begin()
            await seconds(1)
        await seconds(20)
        assert loads(workers[9]) == [10]
        await wait(lambda: len(invoked(world)) == len(put), within=30)
        workers[9].drain.begin()
    assert set(invoked(world).values()) == {1}


@virtual_time
async def test_of_a_stream_that_several_workers_begin_at_latest_at_once_nothing_is_lost_and_nothing_old_is_read() -> None:
    world = fleet_of(8)
    world.settings = StreamSettings(start=LATEST)
    old = [world.stream.put(f"key-{number}", 1)[0] for number in range(40)]
    async with anyio.create_task_group() as tasks:
        workers = [world.start(tasks, f"w{number}") for number in range(5)]
        await wait(lambda: sum(loads(*workers)) == 8, within=30)
        await anyio.sleep(1)
        new = [world.stream.put(f"key-{number}", 1)[0] for number in range(40)]
        world.stream.split(min(works_on(workers[0]) or works_on(workers[1])))
        new += [world.stream.put(f"key-{number}", 1)[0] for number in range(40)]
        await wait(lambda: set(new) <= invoked(world).keys(), within=90)
        assert not invoked(world).keys() & {*old}
        for worker in workers:
            worker.drain.begin()


@virtual_time
async def test_workers_whose_clocks_are_minutes_apart_share_and_take_over_as_others_do() -> None:
    world = fleet_of(1)
    workers = [LeaseWorker(f"w{number}", world.client, skew=skew) for number, skew in enumerate((-300, 0, 400, 7200))]
    async with anyio.create_task_group() as tasks:
        for worker in workers:
            worker.begin(tasks)
            await anyio.sleep(0.5)
        await workers[0].store.create([Lease(scope=SCOPE, shard=f"s{number}", checkpoint=TRIM_HORIZON) for number in range(12)])
        await wait(lambda: [len(worker.believes) for worker in workers] == [3, 3, 3, 3], within=6 * FAILOVER)
        await anyio.sleep(4 * FAILOVER)
        assert [len(worker.believes) for worker in workers] == [3, 3, 3, 3]
        while len(workers) > 1:  # each time the leader
            assert world.lock is not None
            leader = next(worker for worker in workers if world.lock and worker.name == world.lock.owner)
            workers.remove(leader)
            leader.kill()
            before = anyio.current_time()
            while sum(len(worker.believes) for worker in workers) < 12:
                await anyio.sleep(0.1)
                busy = Counter(chain.from_iterable(worker.believes for worker in workers))
                assert set(busy.values()) <= {1}
                assert anyio.current_time() - before < 2 * FAILOVER
            share = 12 // len(workers)
            await wait(lambda: {len(worker.believes) for worker in workers} == {share}, within=8 * FAILOVER)  # noqa: B023
        workers[0].kill()


@virtual_time
async def test_a_shard_that_splits_and_merges_while_it_is_handed_over_is_read_once_and_in_order() -> None:
    world = fleet_of(2)

    async def slow(_: dict[str, Any]) -> Outcome:
        await anyio.sleep(8)
        return Succeeded(response=None)

    async with anyio.create_task_group() as tasks:
        first = world.start(tasks, "w1")
        await wait(lambda: len(works_on(first)) == 2)
        await anyio.sleep(4 * FAILOVER)
        world.function.handler = slow
        for number in range(60):
            world.stream.put(f"key-{number % 20}", 1)
        await wait(lambda: world.function.running == 2, within=10)
        second = world.start(tasks, "w2")
        await wait(lambda: any(lease.wanted_by == "w2" and lease.owner == "w1" for lease in world.leases()), within=FAILOVER)
        (handed,) = [lease.shard for lease in world.leases() if lease.wanted_by == "w2"]
        left, right = world.stream.split(handed)
        for number in range(60):
            world.stream.put(f"key-{number % 20}", 1)
        child = world.stream.merge(left, right)
        for number in range(60):
            world.stream.put(f"key-{number % 20}", 1)
        await wait(lambda: len(invoked(world)) == 180, within=600)
        await wait(lambda: loads(first, second) == [1, 1], within=60)
        assert child in works_on(first) | works_on(second)
        first.drain.begin()
        second.drain.begin()
    assert set(invoked(world).values()) == {1}
    place = {number: place for place, number in enumerate(chain.from_iterable(world.function.invoked))}
    for key in range(20):
        mine = [place[record.id] for record in world.stream.puts if record.group == f"key-{key}"]
        assert mine == sorted(mine), key
