"""Large answers are read one after the other, each a few turns of the event loop after the one before.

Answers to many shards arrive together. Were all of them read before the first is decoded and delivered, every step would find its
page gone from the processor's caches, and all of them would lie in memory at once: that costs half as much again. What waits here
stays in the system's buffers; what had its turn meets its handler within the turns of the loop that are left to it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

LARGE: Final = 32 * 1024
"""Bytes still to come for which it pays to wait."""
_TURNS: Final = 3
"""Of the loop: the rest is read and decoded, its lane wakes up, its handler begins."""


class Turns:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = 0
        """Turns of the loop until the next one; 0 when nobody had one lately."""

    def take(self, go: Callable[[], None]) -> bool:
        """True: it is your turn. Else `go` is called when it has come."""
        if self._left:
            self._waiting.append(go)
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        self._left = _TURNS
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._left -= 1
        if self._left:
            self._loop.call_soon(self._turn)
        elif self._waiting:
            self._begin()
            self._waiting.popleft()()
