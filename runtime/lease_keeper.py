"""Holds the leases of one mapping: renews them while work goes on, and ends the work of a lease that was lost.

A worker believes in a lease for the failover time from the beginning of its last successful write, on its own clock. Whoever
takes it waits as long from when it saw that write, so there are never two who believe.
"""

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

import anyio
from msgspec.structs import replace

from pollers.record import Position
from runtime.clock import now
from runtime.leases import Lease, LeaseStore, StateError
from runtime.stream_telemetry import StreamTelemetry

_MEASURED: Final = 0.25
"""Of the failover time, at least, between two measurements of a shard's throughput: renewals are a third apart."""


class HeldLease:
    """One lease that is ours, and the scope in which its work runs: cancelled when the lease is lost."""

    def __init__(
        self,
        lease: Lease,
        store: LeaseStore,
        *,
        failover: float,
        written: float,
        bound: Callable[[], float] = lambda: inf,
        hand_over: Callable[[], float] = lambda: inf,
    ) -> None:
        """`bound`: until when, on our clock, it may be believed in at most. `hand_over`: in seconds, once it is asked for."""
        self.lease = lease
        self.scope = anyio.CancelScope()
        self.lost = False
        self.expired = False
        """It was lost because it could not be renewed in time; else because another worker took it."""
        self.lock = asyncio.Lock()
        """A renewal and a checkpoint both go from counter c to c + 1. Not anyio's, which asks every scope around it each time."""
        self.written = written
        """When the last successful write began."""
        self._store = store
        self._failover = failover
        self._bound = bound
        self._hand_over = hand_over
        self._read = 0
        """Bytes, since:"""
        self._read_since = now()
        self._asked: float | None = None
        """When the write began whose answer first said that another worker is to have it."""

    @property
    def ours(self) -> bool:
        """Work on it may go on."""
        return self.writable and not self.overdue

    @property
    def writable(self) -> bool:
        """Nobody else may have taken it."""
        return self.writable_at(now(), self._bound())

    def writable_at(self, moment: float, bound: float) -> bool:
        """For many at once."""
        return not self.lost and moment < bound and moment < self.written + self._failover

    def ends_before(self, moment: float, bound: float) -> bool:
        """Not `ours`; for many at once."""
        return not self.writable_at(moment, bound) or (self._asked is not None and self.overdue)

    @property
    def overdue(self) -> bool:
        """It should have been handed over by now."""
        return self._asked is not None and now() >= self._asked + self._hand_over()

    def wrote(self, lease: Lease, began: float) -> None:
        """A write that began then has succeeded."""
        self.lease, self.written = lease, began
        asked = lease.wanted_by not in (None, lease.owner)
        self._asked = (began if self._asked is None else self._asked) if asked else None

    def read(self, size: int) -> None:
        """So many bytes of its data came."""
        self._read += size

    def measured(self) -> Lease:
        """With its throughput of late, as KCL has it: each renewal counts as much as all before it."""
        moment, before = now(), self.lease.throughput
        elapsed = moment - self._read_since
        if elapsed < self._failover * _MEASURED or (before is None and not self._read):
            return self.lease
        rate = self._read / 1024 / elapsed
        self._read, self._read_since = 0, moment
        return replace(self.lease, throughput=rate if before is None else (rate + before) / 2)

    async def check(self) -> None:
        """Returns only while the lease is ours. To be asked, inside its scope, before whatever only the owner may do."""
        if not self.ours:
            self.end_work()
            await anyio.sleep_forever()  # the scope is cancelled

    def end_work(self) -> None:
        """It is not ours to work on any more; it may still be ours to hand over."""
        if self.writable:
            self.scope.cancel()
        else:
            self.lose(expired=not self.lost)

    def lose(self, *, expired: bool = False) -> None:
        self.lost, self.expired = True, self.expired or expired
        self.scope.cancel()

    async def checkpoint(self, due: Callable[[], tuple[Position, str | None]]) -> bool:
        """Write the position and the tumbling window that are due when our turn comes. False: that is what is written already.

        Does not return when the lease was lost. Raises StateError when the store could not; it may work the next time.
        """
        async with self.lock:
            await self.check()
            position, window = due()
            if (position, window) == (self.lease.checkpoint, self.lease.window):
                return False
            began = now()
            lease = await self._store.checkpoint(self.measured(), position, window=window)
            if lease is None:
                self.lose()
                await self.check()
            else:
                self.wrote(lease, began)
            return True


class LeaseKeeper:
    """The leases that a mapping holds in this worker."""

    def __init__(
        self,
        store: LeaseStore,
        *,
        worker: str,
        failover: float,
        telemetry: StreamTelemetry,
        bound: Callable[[], float] = lambda: inf,
        hand_over: Callable[[], float] = lambda: inf,
    ) -> None:
        """`bound`, `hand_over`: as HeldLease, of all."""
        self.held: dict[str, HeldLease] = {}
        """By shard."""
        self._store = store
        self._worker = worker
        self._failover = failover
        self._telemetry = telemetry
        self._bound = bound
        self._hand_over = hand_over

    async def take(self, lease: Lease) -> HeldLease | None:
        """None: another worker was faster. Raises StateError."""
        began = now()
        taken = await self._store.take(lease, self._worker)
        if taken is None:
            return None
        self._telemetry.lease_taken(taken.shard, before=lease.owner)
        held = self.held[taken.shard] = HeldLease(
            taken, self._store, failover=self._failover, written=began, bound=self._bound, hand_over=self._hand_over
        )
        return held

    async def let_go(self, held: HeldLease) -> None:
        """Give a lease up, so that others need not wait for it. Of one that was lost there is nothing to give."""
        shard = held.lease.shard
        try:
            async with held.lock:
                overdue = held.writable and held.overdue
                released = held.writable and await self._store.release(held.lease)
            if overdue:
                self._telemetry.hand_over_cut(shard, to=held.lease.wanted_by)
            if released:
                self._telemetry.lease_released(shard, to=held.lease.wanted_by)
            else:
                self._telemetry.lease_lost(shard, expired=held.expired)
        except StateError as error:
            self._telemetry.state_failed(error, who=shard)
        finally:
            del self.held[shard]

    async def run(self) -> None:
        """Renew until cancelled, and end the work of leases that could not be renewed in time."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run_expiry, name="expire leases")  # a store that hangs must not keep it from the clock
            moment = now()
            while True:  # in step: many leases take a while, and must not be renewed later for that
                await anyio.sleep(max(0.0, moment + self._failover / 3 - now()))
                moment = now()
                bound, age = self._bound(), self._failover / 4
                due = [held for held in self.held.values() if held.writable_at(moment, bound) and moment - held.written >= age]
                await self._renew([held for held in due if not held.lock.locked()])  # a checkpoint on its way renews as well

    async def _run_expiry(self) -> None:
        while True:
            await anyio.sleep(self._failover / 10)
            moment, bound = now(), self._bound()
            for held in [held for held in self.held.values() if held.ends_before(moment, bound)]:
                held.end_work()

    async def _renew(self, due: Sequence[HeldLease]) -> None:
        if not due:
            return
        for held in due:
            await held.lock.acquire()  # at once: nobody has it
        try:
            began = now()
            rows = await self._store.renew([held.measured() for held in due])
            failures = []
            for held, row in zip(due, rows, strict=True):
                if row is None:
                    held.lose()
                elif isinstance(row, StateError):
                    failures.append(row)
                else:
                    held.wrote(row, began)
            if failures:
                self._telemetry.state_failed(failures[0], who="renewals")
            else:
                self._telemetry.state_answered(who="renewals")
        except StateError as error:
            self._telemetry.state_failed(error, who="renewals")
        finally:
            for held in due:
                held.lock.release()
