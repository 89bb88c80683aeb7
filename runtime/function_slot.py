"""The right to run one invocation of a function whose reserved concurrency is shared with other shards and mappings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import anyio

from runtime.drain import Drain
from runtime.shard_status import ShardStatus


class FunctionSlots:
    """`limiter`: what all mappings of the function share; None when it has no reserved concurrency."""

    def __init__(self, limiter: anyio.CapacityLimiter | None, status: ShardStatus) -> None:
        self._limiter = limiter
        self._status = status

    @property
    def unlimited(self) -> bool:
        return self._limiter is None

    @property
    def full(self) -> bool:
        return self._limiter is not None and self._limiter.available_tokens <= 0

    @property
    def most(self) -> int:
        return int(self._limiter.total_tokens) if self._limiter is not None else 0

    @asynccontextmanager
    async def take(self, closing: Drain, *, patience: float = inf) -> AsyncIterator[bool]:
        """Hold a slot while the body runs; False: none came free before `closing` began or `patience` (seconds) was over."""
        if self._limiter is None:
            yield True
            return
        slot = object()
        with self._status.busy(inf):
            taken = await _acquire(self._limiter, slot, closing, patience)
        try:
            yield taken
        finally:
            if taken:
                self._limiter.release_on_behalf_of(slot)


async def _acquire(limiter: anyio.CapacityLimiter, slot: object, closing: Drain, patience: float) -> bool:
    try:
        limiter.acquire_on_behalf_of_nowait(slot)
    except anyio.WouldBlock:
        pass
    else:
        return True

    async def wait() -> bool:
        await limiter.acquire_on_behalf_of(slot)
        return True

    taken = False
    try:
        with anyio.move_on_after(patience):
            taken = await closing.unless_begun(wait) is True
    finally:
        if not taken and slot in limiter.statistics().borrowers:  # it came in the moment in which the wait was given up
            limiter.release_on_behalf_of(slot)
    return taken
