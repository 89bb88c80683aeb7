"""Copies what a source gives into a recording: of a stream beside its readers, of a queue by peeking without deleting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from pollers.errors import PositionTrimmed
from pollers.record import Record, Shard, ShardPage
from pollers.recording import RecordingWriter
from pollers.source import QueueSource, QueueSpec, Refusal, StreamSpec

_TEN: Final = 10
_LAST_WORD: Final = 10.0
"""Seconds for giving messages back when the copying is cut short."""


@dataclass(slots=True, kw_only=True)
class Recorder:
    """What all ways of recording have in common. `enough` is set once as many records as were asked for are written."""

    writer: RecordingWriter
    clock: Callable[[], float]
    """Seconds since the epoch."""
    most: int | None = None
    enough: anyio.Event = field(default_factory=anyio.Event)
    problems: list[str] = field(default_factory=list)
    first_arrived: float = 0.0
    last_arrived: float = 0.0

    @property
    def room(self) -> int:
        return 10_000 if self.most is None else self.most - self.writer.records

    def write(self, records: Sequence[Record], shown: Sequence[dict[str, Any]], *, shard: str = "") -> None:
        received = self.clock()
        for record, event in zip(records[: self.room], shown, strict=False):
            encryption = getattr(record, "encryption", None)
            more = {"encryption": encryption} if encryption else {}
            self.writer.add(event, shard=shard, position=record.id, arrived=record.arrived, received=received, **more)
            if record.arrived:
                self.first_arrived = min(self.first_arrived or record.arrived, record.arrived)
                self.last_arrived = max(self.last_arrived, record.arrived)
        self.writer.flush()
        if self.room <= 0:
            self.enough.set()


@dataclass(slots=True, kw_only=True)
class StreamRecorder(Recorder):
    """A `Taker` of `read_stream`."""

    spec: StreamSpec
    behind: float | None = None

    async def begin(self, shard: Shard) -> None:
        self.writer.begin_shard(shard.id, shard.parents)

    async def take(self, shard: Shard, page: ShardPage, records: Sequence[Record]) -> None:
        self.behind = page.behind
        if records and self.room > 0:
            self.write(records, self.spec.envelope(records)["Records"], shard=shard.id)

    async def end(self, shard: Shard) -> None:
        """The next shards may come."""

    def trimmed(self, shard: Shard, error: PositionTrimmed) -> None:
        self.problems.append(f"shard {shard.id}: {error}: recorded from the oldest record that is left")


@dataclass(slots=True, kw_only=True)
class QueueRecorder(Recorder):
    """Receives until the queue shows nothing more, and gives everything back at once, the last first."""

    spec: QueueSpec
    queue: QueueSource
    hide: int
    """Seconds for which messages are hidden while others are copied: each is to be seen once."""

    async def run(self) -> None:
        held: list[Record] = []
        known: set[str] = set()
        began = anyio.current_time()
        try:
            while self.room > 0:
                if anyio.current_time() - began > self.hide / 2:
                    text = f"the queue holds more than can be copied while messages are hidden for {self.hide} s (--hide)"
                    self.problems.append(f"{text}: ended after {self.writer.records}")
                    break
                with anyio.CancelScope(shield=True):  # what a receive that was cancelled had been given would stay hidden
                    records = await self.queue.receive(limit=min(_TEN, self.room), wait=1, visibility=self.hide)
                if not records:
                    break
                held += records
                new = [record for record in records if record.id not in known]
                known.update(record.id for record in new)
                self.write(new, self.spec.envelope(new)["Records"])
                if not new:  # they come again: nothing else is there
                    break
        finally:
            await self._give_back(held)

    async def _give_back(self, held: list[Record]) -> None:
        refused: list[Refusal] = []
        with anyio.move_on_after(_LAST_WORD, shield=True) as last_word:
            refused = await self.queue.extend(held[::-1], 0)
        kept = [refusal for refusal in refused if not refusal.gone]
        if kept or last_word.cancelled_caught:
            number = len(kept) or len(held)
            text = f"{number} messages could not be given back at once: they show again within {self.hide} s"
            self.problems.append(f"{text} ({kept[0].message})" if kept else text)
