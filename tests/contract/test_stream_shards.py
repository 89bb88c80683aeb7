"""The shards of streams that change: split, merged, rolled over, vanished; and listings longer than a page."""

from collections import defaultdict

import pytest

from pollers.errors import SourceRejected
from pollers.record import TRIM_HORIZON
from tests.fakes.streams_on_servers import dynamodb_under_test, kinesis_under_test, read_all
from tests.servers.controls import control
from tests.servers.running import Server


@pytest.mark.like_aws("ends_split_shards")
async def test_kin_40_a_child_of_a_split_names_its_parent_and_one_of_a_merge_both(
    kinesis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kinesis_under_test(kinesis_server, monkeypatch) as stream:
        (first,) = await stream.open_shards()
        low, high = await stream.handle.split(first)
        merged = await stream.handle.merge(low, high)
        listed = {shard.id: shard for shard in await stream.source.list_shards()}
        assert {name: (set(shard.parents), shard.closed) for name, shard in listed.items()} == {
            first: (set(), True),
            low: ({first}, True),
            high: ({first}, True),
            merged: ({low, high}, False),
        }


@pytest.mark.like_aws("ends_split_shards")
async def test_com_68_across_a_split_and_a_merge_every_record_is_read_once_and_in_the_order_of_its_key(
    kinesis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parents to their ends, then children, with a reader that is underway while the stream changes."""
    keys = [f"key-{number}" for number in range(8)]
    async with kinesis_under_test(kinesis_server, monkeypatch) as stream:

        async def put(round_: int) -> None:
            for key in keys:
                await stream.put(*(f"{key} {round_} {number}" for number in range(2)), key=key)

        (first,) = await stream.open_shards()
        await put(0)
        underway = await stream.source.open_shard(first, TRIM_HORIZON)
        begun = [stream.text(record) for record in (await underway.read(limit=5)).records]
        low, high = await stream.handle.split(first)
        await put(1)
        merged = await stream.handle.merge(low, high)
        await put(2)

        found = begun + await read_all(stream, underway)
        for shard in (low, high):
            part = await read_all(stream, await stream.source.open_shard(shard, TRIM_HORIZON), limit=3)
            assert 0 < len(part) < 16
            found += part
        found += await read_all(stream, await stream.source.open_shard(merged, TRIM_HORIZON), until=16)

        by_key = defaultdict(list)
        for text in found:
            by_key[text.split()[0]].append(text)
        assert by_key == {key: [f"{key} {round_} {number}" for round_ in range(3) for number in range(2)] for key in keys}


@pytest.mark.like_aws("pages_list_shards")
async def test_a_listing_of_kinesis_is_read_page_by_page(kinesis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page holds 1,000 shards (100 on kinesis-mock). NextToken beside a name is refused by AWS, and by these servers."""
    async with kinesis_under_test(kinesis_server, monkeypatch, shards=1000) as stream:
        handle = stream.handle
        middle = (2 * 7 + 1) * 2**128 // 2000  # of the range of the shard with the number 7
        await handle.client.split_shard(
            StreamName=handle.name, ShardToSplit="shardId-000000000007", NewStartingHashKey=str(middle)
        )
        await handle.wait_active()
        listed = await stream.source.list_shards()
        assert [shard.id for shard in listed] == [f"shardId-{number:012}" for number in range(1002)]
        assert [shard.id for shard in listed if shard.closed] == ["shardId-000000000007"]
        assert {shard.parents for shard in listed[1000:]} == {("shardId-000000000007",)}
        assert stream.observed.requests.count(("ListShards", "ok")) > 1


@pytest.mark.like_aws("rolls_over_shards")
async def test_ddb_13_a_shard_that_rolled_over_is_read_to_its_end_and_its_child_goes_on(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dynamodb_under_test(dynamodb_server, monkeypatch) as stream:
        (parent,) = await stream.open_shards()
        await stream.put("a", "b")
        reader = await stream.source.open_shard(parent, TRIM_HORIZON)
        await control(dynamodb_server, "dynamodb/rollover", table=stream.handle.name)
        await stream.put("c")
        listed = {shard.id: shard for shard in await stream.source.list_shards()}
        (child,) = await stream.open_shards()
        assert (listed[parent].closed, listed[child].closed, listed[child].parents) == (True, False, (parent,))
        assert await read_all(stream, reader) == ["a", "b"]
        assert await read_all(stream, await stream.source.open_shard(child, TRIM_HORIZON), until=1) == ["c"]


@pytest.mark.like_aws("rolls_over_shards")
async def test_ddb_15_a_parent_that_vanished_is_still_named_by_its_child_and_is_rejected(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dynamodb_under_test(dynamodb_server, monkeypatch) as stream:
        (parent,) = await stream.open_shards()
        await control(dynamodb_server, "dynamodb/rollover", table=stream.handle.name)
        await control(dynamodb_server, "dynamodb/vanish", table=stream.handle.name, shard=parent)
        (listed,) = await stream.source.list_shards()
        assert (listed.parents, listed.closed) == ((parent,), False)
        with pytest.raises(SourceRejected):
            await stream.source.open_shard(parent, TRIM_HORIZON)


@pytest.mark.like_aws("several_open_shards")
async def test_ddb_14_a_listing_of_dynamodb_is_read_page_by_page(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page holds 100 shards: one shard, split seven times over, makes 255 of which 128 are open."""
    async with dynamodb_under_test(dynamodb_server, monkeypatch) as stream:
        for _ in range(7):
            await control(dynamodb_server, "dynamodb/split", table=stream.handle.name)
        listed = {shard.id: shard for shard in await stream.source.list_shards()}
        assert (len(listed), sum(not shard.closed for shard in listed.values())) == (255, 128)
        (root,) = [shard for shard in listed.values() if not shard.parents]
        assert all(shard.parents[0] in listed for shard in listed.values() if shard is not root)
        assert stream.observed.requests.count(("DescribeStream", "ok")) == 3


@pytest.mark.like_aws("several_open_shards")
async def test_com_68_the_records_of_one_item_stay_in_order_across_shards(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dynamodb_under_test(dynamodb_server, monkeypatch) as stream:
        keys = [f"key-{number}" for number in range(8)]
        for key in keys:
            await stream.put(f"{key} 0", key=key)
        (parent,) = await stream.open_shards()
        await control(dynamodb_server, "dynamodb/split", table=stream.handle.name)
        for key in keys:
            await stream.put(f"{key} 1", key=key)
        assert await read_all(stream, await stream.source.open_shard(parent, TRIM_HORIZON)) == [f"{key} 0" for key in keys]
        children = await stream.open_shards()
        parts = [await read_all(stream, await stream.source.open_shard(child, TRIM_HORIZON), until=0) for child in children]
        assert all(parts)
        assert sorted(text for part in parts for text in part) == [f"{key} 1" for key in keys]
