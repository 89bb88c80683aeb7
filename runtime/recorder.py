"""Copies what a stream gives into a recording, beside its readers. Queues: `queue_recorder.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from pollers.errors import PositionTrimmed
from pollers.record import Record, Shard, ShardPage
from pollers.recording_writer import RecordingWriter
from pollers.source import StreamSpec

_NO_END: Final = 10_000
"""Records that there is room for when any number may come."""


@dataclass(slots=True, kw_only=True)
class Recorder:
    """What all ways of recording have in common. `enough` is set once as many records as were asked for are written."""

    writer: RecordingWriter
    clock: Callable[[], float]
    """Seconds since the epoch."""
    most: int | None = None
    enough: anyio.Event = field(default_factory=anyio.Event)
    problems: list[str] = field(default_factory=list)
    """Why the recording has not all that was asked for."""
    first_arrived: float = 0.0
    last_arrived: float = 0.0

    @property
    def room(self) -> int:
        return _NO_END if self.most is None else self.most - self.writer.records

    def write(self, records: Sequence[Record], shown: Sequence[dict[str, Any]], *, shard: str = "") -> None:
        """Raises NotWritten."""
        received = self.clock()
        for record, event in zip(records, shown, strict=True):
            encryption = getattr(record, "encryption", None)
            more = {"encryption": encryption} if encryption else {}
            self.writer.add(event, shard=shard, position=record.id, arrived=record.arrived, received=received, **more)
            if record.arrived:
                self.first_arrived = min(self.first_arrived or record.arrived, record.arrived)
                self.last_arrived = max(self.last_arrived, record.arrived)
        self.writer.flush()
        if self.room <= 0:
            self.enough.set()

    def tell(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


@dataclass(slots=True, kw_only=True)
class StreamRecorder(Recorder):
    """A `Taker` of `read_stream`."""

    spec: StreamSpec
    behind: dict[str, float] = field(default_factory=dict)
    """Seconds that each open shard is behind its newest record, where the service says."""

    async def begin(self, shard: Shard) -> None:
        self.writer.begin_shard(shard.id, shard.parents)

    async def take(self, shard: Shard, page: ShardPage, records: Sequence[Record]) -> None:
        """A page is written before the next one is read: a shard that is far behind does not pile up."""
        self.behind[shard.id] = page.behind or 0.0
        if taken := records[: max(0, self.room)]:
            self.write(taken, self.spec.envelope(taken)["Records"], shard=shard.id)

    async def end(self, shard: Shard) -> None:
        self.behind.pop(shard.id, None)

    def trimmed(self, shard: Shard, error: PositionTrimmed) -> None:
        self.tell(f"shard {shard.id}: {error}: recorded from the oldest record that is left")
