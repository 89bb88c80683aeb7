"""Calls that follow one another in several tasks: bounded at a tenth of the cost of a cancel scope with a timer for each.

The law is that of `calls.py`: a call that has begun is not cut off by cancellation, and ends within its limit.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import anyio

T = TypeVar("T")
_LONGEST_GATHERING: Final = 0.01
"""Seconds."""


class Series:
    """Tasks that each ask one thing after another.

    Their calls are not cancelled, and do not look whether they should be: whoever calls ends the series instead. Answers are
    taken in hand together, so that what does so is in the processor's caches for all but the first.
    """

    def __init__(self) -> None:
        self._tasks = 0
        self._waiting: list[asyncio.Future[None]] = []
        """One of each, because what ends a task ends what it waits for."""
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def joined(self) -> Iterator[None]:
        self._tasks += 1
        with anyio.CancelScope(shield=True):
            before = _SERIES.set(self)
            try:
                yield
            finally:
                _SERIES.reset(before)
                self._tasks -= 1
                self._go_on_if_all()

    async def gathered(self) -> None:
        """Until every task of the series has its answer, or so long for the slowest."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(_LONGEST_GATHERING, self._go_on)
        waiter = loop.create_future()
        self._waiting.append(waiter)
        self._go_on_if_all()
        await waiter

    def _go_on_if_all(self) -> None:
        if len(self._waiting) >= self._tasks:
            self._go_on()

    def _go_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


_SERIES: Final = ContextVar[Series | None]("_SERIES", default=None)


def current_series() -> Series | None:
    """Of the running task."""
    return _SERIES.get()


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
        loop = asyncio.get_running_loop()  # a system call, and one more where it is not said
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("there is no task that could be ended")
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
