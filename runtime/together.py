"""Several calls to the state at once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio

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
