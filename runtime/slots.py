"""Delivery slots: the right to run one batch, taken before the receive, so that nothing is received that cannot start now.

A slot counts against its mapping (ScalingConfig.MaximumConcurrency) and against its function (ReservedConcurrentExecutions).
"""

from collections.abc import Callable

import anyio


class Slot:
    """One batch's place. Give it back exactly once."""

    __slots__ = ("_release",)

    def __init__(self, release: Callable[["Slot"], None]) -> None:
        self._release = release

    def release(self) -> None:
        self._release(self)


class Slots:
    """The slots of one mapping; waiters are served in order."""

    def __init__(self, maximum: int, function: anyio.CapacityLimiter | None, *, sharing: int = 1) -> None:
        """`function`: what the `sharing` mappings of the function share; None when it has no reserved concurrency."""
        self.maximum = maximum
        self.own = maximum
        """How many batches the mapping itself allows at once now."""
        self._taken = 0
        self._mapping = anyio.CapacityLimiter(maximum)
        self._function = function
        self._too_few = function is not None and sharing > function.total_tokens
        self._waiting = 0

    @property
    def allowed(self) -> int:
        """How many batches may run at once now, all limits taken together."""
        return self.own if self._function is None else min(self.own, int(self._function.total_tokens))

    @property
    def contended(self) -> bool:
        """Another mapping waits for the slots that this one shares with it."""
        return self._function is not None and self._function.statistics().tasks_waiting > self._waiting

    @property
    def most(self) -> int:
        """How many batches could ever run at once."""
        return self.maximum if self._function is None else min(self.maximum, int(self._function.total_tokens))

    @property
    def scarce(self) -> bool:
        """There are not enough slots to keep one for a long poll: fewer than mappings that share them, or others wait."""
        return self._too_few or self.contended

    @property
    def may_keep(self) -> bool:
        """A slot may be used again without giving it back: no limit was lowered, and nobody else waits for it."""
        return self._taken <= self.own and not self.contended

    def allow(self, slots: int) -> None:
        """Change how many of the mapping's own slots may be used; what runs is not touched."""
        self.own = slots
        self._mapping.total_tokens = slots

    async def take(self) -> Slot:
        slot = Slot(self._give_back)
        await self._mapping.acquire_on_behalf_of(slot)
        if self._function is not None:
            self._waiting += 1
            try:
                await self._function.acquire_on_behalf_of(slot)
            except BaseException:
                self._mapping.release_on_behalf_of(slot)
                raise
            finally:
                self._waiting -= 1
        self._taken += 1
        return slot

    def _give_back(self, slot: Slot) -> None:
        if self._function is not None:
            self._function.release_on_behalf_of(slot)
        self._mapping.release_on_behalf_of(slot)
        self._taken -= 1
