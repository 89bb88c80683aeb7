"""What bounds calls that follow one another in one task, at a tenth of the cost of a cancel scope with a timer for each.

The law is that of `calls.py`: a call that has begun is not cut off by cancellation, and ends within its limit.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import anyio

T = TypeVar("T")
_SHELTERED: Final = ContextVar("_SHELTERED", default=False)


@contextmanager
def sheltered() -> Iterator[None]:
    """Calls in it are not cancelled, and do not look whether they should be: whoever calls ends the series instead."""
    with anyio.CancelScope(shield=True):
        before = _SHELTERED.set(True)
        try:
            yield
        finally:
            _SHELTERED.reset(before)


def is_sheltered() -> bool:
    return _SHELTERED.get()


class Limits:
    """Time limits of one length, so the call that began first ends first: one timer serves them all."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._open: dict[asyncio.Task[Any], float] = {}
        """When the call of a task is over; the earliest first."""
        self._over: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def within(self, asked: Awaitable[T]) -> T:
        """What it gives. Raises TimeoutError. Of one task one at a time."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("there is no task that could be ended")
        loop = asyncio.get_running_loop()
        when = self._open[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(when, self._fire, loop)
        try:
            return await asked
        except asyncio.CancelledError:
            if task in self._over:
                raise TimeoutError(f"nothing for {self._seconds:.0f} seconds") from None
            raise
        finally:
            self._open.pop(task, None)
            if task in self._over:
                self._over.discard(task)
                task.uncancel()

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for task, when in list(self._open.items()):
            if when > loop.time():
                self._timer = loop.call_at(when, self._fire, loop)
                return
            del self._open[task]
            self._over.add(task)
            task.cancel()  # it waits for this call
