"""What a fleet keeps beside its leases: the leader's lock, and a sign of life of every worker. Values, and a Protocol."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from runtime.core.lease import Lease
from runtime.leases import StateError


class LeaderLock(Struct, frozen=True, kw_only=True):
    """The lock row, as it was seen."""

    owner: str
    version: str
    lasts: float
    """Seconds for which its holder need not be heard of."""
    released: bool = False
    tied: bool = False
    """Its holder works on no lease any longer than it beats the lock: a leader of ours, not of Java."""


class Word(Struct, frozen=True, kw_only=True):
    """A worker's last sign of life."""

    at: int
    """Seconds since the epoch, on its own clock."""
    every: float | None = None
    """Seconds after which it gives the next. None: it does not say (KCL: 30)."""
    load: tuple[float, ...] = ()
    """The last values of its processor's load, in percent. Empty: it does not tell, and Java balances by what its leases say."""


class Survey(Struct, frozen=True, kw_only=True):
    """All rows of a scope, as one look met them."""

    leases: tuple[Lease, ...] = ()
    workers: Mapping[str, Word] = {}
    """Those that may get leases."""
    unreadable: StateError | None = None
    """There are rows that cannot be read: which, and why."""

    def loads(self, worker: str) -> dict[str, int]:
        """How many open shards each worker holds; of `worker` and those that may get leases also that it is none."""
        loads = dict.fromkeys([*self.workers, worker], 0)
        for lease in self.leases:
            if not lease.ended and lease.owner is not None:
                loads[lease.owner] = loads.get(lease.owner, 0) + 1
        return loads


class FleetSeen(Struct, frozen=True, kw_only=True):
    """What a worker knows of the others."""

    leader: str | None
    leads: bool
    """It is this one."""
    loads: Mapping[str, int]
    """How many open shards each holds; only the leader knows."""


class FleetRows(Protocol):
    """The rows of one mapping's fleet. Raises StateError."""

    async def owned(self, worker: str, *, known: Collection[str]) -> list[Lease]:
        """The leases that name it as owner or next owner, without those of the shards `known`.

        What was written just now may be missing.
        """
        ...

    async def find(self, shards: Collection[str]) -> list[Lease]:
        """The rows of these shards that exist."""
        ...

    async def survey(self) -> Survey: ...

    async def assign(self, lease: Lease, to: str) -> bool:
        """Give it at once, if owner, wanted_by and counter are as seen. False: they are not."""
        ...

    async def ask(self, lease: Lease, to: str) -> bool:
        """Ask its owner to hand it over, if it still has it and nobody asked. False: it is not so."""
        ...

    async def delete(self, lease: Lease) -> None:
        """If its counter is as seen."""
        ...

    async def describe_children(self, shard: str, children: Sequence[str]) -> None:
        """Write into its row which shards follow on a shard; their rows are there."""
        ...

    async def lock(self) -> LeaderLock | None: ...

    async def acquire(self, seen: LeaderLock | None, worker: str, *, lasts: float) -> LeaderLock | None:
        """Take the lock, if it is still as seen. None: another was faster."""
        ...

    def wrote(self, lock: LeaderLock) -> bool:
        """Whether it is as an `acquire` of ours left it that got no answer."""
        ...

    async def beat(self, lock: LeaderLock) -> LeaderLock | None:
        """Say that its holder lives. None: it is not ours any more."""
        ...

    async def unlock(self, lock: LeaderLock) -> bool:
        """False: it was not ours any more."""
        ...

    async def word(self, worker: str) -> Word | None:
        """Its last; None: there is none. What was written just now may be missing."""
        ...

    async def report(self, worker: str, word: Word) -> None: ...

    async def forget(self, worker: str, word: Word) -> None:
        """Delete its row, if that was its last word."""
        ...
