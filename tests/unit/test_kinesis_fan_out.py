"""The reader of one shard whose records are pushed, in virtual time, over subscriptions that are told what to bring."""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import pytest

from pollers.errors import PositionTrimmed, SourceError, SourceRejected, SourceUnavailable
from pollers.kinesis import SHORTEST_RETENTION
from pollers.kinesis_fan_out import BETWEEN, FAILURES, POLLING, STALLED, WAIT, FanOutReader, Pushed
from pollers.record import LATEST, TRIM_HORIZON, Position, Record, RecordId, ShardPage
from pollers.source import ShardReader
from tests.fakes.virtual_time import START, virtual_time

SHARD = "shardId-000000000000"
NOW = 1_700_000_000.0
IN_USE = SourceUnavailable("taken", code="ResourceInUseException")
DOWN = SourceUnavailable("down", code="no_answer")


def now() -> float:
    return anyio.current_time() - START


def record(number: int, arrived: float = NOW) -> Record:
    return Record(id=RecordId(str(number)), content=None, size=1, arrived=arrived)


def event(*numbers: int, continues: int | None = None, behind: float = 0.0) -> Pushed:
    last = continues if continues is not None else numbers[-1]
    return Pushed(records=[record(number) for number in numbers], continues=str(last), behind=behind, ended=False)


END = Pushed(records=(), continues="", behind=0.0, ended=True)
Said = Pushed | SourceError | float | None
"""An event, an error, seconds of silence, or the end."""


@dataclass
class FakeSubscription:
    script: deque[Said]
    closed: bool = False

    async def next(self) -> Pushed | None:
        assert not self.closed
        while self.script:
            if isinstance(self.script[0], float):
                began, silence = anyio.current_time(), self.script[0]
                try:
                    await anyio.sleep(silence)
                except anyio.get_cancelled_exc_class():
                    self.script[0] = silence - (anyio.current_time() - began)
                    raise
                self.script.popleft()
                continue
            await anyio.lowlevel.checkpoint()
            said = self.script.popleft()
            if isinstance(said, SourceError):
                raise said
            assert not isinstance(said, float)
            return said
        await anyio.sleep_forever()
        raise AssertionError

    def close(self) -> None:
        self.closed = True


@dataclass
class FakePolled:
    pages: deque[ShardPage]

    async def read(self, *, limit: int) -> ShardPage:
        assert limit
        await anyio.lowlevel.checkpoint()
        return self.pages.popleft() if self.pages else ShardPage()

    def close(self) -> None: ...


@dataclass
class FakeSubscriber:
    """`answers`: what each call of subscribe gives, in order; then always an endless silence."""

    answers: deque[Sequence[Said] | SourceError] = field(default_factory=deque)
    polled: deque[ShardPage] = field(default_factory=deque)
    asked: list[tuple[float, Position]] = field(default_factory=list)
    polls: list[Position] = field(default_factory=list)
    subscriptions: list[FakeSubscription] = field(default_factory=list)
    told: list[tuple[str, SourceError | None]] = field(default_factory=list)
    horizon: PositionTrimmed | None = None
    precision: int = 1000

    async def subscribe(self, shard: str, at: Position) -> FakeSubscription:
        assert shard == SHARD
        assert all(subscription.closed for subscription in self.subscriptions), "two subscriptions at once"
        self.asked.append((now(), at))
        await anyio.lowlevel.checkpoint()
        answer = self.answers.popleft() if self.answers else ()
        if isinstance(answer, SourceError):
            raise answer
        self.subscriptions.append(FakeSubscription(deque(answer)))
        return self.subscriptions[-1]

    async def poll(self, shard: str, at: Position) -> ShardReader:
        assert shard == SHARD
        await anyio.lowlevel.checkpoint()
        self.polls.append(at)
        return FakePolled(self.polled)

    async def check_horizon(self, shard: str, behind: float, at: Position) -> None:
        await anyio.lowlevel.checkpoint()
        assert (shard, behind, at.sequence) == (SHARD, SHORTEST_RETENTION, "5")
        if self.horizon is not None:
            raise self.horizon

    def tell(self, shard: str, error: SourceError | None) -> None:
        self.told.append((shard, error))


async def opened(subscriber: FakeSubscriber, at: Position = TRIM_HORIZON) -> FanOutReader:
    reader = FanOutReader(subscriber, SHARD, at, now=NOW, tell=subscriber.tell)
    await reader.open()
    return reader


def scripted(*subscriptions: Sequence[Said] | SourceError) -> FakeSubscriber:
    return FakeSubscriber(answers=deque(subscriptions))


def ids(page: ShardPage) -> list[int]:
    return [int(record.id) for record in page.records]


async def read_until(reader: FanOutReader, count: int) -> list[int]:
    """Records in order; errors that pass are passed over."""
    found: list[int] = []
    while len(found) < count:
        try:
            page = await reader.read(limit=100)
            found += ids(page)
            await anyio.sleep(0 if page.pushed else 1)
        except SourceUnavailable:
            await anyio.sleep(0.5)
    return found


@virtual_time
async def test_an_event_is_given_out_page_by_page_and_says_whether_more_waits() -> None:
    reader = await opened(scripted([event(1, 2, 3, behind=4.0)]))
    first, second = await reader.read(limit=2), await reader.read(limit=2)
    assert (ids(first), first.more, first.behind, first.pushed) == ([1, 2], True, 4.0, True)
    assert (ids(second), second.more) == ([3], True)  # it is behind: more is on its way


@virtual_time
async def test_a_read_waits_a_second_for_records_and_brings_them_at_once_when_they_come() -> None:
    reader = await opened(scripted([2.5, event(1)]))
    times = []
    for _ in range(3):
        page = await reader.read(limit=10)
        times.append((round(now(), 3), ids(page), page.ended))
    assert times == [(WAIT, [], False), (2 * WAIT, [], False), (2.5, [1], False)]


@virtual_time
async def test_a_subscription_that_is_over_is_taken_anew_behind_the_last_event_at_once() -> None:
    subscriber = scripted([25.0, event(7), event(continues=9), None], [event(10)])
    reader = await opened(subscriber)
    assert await read_until(reader, 2) == [7, 10]
    assert subscriber.asked == [(0.0, TRIM_HORIZON), (25.0, Position.after("9"))]
    assert subscriber.subscriptions[0].closed


@virtual_time
async def test_five_seconds_lie_between_subscriptions_that_end_early() -> None:
    subscriber = scripted([event(1), None], [event(2), None], [event(3)])
    reader = await opened(subscriber)
    assert await read_until(reader, 3) == [1, 2, 3]
    assert [at for at, _ in subscriber.asked] == [0.0, BETWEEN, 2 * BETWEEN]
    assert subscriber.told == []


@virtual_time
async def test_records_that_a_new_subscription_repeats_are_given_out_once() -> None:
    subscriber = scripted([event(8, 9, 10), None], [event(9, 10, 11)])
    assert await read_until(await opened(subscriber), 4) == [8, 9, 10, 11]


@virtual_time
async def test_records_that_wait_here_are_not_lost_when_the_subscription_breaks() -> None:
    subscriber = scripted([event(1, 2, 3), DOWN], [event(4)])
    reader = await opened(subscriber)
    assert ids(await reader.read(limit=1)) == [1]
    assert await read_until(reader, 3) == [2, 3, 4]
    assert subscriber.asked[1][1] == Position.after("3")


@virtual_time
async def test_an_event_at_the_end_of_the_shard_ends_it_once_its_records_are_out() -> None:
    last = Pushed(records=[record(1), record(2)], continues="", behind=0.0, ended=True)
    subscriber = scripted([last])
    reader = await opened(subscriber)
    pages = [await reader.read(limit=1) for _ in range(3)]
    assert [(ids(page), page.ended) for page in pages] == [([1], False), ([2], True), ([], True)]
    assert subscriber.subscriptions[0].closed
    assert len(subscriber.asked) == 1


@virtual_time
async def test_the_end_of_a_subscription_is_not_the_end_of_the_shard() -> None:
    reader = await opened(scripted([event(1), None], [END]))
    pages = [await reader.read(limit=10) for _ in range(8)]
    assert [page.ended for page in pages] == [False] * 6 + [True] * 2


@virtual_time
async def test_a_shard_that_somebody_still_reads_is_waited_for_without_an_error() -> None:
    subscriber = scripted(IN_USE, IN_USE, [event(1)])
    reader = await opened(subscriber, Position.after("5"))
    subscriber.answers[-1] = [event(6)]
    assert await read_until(reader, 1) == [6]
    assert [at for at, _ in subscriber.asked] == [0.0, BETWEEN, 2 * BETWEEN]
    assert subscriber.told == []


@virtual_time
async def test_one_that_is_taken_over_does_not_snatch_the_shard_back() -> None:
    subscriber = scripted([25.0, IN_USE], [event(1)])
    reader = await opened(subscriber)
    assert await read_until(reader, 1) == [1]
    assert [at for at, _ in subscriber.asked] == [0.0, 25.0 + BETWEEN]


@virtual_time
async def test_latest_that_was_never_subscribed_to_is_the_moment_of_opening() -> None:
    subscriber = scripted(IN_USE, [event(1)])
    reader = await opened(subscriber, LATEST)
    assert await read_until(reader, 1) == [1]
    assert [at for _, at in subscriber.asked] == [LATEST, Position.at(NOW)]


@virtual_time
async def test_a_record_behind_latest_is_kept_whatever_the_clocks_say() -> None:
    subscriber = scripted([Pushed(records=[record(1, arrived=NOW - 60)], continues="1", behind=0.0, ended=False)])
    assert await read_until(await opened(subscriber, LATEST), 1) == [1]


@virtual_time
async def test_com_64_records_older_than_at_timestamp_are_passed_over() -> None:
    early = Pushed(records=[record(1, NOW - 1), record(2, NOW)], continues="2", behind=0.0, ended=False)
    assert await read_until(await opened(scripted([early]), Position.at(NOW)), 1) == [2]


@virtual_time
async def test_silence_means_a_dead_connection_after_a_while() -> None:
    subscriber = scripted([event(1)], [event(2)])
    reader = await opened(subscriber)
    assert ids(await reader.read(limit=1)) == [1]
    for _ in range(int(STALLED / WAIT) - 1):
        assert ids(await reader.read(limit=1)) == []
    with pytest.raises(SourceUnavailable, match="no event for 30 seconds"):
        await reader.read(limit=1)
    assert now() == STALLED
    assert ids(await reader.read(limit=1)) == [2]


@virtual_time
async def test_time_in_which_nobody_reads_is_no_silence() -> None:
    """As while the lanes are full."""
    subscriber = scripted([event(1), 20.0, event(2), 20.0, event(3)])
    reader = await opened(subscriber)
    assert ids(await reader.read(limit=1)) == [1]
    for wanted in (2, 3):
        await reader.read(limit=1)
        await anyio.sleep(10 * STALLED)
        assert await read_until(reader, 1) == [wanted]
    assert len(subscriber.asked) == 1


@virtual_time
async def test_empty_events_are_a_sign_of_life() -> None:
    subscriber = scripted([event(1), *[said for n in range(20) for said in (5.0, event(continues=n + 2))], event(50)])
    assert await read_until(await opened(subscriber), 2) == [1, 50]
    assert len(subscriber.asked) == 1


@virtual_time
async def test_after_a_few_failures_in_a_row_the_shard_is_polled_at_the_pace_of_polls_until_a_subscription_brings_an_event() -> (
    None
):
    subscriber = scripted([event(1), None], *[DOWN] * FAILURES, DOWN, [event(4)])
    subscriber.polled.append(ShardPage(records=(record(2), record(3)), behind=0.0))
    reader = await opened(subscriber)
    assert await read_until(reader, 3) == [1, 2, 3]
    assert subscriber.polls == [Position.after("1")]
    assert subscriber.told == [(SHARD, DOWN)]
    page = await reader.read(limit=10)
    assert (ids(page), page.pushed) == ([], False)
    began = subscriber.asked[-1][0]
    for _ in range(int(3 * POLLING)):
        if (page := await reader.read(limit=10)).records:
            break
        await anyio.sleep(1)
    assert (ids(page), page.pushed) == ([4], True)
    assert [round(at - began) for at, _ in subscriber.asked[-2:]] == [POLLING, 2 * POLLING]
    assert subscriber.asked[-1][1] == Position.after("3")
    assert subscriber.told == [(SHARD, DOWN), (SHARD, None)]


@virtual_time
async def test_a_subscription_that_brings_nothing_counts_as_none() -> None:
    """It is taken, ends, is taken, ends: the shard is polled, and one more such end brings it back to polling at once."""
    subscriber = scripted([event(1)], *[[DOWN]] * FAILURES, [DOWN], [event(2)])
    subscriber.answers[0] = [event(1), DOWN]
    reader = await opened(subscriber)
    assert await read_until(reader, 1) == [1]
    while not subscriber.told:
        with suppress(SourceUnavailable):
            await reader.read(limit=10)
    assert len(subscriber.asked) == FAILURES
    assert await read_until(reader, 1) == [2]


@virtual_time
async def test_what_only_somebody_can_mend_is_shown_and_not_polled_around() -> None:
    denied = SourceRejected("denied", code="AccessDeniedException")
    subscriber = scripted([event(1), None], *[denied] * 10)
    reader = await opened(subscriber)
    assert ids(await reader.read(limit=1)) == [1]
    await anyio.sleep(BETWEEN)
    await reader.read(limit=1)
    for _ in range(2 * FAILURES):
        with pytest.raises(SourceRejected):
            await reader.read(limit=1)
    assert (subscriber.polls, subscriber.told) == ([], [])


@virtual_time
async def test_a_subscription_that_is_ended_for_good_is_not_polled_around_either() -> None:
    gone = SourceRejected("gone", code="ResourceNotFoundException")
    subscriber = scripted(*[[gone]] * 10)
    reader = await opened(subscriber)
    for _ in range(2 * FAILURES):
        with pytest.raises(SourceRejected):
            await reader.read(limit=1)
        await anyio.sleep(BETWEEN)
    assert (subscriber.polls, subscriber.told) == ([], [])


@virtual_time
async def test_a_continuation_that_the_service_does_not_know_is_given_up_for_the_last_record() -> None:
    foreign = SourceRejected("not of this stream", code="foreign_position")
    subscriber = scripted([event(7), event(continues=9), None], foreign, [event(8)])
    reader = await opened(subscriber)
    assert await read_until(reader, 1) == [7]
    with pytest.raises(SourceRejected):
        await read_until(reader, 1)
    assert await read_until(reader, 1) == [8]
    assert [at for _, at in subscriber.asked] == [TRIM_HORIZON, Position.after("9"), Position.after("7")]


@virtual_time
async def test_failures_count_only_when_no_event_comes_between_them() -> None:
    almost: list[Sequence[Said] | SourceError] = [DOWN] * (FAILURES - 1)
    subscriber = scripted([event(1), None], *almost, [event(2), None], *almost, [event(3)])
    assert await read_until(await opened(subscriber), 3) == [1, 2, 3]
    assert (subscriber.polls, subscriber.told) == ([], [])


@virtual_time
async def test_kin_43_a_position_whose_records_are_gone_is_trimmed() -> None:
    subscriber = scripted([event(continues=9, behind=SHORTEST_RETENTION)])
    subscriber.horizon = PositionTrimmed("gone", code="position_trimmed")
    reader = await opened(subscriber, Position.after("5"))
    with pytest.raises(PositionTrimmed):
        await reader.read(limit=1)
    assert subscriber.subscriptions[0].closed


@virtual_time
async def test_a_cancelled_read_loses_nothing_wherever_it_is_cancelled() -> None:
    for moment in (0.0, 0.2, 0.5, 0.9, 1.0, 4.0, 5.0):
        subscriber = scripted([0.5, event(1, 2), 0.5, None], IN_USE, [0.3, event(3), END])
        reader = await opened(subscriber)
        found: list[int] = []
        with anyio.move_on_after(moment):
            while len(found) < 3:
                found += ids(await reader.read(limit=1))
        assert found + await read_until(reader, 3 - len(found)) == [1, 2, 3], moment


@virtual_time
async def test_closing_ends_the_subscription_and_what_was_told_of_polling() -> None:
    subscriber = scripted([event(1), None], *[DOWN] * FAILURES)
    reader = await opened(subscriber)
    subscriber.polled.append(ShardPage(records=(record(2),)))
    assert await read_until(reader, 2) == [1, 2]
    reader.close()
    reader.close()
    assert subscriber.told == [(SHARD, DOWN), (SHARD, None)]
    other = scripted([event(1)])
    (await opened(other)).close()
    assert other.subscriptions[0].closed
