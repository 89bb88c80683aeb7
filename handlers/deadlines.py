"""Time limits of calls that all have the same length, so the one that began first ends first: one timer serves them all.

A timer for each call costs a tenth of a short invocation, and almost none ever fires.
"""

import asyncio
from typing import Any


class Deadlines:
    """Of one length, on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.loop = loop
        self._seconds = seconds
        self._open: dict[asyncio.Future[Any], float] = {}
        """When each is over; the earliest first."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, ended: "asyncio.Future[Any]") -> None:
        """Set it to None after the time, unless it is done by then. Call `end` in any case."""
        when = self.loop.time() + self._seconds
        self._open[ended] = when
        if self._timer is None:
            self._timer = self.loop.call_at(when, self._fire)

    def end(self, ended: "asyncio.Future[Any]") -> None:
        self._open.pop(ended, None)

    def _fire(self) -> None:
        now = self.loop.time()
        for ended, when in list(self._open.items()):
            if when > now:
                self._timer = self.loop.call_at(when, self._fire)
                return
            del self._open[ended]
            if not ended.done():
                ended.set_result(None)
        self._timer = None
