"""One task per mapping: start, restart after a crash, and the end of it all.

A shard of a stream that crashes is restarted by its mapping; everything else ends here.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from runtime.core.backoff import backoff
from runtime.core.mapping import MappingState
from runtime.drain import Drain
from runtime.status import MappingStatus
from runtime.telemetry import MappingTelemetry

_RESTART_BASE: Final = 1.0
_RESTART_CAP: Final = 60.0
_STEADY: Final = 300.0
"""Seconds after which a crash counts as the first again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """One enabled mapping and how to run it once; `run` ends when the drain has begun and nothing is in hand any more."""

    status: MappingStatus
    telemetry: MappingTelemetry
    run: Callable[[], Awaitable[None]]

    def move(self, state: MappingState) -> None:
        if self.status.move(state):
            self.telemetry.state_changed(state)


async def supervise(mappings: Sequence[Supervised], drain: Drain, *, grace: float, jitter: Callable[[], float]) -> None:
    """Run all mappings until the drain has begun and nothing is in hand, or until it is cut short."""
    async with anyio.create_task_group() as everything:
        everything.start_soon(_cut_when_over, drain, grace, everything.cancel_scope, name="grace period")
        async with anyio.create_task_group() as running:
            for mapping in mappings:
                running.start_soon(_keep_running, mapping, drain, jitter, name=mapping.status.mapping.name)
        await drain.wait_begun()
        everything.cancel_scope.cancel()


async def _keep_running(mapping: Supervised, drain: Drain, jitter: Callable[[], float]) -> None:
    crashes = 0
    while not drain.begun:
        mapping.telemetry.state_changed(mapping.status.state)
        began = anyio.current_time()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_tell_disabling, mapping, drain, name="disabling")
                await mapping.run()
                tasks.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001  # the crash barrier: one mapping's bug must not stop the others
            crashes = 1 if anyio.current_time() - began > _STEADY else crashes + 1
            pause = backoff(crashes, base=_RESTART_BASE, cap=_RESTART_CAP, jitter=jitter())
            mapping.telemetry.mapping_crashed(error, restart_in=pause)
            if mapping.status.state is MappingState.ENABLED:
                mapping.move(MappingState.CREATING)
            mapping.status.restarts += 1
            await drain.pause(pause)
    mapping.move(MappingState.DISABLING)
    mapping.move(MappingState.DISABLED)


async def _tell_disabling(mapping: Supervised, drain: Drain) -> None:
    await drain.wait_begun()
    mapping.move(MappingState.DISABLING)


async def _cut_when_over(drain: Drain, grace: float, scope: anyio.CancelScope) -> None:
    await drain.wait_begun()
    with anyio.move_on_after(grace):
        await drain.wait_cut()
    scope.cancel()
