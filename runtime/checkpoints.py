"""Moves the checkpoint of one shard: to the end of the contiguous finished prefix of its lanes, with the tumbling window."""

from collections.abc import Callable
from typing import Final

import anyio

from pollers.record import SHARD_END, Position, Record
from runtime.clock import now
from runtime.core.backoff import backoff
from runtime.core.progress import ShardProgress
from runtime.core.tumbling import OpenWindow
from runtime.lease_keeper import HeldLease
from runtime.leases import StateError
from runtime.shard_status import Block, ShardStatus
from runtime.stream_parts import StreamParts
from runtime.stream_telemetry import StreamTelemetry

_FAILURE_BASE: Final = 0.2
_FAILURE_CAP: Final = 5.0
_STATE: Final = -1
"""What stands in the way of the whole shard, and of no lane."""


class Checkpoints:
    """`window` is the open tumbling window; it is kept beside the position, so that a restart goes on in the middle of it."""

    def __init__(self, parts: StreamParts, held: HeldLease, *, status: ShardStatus, telemetry: StreamTelemetry) -> None:
        self.progress = ShardProgress()
        self.window = self._restore(held, telemetry, length=parts.settings.tumbling_window)
        self._parts = parts
        self._held = held
        self._status = status
        self._telemetry = telemetry

    def finish(self, records: tuple[Record, ...]) -> None:
        """These have their fate, which was carried out; `advance` is to follow."""
        self.progress.finish(records)

    async def advance(self) -> None:
        """Returns when what is finished is durable, as far as order allows."""
        await self._write(self._due)

    async def pin(self, position: Position) -> None:
        """Keep what LATEST meant when the shard was opened: a restart before the first batch goes on from there."""
        await self._write(lambda: (position, self._held.lease.window))

    async def end_shard(self) -> None:
        """Everything in the shard is done: its children may start."""
        await self._write(lambda: (SHARD_END, None))
        self._status.ended = True

    def _due(self) -> tuple[Position, str | None]:
        """Asked when it is our turn to write, so that of two lanes the later never writes the earlier position."""
        committed = self.progress.committed
        if self.progress.within and self.window is not None:  # a restart repeats the aggregate, so its part is not to count yet
            return self._held.lease.checkpoint, self._held.lease.window
        position = self._held.lease.checkpoint if committed is None else Position.after(committed)
        return position, self.window.text if self.window else None

    async def _write(self, due: Callable[[], tuple[Position, str | None]]) -> None:
        """While the store fails the shard waits; when that takes longer than the lease lasts, the lease is lost."""
        failures = 0
        while True:
            try:
                moved = await self._held.checkpoint(due)
            except StateError as error:
                failures += 1
                self._telemetry.state_failed(error, who=self._held.lease.shard)
                self._status.blocks[_STATE] = Block(reason=str(error), since=self._parts.clock())
                with self._status.busy(_FAILURE_CAP):
                    await anyio.sleep(backoff(failures, base=_FAILURE_BASE, cap=_FAILURE_CAP, jitter=self._parts.jitter()))
                continue
            if moved:
                self._status.last_advance = self._status.alive = now()
                self._status.in_vain = 0
                self._status.checkpoint = str(self._held.lease.checkpoint)
            self._status.unfinished = len(self.progress)
            if failures:
                self._status.blocks.pop(_STATE, None)
                self._telemetry.state_answered(who=self._held.lease.shard)
            return

    @staticmethod
    def _restore(held: HeldLease, telemetry: StreamTelemetry, *, length: int) -> OpenWindow | None:
        if held.lease.window is None:
            return None
        if not length:
            telemetry.window_dropped(held.lease.shard, reason="the mapping has no tumbling window any more")
            return None
        try:
            return OpenWindow.parse(held.lease.window)
        except ValueError as error:
            telemetry.window_dropped(held.lease.shard, reason=str(error))
            return None
