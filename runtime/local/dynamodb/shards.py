"""One shard of a table's stream, pure: its records in sequence order, what was trimmed, whether it is closed.

A record leaves the shard 24 hours after it came (DDB-12). A shard that was closed 24 hours ago has vanished, with all in it.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Final

RETENTION: Final = 24 * 3600.0
"""Seconds for which a record, and a closed shard, can be read."""
MOST_RECORDS: Final = 1000
MOST_BYTES: Final = 1024 * 1024
"""Of one GetRecords answer, counted by SizeBytes (DDB-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """One change of an item; `body` is the record as GetRecords gives it."""

    sequence: int
    created: float
    size: int
    body: dict[str, Any]


class Trimmed(Exception):
    """The records at a position are gone."""


class Shard:
    """`low` and `high` bound the key hashes that it takes, `high` excluded."""

    def __init__(self, *, shard_id: str, parent: str | None, low: int, high: int, start: int) -> None:
        self.id = shard_id
        self.parent = parent
        self.low = low
        self.high = high
        self.start = start
        """Its first sequence number; records come after it."""
        self.end: int | None = None
        """Its last sequence number, once it is closed."""
        self.closed_at = 0.0
        self.records: list[StreamRecord] = []
        self._trimmed = 0
        """The sequence number of the last record that was trimmed."""

    @property
    def closed(self) -> bool:
        return self.end is not None

    def close(self, *, end: int, now: float) -> None:
        self.end = end
        self.closed_at = now

    def has_vanished(self, now: float) -> bool:
        return self.closed and self.closed_at + RETENTION <= now

    def trim(self, before: float) -> None:
        """Drops the records that came at `before` or earlier."""
        gone = 0
        while gone < len(self.records) and self.records[gone].created <= before:
            gone += 1
        if gone:
            self._trimmed = self.records[gone - 1].sequence
            del self.records[:gone]

    def horizon(self) -> int:
        """The sequence number at which TRIM_HORIZON begins."""
        return max(self.start, self._trimmed + 1)

    def at_time(self, timestamp: float) -> int:
        """The sequence number of the first record whose ApproximateCreationDateTime, in whole seconds, is at or after it."""
        found = next((record.sequence for record in self.records if int(record.created) >= timestamp), None)
        if found is not None:
            return found
        return self.records[-1].sequence + 1 if self.records else self.horizon()

    def check_not_trimmed(self, sequence: int) -> None:
        """Raises Trimmed for a sequence number that is not after the last trimmed record."""
        if sequence <= self._trimmed:
            raise Trimmed

    def read(self, at: int, limit: int) -> tuple[list[StreamRecord], int | None]:
        """The records from sequence number `at`, and where to go on; None at the end of a closed shard. Raises Trimmed."""
        self.check_not_trimmed(at)
        first = bisect_left(self.records, at, key=lambda record: record.sequence)
        last, size = first, 0
        while last < min(len(self.records), first + limit, first + MOST_RECORDS):
            size += self.records[last].size
            if size > MOST_BYTES and last > first:
                break
            last += 1
        page = self.records[first:last]
        if self.closed and last == len(self.records):
            return page, None
        return page, page[-1].sequence + 1 if page else at
