"""Time limits of calls that all have the same length, so the one that began first ends first: one timer serves them all.

A timer for each call costs a tenth of a short invocation, and almost none ever fires.
"""

import asyncio
from collections.abc import Callable


class Deadlines:
    """Of one length, on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.loop = loop
        self._seconds = seconds
        self._open: dict[Callable[[], None], float] = {}
        """What to call, and when; the earliest first."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, give_up: Callable[[], None]) -> None:
        """Call `give_up` after the time, unless `end` was called with the same object before."""
        when = self.loop.time() + self._seconds
        self._open[give_up] = when
        if self._timer is None:
            self._timer = self.loop.call_at(when, self._fire)

    def end(self, give_up: Callable[[], None]) -> None:
        self._open.pop(give_up, None)

    def _fire(self) -> None:
        now = self.loop.time()
        for give_up, when in list(self._open.items()):
            if when > now:
                self._timer = self.loop.call_at(when, self._fire)
                return
            del self._open[give_up]
            give_up()
        self._timer = None
