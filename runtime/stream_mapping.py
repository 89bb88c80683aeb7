"""Runs one mapping of a stream: lists its shards, takes leases, works on what it holds, until the drain.

Every worker does the same rounds from the same rows (`core.lease_plan`); none leads. Stopping: no new lease, read or invocation;
what runs is finished, its checkpoint written, its lease released.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskGroup

from pollers.errors import SourceError
from pollers.record import LATEST, SHARD_END, TRIM_HORIZON, Shard
from runtime.core.lease_plan import plan_leases, unfinished_parents
from runtime.core.mapping import MappingState
from runtime.lease_keeper import HeldLease, LeaseKeeper
from runtime.leases import Lease, StateError
from runtime.shard import ShardRun
from runtime.shard_status import ShardState, ShardStatus
from runtime.source_health import SourceHealth
from runtime.stream_parts import StreamParts
from runtime.stream_telemetry import StreamTelemetry

__all__ = ["StreamParts", "run_stream_mapping"]

_LIST_EVERY: Final = 60.0
"""Seconds between listings of the shards, at most (KIN-41)."""
_DESCRIBE_EVERY: Final = 3600.0
_LAST_WORD: Final = 5.0
"""Seconds for giving a lease up, also when the grace period is over."""
_LISTING: Final = "the listing of shards"


async def run_stream_mapping(parts: StreamParts) -> None:
    """Run until the drain has begun and nothing is in hand any more."""
    await _StreamMapping(parts).run()


class _StreamMapping:
    def __init__(self, parts: StreamParts) -> None:
        self._parts = parts
        self._telemetry = StreamTelemetry(parts.telemetry)
        self._health = SourceHealth(parts.status, self._telemetry, parts.jitter)
        self._keeper = LeaseKeeper(parts.store, worker=parts.worker, failover=parts.failover, telemetry=self._telemetry)
        self._runs: dict[str, ShardRun] = {}
        self._changed = anyio.Event()
        self._list_at = self._describe_at = anyio.current_time()
        self._retention: float | None = None
        self._unlisted: set[str] = set()
        """Shards that the last listing did not show."""
        self._seen: dict[str, tuple[int, float]] = {}
        """For each shard its counter, and since when we have seen it so."""
        self._resuming = True
        self._listing = anyio.CancelScope()

    async def run(self) -> None:
        status = self._parts.status
        status.begin()
        self._watch()
        async with anyio.create_task_group() as upkeep:
            upkeep.start_soon(self._keeper.run, name="renew leases")
            upkeep.start_soon(self._close_when_drained, name="close shards")
            upkeep.start_soon(self._probe_destination, name="probe the destination")
            async with anyio.create_task_group() as shards:
                while not self._parts.drain.begun:
                    pause = await self._round(shards)
                    with anyio.move_on_after(pause):
                        await self._changed.wait()
                    self._changed = anyio.Event()
            upkeep.cancel_scope.cancel()

    async def _close_when_drained(self) -> None:
        await self._parts.drain.wait_begun()
        self._changed.set()
        self._listing.cancel()
        for run in self._runs.values():
            run.close()

    async def _probe_destination(self) -> None:
        """A destination that is not there is to be known before it is needed."""
        finding = await self._parts.destination.probe() if self._parts.destination else None
        if finding is not None and not finding.unverified:
            self._telemetry.destination_warned(finding.message)

    # one round

    async def _round(self, shards: TaskGroup) -> float:
        """Gives the seconds until the next."""
        try:
            leases = await self._parts.store.load(self._parts.scope)
            if anyio.current_time() >= self._list_at:
                leases = await self._list(leases)
            await self._follow_plan(leases, shards)
            self._parts.status.state_error = None
            self._telemetry.state_answered()
        except StateError as error:
            self._parts.status.state_error = str(error)
            self._telemetry.state_failed(error)
            self._list_at = max(self._list_at, anyio.current_time() + self._parts.failover / 3)
        self._watch_runs()
        return min(self._parts.failover / 3, max(0.0, self._list_at - anyio.current_time()))

    async def _list(self, leases: list[Lease]) -> list[Lease]:
        """Make rows for new shards, forget those of shards that are done and gone. While it fails, known shards go on."""
        self._listing = anyio.CancelScope()
        listed = None
        try:
            with self._listing:  # the drain need not wait for it
                listed = await self._parts.source.list_shards()
        except SourceError as error:
            self._list_at = anyio.current_time() + self._health.failed(_LISTING, error)
        if listed is None:
            return leases
        self._listed()
        known = {lease.shard for lease in leases}
        new = [self._new_lease(shard, first=not known) for shard in listed if shard.id not in known]
        gone = known - {shard.id for shard in listed}
        forgotten = [lease for lease in leases if lease.ended and lease.shard in gone & self._unlisted]
        if new:
            await self._parts.store.create(new)
        if forgotten:
            await self._parts.store.delete(forgotten)
        await self._describe()
        self._unlisted = gone
        self._list_at = anyio.current_time() + _LIST_EVERY
        return await self._parts.store.load(self._parts.scope) if new or forgotten else leases

    def _listed(self) -> None:
        self._health.answered(_LISTING)
        if self._parts.status.state is MappingState.CREATING and self._parts.status.move(MappingState.ENABLED):
            self._telemetry.source_answered()
            self._parts.telemetry.state_changed(MappingState.ENABLED)

    def _new_lease(self, shard: Shard, *, first: bool) -> Lease:
        """The starting position is for the shards that exist when the mapping first runs (COM-69, KIN-42)."""
        start = self._parts.settings.start if first else TRIM_HORIZON
        if start == LATEST and shard.closed:
            start = SHARD_END
        return Lease(scope=self._parts.scope, shard=shard.id, parents=shard.parents, checkpoint=start)

    async def _describe(self) -> None:
        if anyio.current_time() < self._describe_at:
            return
        self._describe_at = anyio.current_time() + _DESCRIBE_EVERY
        try:
            self._retention = (await self._parts.source.describe()).retention
        except SourceError as error:
            self._telemetry.retention_unknown(error)

    async def _follow_plan(self, leases: Sequence[Lease], shards: TaskGroup) -> None:
        worker = self._parts.worker
        before = await self._parts.store.silence(self._parts.scope) if self._resuming else {}
        now = anyio.current_time()
        if self._resuming:  # who died before we started need not be waited for as long again
            self._seen = {lease.shard: (lease.counter, now - before.get(lease.shard, 0.0)) for lease in leases}
        self._seen = {lease.shard: self._sight(lease, now) for lease in leases}
        quiet = {shard: now - since for shard, (_, since) in self._seen.items()}
        plan = plan_leases(
            leases,
            worker=worker,
            held=self._keeper.held,
            quiet=quiet,
            failover=self._parts.failover,
            resuming=self._resuming,
        )
        self._resuming = False
        self._show(leases, quiet)
        for lease in plan.take:
            if self._parts.drain.begun:
                return
            held = await self._keeper.take(lease)
            if held is not None:
                shards.start_soon(self._work, held, name=lease.shard)
        for lease in plan.want:
            if await self._parts.store.want(lease, worker):
                self._telemetry.lease_wanted(lease.shard, owner=lease.owner)
        for shard, held in self._keeper.held.items():
            if held.lease.wanted_by not in (None, worker) and shard in self._runs:
                self._runs[shard].close()

    def _sight(self, lease: Lease, now: float) -> tuple[int, float]:
        before = self._seen.get(lease.shard)
        return before if before is not None and before[0] == lease.counter else (lease.counter, now)

    # one shard

    async def _work(self, held: HeldLease) -> None:
        shard = held.lease.shard
        status = self._parts.status.shards.setdefault(shard, ShardStatus(shard=shard))
        self._telemetry.shard_began(shard, checkpoint=str(held.lease.checkpoint))
        try:
            with held.scope:
                while not self._parts.drain.begun and not held.lease.ended and held.lease.wanted_by in (None, self._parts.worker):
                    await self._run(held, status)
        finally:
            with anyio.move_on_after(_LAST_WORD, shield=True):
                await self._keeper.let_go(held)
            self._list_at = anyio.current_time() if held.lease.ended else self._list_at  # its children may start
            self._changed.set()

    async def _run(self, held: HeldLease, status: ShardStatus) -> None:
        run = self._runs[held.lease.shard] = ShardRun(
            self._parts,
            held,
            status=status,
            telemetry=self._telemetry,
            health=self._health,
            retention=self._retention,
            shards=lambda: len(self._runs),
        )
        status.running, status.owner, status.waiting_for = True, self._parts.worker, ()
        status.alive = anyio.current_time()
        status.last_advance = status.last_advance or status.alive
        try:
            await run.run()
        finally:
            del self._runs[held.lease.shard]
            self._health.answered(held.lease.shard)
            status.running, status.owner, status.error = False, None, None
            status.unfinished, status.iterator_age, status.behind = 0, 0.0, None
            status.last_read = status.last_advance = None
            status.blocks.clear()

    # what is told

    def _watch_runs(self) -> None:
        """The watchdog: start a shard again whose tasks show no sign of life."""
        now = anyio.current_time()
        for shard, run in self._runs.items():
            status = self._parts.status.shards[shard]
            if (silent := status.silent(now)) > self._parts.watchdog:
                status.restarts += 1
                status.in_vain += 1
                self._telemetry.shard_restarted(shard, silent=silent)
                run.cut()

    def _show(self, leases: Sequence[Lease], quiet: Mapping[str, float]) -> None:
        rows = {lease.shard: lease for lease in leases}
        shown = self._parts.status.shards
        for gone in shown.keys() - rows.keys():
            del shown[gone]
        for lease in leases:
            status = shown.setdefault(lease.shard, ShardStatus(shard=lease.shard))
            status.ended = lease.ended
            if not status.running:
                status.checkpoint, status.owner = str(lease.checkpoint), lease.owner
                status.namesake = lease.owner == self._parts.worker
                status.owner_silent, status.takeover = quiet[lease.shard], self._parts.failover
                status.waiting_for = unfinished_parents(lease, rows)

    def _watch(self) -> None:
        shards = self._parts.status.shards

        def iterator_age() -> float:
            return max((status.iterator_age for status in shards.values() if status.unfinished), default=0.0)

        def checkpoint_age() -> float:
            now = anyio.current_time()
            return max((now - (status.last_advance or now) for status in shards.values() if status.unfinished), default=0.0)

        def count(state: ShardState) -> int:
            return sum(status.state is state for status in shards.values())

        self._parts.telemetry.watch_shards(iterator_age=iterator_age, checkpoint_age=checkpoint_age)
        for state in ShardState:
            self._parts.telemetry.watch_shard_state(state.value, partial(count, state))
