"""Runs one mapping of a stream: lists its shards, takes leases, works on what it holds, until the drain.

Which leases are this worker's, `sharing` says. Stopping: no new lease, read or invocation; what runs is finished, its checkpoint
written, its lease released.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskGroup

from pollers.errors import SourceError, SourceUnavailable
from pollers.record import LATEST, SHARD_END, TRIM_HORIZON, Shard
from runtime.clock import loop_clock
from runtime.core.backoff import backoff
from runtime.core.lease_plan import passed_shards, unfinished_parents
from runtime.core.mapping import MappingState
from runtime.fleet import Fleet
from runtime.fleet_rows import FleetRows
from runtime.lease_keeper import HeldLease, LeaseKeeper
from runtime.leases import Lease, StateError
from runtime.retention import Retention
from runtime.shard import ShardRun
from runtime.shard_status import Block, ShardState, ShardStatus
from runtime.sharing import Look, SelfPlanned, Sharing
from runtime.source_health import SourceHealth
from runtime.stream_parts import StreamParts
from runtime.stream_telemetry import StreamTelemetry
from runtime.together import run_together

__all__ = ["StreamParts", "run_stream_mapping"]

_LIST_EVERY: Final = 60.0
"""Seconds between listings of the shards, at most (KIN-41)."""
_LONGEST_LISTING: Final = 60.0
_FORGET_AFTER: Final = 3600.0
"""Seconds for which listings must not have shown an ended shard."""
_RESTART_BASE: Final = 1.0
_RESTART_CAP: Final = 60.0
_STEADY: Final = 300.0
"""Seconds after which a crash counts as the first again."""
_REVIVED: Final = (
    "it was read to its end, and is open again: the stream was probably deleted and made again under its name. Delete the"
    " mapping's positions, or give the mapping another name, and it begins at its StartingPosition"
)
_LAST_WORD: Final = 5.0
"""Seconds for giving a lease up, also when the grace period is over."""
_LISTING: Final = "the listing of shards"
_ROUNDS: Final = "rounds"


def _sharing(parts: StreamParts, telemetry: StreamTelemetry) -> Sharing:
    if parts.fleet is None:
        return SelfPlanned(parts.store, parts.scope, worker=parts.worker, failover=parts.failover)
    return Fleet(
        parts.fleet,
        worker=parts.worker,
        failover=parts.failover,
        time_limit=parts.function.timeout,
        clock=parts.clock,
        load=parts.load,
        telemetry=telemetry,
    )


async def run_stream_mapping(parts: StreamParts) -> None:
    """Run until the drain has begun and nothing is in hand any more."""
    await _StreamMapping(parts).run()


class _StreamMapping:
    def __init__(self, parts: StreamParts) -> None:
        self._parts = parts
        self._telemetry = StreamTelemetry(parts.telemetry)
        self._health = SourceHealth(parts.status, self._telemetry, parts.jitter)
        self._runs: dict[str, ShardRun] = {}
        self._changed = anyio.Event()
        self._retention = Retention(parts.source, self._telemetry)
        self._list_at = anyio.current_time()
        self._unlisted: dict[str, float] = {}
        """Shards that no listing has shown, since when."""
        self._revived: set[str] = set()
        """Shards that the last listing showed as open although they were read to their end."""
        self._sharing = _sharing(parts, self._telemetry)
        self._keeper = LeaseKeeper(
            parts.store,
            worker=parts.worker,
            failover=parts.failover,
            telemetry=self._telemetry,
            bound=lambda: self._sharing.bound,
            hand_over=lambda: self._sharing.hand_over,
        )
        self._listing = anyio.CancelScope()

    async def run(self) -> None:
        status = self._parts.status
        status.begin()
        self._watch()
        async with anyio.create_task_group() as upkeep:
            upkeep.start_soon(self._keeper.run, name="renew leases")
            upkeep.start_soon(self._sharing.run, name="share shards")
            upkeep.start_soon(self._close_when_drained, name="close shards")
            upkeep.start_soon(self._probe_destination, name="probe the destination")
            upkeep.start_soon(self._run_watchdog, name="watchdog")
            async with anyio.create_task_group() as shards:
                while not self._parts.drain.begun:
                    pause = await self._round(shards)
                    with anyio.move_on_after(pause):
                        await self._changed.wait()
                    self._changed = anyio.Event()
            upkeep.cancel_scope.cancel()
        with anyio.move_on_after(_LAST_WORD, shield=True):
            await self._end_sharing()

    async def _end_sharing(self) -> None:
        try:
            await self._sharing.end()
        except StateError as error:
            self._telemetry.state_failed(error, who=_ROUNDS)

    async def _close_when_drained(self) -> None:
        await self._parts.drain.wait_begun()
        self._changed.set()
        self._listing.cancel()
        for run in self._runs.values():
            run.close()
        await self._sharing.leave()

    async def _probe_destination(self) -> None:
        """A destination that is not there is to be known before it is needed."""
        finding = await self._parts.destination.probe() if self._parts.destination else None
        if finding is not None and not finding.unverified:
            self._telemetry.destination_warned(finding.message)

    # one round

    async def _round(self, shards: TaskGroup) -> float:
        """Gives the seconds until the next."""
        try:
            look = await self._sharing.look(self._keeper.held)
            if anyio.current_time() >= self._list_at and await self._list(look.leases):
                look = await self._sharing.look(self._keeper.held)
            await self._follow(look, shards)
            self._tell_state(look.problem)
        except StateError as error:
            self._tell_state(error)
            self._list_at = max(self._list_at, anyio.current_time() + self._parts.failover / 3)
        return min(self._sharing.pause, max(0.0, self._list_at - anyio.current_time()))

    def _tell_state(self, problem: StateError | None) -> None:
        self._parts.status.tell_state(None if problem is None else str(problem))
        if problem is None:
            self._telemetry.state_answered(who=_ROUNDS)
        else:
            self._telemetry.state_failed(problem, who=_ROUNDS)

    async def _list(self, leases: Sequence[Lease]) -> bool:
        """Make rows for new shards, forget those of shards that are done and long gone; whether there was anything to do.

        While it fails, known shards go on.
        The rows are loaded anew after the listing: if there are none then, all that it shows was there before the first run.
        """
        listed = await self._ask_shards()
        if listed is None:
            return False
        self._list_at = anyio.current_time() + _LIST_EVERY
        if not self._sharing.lists:
            return False
        leases = await self._parts.store.load(self._parts.scope)
        known = {lease.shard for lease in leases}
        parents = {shard.id: shard.parents for shard in listed}
        done = known | passed_shards(leases, parents)
        new = [self._new_lease(shard, first=not known) for shard in listed if shard.id not in done]
        new.sort(key=lambda lease: len(passed_shards([lease], parents)))  # of many some may be written: the oldest first
        forgotten = self._forgotten(leases, {shard.id for shard in listed})
        if new:
            await self._parts.store.create(new)
        if forgotten:
            await self._parts.store.delete(forgotten)
        self._find_revived(leases, {shard.id for shard in listed if not shard.closed})
        return bool(new or forgotten)

    async def _ask_shards(self) -> list[Shard] | None:
        """None: no answer, or the drain begins, which need not wait for one."""
        if self._parts.drain.begun:
            return None
        listed = None
        self._listing = anyio.CancelScope(deadline=anyio.current_time() + _LONGEST_LISTING)
        try:
            with self._listing:
                listed = await self._parts.source.list_shards()
                await self._retention.refresh()
            if listed is None and not self._parts.drain.begun:
                raise SourceUnavailable(f"{_LISTING}: no answer in {_LONGEST_LISTING:.0f} seconds", code="no_answer")
        except SourceError as error:
            self._list_at = anyio.current_time() + self._health.failed(_LISTING, error)
        if listed is not None:
            self._listed()
        return listed

    def _forgotten(self, leases: Sequence[Lease], listed: Collection[str]) -> list[Lease]:
        """Ended shards that listings have not shown for long: one that came back would be read from its beginning."""
        now = anyio.current_time()
        self._unlisted = {lease.shard: self._unlisted.get(lease.shard, now) for lease in leases if lease.shard not in listed}
        return [lease for lease in leases if lease.ended and now - self._unlisted.get(lease.shard, now) >= _FORGET_AFTER]

    def _find_revived(self, leases: Sequence[Lease], opened: Collection[str]) -> None:
        """A shard that ended is never open again: this one is of another stream, made under the same name."""
        found = {lease.shard for lease in leases if lease.ended and lease.shard in opened}
        for shard in self._revived - found:
            if shard in self._parts.status.shards:
                self._parts.status.shards[shard].problem = None
        for shard in found & self._revived:
            status = self._parts.status.shards.get(shard)
            if status is not None and status.problem is None:
                status.problem = _REVIVED
                self._telemetry.shard_revived(shard, problem=_REVIVED)
        self._revived = found

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
        return Lease(scope=self._parts.scope, shard=shard.id, parents=shard.parents, checkpoint=start, keys=shard.keys)

    async def _follow(self, look: Look, shards: TaskGroup) -> None:
        self._show(look)
        taken: list[HeldLease] = []

        async def take(lease: Lease) -> None:
            if not self._parts.drain.begun and (held := await self._keeper.take(lease)) is not None:
                taken.append(held)

        try:
            await run_together([partial(take, lease) for lease in look.take])
        finally:  # what was taken is worked on, also when another take fails
            for held in taken:  # not before all are taken: the first would be in the way of the last
                shards.start_soon(self._work, held, name=held.lease.shard)
        for lease in look.want:
            if await self._parts.store.want(lease, self._parts.worker):
                self._telemetry.lease_wanted(lease.shard, owner=lease.owner)
        for shard, held in self._keeper.held.items():
            if held.lease.wanted_by not in (None, self._parts.worker) and shard in self._runs:
                self._runs[shard].close()

    # one shard

    async def _work(self, held: HeldLease) -> None:
        shard = held.lease.shard
        status = self._parts.status.shards.setdefault(shard, ShardStatus(shard=shard, clock=loop_clock()))
        self._telemetry.shard_began(shard, checkpoint=str(held.lease.checkpoint))
        try:
            with held.scope:
                crashes = 0
                while self._may_work(held) and not held.lease.ended:
                    began = anyio.current_time()
                    try:
                        if await self._wait_ready(held, status):
                            await self._run(held, status)
                    except Exception as error:  # noqa: BLE001  # one bad shard must not stop the others
                        crashes = 1 if anyio.current_time() - began > _STEADY else crashes + 1
                        await self._rest_after_crash(error, status, crashes)
        finally:
            if held.expired:
                self._sharing.lost(held.lease)
            status.in_vain = 0
            self._telemetry.state_answered(who=shard)  # whatever its store calls met, it asks no more
            with anyio.move_on_after(_LAST_WORD, shield=True):
                await self._keeper.let_go(held)
            self._list_at = anyio.current_time() if held.lease.ended else self._list_at  # its children may start
            self._changed.set()

    def _may_work(self, held: HeldLease) -> bool:
        return not self._parts.drain.begun and held.lease.wanted_by in (None, self._parts.worker)

    async def _wait_ready(self, held: HeldLease, status: ShardStatus) -> bool:
        """Until the shards before it have ended; False: the shard is to be given up first."""
        while self._may_work(held):
            try:
                status.waiting_for = await self._sharing.ready(held.lease)
            except StateError as error:
                self._telemetry.state_failed(error, who=held.lease.shard)
            else:
                if not status.waiting_for:
                    return self._may_work(held)  # the drain may have begun meanwhile
            await self._parts.drain.pause(self._sharing.pause)
        return False

    async def _announce_end(self, shard: str) -> None:
        """The rows of its children are there before it is known to have ended, so that nobody takes the stream for shorter."""
        if not self._sharing.announces:
            return
        while True:
            try:
                listed = await self._parts.source.list_shards()
                children = [each for each in listed if shard in each.parents]
                if self._parts.fleet is not None and children:
                    await self._make_rows(self._parts.fleet, {each.id: each for each in listed}, children)
                    await self._parts.fleet.describe_children(shard, [child.id for child in children])
            except SourceError as error:
                await anyio.sleep(self._health.failed(shard, error))
            except StateError as error:
                self._telemetry.state_failed(error, who=shard)
                await anyio.sleep(self._sharing.pause)
            else:
                self._health.answered(shard)
                return

    async def _make_rows(self, fleet: FleetRows, listed: Mapping[str, Shard], children: Sequence[Shard]) -> None:
        """Of these, and of what comes before them where there is none either: a parent without a row counts as finished.

        In one step, so that nobody sees a child of a merge without its other parent.
        """
        new: dict[str, Shard] = {}
        unseen = {child.id: child for child in children}
        while unseen:
            known = {lease.shard for lease in await fleet.find(list(unseen))}
            missing = [shard for shard in unseen.values() if shard.id not in known]
            new |= {shard.id: shard for shard in missing}
            parents = {parent for shard in missing for parent in shard.parents}
            unseen = {parent: listed[parent] for parent in sorted(parents) if parent in listed and parent not in new}
        await self._parts.store.create([self._new_lease(shard, first=False) for shard in reversed(new.values())])

    async def _rest_after_crash(self, error: Exception, status: ShardStatus, crashes: int) -> None:
        pause = backoff(crashes, base=_RESTART_BASE, cap=_RESTART_CAP, jitter=self._parts.jitter())
        self._telemetry.shard_crashed(status.shard, error, restart_in=pause)
        status.restarts += 1
        status.running, status.alive = True, anyio.current_time()
        status.blocks[0] = Block(reason=f"it crashed, see the log: {type(error).__name__}", since=self._parts.clock())
        with status.busy(pause):
            await self._parts.drain.pause(pause)
        status.running = False
        status.blocks.clear()

    async def _run(self, held: HeldLease, status: ShardStatus) -> None:
        run = self._runs[held.lease.shard] = ShardRun(
            self._parts,
            held,
            status=status,
            telemetry=self._telemetry,
            health=self._health,
            retention=self._retention,
            shards=lambda: len(self._runs),
            announce_end=self._announce_end,
        )
        status.running, status.owner, status.waiting_for = True, self._parts.worker, ()
        status.alive = anyio.current_time()
        try:
            await run.run()
        finally:
            del self._runs[held.lease.shard]
            self._health.forget(held.lease.shard)
            status.running, status.owner, status.error = False, None, None
            status.unfinished, status.behind = 0, None
            status.in_flight.clear()
            status.last_read = status.last_advance = None
            status.blocks.clear()

    # what is told

    async def _run_watchdog(self) -> None:
        """Start a shard again whose tasks show no sign of life."""
        while True:
            await anyio.sleep(self._parts.watchdog / 10)
            now = anyio.current_time()
            for shard, run in self._runs.items():
                status = self._parts.status.shards[shard]
                if (silent := status.silent(now)) > self._parts.watchdog:
                    status.restarts += 1
                    status.in_vain += 1
                    status.alive = now
                    self._telemetry.shard_restarted(shard, silent=silent)
                    run.cut()

    def _show(self, look: Look) -> None:
        self._parts.status.fleet = self._sharing.seen
        rows = {lease.shard: lease for lease in look.leases}
        shown = self._parts.status.shards
        for gone in [shard for shard in shown if shard not in rows and shard not in self._runs]:
            del shown[gone]
        for lease in look.leases:
            status = shown.get(lease.shard)
            if status is None:
                status = shown[lease.shard] = ShardStatus(shard=lease.shard, clock=loop_clock())
            status.ended = lease.ended
            if not status.running and lease.shard not in self._keeper.held:
                status.checkpoint, status.owner = str(lease.checkpoint), lease.owner
                status.namesake = self._sharing.is_namesake(lease)
                status.owner_silent, status.takeover = look.quiet[lease.shard], self._parts.failover
                status.waiting_for = unfinished_parents(lease, rows)

    def _watch(self) -> None:
        shards = self._parts.status.shards

        def iterator_age() -> float:
            wall = self._parts.clock()
            return max((status.iterator_age(wall) for status in shards.values()), default=0.0)

        def checkpoint_age() -> float:
            now = anyio.current_time()
            return max((status.standing_still(now) for status in shards.values()), default=0.0)

        def count(state: ShardState) -> int:
            return sum(status.state is state for status in shards.values())

        def leads() -> bool:
            seen = self._sharing.seen
            return seen is not None and seen.leads

        self._parts.telemetry.watch_shards(iterator_age=iterator_age, checkpoint_age=checkpoint_age)
        if self._parts.fleet is not None:
            self._parts.telemetry.watch_leader(leads)
        for state in ShardState:
            self._parts.telemetry.watch_shard_state(state.value, partial(count, state))
