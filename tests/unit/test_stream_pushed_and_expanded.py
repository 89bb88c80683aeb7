"""A mapping whose records are pushed, and one whose records are taken apart, on fakes in virtual time."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
from msgspec.structs import replace as changed

from handlers.invoker import Outcome, Succeeded
from pollers.record import TRIM_HORIZON, Record, RecordId
from runtime.core.mapping import BatchLimits, RetryPolicy, StreamSettings
from tests.fakes.stream import STREAM_SPEC, FakeStream
from tests.fakes.stream_worker import World, wait, wall_clock
from tests.fakes.virtual_time import virtual_time
from tests.fakes.worker import error

S0 = "shardId-000000000000"
IN_EACH = 3


def expand(records: Sequence[Record]) -> Sequence[Record]:
    """Every record is an aggregate of three."""
    return [
        changed(
            record,
            id=RecordId(f"{record.id}:{place}"),
            group=f"{record.group}{place}",
            content={**record.content, "place": place},
        )
        for record in records
        for place in range(IN_EACH)
    ]


EXPANDED = replace(STREAM_SPEC, expand=expand)


def places(event: dict[str, Any]) -> list[tuple[str, int]]:
    return [(record["kinesis"]["sequenceNumber"], record["place"]) for record in event["Records"]]


@virtual_time
async def test_kin_11_pushed_records_wait_for_no_interval_and_for_no_place_among_the_reads() -> None:
    """More shards than may be read at once: what waits for records does not keep the others from theirs."""
    world = World(stream=FakeStream(wall_clock, shard_count=3, pushed=True), reads=1)
    async with world.running():
        await wait(lambda: len(world.stream.reads) >= 9)
        for number in range(12):
            await anyio.sleep(0.3)
            world.stream.put(f"key-{number}")
            await wait(lambda number=number: sum(map(len, world.function.invoked)) == number + 1, within=0.1)  # type: ignore[misc]


@virtual_time
async def test_readers_are_closed_when_the_worker_stops_and_when_a_shard_ends() -> None:
    world = World(stream=FakeStream(wall_clock, pushed=True))
    async with world.running():
        await wait(lambda: len(world.stream.reads) > 2)
        world.stream.split(S0)
        await wait(lambda: len(world.stream.readers) == 3)
        assert [reader.closed for reader in world.stream.readers] == [True, False, False]
    assert all(reader.closed for reader in world.stream.readers)


@virtual_time
async def test_a_killed_worker_closes_its_readers() -> None:
    world = World(stream=FakeStream(wall_clock, pushed=True))
    async with anyio.create_task_group() as tasks:
        worker = world.start(tasks)
        await wait(lambda: len(world.stream.reads) > 2)
        worker.kill()
        await worker.ended.wait()
    assert [reader.closed for reader in world.stream.readers] == [True]


@virtual_time
async def test_batches_count_user_records_and_the_checkpoint_knows_whole_aggregates() -> None:
    world = World(spec=EXPANDED, limits=BatchLimits(records=4))
    held = anyio.Event()

    async def handler(event: dict[str, Any]) -> Outcome:
        if ("2", 2) in places(event) or ("3", 0) in places(event):
            await held.wait()
        return Succeeded(response=None)

    world.function.handler = handler
    world.stream.put("a", 3)
    async with world.running() as worker:
        await wait(lambda: len(world.function.invoked) == 2)
        assert [len(batch) for batch in world.function.invoked] == [4, 4]
        await wait(lambda: world.checkpoints() == {S0: "1"})  # the first batch ended within the second aggregate
        held.set()
        await wait(lambda: world.checkpoints() == {S0: "3"})
        assert worker.metric("esm_polled_events_total") == 9
    assert [place for event in world.function.events for place in places(event)] == [
        (str(sequence), place) for sequence in (1, 2, 3) for place in range(IN_EACH)
    ]


@virtual_time
async def test_com_61_lanes_go_by_the_keys_of_user_records() -> None:
    world = World(spec=EXPANDED, settings=StreamSettings(start=TRIM_HORIZON, lanes=10), limits=BatchLimits(records=1))
    release = anyio.Event()

    async def handler(_: dict[str, Any]) -> Outcome:
        await release.wait()
        return Succeeded(response=None)

    world.function.handler = handler
    world.stream.put("a", 1)
    async with world.running():
        await wait(lambda: world.function.running == IN_EACH)
        release.set()
        await wait(lambda: world.checkpoints() == {S0: "1"})


@virtual_time
async def test_bisecting_goes_on_within_an_aggregate() -> None:
    world = World(spec=EXPANDED, settings=StreamSettings(start=TRIM_HORIZON, retry=RetryPolicy(attempts=0, bisect=True)))

    async def handler(event: dict[str, Any]) -> Outcome:
        return error() if ("1", 1) in places(event) else Succeeded(response=None)

    world.function.handler = handler
    world.stream.put("a", 1)
    async with world.running() as worker:
        await wait(lambda: world.checkpoints() == {S0: "1"})
        assert worker.metric("esm_dropped_events_total") == 1
    assert [places(event) for event in world.function.events] == [
        [("1", 0), ("1", 1), ("1", 2)],
        [("1", 0)],
        [("1", 1), ("1", 2)],
        [("1", 1)],
        [("1", 2)],
    ]


@virtual_time
async def test_com_95_a_window_counts_a_repeated_aggregate_once() -> None:
    """Its state is kept beside the position: with a position in front of the aggregate, it must not have a part of it."""
    world = World(spec=EXPANDED, settings=StreamSettings(start=TRIM_HORIZON, tumbling_window=60), limits=BatchLimits(records=2))
    finals: list[int] = []
    killed = False

    async def handler(event: dict[str, Any]) -> Outcome:
        if event.get("isFinalInvokeForWindow"):
            finals.append(event["state"]["count"])
        if ("2", 2) in places(event) and not killed:
            await anyio.sleep_forever()
        return Succeeded(response={"state": {"count": event["state"].get("count", 0) + len(event["Records"])}})

    world.function.handler = handler
    await anyio.sleep(60 - wall_clock() % 60)
    world.stream.put("a", 2)
    async with anyio.create_task_group() as tasks:
        worker = world.start(tasks)
        await wait(lambda: len(world.function.invoked) == 3)
        (lease,) = world.leases()
        assert (str(lease.checkpoint), lease.window) == ("TRIM_HORIZON", None)  # both batches ended within an aggregate
        worker.kill()
        await worker.ended.wait()
    killed = True
    async with world.running():
        await wait(lambda: finals != [], within=3600)
    assert finals == [2 * IN_EACH]
