"""Every thing that can happen moves exactly its metrics, and says what it says once, without payloads."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from handlers.invoker import FunctionError
from pollers.errors import SourceRejected, SourceUnavailable
from pollers.record import Record, RecordId
from pollers.source import Refusal
from runtime.core.mapping import MappingState
from runtime.telemetry import MappingTelemetry, Telemetry

SECRET: Final = "the-payload"  # the text that must not come out
RECORD: Final = Record(id=RecordId("a"), content={"body": SECRET}, size=1, arrived=0.0, handle=SECRET)
FAILURE: Final = FunctionError(error_type="ValueError", message="bad", document={"stackTrace": ["  File x\n", "  File y\n"]})
TIMEOUT: Final = FunctionError(error_type="Sandbox.Timedout", message="slow", document={}, timed_out=True)

Sample = tuple[str, tuple[str, ...]]


def refusal(code: str = "InternalError") -> Refusal:
    return Refusal(record=RECORD, code=code, message="why", gone=False)


@pytest.fixture(autouse=True)
def _logs_as_they_are_unconfigured() -> Iterator[None]:
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


def samples(telemetry: Telemetry) -> dict[Sample, float]:
    """All `esm_` samples by name and label values, but those of buckets and of creation times."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in telemetry.registry.collect()
        for sample in family.samples
        if sample.name.startswith("esm_") and not sample.name.endswith(("_bucket", "_created"))
    }


def change(happen: Callable[[MappingTelemetry], None], *before: Callable[[MappingTelemetry], None]) -> dict[Sample, float]:
    """Which samples moved, and by how much."""
    telemetry = Telemetry()
    mapping = telemetry.of_mapping("m", "sqs")
    with capture_logs():
        for each in before:
            each(mapping)
        old = samples(telemetry)
        happen(mapping)
    return {key: value - old.get(key, 0) for key, value in samples(telemetry).items() if value != old.get(key, 0)}


def lines(happen: Callable[[MappingTelemetry], None]) -> list[dict[str, Any]]:
    with capture_logs() as logs:
        happen(Telemetry().of_mapping("m", "sqs"))
    return [dict(line) for line in logs]


MOVES: Final[dict[str, tuple[Callable[[MappingTelemetry], None], dict[str, float]]]] = {
    "MET-01 polled": (lambda t: t.batch_polled(7, oldest_age=3.5), {"esm_polled_events_total": 7, "esm_oldest_message_age_seconds": 3.5}),
    "MET-01 an empty poll": (lambda t: t.batch_polled(0, oldest_age=0.0), {}),
    "a record from the future": (lambda t: t.batch_polled(1, oldest_age=-4.0), {"esm_polled_events_total": 1}),
    "source_answered": (lambda t: t.source_answered(visibility_timeout=30, failures=2), {}),
    "source_failed": (lambda t: t.source_failed(SourceUnavailable("x", code="no_answer")), {}),
    "source_warned": (lambda t: t.source_warned("x"), {}),
    "batch_released": (
        lambda t: t.batch_released(3, size=2000, waited=1.5),
        {
            "esm_batch_records_count": 1, "esm_batch_records_sum": 3, "esm_batch_bytes_count": 1, "esm_batch_bytes_sum": 2000,
            "esm_batch_wait_seconds_count": 1, "esm_batch_wait_seconds_sum": 1.5,
        },
    ),
    "MET-34 invocation_began": (lambda t: t.invocation_began(), {"esm_concurrent_executions": 1}),
    "MET-33 invocation_ended": (
        lambda t: t.invocation_ended(duration=0.25),
        {"esm_concurrent_executions": -1, "esm_invocation_duration_seconds_count": 1, "esm_invocation_duration_seconds_sum": 0.25},
    ),
    "MET-30 success": (
        lambda t: t.function_succeeded(request_id="r", records=4, failed=0, problem=None),
        {"esm_invocations_total": 1, "esm_invoked_events_total": 4},
    ),
    "MET-21 MET-41 item failures are no error": (
        lambda t: t.function_succeeded(request_id="r", records=4, failed=3, problem=None),
        {"esm_invocations_total": 1, "esm_invoked_events_total": 4, "esm_failed_invoke_events_total": 3},
    ),
    "MET-21 a malformed answer": (
        lambda t: t.function_succeeded(request_id="r", records=4, failed=4, problem="p"),
        {"esm_invocations_total": 1, "esm_invoked_events_total": 4, "esm_failed_invoke_events_total": 4},
    ),
    "MET-31 function error": (
        lambda t: t.function_failed(FAILURE, request_id="r", records=4),
        {"esm_invocations_total": 1, "esm_errors_total": 1, "esm_invoked_events_total": 4, "esm_failed_invoke_events_total": 4},
    ),
    "MET-31 timeout": (
        lambda t: t.function_failed(TIMEOUT, request_id="r", records=4),
        {
            "esm_invocations_total": 1, "esm_errors_total": 1, "esm_timeouts_total": 1, "esm_invoked_events_total": 4,
            "esm_failed_invoke_events_total": 4,
        },
    ),
    "MET-32 throttle is no invocation": (
        lambda t: t.function_throttled(request_id="r", records=4, reason="x", first=True),
        {"esm_throttles_total": 1, "esm_failed_invoke_events_total": 4},
    ),
    "let go": (lambda t: t.throttled_batch_let_go(4), {}),
    "overdue": (lambda t: t.overdue_handlers(2, 1), {"esm_overdue_handlers": 2}),
    "MET-07 deleted": (lambda t: t.records_deleted(4, []), {"esm_deleted_events_total": 4}),
    "MET-07 a failed delete": (lambda t: t.records_deleted(0, [refusal()]), {"esm_delete_refused_events_total": 1}),
    "lost": (lambda t: t.visibility_lost([refusal(), refusal()]), {"esm_visibility_lost_events_total": 2}),
    "extension refused": (lambda t: t.extension_refused(refusal(), 3), {}),
    "released": (lambda t: t.records_released(2, [refusal()], stopping=True), {"esm_released_events_total": 2}),
    "given back while running": (lambda t: t.records_released(2, [], stopping=False), {}),
    "abandoned": (lambda t: t.records_abandoned(3), {"esm_abandoned_events_total": 3}),
    "crashed": (lambda t: t.mapping_crashed(ValueError("x"), restart_in=1.0), {"esm_mapping_restarts_total": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("happen", "moved"), MOVES.values(), ids=MOVES)
def test_an_event_moves_exactly_its_metrics(happen: Callable[[MappingTelemetry], None], moved: dict[str, float]) -> None:
    assert change(happen) == {(name, ("m", "sqs")): value for name, value in moved.items()}


def test_requests_are_counted_by_service_operation_and_outcome() -> None:
    def twice(telemetry: MappingTelemetry) -> None:
        telemetry.request_made("ReceiveMessage", "empty")
        telemetry.request_made("ReceiveMessage", "empty")

    assert change(twice) == {("esm_aws_requests_total", ("m", "sqs", "sqs", "ReceiveMessage", "empty")): 2}


def test_a_mapping_is_in_exactly_one_state() -> None:
    telemetry = Telemetry()
    mapping = telemetry.of_mapping("m", "sqs")
    with capture_logs():
        for state in MappingState:
            mapping.state_changed(state)
            shown = {labels[-1]: value for (name, labels), value in samples(telemetry).items() if name == "esm_mapping_state"}
            assert shown == {each.value: float(each is state) for each in MappingState}


def test_readiness_is_asked_at_each_scrape() -> None:
    telemetry = Telemetry()
    ready = [False]
    telemetry.of_mapping("m", "sqs").watch_ready(lambda: ready[0])
    assert samples(telemetry)["esm_mapping_ready", ("m", "sqs")] == 0
    ready[0] = True
    assert samples(telemetry)["esm_mapping_ready", ("m", "sqs")] == 1


def test_mappings_do_not_mix() -> None:
    telemetry = Telemetry()
    first, second = telemetry.of_mapping("first", "sqs"), telemetry.of_mapping("second", "sqs")
    first.batch_polled(2, oldest_age=0.0)
    second.batch_polled(5, oldest_age=0.0)
    found = samples(telemetry)
    assert found["esm_polled_events_total", ("first", "sqs")] == 2
    assert found["esm_polled_events_total", ("second", "sqs")] == 5


def test_every_counter_of_a_mapping_starts_at_zero_and_not_at_nothing() -> None:
    telemetry = Telemetry()
    telemetry.of_mapping("m", "sqs")
    found = samples(telemetry)
    assert {found[name, ("m", "sqs")] for name in telemetry.counters} == {0}


LINES: Final[dict[str, tuple[Callable[[MappingTelemetry], None], list[tuple[str, str]]]]] = {
    "polled": (lambda t: t.batch_polled(7, oldest_age=3.5), []),
    "answered": (lambda t: t.source_answered(visibility_timeout=30, failures=2), [("info", "source_answered")]),
    "unavailable": (lambda t: t.source_failed(SourceUnavailable("x", code="no_answer")), [("warning", "source_failed")]),
    "throttled": (lambda t: t.source_failed(SourceUnavailable("x", code="RequestThrottled")), [("warning", "source_throttled")]),
    "rejected": (lambda t: t.source_failed(SourceRejected("x", code="AccessDenied")), [("error", "source_failed")]),
    "warned": (lambda t: t.source_warned("x"), [("warning", "source_warned")]),
    "success": (lambda t: t.function_succeeded(request_id="r", records=4, failed=0, problem=None), []),
    "item failures": (
        lambda t: t.function_succeeded(request_id="r", records=4, failed=3, problem=None),
        [("info", "items_failed")],
    ),
    "malformed": (
        lambda t: t.function_succeeded(request_id="r", records=4, failed=4, problem="p"),
        [("warning", "answer_not_understood")],
    ),
    "function error": (lambda t: t.function_failed(FAILURE, request_id="r", records=4), [("warning", "function_failed")]),
    "throttle": (
        lambda t: t.function_throttled(request_id="r", records=4, reason="x", first=True),
        [("warning", "function_throttled")],
    ),
    "throttle again": (lambda t: t.function_throttled(request_id="r", records=4, reason="x", first=False), []),
    "let go": (lambda t: t.throttled_batch_let_go(4), [("warning", "throttled_batch_let_go")]),
    "overdue": (lambda t: t.overdue_handlers(1, 1), [("warning", "handler_overdue")]),
    "returned": (lambda t: t.overdue_handlers(0, -1), [("info", "overdue_handler_returned")]),
    "deleted": (lambda t: t.records_deleted(4, []), []),
    "delete refused": (lambda t: t.records_deleted(3, [refusal()]), [("warning", "delete_refused")]),
    "lost": (lambda t: t.visibility_lost([refusal()]), [("warning", "visibility_lost")]),
    "extension refused": (lambda t: t.extension_refused(refusal(), 3), [("warning", "extension_refused")]),
    "released": (lambda t: t.records_released(1, [], stopping=True), [("info", "records_released")]),
    "given back while running": (lambda t: t.records_released(1, [], stopping=False), [("info", "records_given_back")]),
    "release refused": (
        lambda t: t.records_released(0, [refusal()], stopping=True),
        [("warning", "release_refused")],
    ),
    "abandoned": (lambda t: t.records_abandoned(3), [("warning", "records_abandoned")]),
    "state": (lambda t: t.state_changed(MappingState.ENABLED), [("info", "mapping_state_changed")]),
    "crashed": (lambda t: t.mapping_crashed(ValueError("x"), restart_in=1.0), [("error", "mapping_crashed")]),
}


@pytest.mark.parametrize(("happen", "told"), LINES.values(), ids=LINES)
def test_an_event_is_told_with_its_mapping_and_without_payloads(
    happen: Callable[[MappingTelemetry], None], told: list[tuple[str, str]]
) -> None:
    found = lines(happen)
    assert [(line["log_level"], line["event"]) for line in found] == told
    assert all(line["mapping"] == "m" for line in found)
    assert SECRET not in repr(found)


def test_a_function_error_is_told_with_its_stack_and_request() -> None:
    (line,) = lines(lambda t: t.function_failed(FAILURE, request_id="r", records=4))
    assert (line["request_id"], line["error_type"], line["error"]) == ("r", "ValueError", "bad")
    assert line["stack"] == "  File x\n  File y\n"
    (line,) = lines(lambda t: t.function_failed(TIMEOUT, request_id="r", records=4))
    assert line["stack"] is None


def test_refused_deletes_name_each_code_once() -> None:
    (line,) = lines(lambda t: t.records_deleted(0, [refusal("b"), refusal("a"), refusal("b")]))
    assert (line["records"], line["codes"]) == (3, ["a", "b"])


def test_the_worker_tells_its_start_and_its_end() -> None:
    telemetry = Telemetry()
    with capture_logs() as logs:
        telemetry.worker_started(mappings=2)
        telemetry.config_warned("x")
        telemetry.drain_began(signal="SIGTERM", grace=25)
        telemetry.drain_cut(reason="second signal")
        telemetry.worker_stopped(finished=1, released=2, abandoned=3)
    assert [line["event"] for line in logs] == ["worker_started", "config_warned", "drain_began", "drain_cut", "worker_stopped"]
    assert {name: logs[4][name] for name in ("finished", "released", "abandoned")} == {
        "finished": 1,
        "released": 2,
        "abandoned": 3,
    }
    json.dumps(logs)


def test_the_metrics_page_is_prometheus_text() -> None:
    telemetry = Telemetry()
    mapping = telemetry.of_mapping('quoted "m"\nwith \\', "sqs")
    with capture_logs():
        for happen, _ in MOVES.values():
            happen(mapping)
        mapping.request_made("ReceiveMessage", "ok")
        mapping.state_changed(MappingState.ENABLED)
    page, content_type = telemetry.rendered()
    assert content_type.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(page.decode())}
    for name in (
        "esm_polled_events", "esm_invoked_events", "esm_failed_invoke_events", "esm_deleted_events", "esm_filtered_out_events",
        "esm_invocations", "esm_errors", "esm_throttles", "esm_invocation_duration_seconds", "esm_concurrent_executions",
        "esm_batch_records", "esm_batch_bytes", "esm_batch_wait_seconds", "esm_oldest_message_age_seconds", "esm_aws_requests",
        "esm_mapping_state", "esm_mapping_restarts", "esm_released_events", "esm_abandoned_events", "esm_build_info",
    ):  # fmt: skip
        assert families[name].samples, name
        assert families[name].documentation
    (build,) = families["esm_build_info"].samples
    assert set(build.labels) == {"version", "python"}
    assert families["esm_polled_events"].samples[0].labels == {"mapping": 'quoted "m"\nwith \\', "source": "sqs"}
