"""Reading a stream beside its mappings, on the fake stream in virtual time."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio
import pytest

from pollers.errors import PositionTrimmed, SourceError, SourceRejected, SourceUnavailable
from pollers.record import LATEST, TRIM_HORIZON, Position, PositionKind, Record, Shard, ShardPage
from runtime.patience import Patience
from runtime.stream_reading import Wanted, read_stream
from tests.fakes.stream import STREAM_SPEC, FakeStream
from tests.fakes.virtual_time import virtual_time

S0: Final = "shardId-000000000000"
FOLLOW: Final = Wanted(follow=True)
THROTTLED: Final = SourceUnavailable("slow down", code="throttled")
GONE: Final = SourceRejected("no such stream", code="ResourceNotFoundException")


@dataclass
class Noted:
    """A `Taker` that writes down what it is told."""

    stream: FakeStream
    taken: list[str] = field(default_factory=list)
    by_shard: dict[str, list[str]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    opened: list[tuple[float, int]] = field(default_factory=list)
    slow: float = 0.0
    """Seconds that taking a page takes."""
    patience: float = 15.0
    """Seconds for which the stream may be out of reach once it has answered."""

    async def begin(self, shard: Shard) -> None:
        assert not [parent for parent in shard.parents if parent in self.begun and parent not in self.ended], "before its parents"
        self.begun.append(shard.id)

    async def take(self, shard: Shard, page: ShardPage, records: Sequence[Record]) -> None:  # noqa: ARG002 - of the Protocol
        self.taken += [record.id for record in records]
        self.by_shard.setdefault(shard.id, []).extend(record.id for record in records)
        await anyio.sleep(self.slow)

    async def end(self, shard: Shard) -> None:
        self.ended.append(shard.id)

    def trimmed(self, shard: Shard, error: PositionTrimmed) -> None:  # noqa: ARG002 - as above
        self.gaps.append(shard.id)

    def open(self, shards: int) -> None:
        self.opened.append((anyio.current_time(), shards))


def stream_of(shards: int = 1, **more: object) -> FakeStream:
    return FakeStream(clock=anyio.current_time, shard_count=shards, **more)  # type: ignore[arg-type]  # as the fake takes them


async def read(stream: FakeStream, noted: Noted, wanted: Wanted = FOLLOW) -> None:
    def waiting(_: str) -> Patience:
        return Patience(noted.patience)

    await read_stream(stream, STREAM_SPEC, wanted, noted, clock=anyio.current_time, opened=noted.open, waiting=waiting)


@asynccontextmanager
async def reading(stream: FakeStream, noted: Noted, wanted: Wanted = FOLLOW) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(read, stream, noted, wanted))
        yield
        tasks.cancel_scope.cancel()


async def wait(check: Callable[[], bool]) -> None:
    with anyio.fail_after(3600):
        while not check():  # noqa: ASYNC110 - of the fake nobody tells
            await anyio.sleep(0.05)


def errors_of(group: BaseExceptionGroup[BaseException] | BaseException) -> list[BaseException]:
    return [leaf for each in group.exceptions for leaf in errors_of(each)] if isinstance(group, BaseExceptionGroup) else [group]


async def failing(stream: FakeStream, noted: Noted, wanted: Wanted = FOLLOW) -> SourceError:
    """The one error that reading ends with."""
    try:
        await read(stream, noted, wanted)
    except (SourceError, BaseExceptionGroup) as raised:
        (error,) = errors_of(raised)
        assert isinstance(error, SourceError)
        return error
    raise AssertionError("it did not fail")


# all that is there


@virtual_time
async def test_all_that_is_retained_is_read_once_and_in_order() -> None:
    stream = stream_of(3)
    expected = [sequence for key in "abcdefgh" for sequence in stream.put(key, 50)]
    noted = Noted(stream)
    await read(stream, noted, Wanted(page=7))
    assert sorted(noted.taken, key=int) == expected
    assert all(taken == stream.sequences(shard) for shard, taken in noted.by_shard.items())
    assert sorted(noted.ended) == sorted(stream.shards)


@virtual_time
async def test_an_empty_page_is_not_the_end_kin_16() -> None:
    stream = stream_of(shorten=lambda _, count: 0 if anyio.current_time() < 1008 else count)
    expected = stream.put("a", 5)
    noted = Noted(stream)
    await read(stream, noted, Wanted())
    assert noted.taken == expected


@virtual_time
@pytest.mark.parametrize("shards", [1, 65, 200])
async def test_any_number_of_shards_is_followed_at_once(shards: int) -> None:
    """The 65th was never opened while the first 64 did not end."""
    stream = stream_of(shards)
    noted = Noted(stream)
    async with reading(stream, noted, Wanted(since=LATEST, follow=True)):
        await wait(lambda: bool(noted.opened))
        expected = [stream._put(shard, "k", anyio.current_time(), None) for shard in stream.shards.values()]
        await wait(lambda: len(noted.taken) == shards)
    assert sorted(noted.taken) == sorted(expected)
    assert noted.opened[0][1] == shards


# shards that come and go


@virtual_time
async def test_kin_40_through_splits_and_merges_each_shard_is_complete_and_after_its_parents() -> None:
    stream = stream_of(2)
    noted = Noted(stream)
    async with reading(stream, noted):
        for step in range(12):
            for key in "abcdefghijklmnop":
                stream.put(key, 3)
            first, second = stream.open_shards()[:2]
            if step % 3 == 2:
                stream.merge(first, second)
            else:
                stream.split(first)
            await anyio.sleep(1.7)
        await wait(lambda: len(noted.taken) >= len(stream.puts))
    assert noted.by_shard == {shard: stream.sequences(shard) for shard in stream.shards if stream.sequences(shard)} | {
        shard: [] for shard in noted.by_shard if not stream.sequences(shard)
    }


@virtual_time
async def test_ddb_13_a_shard_that_rolled_over_is_followed_at_once_and_not_with_the_next_round_of_listings() -> None:
    stream = stream_of()
    noted = Noted(stream)
    async with reading(stream, noted, Wanted(since=LATEST, follow=True)):
        await wait(lambda: bool(noted.opened))
        stream.roll_over(S0)
        (sequence,) = stream.put("a")
        began = anyio.current_time()
        await wait(lambda: sequence in noted.taken)
        assert anyio.current_time() - began < 3


@virtual_time
async def test_shards_whose_parents_are_closed_are_known_already_and_nobody_lists_again_for_them() -> None:
    stream = stream_of(8)
    for shard in list(stream.open_shards()):
        stream.roll_over(shard)
    noted = Noted(stream)
    await read(stream, noted, Wanted())
    assert len(noted.ended) == 16
    assert len(stream.lists) == 1


@virtual_time
async def test_a_shard_that_vanished_after_it_was_listed_is_a_gap_and_not_the_end() -> None:
    stream = stream_of(2)
    expected = stream.put("a", 3)
    other = next(shard for shard in stream.shards if shard != stream.home(expected[0]))
    stream.roll_over(other)
    stream.latency = lambda operation, shard: 1.0 if (operation, shard) == ("open", other) else 0.0
    noted = Noted(stream)
    async with reading(stream, noted):
        await anyio.sleep(0.5)
        stream.forget(other)
        stream.fail = lambda operation, shard: GONE if (operation, shard) == ("open", other) else None
        await wait(lambda: len(noted.taken) == 3 and bool(noted.gaps))
    assert noted.gaps == [other]


@virtual_time
async def test_the_children_of_a_shard_that_vanished_while_it_was_open_are_read() -> None:
    stream = stream_of(latency=lambda operation, shard: 1.0 if (operation, shard) == ("open", S0) else 0.0)
    noted = Noted(stream)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, stream, noted, Wanted())
        await anyio.sleep(0.5)
        stream.roll_over(S0)
        stream.forget(S0)
        stream.fail = lambda operation, shard: GONE if (operation, shard) == ("open", S0) else None
        expected = stream.put("a", 2)
    assert (noted.gaps, noted.taken) == ([S0], expected)


@virtual_time
async def test_a_child_that_is_known_begins_after_its_parent_also_while_no_listing_is_answered() -> None:
    stream = stream_of()
    stream.put("a", 20)
    stream.roll_over(S0)
    expected = [*stream.sequences(S0), *stream.put("a", 3)]
    stream.fail = lambda asked, _: THROTTLED if asked == "list" and len(stream.lists) > 1 else None
    noted = Noted(stream, slow=10.0, patience=300)  # reading the parent takes longer than the time between listings
    async with reading(stream, noted, Wanted(page=1, follow=True)):
        await wait(lambda: noted.taken == expected)
    assert len(stream.lists) > 3


# bounds


@virtual_time
async def test_latest_begins_when_it_is_told_to_be_open() -> None:
    stream = stream_of(2, latency=lambda operation, _: 0.7 if operation == "open" else 0.0)
    stream.put("a", 3)
    noted = Noted(stream)
    async with reading(stream, noted, Wanted(since=LATEST, follow=True)):
        await wait(lambda: bool(noted.opened))
        expected = stream.put("a") + stream.put("z")
        await wait(lambda: len(noted.taken) == 2)
    assert sorted(noted.taken, key=int) == expected
    assert [count for _, count in noted.opened] == [2]


@virtual_time
async def test_latest_reads_no_closed_shard_but_the_children_of_one_that_is_split_from_their_beginning() -> None:
    stream = stream_of()
    stream.put("a", 3)
    stream.split(S0)
    noted = Noted(stream)
    async with reading(stream, noted, Wanted(since=LATEST, follow=True)):
        await wait(lambda: bool(noted.opened))
        expected = stream.put("a")
        stream.roll_over(stream.home(expected[0]))
        expected += stream.put("a", 2)
        await wait(lambda: len(noted.taken) == 3)
    assert noted.taken == expected
    assert S0 not in noted.begun


@virtual_time
async def test_from_a_time_to_a_time() -> None:
    stream = stream_of()
    for second in range(10):
        stream.put("a", arrived=900.0 + second)
    noted = Noted(stream)
    await read(stream, noted, Wanted(since=Position.at(903.0), until=Position.at(906.0)))
    assert noted.taken == ["4", "5", "6"]


@virtual_time
async def test_a_time_that_is_still_to_come_is_waited_for_and_nothing_before_it_is_missed() -> None:
    stream = stream_of(latency=lambda operation, _: 0.4 if operation == "read" else 0.0)
    noted = Noted(stream, slow=0.5)  # the time comes while a page is being taken: one more read is due
    expected: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, stream, noted, Wanted(since=LATEST, until=Position.at(1010.0)))
        while anyio.current_time() < 1012:
            await anyio.sleep(0.09)
            put = stream.put("a")
            expected += put if 1000.4 < anyio.current_time() < 1010 else []
    assert noted.taken[-1] == expected[-1]
    assert set(expected) <= set(noted.taken)
    assert anyio.current_time() < 1020


@virtual_time
async def test_from_a_record_to_a_record_of_one_shard() -> None:
    stream = stream_of(2)
    numbers = stream.put("a", 9)
    shard = stream.home(numbers[0])
    noted = Noted(stream)
    since, until = Position.at_record(numbers[2]), Position.at_record(numbers[5])
    await read(stream, noted, Wanted(since=since, until=until, shards=frozenset({shard})))
    assert noted.by_shard == {shard: numbers[2:6]}


@virtual_time
async def test_a_shard_that_the_stream_has_not_is_an_error() -> None:
    stream = stream_of(7)
    error = await failing(stream, Noted(stream), Wanted(shards=frozenset({"nope", S0}), follow=True))
    assert error.code == "unknown_shard"
    assert "has no shard nope: it has shardId-000000000000," in str(error)
    assert "and 2 more" in str(error)


@virtual_time
async def test_named_shards_are_followed_to_their_end_and_their_children_are_not() -> None:
    stream = stream_of(2)
    noted = Noted(stream)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, stream, noted, Wanted(shards=frozenset({S0}), follow=True))
            await anyio.sleep(5)
            stream.split(S0)
    assert noted.ended == [S0]


@virtual_time
async def test_a_slow_taker_holds_its_shard_up_and_the_record_of_memory_is_one_page() -> None:
    """Nothing piles up: no page is read before the one before it was taken."""
    stream = stream_of()
    stream.put("a", 1000)
    noted = Noted(stream, slow=30.0)
    async with reading(stream, noted, Wanted(page=10, follow=True)):
        await anyio.sleep(100)
    assert len(stream.reads) == 4
    assert len(noted.taken) == 40


# trouble


@virtual_time
async def test_throttling_errors_and_iterators_that_expire_lose_and_repeat_nothing() -> None:
    turn = 0

    def fail(operation: str, _: str) -> SourceError | None:
        nonlocal turn
        turn += 1
        return THROTTLED if operation in ("read", "open", "list") and turn % 3 else None

    stream = stream_of(2, fail=fail, iterator_lifetime=0.5)
    expected = [sequence for key in "abcdef" for sequence in stream.put(key, 40)]
    noted = Noted(stream)
    await read(stream, noted, Wanted(page=9))
    assert sorted(noted.taken, key=int) == expected
    assert stream.expired


@virtual_time
@pytest.mark.parametrize("operation", ["list", "open"])
async def test_a_stream_that_never_answers_is_given_up_after_a_quarter_of_a_minute(operation: str) -> None:
    stream = stream_of(fail=lambda asked, _: THROTTLED if asked == operation else None)
    began = anyio.current_time()
    error = await failing(stream, Noted(stream))
    assert error is THROTTLED
    assert 15 <= anyio.current_time() - began < 25


@virtual_time
async def test_one_that_has_answered_may_be_out_of_reach_for_as_long_as_patience_lasts() -> None:
    stream = stream_of()
    noted = Noted(stream, patience=300)
    async with reading(stream, noted):
        await wait(lambda: bool(noted.opened))
        stream.fail = lambda *_: THROTTLED
        expected = stream.put("a", 3)
        await anyio.sleep(280)
        stream.fail = lambda *_: None
        await wait(lambda: noted.taken == expected)
        stream.fail = lambda *_: THROTTLED
    stream.fail = lambda asked, _: THROTTLED if asked == "read" else None
    began = anyio.current_time()
    assert await failing(stream, noted) is THROTTLED
    assert 300 <= anyio.current_time() - began < 310


@virtual_time
async def test_a_stream_that_is_deleted_ends_it_and_what_was_taken_stays() -> None:
    stream = stream_of()
    expected = stream.put("a", 3)
    stream.fail = lambda *_: GONE if anyio.current_time() > 1010 else None
    noted = Noted(stream)
    assert await failing(stream, noted) is GONE
    assert noted.taken == expected


@virtual_time
async def test_what_is_refused_of_a_shard_that_is_there_is_an_error() -> None:
    denied = SourceRejected("denied", code="AccessDeniedException")
    stream = stream_of(fail=lambda asked, _: denied if asked == "read" else None)
    assert await failing(stream, Noted(stream)) is denied


@virtual_time
@pytest.mark.parametrize("operation", ["list", "read"])
async def test_what_is_refused_is_not_waited_for(operation: str) -> None:
    denied = SourceRejected("denied", code="AccessDeniedException")
    stream = stream_of(fail=lambda asked, _: denied if asked == operation else None)
    began = anyio.current_time()
    assert await failing(stream, Noted(stream)) is denied
    assert anyio.current_time() == began


@virtual_time
async def test_records_that_went_before_they_were_read_are_a_gap_and_the_rest_is_read() -> None:
    stream = stream_of()
    stream.put("a", 10)
    noted = Noted(stream)
    async with reading(stream, noted, Wanted(page=2, follow=True)):
        await wait(lambda: len(noted.taken) >= 4)
        stream.trim(S0, 7)
        await wait(lambda: "10" in noted.taken)
    assert noted.gaps == [S0]
    assert noted.taken == [*noted.taken[: len(noted.taken) - 3], "8", "9", "10"]
    assert len(noted.taken) == len(set(noted.taken))


@virtual_time
async def test_a_record_that_is_gone_is_a_gap_and_reading_begins_with_what_is_left() -> None:
    stream = stream_of()
    stream.put("a", 10)
    stream.trim(S0, 4)
    noted = Noted(stream)
    await read(stream, noted, Wanted(since=Position.at_record("2"), shards=frozenset({S0})))
    assert (noted.gaps, noted.taken) == ([S0], ["5", "6", "7", "8", "9", "10"])


@virtual_time
async def test_a_service_that_calls_the_trim_horizon_trimmed_is_not_asked_in_a_tight_loop() -> None:
    trimmed = PositionTrimmed("gone", code="TrimmedDataAccessException")
    stream = stream_of(fail=lambda asked, _: trimmed if asked == "open" else None)
    noted = Noted(stream)
    error = await failing(stream, noted, Wanted())
    assert error.code == "TrimmedDataAccessException"
    assert len(stream.opens) < 20
    assert noted.gaps == []
    assert all(at.kind is PositionKind.TRIM_HORIZON or at == TRIM_HORIZON for _, _, at in stream.opens)


@virtual_time
async def test_what_the_taker_raises_ends_it() -> None:
    class Full(Noted):
        async def take(self, shard: Shard, page: ShardPage, records: Sequence[Record]) -> None:  # noqa: ARG002 - as above
            raise OSError("full")

    stream = stream_of(3)
    with pytest.raises(BaseExceptionGroup) as raised:
        await read(stream, Full(stream))
    assert {str(error) for error in errors_of(raised.value)} == {"full"}
