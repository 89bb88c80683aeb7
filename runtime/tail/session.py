"""How a tail ends: by a signal, when its time is over, or by itself."""

from collections.abc import Awaitable, Callable
from math import inf

import anyio

from runtime.stop_signals import stop_signals


async def run_until_stopped(watch: Callable[[], Awaitable[None]], *, seconds: float | None) -> None:
    """`seconds`: at most; None: no limit. What `watch` raises comes out."""
    with stop_signals() as wait_for_signal:
        async with anyio.create_task_group() as tasks:

            async def end_on_signal() -> None:
                await wait_for_signal()
                tasks.cancel_scope.cancel()

            tasks.start_soon(end_on_signal, name="signals")
            with anyio.move_on_after(inf if seconds is None else seconds):
                await watch()
            tasks.cancel_scope.cancel()
