"""An event loop for code that asks a thread for one.

In Lambda a plain handler runs in the main thread, where `asyncio.get_event_loop().run_until_complete(...)` works (up to Python
3.13); in any other thread it raises. So every handler thread has a current loop, made when something of it is used: a loop costs
three file descriptors, and most handlers never want one.
"""

import asyncio
from typing import Any


class ThreadLoop:
    """The event loop of one thread. Used by that thread only."""

    def __init__(self) -> None:
        self._made: asyncio.AbstractEventLoop | None = None
        self._on_demand = _OnDemand(self)  # type: ignore[abstract]  # it forwards every attribute

    def provide(self) -> None:
        """Make it the current one: `asyncio.run` leaves a thread without any, and a handler may have closed it."""
        if self._made is not None and self._made.is_closed():
            self._made = None
        asyncio.set_event_loop(self._made or self._on_demand)

    def made(self) -> asyncio.AbstractEventLoop:
        if self._made is None:
            self._made = asyncio.new_event_loop()
            asyncio.set_event_loop(self._made)
        return self._made

    def close(self) -> None:
        asyncio.set_event_loop(None)
        if self._made is not None and not self._made.is_running():
            self._made.close()


class _OnDemand(asyncio.AbstractEventLoop):
    """Stands for the loop until something of it is used."""

    def __init__(self, owner: ThreadLoop) -> None:
        self.owner = owner

    def __getattribute__(self, name: str) -> Any:
        owner: ThreadLoop = object.__getattribute__(self, "__dict__")["owner"]
        return getattr(owner.made(), name)
