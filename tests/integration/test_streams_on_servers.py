"""The real `esm run` against streams on every server: it reads in order, survives `kill -9`, goes on after a restart, reshards."""

import signal
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.acceptance.stream_site import (
    assert_in_order,
    checkpoints,
    seen,
    stream_function,
    stream_mapping,
    stream_site,
    texts,
    wait_seen,
)
from tests.acceptance.worker_process import process_on
from tests.servers.behaviour import Service
from tests.servers.controls import control
from tests.servers.running import Server
from tests.servers.streams import StreamHandle, stream_on
from tests.servers.tables import TableHandle, table_on

Handle = StreamHandle | TableHandle
KEYS = tuple(f"key-{n}" for n in range(5))
ENDED = "SHARD_END"
INDEPENDENT = pytest.mark.on_servers("ministack", "kinesis-mock", "kinesalite", "moto")
"""The embedded endpoint has its own tests, in tests/acceptance."""


def arn_of(handle: Handle) -> str:
    return handle.arn if isinstance(handle, StreamHandle) else handle.stream_arn


def stream_like(service: Service, server: Server) -> AbstractAsyncContextManager[Handle]:
    return stream_on(server) if service is Service.KINESIS else table_on(server)


async def put(handle: Handle, sent: Mapping[str, Sequence[str]]) -> None:
    """The keys take turns. One after the other: moto may give one number to two records that are put at once."""
    for turn in zip(*sent.values(), strict=True):
        for key, text in zip(sent, turn, strict=True):
            await handle.put(text, key=key)


def records(begin: int, end: int) -> dict[str, list[str]]:
    return {key: [f"{key} {n}" for n in range(begin, end)] for key in KEYS}


@INDEPENDENT
async def test_records_arrive_in_order_over_kills_and_a_restart(stream_server: tuple[Service, Server], tmp_path: Path) -> None:
    """COM-01, COM-60, COM-66: two `kill -9` in the middle of the stream, then a clean stop: nothing is lost, little comes again."""
    service, server = stream_server
    async with stream_like(service, server) as handle:
        await put(handle, records(0, 12))
        mapping = stream_mapping("m", arn_of(handle), BatchSize=10)
        site = stream_site(tmp_path, {"f": stream_function("takes_a_moment")}, [mapping])
        for enough in (15, 30):
            async with process_on(site, server.endpoint_url, WORKER="one") as worker:
                await wait_seen(site, enough, worker)
                worker.send_signal(signal.SIGKILL)
                await worker.wait_exit()
        async with process_on(site, server.endpoint_url, WORKER="one") as worker:
            await wait_seen(site, 60, worker)
            assert await worker.stop() == 0
        repeated = len(seen(site, "began")) - 60
        assert repeated <= 2 * 10
        await put(handle, records(12, 16))
        async with process_on(site, server.endpoint_url, WORKER="two") as worker:
            await wait_seen(site, 80, worker)
            assert await worker.metric("esm_polled_events_total", mapping="m", source=service.value) == 20
            assert await worker.metric("esm_position_gaps_total") == 0
            await worker.wait_ready()
            assert await worker.stop() == 0
        assert len(seen(site, "began")) - 80 == repeated
        assert_in_order(site, records(0, 16))


@INDEPENDENT
async def test_a_mapping_at_latest_begins_with_what_comes(stream_server: tuple[Service, Server], tmp_path: Path) -> None:
    """COM-64; the moment is kept, so a `kill -9` before the first batch loses nothing."""
    service, server = stream_server
    async with stream_like(service, server) as handle:
        await handle.put("old")
        await anyio.sleep(1.1)  # the records of tables tell their time in whole seconds
        mapping = stream_mapping("m", arn_of(handle), StartingPosition="LATEST")
        site = stream_site(tmp_path, {"f": stream_function("holds")}, [mapping])
        async with process_on(site, server.endpoint_url, WORKER="one") as worker:
            await worker.wait(lambda: "AT_TIMESTAMP" in str(checkpoints(site, "m")), "LATEST is pinned")
            await handle.put("a", "b")
            worker.send_signal(signal.SIGKILL)
            await worker.wait_exit()
        site.open_gate()
        async with process_on(site, server.endpoint_url, WORKER="one") as worker:
            await worker.wait(lambda: texts(site)[-2:] == ["a", "b"], "what came is seen")
            assert texts(site) == ["a", "b"]
            assert await worker.stop() == 0


@INDEPENDENT
async def test_poison_is_given_up_alone_and_the_stream_goes_on(stream_server: tuple[Service, Server], tmp_path: Path) -> None:
    """COM-75..77: bisected down to the record; without a destination it is counted as dropped."""
    service, server = stream_server
    async with stream_like(service, server) as handle:
        await handle.put("good 1", "poison", "good 2", "good 3")
        policy: dict[str, Any] = {"MaximumRetryAttempts": 0, "BisectBatchOnFunctionError": True}
        site = stream_site(tmp_path, {"f": stream_function("refuses_poison")}, [stream_mapping("m", arn_of(handle), **policy)])
        async with process_on(site, server.endpoint_url, WORKER="one") as worker:
            await wait_seen(site, 3, worker)
            assert texts(site) == ["good 1", "good 2", "good 3"]
            await worker.wait_metric("esm_dropped_events_total", 1)
            assert await worker.stop() == 0


@pytest.mark.like_aws("ends_split_shards")
async def test_a_stream_that_is_split_and_merged_under_load_keeps_its_order(kinesis_server: Server, tmp_path: Path) -> None:
    """KIN-40, KIN-41: parents are read to their end, then their children, over a `kill -9` in between."""
    async with stream_on(kinesis_server, shards=1) as stream:
        site = stream_site(tmp_path, {"f": stream_function("takes_a_moment")}, [stream_mapping("m", stream.arn, BatchSize=10)])
        async with process_on(site, kinesis_server.endpoint_url, WORKER="one") as worker:
            await put(stream, records(0, 10))
            (first,) = await stream.open_shards()
            children = await stream.split(first)
            await put(stream, records(10, 20))
            await wait_seen(site, 60, worker)
            worker.send_signal(signal.SIGKILL)
            await worker.wait_exit()
        await stream.merge(*children)
        await put(stream, records(20, 30))
        async with process_on(site, kinesis_server.endpoint_url, WORKER="one") as worker:
            await wait_seen(site, 150, worker)
            ended = dict.fromkeys([first, *children], ENDED)
            await worker.wait(lambda: checkpoints(site, "m").items() >= ended.items(), "all parents are at their end")
            assert await worker.stop() == 0
        assert_in_order(site, records(0, 30))
        order = [each.shard for each in seen(site)]
        (last,) = await stream.open_shards()
        assert order.index(last) > max(index for index, shard in enumerate(order) if shard in children)
        assert order.index(last) > min(order.index(child) for child in children) > order.index(first)
        assert max(index for index, shard in enumerate(order) if shard == first) < min(order.index(child) for child in children)


@pytest.mark.like_aws("rolls_over_shards")
async def test_a_table_whose_shards_roll_over_keeps_the_order_of_its_items(dynamodb_server: Server, tmp_path: Path) -> None:
    """DDB-13, DDB-14."""
    async with table_on(dynamodb_server) as table:
        mapping = stream_mapping("m", table.stream_arn, BatchSize=10)
        site = stream_site(tmp_path, {"f": stream_function("takes_a_moment")}, [mapping])
        async with process_on(site, dynamodb_server.endpoint_url, WORKER="one") as worker:
            await put(table, records(0, 8))
            await control(dynamodb_server, "dynamodb/rollover", table=table.name)
            await put(table, records(8, 16))
            await control(dynamodb_server, "dynamodb/split", table=table.name)
            await put(table, records(16, 24))
            await wait_seen(site, 120, worker)
            assert await worker.stop() == 0
        assert len(seen(site)) == 120
        assert_in_order(site, records(0, 24))


@pytest.mark.like_aws("ends_disabled_streams")
async def test_a_stream_that_is_disabled_is_read_to_its_end(dynamodb_server: Server, tmp_path: Path) -> None:
    """DDB-14: the null next iterator ends the shard, for good."""
    async with table_on(dynamodb_server) as table:
        await table.put("a", "b", "c")
        (shard,) = await table.open_shards()
        await table.disable_stream()
        site = stream_site(tmp_path, {"f": stream_function("works")}, [stream_mapping("m", table.stream_arn)])
        async with process_on(site, dynamodb_server.endpoint_url, WORKER="one") as worker:
            await worker.wait(lambda: checkpoints(site, "m") == {shard: ENDED}, "the shard is at its end")
            assert texts(site) == ["a", "b", "c"]
            assert await worker.metric("esm_shards", state="ended") == 1
            assert (await worker.page("/readyz")).status == 200
            assert await worker.stop() == 0
