"""Reads a stream to look at it: every shard, new ones too; no lease, no checkpoint, no handler.

The read rate of a shard is shared with whoever else reads it, so less than half of it is taken. Children are read after their
parents, from their beginning, so that the records of a key come in order.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup

from pollers.errors import PositionTrimmed, SourceError
from pollers.record import TRIM_HORIZON, Position, PositionKind, Record, Shard
from pollers.source import ShardReader, StreamSource, StreamSpec
from runtime.clock import now
from runtime.core.backoff import backoff
from runtime.core.pacing import plan_read
from runtime.tail.columns import counted

_SHARE: Final = 0.4
"""Of the read rate of a shard."""
_PAGE: Final = 1000
_LIST_EVERY: Final = 10.0
"""Seconds between listings of the shards."""
_READS_AT_ONCE: Final = 32
_FAILURE_BASE: Final = 0.5
_FAILURE_CAP: Final = 20.0
_GONE: Final = "ResourceNotFoundException"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Records that came together; never empty."""

    records: Sequence[Record]
    shard: str = ""
    """Empty for queues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What happened to a shard, or to the whole source."""

    text: str
    shard: str = ""
    trouble: bool = False


Tell: TypeAlias = Callable[[Page | Remark], None]


class StreamView:
    """Of one stream; `run` may be called once."""

    def __init__(
        self, source: StreamSource, spec: StreamSpec, *, start: Position, tell: Tell, clock: Callable[[], float] = time.time
    ) -> None:
        """`start`: for the shards that are there at first. `tell` is called for each page and remark, and must not wait.

        `clock`: the wall clock, epoch seconds.
        """
        self._source = source
        self._spec = spec
        self._start = start
        self._tell = tell
        self._clock = clock
        self._listed = 0
        self._opening: set[str] = set()
        """The shards of the first listing that are to be opened at LATEST: once all are, nothing that comes is missed."""
        self._ended: dict[str, anyio.Event] = {}
        """For each shard that is known, whether it was read to its end."""
        self._relist = anyio.Event()
        self._reads = anyio.CapacityLimiter(_READS_AT_ONCE)
        self._told: dict[str, str] = {}
        """By shard the code of the trouble that was told last."""

    async def run(self) -> None:
        """For ever. Raises SourceError when the first listing fails."""
        shards = await self._source.list_shards()
        async with anyio.create_task_group() as tasks:
            self._follow_new(shards, tasks, start=self._start)
            self._listed = len(shards)
            to_read = {shard.id for shard in shards if not self._ended[shard.id].is_set()}
            if self._start.kind is PositionKind.LATEST and to_read:
                self._opening = to_read
            else:
                self._tell_begun(len(to_read))
            while True:
                with anyio.move_on_after(_LIST_EVERY):
                    await self._relist.wait()
                self._relist = anyio.Event()
                try:
                    shards = await self._source.list_shards()
                except SourceError as error:
                    await self._rest("", error, failures=1)
                else:
                    self._recovered("")
                    self._follow_new(shards, tasks, start=TRIM_HORIZON)

    def _follow_new(self, shards: Sequence[Shard], tasks: TaskGroup, *, start: Position) -> None:
        new = [shard for shard in shards if shard.id not in self._ended]
        self._ended |= {shard.id: anyio.Event() for shard in new}
        for shard in new:
            if shard.closed and start.kind is PositionKind.LATEST:
                self._ended[shard.id].set()  # nothing comes any more
            else:
                if start is not self._start:
                    self._tell(Remark(shard=shard.id, text=f"new, after {' and '.join(shard.parents) or 'no other'}"))
                tasks.start_soon(self._follow, shard, start, name=shard.id)

    def _tell_begun(self, shards: int) -> None:
        self._tell(Remark(text=f"{shards} of {counted(self._listed, 'shard')} to read, from {_shown(self._start)}"))

    def _opened(self, shard: str) -> None:
        if shard in self._opening:
            self._opening.remove(shard)
            if not self._opening:
                self._tell_begun(sum(not ended.is_set() for ended in self._ended.values()))

    async def _follow(self, shard: Shard, at: Position) -> None:
        for parent in shard.parents:
            if parent in self._ended:
                await self._ended[parent].wait()
        opened_at = self._clock()
        reader: ShardReader | None = None
        failures = 0
        while True:
            try:
                async with self._reads:
                    if reader is None:
                        reader = await self._source.open_shard(shard.id, at)
                        self._opened(shard.id)
                    asked_at = now()
                    page = await reader.read(limit=_PAGE)
            except PositionTrimmed as error:
                self._tell(Remark(shard=shard.id, text=f"{error}; it goes on at {TRIM_HORIZON}", trouble=True))
                reader, at = None, TRIM_HORIZON
                await anyio.sleep(self._spec.base_interval)
                continue
            except SourceError as error:
                if await self._is_gone(shard.id, error):
                    self._end(shard.id, "has left the stream")
                    return
                failures += 1
                await self._rest(shard.id, error, failures=failures)
                at = Position.at(opened_at) if at.kind is PositionKind.LATEST else at  # what it meant at the first try
                continue
            failures = 0
            self._recovered(shard.id)
            if page.records:
                self._tell(Page(shard=shard.id, records=page.records))
            if page.ended:
                self._end(shard.id, "has ended")
                return
            due = plan_read(
                asked_at, more=page.more, base=self._spec.base_interval, rate=self._spec.calls_per_second, share=_SHARE
            )
            await anyio.sleep(max(0.0, due - now()))

    def _end(self, shard: str, text: str) -> None:
        self._tell(Remark(shard=shard, text=text))
        self._ended[shard].set()
        self._relist.set()

    async def _is_gone(self, shard: str, error: SourceError) -> bool:
        """Whether the shard has left the stream, and not the stream itself."""
        if error.code != _GONE:
            return False
        try:
            return shard not in {each.id for each in await self._source.list_shards()}
        except SourceError:
            return False

    async def _rest(self, shard: str, error: SourceError, *, failures: int) -> None:
        """Told once per change of what is wrong."""
        if self._told.get(shard) != error.code:
            if error.code not in self._told.values():
                self._tell(Remark(shard=shard, text=f"{error}; it is tried again", trouble=True))
            self._told[shard] = error.code
        await anyio.sleep(backoff(failures, base=_FAILURE_BASE, cap=_FAILURE_CAP, jitter=0.5))

    def _recovered(self, shard: str) -> None:
        if self._told.pop(shard, None) is not None and not self._told:
            self._tell(Remark(text="the stream answers again"))


def _shown(position: Position) -> str:
    if position.kind is PositionKind.AT_TIMESTAMP:
        return f"{datetime.fromtimestamp(position.timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return str(position)
