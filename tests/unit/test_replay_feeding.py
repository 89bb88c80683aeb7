"""How recordings and streams come to a replay."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from handlers.invoker import Outcome, Succeeded
from pollers.errors import SourceRejected, SourceUnavailable
from pollers.record import Position
from pollers.recording import Flaw, Lineage, Recorded
from runtime.replay.choosing import Choosing
from runtime.replay.engine import Replayer
from runtime.replay.feeding import FeedStream, feed_recording, in_rhythm, told
from runtime.replay.pace import Pace
from runtime.replay.report import Report
from runtime.replay.rules import Overrides, rules_of
from runtime.replay.selection import Selection
from runtime.stream_reading import Wanted, read_stream
from tests.fakes.replays import BEGAN, STREAM, Acts, ids_of, kinesis_record, stream_mapping
from tests.fakes.stream import STREAM_SPEC, FakeStream
from tests.fakes.stream_worker import wall_clock
from tests.fakes.virtual_time import virtual_time


def recorded(number: int, at: float, shard: str = "a") -> Recorded:
    return Recorded(of=kinesis_record(number, shard=shard, arrived=BEGAN + at if at else 0.0), line=number, file="f")


def child(shard: str, *parents: str) -> Lineage:
    return Lineage(source_arn=STREAM, shard=shard, parents=parents)


def order(items: Sequence[Recorded | Lineage]) -> list[str]:
    return [each.of.record.id if isinstance(each, Recorded) else each.shard for each in in_rhythm(items)]


def test_in_their_rhythm_shards_that_lie_one_behind_the_other_are_woven_together() -> None:
    items = [recorded(1, 1), recorded(2, 5), recorded(3, 9), recorded(4, 2, "b"), recorded(5, 7, "b")]
    assert order(items) == ["1", "4", "2", "5", "3"]


def test_a_shard_keeps_its_order_whatever_its_clock_says() -> None:
    assert order([recorded(1, 5), recorded(2, 3), recorded(3, 0), recorded(4, 6), recorded(5, 4, "b")]) == [
        "5",
        "1",
        "2",
        "3",
        "4",
    ]


def test_a_child_comes_after_its_parents_whatever_the_clocks_say() -> None:
    items: list[Recorded | Lineage] = [
        child("a"),
        recorded(1, 8),
        child("b"),
        recorded(2, 9, "b"),
        child("c", "a", "b"),
        recorded(3, 7, "c"),
    ]
    assert order(items) == ["a", "b", "1", "2", "c", "3"]


async def feed(items: Sequence[Any], *, paced: bool = False, act: Any = None) -> tuple[Acts, Report]:
    acts, report = Acts(act) if act else Acts(), Report()
    replayer = Replayer(rules_of(stream_mapping(records=2), Overrides()), acts, report, pace=Pace(1.0) if paced else None)
    choosing = Choosing(Selection(), None, report, source="kinesis")
    async with replayer.running():
        await feed_recording(items, replayer, choosing, report, paced=paced)
    return acts, report


@virtual_time
async def test_what_stands_before_a_flaw_is_replayed_and_the_flaw_is_told() -> None:
    flaw = Flaw(file="f", line=3, message="cut off")
    acts, report = await feed([recorded(1, 1), recorded(2, 1), flaw])
    assert acts.invoked == [["1", "2"]]
    assert (report.succeeded, report.not_run, report.flaws, report.right) == (2, 0, [flaw], False)


@virtual_time
async def test_a_recording_is_paced_over_all_of_its_shards() -> None:
    at: list[tuple[str, float]] = []
    began = anyio.current_time()

    async def act(event: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        at.extend((each, anyio.current_time() - began) for each in ids_of(event))
        return Succeeded(response=None)

    await feed([recorded(1, 1), recorded(2, 61), recorded(3, 31, "b")], paced=True, act=act)
    assert at == [("1", 0), ("3", 30), ("2", 60)]


# streams


async def feed_stream(
    stream: FakeStream, wanted: Wanted | None = None, *, pace: Pace | None = None, act: Any = None, until: float = 0.0
) -> tuple[Acts, Report, FeedStream]:
    acts, report = Acts(act) if act else Acts(), Report()
    replayer = Replayer(rules_of(stream_mapping(records=3), Overrides()), acts, report, pace=pace)
    choosing = Choosing(Selection(), None, report, source="kinesis")
    taker = FeedStream(
        spec=STREAM_SPEC,
        source_arn=STREAM,
        replayer=replayer,
        choosing=choosing,
        report=report,
        pace=pace,
        until=until or wall_clock(),
    )
    wanted = wanted or Wanted(until=Position.at(wall_clock() + 1))
    async with replayer.running():
        try:
            await read_stream(stream, STREAM_SPEC, wanted, taker)
        except* (SourceRejected, SourceUnavailable) as errors:
            report.problems += told(errors)
    return acts, report, taker


@virtual_time
async def test_a_stream_is_replayed_with_children_after_their_parents() -> None:
    stream = FakeStream(wall_clock, shard_count=2)
    for n in range(20):
        stream.put(f"k{n}")
    stream.split("shardId-000000000000")
    for n in range(20):
        stream.put(f"k{n}")
    acts, report, taker = await feed_stream(stream)
    assert (report.read, report.succeeded, report.right) == (40, 40, True)
    seen = [each for ids in acts.invoked for each in ids]
    for shard in ("shardId-000000000002", "shardId-000000000003"):
        if own := stream.sequences(shard):
            assert max(map(seen.index, stream.sequences("shardId-000000000000"))) < min(map(seen.index, own))
    assert taker.shards == set(stream.shards)
    assert taker.done == taker.total


@virtual_time
async def test_a_stream_that_goes_away_in_the_middle_keeps_what_was_done() -> None:
    stream = FakeStream(wall_clock, page_limit=4)
    stream.put("k", 20)
    stream.fail = lambda operation, _: (
        SourceRejected("no more", code="AccessDenied") if operation == "read" and len(stream.reads) == 3 else None
    )
    _, report, _ = await feed_stream(stream)
    assert report.problems == ["no more"]
    assert (report.read, report.succeeded, report.not_run) == (12, 12, 0)
    assert not report.right


@virtual_time
async def test_the_shards_of_a_stream_keep_step_with_the_earliest_record() -> None:
    """Whichever shard answers first."""
    stream = FakeStream(wall_clock, shard_count=2)
    now = wall_clock()
    stream.put("x", shard="shardId-000000000000", arrived=now - 40)
    stream.put("x", shard="shardId-000000000001", arrived=now - 100)
    stream.latency = lambda operation, shard: 5.0 if operation == "read" and shard.endswith("1") else 0.0
    at: dict[str, float] = {}

    async def act(event: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        at.update(dict.fromkeys(ids_of(event), anyio.current_time()))
        return Succeeded(response=None)

    await feed_stream(stream, pace=Pace(1.0), act=act)
    assert at["1"] - at["2"] == pytest.approx(60, abs=1)


@virtual_time
async def test_records_that_went_are_told() -> None:
    stream = FakeStream(wall_clock)
    stream.put("k", 5)
    first, *_ = stream.sequences("shardId-000000000000")
    stream.trim("shardId-000000000000", 2)
    _, report, _ = await feed_stream(stream, Wanted(since=Position.at_record(first), until=Position.at(wall_clock() + 1)))
    assert report.succeeded == 3
    assert "oldest record that is left" in report.problems[0]


def test_a_foreign_sequence_number_is_told_in_words_of_the_command() -> None:
    foreign = SourceRejected("delete the mapping's positions", code="foreign_position")
    nested = ExceptionGroup("", [ExceptionGroup("", [foreign])])
    assert told(nested) == ["the sequence number of --from, --to or --only is not of this shard of this stream"]
