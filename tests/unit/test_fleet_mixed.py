"""Beside workers of Java, on rows as KCL 3.5.1 writes them (tests/kcl/golden): without a word of ours, in its order, with its times."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain, count
from typing import Any

import anyio

from handlers.invoker import Outcome, Succeeded
from runtime.stores.dynamodb.values import opened
from tests.fakes.stream_worker import FakeStreamWorker, wait, wall_clock
from tests.fakes.virtual_time import virtual_time
from tests.unit.test_fleet import FAILOVER, OnTable, fleet_of, works_on

TABLE = "esm-m"
_LOOK = 14.0
"""Seconds between the looks of a worker of Java for what it was given: ten, and a busy machine."""
VERSION = {
    "leaseKey": {"S": "Migration3.0"},
    "entityType": {"S": "CLIENT_VERSION_MIGRATION"},
    "cv": {"S": "CLIENT_VERSION_3X"},
    "mb": {"S": "java-1"},
    "mts": {"N": "1795677906000"},
    "h": {"L": []},
}


class Java:
    """A worker of KCL as far as a table shows it: told what to write."""

    def __init__(self, world: OnTable, name: str = "java-1", load: tuple[float, ...] = ()) -> None:
        """`load`: of its processor, in percent; it tells none off EC2, ECS and EKS."""
        self.client = world.client
        self.name = name
        self.load = load
        self._versions = count(1)

    async def make(self, *shards: str) -> None:
        """A table with leases of a fleet that began with it."""
        await self.make_table()
        await self.client.put_item(TableName=TABLE, Item=VERSION)
        for shard in shards:
            await self.client.put_item(TableName=TABLE, Item=lease(shard))

    async def make_table(self) -> None:
        await self.client.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("leaseKey", "leaseOwner")],
            BillingMode="PAY_PER_REQUEST",
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "LeaseOwnerToLeaseKeyIndex",
                    "KeySchema": [
                        {"AttributeName": "leaseOwner", "KeyType": "HASH"},
                        {"AttributeName": "leaseKey", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
        )

    async def lead(self) -> None:
        """The lock client: the whole row is put, then a new version each 30 seconds."""
        while True:
            row = {
                "leaseKey": {"S": "Leader"},
                "entityType": {"S": "LEADER"},
                "ownerName": {"S": self.name},
                "leaseDuration": {"S": "120000"},
                "recordVersionNumber": {"S": f"852b5cb4-{next(self._versions)}"},
            }
            await self.client.put_item(TableName=TABLE, Item=row)
            await anyio.sleep(30)

    async def live(self) -> None:
        """Its metrics, each 30 seconds."""
        while True:
            row = {
                "leaseKey": {"S": self.name},
                "entityType": {"S": "WORKER_METRIC_STATS"},
                "opr": {"M": {"C": {"L": [{"N": "100"}]}} if self.load else {}},
                "sts": {"M": {"C": {"L": [{"N": str(value)} for value in self.load]}} if self.load else {}},
                "lut": {"N": str(int(wall_clock()))},
                "slu": {"N": str(int(wall_clock()))},
                "sup": {"N": "1"},
            }
            await self.client.put_item(TableName=TABLE, Item=row)
            await anyio.sleep(30)

    async def work(self) -> None:
        """Finds what it was given, and renews; hands over when it is asked to."""
        held: dict[str, int] = {}
        looked = 0.0
        while True:
            for shard, row in self.client.items(TABLE).items():
                if row["entityType"]["S"] != "LEASE":
                    continue
                owner, current = row.get("leaseOwner", {}).get("S"), row.get("checkpointOwner", {}).get("S")
                if shard in held and current == self.name:
                    await self.assign(shard, str(owner))
                    held.pop(shard)
                elif (shard in held and owner == self.name) or (
                    owner == self.name and current is None and anyio.current_time() - looked >= _LOOK
                ):
                    held[shard] = await self.renew(shard)
            looked = anyio.current_time() if anyio.current_time() - looked >= _LOOK else looked
            await anyio.sleep(3.3)

    async def put(self, shard: str, checkpoint: str, *, owner: str | None = None, **sets: str) -> None:
        """A row as Java leaves it; `sets`: parents and children."""
        row = lease(shard) | {"checkpoint": {"S": checkpoint}} | {name: {"SS": [shard]} for name, shard in sets.items()}
        await self.client.put_item(TableName=TABLE, Item=row | ({"leaseOwner": {"S": owner}} if owner else {}))

    async def renew(self, shard: str) -> int:
        answer = await self._update(shard, "ADD leaseCounter :one")
        return int(opened(answer["Attributes"])["leaseCounter"]["N"])

    async def assign(self, shard: str, worker: str) -> None:
        await self._update(shard, "SET leaseOwner = :worker REMOVE checkpointOwner ADD leaseCounter :one", worker=worker)

    async def delete(self, shard: str) -> None:
        await self.client.delete_item(TableName=TABLE, Key={"leaseKey": {"S": shard}})

    async def start_hand_off(self, shard: str, worker: str) -> None:
        owner = self.row(shard)["leaseOwner"]["S"]
        await self._update(shard, "SET leaseOwner = :worker, checkpointOwner = :owner", worker=worker, owner=owner)

    def row(self, shard: str) -> dict[str, Any]:
        return self.client.items(TABLE)[shard]

    async def _update(self, shard: str, expression: str, **words: str) -> Any:
        values: dict[str, Any] = {f":{name}": {"S": word} for name, word in words.items()}
        values |= {":one": {"N": "1"}} if ":one" in expression else {}
        return await self.client.update_item(
            TableName=TABLE,
            Key={"leaseKey": {"S": shard}},
            UpdateExpression=expression,
            ExpressionAttributeValues=values,
            ReturnValues="ALL_NEW",
        )


def lease(shard: str) -> dict[str, Any]:
    return {
        "leaseKey": {"S": shard},
        "leaseCounter": {"N": "0"},
        "checkpoint": {"S": "TRIM_HORIZON"},
        "checkpointSubSequenceNumber": {"N": "0"},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
        "startingHashKey": {"S": "0"},
        "endingHashKey": {"S": "85070591730234615865843651857942052862"},
        "entityType": {"S": "LEASE"},
    }


@asynccontextmanager
async def under_java(
    shards: int, *, load: tuple[float, ...] = ()
) -> AsyncIterator[tuple[OnTable, Java, FakeStreamWorker, list[str]]]:
    """Ours works in a fleet that Java leads, and has been for a while. `load`: what Java tells of its processor."""
    world = fleet_of(shards)
    world.load = lambda: (12.5, 25.0)
    java = Java(world, load=load)
    names = sorted(world.stream.shards)
    await java.make(*names)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(java.lead)
        tasks.start_soon(java.live)
        await anyio.sleep(1)
        worker = world.start(tasks, "w1")
        await anyio.sleep(3 * FAILOVER)
        yield world, java, worker, names
        worker.drain.begin()
        await worker.ended.wait()
        tasks.cancel_scope.cancel()


@virtual_time
async def test_under_a_leader_of_java_ours_leads_nothing_reports_itself_and_promises_nothing() -> None:
    async with under_java(2) as (world, java, worker, _):
        assert works_on(worker) == set()
        assert world.lock is not None
        assert world.lock.owner == "java-1"
        row = java.row("w1")
        assert row["sts"] == row["opr"] == {"M": {}}
        assert "sup" not in row
        assert wall_clock() - int(row["lut"]["N"]) < 5
        assert java.row("Migration3.0") == VERSION


TOLD = {"M": {"C": {"L": [{"N": "12.5"}, {"N": "25"}]}}}
"""The load of ours."""


@virtual_time
async def test_under_a_leader_of_java_that_tells_its_load_ours_tells_it_as_well() -> None:
    """KCL's leader compares a worker only with those that have the same metric (tests/kcl/golden/README.md, 4)."""
    async with under_java(1, load=(90.0,)) as (_, java, _, _):
        row = java.row("w1")
        assert row["sts"] == TOLD
        assert row["opr"] == {"M": {"C": {"L": [{"N": "100"}]}}}
        java.load = ()
        await anyio.sleep(35)
        assert java.row("w1")["sts"] == java.row("w1")["opr"] == {"M": {}}


@virtual_time
async def test_a_load_that_cannot_be_known_is_not_told() -> None:
    async with under_java(1, load=(90.0,)) as (world, java, worker, _):
        worker.drain.begin()
        await worker.ended.wait()
        world.load = tuple
        async with anyio.create_task_group() as tasks:
            other = world.start(tasks, "w2")
            await anyio.sleep(FAILOVER)
            assert java.row("w2")["sts"] == java.row("w2")["opr"] == {"M": {}}
            other.drain.begin()


@virtual_time
async def test_our_workers_tell_their_load_under_a_leader_of_ours_while_java_workers_tell_theirs() -> None:
    """So that what Java finds when it comes to lead can be compared; else it would take its time over our rows."""
    world = fleet_of(2)
    world.load = lambda: (12.5, 25.0)
    java = Java(world, load=(50.0,))
    await java.make()
    async with anyio.create_task_group() as tasks:
        workers = [world.start(tasks, name) for name in ("w1", "w2")]
        await anyio.sleep(3 * FAILOVER)
        assert [java.row(name)["sts"] for name in ("w1", "w2")] == [{"M": {}}] * 2, "nobody of Java is there"
        with anyio.move_on_after(40):
            await java.live()
        assert [java.row(name)["sts"] for name in ("w1", "w2")] == [TOLD] * 2
        await anyio.sleep(90)
        assert [java.row(name)["sts"] for name in ("w1", "w2")] == [{"M": {}}] * 2, "it is gone"
        for worker in workers:
            worker.drain.begin()


@virtual_time
async def test_a_lease_tells_what_is_read_of_its_shard_as_java_measures_it() -> None:
    """KB in a second, six decimals; each renewal counts as much as all before it; none as long as nothing was read."""
    async with under_java(2) as (world, java, worker, names):
        for name in names:
            await java.assign(name, "w1")
        await wait(lambda: works_on(worker) == set(names), within=3)
        for _ in range(60):
            world.stream.put("a", shard=names[0], size=2048)
            await anyio.sleep(1)
        assert 1.8 < float(java.row(names[0])["throughputKBps"]["N"]) < 2.2
        assert "throughputKBps" not in java.row(names[1])
        await anyio.sleep(10)
        assert 0.1 < float(java.row(names[0])["throughputKBps"]["N"]) < 0.6
        await anyio.sleep(200)
        assert float(java.row(names[0])["throughputKBps"]["N"]) == 0


@virtual_time
async def test_what_a_leader_of_java_gives_is_taken_at_the_next_look() -> None:
    async with under_java(2) as (world, java, worker, names):
        put = world.stream.put("a", 5)
        for name in names:
            await java.assign(name, "w1")
        await wait(lambda: works_on(worker) == set(names), within=2.5)
        await wait(lambda: len(set(chain.from_iterable(world.function.invoked))) == len(put), within=3)


@virtual_time
async def test_what_java_hands_over_to_us_is_left_alone_until_it_has_let_go_and_then_taken_at_once() -> None:
    async with under_java(1) as (_, java, worker, names):
        await java.assign(names[0], "java-1")
        await java.start_hand_off(names[0], "w1")
        for _ in range(5):
            await java.renew(names[0])
            await anyio.sleep(3)
            assert works_on(worker) == set()
        await java.assign(names[0], "w1")
        await wait(lambda: works_on(worker) == set(names), within=2.5)


@virtual_time
async def test_a_hand_off_that_java_asks_for_ends_with_the_batch_in_flight_and_its_checkpoint() -> None:
    async with under_java(1) as (world, java, worker, names):
        (shard,) = names

        async def slow(_: dict[str, Any]) -> Outcome:
            await anyio.sleep(8)
            return Succeeded(response=None)

        await java.assign(shard, "w1")
        await wait(lambda: works_on(worker) == {shard}, within=3)
        world.function.handler = slow
        put = world.stream.put("a", 10)
        await wait(lambda: world.function.running == 1, within=3)
        switches = java.row(shard)["ownerSwitchesSinceCheckpoint"]
        await java.start_hand_off(shard, "java-2")
        await wait(lambda: "checkpointOwner" not in java.row(shard), within=12)
        row = java.row(shard)
        assert row["leaseOwner"] == {"S": "java-2"}
        assert row["checkpoint"] == {"S": put[-1]}
        assert row["ownerSwitchesSinceCheckpoint"] == switches == {"N": "0"}
        assert row["entityType"] == {"S": "LEASE"}
        await anyio.sleep(60)
        assert java.row(shard)["leaseCounter"] == row["leaseCounter"], "nothing is written to what is another's"


@virtual_time
async def test_a_hand_off_that_java_asks_for_is_over_after_its_thirty_seconds() -> None:
    """Its leader gives the lease away after thirty seconds and the failover time, whoever renews it."""
    async with under_java(1) as (world, java, worker, names):
        (shard,) = names
        world.function_timeout = 900

        async def endless(_: dict[str, Any]) -> Outcome:
            await anyio.sleep(800)
            return Succeeded(response=None)

        await java.assign(shard, "w1")
        await wait(lambda: works_on(worker) == {shard}, within=3)
        world.function.handler = endless
        world.stream.put("a", 10)
        await wait(lambda: world.function.running == 1, within=3)
        await java.start_hand_off(shard, "java-2")
        began = anyio.current_time()
        await wait(lambda: "checkpointOwner" not in java.row(shard), within=60)
        assert 25 <= anyio.current_time() - began < 30 + FAILOVER
        assert works_on(worker) == set()
        assert java.row(shard)["leaseOwner"] == {"S": "java-2"}


@virtual_time
async def test_a_worker_of_java_under_our_leader_gets_its_share_has_time_to_find_it_and_is_missed_when_it_dies() -> None:
    world = fleet_of(6)
    java = Java(world)
    await java.make()
    async with anyio.create_task_group() as tasks:
        worker = world.start(tasks, "w1")
        await wait(lambda: len(works_on(worker)) == 6)
        dead = anyio.CancelScope()

        async def run_java() -> None:
            with dead:
                async with anyio.create_task_group() as of_java:
                    of_java.start_soon(java.live)
                    of_java.start_soon(java.work)

        tasks.start_soon(run_java)

        def of(name: str) -> int:
            rows = [row for row in world.client.items(TABLE).values() if row["entityType"]["S"] == "LEASE"]
            return sum(row.get("leaseOwner", {}).get("S") == name and "checkpointOwner" not in row for row in rows)

        await wait(lambda: (of("w1"), of("java-1")) == (3, 3), within=90)
        for _ in range(100):
            await anyio.sleep(1)
            assert (of("w1"), of("java-1")) == (3, 3)
        dead.cancel()
        died = anyio.current_time()
        await wait(lambda: len(works_on(worker)) == 6, within=60)
        assert anyio.current_time() - died <= FAILOVER + FAILOVER / 3
        worker.drain.begin()


@virtual_time
async def test_in_a_table_of_several_streams_ours_takes_what_is_of_its_own_stream_and_knows_its_parents() -> None:
    """It is no leader, so nothing but its first look tells it how rows are called there."""
    world = fleet_of(1)
    java = Java(world)
    (parent,) = world.stream.shards
    children = world.stream.split(parent)
    await java.make()
    for stream in ("123456789012:orders:1500", "123456789012:others:1500"):
        for shard in (parent, *children):
            row = lease(f"{stream}:{shard}") | {"streamName": {"S": stream}, "shardId": {"S": shard}}
            parents = {"parentShardId": {"SS": [parent]}} if shard != parent else {}
            await world.client.put_item(TableName=TABLE, Item=row | parents)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(java.lead)
        await anyio.sleep(1)
        worker = world.start(tasks, "w1")
        await anyio.sleep(3 * FAILOVER)
        for key in world.client.items(TABLE):
            if key.endswith(children):
                await java.assign(key, "w1")
        await java.assign(f"123456789012:others:1500:{parent}", "w1")
        await java.assign(f"123456789012:orders:1500:{parent}", "java-1")
        await anyio.sleep(FAILOVER)
        assert works_on(worker) == set(), "the parent has not ended"
        assert java.row(f"123456789012:orders:1500:{parent}")["leaseOwner"] == {"S": "java-1"}
        await java.assign(f"123456789012:orders:1500:{parent}", "w1")
        await wait(lambda: works_on(worker) == {*children}, within=5)
        assert "esmWrite" not in java.row(f"123456789012:others:1500:{children[0]}")
        worker.drain.begin()
        await worker.ended.wait()
        tasks.cancel_scope.cancel()


@virtual_time
async def test_the_row_of_an_ended_shard_of_ours_is_deleted_once_its_children_have_begun_and_its_parents_are_gone() -> None:
    """LeaseCleanupManager.cleanupLeaseForCompletedShard. Java's leader counts each such row as work."""
    async with under_java(1) as (world, java, worker, (child,)):
        await java.put("s-old", "SHARD_END", childShardIds="s-ended")
        await java.put("s-ended", "SHARD_END", owner="w1", parentShardId="s-old", childShardIds=child)
        await java.put(child, "5", owner="java-1")
        before = java.row("s-ended")
        await anyio.sleep(3 * FAILOVER)
        assert java.row("s-ended") == before, "its parent has a row; and nothing is written to it meanwhile"
        await java.put(child, "TRIM_HORIZON", owner="java-1")
        await java.delete("s-old")
        await anyio.sleep(3 * FAILOVER)
        assert java.row("s-ended") == before, "its child has not begun"
        await java.put(child, "5", owner="java-1")
        await wait(lambda: "s-ended" not in world.client.items(TABLE), within=2 * FAILOVER)
        assert works_on(worker) == set()
        assert java.row(child)["checkpoint"] == {"S": "5"}


@virtual_time
async def test_the_row_of_an_ended_shard_stays_when_a_child_has_none_or_it_names_none() -> None:
    async with under_java(1) as (_, java, _, (child,)):
        await java.put("s-ended", "SHARD_END", owner="w1", childShardIds="s-missing")
        await java.put("s-nameless", "SHARD_END", owner="w1")
        await java.put(child, "5", owner="java-1")
        await anyio.sleep(3 * FAILOVER)
        assert java.row("s-ended")["checkpoint"] == java.row("s-nameless")["checkpoint"] == {"S": "SHARD_END"}


@virtual_time
async def test_a_shard_whose_row_java_has_cleaned_up_is_not_read_again_when_ours_comes_to_lead() -> None:
    """Kinesis shows a closed shard for as long as its records are kept; KCL deletes its row within minutes."""
    world = fleet_of(1)
    java = Java(world)
    (first,) = world.stream.shards
    await java.make()
    world.stream.put("a", 5)
    second, _ = world.stream.split(first)
    third, fourth = world.stream.split(second)
    read = world.stream.put("a", 5)
    for shard in world.stream.open_shards():
        await java.put(shard, "TRIM_HORIZON", parentShardId=second if shard in (third, fourth) else first)
    async with anyio.create_task_group() as tasks:
        worker = world.start(tasks, "w1")
        await wait(lambda: len(works_on(worker)) == 3)
        await anyio.sleep(200)
        assert sorted(chain.from_iterable(world.function.invoked)) == sorted(read)
        assert {shard for shard, row in world.client.items(TABLE).items() if row["entityType"]["S"] == "LEASE"} == set(
            world.stream.open_shards()
        )
        worker.drain.begin()
