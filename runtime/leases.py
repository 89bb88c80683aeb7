"""Who works on which shard, and how far it is done: leases, and the store that keeps them.

A lease is one row per mapping and shard. Its counter grows with every write of its owner; a lease whose counter stands still for
the failover time, on the observer's own clock, is free to take. `checkpoint`, `renew` and `release` are conditional on the
counter as last seen, so whoever lost a lease cannot move its checkpoint.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from pollers.record import Position
from runtime.core.lease import Lease
from runtime.errors import UserError

__all__ = ["Lease", "LeaseStore", "StateError"]


class StateError(UserError):
    """The state store did not do what it was asked; the message says what, where and what to do. It may work the next time."""


class LeaseStore(Protocol):
    """Keeps leases. Safe for concurrent calls, from several processes where the store is shared by them.

    Every call is atomic, for each lease. Raises StateError and nothing else of its own; a call that raised may have been carried
    out, and when it is made again it does no harm.
    """

    async def load(self, scope: str) -> list[Lease]:
        """All leases of a scope."""
        ...

    async def silence(self, scope: str) -> Mapping[str, float]:
        """For each shard, the seconds since its owner last wrote its row, where all users of the store share one clock.

        A worker that has just started need not wait as long again for one that died before. Empty where no such clock is.
        """
        ...

    async def create(self, leases: Sequence[Lease]) -> None:
        """Write those that do not exist; one that exists stays as it is. All or nothing, as far as the store can."""
        ...

    async def take(self, lease: Lease, owner: str) -> Lease | None:
        """Make `owner` the owner if the counter is still `lease`'s; clears `wanted_by`. None: somebody was faster."""
        ...

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease | StateError | None]:
        """Add 1 to the counter of each that is as last seen (owner and counter); gives the rows as they are now, in that order.

        None stands for one that was lost, an error for one of which it is not known: it may work the next time. `wanted_by` may
        have been set by somebody in the meantime.
        """
        ...

    async def checkpoint(self, lease: Lease, position: Position, *, window: str | None = None) -> Lease | None:
        """Move the checkpoint, and renew, if owner and counter are as last seen. None: it was lost, nothing was written."""
        ...

    async def release(self, lease: Lease) -> bool:
        """Give it up (no owner, counter + 1) if owner and counter are as last seen; `wanted_by` stays. False: it was lost."""
        ...

    async def want(self, lease: Lease, worker: str) -> bool:
        """Ask its owner to hand it over: sets `wanted_by` if owner is still `lease`'s and nobody asked; the counter stays."""
        ...

    async def delete(self, leases: Sequence[Lease]) -> None:
        """Forget these rows, if their counters are as last seen."""
        ...
