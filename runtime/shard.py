"""Works on one shard for as long as its lease is held: reads ahead a little, fills the lanes, delivers.

Reading runs ahead of delivery by a bounded number of bytes. Each lane has one batch in flight; all records of one key go to one
lane (COM-61). The shard has ended when it was read to its end and all lanes are done; only then may its children start.

What the filters leave out enters no lane: it is done with at once, and the position moves past it as far as earlier records let
it (FLT-61). Where no batch writes that position, `_write_positions` does.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from operator import lt
from typing import Final

import anyio
import anyio.lowlevel

from pollers.errors import PositionTrimmed, SourceError
from pollers.record import TRIM_HORIZON, Position, PositionKind, Record, RecordId, ShardPage
from pollers.source import ShardReader
from runtime.clock import loop_clock
from runtime.core.batching import BatchWindow
from runtime.core.mapping import BatchLimits
from runtime.core.pacing import RECORD_COST, plan_ahead, plan_page, plan_read
from runtime.core.tumbling import EVENT_ROOM, QUIET
from runtime.drain import Drain
from runtime.lease_keeper import HeldLease
from runtime.retention import Retention
from runtime.shard_status import ShardStatus
from runtime.sieve import Sieve
from runtime.source_health import SourceHealth
from runtime.stream_delivery import StreamDelivery
from runtime.stream_parts import StreamParts
from runtime.stream_telemetry import StreamTelemetry

_FIRST_COST: Final = 4096.0
"""Bytes that a record is thought to take before any was seen."""
_READ_TIME: Final = 60.0
"""Seconds that one read may take, the client's own time limits and retries included."""
_LAST_WORD: Final = 5.0
_ID_COST: Final = 40
"""So many bytes of the memory to read ahead for each record that is done and cannot be checkpointed yet."""
_GONE: Final = "ResourceNotFoundException"
_WRITE_EVERY: Final = 1.0
"""Seconds between checkpoints that only pass records that were left out."""
_SIFT_AT_ONCE: Final = 500
"""Records after which others have their turn: their data is parsed, and a page may have 10,000."""
_NO_PLACE: Final = nullcontext()


@dataclass(slots=True, kw_only=True)
class _Lane:
    number: int
    window: BatchWindow
    busy: bool = False
    free_since: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def waiting(self) -> int:
        """What its records that are not yet in flight cost, in bytes."""
        return self.window.size + RECORD_COST * len(self.window)

    @property
    def hungry(self) -> bool:
        """It waits for records to fill a batch."""
        return not self.busy and self.window.missing > 0


class ShardRun:
    """One run, from the lease's checkpoint on. `run` may be called once."""

    def __init__(
        self,
        parts: StreamParts,
        held: HeldLease,
        *,
        status: ShardStatus,
        telemetry: StreamTelemetry,
        health: SourceHealth,
        retention: Retention,
        shards: Callable[[], int],
        announce_end: Callable[[str], Awaitable[None]],
    ) -> None:
        """`shards`: how many this mapping has here, for sharing its memory among them.

        `announce_end` is called when all of the shard is done, before that is written.
        """
        settings = parts.settings
        self._parts = parts
        self._sieve = Sieve(parts.mapping, parts.spec)
        self._passed = anyio.Event()
        """Records were left out, and the position may have moved."""
        self._passed_until = 0.0
        """When the latest record that was left out had entered the stream: epoch seconds."""
        self._held = held
        self._status = status
        self._telemetry = telemetry
        self._health = health
        self._shards = shards
        self._announce_end = announce_end
        self._shard = held.lease.shard
        self._closing = Drain()
        self._delivery = StreamDelivery(
            parts, held, status=status, telemetry=telemetry, closing=self._closing, retention=retention
        )
        limits = _limits(parts)
        self._lanes = [_Lane(number=number, window=BatchWindow(limits)) for number in range(settings.lanes)]
        self._two_batches = 2 * limits.records * settings.lanes
        """Records, of each lane."""
        self._scope = anyio.CancelScope()
        self._reading = anyio.CancelScope()
        self._room = anyio.Event()
        self._mean_cost = _FIRST_COST
        self._read_to_end = False
        self._reader: ShardReader | None = None
        self._last_call = -inf
        """When the shard was last asked for records."""
        self._out_of_step = False
        self._caught_up: float | None = None
        """Since when reads have brought nothing, and nothing more is there."""
        self._now = loop_clock()
        self._last_sequence = int(held.lease.checkpoint.sequence or 0)

    async def run(self) -> None:
        """Until the shard ends, is closed or is cut off. What is not finished is left to whoever opens the shard next."""
        with self._scope:
            async with anyio.create_task_group() as upkeep:
                worked = anyio.Event()
                if not self._sieve.open:
                    upkeep.start_soon(self._write_positions, worked, name=f"{self._shard} positions")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._read_all, name=f"{self._shard} read")
                    for lane in self._lanes:
                        tasks.start_soon(self._run_lane, lane, name=f"{self._shard} lane {lane.number}")
                worked.set()
                self._passed.set()
            if self._read_to_end and not len(self._delivery.checkpoints.progress) and await self._delivery.end_window():
                await self._announce_end(self._shard)
                await self._delivery.checkpoints.end_shard()
                self._telemetry.shard_ended(self._shard)

    def close(self) -> None:
        """Read no more and start no more invocations; what runs is finished and its checkpoint written."""
        self._closing.begin()
        self._reading.cancel()
        self._wake_lanes()

    def cut(self) -> None:
        """End it at once; nothing is lost but work in flight, which is repeated from the checkpoint."""
        self._scope.cancel()

    # reading

    async def _read_all(self) -> None:
        try:
            with self._reading:
                await self._read_on()
                self._read_to_end = True
        finally:
            self._close_reader()
        self._wake_lanes()

    async def _read_on(self) -> None:
        reader = await self._open(self._held.lease.checkpoint)
        more, pushed = True, False
        while reader is not None and not self._read_to_end:
            await (asyncio.sleep(0) if pushed else self._wait_turn(more=more))
            page = await self._read(reader, pushed=pushed)
            if page is None:
                reader = await self._open(TRIM_HORIZON)
                await anyio.sleep(self._parts.spec.base_interval)
                continue
            more, pushed = page.more, page.pushed
            await self._take_in(page)
            del page  # else it would be kept until the next one is there

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    async def _open(self, position: Position) -> ShardReader | None:
        """None: the shard is not there any more."""
        self._close_reader()
        opened_at, latest = self._parts.clock(), position.kind is PositionKind.LATEST
        while True:
            try:
                with self._status.busy(_READ_TIME):
                    async with self._parts.reads:
                        self._reader = reader = await self._parts.source.open_shard(self._shard, position)
            except SourceError as error:
                if isinstance(error, PositionTrimmed) and position != TRIM_HORIZON:
                    self._tell_gap(error, goes_on=str(TRIM_HORIZON))
                    position = TRIM_HORIZON
                    continue
                if await self._is_gone(error):
                    self._tell_gap(error, goes_on="nowhere: the shard has left the stream")
                    return None
                await self._back_off(error)
                position = Position.at(opened_at) if latest else position  # what LATEST meant at the first try
            else:
                self._answered()
                if latest:
                    await self._pin(Position.at(opened_at))
                return reader

    async def _pin(self, position: Position) -> None:
        """Nothing is read before it is kept what LATEST meant. Tried once more also when the shard closes just now."""
        pinned = False
        while not pinned:
            with anyio.move_on_after(_LAST_WORD, shield=True):
                await self._delivery.checkpoints.pin(position)
                pinned = True
            await anyio.lowlevel.checkpoint()

    async def _read(self, reader: ShardReader, *, pushed: bool) -> ShardPage | None:
        """None: what comes next has left the stream. What is pushed is waited for, so that takes no place among the reads."""
        while True:
            while (space := self._space()) <= 0:
                self._room = anyio.Event()
                await self._room.wait()
            limit = plan_page(space, mean_cost=self._mean_cost, most=self._parts.spec.page_limit)
            self._last_call = self._now()
            try:
                with self._status.busy(_READ_TIME):
                    async with _NO_PLACE if pushed else self._parts.reads:
                        page = await reader.read(limit=limit)
            except PositionTrimmed as error:
                self._tell_gap(error, goes_on=str(TRIM_HORIZON))
                return None
            except SourceError as error:
                if await self._is_gone(error):
                    self._tell_gap(error, goes_on="nowhere: the shard has left the stream")
                    return ShardPage(ended=True)
                await self._back_off(error)
                await self._wait_turn(more=True)
            else:
                self._answered()
                return page

    async def _take_in(self, page: ShardPage) -> None:
        now = self._now()
        self._status.last_read = self._status.alive = now
        self._status.in_vain = 0
        self._status.behind = page.behind
        self._held.read(page.size)
        records, ids = self._cut_repeated(page.records)
        read = len(records)
        if self._parts.spec.expand is not None:
            records = self._parts.spec.expand(records)
            ids = [record.id for record in records]
        self._telemetry.mapping.batch_polled(len(records), oldest_age=0.0)
        size = sum([record.size for record in records])
        if records:
            self._mean_cost = (size + RECORD_COST * len(records)) / read
        wanted, left_out = (records, ()) if self._sieve.open else await self._sift(records)
        self._read_to_end = page.ended
        progress = self._delivery.checkpoints.progress
        if self._sieve.open:
            progress.begin(ids)
        self._status.working_since = now if not self._status.unfinished else self._status.working_since
        self._status.unfinished = len(progress)
        if wanted:
            for lane, share in zip(self._lanes, _share_out(wanted, len(self._lanes)), strict=True):
                lane.window.add(share, now, size=size if share is records else None)
        self._caught_up = None if wanted or page.more else (self._caught_up or now)
        if self._parts.status.tap.listening:
            self._tell_received(records, left_out, now)
        self._wake_lanes()  # also for nothing: one may wait for the end of a tumbling window

    async def _sift(self, records: Sequence[Record]) -> tuple[Sequence[Record], Sequence[Record]]:
        """Those for the function; the others are done with, and the position may pass them. They are given where one listens."""
        progress = self._delivery.checkpoints.progress
        wanted: list[Record] = []
        left_out: list[Record] = []
        ends: list[Record] = []
        steps: list[Record] = []
        for begin in range(0, len(records), _SIFT_AT_ONCE):
            if begin:
                await asyncio.sleep(0)
            some = records[begin : begin + _SIFT_AT_ONCE]
            passed, ends_here, steps_here = self._sieve.runs(some)
            wanted += passed
            ends += ends_here
            steps += steps_here
            if ends_here and self._parts.status.tap.listening:
                kept = {record.id for record in passed}
                left_out += [record for record in some if record.id not in kept]
        # All at once: of an aggregate that is begun in part the position would not know the rest.
        progress.begin([record.id for record in steps])
        if ends:
            progress.finish(ends)
            self._telemetry.mapping.records_filtered_out(len(records) - len(wanted))
            self._passed.set()
            self._passed_until = max(self._passed_until, ends[-1].arrived)
        return wanted, left_out

    async def _write_positions(self, worked: anyio.Event) -> None:
        """Of what was left out, until all others have `worked`. What a batch writes meanwhile is not written twice.

        It is never cancelled in the middle of a write: whether that was done would not be known.
        """
        while not worked.is_set():
            await self._passed.wait()
            self._passed = anyio.Event()
            await self._delivery.checkpoints.advance()
            with anyio.move_on_after(_WRITE_EVERY):
                await worked.wait()
        await self._delivery.checkpoints.advance()

    def _tell_received(self, records: Sequence[Record], left_out: Sequence[Record], now: float) -> None:
        due = [left for lane in self._lanes if (left := lane.window.remaining(now, since=lane.free_since)) is not None]
        waiting = sum(len(lane.window) for lane in self._lanes)
        self._parts.status.tap.received(records, shard=self._shard, waiting=waiting, due=min(due, default=None))
        self._parts.status.tap.filtered(left_out, shard=self._shard, why=self._sieve.why)

    def _cut_repeated(self, records: tuple[Record, ...]) -> tuple[Sequence[Record], Sequence[RecordId]]:
        """Without what was read before, and the ids of the rest. Compared as numbers (KIN-22).

        Readers cut by where each of them stands. After a gap one begins at TRIM_HORIZON, which may lie before the position where
        a service drops records late, and the position must not go back (COM-63).
        """
        if not records:
            return (), ()
        ids = [record.id for record in records]
        last, self._last_sequence = self._last_sequence, max(self._last_sequence, int(records[-1].id))
        if int(ids[0]) > last and _are_distinct(ids):
            return records, ids
        if int(records[-1].id) <= last:
            self._telemetry.page_repeated(self._shard, first=records[0].id, last=records[-1].id, known=str(last))
        kept: list[Record] = []
        for record in records:
            if int(record.id) > last:
                kept.append(record)
                last = int(record.id)
        return kept, [record.id for record in kept]

    def _space(self) -> int:
        """Bytes that may be read now. Lanes that fill a batch may have what it needs, the others share what is read ahead.

        Nothing, when too many records wait for one that blocks the checkpoint: a crash would repeat them all.
        """
        ahead = plan_ahead(self._shards())
        unfinished = len(self._delivery.checkpoints.progress)
        if unfinished >= self._two_batches and unfinished >= ahead // _ID_COST:
            return 0
        if len(self._lanes) == 1:
            (lane,) = self._lanes
            if not lane.hungry:
                return ahead - lane.waiting
            return min(ahead, lane.window.room + RECORD_COST * lane.window.missing)
        hungry = [lane for lane in self._lanes if lane.hungry]
        space = ahead - sum(lane.waiting for lane in self._lanes if not lane.hungry)
        wanted = sum(lane.window.room + RECORD_COST * lane.window.missing for lane in hungry)
        return min(space, wanted) if hungry else space

    async def _wait_turn(self, *, more: bool) -> None:
        spec, share = self._parts.spec, self._parts.settings.read_share
        due = plan_read(self._last_call, more=more, base=spec.base_interval, rate=spec.calls_per_second, share=share)
        if not more and not self._out_of_step:  # shards that were opened together are not to be read together ever after
            self._out_of_step = True
            due = max(due - spec.base_interval * self._parts.jitter(), self._last_call + 1 / (spec.calls_per_second * share))
        if (pause := due - self._now()) > 0:
            with self._status.busy(pause):
                await asyncio.sleep(pause)
        else:
            await asyncio.sleep(0)  # whoever reads on and on lets others work

    # trouble at the source

    async def _back_off(self, error: SourceError) -> None:
        self._status.error = error
        self._caught_up = None
        pause = self._health.failed(self._shard, error)
        with self._status.busy(pause):
            await anyio.sleep(pause)

    def _answered(self) -> None:
        if self._status.error is not None:
            self._status.error = None
            self._health.answered(self._shard)

    async def _is_gone(self, error: SourceError) -> bool:
        """Whether the shard has left the stream, and not the stream itself."""
        if error.code != _GONE:
            return False
        try:
            return self._shard not in {shard.id for shard in await self._parts.source.list_shards()}
        except SourceError:
            return False  # the next try asks again; meanwhile the shard shows the error above

    def _tell_gap(self, error: SourceError, *, goes_on: str) -> None:
        self._telemetry.position_lost(self._shard, checkpoint=str(self._held.lease.checkpoint), goes_on=goes_on, error=error)

    # delivering

    async def _run_lane(self, lane: _Lane) -> None:
        while not self._closing.begun:
            now = self._now()
            due = lane.window.remaining(now, since=lane.free_since)
            quiet = self._window_over(now)
            if due is not None and (due <= 0 or quiet <= 0 or self._read_to_end):
                if not await self._deliver_next(lane):
                    return
            elif self._read_to_end:
                return
            elif quiet <= 0:
                if not await self._delivery.end_window():
                    return
            else:
                lane.changed.clear()
                pause = min(inf if due is None else due, quiet)
                if pause == inf:
                    await lane.changed.wait()
                else:
                    with anyio.move_on_after(pause):
                        await lane.changed.wait()

    async def _deliver_next(self, lane: _Lane) -> bool:
        delivering = self._delivery.deliver(lane.window.take(), lane.number)  # which alone holds the batch
        lane.busy = True
        self._room.set()
        try:
            done = await delivering
            if done:
                await self._delivery.checkpoints.advance()
            return done
        finally:
            lane.busy = False
            lane.free_since = self._now()
            self._room.set()

    def _window_over(self, now: float) -> float:
        """Seconds until the open tumbling window is over for want of records (COM-97); infinite while more may be on its way.

        A record that was left out tells the time of the stream as well as any other.
        """
        window = self._delivery.checkpoints.window
        if window is not None and self._passed_until >= window.end:
            return 0.0
        if window is None or self._caught_up is None:
            return inf
        return max(window.end - self._parts.clock(), self._caught_up + QUIET - now)

    def _wake_lanes(self) -> None:
        for lane in self._lanes:
            lane.changed.set()


def _are_distinct(ids: Sequence[RecordId]) -> bool:
    """As nearly always because they rise, which takes a third of hashing them."""
    return all(map(lt, ids, islice(ids, 1, None))) or len(set(ids)) == len(ids)


def _limits(parts: StreamParts) -> BatchLimits:
    """The event of a tumbling window has its state beside the records."""
    limits = parts.mapping.batch
    if not parts.settings.tumbling_window:
        return limits
    return BatchLimits(records=limits.records, window=limits.window, size=limits.size - EVENT_ROOM)


def _share_out(records: Sequence[Record], lanes: int) -> list[Sequence[Record]]:
    """For each lane what is its own, in order."""
    if lanes == 1:
        return [records]
    shares: list[list[Record]] = [[] for _ in range(lanes)]
    for record in records:
        shares[_lane_of(record, lanes)].append(record)
    return [*shares]


def _lane_of(record: Record, lanes: int) -> int:
    """A stable hash of the key, so that its order is kept (COM-61, COM-62)."""
    return (
        int.from_bytes(hashlib.md5((record.group or "").encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()[:8])
        % lanes
    )
