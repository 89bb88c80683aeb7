"""Lives of workers on one event loop: each can be frozen between any two steps of its code, and thawed, while time goes on.

A frozen life is a process that was stopped (or, if it is never thawed, killed): nothing of it runs, its timers pass, and when it
goes on it finds itself in the middle of whatever it did.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import Any, Final, TypeVar, TypeVarTuple

from tests.fakes.virtual_time import VirtualTimeLoop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_Coroutine = Coroutine[Any, Any, T] | Generator[Any, None, T]

_MOST_STEPS: Final = 20_000
"""Steps that a life may do in one instant."""


class Life:
    """One run of a worker's process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.spins = 0
        """So many times it was found running on and on while no time passed, and was frozen."""
        self._instant = 0.0
        self._steps = 0
        self._missed: list[_Step] = []

    def step(self, instant: float) -> None:
        """Counts its steps of one instant."""
        self._steps = self._steps + 1 if instant == self._instant else 0
        self._instant = instant
        if self._steps > _MOST_STEPS:
            self._steps = 0
            self.spins += 1
            self.freeze()

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        missed, self._missed = self._missed, []
        for step in missed:
            step.again()


LIFE: Final[ContextVar[Life | None]] = ContextVar("LIFE", default=None)
"""Whose code is running; None for the world's own."""


class _Step:
    """A callback of a life: runs when it is due, or when the life goes on."""

    __slots__ = ("_args", "_callback", "_context", "_life", "_loop", "handle")

    def __init__(
        self, loop: "LivesLoop", life: Life, callback: Callable[..., object], args: tuple[Any, ...], context: Context
    ) -> None:
        self._loop = loop
        self._life = life
        self._callback = callback
        self._args = args
        self._context = context
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        if self._life.frozen:
            self._life._missed.append(self)
        elif self.handle is None or not self.handle.cancelled():
            self._life.step(self._loop.now)
            self._callback(*self._args)

    def again(self) -> None:
        self._loop.call_soon_world(self, self._context)


class LivesLoop(VirtualTimeLoop):
    """Jumping time; steps of a frozen life wait for it. Tasks hash by number, so that sets of them have the same order each time."""

    def __init__(self) -> None:
        super().__init__()
        numbers = count()

        def make(_: asyncio.AbstractEventLoop, coroutine: _Coroutine[T], context: Context | None = None) -> asyncio.Task[T]:
            return _NumberedTask(next(numbers), coroutine, loop=self, context=context)

        self.set_task_factory(make)

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> asyncio.Handle:
        life = LIFE.get() if context is None else context.get(LIFE)
        if life is None:
            return super().call_soon(callback, *args, context=context)
        context = copy_context() if context is None else context
        step = _Step(self, life, callback, args, context)
        step.handle = super().call_soon(step, context=context)
        return step.handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        life = LIFE.get() if context is None else context.get(LIFE)
        if life is None or isinstance(callback, _Step):
            return super().call_at(when, callback, *args, context=context)
        context = copy_context() if context is None else context
        step = _Step(self, life, callback, args, context)
        handle = super().call_at(when, step, context=context)
        step.handle = handle
        return handle

    def call_soon_world(self, callback: Callable[[], object], context: Context) -> None:
        super().call_soon(callback, context=context)


class _NumberedTask(asyncio.Task[T]):
    def __init__(
        self, number: int, coroutine: _Coroutine[T], *, loop: asyncio.AbstractEventLoop, context: Context | None
    ) -> None:
        self._number = number  # before the loop gets to see it
        super().__init__(coroutine, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


def run_lives(body: Coroutine[Any, Any, T]) -> T:
    """Run to the end, on a loop of its own."""
    with asyncio.Runner(loop_factory=LivesLoop) as runner:
        return runner.run(body)
