"""Looking at a stream: all shards, in order, seldom enough, and over trouble."""

from collections.abc import Callable

import anyio
import pytest

from pollers.errors import PositionTrimmed, SourceError, SourceRejected, SourceUnavailable
from pollers.record import LATEST, TRIM_HORIZON, Position
from runtime.tail.stream_view import StreamView
from runtime.tail.told import Page, Remark
from tests.fakes.stream import STREAM_SPEC, FakeStream
from tests.fakes.stream_worker import wall_clock
from tests.fakes.virtual_time import virtual_time

S0 = "shardId-000000000000"


class Told:
    def __init__(self) -> None:
        self.events: list[Page | Remark] = []

    def __call__(self, event: Page | Remark) -> None:
        self.events.append(event)

    @property
    def sequences(self) -> list[str]:
        return [record.id for event in self.events if isinstance(event, Page) for record in event.records]

    @property
    def remarks(self) -> list[str]:
        return [f"{event.shard} {event.text}".strip() for event in self.events if isinstance(event, Remark)]


async def looked(
    stream: FakeStream, start: Position, meanwhile: Callable[[], object] = lambda: None, *, seconds: float = 30
) -> Told:
    """What was told in so many seconds; `meanwhile` happens after five of them."""
    told = Told()
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(StreamView(stream, STREAM_SPEC, start=start, tell=told, clock=wall_clock).run)
            await anyio.sleep(5)
            meanwhile()
    return told


@virtual_time
async def test_from_latest_only_what_comes_now_is_shown() -> None:
    stream = FakeStream(wall_clock, shard_count=2)
    stream.put("a", 3)
    told = await looked(stream, LATEST, lambda: stream.put("a", 2))
    assert told.sequences == ["4", "5"]
    assert told.remarks == ["2 of 2 shards to read, from LATEST"]


@virtual_time
async def test_that_it_reads_is_told_only_once_nothing_that_comes_can_be_missed() -> None:
    stream = FakeStream(wall_clock, shard_count=2)
    stream.latency = lambda operation, shard: 3.0 if operation == "open" and shard != S0 else 0.0
    began = anyio.current_time()
    told_at: list[float] = []
    with anyio.move_on_after(10):
        await StreamView(
            stream, STREAM_SPEC, start=LATEST, tell=lambda _: told_at.append(anyio.current_time()), clock=wall_clock
        ).run()
    assert [round(at - began) for at in told_at] == [3]


@virtual_time
async def test_what_came_while_a_shard_could_not_be_opened_at_latest_is_shown() -> None:
    stream = FakeStream(wall_clock)
    stream.put("a", 1, arrived=wall_clock() - 60)
    began = wall_clock()
    stream.fail = lambda operation, _: (
        SourceUnavailable("later", code="Throttling") if operation == "open" and wall_clock() - began < 8 else None
    )
    told = await looked(stream, LATEST, lambda: stream.put("a", 2))
    assert told.sequences == ["2", "3"]


@virtual_time
async def test_from_the_trim_horizon_everything_is_shown_once() -> None:
    stream = FakeStream(wall_clock, shard_count=2)
    expected = [number for key in "abcdef" for number in stream.put(key, 3)]
    told = await looked(stream, TRIM_HORIZON)
    assert sorted(told.sequences, key=int) == expected


@virtual_time
async def test_kin_42_children_that_appear_are_read_from_their_beginning_after_their_parent() -> None:
    stream = FakeStream(wall_clock)

    def split() -> None:
        stream.put("a", 2)
        low, high = stream.split(S0)
        stream.put("a", 3, shard=low)
        stream.put("b", 1, shard=high)

    told = await looked(stream, LATEST, split)
    assert told.sequences[:2] == ["1", "2"]
    assert sorted(told.sequences[2:]) == ["3", "4", "5", "6"]
    assert f"{S0} has ended" in told.remarks
    assert f"shardId-000000000001 new, after {S0}" in told.remarks


@virtual_time
async def test_kin_40_also_from_the_trim_horizon_no_child_goes_before_its_parents() -> None:
    stream = FakeStream(wall_clock)
    before = stream.put("a", 2500)
    low, high = stream.split(S0)
    after = [*stream.put("a", 2, shard=low), *stream.put("b", 2, shard=high)]
    told = await looked(stream, TRIM_HORIZON)
    assert told.sequences[: len(before)] == before
    assert sorted(told.sequences[len(before) :]) == sorted(after)


@virtual_time
async def test_a_closed_shard_has_nothing_after_latest_and_is_not_opened() -> None:
    stream = FakeStream(wall_clock)
    low, high = stream.split(S0)
    told = await looked(stream, LATEST)
    assert {shard for _, shard, _ in stream.opens} == {low, high}
    assert told.remarks == ["2 of 3 shards to read, from LATEST"]


@virtual_time
async def test_kin_12_less_than_half_of_a_shard_s_read_rate_is_taken_also_while_there_is_more() -> None:
    stream = FakeStream(wall_clock, page_limit=1)
    stream.put("a", 200)
    told = await looked(stream, TRIM_HORIZON, seconds=31)
    assert 50 <= len(told.sequences) <= 63  # two a second


@virtual_time
async def test_an_idle_shard_is_read_once_a_second() -> None:
    stream = FakeStream(wall_clock)
    await looked(stream, LATEST, seconds=20.5)
    assert 20 <= len(stream.reads) <= 21


@virtual_time
async def test_trouble_at_the_first_listing_comes_out() -> None:
    stream = FakeStream(
        wall_clock, fail=lambda *_: SourceRejected("ListShards on orders: no such stream", code="ResourceNotFoundException")
    )
    with pytest.raises(SourceRejected, match="no such stream"):
        await StreamView(stream, STREAM_SPEC, start=LATEST, tell=lambda _: None).run()


@virtual_time
async def test_later_trouble_is_told_once_and_gone_through() -> None:
    stream = FakeStream(wall_clock, shard_count=3)
    began = wall_clock()

    def fail(operation: str, _: str) -> SourceError | None:
        away = 5 < wall_clock() - began < 60
        return SourceUnavailable(f"{operation}: throttled", code="ThrottlingException") if away else None

    stream.fail = fail
    told = await looked(stream, LATEST, lambda: stream.put("a", 4), seconds=120)
    assert len(told.sequences) == 4
    assert len([remark for remark in told.remarks if "throttled" in remark]) == 1
    assert told.remarks.count("the stream answers again") == 1
    assert told.remarks[-1] == "the stream answers again"


@virtual_time
async def test_a_gap_is_told_and_reading_goes_on_after_it() -> None:
    stream = FakeStream(wall_clock, page_limit=2)
    stream.put("a", 10)

    def trim() -> None:
        stream.put("a", 10)
        stream.trim(S0, 18)

    stream.latency = lambda operation, _: 0.0 if operation != "read" or len(stream.reads) < 2 else 4.0
    told = await looked(stream, TRIM_HORIZON, trim, seconds=60)
    assert told.sequences[:4] == ["1", "2", "3", "4"]
    assert told.sequences[-2:] == ["19", "20"]
    assert any("goes on at TRIM_HORIZON" in remark for remark in told.remarks)


@virtual_time
async def test_a_shard_that_leaves_the_stream_ends_there() -> None:
    stream = FakeStream(wall_clock)
    stream.put("a", 1)

    def vanish() -> None:
        stream.fail = lambda operation, _: (
            SourceRejected("no such shard", code="ResourceNotFoundException") if operation == "read" else None
        )
        stream.split(S0)
        stream.forget(S0)

    told = await looked(stream, TRIM_HORIZON, vanish)
    assert f"{S0} it has left the stream (no such shard)" in told.remarks
    assert f"{S0} has ended" in told.remarks


@virtual_time
async def test_what_is_refused_is_told_once_and_tried_again_until_it_is_allowed() -> None:
    stream = FakeStream(wall_clock, shard_count=2)
    began = wall_clock()
    refused = 0

    def fail(operation: str, _: str) -> SourceError | None:
        nonlocal refused
        denied = operation == "read" and wall_clock() - began < 60
        refused += denied
        return SourceRejected("denied", code="AccessDeniedException") if denied else None

    stream.fail = fail
    expected = stream.put("a", 2) + stream.put("d", 2)
    told = await looked(stream, TRIM_HORIZON, seconds=120)
    assert sorted(told.sequences, key=int) == expected
    assert [remark for remark in told.remarks if "denied" in remark] == [f"{S0} denied; it is tried again"]
    assert told.remarks[-1] == "the stream answers again"
    assert refused < 20  # more and more seldom
    assert len(stream.lists) < 20  # what is refused of a shard is no reason to list them


@virtual_time
async def test_shards_that_appear_are_told_wherever_it_began() -> None:
    """From TRIM_HORIZON they were not."""
    stream = FakeStream(wall_clock)
    told = await looked(stream, TRIM_HORIZON, lambda: stream.split(S0))
    assert f"shardId-000000000001 new, after {S0}" in told.remarks


@virtual_time
async def test_a_gap_is_told_as_a_gap_and_not_as_trouble_that_passes() -> None:
    stream = FakeStream(wall_clock)
    stream.put("a", 10)
    told = await looked(stream, TRIM_HORIZON, lambda: stream.put("a", 1) and stream.trim(S0, 11))
    assert told.remarks == ["1 of 1 shard to read, from TRIM_HORIZON", told.remarks[1]]
    assert told.remarks[1].endswith("went before they were read; it goes on at TRIM_HORIZON")


@virtual_time
async def test_a_beginning_that_is_refused_as_trimmed_is_trouble_and_not_gone_over_in_silence() -> None:
    stream = FakeStream(wall_clock)
    stream.fail = lambda operation, _: PositionTrimmed("gone", code="Trimmed") if operation == "open" else None
    told = await looked(stream, TRIM_HORIZON)
    assert told.remarks[1:] == [f"{S0} gone; it is tried again"]
    assert len(stream.opens) < 10


@virtual_time
async def test_a_stream_that_is_deleted_is_told_once_and_looked_for_again() -> None:
    stream = FakeStream(wall_clock, shard_count=2)
    began = wall_clock()
    gone = SourceRejected("no such stream", code="ResourceNotFoundException")
    stream.fail = lambda *_: gone if 5 < wall_clock() - began < 60 else None
    told = await looked(stream, LATEST, lambda: stream.put("a", 2), seconds=120)
    assert len([remark for remark in told.remarks if "no such stream; it is tried again" in remark]) == 1
    assert told.sequences == ["1", "2"]
    assert not [remark for remark in told.remarks if remark.endswith("has ended")]


@virtual_time
async def test_a_stream_out_of_reach_at_first_is_not_waited_for() -> None:
    stream = FakeStream(wall_clock, fail=lambda *_: SourceUnavailable("no answer", code="no_answer"))
    began = anyio.current_time()
    with pytest.raises(SourceUnavailable, match="no answer"):
        await StreamView(stream, STREAM_SPEC, start=LATEST, tell=lambda _: None).run()
    assert anyio.current_time() == began
