"""The Protocols that a source implements, and what the rest of the program knows of a source without opening it.

A queue acknowledges records one by one. A stream is ordered per shard, and its progress is a position.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pollers.filter_view import FilterView
from pollers.record import Position, PositionKind, Record, Shard, ShardPage


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """What a queue says of itself."""

    visibility_timeout: int
    """Seconds for which a received record stays hidden from others."""
    redrive: bool
    """Whether a record that keeps failing ends in a dead-letter queue."""
    max_receives: int | None = None
    """After so many receives it goes there with the next one; None: there is no such limit, or the queue does not say."""
    waiting: int = 0
    """About how many records wait to be received."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The queue refused an operation on one record."""

    record: Record
    code: str
    """The service's error code."""
    message: str
    gone: bool
    """The record is no longer ours: deleted by somebody else, or visible again. Asking once more cannot help."""


class QueueSource(Protocol):
    """One open queue. Safe for concurrent calls. Raises `SourceError` and nothing else of its own."""

    async def describe(self) -> QueueFacts: ...

    async def receive(self, *, limit: int, wait: int, visibility: int | None) -> Sequence[Record]:
        """At most `limit` (1-10) records, as soon as there is one, after at most `wait` (0-20) seconds.

        `visibility`: hide them for so many seconds; None leaves it to the queue's own timeout.
        Not to be cancelled: what a cancelled receive had been given is invisible to everybody until its timeout.
        """
        ...

    async def delete(self, records: Sequence[Record]) -> list[Refusal]:
        """Delete any number of records; gives back those that were not deleted."""
        ...

    async def extend(self, records: Sequence[Record], seconds: int) -> list[Refusal]:
        """Hide the records for `seconds` from now; 0 gives them back at once. Gives back those that were refused."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """What the rest must know of a kind of queue: one row of `pollers.SPECS`."""

    source: str
    """The word in metric labels (`sqs`)."""
    service: str
    """The service part of its ARNs."""
    parameters: frozenset[str]
    """The mapping parameters that it accepts (AWS's names)."""
    default_batch_size: int
    envelope: Callable[[Sequence[Record]], dict[str, Any]]
    """The Lambda event for a batch."""
    filter_view: FilterView
    """How its records stand before FilterCriteria."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What a stream says of itself."""

    retention: float
    """Seconds for which a record can be read."""


class ShardReader(Protocol):
    """One shard, read from where it was opened. Not safe for concurrent calls."""

    async def read(self, *, limit: int) -> ShardPage:
        """The next records, at most `limit` (1-10,000; the source may bring fewer), without waiting for any.

        A reader whose last page was `pushed` waits for records instead, for about a second.
        An iterator that expired is taken anew after the last record that a read brought, so nothing is lost or seen twice.
        Raises `SourceError`; after `PositionTrimmed` the reader is of no more use, after any other the same read may be
        asked again. Cancelling it loses nothing: the next read brings the same records.
        """
        ...

    def close(self) -> None:
        """Nothing more is read: give back what the reader holds at the service. May be called twice, and beside a read."""
        ...


class StreamSource(Protocol):
    """One open stream. Safe for concurrent calls. Raises `SourceError` and nothing else of its own."""

    async def describe(self) -> StreamFacts: ...

    async def list_shards(self) -> list[Shard]:
        """All shards that can still be read, closed ones too; all pages of them."""
        ...

    async def open_shard(self, shard: str, at: Position) -> ShardReader:
        """Begin to read at a position (any but SHARD_END). LATEST is now: what is put after the call is read.

        AT_TIMESTAMP works for every stream: where the service has no such position, older records are skipped.
        Raises PositionTrimmed when the records after the position are gone.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """What the rest must know of a kind of stream: one row of `pollers.SPECS`."""

    source: str
    """The word in metric labels (`kinesis`)."""
    service: str
    """The service part of its ARNs."""
    parameters: frozenset[str]
    """The mapping parameters that it accepts (AWS's names)."""
    default_batch_size: int
    starting_positions: frozenset[PositionKind]
    base_interval: float
    """Seconds between reads of a shard that has nothing more (KIN-10, DDB-10)."""
    calls_per_second: float
    """Reads of one shard that the service allows for all its readers together (KIN-12)."""
    page_limit: int
    """Records that one read brings at most."""
    envelope: Callable[[Sequence[Record]], dict[str, Any]]
    """The Lambda event for a batch. Every call makes values of its own: a handler may change what it is given."""
    filter_view: FilterView
    """How its records stand before FilterCriteria."""
    info_key: str
    """What a failure record calls its part about the batch (DST-21)."""
    whole_seconds: bool
    """Whether a failure record shows arrival times in whole seconds (DST-32) or with milliseconds (DST-31)."""
    expand: Callable[[Sequence[Record]], Sequence[Record]] | None = None
    """Makes of what was read what is delivered: every record becomes one or more. None: they are the same."""
