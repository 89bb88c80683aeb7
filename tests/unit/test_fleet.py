"""Workers that share shards through a leader, on fakes in virtual time."""

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Any

import anyio
from botocore.exceptions import ReadTimeoutError

from handlers.invoker import Outcome, Succeeded
from pollers.record import LATEST
from runtime.core.fleet_plan import plan_assignments
from runtime.core.mapping import StreamSettings
from runtime.fleet_rows import FleetRows
from runtime.leases import Lease, LeaseStore
from runtime.stores.dynamodb.fleet import ENTITY_WORKER
from runtime.stores.dynamodb.leases import lease_of
from runtime.stores.dynamodb.lock import LEADER, LockRow, parse_lock
from runtime.stores.dynamodb.rows import parse_lease
from tests.fakes.dynamodb_table import FakeDynamodb, fake_store
from tests.fakes.stream import STREAM_ARN, FakeStream
from tests.fakes.stream_worker import FakeStreamWorker, World, wait, wall_clock
from tests.fakes.virtual_time import virtual_time

FAILOVER = 10.0
RENEW = FAILOVER / 3


SCOPE = f"m {STREAM_ARN}"


class OnTable(World):
    """Workers with a client each to one DynamoDB table."""

    client: FakeDynamodb

    def leases(self) -> list[Lease]:
        rows = [parse_lease(item) for item in self.client.items("esm-m").values()]
        return [lease_of(row, SCOPE, start=None) for row in rows if row is not None]

    @property
    def lock(self) -> LockRow | None:
        item = self.client.items("esm-m").get(LEADER)
        return None if item is None else parse_lock(item)

    @property
    def reported(self) -> set[str]:
        return {key for key, item in self.client.items("esm-m").items() if item["entityType"]["S"] == ENTITY_WORKER}

    def children(self, shard: str) -> set[str]:
        return set(self.client.items("esm-m")[shard].get("childShardIds", {}).get("SS", ()))


def fleet_of(shards: int) -> OnTable:
    client = FakeDynamodb()

    def stores(worker: str) -> tuple[LeaseStore, FleetRows]:
        store = fake_store(client, worker=worker)
        return store, store.fleet(SCOPE)

    world = OnTable(stream=FakeStream(wall_clock, shard_count=shards), stores=stores)
    world.client = client
    return world


def works_on(worker: FakeStreamWorker) -> set[str]:
    return {shard for shard, status in worker.status.shards.items() if status.running}


def loads(*workers: FakeStreamWorker) -> list[int]:
    return sorted(len(works_on(worker)) for worker in workers)


@virtual_time
async def test_one_worker_leads_itself_and_begins_at_once() -> None:
    world = fleet_of(4)
    expected = world.stream.put("a", 20)
    async with world.running():
        await wait(lambda: len(set(chain.from_iterable(world.function.invoked))) == 20, within=3)
        lock = world.lock
        assert lock is not None
        assert lock.owner == "w1"
        assert world.reported == {"w1"}
    assert sorted(chain.from_iterable(world.function.invoked)) == sorted(expected)
    assert world.lock is None
    assert world.reported == set()


@virtual_time
async def test_workers_that_join_get_their_share_and_nothing_moves_after_that() -> None:
    world = fleet_of(12)
    async with anyio.create_task_group() as tasks:
        workers = [world.start(tasks, "w1")]
        await wait(lambda: loads(*workers) == [12])
        workers += [world.start(tasks, "w2"), world.start(tasks, "w3")]
        await wait(lambda: loads(*workers) == [4, 4, 4], within=60)
        await anyio.sleep(30)
        before = [works_on(worker) for worker in workers]
        await anyio.sleep(600)
        assert [works_on(worker) for worker in workers] == before
        assert not set.intersection(*before)
        for worker in workers:
            worker.drain.begin()


@virtual_time
async def test_a_dead_workers_shards_are_taken_over_within_failover_and_one_renewal() -> None:
    world = fleet_of(9)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 9)
        second, third = world.start(tasks, "w2"), world.start(tasks, "w3")
        await wait(lambda: loads(leader, second, third) == [3, 3, 3], within=60)
        await anyio.sleep(20)
        third.kill()
        died = anyio.current_time()
        await wait(lambda: len(works_on(leader) | works_on(second)) == 9, within=60)
        assert anyio.current_time() - died <= FAILOVER + RENEW
        assert world.lock is not None
        assert world.lock.owner == "w1"
        leader.drain.begin()
        second.drain.begin()


@virtual_time
async def test_a_dead_leaders_shards_are_taken_over_within_failover_and_one_renewal() -> None:
    world = fleet_of(9)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 9)
        second, third = world.start(tasks, "w2"), world.start(tasks, "w3")
        await wait(lambda: loads(leader, second, third) == [3, 3, 3], within=60)
        await anyio.sleep(20)
        leader.kill()
        died = anyio.current_time()
        await wait(lambda: len(works_on(third) | works_on(second)) == 9, within=60)
        assert anyio.current_time() - died <= FAILOVER + RENEW
        assert world.lock is not None
        assert world.lock.owner in ("w2", "w3")
        await anyio.sleep(60)
        assert loads(second, third) == [4, 5]
        second.drain.begin()
        third.drain.begin()


@virtual_time
async def test_a_leader_that_cannot_reach_the_table_works_on_nothing_when_another_leads() -> None:
    """Its shards are given away when its lock has run out: it must have stopped by then."""
    world = fleet_of(6)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 6)
        second = world.start(tasks, "w2")
        await wait(lambda: loads(leader, second) == [3, 3], within=60)
        await anyio.sleep(20)
        leader.wires[1].cut = True  # its leases are still renewed
        for _ in range(400):
            await anyio.sleep(0.1)
            assert not works_on(leader) & works_on(second), "two work on one shard"
        assert len(works_on(second)) == 6
        leader.wires[1].cut = False
        await wait(lambda: loads(leader, second) == [3, 3], within=120)
        assert world.lock is not None
        assert world.lock.owner == "w2"
        leader.drain.begin()
        second.drain.begin()


@virtual_time
async def test_a_hand_over_repeats_no_record() -> None:
    world = fleet_of(4)
    async with anyio.create_task_group() as tasks:
        first = world.start(tasks, "w1")
        await wait(lambda: len(works_on(first)) == 4)
        second = world.start(tasks, "w2")
        for number in range(600):
            world.stream.put(f"key-{number}", 1)
            await anyio.sleep(0.1)
        assert loads(first, second) == [2, 2]
        await wait(lambda: len(list(chain.from_iterable(world.function.invoked))) >= 600)
        first.drain.begin()
        second.drain.begin()
    counts = Counter(chain.from_iterable(world.function.invoked))
    assert len(counts) == 600
    assert set(counts.values()) == {1}


@virtual_time
async def test_whoever_ends_a_shard_makes_the_rows_of_its_children_first() -> None:
    world = fleet_of(2)
    world.settings = StreamSettings(start=LATEST)
    async with anyio.create_task_group() as tasks:
        first = world.start(tasks, "w1")
        await wait(lambda: len(works_on(first)) == 2)
        second = world.start(tasks, "w2")
        await wait(lambda: loads(first, second) == [1, 1], within=60)
        await anyio.sleep(10)
        (follower_shard,) = works_on(second)
        new = world.stream.put("a", 3) + world.stream.put("b", 3) + world.stream.put("c", 3)
        left, right = world.stream.split(follower_shard)
        new += world.stream.put("a", 3) + world.stream.put("b", 3) + world.stream.put("c", 3)
        await wait(lambda: world.checkpoints().get(follower_shard) == "SHARD_END", within=30)
        assert world.children(follower_shard) == {left, right}
        assert {left, right} <= world.checkpoints().keys()
        await wait(lambda: len(set(chain.from_iterable(world.function.invoked))) == len(new), within=30)
        first.drain.begin()
        second.drain.begin()
    assert sorted(chain.from_iterable(world.function.invoked)) == sorted(new)


@virtual_time
async def test_of_two_with_one_name_only_one_works_on_a_shard() -> None:
    world = fleet_of(3)
    async with anyio.create_task_group() as tasks:
        first = world.start(tasks, "w1")
        await wait(lambda: len(works_on(first)) == 3)
        twin = world.start(tasks, "w1")
        for _ in range(600):
            await anyio.sleep(0.1)
            assert not works_on(first) & works_on(twin)
        assert len(works_on(first)) == 3
        first.drain.begin()
        twin.drain.begin()


@virtual_time
async def test_the_process_after_a_dead_one_of_the_same_name_goes_on_with_its_shards() -> None:
    world = fleet_of(3)
    async with anyio.create_task_group() as tasks:
        first = world.start(tasks, "w1")
        await wait(lambda: len(works_on(first)) == 3)
        first.kill()
        second = world.start(tasks, "w1")
        await wait(lambda: len(works_on(second)) == 3, within=FAILOVER + RENEW)
        second.drain.begin()


# what would have gone wrong once


@virtual_time
async def test_a_leader_that_drains_keeps_its_leases_until_its_batch_is_done_and_others_lead_meanwhile() -> None:
    world = fleet_of(4)

    async def slow(_: dict[str, Any]) -> Outcome:
        await anyio.sleep(25)
        return Succeeded(response=None)

    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 4)
        second = world.start(tasks, "w2")
        await wait(lambda: loads(leader, second) == [2, 2], within=60)
        world.function.handler = slow
        put = [world.stream.put(f"key-{number}", 1)[0] for number in range(30)]
        await wait(lambda: world.function.running == 4, within=10)
        leader.drain.begin()
        await anyio.sleep(2)
        assert world.reported == {"w2"}
        assert world.lock is not None
        assert world.lock.owner == "w2"
        await leader.ended.wait()
        await wait(lambda: len(works_on(second)) == 4, within=5)
        await wait(lambda: len(set(chain.from_iterable(world.function.invoked))) == len(put), within=300)
        second.drain.begin()
    assert len(list(chain.from_iterable(world.function.invoked))) == len(put)


@virtual_time
async def test_a_worker_that_drains_is_given_nothing() -> None:
    world = fleet_of(9)
    async with anyio.create_task_group() as tasks:
        workers = [world.start(tasks, f"w{number}") for number in range(3)]
        await wait(lambda: loads(*workers) == [3, 3, 3], within=60)
        last = next(
            worker for worker, name in zip(workers, ("w0", "w1", "w2"), strict=True) if world.lock and name != world.lock.owner
        )
        last.drain.begin()
        began = anyio.current_time()
        rest = [worker for worker in workers if worker is not last]
        await wait(lambda: sum(loads(*rest)) == 9, within=30)
        assert anyio.current_time() - began < FAILOVER / 2
        for worker in rest:
            worker.drain.begin()


@virtual_time
async def test_a_hand_over_that_takes_too_long_is_cut_off_by_the_owner_before_anybody_forces_it() -> None:
    """A handler that does not mind its time limit: never two who work on the shard."""
    world = fleet_of(2)
    world.function_timeout = 5
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def endless(event: dict[str, Any]) -> Outcome:
        shard = event["Records"][0]["eventID"].partition(":")[0]
        running[shard] += 1
        most[shard] = max(most[shard], running[shard])
        try:
            await anyio.sleep(200 if len(most) <= 2 and most[shard] == 1 and not slow.is_set() else 0)
        finally:
            running[shard] -= 1
        return Succeeded(response=None)

    slow = anyio.Event()
    world.function.handler = endless
    async with anyio.create_task_group() as tasks:
        first = world.start(tasks, "w1")
        await wait(lambda: len(works_on(first)) == 2)
        await anyio.sleep(3 * FAILOVER)
        for number in range(10):
            world.stream.put(f"key-{number}", 1)
        await wait(lambda: world.function.running == 2, within=10)
        second = world.start(tasks, "w2")
        await wait(lambda: len(works_on(second)) == 1, within=35 + 2 * FAILOVER)
        slow.set()
        assert set(most.values()) == {1}
        first.scope.cancel()
        second.scope.cancel()


@virtual_time
async def test_a_child_of_a_merge_waits_for_the_parent_that_no_row_knew_of() -> None:
    """One parent comes from a split that nobody has listed yet: its row is made before the child is."""
    world = fleet_of(2)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 2)
        worker = world.start(tasks, "w2")
        await wait(lambda: loads(leader, worker) == [1, 1], within=60)
        await anyio.sleep(1)  # the leader has listed, and does so again after a minute only
        (first,), (second,) = works_on(leader), works_on(worker)
        blocked = anyio.Event()

        async def hold_back(event: dict[str, Any]) -> Outcome:
            if event["Records"][0]["eventID"].startswith(first) and not blocked.is_set():
                await anyio.sleep(20)
            return Succeeded(response=None)

        world.function.handler = hold_back
        for number in range(20):
            world.stream.put(f"key-{number}", 1)
        left, _ = world.stream.split(first)
        for number in range(20):
            world.stream.put(f"key-{number}", 1)
        child = world.stream.merge(left, second)
        for number in range(20):
            world.stream.put(f"key-{number}", 1)
        await wait(lambda: child in world.checkpoints(), within=15)
        assert left in world.checkpoints()
        await wait(lambda: len(set(chain.from_iterable(world.function.invoked))) == 60, within=120)
        leader.drain.begin()
        worker.drain.begin()
    order = {number: place for place, number in enumerate(chain.from_iterable(world.function.invoked))}
    for key in range(20):
        mine = [record.id for shard in world.stream.shards.values() for record in shard.records if record.group == f"key-{key}"]
        places = [order[number] for number in sorted(mine, key=int)]
        assert places == sorted(places), key


@virtual_time
async def test_a_heartbeat_whose_answer_is_lost_costs_the_leader_nothing() -> None:
    world = fleet_of(3)
    async with anyio.create_task_group() as tasks:
        worker = world.start(tasks, "w1")
        await wait(lambda: len(works_on(worker)) == 3)
        lost = 0

        async def lose(operation: str, request: Mapping[str, Any]) -> None:
            nonlocal lost
            if operation == "UpdateItem" and request["Key"]["leaseKey"]["S"] == LEADER and lost < 2:
                lost += 1
                raise ReadTimeoutError(endpoint_url="http://table")

        world.client.after = lose
        for _ in range(300):
            await anyio.sleep(0.1)
            assert len(works_on(worker)) == 3
        assert lost == 2
        assert world.lock is not None
        assert world.lock.owner == "w1"
        worker.drain.begin()


@virtual_time
async def test_rows_of_workers_that_died_long_ago_get_no_shards_and_are_deleted_in_the_end() -> None:
    world = fleet_of(4)
    async with anyio.create_task_group() as tasks:
        worker = world.start(tasks, "w1")
        await wait(lambda: len(works_on(worker)) == 4)
        old = {"leaseKey": {"S": "dead"}, "entityType": {"S": ENTITY_WORKER}, "lut": {"N": str(int(wall_clock() - 7200))}}
        await world.client.put_item(TableName="esm-m", Item=old)
        for _ in range(600):
            await anyio.sleep(0.1)
            assert len(works_on(worker)) == 4
        assert "dead" in world.reported
        await anyio.sleep(3700)
        assert world.reported == {"w1"}
        worker.drain.begin()


@virtual_time
async def test_a_drain_that_begins_while_a_shard_asks_for_its_parents_is_obeyed() -> None:
    world = fleet_of(1)
    async with anyio.create_task_group() as tasks:
        worker = world.start(tasks, "w1")
        await wait(lambda: len(works_on(worker)) == 1)
        (parent,) = works_on(worker)

        async def wait_a_while(operation: str, request: Mapping[str, Any]) -> None:
            if (
                operation == "GetItem"
                and request["Key"]["leaseKey"]["S"] == parent
                and "SHARD_END" in world.checkpoints().values()
            ):
                worker.drain.begin()
                await anyio.sleep(1)

        world.client.before = wait_a_while
        world.stream.split(parent)
        await wait(worker.ended.is_set, within=60)


@virtual_time
async def test_a_leader_that_comes_back_under_its_name_leads_before_it_works() -> None:
    """Its leases end with the lock of its dead namesake: whoever takes that would give away what it works on."""
    world = fleet_of(6)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 6)
        second = world.start(tasks, "w2")
        await wait(lambda: loads(leader, second) == [3, 3], within=60)
        await anyio.sleep(20)
        leader.kill()
        again = world.start(tasks, "w1")
        for _ in range(300):
            await anyio.sleep(0.1)
            assert not works_on(again) & works_on(second), "two work on one shard"
        assert len(works_on(again) | works_on(second)) == 6
        again.drain.begin()
        second.drain.begin()


def test_what_was_given_to_a_worker_that_has_left_is_given_to_another_at_once() -> None:
    given = Lease(scope=SCOPE, shard="s", checkpoint=LATEST, wanted_by="gone", counter=4)
    times = {"quiet": {"s": 0.1}, "resident": {"s": 0.1}, "handing": {"s": 0.1}}
    (plan,) = plan_assignments([given], ["here"], failover=FAILOVER, residency=30, patience=60, **times)
    assert (plan.to, plan.asks) == ("here", False)


@virtual_time
async def test_rows_are_made_from_the_oldest_shard_on_so_that_a_crash_between_them_passes_none() -> None:
    """A shard without a row that comes before one with a row counts as done; a hundred rows are made in one step."""
    world = fleet_of(60)
    world.stream.youngest_first = True
    old = [*world.stream.shards]
    put = [record for shard in old for record in world.stream.put("a", shard=shard)]
    for shard in old:
        world.stream.split(shard)
    written = 0

    async def fail_in_between(operation: str, _: Mapping[str, Any]) -> None:
        nonlocal written
        written += operation == "TransactWriteItems"
        if operation == "TransactWriteItems" and written == 2:
            raise ReadTimeoutError(endpoint_url="http://table")

    world.client.before = fail_in_between
    async with world.running():
        await anyio.sleep(30)
        assert len(world.leases()) == 180
        await wait(lambda: {*chain.from_iterable(world.function.invoked)} >= {*put}, within=60)
