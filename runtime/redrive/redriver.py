"""Message by message, in the order of the shards: fetch what it points at, run it, delete the message when all of it succeeded.

Messages of a plain dead-letter queue are records themselves: they are run in batches, each deleted as soon as it succeeded.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio

from handlers.invoker import Invoker
from pollers.errors import SourceError
from pollers.event_records import EventRecord
from pollers.record import Record, RecordId
from runtime.errors import UserError
from runtime.redrive.entries import Entry, Fate, read_entry
from runtime.redrive.fetching import Fetching, NotThere
from runtime.redrive.messages import Foreign, Pointed, payload_of
from runtime.redrive.places import Place, Unreadable
from runtime.replay.engine import Replayer
from runtime.replay.order import Blocked
from runtime.replay.report import Failure, Report
from runtime.replay.rules import Rules

_LAST_WORD: Final = 10.0
"""Seconds for deleting what succeeded when all is cut short."""
_STOPPED: Final = "stopped before its turn"
_BEHIND: Final = "an earlier one of its shard or group did not succeed (--stop-on-failure)"


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
    blocked: Blocked | None = None
    """Order is strict: what comes behind a failure is kept."""
    concurrency: int | None = None
    entries: list[Entry] = field(default_factory=list)
    finished: int = 0
    """Entries that had their turn."""
    _plain: bool | None = None
    """It is a dead-letter queue: found out with the first messages."""
    _replayer: Replayer | None = None
    _waits: anyio.CancelScope | None = None
    """What a stop may break off: nothing was run yet."""

    async def run(self, limit: int) -> None:
        """In rounds, while messages were deleted: of a FIFO queue the next ones show only then.

        Raises UserError and SourceError when no message can be read at all.
        """
        while not self.report.stopped and (room := limit - len(self.entries)):
            entries = await self._fetch(room)
            self.entries += entries
            await self._run_round(entries)
            again = any(entry.fate is Fate.DONE for entry in entries) and not self.keep
            if not again:
                break
        if len(self.entries) >= limit and not self.report.stopped:
            self.report.problems.append(f"there may be more than {limit:,} messages (--limit): run it again for the others")

    def stop(self) -> None:
        """What runs is finished."""
        self.report.stopped = True
        if self._replayer is not None:
            self._replayer.stop()
        if self._waits is not None:
            self._waits.cancel()

    # the messages

    async def _fetch(self, limit: int) -> list[Entry]:
        entries: list[Entry] = []
        async with self._breaking_off():
            try:
                messages = await self.place.fetch(limit)
            except SourceError as error:
                if not self.entries:
                    raise
                self.report.problems.append(f"no more messages could be read: {error}")
                return []
            entries = [await read_entry(message, self.place, function=self.function) for message in messages]
        if self._plain is None and entries:
            self._plain = all(entry.foreign and entry.message.record is not None for entry in entries)
        for entry in entries:
            if self._plain and entry.foreign:
                entry.take_as_record()
        return sorted(entries, key=lambda entry: entry.order)

    async def _run_round(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.pointed is not None:
                await self._run_pointed(entry, entry.pointed)
            self.finished += entry.record is None
        await self._run_plain([entry for entry in entries if entry.record is not None])

    @asynccontextmanager
    async def _breaking_off(self) -> AsyncIterator[None]:
        with anyio.CancelScope() as self._waits:
            if self.report.stopped:
                self._waits.cancel()
            yield
        self._waits = None

    # failure records

    async def _run_pointed(self, entry: Entry, pointed: Pointed) -> None:
        entry.why = _STOPPED
        records: list[EventRecord] = []
        async with self._breaking_off():
            entry.left = await self.fetching.time_left(pointed, self.clock())
            if await self._waits_behind(pointed):
                entry.why = _BEHIND
                return
            try:
                rules, wanted = self.rules_for(pointed.source, pointed.stream_arn)
                records = await self._records(entry, pointed, rules, wanted)
            except (NotThere, Foreign, Unreadable, UserError) as fault:
                entry.why = str(fault)
                self._block(pointed)
                return
        if self.report.stopped:
            return
        entry.records = len(records)
        if self.dry_run:
            entry.fate, entry.why = Fate.LISTED, ""
            return
        succeeded, failed = self.report.succeeded, self.report.failed
        await self._replay(rules, records, place=entry.message.name)
        failed = self.report.failed - failed
        if failed:
            entry.fate, entry.why = Fate.FAILED, f"{failed} of its records failed"
        elif self.report.succeeded - succeeded == len(records):
            await self._done([entry])
        else:
            entry.why = "stopped before all of its records were run"

    async def _records(
        self, entry: Entry, pointed: Pointed, rules: Rules, wanted: Callable[[EventRecord], bool]
    ) -> list[EventRecord]:
        """Never empty. Raises NotThere, Foreign and Unreadable."""
        if not pointed.carries:
            return await self.fetching.records(pointed, wanted, lanes=rules.lanes, whole=self.whole)
        records = payload_of(await self.place.read(entry.message), pointed)
        if not records:
            raise NotThere("its payload holds none of the records that it speaks of")
        return records

    async def _waits_behind(self, pointed: Pointed) -> bool:
        if self.blocked is None:
            return False
        shards = {(pointed.stream_arn, pointed.shard)} | await self.fetching.ancestors(pointed)
        return any(self.blocked.holds_shard(*shard) for shard in shards)

    def _block(self, pointed: Pointed) -> None:
        if self.blocked is not None:
            self.blocked.add_shard(pointed.stream_arn, pointed.shard)

    # plain dead letters

    async def _run_plain(self, entries: Sequence[Entry]) -> None:
        by_source: dict[str, list[Entry]] = {}
        for entry in entries:
            if entry.record is not None:
                by_source.setdefault(entry.record.source_arn, []).append(entry)
                entry.fate, entry.why = (Fate.LISTED, "") if self.dry_run else (Fate.KEPT, _STOPPED)
        for source_arn, of_source in by_source.items():
            if not self.dry_run and not self.report.stopped:
                await self._run_letters(
                    source_arn, {each.record.record.id: each for each in of_source if each.record is not None}
                )

    async def _run_letters(self, source_arn: str, entries: dict[RecordId, Entry]) -> None:
        async def settled(records: tuple[Record, ...]) -> None:
            self.finished += len(records)
            await self._done([entries[record.id] for record in records])

        def failed(failure: Failure) -> None:
            self.finished += 1
            entry = entries[RecordId(failure.position)]
            entry.fate, entry.why = Fate.FAILED, f"{failure.trouble.type}: {failure.trouble.message}"

        try:
            rules, _ = self.rules_for("sqs", source_arn)
        except UserError as fault:
            for entry in entries.values():
                entry.why = str(fault)
            return
        await self._replay(rules, [each.record for each in entries.values() if each.record], settled=settled, failed=failed)
        if not self.report.stopped:
            for entry in entries.values():
                entry.why = _BEHIND if entry.fate is Fate.KEPT else entry.why

    # both

    async def _replay(
        self,
        rules: Rules,
        records: Sequence[EventRecord],
        *,
        place: str = "",
        settled: Callable[[tuple[Record, ...]], Awaitable[None]] | None = None,
        failed: Callable[[Failure], None] | None = None,
    ) -> None:
        self._replayer = Replayer(
            rules,
            self.invoker,
            self.report,
            concurrency=self.concurrency,
            settled=settled,
            failed=failed,
            blocked=self.blocked,
        )
        self.report.read += len(records)
        try:
            async with self._replayer.running():
                for record in records:
                    await self._replayer.feed(record, place=place)
        finally:
            self._replayer = None

    async def _done(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            entry.fate, entry.why = Fate.DONE, ""
        if not self.keep:
            with anyio.move_on_after(_LAST_WORD, shield=True):
                self.report.problems += await self.place.remove([entry.message for entry in entries])
