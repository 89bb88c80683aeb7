"""What a handler's answer says about its records: the table of SQS-60..6D, row by row."""

from typing import Any

import pytest

from handlers.invoker import NOT_JSON, FunctionError, NotInvoked, Succeeded
from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.decisions import decide_queue
from runtime.core.response import failed_items

IDS = [RecordId("a"), RecordId("b"), RecordId("c")]


def listed(*names: Any) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": name} for name in names]}


SUCCESSES: dict[str, Any] = {
    "SQS-61 null": None,
    "SQS-62 empty object": {},
    "SQS-63 empty list": {"batchItemFailures": []},
    "SQS-63 null list": {"batchItemFailures": None},
    "SQS-6B another object": {"statusCode": 200, "body": "ok"},
    "SQS-6B wrong case": {"BatchItemFailures": [{"itemIdentifier": "a"}]},
    "SQS-6B empty string": "",
    "SQS-6B empty list": [],
}
WHOLE_BATCH = {
    "SQS-64 empty id": (listed(""), "has no itemIdentifier"),
    "SQS-64 null id": (listed(None), "has no itemIdentifier"),
    "SQS-64 empty id beside a valid one": (listed("a", ""), "has no itemIdentifier"),
    "SQS-65 wrong key": ({"batchItemFailures": [{"foo": "notvalid"}]}, "has no itemIdentifier"),
    "SQS-65 misspelt key": ({"batchItemFailures": [{"itemIdentifer": "a"}]}, "has no itemIdentifier"),
    "SQS-65 id without an object": ({"batchItemFailures": ["a"]}, "has no itemIdentifier"),
    "SQS-66 unknown id": (listed("x"), "names a record that is not in the batch"),
    "SQS-66 unknown id beside valid ones": (listed("a", "x", "b"), "names a record that is not in the batch"),
    "SQS-67 not JSON": (NOT_JSON, "not JSON"),
    "SQS-6B string": ("ok", "a str, not an object"),
    "SQS-6B number": (1, "a int, not an object"),
    "SQS-6B list": ([{"itemIdentifier": "a"}], "a list, not an object"),
    "SQS-6C string": ({"batchItemFailures": "a"}, "is a str, not a list"),
    "SQS-6C object": ({"batchItemFailures": {"itemIdentifier": "a"}}, "is a dict, not a list"),
}


@pytest.mark.parametrize("response", SUCCESSES.values(), ids=SUCCESSES)
def test_success_fails_nothing(response: Any) -> None:
    judged = failed_items(response, IDS)
    assert (judged.failed, judged.problem) == (frozenset(), None)


@pytest.mark.parametrize(("response", "problem"), WHOLE_BATCH.values(), ids=WHOLE_BATCH)
def test_an_answer_that_leaves_a_doubt_fails_the_whole_batch_and_says_why(response: Any, problem: str) -> None:
    judged = failed_items(response, IDS)
    assert judged.failed == set(IDS)
    assert judged.problem is not None
    assert problem in judged.problem


@pytest.mark.parametrize(
    ("response", "failed"),
    [
        pytest.param(listed("b"), {"b"}, id="SQS-60 one"),
        pytest.param(listed("c", "a"), {"a", "c"}, id="SQS-60 in any order"),
        pytest.param(listed("a", "b", "c"), {"a", "b", "c"}, id="SQS-60 all"),
        pytest.param(listed("b", "b"), {"b"}, id="SQS-6D duplicates are one"),
    ],
)
def test_sqs_60_exactly_the_listed_records_fail(response: Any, failed: set[str]) -> None:
    judged = failed_items(response, IDS)
    assert judged.failed == failed
    assert judged.problem is None


def batch(*groups: str | None) -> Batch:
    names = "abcdefgh"[: len(groups)]
    return Batch(
        tuple(
            Record(id=RecordId(name), content={}, size=1, arrived=0.0, group=group)
            for name, group in zip(names, groups, strict=True)
        )
    )


def test_sqs_69_a_fifo_batch_keeps_exactly_what_was_reported_in_order() -> None:
    tried = batch("1", "1", "1", "1")
    decision = decide_queue(tried, Succeeded(response=listed("d", "b", "c")), report_item_failures=True)
    assert [record.id for record in decision.settled] == ["a"]
    assert [record.id for record in decision.returned] == ["b", "c", "d"]


def test_sqs_68_what_a_fifo_handler_did_not_report_is_deleted_even_behind_a_failure() -> None:
    decision = decide_queue(batch("1", "1"), Succeeded(response=listed("a")), report_item_failures=True)
    assert [record.id for record in decision.settled] == ["b"]


@pytest.mark.parametrize("report", [False, True])
@pytest.mark.parametrize("timed_out", [False, True])
def test_sqs_6a_an_exception_or_timeout_fails_the_whole_batch(report: bool, timed_out: bool) -> None:
    failure = FunctionError(error_type="E", message="m", document={}, timed_out=timed_out)
    tried = batch(None, None)
    decision = decide_queue(tried, failure, report_item_failures=report)
    assert (decision.settled, decision.returned, decision.pending) == ((), tried.records, ())


@pytest.mark.parametrize("report", [False, True])
def test_sqs_53_a_throttled_batch_is_tried_again_at_no_cost(report: bool) -> None:
    tried = batch(None)
    decision = decide_queue(tried, NotInvoked(reason="r"), report_item_failures=report)
    (pending,) = decision.pending
    assert (pending.records, pending.retries, pending.throttles) == (tried.records, 0, 1)


def test_com_22_without_report_item_failures_the_answer_is_ignored() -> None:
    tried = batch(None, None)
    for response in (*SUCCESSES.values(), *(response for response, _ in WHOLE_BATCH.values()), listed("a")):
        decision = decide_queue(tried, Succeeded(response=response), report_item_failures=False)
        assert (decision.settled, decision.returned, decision.problem) == (tried.records, (), None)


def test_kin_52_user_records_of_an_aggregate_are_named_alone_or_all_from_the_first_on_by_their_sequence_number() -> None:
    """What Powertools reports is the sequence number, which they share."""
    ids = [RecordId(name) for name in ("7", "8:3", "8:4", "88:0", "9")]
    assert failed_items(listed("8:4"), ids).failed == {"8:4"}
    assert failed_items(listed("8"), ids).failed == {"8:3"}
    assert failed_items(listed("8", "9"), ids).failed == {"8:3", "9"}
    for unknown in ("8:5", "88:", ":", "6", "7:0"):
        assert failed_items(listed(unknown), ids).failed == set(ids), unknown
