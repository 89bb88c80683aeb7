"""How records are replayed: the rules of a mapping, as far as they make sense without its source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pollers import QUEUES, SPECS, STREAMS
from pollers.event_records import envelope, shown_of
from pollers.record import TRIM_HORIZON, Record
from pollers.source import QueueSpec, StreamSpec
from runtime.core.mapping import UNLIMITED, BatchLimits, EventSourceMapping, RetryPolicy, StreamSettings
from runtime.core.tumbling import EVENT_ROOM
from runtime.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line says instead of the mapping; None leaves the mapping's."""

    batch_size: int | None = None
    window: int | None = None
    attempts: int | None = None
    """Retries of a batch."""
    bisect: bool | None = None
    report_item_failures: bool | None = None
    lanes: int | None = None
    filtered: bool = True
    """Whether the mapping's filters are kept to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Of one replay."""

    mapping: EventSourceMapping
    spec: QueueSpec | StreamSpec
    batch: BatchLimits
    retry: RetryPolicy
    """Attempts are never unlimited: a record that always fails would be tried for ever."""
    endless: bool
    """The mapping would try for ever, and here nothing is tried again: records that the handler does not name succeeded."""
    lanes: int
    """Batches at once: of a shard, or of a queue."""
    tumbling_window: int
    report_item_failures: bool
    filtered: bool
    envelope: Callable[[Sequence[Record]], dict[str, Any]]


def rules_of(mapping: EventSourceMapping, overrides: Overrides) -> Rules:
    """A limit of -1 retries counts as 0, unless the command line has another. Nothing is waited for, and nothing is too old.

    Queues know no retries but their own: records that fail are tried so often as the command line says. Raises UserError.
    """
    stream = mapping.stream
    tumbling = stream.tumbling_window if stream is not None else 0
    if tumbling and (overrides.lanes or 1) > 1:
        text = f"--parallel {overrides.lanes}: mapping {mapping.name} has TumblingWindowInSeconds, so it must be 1"
        raise UserError(text)
    if overrides.bisect and stream is None:
        raise UserError("--bisect is for streams: batches of a queue are not split (--batch-size 1 finds the ones that fail)")
    spec = SPECS[mapping.source]
    policy = stream.retry if stream is not None else RetryPolicy(attempts=0)
    attempts = _given(overrides.attempts, 0 if policy.attempts == UNLIMITED else policy.attempts)
    size = _given(overrides.batch_size, mapping.batch.records)
    window = _given(overrides.window, mapping.batch.window)
    return Rules(
        mapping=mapping,
        spec=spec,
        batch=replace(mapping.batch, records=size, window=window, size=mapping.batch.size - (EVENT_ROOM if tumbling else 0)),
        endless=policy.attempts == UNLIMITED and overrides.attempts is None,
        retry=RetryPolicy(attempts=attempts, bisect=_given(overrides.bisect, policy.bisect)),
        lanes=_given(overrides.lanes, stream.lanes if stream is not None else mapping.maximum_concurrency or 10),
        tumbling_window=tumbling,
        report_item_failures=_given(overrides.report_item_failures, mapping.report_item_failures),
        filtered=overrides.filtered,
        envelope=_unwindowed_envelope if mapping.source == "sqs" and window == 0 else envelope,
    )


def default_mapping(source: str, source_arn: str, *, function: str) -> EventSourceMapping:
    """What AWS would make of a mapping that names nothing but its source and function."""
    spec = SPECS[source]
    _, partition, _, region, account, _ = [*source_arn.split(":", 5), *[""] * 6][:6]
    return EventSourceMapping(
        name=f"replay-{function}",
        function=function,
        function_arn=f"arn:{partition or 'aws'}:lambda:{region}:{account}:function:{function}",
        source=source,
        source_arn=source_arn,
        batch=BatchLimits(records=spec.default_batch_size),
        stream=StreamSettings(start=TRIM_HORIZON) if source in STREAMS else None,
    )


def _unwindowed_envelope(records: Sequence[Record]) -> dict[str, Any]:
    """Without a batching window an absent checksum is not shown (SQS-26); recordings always have it."""
    shown = [shown_of(record) for record in records]
    for each in shown:
        if each.get("md5OfMessageAttributes", "") is None:
            del each["md5OfMessageAttributes"]
    return {"Records": shown}


def _given(override: Any, otherwise: Any) -> Any:
    return otherwise if override is None else override


def is_queue(source: str) -> bool:
    return source in QUEUES
