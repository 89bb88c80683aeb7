"""Everything that the worker tells: one method for each thing that can happen, which alone knows its log line and its metrics.

Metric names and labels: INTERFACE; the event counts have the meaning of Lambda's own (`spec/metrics.md`). Counted per batch,
never per record. Payloads and credentials never reach a log line.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from types import MappingProxyType
from typing import Any, Final

import structlog
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from handlers.invoker import FunctionError
from pollers.aws.errors import THROTTLED
from pollers.errors import SourceError, SourceRejected
from pollers.source import Refusal
from runtime.core.mapping import MappingState
from runtime.tallies import Count, Counter, Histogram

_LABELS: Final = ("mapping", "source")
_DURATIONS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_NOWHERE: Final[Mapping[str, str]] = MappingProxyType({})
LEASE_CHANGES: Final = ("assigned", "asked", "wanted", "taken", "handed_over", "released", "lost")
_LONGEST_TEXT: Final = 1000
"""Characters of an error's text in the log: a handler may have put anything into it."""
_WAITS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 2, 5, 10, 20, 60, 300)
_RECORDS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
_BYTES: Final = tuple(float(4**n) for n in range(5, 12))  # 1 KiB to 4 MiB; a full batch (6 MiB) is over the last


class Telemetry:
    """The metrics of a worker and its log. One per process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger("esm")
        self.counters = {name: self._counter(name, text) for name, text in _COUNTERS.items()}
        self.concurrent = self._gauge("esm_concurrent_executions", "Invocations running now.")
        self.oldest = self._gauge("esm_oldest_message_age_seconds", "Age of the oldest message that the last receive brought.")
        self.overdue = self._gauge("esm_overdue_handlers", "Plain handlers that run on past their time limit, each on a slot.")
        self.duration = self._histogram("esm_invocation_duration_seconds", "Time in the handler.", _DURATIONS)
        self.batch_records = self._histogram("esm_batch_records", "Records of a batch.", _RECORDS)
        self.batch_bytes = self._histogram("esm_batch_bytes", "Bytes of an event as compact JSON.", _BYTES)
        self.batch_wait = self._histogram("esm_batch_wait_seconds", "First record received to handler invoked.", _WAITS)
        self.requests = Counter(
            "esm_aws_requests",
            "Requests to AWS; outcome: ok, empty, throttled, error.",
            (*_LABELS, "service", "operation", "outcome"),
            registry=self.registry,
        )
        self.capacity = Counter(
            "esm_state_capacity_units",
            "Capacity units of DynamoDB that leases and checkpoints took; kind: read, write.",
            ("kind", "operation"),
            registry=self.registry,
        )
        self.iterator_age = self._gauge(
            "esm_iterator_age_seconds", "Age of the last record of the oldest batch in flight (MET-35)."
        )
        self.checkpoint_age = self._gauge("esm_checkpoint_age_seconds", "Since the slowest shard with work in hand advanced.")
        self.lag = self._gauge("esm_lag_seconds", "Age of the oldest record that is not done, as far as is known.")
        self.desired = self._gauge("esm_desired_workers", "Workers that this worker's part of the work is worth; add them up.")
        self.leader = Gauge("esm_fleet_leader", "Whether this worker assigns shards to all.", _LABELS, registry=self.registry)
        self.shards = Gauge("esm_shards", "Shards by state.", (*_LABELS, "state"), registry=self.registry)
        self.polled_shards = self._gauge("esm_fan_out_polled_shards", "Shards of a consumer that are polled: subscriptions fail.")
        self.lease_changes = Counter("esm_lease_changes", "Leases by change.", (*_LABELS, "change"), registry=self.registry)
        self.state = Gauge("esm_mapping_state", "1 for the state of a mapping.", (*_LABELS, "state"), registry=self.registry)
        self.ready = self._gauge("esm_mapping_ready", "1 while the mapping polls, or is not meant to.")
        build = Gauge("esm_build_info", "What runs here.", ("version", "python"), registry=self.registry)
        build.labels(version=metadata.version("esm-runtime"), python=platform.python_version()).set(1)

    def of_mapping(self, mapping: str, source: str) -> "MappingTelemetry":
        return MappingTelemetry(self, mapping, source)

    def rendered(self) -> tuple[bytes, str]:
        """The metrics page and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4

    def worker_started(self, **facts: Any) -> None:
        self._log.info("worker_started", **facts)

    def config_warned(self, warning: str) -> None:
        self._log.warning("config_warned", warning=warning)

    def state_opened(self, *, path: str, created: bool) -> None:
        """`created`: there was nothing, so every mapping of a stream begins at its StartingPosition."""
        self._log.info("state_created" if created else "state_opened", path=path)

    def capacity_used(self, kind: str, operation: str, units: float) -> None:
        """Of a state in DynamoDB; `kind`: read or write."""
        self.capacity.labels(kind, operation).inc(units)

    def client_chosen(self, service: str, endpoint: str, reason: str | None) -> None:
        """`reason`: why it is the SDK's client that makes the hot requests; None when it is the lean one."""
        if reason is None:
            self._log.info("client_chosen", client="lean", service=service, endpoint=endpoint)
        else:
            self._log.info("client_chosen", client="sdk", service=service, endpoint=endpoint, reason=reason)

    def drain_began(self, *, signal: str, grace: float) -> None:
        self._log.info("drain_began", signal=signal, grace=grace, hint="a second signal cuts it short")

    def drain_cut(self, *, reason: str) -> None:
        self._log.warning("drain_cut", reason=reason)

    def worker_stopped(self, *, finished: int, released: int, abandoned: int) -> None:
        self._log.info("worker_stopped", finished=finished, released=released, abandoned=abandoned)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name.removesuffix("_total"), text, _LABELS, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, _LABELS, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, _LABELS, registry=self.registry, buckets=buckets)


_COUNTERS: Final = {
    "esm_polled_events_total": "Records read from the source (MET-01).",
    "esm_filtered_out_events_total": "Records that the filter rejected (MET-02).",
    "esm_invoked_events_total": "Records handed to the function; retries count again (MET-03).",
    "esm_failed_invoke_events_total": "Records of invocations that failed, and listed item failures (MET-04).",
    "esm_deleted_events_total": "Records deleted after they were processed (MET-07).",
    "esm_delete_refused_events_total": "Records whose delete was refused twice, or that were no longer ours: expect them again.",
    "esm_released_events_total": "Records given back at shutdown.",
    "esm_abandoned_events_total": "Records in flight when the grace period ended.",
    "esm_invocations_total": "Invocations that reached the handler (MET-30).",
    "esm_errors_total": "Invocations that ended in a function error (MET-31).",
    "esm_throttles_total": "Invocations that were refused before they reached the handler (MET-32).",
    "esm_timeouts_total": "Invocations that ran into the function's time limit; they are errors too.",
    "esm_visibility_lost_events_total": "Records that became visible to others while they were worked on.",
    "esm_dropped_events_total": "Records given up that no destination has (MET-05).",
    "esm_on_failure_destination_delivered_events_total": "Records given up that a destination was told of (MET-06).",
    "esm_destination_delivery_failures_total": "Failure records that a destination did not take (MET-37).",
    "esm_expired_events_total": "Records that left the stream while they were being retried.",
    "esm_position_gaps_total": "Positions whose records had left the stream before they were read.",
    "esm_shard_restarts_total": "Shards restarted because they showed no sign of life, or crashed.",
    "esm_mapping_restarts_total": "Restarts of a mapping after a crash.",
}


class MappingTelemetry:
    """The same for one mapping, its metric children looked up once."""

    def __init__(self, telemetry: Telemetry, mapping: str, source: str) -> None:
        labels = (mapping, source)
        self._telemetry = telemetry
        self._labels = labels
        self.log = self._log = structlog.get_logger("esm").bind(mapping=mapping)
        count = {name: counter.labels(*labels) for name, counter in telemetry.counters.items()}
        self._polled = count["esm_polled_events_total"]
        self._filtered_out = count["esm_filtered_out_events_total"]
        self._invoked = count["esm_invoked_events_total"]
        self._failed = count["esm_failed_invoke_events_total"]
        self._deleted = count["esm_deleted_events_total"]
        self._delete_refused = count["esm_delete_refused_events_total"]
        self._released = count["esm_released_events_total"]
        self._abandoned = count["esm_abandoned_events_total"]
        self._invocations = count["esm_invocations_total"]
        self._errors = count["esm_errors_total"]
        self._throttles = count["esm_throttles_total"]
        self._timeouts = count["esm_timeouts_total"]
        self._lost = count["esm_visibility_lost_events_total"]
        self._restarts = count["esm_mapping_restarts_total"]
        self._running = 0
        self._oldest_age = 0.0
        telemetry.concurrent.labels(*labels).set_function(lambda: float(self._running))
        telemetry.oldest.labels(*labels).set_function(lambda: self._oldest_age)
        self._overdue = telemetry.overdue.labels(*labels)
        self._duration = telemetry.duration.labels(*labels)
        self._batch_records = telemetry.batch_records.labels(*labels)
        self._batch_bytes = telemetry.batch_bytes.labels(*labels)
        self._batch_wait = telemetry.batch_wait.labels(*labels)
        self._requests: dict[tuple[str, str], Count] = {}

    def count(self, counter: str, amount: int = 1) -> None:
        self._telemetry.counters[counter].labels(*self._labels).inc(amount)

    # the source

    def request_made(self, operation: str, outcome: str) -> None:
        count = self._requests.get((operation, outcome))
        if count is None:
            count = self._telemetry.requests.labels(*self._labels, self._labels[1], operation, outcome)
            self._requests[operation, outcome] = count
        count.inc()

    def batch_polled(self, records: int, *, oldest_age: float) -> None:
        self._oldest_age = max(0.0, oldest_age)
        if records:
            self._polled.inc(records)

    def records_filtered_out(self, records: int) -> None:
        self._filtered_out.inc(records)

    def source_answered(self, *, visibility_timeout: int, failures: int) -> None:
        """The first answer after a start, or after failures."""
        self._log.info("source_answered", visibility_timeout=visibility_timeout, failures=failures)

    def source_failed(self, error: SourceError) -> None:
        """Told once per change of what is wrong, not once per try."""
        level = self._log.error if isinstance(error, SourceRejected) else self._log.warning
        event = "source_throttled" if error.code in THROTTLED else "source_failed"
        level(event, error=str(error), code=error.code, hint="polling goes on with back-off and recovers by itself")

    def source_warned(self, warning: str) -> None:
        self._log.warning("source_warned", warning=warning)

    # the function

    def batch_released(self, records: int, *, size: int, waited: float) -> None:
        """A batch is about to be invoked for the first time."""
        self._batch_records.observe(records)
        self._batch_bytes.observe(size)
        self._batch_wait.observe(waited)

    def invocation_began(self) -> None:
        self._running += 1

    def invocation_ended(self, *, duration: float) -> None:
        self._running -= 1
        self._duration.observe(duration)

    def function_succeeded(self, *, request_id: str, records: int, failed: int, problem: str | None, times: int = 1) -> None:
        """`times`: how often in a row there was this problem; told once, then when that has doubled."""
        self._invocations.inc()
        self._invoked.inc(records)
        if failed:
            self._failed.inc(failed)
        if problem and times & (times - 1):
            return
        if problem:
            self._log.warning("answer_not_understood", request_id=request_id, records=records, problem=problem)
        elif failed:
            self._log.info("items_failed", request_id=request_id, records=records, failed=failed)

    def function_failed(
        self, error: FunctionError, *, request_id: str, records: int, times: int = 1, where: Mapping[str, str] = _NOWHERE
    ) -> None:
        """`times`: how often in a row it failed in this way; told in full once, then when that has doubled."""
        self._invocations.inc()
        self._invoked.inc(records)
        self._errors.inc()
        self._failed.inc(records)
        if error.timed_out:
            self._timeouts.inc()
        if times & (times - 1) == 0:
            self._log.warning(
                "function_failed",
                request_id=request_id,
                records=records,
                **where,
                error_type=error.error_type,
                error=error.message[:_LONGEST_TEXT],
                stack="".join(error.document.get("stackTrace", ())) or None if times == 1 else None,
            )

    def function_throttled(self, *, request_id: str, records: int, reason: str, first: bool) -> None:
        self._throttles.inc()
        self._failed.inc(records)
        if first:
            self._log.warning("function_throttled", request_id=request_id, records=records, reason=reason)

    def throttled_batch_let_go(self, records: int) -> None:
        self._log.warning("throttled_batch_let_go", records=records, reason="the visibility timeout is over")

    def overdue_handlers(self, overdue: int, change: int) -> None:
        self._overdue.set(overdue)
        if change > 0:
            hint = "it cannot be stopped: its answer will be discarded, its slot stays taken until it returns"
            self._log.warning("handler_overdue", overdue=overdue, hint=hint)
        else:
            self._log.info("overdue_handler_returned", overdue=overdue)

    # the fate of records

    def records_deleted(self, deleted: int, refused: Sequence[Refusal]) -> None:
        self._deleted.inc(deleted)
        self.delete_refused(refused)

    def delete_refused(self, refused: Sequence[Refusal]) -> None:
        """Also of records that the filters left out, whose deletes are not counted otherwise (MET-22)."""
        if refused:
            self._delete_refused.inc(len(refused))
            codes = sorted({refusal.code for refusal in refused})
            self._log.warning("delete_refused", records=len(refused), codes=codes, message=refused[0].message)

    def visibility_lost(self, refused: Sequence[Refusal]) -> None:
        self._lost.inc(len(refused))
        self._log.warning("visibility_lost", records=len(refused), code=refused[0].code, message=refused[0].message)

    def extension_refused(self, refusal: Refusal, records: int) -> None:
        """Told once per change, not once per try."""
        self._log.warning("extension_refused", records=records, code=refusal.code, message=refusal.message)

    def records_released(self, released: int, refused: Sequence[Refusal], *, stopping: bool) -> None:
        """Given back: at shutdown, or because an earlier record of their group failed."""
        if stopping:
            self._released.inc(released)
        if released:
            self._log.info("records_released" if stopping else "records_given_back", records=released)
        if refused:
            self._log.warning("release_refused", records=len(refused), code=refused[0].code, message=refused[0].message)

    def records_abandoned(self, records: int) -> None:
        self._abandoned.inc(records)
        self._log.warning("records_abandoned", records=records)

    # shards

    def lease_changed(self, change: str) -> None:
        self._telemetry.lease_changes.labels(*self._labels, change).inc()

    def watch_shards(self, *, iterator_age: Callable[[], float], checkpoint_age: Callable[[], float]) -> None:
        """Asked at each scrape."""
        self._telemetry.iterator_age.labels(*self._labels).set_function(iterator_age)
        self._telemetry.checkpoint_age.labels(*self._labels).set_function(checkpoint_age)
        for change in LEASE_CHANGES:  # a counter that appears with its first change has no increase
            self._telemetry.lease_changes.labels(*self._labels, change)

    def watch_polled_shards(self, count: Callable[[], int]) -> None:
        self._telemetry.polled_shards.labels(*self._labels).set_function(lambda: float(count()))

    def watch_leader(self, leads: Callable[[], bool]) -> None:
        """Asked at each scrape."""
        self._telemetry.leader.labels(*self._labels).set_function(lambda: float(leads()))

    def watch_shard_state(self, state: str, count: Callable[[], int]) -> None:
        self._telemetry.shards.labels(*self._labels, state).set_function(lambda: float(count()))

    # the mapping

    @property
    def oldest_age(self) -> float:
        """Of a queue: seconds, of the oldest message that the last receive brought."""
        return self._oldest_age

    def watch_scaling(self, *, lag: Callable[[], float], desired: Callable[[], float]) -> None:
        """Asked at each scrape."""
        self._telemetry.lag.labels(*self._labels).set_function(lag)
        self._telemetry.desired.labels(*self._labels).set_function(desired)

    def watch_ready(self, is_ready: Callable[[], bool]) -> None:
        """Asked at each scrape."""
        self._telemetry.ready.labels(*self._labels).set_function(lambda: float(is_ready()))

    def state_changed(self, state: MappingState) -> None:
        for each in MappingState:
            self._telemetry.state.labels(*self._labels, each.value).set(each is state)
        self._log.info("mapping_state_changed", state=state.value)

    def mapping_crashed(self, error: BaseException, *, restart_in: float) -> None:
        self._restarts.inc()
        self._log.error("mapping_crashed", exc_info=error, restart_in=round(restart_in, 1))
