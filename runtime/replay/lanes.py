"""Records in, batches out: each lane has one batch in the handler's hands at a time, and its records in order.

A lane is one part of a shard (ParallelizationFactor, by key), the message groups of a FIFO queue that fall to it, or any of the
batches that a standard queue may have at once. A lane that is busy holds nobody up until much waits: files bring long stretches
of one shard.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Final

import anyio

from pollers.record import Record
from runtime.core.batching import Batch, BatchWindow
from runtime.core.mapping import BatchLimits
from runtime.core.pacing import RECORD_COST
from runtime.core.tumbling import OpenWindow
from runtime.replay.pace import Pace

_AHEAD: Final = 64 * 1024 * 1024
"""Bytes of memory that may wait for busy lanes; beyond them a lane with a whole batch takes no more."""


@dataclass(slots=True, kw_only=True)
class Lane:
    shard: str
    source_arn: str
    window: BatchWindow
    open: OpenWindow | None = None
    """The tumbling window that it is in."""
    ended: bool = False
    """No more records come, for now: what it holds is a batch, and its tumbling window is over."""
    busy: bool = False
    free_since: float = 0.0
    changed: anyio.Event = field(default_factory=anyio.Event)

    def wake(self) -> None:
        self.changed.set()

    @property
    def done(self) -> bool:
        return not self.busy and not len(self.window) and self.open is None


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
        self._waiting = 0
        """Bytes of memory, about, of what no handler has yet."""
        self._changed = anyio.Event()
        self._ended = False
        self._closed = False

    @property
    def now(self) -> float:
        return self._pace.now if self._pace else 0.0

    async def add(self, record: Record, *, source_arn: str, shard: str) -> None:
        """Waits until a lane has room for it."""
        lanes = self._of.get((source_arn, shard)) or self._open(source_arn, shard)
        while (lane := self._chosen(lanes, record)) is None and not self._closed:
            await self._wait_change()
        if lane is None or self._closed:
            return
        lane.ended = False
        lane.window.add([record], self.now)
        self._waiting += record.size + RECORD_COST
        if lane.window.missing == 0 or (self._pace is not None and len(lane.window) == 1):
            lane.wake()

    async def finish(self, source_arn: str, shard: str) -> None:
        """Until all that was added for a shard is done."""
        lanes = self._of.get((source_arn, shard), [])
        self._end(lanes)
        while not self._closed and not all(lane.done for lane in lanes):
            await self._wait_change()

    def end(self) -> None:
        """Nothing is added any more."""
        self._ended = True
        for lanes in self._of.values():
            self._end(lanes)

    async def wait_due(self, lane: Lane) -> bool:
        """Until the lane has a batch, or a tumbling window to end; False when it is over."""
        while not self._closed:
            due = self._due(lane)
            if due is not None and due <= 0:
                lane.busy = True
                return True
            if self._ended:
                return False
            lane.changed = anyio.Event()
            with anyio.move_on_after(inf if due is None or self._pace is None else self._pace.ours(due)):
                await lane.changed.wait()
        return False

    def take(self, lane: Lane) -> Batch:
        """Empty when it is the window that is due."""
        batch = lane.window.take()
        self._waiting -= sum([record.size + RECORD_COST for record in batch.records])
        self._changed.set()
        return batch

    def free(self, lane: Lane) -> None:
        """Its batch is done."""
        lane.busy, lane.free_since = False, self.now
        self._changed.set()

    def close(self) -> None:
        """What no handler has seen yet stays undone, and nothing is taken in any more."""
        self._closed = True
        self._changed.set()
        self.end()

    def _due(self, lane: Lane) -> float | None:
        if not len(lane.window):
            return 0 if lane.ended and lane.open is not None else None
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
        """By key; without one a batch that is begun is filled first. None: there is no room."""
        if not self._queue or record.group is not None:
            lane = lanes[lane_of(record.group, len(lanes))]
            return lane if lane.window.missing or self._waiting < _AHEAD else None
        with_room = [lane for lane in lanes if lane.window.missing]
        return max(with_room, key=lambda lane: (len(lane.window), not lane.busy), default=None)

    async def _wait_change(self) -> None:
        """Several may wait, for one event."""
        if self._changed.is_set():
            self._changed = anyio.Event()
        await self._changed.wait()

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
