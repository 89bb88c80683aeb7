"""One shard: an ordered log with a range of hash keys, which is closed one day and trimmed from its beginning."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple

from runtime.local.kinesis.sequence import LAST, Sequence

LARGEST_PAGE: Final = 10 * 1024 * 1024
"""Bytes of records that one GetRecords brings at most (KIN-12). No record is larger."""
PAUSE_AFTER_LARGEST: Final = 5000
"""Milliseconds for which a shard refuses reads after a page of that size (KIN-12), where reads are limited."""
_SECOND: Final = 1000


class Range(NamedTuple):
    """Hash keys, both ends included."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """`data` is base64 text as it came; `arrived` in milliseconds since the epoch; `size` of data and key in bytes."""

    sequence: int
    arrived: int
    key: str
    data: str
    size: int

    def as_json(self) -> dict[str, Any]:
        return {
            "SequenceNumber": str(self.sequence),
            "ApproximateArrivalTimestamp": self.arrived / 1000,
            "Data": self.data,
            "PartitionKey": self.key,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one read brings. `next` is the position behind it, None at the end of a closed shard."""

    records: list[StoredRecord]
    next: int | None
    behind: int
    """Milliseconds."""
    full: bool
    """Cut because of its bytes."""


class LocalShard:
    """One shard. Times in milliseconds since the epoch. Positions are sequence numbers, of records or between them."""

    def __init__(self, number: int, keys: Range, *, now: int, made: int, parents: tuple[str, ...] = ()) -> None:
        self.number = number
        self.id = f"shardId-{number:012}"
        self.keys = keys
        self.parents = parents
        self.made = made
        """In seconds: part of every sequence number."""
        self.opened = now
        self.closed: int | None = None
        self.children: list[LocalShard] = []
        self.records: list[StoredRecord] = []
        """What is not trimmed, oldest first."""
        self.trimmed = 0
        """How many records were."""
        self.trimmed_to = 0
        """The sequence number of the last of them."""
        self._count = 0
        self._arrived = 0
        self._reads: deque[int] = deque()
        self._paused_until = 0

    @property
    def start(self) -> int:
        """Its starting sequence number, below every record's."""
        return Sequence(made=self.made, shard=self.number, count=0, second=self.made).number

    @property
    def end(self) -> int | None:
        """Its ending sequence number, above every record's; None while it is open."""
        if self.closed is None:
            return None
        return Sequence(made=self.made, shard=self.number, count=LAST, second=self.closed // _SECOND).number

    @property
    def tip(self) -> int:
        """The position behind all records."""
        return Sequence(made=self.made, shard=self.number, count=self._count + 1).number

    @property
    def last(self) -> int:
        """The sequence number of the newest record that it ever took; its start if it took none."""
        if not self._count:
            return self.start
        return Sequence(made=self.made, shard=self.number, count=self._count, second=self._arrived // _SECOND).number

    def put(self, *, key: str, data: str, size: int, now: int) -> StoredRecord:
        self._count += 1
        self._arrived = max(now, self._arrived)
        sequence = Sequence(made=self.made, shard=self.number, count=self._count, second=self._arrived // _SECOND).number
        record = StoredRecord(sequence=sequence, arrived=self._arrived, key=key, data=data, size=size)
        self.records.append(record)
        return record

    def close(self, now: int, children: "list[LocalShard]") -> None:
        self.closed = now
        self.children = children

    def trim(self, count: int) -> None:
        """Forgets the oldest records; `count` may be more than there are."""
        gone = self.records[:count]
        if gone:
            self.trimmed += len(gone)
            self.trimmed_to = gone[-1].sequence
            del self.records[:count]

    def older_than(self, arrived: float) -> int:
        """How many of the records arrived before a moment."""
        return bisect_left(self.records, arrived, key=attrgetter("arrived"))

    def position_at(self, arrived: int) -> int:
        """The first record that arrived then or later, or what comes next."""
        index = self.older_than(arrived)
        return self.records[index].sequence if index < len(self.records) else self.tip

    def read(self, position: int, *, limit: int, now: int) -> Page:
        """From a position on; what was trimmed is passed over.

        The end is told on a page of its own, by an empty one, as AWS was recorded to do.
        """
        first = bisect_left(self.records, position, key=attrgetter("sequence"))
        records: list[StoredRecord] = []
        size, full = 0, False
        for record in self.records[first : first + limit]:
            size += record.size
            if size > LARGEST_PAGE:
                full = True
                break
            records.append(record)
        if records:
            rest = len(self.records) - first - len(records)
            behind = max(1, now - records[-1].arrived) if rest else 0
            return Page(records=records, next=records[-1].sequence + 1, behind=behind, full=full)
        following = max(position, self.tip) if self.closed is None else None
        return Page(records=[], next=following, behind=0, full=False)

    def has_lost(self, position: int) -> bool:
        """Whether a record from this place on was trimmed; the shard's start, which TRIM_HORIZON stands for, loses nothing."""
        return self.start < position <= self.trimmed_to

    def behind(self, position: int, now: int) -> int:
        """MillisBehindLatest of a read that brings nothing: of the next record that waits, if any."""
        first = bisect_left(self.records, position, key=attrgetter("sequence"))
        return max(1, now - self.records[first].arrived) if first < len(self.records) else 0

    def admit(self, now: int, *, most: float) -> bool:
        """Whether one more read fits into this second, counted if so. `most` reads a second."""
        while self._reads and self._reads[0] <= now - _SECOND:
            self._reads.popleft()
        if len(self._reads) >= most or now < self._paused_until:
            return False
        self._reads.append(now)
        return True

    def pause(self, now: int) -> None:
        """After a page of the largest size."""
        self._paused_until = now + PAUSE_AFTER_LARGEST
