"""What a failed batch of a stream becomes: COM-70..78, KIN-50..60 and DDB-31, number for number."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from handlers.invoker import NOT_JSON, FunctionError, NotInvoked, Outcome, Succeeded
from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.decisions import RETRIES_EXHAUSTED, decide_stream
from runtime.core.mapping import RetryPolicy

FAILURE: Final = FunctionError(error_type="E", message="m", document={})
THROTTLE: Final = NotInvoked(reason="ReservedFunctionConcurrentInvocationLimitExceeded")


def batch(*numbers: int, retries: int = 0, throttles: int = 0) -> Batch:
    records = tuple(Record(id=RecordId(str(number)), content={}, size=1, arrived=0.0) for number in numbers)
    return Batch(records, retries=retries, throttles=throttles, received=3.0)


def numbers_of(records: tuple[Record, ...]) -> list[int]:
    return [int(record.id) for record in records]


def reporting(*numbers: Any, **more: Any) -> Succeeded:
    return Succeeded(response={"batchItemFailures": [{"itemIdentifier": number} for number in numbers], **more})


@dataclass(kw_only=True)
class Lane:
    """Delivers batches one after the other and writes down what happened."""

    policy: RetryPolicy
    function: Callable[[list[int]], Outcome]
    report: bool = False
    stateful: bool = False
    invoked: list[list[int]] = field(default_factory=list)
    discarded: list[tuple[str | None, list[int], int]] = field(default_factory=list)
    """Condition, records, and how often they were invoked as this batch (`approximateInvokeCount`)."""
    settled: list[int] = field(default_factory=list)

    def deliver(self, *batches: Batch) -> None:
        pending = deque(batches)
        while pending:
            tried = pending.popleft()
            self.invoked.append(numbers_of(tried.records))
            outcome = self.function(self.invoked[-1])
            decision = decide_stream(tried, outcome, self.policy, report_item_failures=self.report, stateful=self.stateful)
            self.settled += numbers_of(decision.settled)
            if decision.discarded:
                self.discarded.append((decision.condition, numbers_of(decision.discarded), tried.retries + 1))
            pending.extendleft(reversed(decision.pending))


def failing(*poison: int) -> Callable[[list[int]], Outcome]:
    return lambda batch: FAILURE if set(poison) & set(batch) else Succeeded(response=None)


# retries


@pytest.mark.parametrize(("attempts", "count"), [(0, 1), (1, 2), (2, 3), (3, 4), (10, 11)])
def test_com_71_n_retries_are_n_plus_one_invocations(attempts: int, count: int) -> None:
    """Also DDB-31: one record, one retry, two invocations."""
    lane = Lane(policy=RetryPolicy(attempts=attempts), function=failing(1))
    lane.deliver(batch(1), batch(2))
    assert lane.invoked == [[1]] * count + [[2]]
    assert lane.discarded == [(RETRIES_EXHAUSTED, [1], count)]
    assert lane.settled == [2], "COM-84: the shard goes on behind what was given up"


def test_com_72_without_a_limit_a_batch_is_retried_until_it_succeeds() -> None:
    outcomes: Iterator[Outcome] = iter([*[FAILURE] * 499, Succeeded(response=None)])
    lane = Lane(policy=RetryPolicy(), function=lambda _: next(outcomes))
    lane.deliver(batch(1, 2))
    assert lane.invoked == [[1, 2]] * 500
    assert (lane.settled, lane.discarded) == ([1, 2], [])


def test_com_70_a_batch_fails_as_a_whole_and_is_given_up_as_a_whole() -> None:
    lane = Lane(policy=RetryPolicy(attempts=1), function=failing(2))
    lane.deliver(batch(1, 2, 3))
    assert lane.invoked == [[1, 2, 3]] * 2
    assert lane.discarded == [(RETRIES_EXHAUSTED, [1, 2, 3], 2)]


def test_com_23_throttles_cost_no_retry() -> None:
    outcomes: Iterator[Outcome] = iter([THROTTLE, THROTTLE, FAILURE, THROTTLE, FAILURE])
    lane = Lane(policy=RetryPolicy(attempts=1), function=lambda _: next(outcomes))
    lane.deliver(batch(1))
    assert len(lane.invoked) == 5
    assert lane.discarded == [(RETRIES_EXHAUSTED, [1], 2)]


def test_throttles_are_counted_in_a_row() -> None:
    """The pause before the next try grows with them, so an invocation that happened ends the row."""
    (throttled,) = decide_stream(
        batch(1, retries=1, throttles=2), THROTTLE, RetryPolicy(), report_item_failures=False, stateful=False
    ).pending
    assert (throttled.retries, throttled.throttles, throttled.received) == (1, 3, 3.0)
    (failed,) = decide_stream(throttled, FAILURE, RetryPolicy(), report_item_failures=False, stateful=False).pending
    assert (failed.retries, failed.throttles, failed.received) == (2, 0, 3.0)


# bisect


def test_com_75_and_78_a_failed_batch_is_halved_the_smaller_half_first() -> None:
    lane = Lane(policy=RetryPolicy(attempts=0, bisect=True), function=failing(4))
    lane.deliver(batch(1, 2, 3, 4, 5))
    assert lane.invoked == [[1, 2, 3, 4, 5], [1, 2], [3, 4, 5], [3], [4, 5], [4], [5]]
    assert lane.settled == [1, 2, 3, 5]
    assert lane.discarded == [(RETRIES_EXHAUSTED, [4], 1)]


def test_com_75_the_first_half_is_done_before_the_second_begins() -> None:
    lane = Lane(policy=RetryPolicy(attempts=1, bisect=True), function=failing(1, 4))
    lane.deliver(batch(1, 2, 3, 4))
    assert lane.invoked == [[1, 2, 3, 4], [1, 2], [1], [1], [2], [3, 4], [3], [4], [4]]
    assert lane.discarded == [(RETRIES_EXHAUSTED, [1], 2), (RETRIES_EXHAUSTED, [4], 2)]


def test_com_77_a_split_costs_no_retry_and_each_part_that_is_given_up_is_told_alone() -> None:
    lane = Lane(policy=RetryPolicy(attempts=3, bisect=True), function=failing(2))
    lane.deliver(batch(1, 2))
    assert lane.invoked == [[1, 2], [1], [2], [2], [2], [2]]
    assert lane.discarded == [(RETRIES_EXHAUSTED, [2], 4)]


def test_com_77_halves_begin_with_fresh_counters() -> None:
    """Here the batch was retried before it failed: its first record was reported, which splits nothing."""
    decision = decide_stream(
        batch(1, 2, 3, retries=2, throttles=1),
        FAILURE,
        RetryPolicy(attempts=2, bisect=True),
        report_item_failures=True,
        stateful=False,
    )
    assert decision.pending == (batch(1), batch(2, 3))
    assert (decision.discarded, decision.pause) == ((), True)


def test_com_76_an_exception_is_bisected_also_when_item_failures_are_reported() -> None:
    lane = Lane(policy=RetryPolicy(attempts=0, bisect=True), function=failing(3), report=True)
    lane.deliver(batch(1, 2, 3))
    assert lane.invoked == [[1, 2, 3], [1], [2, 3], [2], [3]]


def test_com_76_a_reported_record_is_where_the_batch_is_cut_instead_of_the_middle() -> None:
    def report_the_fourth(numbers: list[int]) -> Outcome:
        return reporting("4") if 4 in numbers else Succeeded(response=None)

    lane = Lane(policy=RetryPolicy(attempts=1, bisect=True), function=report_the_fourth, report=True)
    lane.deliver(batch(1, 2, 3, 4, 5))
    assert lane.invoked == [[1, 2, 3, 4, 5], [4, 5], [4, 5]]
    assert lane.discarded == [(RETRIES_EXHAUSTED, [4, 5], 2)]


# ReportBatchItemFailures


def test_kin_60_number_for_number() -> None:
    """Also DDB-32 and COM-73."""
    lane = Lane(
        policy=RetryPolicy(attempts=3),
        function=lambda numbers: reporting("6") if 6 in numbers else reporting(),
        report=True,
    )
    lane.deliver(batch(1, 2, 3), batch(4, 5, 6))
    assert lane.invoked == [[1, 2, 3], [4, 5, 6], [6], [6], [6], [6]]
    assert lane.discarded == [(RETRIES_EXHAUSTED, [6], 4)]
    assert lane.settled == [1, 2, 3, 4, 5]


def test_com_73_each_time_the_checkpoint_moves_the_counter_starts_again() -> None:
    """2 and 3 are each reported twice before they succeed: with one retry in all, that would not do."""
    answers = iter(["2", "2", "3", "3"])

    def function(_: list[int]) -> Outcome:
        failed = next(answers, None)
        return reporting(failed) if failed else reporting()

    lane = Lane(policy=RetryPolicy(attempts=2), function=function, report=True)
    lane.deliver(batch(1, 2, 3))
    assert lane.invoked == [[1, 2, 3], [2, 3], [2, 3], [3], [3]]
    assert (lane.settled, lane.discarded) == ([1, 2, 3], [])


def test_com_74_a_checkpoint_that_stays_keeps_the_counter() -> None:
    lane = Lane(policy=RetryPolicy(attempts=2), function=lambda _: reporting("1"), report=True)
    lane.deliver(batch(1, 2))
    assert lane.invoked == [[1, 2]] * 3
    assert lane.discarded == [(RETRIES_EXHAUSTED, [1, 2], 3)]


@pytest.mark.parametrize("reported", [["2"], ["3", "2"], ["2", "4"], ["2", "2"]], ids="-".join)
def test_kin_50_the_lowest_reported_record_and_everything_behind_it_is_retried(reported: list[str]) -> None:
    decision = decide_stream(
        batch(1, 2, 3, 4, retries=1), reporting(*reported), RetryPolicy(attempts=1), report_item_failures=True, stateful=False
    )
    assert numbers_of(decision.settled) == [1]
    assert decision.pending == (batch(2, 3, 4),)
    assert (decision.problem, decision.pause) == (None, True)


def test_kin_50_the_lowest_is_by_place_and_not_by_spelling() -> None:
    """KIN-22: sequence numbers differ in length."""
    decision = decide_stream(batch(9, 10, 11), reporting("10", "11"), RetryPolicy(), report_item_failures=True, stateful=False)
    assert numbers_of(decision.settled) == [9]


SUCCESSES: Final[dict[str, Any]] = {
    "empty string": "",
    "empty list": [],
    "null": None,
    "empty object": {},
    "empty failures": {"batchItemFailures": []},
    "null failures": {"batchItemFailures": None},
}


@pytest.mark.parametrize("response", SUCCESSES.values(), ids=SUCCESSES)
def test_kin_51_full_success(response: Any) -> None:
    lane = Lane(policy=RetryPolicy(attempts=0), function=lambda _: Succeeded(response=response), report=True)
    lane.deliver(batch(1, 2))
    assert (lane.settled, lane.invoked, lane.discarded) == ([1, 2], [[1, 2]], [])


FULL_FAILURES: Final[dict[str, list[Any]]] = {
    "KIN-52 a number that is no record": [{"itemIdentifier": 123}],
    "KIN-52 the number of a record, not its string": [{"itemIdentifier": 2}],
    "KIN-52 unknown": [{"itemIdentifier": "123"}],
    "KIN-52 empty": [{"itemIdentifier": ""}],
    "KIN-52 null": [{"itemIdentifier": None}],
    "KIN-52 wrong key": [{"foo": 123}],
    "KIN-52 wrong key with null": [{"foo": None}],
    "KIN-55 malformed behind a valid one": [{"itemIdentifier": "2"}, {"foo": 123}],
    "KIN-55 malformed before a valid one": [{"itemIdentifier": None}, {"itemIdentifier": "2"}],
    "KIN-57 unknown beside a valid one": [{"itemIdentifier": "2"}, {"itemIdentifier": "123"}],
}


@pytest.mark.parametrize("listed", FULL_FAILURES.values(), ids=FULL_FAILURES)
def test_kin_52_full_failure(listed: list[Any]) -> None:
    """Recorded with two retries: three invocations of the whole batch, and `functionError` is null, as nothing was raised (KIN-53)."""
    lane = Lane(policy=RetryPolicy(attempts=2), function=lambda _: Succeeded(response={"batchItemFailures": listed}), report=True)
    lane.deliver(batch(1, 2, 3))
    assert lane.invoked == [[1, 2, 3]] * 3
    assert lane.discarded == [(RETRIES_EXHAUSTED, [1, 2, 3], 3)]


@pytest.mark.parametrize("listed", FULL_FAILURES.values(), ids=FULL_FAILURES)
def test_kin_53_a_malformed_answer_is_told_as_what_it_is(listed: list[Any]) -> None:
    """An exception has its own words; an answer that is no good gets them here, also when the batch is given up or halved."""
    answer = Succeeded(response={"batchItemFailures": listed})
    for policy in (RetryPolicy(), RetryPolicy(attempts=0), RetryPolicy(bisect=True)):
        decision = decide_stream(batch(1, 2), answer, policy, report_item_failures=True, stateful=False)
        assert decision.problem is not None
        assert decide_stream(batch(1, 2), FAILURE, policy, report_item_failures=True, stateful=False).problem is None


def test_kin_54_an_exception_fails_the_whole_batch_also_when_item_failures_are_reported() -> None:
    lane = Lane(policy=RetryPolicy(attempts=1), function=failing(3), report=True)
    lane.deliver(batch(1, 2, 3))
    assert lane.invoked == [[1, 2, 3]] * 2
    assert lane.discarded == [(RETRIES_EXHAUSTED, [1, 2, 3], 2)]


def test_com_22_without_report_item_failures_the_answer_is_ignored() -> None:
    for response in (*SUCCESSES.values(), NOT_JSON, 1, "text", *({"batchItemFailures": each} for each in FULL_FAILURES.values())):
        lane = Lane(policy=RetryPolicy(attempts=0), function=lambda _, response=response: Succeeded(response=response))  # type: ignore[misc]  # bound now
        lane.deliver(batch(1, 2))
        assert (lane.settled, lane.discarded) == ([1, 2], [])
