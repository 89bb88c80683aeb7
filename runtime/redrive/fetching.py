"""The records that a message points at, from the stream, while they are kept there."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from pollers import STREAMS
from pollers.errors import PositionTrimmed, SourceError, SourceUnavailable
from pollers.event_records import EventRecord, read_event_record
from pollers.record import Position, Record
from pollers.source import StreamSource
from runtime.patience import Patience
from runtime.redrive.messages import Pointed
from runtime.replay.lanes import lane_of

_PATIENCE: Final = 6.0
"""Seconds that the stream may be out of reach."""
_EMPTY_PAGES: Final = 20
"""So many in a row, without reaching the last record, mean that it is not there (KIN-16: one says nothing)."""
_FIRST_PAGE: Final = 100
_PAGE: Final = 1000
"""Records: the rest of a range is that of other lanes, or was filtered out, and may be long."""
_LONGEST_RANGE: Final = 200_000
_ENDS: Final = 2
"""Records of a message are surely the first and the last one of its range."""


class NotThere(Exception):
    """The records cannot be had, or not surely those; the text says why."""


@dataclass(slots=True, kw_only=True)
class Fetching:
    """Opens each stream once."""

    open_stream: Callable[[str, str], StreamSource]
    """Source and ARN."""
    _opened: dict[str, StreamSource] = field(default_factory=dict)
    _retentions: dict[str, float | None] = field(default_factory=dict)
    _parents: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)

    async def time_left(self, pointed: Pointed, now: float) -> float | None:
        """Seconds for which the first record is still kept, about; negative when it is gone; None: nobody can tell."""
        if pointed.carries or not pointed.arrived:
            return None
        if pointed.stream_arn not in self._retentions:
            try:
                facts = await self._stream(pointed).describe()
                self._retentions[pointed.stream_arn] = facts.retention
            except SourceError:
                self._retentions[pointed.stream_arn] = None  # reading tells what is wrong
        retention = self._retentions[pointed.stream_arn]
        return None if retention is None else pointed.arrived + retention - now

    async def ancestors(self, pointed: Pointed) -> frozenset[tuple[str, str]]:
        """ARN and shard of those that came before its shard, as far as they are listed."""
        if pointed.stream_arn not in self._parents:
            try:
                listed = await self._stream(pointed).list_shards()
            except SourceError:  # reading tells what is wrong
                listed = []
            self._parents[pointed.stream_arn] = {shard.id: shard.parents for shard in listed}
        parents = self._parents[pointed.stream_arn]
        found: set[tuple[str, str]] = set()
        unseen = [pointed.shard]
        while unseen:
            for parent in parents.get(unseen.pop(), ()):
                if (pointed.stream_arn, parent) not in found:
                    found.add((pointed.stream_arn, parent))
                    unseen.append(parent)
        return frozenset(found)

    async def records(
        self, pointed: Pointed, wanted: Callable[[EventRecord], bool], *, lanes: int, whole: bool
    ) -> list[EventRecord]:
        """In order. `wanted`: what the mapping's filters let through; `lanes`: its ParallelizationFactor: a message is of one.

        `whole`: take all that lies in the range, also when that is more than the message says. Raises NotThere.
        """
        try:
            found = await self._range(pointed)
        except PositionTrimmed as error:
            raise NotThere(f"its records have left the stream: {error}") from error
        except SourceError as error:
            raise NotThere(_trouble(pointed, error)) from error
        if not found or found[0].record.id != pointed.first or found[-1].record.id != pointed.last:
            raise NotThere(_gap(pointed, found))
        if len(found) == pointed.records:
            return found
        lane = lane_of(found[0].record.group, lanes)
        chosen = [each for each in found if lane_of(each.record.group, lanes) == lane and wanted(each)]
        if len(chosen) == pointed.records and (chosen[0], chosen[-1]) == (found[0], found[-1]):
            return chosen
        if pointed.records == _ENDS:  # whatever lanes the mapping had
            return [found[0], found[-1]]
        if whole:
            return found
        raise NotThere(
            f"it speaks of {pointed.records} records, but {len(found)} lie between its first and last one: the mapping had "
            "another ParallelizationFactor or other filters then. --whole-range runs all of them"
        )

    async def _range(self, pointed: Pointed) -> list[EventRecord]:
        reader = None
        patience = Patience(_PATIENCE)
        empty = 0
        found: list[Record] = []
        last = int(pointed.last)
        limit = max(1, min(_FIRST_PAGE, pointed.records))
        while empty < _EMPTY_PAGES and not (found and int(found[-1].id) >= last):
            try:
                if reader is None:
                    reader = await self._stream(pointed).open_shard(pointed.shard, Position.at_record(pointed.first))
                page = await reader.read(limit=limit)
            except SourceUnavailable as error:
                await patience.wait(error)
                continue
            patience.reset()
            found += page.records
            if len(found) > _LONGEST_RANGE:
                raise NotThere(f"more than {_LONGEST_RANGE:,} records lie between its first and last one: " + _by_hand(pointed))
            empty = 0 if page.records else empty + 1
            if page.ended:
                break
            if page.records:
                limit = _PAGE
            if not found or int(found[-1].id) < last:
                await anyio.sleep(1 / STREAMS[pointed.source].calls_per_second)
        return [self._shown(pointed, record) for record in found if int(record.id) <= last]

    def _shown(self, pointed: Pointed, record: Record) -> EventRecord:
        (shown,) = STREAMS[pointed.source].envelope([record])["Records"]
        return read_event_record(shown, shard=pointed.shard, arrived=record.arrived)

    def _stream(self, pointed: Pointed) -> StreamSource:
        if pointed.stream_arn not in self._opened:
            self._opened[pointed.stream_arn] = self.open_stream(pointed.source, pointed.stream_arn)
        return self._opened[pointed.stream_arn]


def _gap(pointed: Pointed, found: Sequence[EventRecord]) -> str:
    if not found:
        return f"none of its {pointed.records} records is in the stream any more"
    text = f"its first record is {pointed.first} and its last {pointed.last}, but the stream has only some from"
    return f"{text} {found[0].record.id} to {found[-1].record.id}: the others have left it. To run what is left: " + _by_hand(
        pointed, first=found[0].record.id
    )


def _by_hand(pointed: Pointed, first: str = "") -> str:
    words = ["esm", "replay", pointed.stream_arn, "-f", "FUNCTION", "--shard", pointed.shard]
    return shlex.join([*words, "--from", first or pointed.first, "--to", pointed.last])


def _trouble(pointed: Pointed, error: SourceError) -> str:
    if error.code == "foreign_position":
        return f"its records are not in {pointed.stream_arn} any more: it was probably deleted and made again under its name"
    return f"its records cannot be read: {error}"
