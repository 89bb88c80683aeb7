"""Taps and their listeners by themselves: nothing without a listener, bounded with one that does not read."""

import inspect
from contextlib import ExitStack

import anyio
import pytest

from handlers.invoker import FunctionError, NotInvoked, Outcome, Succeeded
from pollers.record import Record, RecordId
from pollers.source import Refusal
from runtime.core.batching import Batch
from runtime.core.decisions import decide_queue, decide_stream
from runtime.core.mapping import RetryPolicy
from runtime.listener import MOST_WAITING
from runtime.tap import MOST_LISTENERS, Tap, TooManyListenersError
from runtime.tap_events import (
    DeleteRefused,
    Detail,
    FilteredOut,
    InvocationEnded,
    Invoked,
    LinesLost,
    Received,
    from_line,
    to_line,
)
from tests.fakes.listening import SilentTap, listening
from tests.fakes.virtual_time import virtual_time

SECRET = "the payload itself"
NOW = 1_000_000.0


def record(number: int, *, size: int = 100, arrived: float = NOW - 5) -> Record:
    return Record(id=RecordId(f"r{number}"), content={"body": SECRET}, size=size, arrived=arrived, group=SECRET, handle=SECRET)


def records(count: int) -> tuple[Record, ...]:
    return tuple(record(number) for number in range(count))


def tap() -> Tap:
    return Tap(clock=lambda: NOW, stopwatch=lambda: 0.0)


def failed(message: str = "no such customer", *, timed_out: bool = False) -> FunctionError:
    return FunctionError(error_type="ValueError", message=message, document={}, timed_out=timed_out)


async def ended(outcome: Outcome, batch: Batch, *, policy: RetryPolicy | None = None, report: bool = False) -> InvocationEnded:
    """How the end of an invocation is told, with a detail for each record."""
    if policy is None:
        decision = decide_queue(batch, outcome, report_item_failures=report)
    else:
        decision = decide_stream(batch, outcome, policy, report_item_failures=report, stateful=False)
    with listening(one := tap(), records=True) as heard:
        one.ended(outcome, decision, batch, "request-1")
        (event,) = await heard.hear()
    assert isinstance(event, InvocationEnded)
    return event


def fates(event: InvocationEnded) -> list[tuple[str, str]]:
    return [(detail.id, detail.fate) for detail in event.details]


def test_nobody_listens_until_somebody_does_and_not_any_more_when_all_have_left() -> None:
    one = tap()
    seen = [one.listening]
    with one.listen(records=False):
        with one.listen(records=True):
            seen.append(one.listening)
        seen.append(one.listening)
    assert [*seen, one.listening] == [False, True, True, False]


def test_the_silent_tap_of_the_other_tests_refuses_everything_that_can_be_told() -> None:
    own = {name for name, _ in inspect.getmembers(Tap, inspect.isfunction) if not name.startswith("_")}
    assert own - {"listen", "close"} == {name for name in vars(SilentTap) if not name.startswith("_")}


@virtual_time
async def test_lines_are_gathered_for_a_moment_and_come_once() -> None:
    with listening(one := tap()) as heard:
        one.invoked(Batch(records(2)), "request-1")
        began = anyio.current_time()
        (event,) = await heard.hear()
        assert anyio.current_time() - began == pytest.approx(0.1)
        assert await heard.listener.take(within=3) == []
        assert anyio.current_time() - began == pytest.approx(3.1)
    assert event == Invoked(at=NOW, records=2, bytes=215, request_id="request-1", first="r0", last="r1")


@virtual_time
async def test_receives_that_nobody_has_read_yet_are_one_line() -> None:
    with listening(one := tap(), records=True) as heard:
        one.received([record(1, arrived=NOW - 9)], waiting=1, due=4.0)
        one.received([record(2)], waiting=2, due=3.5)
        (event,) = await heard.hear()
    assert event == Received(
        at=NOW,
        records=2,
        bytes=200,
        reads=2,
        age=9.0,
        waiting=2,
        due=3.5,
        details=(Detail(id="r1", bytes=100), Detail(id="r2", bytes=100)),
    )


@virtual_time
async def test_receives_of_other_shards_and_from_before_an_invocation_stay_lines_of_their_own() -> None:
    with listening(one := tap()) as heard:
        one.received([record(1)], shard="a")
        one.received([record(2)], shard="b")
        one.invoked(Batch(records(1)), "request-1", shard="b")
        one.received([record(3)], shard="b")
        await heard.hear()
    assert [event.shard for event in heard.of(Received)] == ["a", "b", "b"]


@virtual_time
async def test_an_empty_receive_and_an_empty_filter_are_no_lines() -> None:
    with listening(one := tap()) as heard:
        one.received([])
        one.filtered([])
        one.given_back([], reason="never")
        one.delete_refused([])
        assert await heard.hear() == []


@virtual_time
async def test_a_listener_that_does_not_read_loses_lines_and_is_told_how_many() -> None:
    with listening(one := tap()) as heard:
        for number in range(MOST_WAITING + 7):
            one.invoked(Batch(records(1)), f"request-{number}")
        events = await heard.hear()
        assert events[-1] == LinesLost(at=NOW, lines=7)
        assert [event.request_id for event in heard.of(Invoked)] == [f"request-{number}" for number in range(MOST_WAITING)]
        one.invoked(Batch(records(1)), "later")
        assert [event.request_id for event in await heard.listener.take(within=1) if isinstance(event, Invoked)] == ["later"]


@virtual_time
async def test_records_in_a_line_count_toward_the_bound_also_where_receives_are_merged() -> None:
    with listening(one := tap(), records=True) as heard:
        for _ in range(12):
            one.received(records(MOST_WAITING // 10))
        await heard.hear()
    (received,) = heard.of(Received)
    assert len(received.details) <= MOST_WAITING
    assert heard.of(LinesLost) == [LinesLost(at=NOW, lines=3)]


@virtual_time
async def test_one_line_that_is_larger_than_the_bound_still_comes() -> None:
    with listening(one := tap(), records=True) as heard:
        one.received(records(MOST_WAITING + 1))
        await heard.hear()
    (received,) = heard.of(Received)
    assert received.records == MOST_WAITING + 1


@virtual_time
async def test_a_slow_listener_costs_the_others_nothing() -> None:
    with listening(one := tap()), listening(one) as quick:
        for number in range(MOST_WAITING + 5):
            one.invoked(Batch(records(1)), f"request-{number}")
            if number == MOST_WAITING // 2:
                await quick.hear()
        await quick.hear()
    assert len(quick.of(Invoked)) == MOST_WAITING + 5
    assert quick.of(LinesLost) == []


@virtual_time
async def test_details_go_only_to_those_who_asked() -> None:
    with listening(one := tap()) as brief, listening(one, records=True) as detailed:
        one.received(records(2))
        await brief.hear()
        await detailed.hear()
    assert brief.of(Received)[0].details == ()
    assert [detail.id for detail in detailed.of(Received)[0].details] == ["r0", "r1"]


@virtual_time
async def test_an_explanation_is_asked_for_only_where_records_are_wanted() -> None:
    asked: list[str] = []

    def why(each: Record) -> tuple[str, ...]:
        asked.append(each.id)
        return ("filter 1: body.kind",)

    one = tap()
    with listening(one):
        one.filtered(records(2), why=why)
    assert asked == []
    with listening(one, records=True) as heard:
        one.filtered(records(1), shard="s", why=why)
        await heard.hear()
    assert heard.events == [
        FilteredOut(at=NOW, records=1, bytes=100, shard="s", details=(Detail(id="r0", bytes=100, why=("filter 1: body.kind",)),))
    ]


def test_no_more_listeners_than_the_bound() -> None:
    one = tap()
    with ExitStack() as stack:
        for _ in range(MOST_LISTENERS):
            stack.enter_context(one.listen(records=False))
        with pytest.raises(TooManyListenersError), one.listen(records=False):
            pass
    with one.listen(records=False):
        assert one.listening


@virtual_time
async def test_closing_ends_a_wait_at_once_and_what_was_told_before_still_comes() -> None:
    with listening(one := tap()) as heard:
        one.invoked(Batch(records(1)), "request-1")
        one.close("the worker has stopped")
        began = anyio.current_time()
        assert len(await heard.hear(within=60)) == 1
        assert await heard.listener.take(within=60) == []
        assert anyio.current_time() == began
        assert heard.listener.closed == "the worker has stopped"


@virtual_time
async def test_an_invocation_is_timed_from_its_beginning_if_somebody_listened_then() -> None:
    times = iter([10.0, 12.5])
    one = Tap(clock=lambda: NOW, stopwatch=lambda: next(times))
    batch, done = Batch(records(1)), Succeeded(response=None)
    decision = decide_queue(batch, done, report_item_failures=False)
    with listening(one) as heard:
        one.ended(done, decision, batch, "before")
        one.invoked(batch, "request-1")
        one.ended(done, decision, batch, "request-1")
        await heard.hear()
    assert [(event.request_id, event.duration) for event in heard.of(InvocationEnded)] == [("before", None), ("request-1", 2.5)]


async def test_a_batch_that_succeeded_is_done() -> None:
    event = await ended(Succeeded(response=None), Batch(records(2)))
    assert (event.outcome, event.done, event.returned, event.again) == ("succeeded", 2, 0, ())
    assert (event.first, event.last, event.records, event.bytes) == ("r0", "r1", 2, 215)
    assert fates(event) == [("r0", "done"), ("r1", "done")]


async def test_items_that_failed_go_back_to_the_queue() -> None:
    answer = {"batchItemFailures": [{"itemIdentifier": "r0"}]}
    event = await ended(Succeeded(response=answer), Batch(records(2)), report=True)
    assert (event.done, event.returned) == (1, 1)
    assert fates(event) == [("r1", "done"), ("r0", "returned")]


async def test_an_answer_that_cannot_be_understood_says_so() -> None:
    event = await ended(Succeeded(response={"batchItemFailures": 7}), Batch(records(1)), report=True)
    assert event.outcome == "succeeded"
    assert event.message is not None
    assert event.returned == 1


async def test_the_text_of_an_error_is_cut() -> None:
    event = await ended(failed("x" * 300), Batch(records(1)))
    assert (event.outcome, event.error_type, event.message) == ("failed", "ValueError", "x" * 200)


async def test_a_timeout_and_a_throttle_have_their_own_words() -> None:
    assert (await ended(failed(timed_out=True), Batch(records(1)))).outcome == "timed_out"
    event = await ended(NotInvoked(reason="TooManyRequests"), Batch(records(2), throttles=3))
    assert (event.outcome, event.message, event.throttles, event.again) == ("throttled", "TooManyRequests", 3, (2,))


async def test_a_bisected_batch_tells_its_halves_and_a_batch_given_up_its_condition() -> None:
    event = await ended(failed(), Batch(records(5)), policy=RetryPolicy(bisect=True))
    assert event.again == (2, 3)
    event = await ended(failed(), Batch(records(1), retries=2), policy=RetryPolicy(attempts=2))
    assert (event.attempt, event.given_up, event.condition, event.again) == (3, 1, "RetryAttemptsExhausted", ())
    assert fates(event) == [("r0", "given_up")]


async def test_every_line_is_read_back_as_it_was_and_holds_nothing_of_a_payload() -> None:
    batch, one = Batch(records(3)), tap()
    with listening(one, records=True) as heard:
        one.received(batch.records, shard="s", waiting=3, due=0.0)
        one.filtered(batch.records)
        one.invoked(batch, "request-1", shard="s", lane=2)
        outcome = failed()
        decision = decide_stream(batch, outcome, RetryPolicy(attempts=0), report_item_failures=False, stateful=False)
        one.ended(outcome, decision, batch, "request-1")
        one.given_up(decision, shard="s", fate="sent", destination="arn:aws:sqs:eu-west-1:123456789012:failed")
        one.given_back(batch.records, reason="the worker stops")
        one.delete_refused([Refusal(record=batch.records[0], code="InternalError", message=SECRET, gone=False)])
        events = await heard.hear()
    assert len(events) == 7
    assert isinstance(events[-1], DeleteRefused)
    for event in events:
        line = to_line(event)
        assert from_line(line) == event
        assert line.count(b"\n") == 1
        assert SECRET.encode() not in line
