"""The Protocols that a source implements, and what the rest of the program knows of a source without opening it.

A queue acknowledges records one by one. (A stream is ordered per shard and its progress is a position; its Protocols join here.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pollers.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """What a queue says of itself."""

    visibility_timeout: int
    """Seconds for which a received record stays hidden from others."""
    redrive: bool
    """Whether a record that keeps failing ends in a dead-letter queue."""
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

    async def receive(self, *, limit: int, wait: int, visibility: int | None) -> list[Record]:
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
