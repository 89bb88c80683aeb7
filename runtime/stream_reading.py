"""Reads the shards of a stream beside its mappings: no lease, no checkpoint, nothing that other readers notice but the rate.

The records of a shard come after those of its parents (KIN-40, DDB-13), each shard in order, several shards side by side.
So do `esm record`, `esm replay` and `esm tail ARN`: `Wanted` says what each of them asks for, and its `Taker` what becomes of it.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup

from pollers.errors import PositionTrimmed, SourceError, SourceRejected, SourceUnavailable
from pollers.record import LATEST, TRIM_HORIZON, Position, PositionKind, Record, Shard, ShardPage
from pollers.source import ShardReader, StreamSource, StreamSpec
from runtime.core.pacing import plan_read
from runtime.patience import Patience, Waiting
from runtime.replay.selection import past

_LIST_EVERY: Final = 10.0
"""Seconds between listings while new shards may come: of some that end, the children are not listed at once."""
_PATIENCE: Final = 15.0
"""Seconds until it is clear that nobody answers at all."""
_SHARDS_AT_ONCE: Final = 64
"""When they are read to their end. Who follows holds all of them open."""
_READS_AT_ONCE: Final = 16
"""A page may have 10 MB."""
_EMPTY_PAGES: Final = 5
"""So many in a row end an open shard whose service does not say how far behind a page is (KIN-16: one says nothing)."""
_SHOWN: Final = 5
_GONE: Final = "ResourceNotFoundException"


class ShardLeft(PositionTrimmed):
    """The whole shard has left the stream: what was not read of it is gone."""


class Taker(Protocol):
    """What becomes of records that are read. Its waiting holds the shard up, and no other."""

    async def begin(self, shard: Shard) -> None: ...

    async def take(self, shard: Shard, page: ShardPage, records: Sequence[Record]) -> None:
        """`records`: those of the page that lie within the bounds. Called for empty pages, too."""
        ...

    async def end(self, shard: Shard) -> None:
        """All that was asked for of this shard was taken; its children come now."""
        ...

    def trimmed(self, shard: Shard, error: PositionTrimmed) -> None:
        """The beginning is gone: the shard is read from what is left, or has ended where the error is a `ShardLeft`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be read."""

    since: Position = TRIM_HORIZON
    """Sequence numbers are of one shard: then name it in `shards`. LATEST is when a shard was first asked for it."""
    until: Position | None = None
    """A time is not taken any more, a position is the last one. A time that is still to come is waited for."""
    shards: frozenset[str] = field(default_factory=frozenset)
    """Empty: all, and those that come later."""
    follow: bool = False
    """Go on when everything was read, and wait for more."""
    page: int = 10_000
    """Records of one read, at most."""
    share: float = 1.0
    """Of the reads of a shard that its service allows for all its readers together."""


async def read_stream(
    source: StreamSource,
    spec: StreamSpec,
    wanted: Wanted,
    taker: Taker,
    *,
    clock: Callable[[], float] = time.time,
    opened: Callable[[int], None] = lambda _: None,
    waiting: Callable[[str], Waiting] = lambda _: Patience(_PATIENCE),
) -> None:
    """Read until all is taken; with `follow` until it is cancelled, or every shard that was named has ended.

    `clock`: seconds since the epoch. `opened` is told once, with their number, that the first shards are open: what is put from
    then on is read. `waiting`: what trouble means once the stream has answered, by shard; with an empty name, of the listing.
    Raises SourceError, and what `taker` raises (in groups).
    """
    await _StreamReading(source, spec, wanted, taker, clock=clock, opened=opened, waiting=waiting).run()


class _StreamReading:
    def __init__(
        self,
        source: StreamSource,
        spec: StreamSpec,
        wanted: Wanted,
        taker: Taker,
        *,
        clock: Callable[[], float],
        opened: Callable[[int], None],
        waiting: Callable[[str], Waiting],
    ) -> None:
        self._source = source
        self._spec = spec
        self._wanted = wanted
        self._taker = taker
        self._clock = clock
        self._tell_opened = opened
        self._waiting_for = waiting
        self._first: set[str] | None = None
        """Shards that are to be open before `opened` is told; None: they were."""
        self._known: set[str] = set()
        self._waiting: dict[str, tuple[Shard, Position]] = {}
        """Shards whose parents are still being read, and where each begins."""
        self._open: set[str] = set()
        self._listing_due = True
        self._changed = anyio.Event()
        self._places = None if self._waits_for_more else anyio.Semaphore(_SHARDS_AT_ONCE)
        self._reads = anyio.Semaphore(_READS_AT_ONCE)

    @property
    def _waits_for_more(self) -> bool:
        until = self._wanted.until
        to_come = until is not None and until.kind is PositionKind.AT_TIMESTAMP and self._clock() < until.timestamp
        return self._wanted.follow or to_come

    async def run(self) -> None:
        self._learn_first(await self._list(Patience(_PATIENCE)))
        async with anyio.create_task_group() as tasks:
            self._start_ready(tasks)
            self._first = set(self._open)
            self._note_open("")
            while self._open or self._waiting or self._listing_due or (self._waits_for_more and not self._wanted.shards):
                with anyio.move_on_after(_LIST_EVERY) as pause:
                    await self._changed.wait()
                self._changed = anyio.Event()
                if self._listing_due or (pause.cancelled_caught and self._waits_for_more):
                    self._listing_due = False
                    self._learn_more(await self._list(self._waiting_for("")))
                    self._start_ready(tasks)

    # shards

    async def _list(self, waiting: Waiting) -> list[Shard]:
        while True:
            try:
                listed = await self._source.list_shards()
            except SourceError as error:
                await waiting.wait(error)
            else:
                waiting.reset()
                return listed

    def _learn_first(self, listed: Collection[Shard]) -> None:
        self._listing_due = False
        wanted, since = self._wanted, self._wanted.since
        if missing := sorted(wanted.shards - {shard.id for shard in listed}):
            there = sorted(shard.id for shard in listed)
            more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
            text = f"the stream has no shard {', '.join(missing)}: it has {', '.join(there[:_SHOWN]) or 'none'}{more}"
            raise SourceRejected(text, code="unknown_shard")
        for shard in listed:
            self._known.add(shard.id)
            if (not wanted.shards or shard.id in wanted.shards) and not (since == LATEST and shard.closed):
                self._waiting[shard.id] = shard, since

    def _learn_more(self, listed: Collection[Shard]) -> None:
        """Shards that come later are read from their beginning: nothing in them is older than what was wanted."""
        if self._wanted.shards:
            return
        since = self._wanted.since
        for shard in listed:
            if shard.id not in self._known:
                self._known.add(shard.id)
                self._waiting[shard.id] = shard, since if since.kind is PositionKind.AT_TIMESTAMP else TRIM_HORIZON

    def _start_ready(self, tasks: TaskGroup) -> None:
        for shard, position in list(self._waiting.values()):
            if not any(parent in self._waiting or parent in self._open for parent in shard.parents):
                del self._waiting[shard.id]
                self._open.add(shard.id)
                tasks.start_soon(self._read_shard, shard, position, tasks, name=f"read {shard.id}")

    def _note_open(self, shard: str) -> None:
        if self._first is not None:
            self._first.discard(shard)
            if not self._first:
                self._first = None
                self._tell_opened(len(self._open))

    # one shard

    async def _read_shard(self, shard: Shard, position: Position, tasks: TaskGroup) -> None:
        async with self._places or nullcontext():
            await self._taker.begin(shard)
            await self._read_all(shard, position)
            await self._taker.end(shard)
        self._note_open(shard.id)
        self._open.discard(shard.id)
        self._start_ready(tasks)  # its children need not wait for a listing that is out of reach
        self._changed.set()

    async def _read_all(self, shard: Shard, position: Position) -> None:
        reader: ShardReader | None = None
        asked_at = self._clock()
        waiting = self._waiting_for(shard.id)
        empty = 0
        while True:
            more_to_come = self._waits_for_more  # before it is read: what comes in the meantime is for the next read
            try:
                if reader is None:
                    reader = await self._source.open_shard(shard.id, position)
                    self._note_open(shard.id)
                async with self._reads:
                    page = await reader.read(limit=min(self._wanted.page, self._spec.page_limit))
            except PositionTrimmed as error:
                refused = reader is None and position == TRIM_HORIZON  # trouble and no gap
                if not refused:
                    self._taker.trimmed(shard, error)
                reader, position = None, TRIM_HORIZON
                await waiting.wait(SourceUnavailable(str(error), code=error.code) if refused else error)
                continue
            except SourceError as error:
                trouble = await self._explain(shard, error)
                if isinstance(trouble, ShardLeft):
                    self._taker.trimmed(shard, trouble)
                    self._note_end(shard)
                    return
                await waiting.wait(trouble)
                if position == LATEST:
                    position = Position.at(asked_at)
                continue
            waiting.reset()
            records = self._within(page.records)
            await self._taker.take(shard, page, records)
            empty = 0 if page.records else empty + 1
            if page.ended:
                self._note_end(shard)
            if page.ended or len(records) < len(page.records) or (not more_to_come and _is_last(page, empty)):
                return
            await anyio.sleep(self._pause(page))

    def _note_end(self, shard: Shard) -> None:
        if not shard.closed:  # it was split since: nobody has seen its children yet
            self._listing_due = True

    async def _explain(self, shard: Shard, error: SourceError) -> SourceError:
        """The error, what keeps the stream from being listed as well, or a ShardLeft: closed shards go with their last record."""
        if error.code != _GONE:
            return error
        try:
            listed = await self._source.list_shards()
        except SourceError as unlisted:
            return unlisted
        there = any(each.id == shard.id for each in listed)
        return error if there else ShardLeft(f"it has left the stream ({error})", code=error.code)

    def _pause(self, page: ShardPage) -> float:
        spec = self._spec
        return plan_read(0.0, more=page.more, base=spec.base_interval, rate=spec.calls_per_second, share=self._wanted.share)

    def _within(self, records: Sequence[Record]) -> Sequence[Record]:
        until = self._wanted.until
        if until is None:
            return records
        return records[: next((n for n, record in enumerate(records) if past(record, until)), len(records))]


def _is_last(page: ShardPage, empty: int) -> bool:
    """Of what is there. `empty`: so many pages in a row brought nothing."""
    if page.more:
        return False
    return page.behind == 0 if page.behind is not None else empty >= _EMPTY_PAGES
