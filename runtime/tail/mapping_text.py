"""What a mapping of a worker tells, as lines for people: one for each batch, and for whatever else is worth one."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, assert_never

from msgspec import structs
from rich.text import Text

from runtime.tail.columns import clock_time, counted, printable, seconds, short_shard, size, span
from runtime.tap_events import (
    Alive,
    Closed,
    DeleteRefused,
    Detail,
    FilteredOut,
    GivenBack,
    GivenUp,
    InvocationEnded,
    Invoked,
    LinesLost,
    Received,
    Standing,
    Told,
    Traffic,
    Watching,
)

_LONG: Final = 3.0
"""Seconds after which an invocation that has not ended gets a line, and again whenever that has doubled."""
_TELL_WAITING_EVERY: Final = 1.0
_AGE_WORTH_TELLING: Final = 60.0
_GOOD, _BAD, _HALF, _QUIET = "green", "red", "yellow", "dim"
_FATES: Final = {"done": _GOOD, "returned": _HALF, "again": _HALF, "given_up": _BAD}


@dataclass(slots=True)
class _Running:
    invoked: Invoked
    tell_at: float


@dataclass(slots=True, kw_only=True)
class MappingText:
    """Knows what was told before, so that what repeats itself is short. `verbose`: a line for each record as well."""

    verbose: bool
    address: str
    """Of the worker."""
    batches: int = 0
    failures: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _lanes: bool = False
    _queue: bool = True
    _worker: str = ""
    _running: dict[str, _Running] = field(default_factory=dict)
    _failed: dict[tuple[str, int], str] = field(default_factory=dict)
    """How a lane failed last."""
    _standing: Standing | None = None
    _untold: dict[str, Received] = field(default_factory=dict)
    """By shard: when records that wait were told last, and what has come since."""

    def told(self, event: Told) -> list[Text]:
        match event:
            case Watching():
                return self._began(event)
            case Standing():
                return self._stands(event)
            case LinesLost():
                self._counts["lines lost"] += event.lines
                text = f"{counted(event.lines, 'line')} lost: this reader is slower than the mapping"
                return [self._note(event.at, text, _HALF)]
            case Closed():
                return self._closed(event)
            case Alive():
                return []
            case _:
                lines = self._traffic(event)
                return [*lines, *self._details(event.details)] if lines and not isinstance(event, Received) else lines

    def _traffic(self, event: Traffic) -> list[Text]:  # noqa: PLR0911  # one for each thing that can happen
        match event:
            case Received():
                return self._received(event)
            case Invoked():
                self._running[event.request_id] = _Running(event, tell_at=event.at + _LONG)
                return [self._line(event, text=f"invoked, request {event.request_id}", style=_QUIET)] if self.verbose else []
            case InvocationEnded():
                return [self._ended(event)]
            case FilteredOut():
                self._counts["filtered out"] += event.records
                return [self._line(event, text="filtered out", style=_QUIET)]
            case GivenUp():
                return [self._given_up(event)]
            case GivenBack():
                return [self._line(event, text=f"given back: {event.reason}", style=_HALF)]
            case DeleteRefused():
                text = f"done, but the queue did not delete them ({printable(event.code)}): expect them again"
                return [self._line(event, text=text, style=_BAD)]
            case _:
                assert_never(event)

    def still_running(self, now: float) -> list[Text]:
        """Invocations that take long; `now` in epoch seconds."""
        lines = []
        for each in self._running.values():
            if now >= each.tell_at:
                took = now - each.invoked.at
                each.tell_at = each.invoked.at + 2 * took
                lines.append(self._line(each.invoked, at=now, text=f"running for {span(took)}", style=_QUIET))
        return lines

    def summary(self) -> str:
        parts = [counted(self.batches, "batch"), counted(self._counts["records"], "record"), counted(self.failures, "failure")]
        parts.append(f"{self._counts['filtered out']:,} filtered out")
        parts += [f"{self._counts[each]:,} {each}" for each in ("throttled", "given up", "lines lost") if self._counts[each]]
        return ", ".join(parts)

    # one line each

    def _began(self, event: Watching) -> list[Text]:
        again, self._worker = bool(self._worker), event.worker
        self._lanes, self._queue = event.lanes > 1, event.source == "sqs"
        self._running.clear()
        self._standing = None
        limits = f"batches of {event.batch_size:,}" + (f" or {event.window} s" if event.window else "")
        limits += f", {event.lanes} at once for each shard" if self._lanes else ""
        where = f"worker {printable(event.worker)} at {self.address}"
        if again:
            return [self._note(event.at, f"the worker is back: {where}", "bold")]
        return [
            Text(f"mapping {event.mapping}: {event.arn} -> {event.function}", style="bold"),
            Text(f"from {where}; {limits}", style=_QUIET),
        ]

    def _stands(self, event: Standing) -> list[Text]:
        before, self._standing = self._standing, event
        lines: list[Text] = []
        if before is None:
            states = Counter(event.shards.values())
            shards = "".join(f", {counted(count, 'shard')} {state}" for state, count in states.items())
            lines.append(self._note(event.at, f"{event.state}{shards}", _QUIET))
        else:
            if event.state != before.state:
                lines.append(self._note(event.at, event.state, "bold"))
            lines += [self._note(event.at, f"{short_shard(shard)} {state}", _QUIET) for shard, state in event.shards.items()]
        left = {shard for shard, state in event.shards.items() if state != "reading"}
        self._running = {key: each for key, each in self._running.items() if each.invoked.shard not in left}
        why = before.why if before else ()
        lines += [self._note(event.at, printable(each), _BAD) for each in event.why if each not in why]
        if why and not event.why:
            lines.append(self._note(event.at, "nothing is in its way any more", _GOOD))
        return lines

    def _received(self, event: Received) -> list[Text]:
        """Worth a line of its own where the records wait for others, and then not more than one a second."""
        if self.verbose:
            return [self._line(event, text=_arrival(event), style=_QUIET)]
        if not event.due:
            self._untold.pop(event.shard, None)
            return []
        before = self._untold.get(event.shard)
        if before is None or event.at - before.at >= _TELL_WAITING_EVERY:
            self._untold[event.shard] = structs.replace(event, records=0, bytes=0)
            records, size_ = (before.records, before.bytes) if before else (0, 0)
            whole = structs.replace(event, records=event.records + records, bytes=event.bytes + size_)
            return [self._line(whole, text=_arrival(event), style=_QUIET)]
        records, size_ = before.records + event.records, before.bytes + event.bytes
        self._untold[event.shard] = structs.replace(before, records=records, bytes=size_)
        return []

    def _ended(self, event: InvocationEnded) -> Text:
        self._running.pop(event.request_id, None)
        self._untold.pop(event.shard, None)
        if event.outcome == "throttled":
            self._counts["throttled"] += 1
        else:
            self.batches += 1
            self._counts["records"] += event.records
        word = _word(event)
        self.failures += bool(word) and event.outcome != "throttled"
        style = _GOOD if not word else _HALF if event.outcome == "throttled" or event.done else _BAD
        line = self._line(event, took=event.duration, text=_fate(event, word), style=style)
        if event.message is not None:
            line.append(f"  {self._failure(event)}", style=_QUIET)
        else:
            self._failed.pop((event.shard, event.lane), None)
        return line

    def _failure(self, event: InvocationEnded) -> str:
        message = (event.message or "").removeprefix(f"RequestId: {event.request_id} Error: ")
        text = printable(f"{event.error_type}: {message}" if event.error_type else message)
        lane = (event.shard, event.lane)
        repeated, self._failed[lane] = self._failed.get(lane) == text, text
        return "(as before)" if repeated else text

    def _given_up(self, event: GivenUp) -> Text:
        if event.fate != "refused":
            self._counts["given up"] += event.records
        where = f" to {event.destination}" if event.destination else ""
        text = {
            "sent": f"sent away{where}",
            "refused": f"refused by {event.destination}",
            "dropped": "dropped",
            "expired": "left the stream while they were retried",
        }[event.fate]
        line = self._line(event, text=f"given up ({event.condition}): {text}", style=_BAD)
        if event.message is not None:
            line.append(f"  {printable(event.message)}", style=_QUIET)
        return line

    def _closed(self, event: Closed) -> list[Text]:
        lines = [self._note(event.at, event.reason, "bold")]
        if self._running:
            records = sum(each.invoked.records for each in self._running.values())
            text = f"{counted(len(self._running), 'invocation')} with {counted(records, 'record')} had not ended"
            lines.append(self._note(event.at, text, _BAD))
        self._running.clear()
        return lines

    # columns

    def _line(
        self,
        event: Traffic,
        *,
        text: str,
        style: str,
        at: float | None = None,
        took: float | None = None,
    ) -> Text:
        line = Text(clock_time(event.at if at is None else at), style=_QUIET)
        if not self._queue:
            lane = f"/{event.lane}" if self._lanes and isinstance(event, Invoked | InvocationEnded) else ""
            line.append(f"  {short_shard(event.shard) + lane:<11}", style="cyan")
        line.append(f"  {counted(event.records, 'record'):>13} {size(event.bytes):>9} {seconds(took):>8}  ", style="not dim")
        line.append(text, style=f"not dim {style}" if style != _QUIET else style)
        return line

    def _note(self, at: float, text: str, style: str) -> Text:
        return Text.assemble((clock_time(at), _QUIET), ("  " + text, style))

    def _details(self, details: tuple[Detail, ...]) -> list[Text]:
        lines = []
        for each in details if self.verbose else ():
            line = Text(f"{'':14}{printable(each.id)}  {size(each.bytes):>9}", style=_QUIET)
            line.append(f"  {each.fate.replace('_', ' ')}", style=_FATES.get(each.fate, _QUIET))
            lines.append(line)
            lines += [Text(f"{'':18}{printable(why)}", style=_QUIET) for why in each.why]
        return lines


def _arrival(event: Received) -> str:
    text = "received"
    if event.due:
        text += f"; {counted(event.waiting, 'record')} waiting, due in {seconds(event.due)}"
    return text + (f"; {span(event.age)} old" if event.age is not None and event.age >= _AGE_WORTH_TELLING else "")


def _word(event: InvocationEnded) -> str:
    """What went wrong; empty where nothing did."""
    if event.outcome == "succeeded" and event.message is not None:
        return "answer not understood"
    if event.outcome == "succeeded":
        return "items failed" if event.returned or event.again or event.given_up else ""
    return event.outcome.replace("_", " ")


def _fate(event: InvocationEnded, word: str) -> str:
    """As `attempt 2 failed: tried again as 4 + 4`."""
    fates = []
    whole = event.records
    if event.done:
        fates.append("done" if event.done == whole else f"{event.done:,} done")
    if event.returned:
        fates.append(f"{_part(event.returned, whole)}back to the queue")
    if event.given_up:
        fates.append(f"{_part(event.given_up, whole)}given up ({event.condition})")
    if len(event.again) > 1:
        fates.append(f"tried again as {' + '.join(map(str, event.again))}")
    elif event.again:
        fates.append(f"{_part(event.again[0], whole)}tried again")
    if not whole:
        fates.append("the end of a tumbling window")
    attempt = f"attempt {event.attempt}" if event.attempt > 1 else ""
    said = " ".join(filter(None, (attempt, word)))
    return f"{said}: {', '.join(fates)}" if said and fates else said or ", ".join(fates)


def _part(count: int, whole: int) -> str:
    return "" if count == whole else f"{count:,} "
