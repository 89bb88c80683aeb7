"""Brings records to a replay: from a recording, or from what a stream still holds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio.lowlevel

from pollers.errors import PositionTrimmed
from pollers.event_records import read_event_record
from pollers.record import Record, Shard, ShardPage
from pollers.recording import Flaw, Lineage, Recorded
from pollers.source import StreamSpec
from runtime.replay.choosing import Choosing
from runtime.replay.engine import Replayer
from runtime.replay.report import Report

_TURN: Final = 200
"""Records of a file until others get their turn."""


async def feed_recording(
    items: Iterable[Recorded | Lineage | Flaw], replayer: Replayer, choosing: Choosing, report: Report
) -> None:
    """In the order of the file; a shard begins when those before it are done."""
    for number, item in enumerate(items):
        if report.stopped:
            return
        match item:
            case Recorded(of=of):
                place = f"{item.file}:{item.line}"
                if choosing.takes(of, place=place):
                    await replayer.feed(of, place=place)
            case Lineage():
                for parent in item.parents:
                    await replayer.finish_shard(item.source_arn, parent)
            case Flaw():
                report.flaws.append(item)
        if number % _TURN == 0:
            await anyio.lowlevel.checkpoint()


@dataclass(slots=True, kw_only=True)
class FeedStream:
    """A `Taker`."""

    spec: StreamSpec
    source_arn: str
    replayer: Replayer
    choosing: Choosing
    report: Report
    behind: float = 0.0
    """Seconds that the last page was behind the newest record of its shard, where the service says."""

    async def begin(self, shard: Shard) -> None:
        """Nothing to do: its parents were finished."""

    async def take(self, shard: Shard, page: ShardPage, records: Sequence[Record]) -> None:
        self.behind = page.behind or 0.0
        for record in records:
            if self.report.stopped:
                return
            (shown,) = self.spec.envelope([record])["Records"]
            of = read_event_record(shown, shard=shard.id, arrived=record.arrived)
            if self.choosing.takes(of):
                await self.replayer.feed(of)

    async def end(self, shard: Shard) -> None:
        await self.replayer.finish_shard(self.source_arn, shard.id)

    def trimmed(self, shard: Shard, error: PositionTrimmed) -> None:
        self.report.problems.append(f"shard {shard.id}: {error}: read from the oldest record that is left")
