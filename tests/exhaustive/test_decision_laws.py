"""The laws of `runtime.core.decisions` and `runtime.core.response`, over every small batch and every small answer."""

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any, Final

import pytest

from handlers.invoker import NOT_JSON, FunctionError, NotInvoked, Outcome, Succeeded
from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.decisions import Decision, decide_queue
from runtime.core.response import failed_items

MOST_RECORDS: Final = 4
KEY: Final = "batchItemFailures"
ENTRIES: Final[tuple[Any, ...]] = (
    *({"itemIdentifier": name} for name in ("a", "b", "c", "d")),
    {"itemIdentifier": "nobody"},
    {"itemIdentifier": ""},
    {"itemIdentifier": None},
    {"itemIdentifier": 1},
    {"itemIdentifier": ["a"]},
    {"itemIdentifer": "a"},
    {},
    None,
    "a",
    ["a"],
)
"""What a list of failures may hold; the ids of the batch first."""
SHAPES: Final[tuple[Any, ...]] = (
    None, {}, "", [], 0, 1, 1.5, True, False, "text", "a", ["a"], [{"itemIdentifier": "a"}], NOT_JSON,
    {KEY: None}, {KEY: ""}, {KEY: "a"}, {KEY: {}}, {KEY: {"itemIdentifier": "a"}}, {KEY: 0}, {KEY: False}, {KEY: True},
    {"BatchItemFailures": [{"itemIdentifier": "a"}]}, {"statusCode": 200, "body": "a"},
)  # fmt: skip
FAILURE: Final = FunctionError(error_type="E", message="m", document={})
SUCCESSFUL_SHAPES: Final[tuple[Any, ...]] = (
    None,
    {},
    "",
    [],
    {KEY: None},
    {"BatchItemFailures": [{"itemIdentifier": "a"}]},
    {"statusCode": 200, "body": "a"},
)


def record(name: str) -> Record:
    return Record(id=RecordId(name), content={}, size=1, arrived=0.0, handle=name)


def every_batch() -> Iterator[Batch]:
    for count in range(1, MOST_RECORDS + 1):
        for retries, throttles in product(range(2), range(3)):
            yield Batch(tuple(record(name) for name in "abcd"[:count]), retries=retries, throttles=throttles, received=7.0)
    yield Batch((record("a"), record("b"), record("a")))  # SQS may deliver one message twice in one batch (COM-01)


def every_list(longest: int) -> Iterator[list[Any]]:
    for length in range(longest + 1):
        yield from (list(entries) for entries in product(ENTRIES, repeat=length))


def every_response() -> Iterator[Any]:
    yield from SHAPES
    for listed in every_list(3):
        yield {KEY: listed}
        yield {KEY: listed, "more": 1}


def every_outcome() -> Iterator[Outcome]:
    yield NotInvoked(reason="ReservedFunctionConcurrentInvocationLimitExceeded")
    yield FAILURE
    yield from (Succeeded(response=response) for response in every_response())


def is_subsequence(part: tuple[Record, ...], whole: tuple[Record, ...]) -> bool:
    rest = iter(whole)
    return all(any(each is other for other in rest) for each in part)


def parts(decision: Decision) -> list[tuple[Record, ...]]:
    return [decision.settled, decision.returned, decision.discarded, *(batch.records for batch in decision.pending)]


@pytest.fixture(scope="module")
def every_decision() -> list[tuple[Batch, Outcome, bool, Decision]]:
    return [
        (batch, outcome, report, decide_queue(batch, outcome, report_item_failures=report))
        for batch in every_batch()
        for outcome in every_outcome()
        for report in (False, True)
    ]


def test_conservation_every_record_of_the_batch_has_exactly_one_fate(
    every_decision: list[tuple[Batch, Outcome, bool, Decision]],
) -> None:
    for batch, outcome, _, decision in every_decision:
        fates = Counter(id(each) for part in parts(decision) for each in part)
        assert fates == Counter(id(each) for each in batch.records), outcome


def test_order_every_part_keeps_the_order_of_the_batch(every_decision: list[tuple[Batch, Outcome, bool, Decision]]) -> None:
    for batch, outcome, _, decision in every_decision:
        assert all(is_subsequence(part, batch.records) for part in parts(decision)), outcome


def test_no_silent_drop_what_is_discarded_has_a_condition(every_decision: list[tuple[Batch, Outcome, bool, Decision]]) -> None:
    for _, outcome, _, decision in every_decision:
        assert bool(decision.discarded) == (decision.condition is not None), outcome
        assert not decision.discarded, "a queue gives nothing up: that is its redrive policy's business (SQS-52, SQS-55)"


def test_progress_what_is_pending_follows_an_invocation_that_never_happened(
    every_decision: list[tuple[Batch, Outcome, bool, Decision]],
) -> None:
    for batch, outcome, _, decision in every_decision:
        assert bool(decision.pending) == isinstance(outcome, NotInvoked)
        for pending in decision.pending:
            assert pending.records == batch.records
            assert (pending.retries, pending.throttles) == (batch.retries, batch.throttles + 1)
            assert pending.received == batch.received


def test_quota_a_queue_never_retries_by_itself_and_a_throttle_costs_nothing(
    every_decision: list[tuple[Batch, Outcome, bool, Decision]],
) -> None:
    for batch, _, _, decision in every_decision:
        assert all(pending.retries == batch.retries for pending in decision.pending)


def test_ignorance_is_failure_nothing_is_settled_by_an_answer_with_a_problem(
    every_decision: list[tuple[Batch, Outcome, bool, Decision]],
) -> None:
    for batch, outcome, _, decision in every_decision:
        if decision.problem is not None:
            assert decision.returned == batch.records, outcome


def test_what_an_answer_says_is_what_the_batch_gets_and_why(
    every_decision: list[tuple[Batch, Outcome, bool, Decision]],
) -> None:
    for batch, outcome, report, decision in every_decision:
        if isinstance(outcome, Succeeded) and report:
            judged = failed_items(outcome.response, [each.id for each in batch.records])
            assert decision.problem == judged.problem, outcome
            assert {each.id for each in decision.returned} == judged.failed, outcome


def test_without_report_item_failures_the_answer_changes_nothing(
    every_decision: list[tuple[Batch, Outcome, bool, Decision]],
) -> None:
    for batch, outcome, report, decision in every_decision:
        if isinstance(outcome, Succeeded) and not report:
            assert decision == Decision(settled=batch.records), outcome


def test_a_function_error_leaves_the_whole_batch_to_the_queue(
    every_decision: list[tuple[Batch, Outcome, bool, Decision]],
) -> None:
    for batch, outcome, _, decision in every_decision:
        if isinstance(outcome, FunctionError):
            assert decision == Decision(returned=batch.records)


@pytest.mark.parametrize("count", range(1, MOST_RECORDS + 1))
def test_every_list_of_failures_fails_what_it_names_or_everything(count: int) -> None:
    """An independent reading of SQS-60, 63..66 and 6D: all entries name records of the batch, or all of the batch fails."""
    ids = [RecordId(name) for name in "abcd"[:count]]
    names = {id(entry): entry["itemIdentifier"] for entry in ENTRIES[:count]}
    for listed in every_list(4):
        understood = all(id(entry) in names for entry in listed)
        judged = failed_items({KEY: listed}, ids)
        assert judged.failed == ({names[id(entry)] for entry in listed} if understood else set(ids)), listed
        assert (judged.problem is None) == understood, listed


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_every_other_shape_is_success_or_fails_everything(shape: Any) -> None:
    ids = [RecordId("a"), RecordId("b")]
    judged = failed_items(shape, ids)
    succeeds = any(type(shape) is type(each) and shape == each for each in SUCCESSFUL_SHAPES)
    assert judged.failed == (frozenset() if succeeds else frozenset(ids))
    assert (judged.problem is None) == succeeds
