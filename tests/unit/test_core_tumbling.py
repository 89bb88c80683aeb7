"""Tumbling windows: what the event shows, and the state that goes from batch to batch (COM-90..98)."""

import json
from typing import Any, Final

import pytest

from handlers.invoker import NOT_JSON, Succeeded
from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.decisions import RETRIES_EXHAUSTED, decide_stream
from runtime.core.mapping import RetryPolicy
from runtime.core.response import state_problem
from runtime.core.tumbling import MAX_STATE_BYTES, QUIET, OpenWindow

SHARD = "shardId-000000000006"
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"
START = 1_607_497_440
"""2020-12-09T07:04:00Z, as in AWS's sample."""


def batch(*arrivals: float) -> Batch:
    records = tuple(Record(id=RecordId(str(n)), content={}, size=1, arrived=arrived) for n, arrived in enumerate(arrivals, 1))
    return Batch(records, retries=2, throttles=1, received=3.0)


def names(part: Batch | None) -> list[str]:
    return [record.id for record in part.records] if part else []


def keys(window: OpenWindow, **more: bool) -> dict[str, Any]:
    return window.keys(shard=SHARD, source_arn=STREAM, **more)


def test_com_91_the_event_has_awss_keys_in_awss_order() -> None:
    shown = keys(OpenWindow.of(START + 61.5, 120).with_state({"1": 282}))
    assert json.dumps(shown) == (
        '{"window": {"start": "2020-12-09T07:04:00Z", "end": "2020-12-09T07:06:00Z"}, "state": {"1": 282}, '
        f'"shardId": "{SHARD}", "eventSourceARN": "{STREAM}", "isFinalInvokeForWindow": false, "isWindowTerminatedEarly": false}}'
    )


def test_com_92_a_window_begins_with_an_empty_state() -> None:
    assert keys(OpenWindow.of(START, 120))["state"] == {}


def test_com_92_a_new_state_leaves_the_window_where_it_is() -> None:
    window = OpenWindow.of(START, 120)
    after = window.with_state({"sum": 3})
    assert (after.start, after.end, after.state) == (window.start, window.end, {"sum": 3})
    assert window.state == {}


def test_com_92_a_handler_that_changes_its_state_and_fails_changes_nothing_for_the_next_try() -> None:
    window = OpenWindow.of(START, 120).with_state({"seen": {"a": [1]}})
    event = keys(window)
    event["state"]["seen"]["a"].append(2)
    event["state"]["more"] = 1
    assert keys(window)["state"] == {"seen": {"a": [1]}}


@pytest.mark.parametrize(("final", "early"), [(False, False), (True, False), (True, True)])
def test_com_96_the_last_invocation_says_so_and_why(final: bool, early: bool) -> None:
    shown = keys(OpenWindow.of(START, 120), final=final, early=early)
    assert (shown["isFinalInvokeForWindow"], shown["isWindowTerminatedEarly"]) == (final, early)


@pytest.mark.parametrize(
    ("arrived", "start"), [(START, START), (START + 119.999, START), (START + 120, START + 120), (START - 0.001, START - 120)]
)
def test_com_93_a_record_belongs_to_the_window_of_its_arrival(arrived: float, start: int) -> None:
    window = OpenWindow.of(arrived, 120)
    assert (window.start, window.end) == (start, start + 120)


def test_com_97_a_batch_over_a_border_is_cut_there() -> None:
    whole = batch(START, START + 119, START + 120, START + 121)
    now, rest = OpenWindow.of(START, 120).split(whole)
    assert (names(now), names(rest)) == (["1", "2"], ["3", "4"])
    for part in (now, rest):
        assert part is not None
        assert (part.retries, part.throttles, part.received) == (0, 0, 3.0)


def test_a_batch_within_the_window_is_left_as_it_is() -> None:
    whole = batch(START, START + 1)
    assert OpenWindow.of(START, 120).split(whole) == (whole, None)


def test_com_97_a_batch_behind_the_window_ends_it() -> None:
    whole = batch(START + 120)
    assert OpenWindow.of(START, 120).split(whole) == (None, whole)


def test_a_record_that_comes_late_belongs_to_the_window_that_is_open() -> None:
    """The order of the shard comes first; the window of its own is over and cannot be opened again."""
    now, rest = OpenWindow.of(START + 120, 120).split(batch(START + 120, START, START + 130))
    assert (names(now), rest) == (["1", "2", "3"], None)


def test_com_97_two_minutes_without_a_record_end_a_window_that_has_passed() -> None:
    window = OpenWindow.of(START, 120)
    assert QUIET == 120
    assert window.passed(START + 120, quiet=120)
    assert not window.passed(START + 119.9, quiet=1000)
    assert not window.passed(START + 1000, quiet=119.9)


FITTING = MAX_STATE_BYTES - len('{"a":""}')


@pytest.mark.parametrize(
    ("text", "too_large"),
    [
        pytest.param("x" * FITTING, False, id="just fits"),
        pytest.param("x" * (FITTING + 1), True, id="a byte too much"),
        pytest.param("é" * (FITTING // 2), False, id="bytes of UTF-8 and not of escapes"),
        pytest.param("é" * (FITTING // 2 + 1), True, id="bytes and not letters"),
        pytest.param("\ud83d" * 10, False, id="half a letter"),
    ],
)
def test_com_95_a_state_is_too_large_over_a_mebibyte(text: str, too_large: bool) -> None:
    assert OpenWindow.of(START, 120).with_state({"a": text}).state_too_large is too_large


@pytest.mark.parametrize("state", [{}, {"sum": 1.5}, {"é": [None, True, {"\ud83d": "\u2028"}]}])
def test_a_window_survives_a_restart(state: dict[str, Any]) -> None:
    window = OpenWindow.of(START, 120).with_state(state)
    assert OpenWindow.parse(window.text) == window
    assert " " not in window.text


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "text", "null", "1", "[]", "{}", '{"start":1,"end":2}', '{"start":1,"state":{}}', '{"end":1,"state":{}}',
        '{"start":null,"end":2,"state":{}}', '{"start":"x","end":2,"state":{}}', '{"start":1,"end":[],"state":{}}',
        '{"start":1,"end":2,"state":null}', '{"start":1,"end":2,"state":1}', '{"start":1,"end":2,"state":["a"]}',
    ],
)  # fmt: skip
def test_a_text_that_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        OpenWindow.parse(text)


def test_what_is_no_window_is_told_without_the_users_state() -> None:
    with pytest.raises(ValueError, match="no tumbling window") as caught:
        OpenWindow.parse('{"start":111,"state":{"card":"4111"}}')
    assert "4111" not in str(caught.value)


def test_a_window_at_the_end_of_time_is_none() -> None:
    with pytest.raises(ValueError, match="no tumbling window"):
        OpenWindow.parse('{"start":1000000000000000,"end":1000000000000060,"state":{}}')


# what the handler must answer

STATELESS: Final[dict[str, tuple[Any, str]]] = {
    "null": (None, "has no state"),
    "not JSON": (NOT_JSON, "has no state"),
    "text": ("state", "has no state"),
    "list": (["state"], "has no state"),
    "empty object": ({}, "has no state"),
    "wrong case": ({"State": {}}, "has no state"),
    "null state": ({"state": None}, "a NoneType, not an object"),
    "text for a state": ({"state": "{}"}, "a str, not an object"),
    "list for a state": ({"state": []}, "a list, not an object"),
    "number for a state": ({"state": 1}, "a int, not an object"),
}


@pytest.mark.parametrize(("response", "problem"), STATELESS.values(), ids=STATELESS)
def test_com_94_an_answer_without_state_fails_the_whole_batch_and_says_why(response: Any, problem: str) -> None:
    assert problem in (state_problem(response) or "")
    for report in (False, True):
        decision = decide_stream(
            batch(START, START + 1),
            Succeeded(response=response),
            RetryPolicy(attempts=0),
            report_item_failures=report,
            stateful=True,
        )
        assert (len(decision.discarded), decision.condition) == (2, RETRIES_EXHAUSTED)
        assert problem in (decision.problem or "")


@pytest.mark.parametrize("state", [{}, {"sum": 1}, {"state": {}}])
def test_com_94_an_answer_with_state_succeeds(state: dict[str, Any]) -> None:
    assert state_problem({"state": state}) is None
    for report in (False, True):
        decision = decide_stream(
            batch(START, START + 1),
            Succeeded(response={"state": state}),
            RetryPolicy(attempts=0),
            report_item_failures=report,
            stateful=True,
        )
        assert (len(decision.settled), decision.problem) == (2, None)


def test_com_94_state_and_item_failures_go_together() -> None:
    whole = batch(START, START + 1)
    listed = {"batchItemFailures": [{"itemIdentifier": "2"}]}
    both = Succeeded(response={**listed, "state": {"sum": 1}})
    decision = decide_stream(whole, both, RetryPolicy(), report_item_failures=True, stateful=True)
    assert ([each.id for each in decision.settled], [names(each) for each in decision.pending]) == (["1"], [["2"]])
    decision = decide_stream(whole, Succeeded(response=listed), RetryPolicy(), report_item_failures=True, stateful=True)
    assert (decision.settled, [names(each) for each in decision.pending]) == ((), [["1", "2"]])
