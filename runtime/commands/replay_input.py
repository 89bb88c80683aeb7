"""What `esm replay` reads: a recording, or what a stream still holds."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import chain
from math import inf
from pathlib import Path
from typing import Final

from pollers import QUEUES, STREAMS
from pollers.aws.clients import AwsClients
from pollers.errors import SourceError
from pollers.record import PositionKind
from pollers.recording import Flaw, Lineage, Recorded, RecordingReader
from runtime.commands import CommandError
from runtime.config.arns import ArnError, parse_source_arn
from runtime.config.candidate import SPEC_OF
from runtime.opening import not_counted, open_stream
from runtime.replay.choosing import Choosing
from runtime.replay.engine import Replayer
from runtime.replay.feeding import FeedStream, feed_recording, told
from runtime.replay.pace import Pace
from runtime.replay.report import Report
from runtime.replay.selection import Selection, SelectionError, parse_bound
from runtime.stream_reading import Wanted, read_stream

_FEW: Final = 100
"""Records of a read, where one is looked for."""


class NoRecord(Exception):
    """There is not one record; why stands in the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where records come from."""

    source: str
    source_arn: str
    is_stream: bool
    selection: Selection
    feed: Callable[[Replayer, Choosing], Awaitable[None]]
    done: Callable[[], float]
    total: Callable[[], float | None]


def open_input(text: str, selection: Selection, clients: AwsClients, report: Report, pace: Pace | None) -> Input:
    """`text`: a path, or the ARN of a stream. Raises NoRecord, CommandError and SelectionError."""
    if text.startswith("arn:"):
        return _open_stream(text, selection, clients, report, pace)
    return _open_file(Path(text), selection, report, paced=pace is not None)


def _open_file(path: Path, selection: Selection, report: Report, *, paced: bool) -> Input:
    for bound, name in ((selection.since, "--from"), (selection.until, "--to")):
        if bound is not None and bound.kind in (PositionKind.LATEST, PositionKind.TRIM_HORIZON):
            raise SelectionError(f"{name} {bound.kind}: a file has no such position: give a time or a sequence number")
    try:
        reader = RecordingReader(path)
    except OSError as error:
        msg = f"{path}: the recording cannot be read: {error.strerror or error}"
        raise CommandError(msg) from error
    items, before = iter(reader), list[Recorded | Lineage | Flaw]()
    for item in items:
        before.append(item)
        if isinstance(item, Recorded):
            break
    else:
        report.flaws += [item for item in before if isinstance(item, Flaw)]
        raise NoRecord
    if item.of.source in QUEUES:
        _refuse_sequences(selection)
    selection.check(sharded=bool(item.of.shard))
    return Input(
        source=item.of.source,
        source_arn=item.of.source_arn,
        is_stream=False,
        selection=selection,
        feed=lambda replayer, choosing: feed_recording(chain(before, items), replayer, choosing, report, paced=paced),
        done=lambda: reader.read_bytes,
        total=lambda: reader.total_bytes,
    )


def _refuse_sequences(selection: Selection) -> None:
    for bound, name in ((selection.since, "--from"), (selection.until, "--to")):
        if bound is not None and bound.kind is PositionKind.AT_SEQUENCE_NUMBER:
            raise SelectionError(f"{name} {bound.sequence}: messages of a queue have no sequence: give a time")


def _open_stream(arn: str, selection: Selection, clients: AwsClients, report: Report, pace: Pace | None) -> Input:
    try:
        source = SPEC_OF[parse_source_arn(arn).service].source
    except ArnError as error:
        raise CommandError(str(error)) from error
    if source in QUEUES:
        msg = f"{arn} is a queue, which keeps nothing of what it gave: record it (esm record), or redrive it (esm redrive)"
        raise CommandError(msg)
    selection.check(sharded=True)
    narrowed = selection.narrowed()
    now = parse_bound("now", name="--to", now=time.time())
    wanted = Wanted(
        since=narrowed.since or Wanted().since,
        until=narrowed.until or now,
        shards=selection.shards,
        page=_FEW if narrowed.only else Wanted().page,
    )
    until = wanted.until.timestamp if wanted.until is not None and wanted.until.kind is PositionKind.AT_TIMESTAMP else inf
    feeds: list[FeedStream] = []

    async def feed(replayer: Replayer, choosing: Choosing) -> None:
        spec = STREAMS[source]
        taker = FeedStream(spec=spec, source_arn=arn, replayer=replayer, choosing=choosing, report=report, pace=pace, until=until)
        feeds.append(taker)
        try:
            await read_stream(open_stream(source, arn, clients, observe=not_counted), spec, wanted, taker)
        except* SourceError as errors:
            report.problems += told(errors)
        missing = selection.shards - taker.shards
        if missing and not report.stopped and not report.problems:
            report.problems += [f"--shard {shard}: {arn} has no such shard" for shard in sorted(missing)]

    return Input(
        source=source,
        source_arn=arn,
        is_stream=True,
        selection=replace(narrowed, since=selection.since, until=selection.until),
        feed=feed,
        done=lambda: sum(taker.done for taker in feeds),
        total=lambda: sum(taker.total for taker in feeds) or None if until != inf else None,
    )
