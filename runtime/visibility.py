"""Keeps records hidden from others while a handler works on them.

Extended when half of the time that is left has passed, with jitter, many batches in one request; work that is shorter costs
nothing. Never past twelve hours after the receive, which SQS refuses. A batch leaves the moment its work ends.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

import anyio

from pollers.record import Record
from pollers.source import QueueSource, Refusal
from runtime.clock import loop_clock
from runtime.telemetry import MappingTelemetry

LONGEST: Final = 12 * 3600
"""Seconds that SQS keeps a record hidden at most, from its receive on."""
_SHORTEST_PERIOD: Final = 0.5
_RETRY: Final = 1.0
"""Seconds until a refused extension is tried again, at the earliest."""


class Held:
    """Records that are ours until `until` (monotonic seconds), unless the queue said otherwise."""

    __slots__ = ("due", "lost", "received", "records", "refused", "timeout", "until")

    def __init__(self, records: Sequence[Record], *, received: float, timeout: int) -> None:
        """`received`: when the oldest of them came; `timeout`: for how long the queue hides them."""
        self.records = records
        self.received = received
        self.timeout = timeout
        self.until = received + timeout
        self.due = self.until
        self.lost: set[str] = set()
        self.refused: str | None = None
        """The code of the last refusal of an extension, told once."""


class VisibilityKeeper:
    """Extends everything that is held, from one task per mapping."""

    def __init__(self, source: QueueSource, telemetry: MappingTelemetry, jitter: Callable[[], float]) -> None:
        self._source = source
        self._telemetry = telemetry
        self._jitter = jitter
        self._held: set[Held] = set()
        self._sooner = anyio.Event()
        self._wakes_at = 0.0
        self._now = loop_clock()

    def keep(self, held: Held) -> AbstractContextManager[None]:
        """Keep these records hidden while the body runs. Costs no task and, for short work, no request."""
        return _Keep(self, held)

    def begin(self, held: Held) -> None:
        """For `keep`."""
        if not held.timeout:  # a queue whose timeout is 0 hides nothing, so there is nothing to keep
            return
        now = self._now()
        held.due = now + max(0.0, (held.until - now) / 2 - self._spread(held))
        self._held.add(held)
        if held.due < self._wakes_at:
            self._sooner.set()

    def end(self, held: Held) -> None:
        """For `keep`."""
        self._held.discard(held)

    async def run(self) -> None:
        """Extend until cancelled. Every round is a task of its own: one that hangs must not cost the others their records."""
        async with anyio.create_task_group() as rounds:
            while True:
                now = self._now()
                due = [held for held in self._held if held.due <= now]
                for held in due:
                    held.due = now + LONGEST  # until its answer says when next
                if due:
                    rounds.start_soon(self._extend, due, now, name="extend visibility")
                self._wakes_at = min((held.due for held in self._held), default=now + LONGEST)
                self._sooner = anyio.Event()
                with anyio.move_on_after(self._wakes_at - now):
                    await self._sooner.wait()

    def _spread(self, held: Held) -> float:
        return held.timeout / 10 * self._jitter()

    async def _extend(self, due: list[Held], now: float) -> None:
        """One call for each length of time; almost always that is one call."""
        by_seconds: dict[int, list[Held]] = {}
        for held in due:
            left = int(held.received + LONGEST - now) - 1
            seconds = min(held.timeout, left)
            if seconds >= 1:
                by_seconds.setdefault(seconds, []).append(held)
        async with anyio.create_task_group() as calls:
            for seconds, batches in by_seconds.items():
                calls.start_soon(self._extend_by, seconds, batches, name="extend visibility")

    async def _extend_by(self, seconds: int, batches: list[Held]) -> None:
        records = [record for held in batches for record in held.records if record.handle not in held.lost]
        asked_at = self._now()
        refused = await self._source.extend(records, seconds)
        gone = {refusal.record.handle for refusal in refused if refusal.gone}
        failed = {refusal.record.handle: refusal for refusal in refused if not refusal.gone}
        for held in batches:
            held.lost.update(record.handle for record in held.records if record.handle in gone)
            self._note(held, [failed[record.handle] for record in held.records if record.handle in failed], asked_at, seconds)
        if lost := [refusal for refusal in refused if refusal.gone and self._is_held(refusal.record)]:
            self._telemetry.visibility_lost(lost)

    def _note(self, held: Held, failed: list[Refusal], asked_at: float, seconds: int) -> None:
        """Set when the batch is due next."""
        code = failed[0].code if failed else None
        if failed:
            held.due = asked_at + max(_RETRY, held.timeout / 8)
            if code != held.refused:
                self._telemetry.extension_refused(failed[0], len(failed))
        elif len(held.lost) < len(held.records):
            held.until = asked_at + seconds
            held.due = asked_at + max(_SHORTEST_PERIOD, seconds / 2 - self._spread(held))
        held.refused = code
        if held in self._held and held.due < self._wakes_at:
            self._sooner.set()

    def _is_held(self, record: Record) -> bool:
        """An extension that was in the air when its work ended is refused with reason: that is no loss."""
        return any(record.handle == each.handle for held in self._held for each in held.records)


class _Keep(AbstractContextManager[None]):
    """A third of what a generator costs, at every batch."""

    __slots__ = ("_held", "_keeper")

    def __init__(self, keeper: VisibilityKeeper, held: Held) -> None:
        self._keeper = keeper
        self._held = held

    def __enter__(self) -> None:
        self._keeper.begin(self._held)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._keeper.end(self._held)
