"""The fake stream itself: the simulation and other tests stand on it."""

import anyio
import pytest

from pollers.errors import PositionTrimmed, SourceUnavailable
from pollers.record import LATEST, TRIM_HORIZON, Position, ShardPage
from pollers.source import ShardReader
from tests.fakes.stream import FakeStream
from tests.fakes.virtual_time import virtual_time

FIRST = "shardId-000000000000"


def stream() -> FakeStream:
    return FakeStream(anyio.current_time)


async def ids(reader: ShardReader, limit: int = 100) -> list[str]:
    page: ShardPage = await reader.read(limit=limit)
    return [record.id for record in page.records]


@virtual_time
async def test_each_position_begins_where_it_says() -> None:
    fake = stream()
    fake.put("a", 2)
    await anyio.sleep(5)
    later = anyio.current_time()
    fake.put("a", 2)
    latest = await fake.open_shard(FIRST, LATEST)
    fake.put("a")
    assert await ids(await fake.open_shard(FIRST, TRIM_HORIZON)) == ["1", "2", "3", "4", "5"]
    assert await ids(await fake.open_shard(FIRST, Position.at(later))) == ["3", "4", "5"]
    assert await ids(await fake.open_shard(FIRST, Position.after("4"))) == ["5"]
    assert await ids(latest) == ["5"]


@virtual_time
async def test_a_split_shard_ends_and_its_keys_go_to_its_children() -> None:
    fake = stream()
    fake.put("a")
    left, right = fake.split(FIRST)
    fake.put("a")
    fake.put("b")
    shards = await fake.list_shards()
    assert [(shard.id, shard.parents, shard.closed) for shard in shards] == [
        (FIRST, (), True),
        (left, (FIRST,), False),
        (right, (FIRST,), False),
    ]
    page = await (await fake.open_shard(FIRST, TRIM_HORIZON)).read(limit=10)
    assert page.ended
    assert len(page.records) == 1
    assert sorted(fake.sequences(left) + fake.sequences(right)) == ["2", "3"]
    merged = fake.merge(left, right)
    assert fake.shards[merged].parents == (left, right)
    assert fake.shard_of("a") is fake.shard_of("b") is fake.shards[merged]


@virtual_time
async def test_what_goes_before_it_was_read_is_told() -> None:
    fake = stream()
    fake.put("a", 5)
    reader = await fake.open_shard(FIRST, TRIM_HORIZON)
    assert await ids(reader, 2) == ["1", "2"]
    assert fake.trim(FIRST, 3) == ["1", "2", "3"]
    with pytest.raises(PositionTrimmed):
        await reader.read(limit=2)
    with pytest.raises(PositionTrimmed):
        await fake.open_shard(FIRST, Position.after("2"))
    assert await ids(await fake.open_shard(FIRST, Position.after("3"))) == ["4", "5"]
    assert await ids(await fake.open_shard(FIRST, TRIM_HORIZON)) == ["4", "5"]
    await anyio.sleep(fake.retention + 1)
    assert await ids(await fake.open_shard(FIRST, TRIM_HORIZON)) == []


@virtual_time
async def test_a_failed_or_cancelled_read_moves_nothing() -> None:
    fake = stream()
    fake.put("a", 2)
    reader = await fake.open_shard(FIRST, TRIM_HORIZON)
    fake.fail = lambda operation, _: SourceUnavailable("no", code="throttled") if operation == "read" else None
    with pytest.raises(SourceUnavailable):
        await reader.read(limit=1)
    fake.fail = lambda _, __: None
    fake.latency = lambda _, __: 10.0
    with anyio.move_on_after(5):
        await reader.read(limit=1)
    assert await ids(reader, 1) == ["1"]


@virtual_time
async def test_pages_can_be_short_empty_repeated_and_late_at_the_end() -> None:
    fake = stream()
    fake.put("a", 4)
    fake.roll_over(FIRST)
    reader = await fake.open_shard(FIRST, TRIM_HORIZON)
    fake.shorten = lambda _, count: count // 4
    assert await ids(reader, 4) == ["1"]
    fake.repeat = lambda _: 3
    fake.shorten = lambda _, count: count
    assert await ids(reader, 3) == ["1", "2", "3"]
    fake.repeat = lambda _: 0
    fake.late_end = lambda _: True
    page = await reader.read(limit=9)
    assert [record.id for record in page.records] == ["4"]
    assert not page.ended
    page = await reader.read(limit=9)
    assert page.ended
    assert page.records == ()
