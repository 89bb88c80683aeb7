"""Enhanced fan-out on every server that has it (KIN-11): the contract of a stream source, and what is special of being pushed."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from pollers.errors import SourceRejected, SourceUnavailable
from pollers.kinesis_fan_out import FAILURES
from pollers.record import LATEST, TRIM_HORIZON
from tests.contract import test_stream_source as contract
from tests.fakes.streams_on_servers import OpenStream, PushedUnderTest, pushed_under_test, read_all, texts
from tests.servers.controls import control
from tests.servers.running import Server

_ENDS = (
    contract.test_a_closed_shard_is_listed_and_read_to_its_end,
    contract.test_a_closed_shard_without_a_record_ends_at_latest_too,
)
_UNKNOWN = (contract.test_an_unknown_shard_is_rejected,)
_OTHERS = tuple(check for check in contract.FOR_EVERY_SOURCE if check not in _ENDS + _UNKNOWN)


def _checks(*checks: Callable[[OpenStream], Awaitable[None]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("check", checks, ids=lambda check: check.__name__.removeprefix("test_"))


@pytest.mark.like_aws("pushes_records")
@_checks(*_OTHERS)
async def test_kin_11_pushed_records_keep_the_contract(
    check: Callable[[OpenStream], Awaitable[None]], kinesis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check(lambda: pushed_under_test(kinesis_server, monkeypatch))


@pytest.mark.like_aws("pushes_records", "ends_pushed_shards")
@_checks(*_ENDS)
async def test_kin_11_pushed_records_keep_the_contract_at_the_end_of_a_shard(
    check: Callable[[OpenStream], Awaitable[None]], kinesis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check(lambda: pushed_under_test(kinesis_server, monkeypatch))


@pytest.mark.like_aws("pushes_records", "refuses_unknown_subscriptions")
@_checks(*_UNKNOWN)
async def test_kin_11_pushed_records_keep_the_contract_of_unknown_shards(
    check: Callable[[OpenStream], Awaitable[None]], kinesis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check(lambda: pushed_under_test(kinesis_server, monkeypatch))


@pytest.mark.like_aws("pushes_records", "refuses_unknown_subscriptions")
async def test_a_missing_consumer_or_stream_is_rejected(kinesis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pushed_under_test(kinesis_server, monkeypatch) as stream:
        (shard,) = await stream.open_shards()
        for missing in (stream.missing(), stream.reading(stream.consumer.replace("/app:", "/other:"))):
            with pytest.raises(SourceRejected):
                await missing.describe()
            with pytest.raises(SourceRejected):
                await missing.open_shard(shard, TRIM_HORIZON)


@pytest.mark.like_aws("pushes_records", "refuses_early_subscriptions")
async def test_a_second_reader_of_one_consumer_waits_and_goes_on_where_it_was_opened(
    kinesis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a shard changes hands: the one before has just subscribed and is gone now, or does not know yet that it is."""
    async with pushed_under_test(kinesis_server, monkeypatch) as stream:
        (shard,) = await stream.open_shards()
        await stream.put("a")
        source = stream.reading(stream.consumer)
        before = await source.open_shard(shard, TRIM_HORIZON)
        assert await read_all(stream, before, until=1) == ["a"]
        after = await source.open_shard(shard, LATEST)
        assert ("SubscribeToShard", "error") in stream.observed.requests
        await anyio.sleep(stream.tick)
        await stream.put("b")
        assert await read_all(stream, after, until=1) == ["b"]
        assert stream.told == []
        for reader in (before, after):
            reader.close()


# what only the embedded endpoint can do


async def _opened(stream: PushedUnderTest, **settings: float) -> str:
    """Sets what the endpoint does; gives the shard."""
    await control(
        stream.handle.server, "kinesis/settings", **{"subscribeEvery": 5, "subscription": 300, "keepAlive": 5, **settings}
    )
    (shard,) = await stream.open_shards()
    return shard


@pytest.mark.on_servers("local")
async def test_renewals_lose_nothing_and_repeat_nothing(kinesis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pushed_under_test(kinesis_server, monkeypatch) as stream:
        shard = await _opened(stream, subscription=0.05, subscribeEvery=0, keepAlive=0.02)
        monkeypatch.setattr("pollers.kinesis_fan_out.BETWEEN", 0.0)
        reader = await stream.source.open_shard(shard, LATEST)
        wanted = [str(number) for number in range(300)]
        found: list[str] = []

        async def put() -> None:
            for text in wanted:
                await stream.put(text)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put)
            with anyio.fail_after(30):
                while len(found) < len(wanted):
                    found += texts(stream, (await reader.read(limit=7)).records)
        await _opened(stream)
        assert found == wanted
        assert stream.observed.requests.count(("SubscribeToShard", "ok")) > 5


@pytest.mark.on_servers("local")
@pytest.mark.parametrize("fault", ["cut_frame", "bad_checksum"])
async def test_a_broken_frame_is_unavailable_and_the_next_subscription_brings_its_records(
    kinesis_server: Server, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async with pushed_under_test(kinesis_server, monkeypatch) as stream:
        shard = await _opened(stream, subscribeEvery=0)
        monkeypatch.setattr("pollers.kinesis_fan_out.BETWEEN", 0.0)
        reader = await stream.source.open_shard(shard, TRIM_HORIZON)
        await stream.put("a")
        assert await read_all(stream, reader, until=1) == ["a"]
        await stream.fault(fault, operation="SubscribeToShard", times=1)
        await stream.put("b", "c")
        with pytest.raises(SourceUnavailable):
            await reader.read(limit=10)
        assert await read_all(stream, reader, until=2) == ["b", "c"]
        assert ("SubscribeToShard", "error") in stream.observed.requests
        await _opened(stream)


@pytest.mark.on_servers("local")
@pytest.mark.parametrize("fault", ["throttle", "error500", "error503", "drop", "garbage"])
async def test_subscriptions_that_keep_failing_make_the_shard_polled_and_are_then_taken_up_again(
    kinesis_server: Server, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async with pushed_under_test(kinesis_server, monkeypatch) as stream:
        shard = await _opened(stream, subscribeEvery=0)
        for name, seconds in (("BETWEEN", 0.0), ("POLLING", 1.0)):
            monkeypatch.setattr(f"pollers.kinesis_fan_out.{name}", seconds)
        reader = await stream.source.open_shard(shard, TRIM_HORIZON)
        await stream.put("a")
        assert await read_all(stream, reader, until=1) == ["a"]
        await stream.fault("early_end", operation="SubscribeToShard", times=1)
        await stream.fault(fault, operation="SubscribeToShard", times=FAILURES, when="before")
        await stream.put("b")
        failures = 0
        found: list[str] = []
        with anyio.fail_after(30):
            while not found:
                try:
                    found += texts(stream, (await reader.read(limit=10)).records)
                except SourceUnavailable:
                    failures += 1
        assert (found, failures) == (["b"], FAILURES)
        assert ("GetRecords", "ok") in stream.observed.requests
        assert [where for where, _ in stream.told] == [shard]
        await anyio.sleep(1.0)
        await stream.put("c")
        with anyio.fail_after(30):
            while not (page := await reader.read(limit=10)).records:
                pass
        assert (page.pushed, texts(stream, page.records)) == (True, ["c"])
        assert stream.told[1:] == [(shard, None)]
        await _opened(stream)


@pytest.mark.on_servers("local")
@pytest.mark.parametrize("fault", ["access_denied", "expired_token"])
async def test_denied_subscriptions_are_rejected_and_never_papered_over_by_polling(
    kinesis_server: Server, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async with pushed_under_test(kinesis_server, monkeypatch) as stream:
        shard = await _opened(stream, subscribeEvery=0)
        monkeypatch.setattr("pollers.kinesis_fan_out.BETWEEN", 0.0)
        await stream.put("a")
        reader = await stream.source.open_shard(shard, LATEST)
        await reader.read(limit=1)
        await stream.fault("early_end", operation="SubscribeToShard", times=1)
        await stream.fault(fault, operation="SubscribeToShard")
        await stream.put("b")
        await reader.read(limit=1)
        for _ in range(2 * FAILURES):
            with pytest.raises(SourceRejected):
                await reader.read(limit=1)
        assert stream.told == []
        await _opened(stream)


@pytest.mark.on_servers("local")
async def test_what_nobody_reads_waits_at_the_service(kinesis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a subscription is bounded by one event and the buffers of its connection, however much is there."""
    async with pushed_under_test(kinesis_server, monkeypatch) as stream:
        shard = await _opened(stream)
        reader = await stream.source.open_shard(shard, TRIM_HORIZON)
        await stream.put(*["x" * 700_000] * 12)
        await anyio.sleep(0.5)
        events = reader._subscription._events  # type: ignore[attr-defined]  # the reader of this source
        content = events._answer.content
        assert (content.total_bytes < 4_000_000, len(events._buffered)) == (True, 0)
        assert len(await read_all(stream, reader, until=12)) == 12
