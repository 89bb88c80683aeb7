"""Records in, batches out: each lane has one batch in the handler's hands at a time, and its records in order.

A lane is one part of a shard (ParallelizationFactor, by key), the message groups of a FIFO queue that fall to it, or any of the
batches that a standard queue may have at once.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import anyio

from pollers.record import Record
from runtime.core.batching import Batch, BatchWindow
from runtime.core.mapping import BatchLimits
from runtime.core.tumbling import OpenWindow


class Pace:
    """The clock of the recording: `speed` of its seconds pass in each of ours."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began = anyio.current_time()
        self._first: float | None = None

    @property
    def now(self) -> float:
        """Seconds since the replay began, by that clock."""
        return (anyio.current_time() - self._began) * self._speed

    async def wait_arrived(self, record: Record) -> None:
        """Until the record would come. One whose time is not known comes at once."""
        if record.arrived <= 0:
            return
        if self._first is None:
            self._first = record.arrived
        await self.sleep(record.arrived - self._first - self.now)

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await anyio.sleep(seconds / self._speed)

    def ours(self, seconds: float) -> float:
        return seconds / self._speed


@dataclass(slots=True, kw_only=True)
class Lane:
    shard: str
    source_arn: str
    window: BatchWindow
    open: OpenWindow | None = None
    """The tumbling window that it is in."""
    ended: bool = False
    """No more records come, for now: what it holds is a batch."""
    idle: bool = True
    free_since: float = 0.0
    changed: anyio.Event = field(default_factory=anyio.Event)

    def wake(self) -> None:
        self.changed.set()


class Lanes:
    """All lanes of a replay. `start` is called once with each, to work on it."""

    def __init__(
        self, limits: BatchLimits, number: int, *, queue: bool, pace: Pace | None, start: Callable[[Lane], None]
    ) -> None:
        """`number`: of one shard, or of the queue."""
        self._limits = limits
        self._number = number
        self._queue = queue
        self._pace = pace
        self._start = start
        self._of: dict[tuple[str, str], list[Lane]] = {}
        self._room = anyio.Event()
        self._ended = False

    @property
    def now(self) -> float:
        return self._pace.now if self._pace else 0.0

    async def add(self, record: Record, *, source_arn: str, shard: str) -> None:
        """Waits until a lane has room for it."""
        lanes = self._of.get((source_arn, shard)) or self._open(source_arn, shard)
        while (lane := self._chosen(lanes, record)) is None or not lane.window.missing:
            self._room = anyio.Event()
            await self._room.wait()
        lane.ended = False
        lane.window.add([record], self.now)
        if lane.window.missing == 0 or (self._pace is not None and len(lane.window) == 1):
            lane.wake()

    async def finish(self, source_arn: str, shard: str) -> None:
        """Until all that was added for a shard is done."""
        lanes = self._of.get((source_arn, shard), [])
        self._end(lanes)
        while not all(lane.idle and not len(lane.window) for lane in lanes):
            self._room = anyio.Event()
            await self._room.wait()

    def end(self) -> None:
        """Nothing is added any more."""
        self._ended = True
        for lanes in self._of.values():
            self._end(lanes)

    async def wait_due(self, lane: Lane) -> bool:
        """Until the lane has a batch; False when it is to end."""
        while True:
            due = self._due(lane)
            if due is not None and due <= 0:
                lane.idle = False
                return True
            if self._ended and not len(lane.window):
                return False
            lane.changed = anyio.Event()
            with anyio.move_on_after(inf if due is None or self._pace is None else self._pace.ours(due)):
                await lane.changed.wait()

    def take(self, lane: Lane) -> Batch:
        batch = lane.window.take()
        self._room.set()
        return batch

    def free(self, lane: Lane) -> None:
        """Its batch is done."""
        lane.idle, lane.free_since = True, self.now
        self._room.set()

    def drop(self) -> None:
        """What no handler has seen yet stays undone."""
        for lanes in self._of.values():
            for lane in lanes:
                lane.window.drop()
        self._room.set()
        self.end()

    def _due(self, lane: Lane) -> float | None:
        if not len(lane.window):
            return None
        if lane.ended or lane.window.missing == 0:
            return 0
        return lane.window.remaining(self.now, since=lane.free_since) if self._pace is not None else None

    def _open(self, source_arn: str, shard: str) -> list[Lane]:
        lanes = [
            Lane(shard=shard, source_arn=source_arn, window=BatchWindow(self._limits), free_since=self.now)
            for _ in range(self._number)
        ]
        self._of[source_arn, shard] = lanes
        for lane in lanes:
            self._start(lane)
        return lanes

    def _chosen(self, lanes: list[Lane], record: Record) -> Lane | None:
        """By key; without one a batch that is begun is filled first."""
        if not self._queue or record.group is not None:
            return lanes[lane_of(record.group, len(lanes))]
        with_room = [lane for lane in lanes if lane.window.missing]
        return max(with_room, key=lambda lane: (len(lane.window), lane.idle), default=None)

    @staticmethod
    def _end(lanes: list[Lane]) -> None:
        for lane in lanes:
            lane.ended = True
            lane.wake()


def lane_of(group: str | None, lanes: int) -> int:
    """A stable hash of the key, so that its order is kept (COM-61, COM-62)."""
    if lanes == 1:
        return 0
    return int.from_bytes(hashlib.md5((group or "").encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()[:8]) % lanes
