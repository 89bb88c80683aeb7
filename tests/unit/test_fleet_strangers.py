"""One table, and workers that mean different streams by it: on fakes in virtual time."""

import anyio

from runtime.fleet_rows import FleetRows
from runtime.leases import LeaseStore
from tests.fakes.dynamodb_table import fake_store
from tests.fakes.stream import STREAM_ARN, FakeStream
from tests.fakes.stream_worker import wait, wall_clock
from tests.fakes.virtual_time import virtual_time
from tests.unit.test_fleet import FAILOVER, OnTable, fleet_of, works_on

OTHER_ARN = STREAM_ARN.replace("orders", "others")


def strangers_of(world: OnTable, shards: int) -> OnTable:
    """Workers of another configuration, with the same name for another stream, and the same table."""

    def stores(worker: str) -> tuple[LeaseStore, FleetRows]:
        store = fake_store(world.client, worker=worker)
        return store, store.fleet(f"m {OTHER_ARN}")

    stranger = OnTable(stream=FakeStream(wall_clock, shard_count=shards), stores=stores, arn=OTHER_ARN)
    stranger.client = world.client
    return stranger


@virtual_time
async def test_a_worker_of_another_stream_is_given_no_lease() -> None:
    """As in a rollout of another EventSourceArn: it would read its own stream at the positions of the other one."""
    world = fleet_of(4)
    others = strangers_of(world, 4)
    async with anyio.create_task_group() as tasks:
        worker = world.start(tasks, "w1")
        await wait(lambda: len(works_on(worker)) == 4)
        stranger = others.start(tasks, "w2")
        for _ in range(100 * int(FAILOVER)):
            await anyio.sleep(0.1)
            assert len(works_on(worker)) == 4
            assert not works_on(stranger)
        assert "is of" in str(stranger.status.state_error)
        assert world.reported == {"w1"}
        worker.drain.begin()
        stranger.drain.begin()


@virtual_time
async def test_of_two_streams_that_begin_with_one_empty_table_one_has_it() -> None:
    world = fleet_of(4)
    others = strangers_of(world, 4)
    async with anyio.create_task_group() as tasks:
        pair = [world.start(tasks, "w1"), others.start(tasks, "w2")]
        for _ in range(100):
            await anyio.sleep(0.1)
            assert not (works_on(pair[0]) and works_on(pair[1]))
        await wait(lambda: max(len(works_on(worker)) for worker in pair) == 4, within=3 * FAILOVER)
        (stranger,) = [worker for worker in pair if not works_on(worker)]
        (worker,) = [worker for worker in pair if worker is not stranger]
        assert "is of" in str(stranger.status.state_error)
        for _ in range(100 * int(FAILOVER)):
            await anyio.sleep(0.1)
            assert len(works_on(worker)) == 4
            assert not works_on(stranger)
        worker.drain.begin()
        stranger.drain.begin()
