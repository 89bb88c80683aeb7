"""Java workers and ours in one table on one stream: each record is done, in order, and again only where a worker was killed."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from tests.kcl.golden_rows import golden_row
from tests.kcl.mixed_site import LOG, Account, MixedFleet, Sight, account_of, mixed_fleet, objections
from tests.kcl.recording import Call
from tests.servers.running import Server

kcl = pytest.mark.kcl
pytestmark = pytest.mark.timeout(240)
BY_COUNT = {"KCL_ASSIGNMENT": "LEASE_COUNT_BASED", "KCL_CLEANUP_MS": "1000"}
"""With the clean-up of ended shards, after which the stream shows shards that have no row."""


@kcl
async def test_ours_joins_a_fleet_that_java_leads_leaves_it_again_dies_in_it_and_inherits_it(
    kinesis: Server, dynamodb: Server, tmp_path: Path
) -> None:
    async with mixed_fleet(kinesis, dynamodb, tmp_path, **BY_COUNT) as fleet:
        async with fleet.producing():
            java = await fleet.start_java("java-1")
            await fleet.wait_loads({"java-1": 4}, "Java begins")
            await java.wait("record", count=100)

            await fleet.start_ours("ours-1")
            await fleet.wait_loads({"java-1": 2, "ours-1": 2}, "ours joins; Java hands over")
            assert await fleet.leader() == "java-1"
            await reshard(fleet, "ours-1")
            await fleet.wait_cleaned()
            await fleet.stop("ours-1")
            await fleet.wait_loads({"java-1": 4}, "ours is stopped: Java has all again")
            await fleet.wait_replaced("ours-1")
            assert not fleet.account().repeated
            assert starts_of_java(fleet, "java-1", "ours-1") >= 2

            await fleet.start_ours("ours-2")
            await fleet.wait_owned(lambda loads: loads["ours-2"] >= 2, "ours joins again")
            await fleet.kill("ours-2")
            await fleet.wait_loads({"java-1": 4}, "ours is killed: Java has all")
            await fleet.wait_replaced("ours-2")

            await fleet.start_ours("ours-3")
            await fleet.wait_owned(lambda loads: loads["ours-3"] >= 2, "ours joins once more")
            await fleet.kill("java-1")
            await fleet.wait_loads({"ours-3": 4}, "Java, the leader, is killed: ours leads and has all")
            await fleet.wait_replaced("java-1")
            assert await fleet.leader() == "ours-3"
            await fleet.stream.split(next(iter(await fleet.owned())))
            await fleet.wait_loads(
                {"ours-3": 5}, "a shard splits: ours looks at the stream again, which shows what Java cleaned up"
            )
        assert fleet.account().balanced, fleet.account()
        assert not fleet.objections


@kcl
async def test_java_joins_a_fleet_that_ours_began_leaves_it_again_dies_in_it_and_inherits_it(
    kinesis: Server, dynamodb: Server, tmp_path: Path
) -> None:
    async with mixed_fleet(kinesis, dynamodb, tmp_path, **BY_COUNT) as fleet:
        async with fleet.producing():
            await fleet.start_ours("ours-1")
            await fleet.wait_loads({"ours-1": 4}, "ours makes the table")

            java = await fleet.start_java("java-1")
            await fleet.wait_loads({"java-1": 2, "ours-1": 2}, "Java joins; ours hands over")
            await java.wait("initialized", count=2)
            assert await fleet.leader() == "ours-1"
            assert starts_of_java(fleet, "java-1", "ours-1") >= 2
            await fleet.stop("java-1")
            await fleet.wait_loads({"ours-1": 4}, "Java is stopped: ours has all again")
            await fleet.wait_replaced("java-1")
            assert not fleet.account().repeated

            two = [await fleet.start_java(name) for name in ("java-2", "java-3")]
            await fleet.wait_owned(lambda loads: min(loads["java-2"], loads["java-3"]) >= 1, "two of Java join")
            for each in two:
                await each.wait("initialized")
            await reshard(fleet, "ours-1")
            assert not fleet.account().repeated
            await fleet.kill("java-2")
            await fleet.wait_owned(
                lambda loads: loads["ours-1"] + loads["java-3"] == 4, "one of Java is killed: the others have its shards"
            )
            await fleet.wait_replaced("java-2")
            await fleet.kill("ours-1")
            await fleet.wait_loads({"java-3": 4}, "ours, the leader, is killed: Java leads and has all")
            await fleet.wait_replaced("ours-1")
            assert await fleet.leader() == "java-3"
        assert fleet.account().balanced, fleet.account()
        assert not fleet.objections


@kcl
async def test_a_leader_of_java_with_its_own_defaults_balances_java_and_ours_by_the_load_that_both_tell(
    kinesis: Server, dynamodb: Server, tmp_path: Path
) -> None:
    """WORKER_UTILIZATION_AWARE compares a worker only with those that have the same metric (golden/README.md, 4)."""
    java_load, our_load = Load(tmp_path / "java.stat", 90), Load(tmp_path / "ours.stat", 10)
    settings = {"KCL_CPU_METRIC": "on", "KCL_CPU_STAT": str(java_load.file)}
    async with mixed_fleet(kinesis, dynamodb, tmp_path, **settings) as fleet, telling(java_load, our_load):
        async with fleet.producing():
            await fleet.start_java("java-1")
            await fleet.wait_loads({"java-1": 4}, "Java begins")
            await fleet.start_ours("ours-1", load=our_load.file)
            await fleet.wait_owned(lambda loads: loads["ours-1"] >= 1, "Java is busy: ours gets a shard")
            java_load.percent, our_load.percent = 10, 90
            before = Counter((await fleet.owned()).values())["java-1"]
            await fleet.wait_owned(lambda loads: loads["java-1"] > before, "now ours is: Java gets one back")
            assert await fleet.leader() == "java-1"
        assert fleet.account().nothing_amiss, fleet.account()
        assert not fleet.objections


async def reshard(fleet: MixedFleet, ours: str) -> None:
    """Merges two shards of which one is worked on by ours, splits one of another worker, and waits until the children are read."""
    owners = await fleet.owned()
    shards = sorted(owners)  # side by side, in a stream that was never resharded
    first, second = next(pair for pair in pairwise(shards) if [owners[shard] for shard in pair].count(ours) == 1)
    parent = next(shard for shard in shards if shard not in (first, second) and owners[shard] != ours)
    child = await fleet.stream.merge(first, second)
    children = {child, *await fleet.stream.split(parent)}
    began = anyio.current_time()
    while not children <= (owned := await fleet.owned()).keys() or len(owned) != len(shards) or "" in owned.values():
        assert anyio.current_time() - began < 45, owned
        await anyio.sleep(0.1)
    LOG.info("a merge and a split: %.1f s", anyio.current_time() - began)
    await fleet.wait_all_seen()
    assert set(fleet.last[child]["parentShardId"]["SS"]) == {first, second}
    named = {shard: set(fleet.last[shard]["childShardIds"]["SS"]) for shard in (first, second, parent)}
    assert named == {first: {child}, second: {child}, parent: children - {child}}
    for shard, row in (await fleet.leases()).items():
        assert int(row["startingHashKey"]["S"]) < int(row["endingHashKey"]["S"]), shard
    (ended,) = [shard for shard in named if owners[shard] == ours]
    assert_children_first(fleet, ours, ended, named[ended])


def assert_children_first(fleet: MixedFleet, ours: str, shard: str, children: set[str]) -> None:
    """The rows of children, then their names in their parent, then its end: Java never sees an end without what follows on it."""
    left = [(call.at, call.after) for call in fleet.written(ours) if call.key == shard and call.after]
    named = next(at for at, row in left if "childShardIds" in row)
    ended = next(at for at, row in left if row["checkpoint"] == {"S": "SHARD_END"})
    created = {key for call in fleet.written(*fleet.wires) if call.at < named for key in creates(call)}
    assert children <= created
    assert named < ended


def creates(call: Call) -> set[str]:
    """The keys of the rows that it puts."""
    together = [part["Put"]["Item"] for part in call.request.get("TransactItems", ()) if "Put" in part]
    items = [*together, call.request["Item"]] if call.operation == "PutItem" else together
    return {item["leaseKey"]["S"] for item in items}


def starts_of_java(fleet: MixedFleet, java: str, *before: str) -> int:
    """How often Java began where workers of ours had checkpointed, which must be in the middle of a shard."""
    begun = {line["checkpoint"] for line in fleet.java[java].events("initialized")}
    return len({each for each in begun & fleet.checkpoints(*before) if each.isdigit()})


@dataclass
class Load:
    """What a file like /proc/stat says of a processor."""

    file: Path
    percent: int
    used: int = 1000
    idle: int = 1000

    def tick(self) -> None:
        self.used += self.percent
        self.idle += 100 - self.percent
        new = self.file.with_suffix(".new")
        new.write_text(f"cpu  {self.used} 0 0 {self.idle} 0 0 0 0 0 0\n")
        new.replace(self.file)


@asynccontextmanager
async def telling(*loads: Load) -> AsyncIterator[None]:
    """Their files tell them while the body runs."""

    async def run() -> None:
        while True:
            for load in loads:
                load.tick()
            await anyio.sleep(0.2)

    for load in loads:
        load.tick()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, name="loads")
        yield
        tasks.cancel_scope.cancel()


# the account and the judge, without Java

PUT = {"a": ["a 0", "a 1"], "b": ["b 0"]}


def sights(*told: tuple[float, str, str]) -> list[Sight]:
    return [Sight(at=at, worker=worker, key=text[0], text=text) for at, worker, text in told]


WELL = ((1.0, "x", "a 0"), (2.0, "x", "b 0"), (3.0, "x", "a 1"))


@pytest.mark.parametrize(
    ("told", "killed", "account"),
    [
        (WELL, {}, Account(put=3)),
        (WELL[:2], {}, Account(put=3, missing=1)),
        (WELL[::-1], {}, Account(put=3, out_of_order=("a",))),
        ((*WELL, (3.5, "y", "a 1")), {"x": 3.2}, Account(put=3, repeated=1)),
        ((*WELL, (3.5, "y", "a 0")), {"x": 3.2}, Account(put=3, repeated=1, unexplained=("a 0: x 1.000, then y 3.500",))),
        ((*WELL, (3.5, "y", "a 1")), {}, Account(put=3, repeated=1, unexplained=("a 1: x 3.000, then y 3.500",))),
        ((*WELL, (3.5, "y", "a 1")), {"y": 3.2}, Account(put=3, repeated=1, unexplained=("a 1: x 3.000, then y 3.500",))),
    ],
    ids=["all is well", "lost", "out of order", "a kill", "long before the kill", "nobody was killed", "another was killed"],
)
def test_the_account_tells_what_a_kill_explains_and_what_nothing_does(
    told: tuple[tuple[float, str, str], ...], killed: dict[str, float], account: Account
) -> None:
    found = account_of(PUT, sights(*told), killed)
    assert found == account
    assert found.balanced == (account.missing == 0 and not account.out_of_order and not account.unexplained)
    assert found.nothing_amiss == (found == Account(put=3))


def test_rows_of_ours_are_judged_without_what_java_passes_over_and_what_we_do_not_promise() -> None:
    row = golden_row("create-lease")
    assert objections(row | {"esmSource": {"S": "arn"}}) == []
    assert objections(row | {"leaseCounter": {"S": "1"}}) == ['leaseCounter is "S", not "N"']
    assert objections({name: value for name, value in row.items() if name != "entityType"}) == [
        "no entityType is nothing that Java writes"
    ]
    word = {name: value for name, value in golden_row("report-metrics").items() if name not in ("sup", "slu")}
    assert objections(word) == []
    assert objections({name: value for name, value in word.items() if name != "lut"}) == ["lut is missing"]
