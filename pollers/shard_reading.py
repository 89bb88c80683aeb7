"""Reading one shard by iterators, as Kinesis and DynamoDB Streams have it.

The law: the position is that of the last record which a read brought, and nothing moves before a page is complete. So a read that
failed or was cancelled can be asked again, and an iterator that expired is taken anew without loss and without repetition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile
from math import floor
from typing import Final, Protocol

from pollers.errors import SourceError, SourceRejected, SourceUnavailable
from pollers.record import Position, PositionKind, Record, ShardPage

STALE: Final = frozenset({
    "ExpiredIteratorException", "InvalidArgumentException", "ValidationException", "ResourceNotFoundException",
})  # fmt: skip
"""Codes for an iterator that is of no more use. Two are what servers say of one that they do not know any more; the last is what
they say when the stream was made again under its name: a new iterator then tells the difference."""

FOREIGN: Final = "foreign_position"


@dataclass(frozen=True, slots=True, kw_only=True)
class IteratorPage:
    """What one GetRecords brought."""

    records: Sequence[Record]
    next_iterator: str | None
    """None at the end of the shard."""
    more: bool = False
    behind: float | None = None
    size: int = 0
    """As `ShardPage`."""


class IteratorStream(Protocol):
    """The shards of a stream as its service shows them. Raises SourceError."""

    precision: int
    """The service tells arrival times in so many parts of a second."""

    async def take_iterator(self, shard: str, at: Position) -> str:
        """AT_TIMESTAMP may begin too early. Raises PositionTrimmed."""
        ...

    async def take_page(self, shard: str, iterator: str, *, limit: int, at: Position) -> IteratorPage:
        """`at`: where the reader stands, for telling whether the records there are gone (PositionTrimmed)."""
        ...


async def open_reader(stream: IteratorStream, shard: str, at: Position, *, now: float) -> "IteratorReader":
    """A `ShardReader`. `now`: the wall clock; a reader at LATEST that loses its iterator goes back to it."""
    if at.kind is PositionKind.SHARD_END:
        msg = "a shard that was read to its end is not opened again"
        raise ValueError(msg)
    iterator = await stream.take_iterator(shard, at)
    return IteratorReader(stream, shard, iterator, Position.at(now) if at.kind is PositionKind.LATEST else at)


class IteratorReader:
    """One shard, as a `ShardReader`."""

    def __init__(self, stream: IteratorStream, shard: str, iterator: str, position: Position) -> None:
        self._stream = stream
        self._shard = shard
        self._iterator: str | None = iterator
        self._position = position

    async def read(self, *, limit: int) -> ShardPage:
        if self._iterator is None:
            return ShardPage(ended=True)
        page = await self._page(self._iterator, limit)
        records = beyond(page.records, self._position, precision=self._stream.precision)
        if records:
            self._position = Position.after(records[-1].id)
        self._iterator = page.next_iterator
        ended = page.next_iterator is None
        return ShardPage(records=tuple(records), ended=ended, more=page.more, behind=page.behind, size=page.size)

    async def _page(self, iterator: str, limit: int) -> IteratorPage:
        """Takes one new iterator if the old one is stale, never a second: a service that refuses those too is in trouble."""
        try:
            return await self._stream.take_page(self._shard, iterator, limit=limit, at=self._position)
        except SourceError as error:
            if error.code not in STALE:
                raise
            self._iterator = iterator = await self._stream.take_iterator(self._shard, self._position)
            return await self._stream.take_page(self._shard, iterator, limit=limit, at=self._position)

    def close(self) -> None:
        """An iterator is nothing that the service minds."""


def beyond(records: Sequence[Record], at: Position, *, precision: int) -> Sequence[Record]:
    """Without what lies before the position: repeated pages, and records older than AT_TIMESTAMP.

    `precision`: the service tells arrival times in so many parts of a second.
    """
    if at.kind is PositionKind.AFTER_SEQUENCE_NUMBER:
        last = int(at.sequence)
        if records and int(records[0].id) <= last:
            return [record for record in records if int(record.id) > last]
    elif at.kind is PositionKind.AT_SEQUENCE_NUMBER:
        first = int(at.sequence)
        return [record for record in records if int(record.id) >= first]
    elif at.kind is PositionKind.AT_TIMESTAMP:
        since = floor(at.timestamp * precision) / precision
        return list(dropwhile(lambda record: record.arrived < since, records))
    return records


def foreign_position(error: SourceError, at: Position, *, stream: str) -> SourceRejected:
    """What a service means that refuses a sequence number: it does not come from this stream."""
    if at.kind is PositionKind.AT_SEQUENCE_NUMBER:  # nobody keeps these: somebody gave it
        return SourceRejected(f"{error}: {at} is no sequence number of this shard of {stream}", code="foreign_position")
    return SourceRejected(
        f"{error}: the position kept for this shard is not of {stream}, which was probably deleted and made again under its"
        " name: delete the mapping's positions, or give the mapping another name, and it begins at its StartingPosition",
        code=FOREIGN,
    )


def check_sequences(sequences: Sequence[str]) -> None:
    """ValueError if one is none: they are compared as numbers (KIN-22)."""
    if sequences and not ("".join(sequences).encode("utf-8", "surrogatepass").isdigit() and all(sequences)):
        wrong = next(text for text in sequences if not (text.isascii() and text.isdigit()))
        msg = f"{wrong!r} is no sequence number"
        raise ValueError(msg)


def no_page(error: ValueError, *, on: str) -> SourceUnavailable:
    """A page that cannot be read."""
    return SourceUnavailable(f"GetRecords on {on}: 200, but the answer could not be understood: {error}", code="malformed_answer")
