"""Several calls to the state at once."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

import anyio
import anyio.lowlevel

from runtime.leases import StateError

MOST_TOGETHER: Final = 20
"""As KCL renews."""


async def run_together(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """All are done, also when one fails; then the first failure is raised. Raises StateError."""
    if len(calls) == 1:
        await calls[0]()
        return
    left = iter(calls)
    errors: list[StateError] = []

    async def run() -> None:
        for call in left:
            try:
                await call()
            except StateError as error:
                errors.append(error)

    async with anyio.create_task_group() as tasks:
        for number in range(min(MOST_TOGETHER, len(calls))):
            tasks.start_soon(run, name=f"state {number}")
    if errors:
        raise errors[0]


async def run_series(
    calls: Sequence[Callable[[], Awaitable[None]]], *, within: Callable[[], AbstractContextManager[None]]
) -> None:
    """As `run_together`, of calls that raise nothing and follow one another in a context that cancellation does not get into.

    When this is cancelled, what runs is done, and nothing is begun any more.
    """
    await anyio.lowlevel.checkpoint_if_cancelled()
    left = deque(calls)
    running = min(MOST_TOGETHER, len(left))
    ended = anyio.Event()

    async def run() -> None:
        nonlocal running
        with within():
            while left:
                await left.popleft()()
        running -= 1
        if not running:
            ended.set()

    async with anyio.create_task_group() as tasks:
        for number in range(running):
            tasks.start_soon(run, name=f"state {number}")
        try:
            if left:
                await ended.wait()
        finally:
            left.clear()
