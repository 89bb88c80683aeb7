"""One suite over every stream source: Kinesis and DynamoDB Streams as each server speaks them, and the fake of the unit tests."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from pollers.errors import SourceRejected
from pollers.record import LATEST, TRIM_HORIZON, Position
from tests.fakes.streams_on_servers import (
    READ_SECONDS,
    OpenServerStream,
    OpenStream,
    all_records,
    fake_under_test,
    only_shard,
    opener,
    read_all,
    texts,
)
from tests.servers.behaviour import Service
from tests.servers.running import Server


@pytest.fixture
def open_stream(stream_server: tuple[Service, Server], monkeypatch: pytest.MonkeyPatch) -> OpenServerStream:
    service, server = stream_server
    return opener(service, server, monkeypatch)


async def test_a_stream_says_for_how_long_it_keeps_records_and_what_shards_it_has(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        assert (await stream.source.describe()).retention == 24 * 3600
        (shard,) = await stream.source.list_shards()
        assert [shard.id] == await stream.open_shards()
        assert (shard.parents, shard.closed) == ((), False)


async def test_records_come_in_order_page_by_page_from_the_trim_horizon(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        await stream.put(*"abcdefg")
        reader = await only_shard(stream, TRIM_HORIZON)
        assert await read_all(stream, reader, limit=3, until=7) == list("abcdefg")


async def test_ddb_26_sequence_numbers_are_digits_and_grow(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        await stream.put(*"abcdefghijkl")
        numbers = [int(record.id) for record in await all_records(stream, 12)]
        assert numbers == sorted(set(numbers))


async def test_com_64_latest_is_the_moment_of_opening(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        await stream.put("before")
        reader = await only_shard(stream, LATEST)
        await stream.put("after", "later")
        assert await read_all(stream, reader, until=2) == ["after", "later"]


async def test_reading_goes_on_after_a_sequence_number(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        await stream.put(*"abc")
        records = await all_records(stream, 3)
        reader = await only_shard(stream, Position.after(records[0].id))
        assert await read_all(stream, reader, until=2) == ["b", "c"]
        at_end = await only_shard(stream, Position.after(records[-1].id))
        assert await read_all(stream, at_end, until=0) == []
        await stream.put("d")
        assert await read_all(stream, at_end, until=1) == ["d"]


async def test_reading_begins_with_a_record_that_is_named(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        await stream.put(*"abc")
        records = await all_records(stream, 3)
        for first in range(3):
            reader = await only_shard(stream, Position.at_record(records[first].id))
            assert await read_all(stream, reader, limit=1, until=3 - first) == list("abc")[first:]
        await stream.put("d")
        assert await read_all(stream, reader, until=1) == ["d"]


async def test_com_64_at_timestamp_begins_at_the_first_record_that_arrived_then_or_later(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        await stream.put("a")
        await anyio.sleep(stream.tick)
        await stream.put("b", "c")
        moment = (await all_records(stream, 3))[1].arrived
        reader = await only_shard(stream, Position.at(moment))
        assert await read_all(stream, reader, until=2) == ["b", "c"]
        long_ago = await only_shard(stream, Position.at(moment - 3600))
        assert await read_all(stream, long_ago, until=3) == ["a", "b", "c"]


async def test_kin_16_an_empty_page_is_not_the_end(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        reader = await only_shard(stream, TRIM_HORIZON)
        for _ in range(3):
            page = await reader.read(limit=10)
            assert (page.records, page.ended, page.more) == ((), False, False)
        await stream.put("a")
        assert await read_all(stream, reader, until=1) == ["a"]


@pytest.mark.like_aws("ends_split_shards", "ends_disabled_streams")
async def test_a_closed_shard_is_listed_and_read_to_its_end(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        (shard,) = await stream.open_shards()
        await stream.put(*"abc")
        underway = await stream.source.open_shard(shard, TRIM_HORIZON)
        assert texts(stream, (await underway.read(limit=1)).records) == ["a"]
        last = Position.after((await all_records(stream, 3))[-1].id)
        await stream.end(shard)

        assert [each.closed for each in await stream.source.list_shards() if each.id == shard] == [True]
        assert await read_all(stream, underway) == ["b", "c"]
        assert await read_all(stream, await stream.source.open_shard(shard, TRIM_HORIZON), limit=2) == ["a", "b", "c"]
        assert await read_all(stream, await stream.source.open_shard(shard, last)) == []


@pytest.mark.like_aws("ends_split_shards", "ends_empty_shards")
async def test_a_closed_shard_without_a_record_ends_at_latest_too(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        (shard,) = await stream.open_shards()
        waiting = await stream.source.open_shard(shard, LATEST)
        await stream.end(shard)
        assert await read_all(stream, waiting) == []
        assert await read_all(stream, await stream.source.open_shard(shard, TRIM_HORIZON)) == []


async def test_a_cancelled_read_loses_nothing(open_stream: OpenStream) -> None:
    """Each read is cancelled at several moments: before it asks, while the server thinks, when the answer is on its way."""
    async with open_stream() as stream:
        wanted = [str(number) for number in range(6)]
        await stream.put(*wanted)
        reader = await only_shard(stream, TRIM_HORIZON)
        found: list[str] = []
        patience = 0.0
        with anyio.fail_after(READ_SECONDS):
            while len(found) < 6:
                with anyio.move_on_after(patience) as waiting:
                    found += texts(stream, (await reader.read(limit=2)).records)
                patience = 2 * patience + 0.0005 if waiting.cancelled_caught else 0.0
        assert found == wanted


async def test_readers_and_listings_of_one_source_do_not_disturb_each_other(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        wanted = [str(number) for number in range(10)]
        await stream.put(*wanted)
        found: list[list[str]] = []

        async def read(limit: int) -> None:
            found.append(await read_all(stream, await only_shard(stream, TRIM_HORIZON), limit=limit, until=10))
            await stream.source.list_shards()
            await stream.source.describe()

        async with anyio.create_task_group() as tasks:
            for limit in (1, 3, 10, 100, 1000):
                tasks.start_soon(read, limit)
        assert found == [wanted] * 5


@pytest.mark.like_aws("refuses_unknown_shards")
async def test_an_unknown_shard_is_rejected(open_stream: OpenStream) -> None:
    async with open_stream() as stream:
        (shard,) = await stream.open_shards()
        unknown = shard[:-1] + ("1" if shard[-1] != "1" else "2")
        with pytest.raises(SourceRejected):
            await stream.source.open_shard(unknown, TRIM_HORIZON)


FOR_EVERY_SOURCE: tuple[Callable[[OpenStream], Awaitable[None]], ...] = (
    test_a_stream_says_for_how_long_it_keeps_records_and_what_shards_it_has,
    test_records_come_in_order_page_by_page_from_the_trim_horizon,
    test_ddb_26_sequence_numbers_are_digits_and_grow,
    test_com_64_latest_is_the_moment_of_opening,
    test_reading_goes_on_after_a_sequence_number,
    test_reading_begins_with_a_record_that_is_named,
    test_com_64_at_timestamp_begins_at_the_first_record_that_arrived_then_or_later,
    test_kin_16_an_empty_page_is_not_the_end,
    test_a_closed_shard_is_listed_and_read_to_its_end,
    test_a_closed_shard_without_a_record_ends_at_latest_too,
    test_a_cancelled_read_loses_nothing,
    test_readers_and_listings_of_one_source_do_not_disturb_each_other,
    test_an_unknown_shard_is_rejected,
)
"""What a source in memory must do as well. Another fake joins by another entry of OPEN_FAKES."""
OPEN_FAKES: dict[str, OpenStream] = {"fake": fake_under_test}


@pytest.mark.parametrize("fake", OPEN_FAKES)
@pytest.mark.parametrize("check", FOR_EVERY_SOURCE, ids=lambda check: check.__name__.removeprefix("test_"))
async def test_the_fake_stream_keeps_the_contract(check: Callable[[OpenStream], Awaitable[None]], fake: str) -> None:
    await check(OPEN_FAKES[fake])
