"""What every source gives: records, and for streams the shards and positions they come from. Frozen values.

A source fills them once and nobody changes them.
"""

from enum import StrEnum
from typing import Any, NewType, Self

import msgspec

RecordId = NewType("RecordId", str)
"""How a handler names a record in `itemIdentifier`: the message id of a queue, the sequence number of a stream.

User records of one aggregate (`pollers.kinesis_aggregates`) share a sequence number; theirs has the place after a colon.
"""


def sequence_of(record: RecordId) -> str:
    """The sequence number of a record of a stream: for one of an aggregate (`4962...:7`) that of the aggregate."""
    return record.partition(":")[0]


class Record(msgspec.Struct, kw_only=True, gc=False):
    """One item of a batch. Its source fills it, once, and nobody changes it."""

    id: RecordId
    content: Any
    """What the `envelope` of the source makes its part of the Lambda event from (`spec/events/`); nobody else looks into it."""
    size: int
    """Bytes of that part as compact UTF-8 JSON, or a few more: what counts against the request limit (COM-11)."""
    arrived: float
    """When the record entered the source: seconds since the epoch, by the source's clock; 0 where the source does not say."""
    group: str | None = None
    """What order is kept by (a message group, a partition key); None where there is no order."""
    handle: str = ""
    """How the source knows this delivery of the record (the receipt handle of a queue)."""


class PositionKind(StrEnum):
    """AWS's words, and ours for a position that a record left behind."""

    AT_TIMESTAMP = "AT_TIMESTAMP"
    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"
    AT_SEQUENCE_NUMBER = "AT_SEQUENCE_NUMBER"
    """Where reading begins, never how far a shard is done."""
    AFTER_SEQUENCE_NUMBER = "AFTER_SEQUENCE_NUMBER"
    SHARD_END = "SHARD_END"
    """The shard has ended and everything in it is done: nothing is left to read."""


class Position(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where reading a shard begins, or how far it is done. Its text form is what checkpoints are kept as."""

    kind: PositionKind
    sequence: str = ""
    """AT_ and AFTER_SEQUENCE_NUMBER: decimal digits, compared numerically (KIN-22)."""
    timestamp: float = 0.0
    """AT_TIMESTAMP: seconds since the epoch."""

    @classmethod
    def after(cls, sequence: str) -> Self:
        return cls(kind=PositionKind.AFTER_SEQUENCE_NUMBER, sequence=sequence)

    @classmethod
    def at_record(cls, sequence: str) -> Self:
        """With this record as the first."""
        return cls(kind=PositionKind.AT_SEQUENCE_NUMBER, sequence=sequence)

    @classmethod
    def at(cls, timestamp: float) -> Self:
        return cls(kind=PositionKind.AT_TIMESTAMP, timestamp=timestamp)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reverse of `str`. Raises ValueError."""
        if text.isascii() and text.isdigit():
            return cls.after(text)
        word, _, rest = text.partition(" ")
        kind = PositionKind(word)
        if kind in _BY_SEQUENCE or bool(rest) is not (kind is PositionKind.AT_TIMESTAMP):
            msg = f"{text!r} is no position"
            raise ValueError(msg)
        return cls(kind=kind, timestamp=float(rest or 0))

    def __str__(self) -> str:
        """`TRIM_HORIZON`, `LATEST`, `SHARD_END`, `AT_TIMESTAMP 1545084650.987`, or the digits of a sequence number."""
        if self.kind in _BY_SEQUENCE:
            return self.sequence
        return f"{self.kind} {self.timestamp!r}" if self.kind is PositionKind.AT_TIMESTAMP else self.kind.value

    @property
    def order(self) -> tuple[int, int, float]:
        """For comparing how far two positions of one shard are: a checkpoint never goes back."""
        number = int(self.sequence) if self.sequence else 0
        return (_ORDER[self.kind], number, self.timestamp)


_BY_SEQUENCE = frozenset({PositionKind.AT_SEQUENCE_NUMBER, PositionKind.AFTER_SEQUENCE_NUMBER})
_ORDER = {
    PositionKind.AT_TIMESTAMP: 0,
    PositionKind.TRIM_HORIZON: 0,
    PositionKind.LATEST: 0,
    PositionKind.AT_SEQUENCE_NUMBER: 1,
    PositionKind.AFTER_SEQUENCE_NUMBER: 1,
    PositionKind.SHARD_END: 2,
}

TRIM_HORIZON = Position(kind=PositionKind.TRIM_HORIZON)
LATEST = Position(kind=PositionKind.LATEST)
SHARD_END = Position(kind=PositionKind.SHARD_END)


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One ordered part of a stream, as a listing shows it."""

    id: str
    parents: tuple[str, ...] = ()
    """Shards whose records come before its own: one after a split or a roll-over, two after a merge (KIN-40, DDB-13)."""
    closed: bool = False
    """It takes no more records; what it holds can still be read."""
    keys: tuple[int, int] | None = None
    """The first and the last hash key of its records, where the service says."""


class ShardPage(msgspec.Struct, frozen=True, kw_only=True):
    """What one read brought."""

    records: tuple[Record, ...] = ()
    """In the order of their sequence numbers. Empty says nothing about the end (KIN-16)."""
    ended: bool = False
    """The shard was read to its end."""
    more: bool = False
    """More is known to wait, so the next read need not wait either."""
    behind: float | None = None
    """Seconds behind the newest record of the shard, where the source says (MillisBehindLatest)."""
    size: int = 0
    """About how many bytes of data came, as the service counts them."""
    pushed: bool = False
    """What comes next is sent without being asked for, and the next read waits for it by itself: it needs no pace."""
