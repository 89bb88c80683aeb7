"""What a stream source makes of a service in trouble: what passes, what does not, and what it can mend by itself."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from pollers.errors import PositionTrimmed, SourceRejected, SourceUnavailable
from pollers.record import LATEST, TRIM_HORIZON, Position
from tests.fakes.roads import chosen_client
from tests.fakes.streams_on_servers import (
    OpenServerStream,
    all_records,
    dynamodb_under_test,
    kinesis_under_test,
    only_shard,
    opener,
    read_all,
    texts,
)
from tests.servers.behaviour import Service
from tests.servers.node_servers import ITERATOR_VARIABLE, KINESALITE
from tests.servers.running import Server, running
from tests.servers.spec import Launch, Place


@pytest.fixture
def open_stream(stream_server: tuple[Service, Server], monkeypatch: pytest.MonkeyPatch) -> OpenServerStream:
    service, server = stream_server
    return opener(service, server, monkeypatch)


async def test_a_missing_stream_is_rejected(open_stream: OpenServerStream) -> None:
    async with open_stream() as stream:
        (shard,) = await stream.open_shards()
        missing = stream.missing()
        with pytest.raises(SourceRejected):
            await missing.describe()
        with pytest.raises(SourceRejected):
            await missing.list_shards()
        with pytest.raises(SourceRejected):
            await missing.open_shard(shard, TRIM_HORIZON)


@pytest.mark.on_servers("local")
@pytest.mark.parametrize("fault", ["throttle", "error500", "error503", "drop", "truncate", "garbage"])
async def test_kin_18_what_passes_is_unavailable_and_the_same_read_can_be_asked_again(
    open_stream: OpenServerStream, fault: str
) -> None:
    async with open_stream() as stream:
        await stream.put(*"abc")
        reader = await only_shard(stream, TRIM_HORIZON)
        assert texts(stream, (await reader.read(limit=1)).records) == ["a"]
        twice = fault == "drop" and chosen_client() == "lean"  # a kept connection that was closed costs one more try at once
        await stream.fault(fault, operation="GetRecords", times=3 if twice else 2)
        for _ in range(2):
            with pytest.raises(SourceUnavailable):
                await reader.read(limit=10)
        assert await read_all(stream, reader, until=2) == ["b", "c"]
        outcome = "throttled" if fault == "throttle" else "error"
        assert stream.observed.requests.count(("GetRecords", outcome)) == 2


@pytest.mark.on_servers("local")
@pytest.mark.parametrize("fault", ["throttle", "error500", "drop", "truncate"])
async def test_listing_and_opening_are_unavailable_for_a_while_and_then_complete(
    open_stream: OpenServerStream, fault: str
) -> None:
    async with open_stream() as stream:
        (shard,) = await stream.open_shards()
        await stream.fault(fault)
        with pytest.raises(SourceUnavailable):
            await stream.source.describe()
        with pytest.raises(SourceUnavailable):
            await stream.source.list_shards()
        with pytest.raises(SourceUnavailable):
            await stream.source.open_shard(shard, TRIM_HORIZON)


@pytest.mark.on_servers("local")
@pytest.mark.parametrize("fault", ["access_denied", "expired_token"])
async def test_denied_access_is_rejected(open_stream: OpenServerStream, fault: str) -> None:
    async with open_stream() as stream:
        (shard,) = await stream.open_shards()
        reader = await stream.source.open_shard(shard, TRIM_HORIZON)
        await stream.fault(fault)
        with pytest.raises(SourceRejected):
            await stream.source.describe()
        with pytest.raises(SourceRejected):
            await stream.source.list_shards()
        with pytest.raises(SourceRejected):
            await stream.source.open_shard(shard, TRIM_HORIZON)
        with pytest.raises(SourceRejected):
            await reader.read(limit=10)


@pytest.mark.on_servers("local")
async def test_kin_14_an_expired_iterator_is_taken_anew_after_the_last_record(open_stream: OpenServerStream) -> None:
    async with open_stream() as stream:
        await stream.put(*"abc")
        reader = await only_shard(stream, TRIM_HORIZON)
        found = []
        for _ in range(3):
            await stream.fault("expired_iterator", operation="GetRecords", times=1)
            found += texts(stream, (await reader.read(limit=1)).records)
        assert found == ["a", "b", "c"]
        assert stream.observed.requests.count(("GetShardIterator", "ok")) == 4


@pytest.mark.on_servers("local")
async def test_an_iterator_at_latest_that_expires_before_its_first_record_skips_nothing(open_stream: OpenServerStream) -> None:
    async with open_stream() as stream:
        await stream.put("before")
        await anyio.sleep(stream.tick)
        reader = await only_shard(stream, LATEST)
        await stream.put("after")
        await stream.fault("expired_iterator", operation="GetRecords", times=1)
        assert await read_all(stream, reader, until=1) == ["after"]


@pytest.mark.on_servers("kinesalite")
async def test_kin_14_iterators_that_live_for_a_moment_are_taken_anew(
    kinesis_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same on a server that is not ours, of which it is known to be `kinesis_server`."""
    assert kinesis_server.name == KINESALITE.name

    def launch(place: Place) -> Launch:
        usual = KINESALITE.launch(place)
        return replace(usual, environment={**usual.environment, ITERATOR_VARIABLE: "100"})

    with running(replace(KINESALITE, launch=launch), tmp_path / "server") as server:
        async with kinesis_under_test(server, monkeypatch) as stream:
            await stream.put(*"abcd")
            reader = await only_shard(stream, TRIM_HORIZON)
            found = []
            for _ in range(4):
                await anyio.sleep(0.2)
                found += texts(stream, (await reader.read(limit=1)).records)
            assert found == ["a", "b", "c", "d"]
            assert ("GetRecords", "error") in stream.observed.requests


@pytest.mark.on_servers("local")
async def test_ddb_12_a_position_whose_records_are_gone_is_trimmed_and_the_rest_is_at_the_trim_horizon(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dynamodb_under_test(dynamodb_server, monkeypatch) as stream:
        await stream.put(*"abc")
        (first, *_) = await all_records(stream, 3)
        reader = await only_shard(stream, Position.after(first.id))
        await stream.trim()
        await stream.put("d")
        with pytest.raises(PositionTrimmed):
            await reader.read(limit=10)
        with pytest.raises(PositionTrimmed):
            await only_shard(stream, Position.after(first.id))
        assert await read_all(stream, await only_shard(stream, TRIM_HORIZON), until=1) == ["d"]


@pytest.mark.on_servers("local")
async def test_kin_43_a_trimmed_position_of_kinesis_goes_on_with_what_is_still_there(
    kinesis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kinesis_under_test(kinesis_server, monkeypatch) as stream:
        await stream.put(*"abc")
        (first, *_) = await all_records(stream, 3)
        reader = await only_shard(stream, Position.after(first.id))
        await stream.trim()
        await stream.put("d")
        assert await read_all(stream, reader, until=1) == ["d"]
        assert await read_all(stream, await only_shard(stream, Position.after(first.id)), until=1) == ["d"]
