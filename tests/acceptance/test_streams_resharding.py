"""Shards that split, merge and roll over while records come: order per key, parents before children (COM-68)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.acceptance.local_aws import LocalAws, local_aws
from tests.acceptance.stream_site import (
    Seen,
    assert_in_order,
    checkpoints,
    seen,
    stream_function,
    stream_mapping,
    stream_site,
    wait_seen,
)
from tests.acceptance.worker_process import process_on

KEYS = tuple(f"key-{n}" for n in range(10))
PUT: dict[str, list[str]] = {key: [f"{key} {n}" for n in range(30)] for key in KEYS}
ENDED = "SHARD_END"


async def test_a_stream_that_splits_and_merges_under_load_keeps_its_order(tmp_path: Path) -> None:
    """KIN-40, KIN-41, COM-61: two splits and a merge; both parents of the merged shard come before it."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        site = stream_site(tmp_path, {"f": stream_function("takes_a_moment")}, [stream_mapping("m", arn, BatchSize=10)])
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait_ready()
            await put_part(aws, 0, 8)
            await aws.split("clicks")
            await put_part(aws, 8, 15)
            await wait_seen(site, 80, worker)
            await aws.split("clicks")
            await put_part(aws, 15, 22)
            await aws.merge("clicks")
            await put_part(aws, 22, 30)
            await wait_seen(site, 300, worker, seconds=60)
            shards = aws.stream("clicks").shards
            open_shards = {shard.id for shard in aws.stream("clicks").open_shards}
            ended = dict.fromkeys(shards.keys() - open_shards, ENDED)
            await worker.wait(lambda: checkpoints(site, "m").items() >= ended.items(), "all parents are at their end")
            assert await worker.metric("esm_shards", state="ended") == len(ended)
            assert await worker.metric("esm_shards", state="reading") == len(open_shards)
            assert await worker.stop() == 0
    assert len(seen(site)) == 300
    assert_in_order(site, PUT)
    assert_parents_first(seen(site), {shard.id: shard.parents for shard in shards.values()})


async def put_part(aws: LocalAws, begin: int, end: int) -> None:
    await aws.put_keyed("clicks", {key: each[begin:end] for key, each in PUT.items()})


async def test_a_child_waits_for_its_parent_and_says_so(tmp_path: Path) -> None:
    """COM-68, KIN-40, DDB-14: also over a restart, as long as the parent's records are not done."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await aws.put("clicks", "parent", key="k")
        await aws.split("clicks")
        await aws.put("clicks", "child", key="k")
        site = stream_site(tmp_path, {"f": stream_function("holds")}, [stream_mapping("m", arn)])
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: len(seen(site, "began")) == 1, "the parent's record is in hand")
            parent, *children = (await worker.mapping("m"))["shards"]
            assert (parent["state"], parent["unfinished"], parent["owner"]) == ("reading", 1, "one")
            waiting = ("waiting", "waiting for its parent shardId-000000000000", None)
            assert [(child["state"], child["why"], child["owner"]) for child in children] == [waiting] * 2
            assert await worker.metric("esm_shards", state="waiting") == 2
            site.open_gate()
            await wait_seen(site, 2, worker)
            assert [each.text for each in seen(site)] == ["parent", "child"]
            assert await worker.stop() == 0


async def test_the_shards_of_a_table_roll_over_and_split_under_load_and_its_items_keep_their_order(tmp_path: Path) -> None:
    """DDB-13, DDB-14, COM-61."""
    async with local_aws() as aws:
        arn = await aws.make_table("orders", shards=2)
        site = stream_site(tmp_path, {"f": stream_function("takes_a_moment")}, [stream_mapping("m", arn, BatchSize=10)])
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait_ready()
            for part, change in enumerate(("rollover", "split", "rollover", None)):
                for key, each in PUT.items():
                    await aws.put_items("orders", *each[part * 5 : part * 5 + 5], key=key)
                if change:
                    await aws.control(f"dynamodb/{change}", table="orders")
            await wait_seen(site, 200, worker, seconds=60)
            stream = aws.endpoint.dynamodb.stream(arn)
            shards = stream.shards(aws.endpoint.state.clock())
            ended = {shard.id: ENDED for shard in shards if shard.closed}
            await worker.wait(lambda: checkpoints(site, "m").items() >= ended.items(), "all parents are at their end")
            assert await worker.stop() == 0
    assert len(shards) == 2 + 2 + 4 + 4
    assert_in_order(site, {key: each[:20] for key, each in PUT.items()})
    shard_of = {str(record.sequence): shard.id for shard in shards for record in shard.records}
    assert_parents_first(seen(site), {shard.id: (shard.parent,) if shard.parent else () for shard in shards}, shard_of=shard_of)


def assert_parents_first(
    noted: Sequence[Seen], parents: Mapping[str, Sequence[str]], *, shard_of: Mapping[str, str] | None = None
) -> None:
    """No record of a shard came before the last one of any of its ancestors."""
    where = [shard_of[each.id] if shard_of else each.shard for each in noted]
    last = {shard: max(index for index, other in enumerate(where) if other == shard) for shard in set(where)}
    first = {shard: where.index(shard) for shard in set(where)}
    assert len(first) > 3
    for shard, began in first.items():
        for ancestor in _ancestors(shard, parents):
            assert last.get(ancestor, -1) < began, f"{shard} began before its ancestor {ancestor} had ended"


def _ancestors(shard: str, parents: Mapping[str, Sequence[str]]) -> set[str]:
    direct = parents.get(shard, ())
    return {*direct, *(far for parent in direct for far in _ancestors(parent, parents))}
