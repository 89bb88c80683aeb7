"""Several calls to the state at once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio

from runtime.leases import StateError
from runtime.places import Places

MOST_TOGETHER: Final = 20
"""As KCL renews."""


async def run_together(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """All are done, also when one fails; then the first failure is raised. Raises StateError."""
    places = Places(MOST_TOGETHER)
    errors: list[StateError] = []

    async def run(call: Callable[[], Awaitable[None]]) -> None:
        async with places:
            try:
                await call()
            except StateError as error:
                errors.append(error)

    async with anyio.create_task_group() as tasks:
        for number, call in enumerate(calls):
            tasks.start_soon(run, call, name=f"state {number}")
    if errors:
        raise errors[0]
