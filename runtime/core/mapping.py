"""What a mapping is, and the states it goes through.

An `EventSourceMapping` is complete and valid: `runtime.config` fills in AWS's defaults and lets nothing else through.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pollers.record import Position
from runtime.core.filtering import FilterCriteria

MAX_EVENT_BYTES: Final = 6 * 1024 * 1024
"""The synchronous request limit: no event is larger (COM-12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """When a batch is released: at the first of these (COM-10)."""

    records: int
    """BatchSize."""
    window: int = 0
    """MaximumBatchingWindowInSeconds; 0 releases what one poll returned."""
    size: int = MAX_EVENT_BYTES
    """Bytes of the serialised event, envelope included."""


UNLIMITED: Final = -1
"""AWS's word for no limit on retries or age (COM-72)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed batch of a stream is given up (COM-70)."""

    attempts: int = UNLIMITED
    """MaximumRetryAttempts: retries after the first invocation (COM-71), -1 or 0-10,000."""
    age: int = UNLIMITED
    """MaximumRecordAgeInSeconds: -1 or 60-604,800."""
    bisect: bool = False
    """BisectBatchOnFunctionError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """What only mappings of streams have."""

    start: Position
    """StartingPosition: TRIM_HORIZON, LATEST or AT_TIMESTAMP, for the shards that exist when the mapping first runs (COM-69)."""
    retry: RetryPolicy = RetryPolicy()
    lanes: int = 1
    """ParallelizationFactor: most batches of a shard at once (COM-60, COM-61)."""
    tumbling_window: int = 0
    """TumblingWindowInSeconds; 0 is off (COM-90)."""
    destination: str | None = None
    """ARN of the on-failure destination."""
    read_share: float = 1.0
    """The part of the service's read rate of a shard that is ours, 0 < share <= 1; the rest is for other readers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSourceMapping:
    """One source tied to one function (COM-04)."""

    name: str
    function: str
    """A key of `functions`."""
    function_arn: str
    """As invoked: unqualified, or with the qualifier that `FunctionName` gave (COM-44, API-43)."""
    source: str
    """A key of `pollers.SPECS`."""
    source_arn: str
    batch: BatchLimits
    enabled: bool = True
    report_item_failures: bool = False
    """FunctionResponseTypes has ReportBatchItemFailures."""
    maximum_concurrency: int | None = None
    """ScalingConfig.MaximumConcurrency: most batches of this mapping at once."""
    stream: StreamSettings | None = None
    """None for queues."""
    criteria: FilterCriteria | None = None
    """Which records the function gets; None: all of them."""

    @property
    def fifo(self) -> bool:
        """A FIFO queue: its name says so, by AWS's rule."""
        return self.source == "sqs" and self.source_arn.endswith(".fifo")

    @property
    def region(self) -> str:
        return self.source_arn.split(":")[3]


class MappingState(StrEnum):
    """AWS's words (API-50) for where a mapping stands; those of the control plane's own transitions join with a control plane."""

    CREATING = "Creating"
    """Started; the source has not answered yet."""
    ENABLED = "Enabled"
    """The source answered the last request that had an answer."""
    DISABLING = "Disabling"
    """The intake is closed; work in flight goes on."""
    DISABLED = "Disabled"
    """Not polled: by configuration, or after the drain."""


TRANSITIONS: Final[dict[MappingState, frozenset[MappingState]]] = {
    MappingState.CREATING: frozenset({MappingState.ENABLED, MappingState.DISABLING}),
    MappingState.ENABLED: frozenset({MappingState.DISABLING, MappingState.CREATING}),
    MappingState.DISABLING: frozenset({MappingState.DISABLED}),
    MappingState.DISABLED: frozenset(),
}
"""Enabled -> Creating is a restart after a crash."""
