"""What a mapping of a stream is put together from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import anyio

from handlers.destinations import FailureDestination
from handlers.invoker import FunctionSpec, Invoker
from pollers.record import PositionKind
from pollers.source import StreamSource, StreamSpec
from runtime.core.mapping import EventSourceMapping, StreamSettings
from runtime.drain import Drain
from runtime.fleet_rows import FleetRows
from runtime.leases import LeaseStore
from runtime.places import Places
from runtime.status import MappingStatus
from runtime.telemetry import MappingTelemetry

MOST_READS: Final = 256
"""Pages that arrive together are decoded one after the other, and meanwhile nothing else turns, no renewal of a lease either.

Far more than are ever in the air unless many hang, so that those do not keep the others waiting.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamParts:
    """One mapping's. Times in seconds."""

    mapping: EventSourceMapping
    function: FunctionSpec
    spec: StreamSpec
    source: StreamSource
    invoker: Invoker
    destination: FailureDestination | None
    store: LeaseStore
    fleet: FleetRows | None = None
    """Set where workers share shards through a leader; else each plans alone."""
    worker: str
    """Our name on leases."""
    load: Callable[[], tuple[float, ...]] = tuple
    """The last values of the processor's load in percent; none where it is not known."""
    limiter: anyio.CapacityLimiter | None
    """What all mappings of the function share (ReservedConcurrentExecutions)."""
    drain: Drain
    status: MappingStatus
    telemetry: MappingTelemetry
    clock: Callable[[], float]
    """The wall clock, for the age of records."""
    jitter: Callable[[], float]
    reads: Places = field(default_factory=lambda: Places(MOST_READS))
    """Reads of shards at once."""
    failover: float = 10.0
    """How long the counter of a lease must stand still until another worker may take it."""
    watchdog: float = 300.0
    """Without a sign of life for so long, a shard is restarted."""
    block_on_destination_failure: bool = False
    """Keep the shard, instead of dropping records, while the destination takes nothing."""
    settings: StreamSettings = field(init=False)

    def __post_init__(self) -> None:
        if self.mapping.stream is None:
            msg = f"mapping {self.mapping.name} is not that of a stream"
            raise ValueError(msg)
        object.__setattr__(self, "settings", self.mapping.stream)

    @property
    def scope(self) -> str:
        """Whose leases these are (`Lease.scope`)."""
        return scope_of(self.mapping)


def scope_of(mapping: EventSourceMapping) -> str:
    """By the stream: a mapping keeps its positions from one consumer to the next."""
    return f"{mapping.name} {mapping.source_arn.partition('/consumer/')[0]}"


def starts_of(mappings: Iterable[EventSourceMapping]) -> dict[str, float]:
    """By name the StartingPositionTimestamp of those that have one."""
    starts = {mapping.name: mapping.stream.start for mapping in mappings if mapping.stream is not None}
    return {name: start.timestamp for name, start in starts.items() if start.kind is PositionKind.AT_TIMESTAMP}
