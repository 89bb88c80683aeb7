"""One worker and the leader's lock of its fleet: takes it when it is free, says that it lives, gives it back.

A leader of ours ties its leases to the lock: when it cannot beat it for nearly the failover time it works on nothing any more
(`bound`), so whoever takes the lock of a dead leader need not wait for its leases as well. The law: from the moment in which
another might have the lock until `mended`, no lease counts as ours.
"""

from math import inf
from typing import Final

import anyio

from runtime.clock import now
from runtime.fleet_rows import FleetRows, LeaderLock

_TIED: Final = 0.85
"""Of the failover time: how long a leader that cannot beat its lock works on. The rest is for stopping."""
_MISSED: Final = 0.4
"""Of what a lock lasts: after so much silence a process of our name that had it is dead, as with leases.

Of the failover time: within that whoever takes a lock looks at what its holder left, and the holder touches none of it.
"""


class Leadership:
    def __init__(self, rows: FleetRows, *, worker: str, failover: float) -> None:
        self._rows = rows
        self._worker = worker
        self._failover = failover
        self._lock: LeaderLock | None = None
        """Ours, while we lead."""
        self._beaten = -inf
        self._using = anyio.Lock()  # a beat and a resignation both go from the version that the last one left
        self._watch: tuple[str, float] = ("", now())
        """The version of another's lock, and since when we have seen it so."""
        self._seen: LeaderLock | None = None
        self._resigning = False
        self.fenced = False
        """The lock was lost: what we held with it is free for others, and must be let go before anything else."""
        self._dead: tuple[str, float] | None = None
        """The leader before us, whose leases ended with its lock, and when we began to take that."""
        self._ended = -inf
        """When a lock with which leases of our name end was last seen to be lost, or with a namesake."""

    def dead(self, *, seen: float) -> str | None:
        """The leader before us, if what it had may be given away by rows that were `seen` at that moment. Once.

        If it lives it may have taken it again, `waits` after it learned of us: then it counts as anybody's.
        """
        found, self._dead = self._dead, None
        return found[0] if found is not None and seen < found[1] + self._failover * _MISSED else None

    @property
    def waits(self) -> bool:
        """Another may be about to give away what stands under our name, by rows that it saw before we could touch them."""
        return self._lock is None and now() < self._ended + self._failover * _MISSED

    @property
    def has_lock(self) -> bool:
        return self._lock is not None

    @property
    def resigns(self) -> bool:
        """It began to, and does not know yet whether the lock was given back: to be asked again."""
        return self._lock is not None and self._resigning

    @property
    def leads(self) -> bool:
        return self._lock is not None and not self._resigning and now() < self.bound

    @property
    def may_take(self) -> bool:
        """What we take we may work on. Not while another process of our name has the lock: our leases would end with that."""
        return self.leads if self._lock is not None else not self.fenced and not self._namesake_leads

    @property
    def bound(self) -> float:
        """Until when, on our clock, leases of ours may be worked on at most."""
        if self.fenced:
            return -inf
        return self._beaten + self._failover * _TIED if self._lock is not None else inf

    @property
    def leader(self) -> str | None:
        """Who leads, as far as we know."""
        return self._worker if self._lock is not None else self._seen.owner if self._seen is not None else None

    @property
    def foreign(self) -> bool:
        """The leader is not one of ours but one of Java."""
        return self._lock is None and self._seen is not None and not self._seen.tied

    @property
    def _namesake_leads(self) -> bool:
        return self._seen is not None and self._seen.owner == self._worker and self._seen.tied and not self._seen.released

    def mended(self) -> None:
        """Nothing is held any more that ended with the lock."""
        self.fenced = False

    async def seek(self) -> bool:
        """Take the lock when it is free; whether we have done so. Raises StateError."""
        if self._lock is not None or self.fenced:
            return False
        self._seen = seen = await self._rows.lock()
        self._ended = now() if self._namesake_leads else self._ended
        if not (seen is None or seen.released or self._rows.wrote(seen) or self._stood_still(seen)):
            return False
        async with self._using:
            began = now()
            lock = await self._rows.acquire(seen, self._worker, lasts=self._failover)
            if lock is None:
                return False
            self._lock, self._beaten, self._resigning = lock, began, False
        dead = seen.owner if seen is not None and seen.tied and not seen.released else None
        self._dead = (dead, began) if dead is not None and dead != self._worker else None
        return True

    def _stood_still(self, lock: LeaderLock) -> bool:
        version, since = self._watch
        if lock.version != version:
            self._watch = (lock.version, now())
            return False
        return now() - since >= lock.lasts * (_MISSED if lock.tied and lock.owner == self._worker else 1)

    async def beat(self) -> bool:
        """Say that we live; whether the lock turned out to be lost. Raises StateError."""
        async with self._using:
            if self._lock is None:
                return False
            began, lock = now(), await self._rows.beat(self._lock)
            if lock is None:
                self._let_go(given_back=False)
                return True
            self._lock, self._beaten = lock, began
            return False

    async def resign(self) -> bool:
        """Give the lock back; what we hold stands for itself from then on. Whether we had it. Raises StateError."""
        async with self._using:
            if self._lock is None:
                return False
            self._resigning = True  # also when nobody learns whether the lock was given back
            self._let_go(given_back=await self._rows.unlock(self._lock))
            return True

    def _let_go(self, *, given_back: bool) -> None:
        """Who gives it back may not learn that it did. Until `bound` nobody can have taken it, so then it was us."""
        self._lock, self.fenced = None, not (given_back or (self._resigning and now() < self.bound))
        self._ended = now() if self.fenced else self._ended
