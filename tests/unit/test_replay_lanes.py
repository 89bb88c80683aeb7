"""Where fed records wait for a handler."""

import anyio
import pytest

from pollers.record import Record
from runtime.core.mapping import BatchLimits
from runtime.replay import lanes as module
from runtime.replay.lanes import Lane, Lanes, lane_of
from runtime.shard import _lane_of
from tests.fakes.replays import STREAM, kinesis_record, message
from tests.fakes.virtual_time import virtual_time


def made(number: int = 1, *, records: int = 2, queue: bool = False) -> tuple[Lanes, list[Lane]]:
    started: list[Lane] = []
    return Lanes(BatchLimits(records=records), number, queue=queue, pace=None, start=started.append), started


def record(number: int) -> Record:
    return kinesis_record(number).record


@virtual_time
async def test_everyone_who_waits_for_room_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards that are read side by side waited for one event, and the first was never woken."""
    monkeypatch.setattr(module, "_AHEAD", 0)
    lanes, started = made()
    done: list[str] = []

    async def feed(shard: str) -> None:
        for number in range(1, 7):
            await lanes.add(record(number), source_arn=STREAM, shard=shard)
        done.append(shard)

    async def drain(lane: Lane) -> None:
        while await lanes.wait_due(lane):
            await anyio.sleep(1)
            lanes.take(lane)
            lanes.free(lane)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as feeding:
                for shard in ("a", "b", "c"):
                    feeding.start_soon(feed, shard)
                await anyio.wait_all_tasks_blocked()
                for lane in started:
                    tasks.start_soon(drain, lane)
            lanes.end()
    assert sorted(done) == ["a", "b", "c"]


@virtual_time
async def test_a_busy_lane_takes_in_more_until_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    size = record(1).size + 1024
    monkeypatch.setattr(module, "_AHEAD", 5 * size)
    lanes, started = made()
    added = 0
    with anyio.move_on_after(1):
        for number in range(1, 100):
            await lanes.add(record(number), source_arn=STREAM, shard="a")
            added += 1
    assert added == 5
    assert [each.id for each in lanes.take(started[0]).records] == ["1", "2"]
    with anyio.fail_after(1):
        await lanes.add(record(100), source_arn=STREAM, shard="a")


@virtual_time
async def test_what_is_closed_takes_nothing_and_holds_nobody_up() -> None:
    lanes, started = made(records=5)
    await lanes.add(record(1), source_arn=STREAM, shard="a")
    lanes.close()
    with anyio.fail_after(1):
        await lanes.add(record(2), source_arn=STREAM, shard="a")
        await lanes.finish(STREAM, "a")
        assert not await lanes.wait_due(started[0])


@virtual_time
async def test_a_begun_batch_of_a_standard_queue_is_filled_first() -> None:
    lanes, started = made(3, records=4, queue=True)
    for number in range(1, 7):
        await lanes.add(message(number).record, source_arn="q", shard="")
    assert sorted(len(lane.window) for lane in started) == [0, 2, 4]


def test_a_key_goes_to_the_lane_where_a_worker_has_it() -> None:
    """COM-61: else records would be looked for in the wrong lane of a range."""
    for lanes in range(1, 11):
        for key in ("", "a", "ключ", "\ud800", "k" * 300):
            made_of = kinesis_record(1, key="x").record
            made_of.group = key
            assert lane_of(key, lanes) == _lane_of(made_of, lanes)
