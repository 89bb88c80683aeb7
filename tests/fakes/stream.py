"""A stream in memory, as a `StreamSource`: shards that split, merge, roll over and forget, and readers that come along with it.

Everything happens at the clock it is given and nothing by chance: what shall go wrong is said by the hooks, which are asked each
time. Sequence numbers are one count over all shards, so a hand-written test knows them; `first_sequence=95` makes them change
their length.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

import anyio

from pollers.errors import PositionTrimmed, SourceError, SourceRejected
from pollers.filter_view import FilterView
from pollers.kinesis import SPEC
from pollers.record import Position, PositionKind, Record, RecordId, Shard, ShardPage
from pollers.source import StreamFacts, StreamSpec

STREAM_ARN: Final = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
_SPACE: Final = 2**32


def envelope(records: Sequence[Record]) -> dict[str, Any]:
    return {"Records": [{**record.content, "kinesis": dict(record.content["kinesis"])} for record in records]}


def view_reader(_: frozenset[str]) -> Callable[[Record], dict[str, Any]]:
    return lambda record: SPEC.filter_view.of_event(record.content)


STREAM_SPEC: Final = StreamSpec(
    source="kinesis",
    service="kinesis",
    parameters=frozenset(),
    default_batch_size=100,
    starting_positions=frozenset({PositionKind.TRIM_HORIZON, PositionKind.LATEST, PositionKind.AT_TIMESTAMP}),
    base_interval=1.0,
    calls_per_second=5.0,
    page_limit=10_000,
    envelope=envelope,
    filter_view=FilterView(key="data", plain_text=False, reader=view_reader, of_event=SPEC.filter_view.of_event),
    info_key="KinesisBatchInfo",
    whole_seconds=False,
)


@dataclass
class FakeShard:
    """`spans` are the parts of the key space whose records it takes."""

    id: str
    spans: tuple[tuple[int, int], ...]
    parents: tuple[str, ...] = ()
    closed_at: float | None = None
    records: list[Record] = field(default_factory=list)
    trimmed: int = 0
    """So many records of the front are gone."""
    gone: bool = False
    """No listing shows it any more, and nothing of it can be read."""


@dataclass(frozen=True)
class Read:
    at: float
    shard: str
    limit: int
    sequences: tuple[str, ...]
    ended: bool


@dataclass
class FakeStream:
    """`put`, `split`, `merge`, `roll_over`, `trim`, `forget` happen at once; `reads`, `opens`, `lists` say what was asked, and when."""

    clock: Callable[[], float]
    shard_count: int = 1
    first_sequence: int = 1
    retention: float = 24 * 3600.0
    page_limit: int = 10_000
    iterator_lifetime: float = 300.0
    fail: Callable[[str, str], SourceError | None] = lambda _, __: None
    """Asked with the operation (`describe`, `list`, `open`, `read`) and the shard before each; what it gives is raised."""
    latency: Callable[[str, str], float] = lambda _, __: 0.0
    """Seconds that an operation takes."""
    shorten: Callable[[str, int], int] = lambda _, count: count
    """Asked with the shard and how many records the next page would bring; says how many it does bring (0: an empty page)."""
    repeat: Callable[[str], int] = lambda _: 0
    """How many records that were read already come before the next page's own, as after a request that was sent twice."""
    late_end: Callable[[str], bool] = lambda _: False
    """Whether the end of a shard is told by an empty page of its own, after the one with its last records."""
    youngest_first: bool = False
    """Listings show children before their parents."""
    pushed: bool = False
    """Records are sent without being asked for: a read waits for them, a second at most."""
    shards: dict[str, FakeShard] = field(default_factory=dict)
    readers: list["FakeReader"] = field(default_factory=list)
    puts: list[Record] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    opens: list[tuple[float, str, Position]] = field(default_factory=list)
    lists: list[float] = field(default_factory=list)
    expired: list[tuple[float, str]] = field(default_factory=list)
    """Iterators that had to be taken anew."""
    _sequence: int = 0

    def __post_init__(self) -> None:
        self._sequence = self.first_sequence
        step = _SPACE // self.shard_count
        for index in range(self.shard_count):
            end = _SPACE if index == self.shard_count - 1 else (index + 1) * step
            self._add(((index * step, end),), ())

    # the producer's side

    def put(
        self, key: str, n: int = 1, *, shard: str | None = None, arrived: float | None = None, size: int | None = None
    ) -> list[str]:
        """`n` records of one partition key; into the open shard of the key, or into `shard`. Gives back their sequence numbers."""
        target = self._open(shard) if shard else self.shard_of(key)
        return [self._put(target, key, self.clock() if arrived is None else arrived, size) for _ in range(n)]

    def shard_of(self, key: str) -> FakeShard:
        point = crc32(key.encode())
        return next(
            shard
            for shard in self.shards.values()
            if shard.closed_at is None and any(begin <= point < end for begin, end in shard.spans)
        )

    def split(self, shard: str) -> tuple[str, str]:
        """Close it; two children take half of its keys each. Gives back their ids."""
        parent = self._close(shard)
        if len(parent.spans) > 1:
            low, high = parent.spans[: len(parent.spans) // 2], parent.spans[len(parent.spans) // 2 :]
        else:
            begin, end = parent.spans[0]
            low, high = ((begin, (begin + end) // 2),), (((begin + end) // 2, end),)
        return self._add(low, (shard,)), self._add(high, (shard,))

    def merge(self, first: str, second: str) -> str:
        """Close both; one child takes the keys of both. Gives back its id."""
        spans = self._close(first).spans + self._close(second).spans
        return self._add(tuple(sorted(spans)), (first, second))

    def roll_over(self, shard: str) -> str:
        """Close it; one child goes on with its keys, as DynamoDB does every few hours (DDB-13). Gives back its id."""
        return self._add(self._close(shard).spans, (shard,))

    def trim(self, shard: str, count: int) -> list[str]:
        """The first `count` records that are still there leave the stream before their time. Gives back their sequence numbers."""
        found = self.shards[shard]
        self._expire(found)
        begin = found.trimmed
        found.trimmed = min(begin + count, len(found.records))
        return [record.id for record in found.records[begin : found.trimmed]]

    def forget(self, shard: str) -> None:
        """A closed shard vanishes with everything in it (DDB-15)."""
        found = self.shards[shard]
        assert found.closed_at is not None, f"{shard} is open"
        found.gone, found.trimmed = True, len(found.records)

    def open_shards(self) -> list[str]:
        return [shard.id for shard in self.shards.values() if shard.closed_at is None]

    def sequences(self, shard: str) -> list[str]:
        return [record.id for record in self.shards[shard].records]

    def home(self, sequence: str) -> str:
        """The shard that a record was put into."""
        return next(shard.id for shard in self.shards.values() if any(record.id == sequence for record in shard.records))

    # the reader's side

    async def describe(self) -> StreamFacts:
        await self._ask("describe", "")
        return StreamFacts(retention=self.retention)

    async def list_shards(self) -> list[Shard]:
        self.lists.append(self.clock())
        await self._ask("list", "")
        for shard in self.shards.values():
            self._expire(shard)
        shown = [
            Shard(id=shard.id, parents=shard.parents, closed=shard.closed_at is not None)
            for shard in self.shards.values()
            if not shard.gone
        ]
        return shown[::-1] if self.youngest_first else shown

    async def open_shard(self, shard: str, at: Position) -> "FakeReader":
        self.opens.append((self.clock(), shard, at))
        await self._ask("open", shard)
        found = self.shards.get(shard)
        if found is None or found.gone:
            raise SourceRejected(f"shard {shard}: no such shard", code="ResourceNotFoundException")
        self._expire(found)
        index = self._index(found, at)
        if at.sequence and index < found.trimmed:
            raise PositionTrimmed(f"shard {shard}: the records after {at} are gone", code="TrimmedDataAccessException")
        return FakeReader(self, found, index, moved=bool(at.sequence))

    def _index(self, shard: FakeShard, at: Position) -> int:
        """Of the first record after a position."""
        match at.kind:
            case PositionKind.TRIM_HORIZON:
                return shard.trimmed
            case PositionKind.LATEST:
                return len(shard.records)
            case PositionKind.AT_TIMESTAMP:
                later = (index for index, record in enumerate(shard.records) if record.arrived >= at.timestamp)
                return max(shard.trimmed, next(later, len(shard.records)))
            case PositionKind.AFTER_SEQUENCE_NUMBER:
                later = (index for index, record in enumerate(shard.records) if int(record.id) > int(at.sequence))
                return next(later, len(shard.records))
            case PositionKind.AT_SEQUENCE_NUMBER:
                later = (index for index, record in enumerate(shard.records) if int(record.id) >= int(at.sequence))
                return next(later, len(shard.records))
            case PositionKind.SHARD_END:
                msg = f"shard {shard.id}: there is nothing to read at {at}"
                raise ValueError(msg)

    async def _ask(self, operation: str, shard: str) -> None:
        if seconds := self.latency(operation, shard):
            await anyio.sleep(seconds)
        else:
            await anyio.lowlevel.checkpoint()
        if (error := self.fail(operation, shard)) is not None:
            raise error

    def _expire(self, shard: FakeShard) -> None:
        horizon = self.clock() - self.retention
        while shard.trimmed < len(shard.records) and shard.records[shard.trimmed].arrived < horizon:
            shard.trimmed += 1
        if shard.closed_at is not None and shard.closed_at < horizon and shard.trimmed == len(shard.records):
            shard.gone = True

    def _add(self, spans: tuple[tuple[int, int], ...], parents: tuple[str, ...]) -> str:
        shard = FakeShard(id=f"shardId-{len(self.shards):012}", spans=spans, parents=parents)
        self.shards[shard.id] = shard
        return shard.id

    def _open(self, shard: str) -> FakeShard:
        found = self.shards[shard]
        assert found.closed_at is None, f"{shard} is closed"
        return found

    def _close(self, shard: str) -> FakeShard:
        found = self._open(shard)
        found.closed_at = self.clock()
        return found

    def _put(self, shard: FakeShard, key: str, arrived: float, size: int | None) -> str:
        sequence = str(self._sequence)
        self._sequence += 1
        data = {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": key,
            "sequenceNumber": sequence,
            "data": base64.b64encode(sequence.encode()).decode(),
            "approximateArrivalTimestamp": round(arrived, 3),
        }
        event = {"kinesis": data, "eventSource": "aws:kinesis", "eventID": f"{shard.id}:{sequence}", "eventSourceARN": STREAM_ARN}
        record = Record(id=RecordId(sequence), content=event, size=size or 300, arrived=arrived, group=key)
        shard.records.append(record)
        self.puts.append(record)
        return sequence


class FakeReader:
    """A `ShardReader`. An iterator that is older than its life is taken anew after the last record, as real readers do."""

    def __init__(self, stream: FakeStream, shard: FakeShard, index: int, *, moved: bool) -> None:
        self._stream = stream
        self._shard = shard
        self._index = self._began = index
        self._moved = moved
        """It stands behind a record, so a gap can be noticed."""
        self._taken = stream.clock()
        self.closed = False
        stream.readers.append(self)

    async def read(self, *, limit: int) -> ShardPage:
        stream, shard = self._stream, self._shard
        assert 1 <= limit <= 10_000, limit
        await stream._ask("read", shard.id)
        if stream.pushed:
            with anyio.move_on_after(1.0):
                while self._index >= len(shard.records) and shard.closed_at is None:  # noqa: ASYNC110  # the clock is virtual
                    await anyio.sleep(0.01)
        # everything below happens at once: a cancelled read has moved nothing
        now = stream.clock()
        if now - self._taken > stream.iterator_lifetime:
            stream.expired.append((now, shard.id))
        self._taken = now
        self._pass_trimmed()
        repeated = max(0, min(stream.repeat(shard.id), limit - 1, self._index - max(self._began, shard.trimmed)))
        room = min(limit - repeated, stream.page_limit, len(shard.records) - self._index)
        end = self._index + max(0, min(room, stream.shorten(shard.id, room)))
        page = tuple(shard.records[self._index - repeated : end])
        self._moved = self._moved or end > self._index
        had_more, self._index = end > self._index, end
        last = end == len(shard.records)
        ended = last and shard.closed_at is not None and not (had_more and stream.late_end(shard.id))
        stream.reads.append(Read(now, shard.id, limit, tuple(record.id for record in page), ended))
        behind = 0.0 if last else max(0.0, now - shard.records[end].arrived)
        size = sum(record.size for record in page)
        return ShardPage(records=page, ended=ended, more=not last, behind=behind, size=size, pushed=stream.pushed)

    def close(self) -> None:
        self.closed = True

    def _pass_trimmed(self) -> None:
        """Raises PositionTrimmed when records went that this reader had not read yet."""
        self._stream._expire(self._shard)
        if self._index < self._shard.trimmed:
            if self._moved or self._shard.gone:
                text = f"shard {self._shard.id}: records went before they were read"
                raise PositionTrimmed(text, code="TrimmedDataAccessException")
            self._index = self._began = self._shard.trimmed
