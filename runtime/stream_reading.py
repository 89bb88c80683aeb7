"""Reads the shards of a stream beside its mappings: no lease, no checkpoint, nothing that other readers notice but the rate.

The records of a shard come after those of its parents (KIN-40, DDB-13), each shard in order, several shards side by side.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup

from pollers.errors import PositionTrimmed, SourceUnavailable
from pollers.record import LATEST, TRIM_HORIZON, Position, PositionKind, Record, Shard, ShardPage
from pollers.source import ShardReader, StreamSource, StreamSpec
from runtime.core.backoff import backoff
from runtime.replay.selection import past

_LIST_EVERY: Final = 30.0
"""Seconds between listings while new shards may come."""
_PATIENCE: Final = 6
"""Times in a row that a source may be out of reach."""
_BASE: Final = 0.3
_CAP: Final = 5.0
_SHARDS_AT_ONCE: Final = 64
_EMPTY_PAGES: Final = 5
"""So many in a row end an open shard whose service does not say how far behind a page is (KIN-16: one says nothing)."""


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
        """The beginning is gone: the shard is read from what is left."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be read."""

    since: Position = TRIM_HORIZON
    """Sequence numbers are of one shard: then name it in `shards`."""
    until: Position | None = None
    """A time is not taken any more, a position is the last one."""
    shards: frozenset[str] = field(default_factory=frozenset)
    """Empty: all, and those that come later."""
    follow: bool = False
    """Go on when everything was read, and wait for more."""
    page: int = 10_000
    """Records of one read, at most."""


async def read_stream(source: StreamSource, spec: StreamSpec, wanted: Wanted, taker: Taker) -> None:
    """Read until all is taken; with `follow` until it is cancelled. Raises SourceError, and what `taker` raises (in groups)."""
    await _StreamReading(source, spec, wanted, taker).run()


class _StreamReading:
    def __init__(self, source: StreamSource, spec: StreamSpec, wanted: Wanted, taker: Taker) -> None:
        self._source = source
        self._spec = spec
        self._wanted = wanted
        self._taker = taker
        self._known: set[str] = set()
        self._waiting: dict[str, tuple[Shard, Position]] = {}
        """Shards whose parents are still being read, and where each begins."""
        self._open: set[str] = set()
        self._listing_due = True
        self._changed = anyio.Event()
        self._places = anyio.CapacityLimiter(_SHARDS_AT_ONCE)

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            while self._listing_due or self._open or self._waiting or self._wanted.follow:
                if self._listing_due:
                    self._listing_due = False
                    self._learn(await self._list())
                self._start_ready(tasks)
                with anyio.move_on_after(_LIST_EVERY) as pause:
                    await self._changed.wait()
                self._changed = anyio.Event()
                self._listing_due = self._listing_due or (pause.cancelled_caught and self._wanted.follow)

    async def _list(self) -> list[Shard]:
        failures = 0
        while True:
            try:
                return await self._source.list_shards()
            except SourceUnavailable:
                failures += 1
                if failures >= _PATIENCE:
                    raise
                await anyio.sleep(backoff(failures, base=_BASE, cap=_CAP, jitter=0.5))

    def _learn(self, listed: Collection[Shard]) -> None:
        """Shards that come later are read from their beginning: nothing in them is older than what was wanted."""
        first, since = not self._known, self._wanted.since
        for shard in listed:
            if shard.id in self._known or (self._wanted.shards and shard.id not in self._wanted.shards):
                continue
            self._known.add(shard.id)
            if not (first and since == LATEST and shard.closed):
                self._waiting[shard.id] = shard, since if first or since.kind is PositionKind.AT_TIMESTAMP else TRIM_HORIZON
        if first and not self._waiting:
            self._changed.set()

    def _start_ready(self, tasks: TaskGroup) -> None:
        for shard, position in list(self._waiting.values()):
            if not any(parent in self._waiting or parent in self._open for parent in shard.parents):
                del self._waiting[shard.id]
                self._open.add(shard.id)
                tasks.start_soon(self._read_shard, shard, position, name=f"read {shard.id}")

    async def _read_shard(self, shard: Shard, position: Position) -> None:
        async with self._places:
            await self._taker.begin(shard)
            await self._read_all(shard, position)
            await self._taker.end(shard)
        self._open.discard(shard.id)
        self._changed.set()

    async def _read_all(self, shard: Shard, position: Position) -> None:
        reader: ShardReader | None = None
        failures = empty = 0
        while True:
            try:
                if reader is None:
                    reader = await self._source.open_shard(shard.id, position)
                page = await reader.read(limit=min(self._wanted.page, self._spec.page_limit))
            except PositionTrimmed as error:
                self._taker.trimmed(shard, error)
                reader, position = None, TRIM_HORIZON
                continue
            except SourceUnavailable:
                failures += 1
                if failures >= _PATIENCE:
                    raise
                await anyio.sleep(backoff(failures, base=_BASE, cap=_CAP, jitter=0.5))
                continue
            failures = 0
            records = self._within(page.records)
            await self._taker.take(shard, page, records)
            empty = 0 if page.records else empty + 1
            self._listing_due = self._listing_due or page.ended  # it may have been split just now
            if page.ended or len(records) < len(page.records) or self._all_read(page, empty):
                return
            await anyio.sleep(1 / self._spec.calls_per_second if page.more else self._spec.base_interval)

    def _within(self, records: Sequence[Record]) -> Sequence[Record]:
        until = self._wanted.until
        if until is None:
            return records
        return records[: next((n for n, record in enumerate(records) if past(record, until)), len(records))]

    def _all_read(self, page: ShardPage, empty: int) -> bool:
        if self._wanted.follow or page.more:
            return False
        return page.behind == 0 if page.behind is not None else empty >= _EMPTY_PAGES
