"""One reader of what a tap tells, with a bounded number of lines that it has not taken yet."""

from collections.abc import Callable
from typing import Final

import anyio
from msgspec import structs

from runtime.tap_events import LinesLost, Received, Traffic

MOST_WAITING: Final = 20_000
"""Lines that wait for one listener, each record in them counted as one more: a few MiB."""
_GATHER: Final = 0.1
"""Seconds for which lines are gathered before they are given out: receives become one line, writes few."""


class Listener:
    """One reader of one mapping. What it has not taken yet is bounded."""

    __slots__ = ("_changed", "_clock", "_cost", "_lines", "_lost", "closed", "records")

    def __init__(self, *, records: bool, clock: Callable[[], float]) -> None:
        self.closed: str | None = None
        """Why nothing more will come."""
        self.records = records
        """It wants to know of each record."""
        self._clock = clock
        self._lines: list[Traffic] = []
        self._cost = 0
        self._lost = 0
        self._changed = anyio.Event()

    async def take(self, *, within: float) -> list[Traffic | LinesLost]:
        """What was told since the last call; empty when nothing was for `within` seconds, or nothing more will come."""
        with anyio.move_on_after(within):
            await self._changed.wait()
            if self.closed is None and self._cost < MOST_WAITING / 2:
                await anyio.sleep(_GATHER)
        taken: list[Traffic | LinesLost] = [*self._lines]
        if self._lost:
            taken.append(LinesLost(at=self._clock(), lines=self._lost))
        self._lines, self._cost, self._lost = [], 0, 0
        if self.closed is None:
            self._changed = anyio.Event()
        return taken

    def put(self, event: Traffic) -> None:
        """For the tap."""
        if event.details and not self.records:
            event = structs.replace(event, details=())
        cost = 1 + len(event.details)
        if self._cost + cost > MOST_WAITING and self._lines:
            self._lost += 1
            return
        last = self._lines[-1] if self._lines else None
        if isinstance(event, Received) and isinstance(last, Received) and last.shard == event.shard:
            self._lines[-1] = _merged(last, event)
        else:
            self._lines.append(event)
        self._cost += cost
        self._changed.set()

    def close(self, reason: str) -> None:
        """For the tap."""
        self.closed = reason
        self._changed.set()


def _merged(before: Received, more: Received) -> Received:
    ages = [age for age in (before.age, more.age) if age is not None]
    return structs.replace(
        more,
        records=before.records + more.records,
        bytes=before.bytes + more.bytes,
        reads=before.reads + more.reads,
        age=max(ages, default=None),
        details=before.details + more.details,
    )
