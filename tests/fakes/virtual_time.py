"""An event loop whose clock jumps: a test that waits for twelve hours takes milliseconds.

The law: while anything is ready to run the clock stands still; when everything waits, it jumps to the next timer; when everything
waits and there is no timer, nothing can ever happen again, and that is an error. Sockets are looked at but never waited for, and
threads are no part of this world: a test whose code works in a thread or talks to a server needs a real loop.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import wraps
from math import inf
from typing import Any, Final, ParamSpec, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
P = ParamSpec("P")

START: Final = 1000.0
"""What the clock shows first. Not 0: code that takes 0 for "never" shall not pass by accident."""
LONGEST: Final = 30 * 24 * 3600.0
"""Seconds after which a test waits for nothing: what repeats itself for ever ends here and not with the patience of the CI."""


class WaitsForever(Exception):
    """Every task waits and no timer is set, or the timers only set each other. Names who waits, and where."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` starts at START and moves only by jumps."""

    def __init__(self) -> None:
        self.now = START
        self._ends = START + LONGEST
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As ever, but a timer that never fires (`anyio.sleep_forever` sets one) is none."""
        if when == inf:
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def jump(self, seconds: float | None) -> None:
        """To the next timer, `seconds` ahead; None: there is none. Raises WaitsForever."""
        if seconds is None:
            raise WaitsForever(f"every task waits and no timer is set:\n{self._waiting()}")
        self.now += seconds
        if self.now > self._ends:
            self._ends = self.now + LONGEST  # for the cleanup of those who are cancelled now
            raise WaitsForever(f"{LONGEST:.0f} seconds have passed and it goes on:\n{self._waiting()}")

    def _waiting(self) -> str:
        return "\n".join(f"  {task.get_name()} at {_where(task)}" for task in asyncio.all_tasks(self))


class _JumpingSelector(selectors.DefaultSelector):
    """What the loop waits with: where others would sleep, it jumps."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            self._loop.jump(timeout)
        return ready


def run_virtual(body: Callable[[*Ts], Coroutine[Any, Any, T]] | Coroutine[Any, Any, T], *args: *Ts) -> T:
    """Run `body(*args)` (or a coroutine that is made already) to its end on a loop of its own, and give back what it returns."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(body if isinstance(body, Coroutine) else body(*args))


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """An `async def` test, to be run by `run_virtual`. Its fixtures and parameters stay; async fixtures live on another loop."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def _where(task: asyncio.Task[Any]) -> str:
    """File and line of the innermost frame that the task waits in."""
    coroutine: Any = task.get_coro()
    while getattr(inner := getattr(coroutine, "cr_await", None), "cr_frame", None) is not None:
        coroutine = inner
    frame = getattr(coroutine, "cr_frame", None)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "its end"
