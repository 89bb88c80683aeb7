"""Brings records to a replay: from a recording, or from what a stream still holds."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from operator import itemgetter
from typing import Final

import anyio
import anyio.lowlevel

from pollers.errors import PositionTrimmed, SourceError
from pollers.event_records import read_event_record
from pollers.record import Record, Shard, ShardPage
from pollers.recording import Flaw, Lineage, Recorded
from pollers.source import StreamSpec
from runtime.errors import leaves
from runtime.replay.choosing import Choosing
from runtime.replay.engine import Replayer
from runtime.replay.pace import Pace
from runtime.replay.report import Report

_TURN: Final = 50
"""Records that are taken in until others get their turn: so long an answer of a handler may wait."""

_Item = Recorded | Lineage | Flaw


async def feed_recording(
    items: Iterable[_Item], replayer: Replayer, choosing: Choosing, report: Report, *, paced: bool = False
) -> None:
    """In the order of the file; a shard begins when those before it are done.

    `paced`: in the order in which records arrived, which takes all that were chosen into memory first.
    """
    chosen = _chosen(items, choosing, report)
    if paced:
        for item in in_rhythm([each async for each in chosen]):
            await _feed(item, replayer)
    else:
        async for item in chosen:
            await _feed(item, replayer)


async def _chosen(items: Iterable[_Item], choosing: Choosing, report: Report) -> AsyncIterator[Recorded | Lineage]:
    for number, item in enumerate(items):
        if report.stopped:
            return
        if isinstance(item, Flaw):
            report.flaws.append(item)
        elif isinstance(item, Lineage) or choosing.takes(item.of, place=f"{item.file}:{item.line}"):
            yield item
        if number % _TURN == 0:
            await anyio.lowlevel.checkpoint()


async def _feed(item: Recorded | Lineage, replayer: Replayer) -> None:
    if isinstance(item, Recorded):
        await replayer.feed(item.of, place=f"{item.file}:{item.line}")
        return
    for parent in item.parents:
        await replayer.finish_shard(item.source_arn, parent)


def in_rhythm(items: Iterable[Recorded | Lineage]) -> list[Recorded | Lineage]:
    """By their time of arrival, each shard in its own order, and after its parents: files bring long stretches of one shard."""
    latest: dict[tuple[str, str], float] = {}
    timed: list[tuple[float, Recorded | Lineage]] = []
    for item in items:
        if isinstance(item, Recorded):
            shard = item.of.source_arn, item.of.shard
            at = max(latest.get(shard, 0.0), item.of.record.arrived)
        else:
            shard = item.source_arn, item.shard
            at = max(latest.get((item.source_arn, each), 0.0) for each in (*item.parents, item.shard))
        latest[shard] = at
        timed.append((at, item))
    return [item for _, item in sorted(timed, key=itemgetter(0))]


@dataclass(slots=True)
class _Reach:
    """How far a shard was read: arrival times."""

    first: float
    last: float


@dataclass(slots=True, kw_only=True)
class FeedStream:
    """A `Taker`."""

    spec: StreamSpec
    source_arn: str
    replayer: Replayer
    choosing: Choosing
    report: Report
    pace: Pace | None = None
    until: float = inf
    """Seconds since the epoch: where reading ends, for the progress that is shown."""
    _reaches: dict[str, _Reach] = field(default_factory=dict)
    shards: set[str] = field(default_factory=set)
    """Those that were begun."""
    _silent: set[str] = field(default_factory=set)
    """Shards of which nobody knows yet when their first record arrived: until then the clock stands still."""
    _started: anyio.Event = field(default_factory=anyio.Event)

    @property
    def done(self) -> float:
        """Seconds of all shards together that were read."""
        return sum(reach.last - reach.first for reach in self._reaches.values())

    @property
    def total(self) -> float:
        return sum(max(reach.last, self.until) - reach.first for reach in self._reaches.values())

    async def begin(self, shard: Shard) -> None:
        """Its parents were finished."""
        self.shards.add(shard.id)
        if self.pace is not None and not self._started.is_set():
            self._silent.add(shard.id)

    async def take(self, shard: Shard, page: ShardPage, records: Sequence[Record]) -> None:
        if records:
            reach = self._reaches.setdefault(shard.id, _Reach(records[0].arrived, 0.0))
            reach.last = max(reach.last, records[-1].arrived)
        if self.pace is not None and not self._started.is_set() and (records or not page.more):
            self._hear_of(shard)
            if records:
                await self._started.wait()
        for number, record in enumerate(records):
            if self.report.stopped:
                return
            (shown,) = self.spec.envelope([record])["Records"]
            of = read_event_record(shown, shard=shard.id, arrived=record.arrived)
            if self.choosing.takes(of):
                await self.replayer.feed(of)
            if number % _TURN == 0:
                await anyio.lowlevel.checkpoint()

    async def end(self, shard: Shard) -> None:
        if self.pace is not None:
            self._hear_of(shard)
        if (reach := self._reaches.get(shard.id)) is not None:
            reach.last = max(reach.last, self.until) if self.until != inf else reach.last
        await self.replayer.finish_shard(self.source_arn, shard.id)

    def trimmed(self, shard: Shard, error: PositionTrimmed) -> None:
        self.report.problems.append(f"shard {shard.id}: {error}: read from the oldest record that is left")

    def _hear_of(self, shard: Shard) -> None:
        self._silent.discard(shard.id)
        if not self._silent and not self._started.is_set():
            if self.pace is not None and self._reaches:
                self.pace.begin(min(reach.first for reach in self._reaches.values()))
            self._started.set()


def told(errors: BaseExceptionGroup) -> list[str]:
    """What went wrong at the source, each once."""
    return sorted({_text(leaf) for leaf in leaves(errors)})


def _text(error: BaseException) -> str:
    if isinstance(error, SourceError) and error.code == "foreign_position":
        return "the sequence number of --from, --to or --only is not of this shard of this stream"
    return str(error)
