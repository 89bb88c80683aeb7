"""What may go wrong around one worker of a fleet, and must not become the trouble of all: on fakes in virtual time."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import anyio.lowlevel
from botocore.exceptions import ClientError

from handlers.invoker import Outcome, Succeeded
from pollers.record import TRIM_HORIZON
from runtime.leases import Lease
from runtime.stores.dynamodb.errors import StateRejected
from tests.fakes.dynamodb_table import fake_store
from tests.fakes.fleet_worker import LeaseWorker
from tests.fakes.stream_worker import FakeStreamWorker, wait
from tests.fakes.virtual_time import virtual_time
from tests.unit.test_fleet import FAILOVER, RENEW, SCOPE, OnTable, fleet_of, loads, works_on
from tests.unit.test_fleet_mixed import Java

Step = Callable[[str, Mapping[str, Any]], Awaitable[None]]


@virtual_time
async def test_a_leader_that_dies_while_it_is_handed_a_shard_takes_it_from_nobody() -> None:
    """The owner lives, and works on it until its batch is done."""
    world = fleet_of(9)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 9)
        second, third = world.start(tasks, "w2"), world.start(tasks, "w3")
        await wait(lambda: loads(leader, second, third) == [3, 3, 3], within=60)
        await anyio.sleep(20)

        async def slow(_: dict[str, Any]) -> Outcome:
            await anyio.sleep(25)
            return Succeeded(response=None)

        world.function.handler = slow
        shard = min(works_on(second))
        for number in range(60):
            world.stream.put(f"key-{number}", 1)
        await wait(lambda: world.function.running == 9, within=10)
        (lease,) = [lease for lease in world.leases() if lease.shard == shard]
        assert await fake_store(world.client, worker="w1").fleet(SCOPE).ask(lease, "w1")
        await anyio.sleep(1)
        leader.kill()
        for _ in range(230):
            await anyio.sleep(0.1)
            assert not works_on(second) & works_on(third), "two work on one shard"
        assert second.metric("esm_lease_changes_total", change="lost") == 0
        await wait(lambda: loads(second, third) == [4, 5], within=60)
        second.drain.begin()
        third.drain.begin()


class Refusing:
    """A way to the rows on which some calls are refused."""

    def __init__(self, rows: Any, *calls: str) -> None:
        self._rows = rows
        self.calls = set(calls)

    def __getattr__(self, call: str) -> Any:
        return self._refuse if call in self.calls else getattr(self._rows, call)

    async def _refuse(self, *_: Any, **__: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        raise StateRejected("not allowed")


def refuse(worker: FakeStreamWorker, *calls: str) -> Refusing:
    """From now on."""
    rows = worker.wires[1]
    rows._store = refusing = Refusing(rows._store, *calls)
    return refusing


@virtual_time
async def test_a_worker_that_cannot_find_what_it_is_given_is_given_nothing() -> None:
    """As in a rollout whose role may not read the index: the others go on with all they have."""
    world = fleet_of(6)
    async with anyio.create_task_group() as tasks:
        first = world.start(tasks, "w1")
        await wait(lambda: len(works_on(first)) == 6)
        blind = world.start(tasks, "w2")
        refusing = refuse(blind, "owned")
        for _ in range(2000):
            await anyio.sleep(0.1)
            assert len(works_on(first)) == 6
        assert not blind.status.ready
        assert world.reported == {"w1"}
        refusing.calls.clear()
        await wait(lambda: loads(first, blind) == [3, 3], within=60)
        refusing.calls.add("owned")
        await anyio.sleep(2 * FAILOVER)
        assert loads(first, blind) == [3, 3], "what it has it keeps"
        first.drain.begin()
        blind.drain.begin()


@virtual_time
async def test_a_leader_that_cannot_see_the_rows_lets_another_lead() -> None:
    world = fleet_of(6)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 6)
        second, third = world.start(tasks, "w2"), world.start(tasks, "w3")
        await wait(lambda: loads(leader, second, third) == [2, 2, 2], within=60)
        await anyio.sleep(20)
        refusing = refuse(leader, "survey")
        third.kill()
        await wait(lambda: len(works_on(leader) | works_on(second)) == 6, within=3 * FAILOVER)
        assert world.lock is not None
        assert world.lock.owner == "w2"
        assert leader.metric("esm_lease_changes_total", change="lost") == 0
        await anyio.sleep(10 * FAILOVER)
        assert leader.status.ready, "it is a worker like others"
        refusing.calls.clear()
        leader.drain.begin()
        second.drain.begin()


@virtual_time
async def test_a_leader_that_cannot_find_its_own_leases_gives_itself_none_and_lets_another_lead() -> None:
    world = fleet_of(6)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 6)
        second = world.start(tasks, "w2")
        await wait(lambda: loads(leader, second) == [3, 3], within=60)
        await anyio.sleep(20)
        refuse(leader, "owned")
        await anyio.sleep(2)
        world.stream.split(min(works_on(second)))
        await wait(lambda: len(works_on(second)) == 4, within=FAILOVER / 2)
        await wait(lambda: world.lock is not None and world.lock.owner == "w2", within=FAILOVER)
        await anyio.sleep(10 * FAILOVER)
        assert loads(leader, second) == [3, 4]
        leader.drain.begin()
        second.drain.begin()


@virtual_time
async def test_a_worker_alone_that_could_not_see_the_rows_leads_again_when_it_can() -> None:
    world = fleet_of(2)
    async with anyio.create_task_group() as tasks:
        worker = world.start(tasks, "w1")
        await wait(lambda: len(works_on(worker)) == 2)
        refusing = refuse(worker, "survey", "unlock")
        await anyio.sleep(3 * FAILOVER)
        assert len(works_on(worker)) == 2, "what it has it keeps"
        refusing.calls.clear()
        left, right = world.stream.split(min(works_on(worker)))
        await wait(lambda: {left, right} <= works_on(worker), within=3 * FAILOVER)
        assert worker.metric("esm_fleet_leader") == 1
        worker.drain.begin()


@virtual_time
async def test_a_row_that_cannot_be_read_is_told_and_keeps_no_other_shard_from_its_worker() -> None:
    world = fleet_of(4)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 4)
        second = world.start(tasks, "w2")
        await wait(lambda: loads(leader, second) == [2, 2], within=60)
        await anyio.sleep(20)
        broken, other = sorted(works_on(leader))
        row = world.client.items("esm-m")[broken] | {"checkpoint": {"S": "latest"}, "leaseOwner": {"S": "w2"}}
        await world.client.put_item(TableName="esm-m", Item=row)
        await wait(lambda: leader.status.state_error is not None, within=FAILOVER)
        assert f"row '{broken}': the checkpoint 'latest' is none that KCL writes: correct it" in str(leader.status.state_error)
        children = world.stream.split(other)
        await wait(lambda: {*children} <= works_on(leader) | works_on(second), within=FAILOVER + RENEW)
        second.kill()
        open_shards = {shard.id for shard in await world.stream.list_shards() if not shard.closed}
        await wait(lambda: works_on(leader) == open_shards - {broken}, within=FAILOVER + RENEW)
        later = world.stream.split(min(works_on(leader)))
        await wait(lambda: {*later} <= works_on(leader), within=FAILOVER)
        row |= {"checkpoint": {"S": "TRIM_HORIZON"}}
        await world.client.put_item(TableName="esm-m", Item=row)
        await wait(lambda: broken in works_on(leader), within=2 * FAILOVER)
        await wait(lambda: leader.status.state_error is None, within=FAILOVER)
        leader.drain.begin()


@virtual_time
async def test_a_workers_row_that_cannot_be_read_is_nobodys_trouble_but_its_own() -> None:
    world = fleet_of(2)
    async with anyio.create_task_group() as tasks:
        worker = world.start(tasks, "w1")
        await wait(lambda: len(works_on(worker)) == 2)
        row = {"leaseKey": {"S": "odd"}, "entityType": {"S": "WORKER_METRIC_STATS"}, "lut": {"S": "yesterday"}}
        await world.client.put_item(TableName="esm-m", Item=row)
        await wait(lambda: "row 'odd': lut is S 'yesterday'" in str(worker.status.state_error), within=FAILOVER)
        left, right = world.stream.split(min(works_on(worker)))
        await wait(lambda: {left, right} <= works_on(worker), within=FAILOVER)
        worker.drain.begin()


def forbid_deletes(world: OnTable) -> None:
    """As a role without dynamodb:DeleteItem."""

    async def refuse_delete(operation: str, _request: Mapping[str, Any]) -> None:
        await anyio.lowlevel.checkpoint()
        if operation == "DeleteItem":
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, operation)

    world.client.before = refuse_delete


@virtual_time
async def test_a_leader_that_sees_nothing_and_may_not_delete_gives_way_all_the_same() -> None:
    world = fleet_of(6)
    forbid_deletes(world)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 6)
        second = world.start(tasks, "w2")
        await wait(lambda: loads(leader, second) == [3, 3], within=60)
        await anyio.sleep(20)
        refuse(leader, "survey")
        await wait(lambda: world.lock is not None and world.lock.owner == "w2", within=3 * FAILOVER)
        await anyio.sleep(10 * FAILOVER)
        assert loads(leader, second) == [3, 3], "what it has it keeps"
        assert leader.metric("esm_lease_changes_total", change="lost") == 0
        second.drain.begin()
        await second.ended.wait()
        leader.drain.begin()
        await leader.ended.wait()
    assert world.lock is not None
    assert world.lock.released


@virtual_time
async def test_a_leader_that_may_not_delete_goes_on_giving_and_taking() -> None:
    """The rows of workers that are long gone stay, and that is all."""
    world = fleet_of(1)
    forbid_deletes(world)
    worker = LeaseWorker("w1", world.client, failover=200)
    async with anyio.create_task_group() as tasks:
        worker.begin(tasks)
        await anyio.sleep(1)
        old = {"leaseKey": {"S": "dead"}, "entityType": {"S": "WORKER_METRIC_STATS"}, "lut": {"N": "1"}}
        await world.client.put_item(TableName="esm-m", Item=old)
        await anyio.sleep(3700)
        assert "dead" in world.reported
        await worker.store.create([Lease(scope=SCOPE, shard="s", checkpoint=TRIM_HORIZON)])
        await wait(lambda: worker.believes == {"s"}, within=100)
        look = await worker.fleet.look(worker.keeper.held)
        assert "allow dynamodb:DeleteItem" in str(look.problem), "it is told"
        await anyio.sleep(1000)
        assert worker.fleet.lists
        worker.kill()


class Slow:
    """A way to the rows on which the first look at all of them is slow."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self.takes = 6.0

    def __getattr__(self, call: str) -> Any:
        return getattr(self._rows, call)

    async def survey(self) -> Any:
        takes, self.takes = self.takes, 0.0
        await anyio.sleep(takes)
        return await self._rows.survey()


@virtual_time
async def test_what_a_leader_took_again_after_it_lost_its_lock_is_not_given_away_by_one_that_looked_late() -> None:
    """Its leases ended with its lock; those that it has since are as good as anybody's."""
    world = fleet_of(6)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 6)
        second = world.start(tasks, "w2")
        await wait(lambda: loads(leader, second) == [3, 3], within=60)
        await anyio.sleep(20)
        slow = Slow(second.wires[1]._store)
        second.wires[1]._store = slow
        leader.wires[1].cut = True
        await wait(lambda: world.lock is not None and world.lock.owner == "w2", within=2 * FAILOVER)
        assert slow.takes == 0
        leader.wires[1].cut = False
        for _ in range(300):
            await anyio.sleep(0.1)
            assert not works_on(leader) & works_on(second), "two work on one shard"
        await wait(lambda: loads(leader, second) == [3, 3], within=60)
        leader.drain.begin()
        second.drain.begin()


@virtual_time
async def test_a_table_that_was_made_anew_under_a_fleet_may_be_joined_by_others() -> None:
    """As by a tool that replaces it. Its positions are gone, so the mapping begins again."""
    world = fleet_of(4)
    async with anyio.create_task_group() as tasks:
        first, second = world.start(tasks, "w1"), world.start(tasks, "w2")
        await wait(lambda: loads(first, second) == [2, 2], within=60)
        await world.client.delete_table(TableName="esm-m")
        await Java(world).make_table()
        await wait(lambda: loads(first, second) == [2, 2] and len(world.leases()) == 4, within=60)
        assert world.client.items("esm-m")["Migration3.0"]["cv"] == {"S": "CLIENT_VERSION_3X"}
        third = world.start(tasks, "w3")
        await wait(lambda: loads(first, second, third) == [1, 1, 2], within=60)
        for worker in (first, second, third):
            worker.drain.begin()
