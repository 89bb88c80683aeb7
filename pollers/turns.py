"""Large pages are taken apart one after the other, each a few turns of the event loop after the one before.

Pages of many shards arrive together. Were all of them decoded before the first is delivered, every step would find its page gone
from the processor's caches, and all of them would lie in memory at once: that costs half as much again. A page meets its handler
within the turns that are left to it here.
"""

import asyncio
from collections import deque
from typing import Final

LARGE: Final = 32 * 1024
"""Bytes of a page for which it pays to wait for one's turn."""
_TURNS: Final = 4
"""From the decoded page to the lane, the handler's task, back to the lane, and its checkpoint."""


class Turns:
    """Belongs to the loop on which it is first used."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = 0
        """Turns of the loop until the next one may go on; 0 when nobody went on lately."""

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        if self._left:
            waiter = loop.create_future()
            self._waiting.append(waiter)
            await waiter
        else:
            self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = _TURNS
        loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left -= 1
        if self._left:
            loop.call_soon(self._turn, loop)
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._begin(loop)
                return
