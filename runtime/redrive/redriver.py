"""Message by message, in the order of the shards: fetch what it points at, run it, delete the message when all of it succeeded.

Messages of a plain dead-letter queue are records themselves: they are run in batches, each deleted as soon as it succeeded.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from handlers.invoker import Invoker
from pollers.event_records import EventRecord, read_event_record
from pollers.record import Record, RecordId
from runtime.redrive.fetching import Fetching, NotThere
from runtime.redrive.messages import Foreign, Pointed, parse_failure
from runtime.redrive.places import Message, Place
from runtime.replay.engine import Replayer
from runtime.replay.report import Report
from runtime.replay.rules import Rules


class Fate(StrEnum):
    """Of a message."""

    DONE = "done"
    """All of its records succeeded; it was deleted, unless nothing is to be."""
    FAILED = "failed"
    KEPT = "kept"
    """Not run: `why` says why."""
    LISTED = "listed"
    """Not run, because nothing was to be run."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One message, and what became of it."""

    message: Message
    pointed: Pointed | None = None
    record: EventRecord | None = None
    """Of a plain dead-letter queue."""
    foreign: bool = False
    """It is no failure record."""
    fate: Fate = Fate.KEPT
    why: str = ""
    left: float | None = None
    """Seconds for which its records are still kept in the stream, about; None: it carries them, or nobody can tell."""
    records: int = 0


class RulesFor(Protocol):
    """The rules for records of a source, by name and ARN, and what its filters let through. Raises UserError."""

    def __call__(self, source: str, source_arn: str) -> tuple[Rules, Callable[[EventRecord], bool]]: ...


@dataclass(slots=True, kw_only=True)
class Redriver:
    """One redrive."""

    place: Place
    fetching: Fetching
    rules_for: RulesFor
    invoker: Invoker
    report: Report
    function: str | None
    """Only messages of this function are run; None: of any."""
    clock: Callable[[], float]
    """Seconds since the epoch."""
    dry_run: bool = False
    keep: bool = False
    whole: bool = False
    """Run all records of a range, also when they are more than its message says."""
    concurrency: int | None = None
    entries: list[Entry] = field(default_factory=list)
    _replayer: Replayer | None = None

    async def run(self, limit: int) -> None:
        """Raises UserError and SourceError when the messages cannot be read."""
        self.entries = [self._read(message) for message in await self.place.fetch(limit)]
        self._tell_plain()
        self.entries.sort(key=lambda entry: entry.pointed.order if entry.pointed is not None else ("", "", 0))
        for entry in self.entries:
            if entry.pointed is not None:
                entry.left = await self.fetching.time_left(entry.pointed, self.clock())
            await self._run_pointed(entry)
        await self._run_plain([entry for entry in self.entries if entry.record is not None])

    def stop(self) -> None:
        self.report.stopped = True
        if self._replayer is not None:
            self._replayer.stop()

    # what the messages are

    def _read(self, message: Message) -> Entry:
        if message.problem:
            return Entry(message=message, why=message.problem)
        try:
            pointed = parse_failure(message.text)
        except Foreign as fault:
            return Entry(message=message, foreign=True, why=f"it is no on-failure message: {fault}")
        if self.function is not None and pointed.function != self.function:
            text = f"it is of function {pointed.function}, not {self.function} (--any-function runs it all the same)"
            return Entry(message=message, why=text)
        return Entry(message=message, pointed=pointed, records=pointed.records)

    def _tell_plain(self) -> None:
        """A queue without one failure record is a plain dead-letter queue: its messages are the records."""
        if all(entry.foreign and entry.message.record is not None for entry in self.entries):
            for entry in self.entries:
                entry.record, entry.records, entry.why = _plain(entry.message), 1, ""

    # failure records

    async def _run_pointed(self, entry: Entry) -> None:
        pointed = entry.pointed
        if pointed is None:
            return
        if self.report.stopped:
            entry.why = "stopped before its turn"
            return
        rules, wanted = self.rules_for(pointed.source, pointed.stream_arn)
        try:
            records = await self.fetching.records(pointed, wanted, lanes=rules.lanes, whole=self.whole)
        except NotThere as fault:
            entry.why = str(fault)
            return
        entry.records = len(records)
        if self.dry_run:
            entry.fate = Fate.LISTED
            return
        before = self.report.failed
        await self._replay(rules, records, place=entry.message.name)
        if self.report.failed > before:
            entry.fate, entry.why = Fate.FAILED, f"{self.report.failed - before} of its records failed"
        elif self.report.not_run:
            entry.why = "stopped before all of its records were run"
        else:
            await self._done([entry])

    # plain dead letters

    async def _run_plain(self, entries: Sequence[Entry]) -> None:
        by_id = {entry.record.record.id: entry for entry in entries if entry.record is not None}
        by_source: dict[str, list[EventRecord]] = {}
        for entry in entries:
            if entry.record is not None:
                by_source.setdefault(entry.record.source_arn, []).append(entry.record)

        async def settled(records: tuple[Record, ...]) -> None:
            await self._done([by_id[record.id] for record in records])

        for entry in entries:
            entry.fate, entry.why = (Fate.LISTED, "") if self.dry_run else (Fate.KEPT, "stopped before its turn")
        for source_arn, records in by_source.items():
            if not self.dry_run and not self.report.stopped:
                rules, _ = self.rules_for("sqs", source_arn)
                await self._replay(rules, records, settled=settled)
        for failure in self.report.failures:
            if (failed := by_id.get(RecordId(failure.position))) is not None:
                failed.fate = Fate.FAILED
                failed.why = f"{failure.trouble.type}: {failure.trouble.message}"

    # both

    async def _replay(
        self,
        rules: Rules,
        records: Sequence[EventRecord],
        *,
        place: str = "",
        settled: Callable[[tuple[Record, ...]], Awaitable[None]] | None = None,
    ) -> None:
        self._replayer = Replayer(rules, self.invoker, self.report, concurrency=self.concurrency, settled=settled)
        async with self._replayer.running():
            for record in records:
                self.report.read += 1
                await self._replayer.feed(record, place=place)

    async def _done(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            entry.fate, entry.why = Fate.DONE, ""
        if not self.keep:
            self.report.problems += await self.place.remove([entry.message for entry in entries])


def _plain(message: Message) -> EventRecord:
    """As the function would have got it: from the queue that it came from, where the message says so."""
    content: dict[str, Any] = message.record.content if message.record is not None else {}
    attributes = dict(content["attributes"])
    origin = attributes.pop("DeadLetterQueueSourceArn", content["eventSourceARN"])
    return read_event_record({**content, "attributes": attributes, "eventSourceARN": origin})
