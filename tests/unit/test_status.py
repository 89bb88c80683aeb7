"""What a mapping says of itself over HTTP."""

import json
from itertools import product
from typing import Any

import pytest

from pollers.errors import SourceRejected, SourceUnavailable
from runtime.core.mapping import TRANSITIONS, BatchLimits, EventSourceMapping, MappingState
from runtime.status import STUCK_AFTER, MappingStatus

REJECTED = SourceRejected("ReceiveMessage on orders: AccessDenied: no", code="AccessDenied")
UNAVAILABLE = SourceUnavailable("ReceiveMessage on orders: no answer", code="no_answer")


def status(*, enabled: bool = True, state: MappingState = MappingState.ENABLED, **more: Any) -> MappingStatus:
    mapping = EventSourceMapping(
        name="orders-queue",
        function="orders",
        function_arn="arn:aws:lambda:eu-west-1:123456789012:function:orders",
        source="sqs",
        source_arn="arn:aws:sqs:eu-west-1:123456789012:orders",
        batch=BatchLimits(records=100, window=2),
        enabled=enabled,
        report_item_failures=more.pop("report", False),
        maximum_concurrency=more.pop("concurrency", None),
    )
    return MappingStatus(mapping=mapping, state=state, **more)


@pytest.mark.parametrize(("start", "end"), list(product(MappingState, repeat=2)))
def test_a_state_follows_the_arrows_and_no_other_way(start: MappingState, end: MappingState) -> None:
    one = status(state=start)
    if start is end:
        assert not one.move(end)
    elif end in TRANSITIONS[start]:
        assert one.move(end)
        assert one.state is end
    else:
        with pytest.raises(RuntimeError, match=f"mapping orders-queue: no way from {start} to {end}"):
            one.move(end)
        assert one.state is start


@pytest.mark.parametrize("state", MappingState)
def test_only_an_enabled_mapping_is_ready(state: MappingState) -> None:
    assert status(state=state).ready is (state is MappingState.ENABLED)


@pytest.mark.parametrize("state", MappingState)
def test_a_mapping_that_somebody_turned_off_holds_nobody_up(state: MappingState) -> None:
    assert status(enabled=False, state=state).ready
    assert status(paused="reserved concurrency is 0", state=state).ready


def test_a_source_that_rejects_us_is_not_ready_and_one_that_is_away_stays_ready() -> None:
    assert not status(error=REJECTED).ready
    assert status(error=UNAVAILABLE).ready


def test_why_not_ready_names_the_error_or_the_state() -> None:
    assert status(error=REJECTED).why_not_ready == str(REJECTED)
    assert status(state=MappingState.CREATING).why_not_ready == "Creating: no successful poll yet"


def test_a_mapping_is_stuck_after_a_minute_with_every_slot_overdue() -> None:
    one = status()
    assert not one.stuck(1e9)
    one.overdue_since = 1000.0
    assert STUCK_AFTER == 60
    assert not one.stuck(1060.0)
    assert one.stuck(1060.1)
    one.overdue_since = None
    assert not one.stuck(1e9)


def test_overdue_since_the_clock_s_zero_counts_too() -> None:
    assert status(overdue_since=0.0).stuck(61.0)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, None),
        ({"slots": 4, "allowed": 4, "delivering": 3}, None),
        ({"slots": 4, "allowed": 2, "delivering": 2}, "all 2 slots are taken by invocations"),
        ({"slots": 4, "allowed": 2, "delivering": 2, "error": UNAVAILABLE}, str(UNAVAILABLE)),
        (
            {"error": UNAVAILABLE, "overdue": 2, "overdue_since": 5.0},
            "all slots are held by 2 handlers that run on past their time limit",
        ),
        ({"paused": "no concurrency", "error": UNAVAILABLE, "overdue_since": 5.0}, "no concurrency"),
    ],
)
def test_why_a_mapping_does_not_move(facts: dict[str, Any], why: str | None) -> None:
    assert status(**facts).why_not_moving == why


def test_what_is_shown_is_json_with_aws_s_keys() -> None:
    one = status(report=True, concurrency=10, error=REJECTED, facts={"VisibilityTimeout": 30}, slots=10, allowed=9, restarts=1)
    assert json.loads(json.dumps(one.shown(0.0, 0.0))) == {
        "name": "orders-queue",
        "EventSourceArn": "arn:aws:sqs:eu-west-1:123456789012:orders",
        "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:orders",
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 2,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 10},
        "State": "Enabled",
        "LastProcessingResult": "No records processed",
        "ready": False,
        "why": str(REJECTED),
        "error": "AccessDenied",
        "slots": 10,
        "slots_allowed": 9,
        "receiving": 0,
        "delivering": 0,
        "overdue": 0,
        "restarts": 1,
        "VisibilityTimeout": 30,
    }


def test_what_is_not_configured_is_shown_as_aws_shows_it() -> None:
    shown = json.loads(json.dumps(status().shown(0.0, 0.0)))
    assert shown["FunctionResponseTypes"] == []
    assert "ScalingConfig" not in shown
    assert (shown["ready"], shown["why"], shown["error"]) == (True, None, None)
