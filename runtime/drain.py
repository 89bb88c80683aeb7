"""Stopping: closing the intake, never killing the work.

In this order: readiness turns 503; every intake closes (an open long poll may finish, and what it brings is given back); work
in flight goes on with its visibility kept; when the grace period is over, or at a second signal, the rest is cancelled; clients
close, then the HTTP server; one last line says what was finished, released and abandoned.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio

T = TypeVar("T")


class Drain:
    """The two requests to stop, and the account of what they met. One per worker."""

    def __init__(self) -> None:
        self.begun = False
        """The intake is closed: nothing new is to be received. Set by `begin`."""
        self._begun = anyio.Event()
        self._cut = anyio.Event()
        self.report = DrainReport()

    def begin(self) -> None:
        self.begun = True
        self._begun.set()

    def cut(self) -> None:
        """Stop at once: cancel what still runs."""
        self.begin()
        self._cut.set()

    async def wait_begun(self) -> None:
        await self._begun.wait()

    async def wait_cut(self) -> None:
        await self._cut.wait()

    async def unless_begun(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Ask, for as long as the drain has not begun; only for what holds nothing. None when it began first."""
        answer: T | None = None
        async with anyio.create_task_group() as tasks:

            async def give_up() -> None:
                await self._begun.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(give_up, name="until the drain begins")
            answer = await ask()
            tasks.cancel_scope.cancel()
        return answer

    async def pause(self, seconds: float) -> bool:
        """Wait, but no longer than until the drain begins; True when the whole time has passed."""
        with anyio.move_on_after(seconds):
            await self._begun.wait()
            return False
        return not self.begun


@dataclass(slots=True)
class DrainReport:
    """Records: what became of those that were in hand when the drain began."""

    finished: int = 0
    """Their invocation ended (with success or not) and its decision was carried out."""
    released: int = 0
    """Given back to the source."""
    abandoned: int = 0
    """Cancelled at the end of the grace period; the queue delivers them again after the visibility timeout."""
