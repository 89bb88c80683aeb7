"""Pages of a source as lines, for people or as JSON: one for each page, and one for each record where that is asked for.

Data is shown, for terminal and credentials are the user's own: its first characters, and nothing that a terminal would obey.
"""

import base64
import binascii
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from rich.text import Text

from pollers.record import Record
from pollers.source import QueueSpec, StreamSpec
from runtime.core.mapping import EventSourceMapping
from runtime.tail.columns import clock_time, counted, printable, short_shard, size, span
from runtime.tail.told import Page, Remark
from runtime.tail.verdicts import Judge, Verdict

_LONGEST_DATA: Final = 100
_LONGEST_KEY: Final = 40
_QUIET: Final = "dim"
_MILLISECONDS: Final = 10.0


@dataclass(slots=True, kw_only=True)
class SourceText:
    spec: QueueSpec | StreamSpec
    mappings: Sequence[EventSourceMapping]
    """Those of the source whose filters are asked."""
    judge: Judge
    verbose: bool
    clock: Callable[[], float] = time.time
    pages: int = 0
    _records: int = 0
    _outcomes: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """Records by mapping with filters, and whether they match."""

    def remark(self, remark: Remark) -> list[Text]:
        line = Text(clock_time(self.clock()), style=_QUIET)
        where = f"{short_shard(remark.shard)} " if remark.shard else ""
        line.append(f"  {where}{printable(remark.text)}", style="not dim red" if remark.trouble else _QUIET)
        return [line]

    def page(self, page: Page) -> tuple[list[Text], list[bytes]]:
        """The lines for people, and those of JSON."""
        at = self.clock()
        verdicts = [self._verdicts(record) for record in page.records]
        self.pages += 1
        self._records += len(page.records)
        here = Counter((verdict.mapping, verdict.matches) for each in verdicts for verdict in each)
        self._outcomes += here
        texts, documents = [self._page_line(page, at, here)], [_encoded(self._page_document(page, at, here))]
        if self.verbose:
            for record, judged in zip(page.records, verdicts, strict=True):
                key, data = shown(self.spec, record)
                texts += _record_lines(record, key, data, judged)
                documents.append(_encoded(_record_document(page.shard, record, key, data, judged)))
        return texts, documents

    def summary(self) -> str:
        parts = [counted(self.pages, "page"), counted(self._records, "record")]
        parts += [
            f"{counted(count, 'record')} filtered out by {name}" for (name, fits), count in self._outcomes.items() if not fits
        ]
        return ", ".join(parts)

    def _verdicts(self, record: Record) -> list[Verdict]:
        return [verdict for mapping in self.mappings if (verdict := self.judge(mapping, record)) is not None]

    def _page_line(self, page: Page, at: float, here: Counter[tuple[str, bool]]) -> Text:
        line = Text(clock_time(at), style=_QUIET)
        if page.shard:
            line.append(f"  {short_shard(page.shard):<11}", style="not dim cyan")
        amount = size(sum(record.size for record in page.records))
        line.append(f"  {counted(len(page.records), 'record'):>13} {amount:>9}  {_age(page, at)}", style="not dim")
        for (mapping, matches), count in sorted(here.items()):
            line.append(f"  {mapping}: {count} {'match' if matches else 'filtered out'}", style="green" if matches else "yellow")
        return line

    def _page_document(self, page: Page, at: float, here: Counter[tuple[str, bool]]) -> dict[str, Any]:
        oldest = _oldest(page)
        return {
            "event": "page",
            "at": round(at, 3),
            **({"shard": page.shard} if page.shard else {}),
            "records": len(page.records),
            "bytes": sum(record.size for record in page.records),
            "age": None if oldest is None else round(max(0.0, at - oldest), 3),
            "first": page.records[0].id,
            "last": page.records[-1].id,
            **({"filters": _filters(here)} if here else {}),
        }


def shown(spec: QueueSpec | StreamSpec, record: Record) -> tuple[str, str]:
    """The key of a record, or the group, and its data as text; cut, and safe on a terminal."""
    event = spec.envelope([record])["Records"][0]
    match event:
        case {"kinesis": {"partitionKey": key, "data": data}}:
            return _cut(key, _LONGEST_KEY), _text_of(data)
        case {"dynamodb": dynamodb, "eventName": name}:
            image = dynamodb.get("NewImage", dynamodb.get("OldImage", {}))
            keys = json.dumps(dynamodb["Keys"], ensure_ascii=False)
            return _cut(keys, _LONGEST_KEY), _cut(f"{name} {json.dumps(image, ensure_ascii=False)}", _LONGEST_DATA)
        case {"body": body}:
            return _cut(record.group or "", _LONGEST_KEY), _cut(body, _LONGEST_DATA)
        case _:
            return _cut(record.group or "", _LONGEST_KEY), _cut(json.dumps(event), _LONGEST_DATA)


def _text_of(data: str) -> str:
    """Of base64 text; bytes that are no text are shown in hexadecimal digits."""
    enough = 4 * _LONGEST_DATA * 2
    try:
        raw = base64.b64decode(data[:enough])
    except binascii.Error:
        return _cut(data, _LONGEST_DATA)
    try:
        return _cut(raw.decode(), _LONGEST_DATA, more=len(data) > enough)
    except UnicodeDecodeError as error:
        if len(data) > enough and error.start > len(raw) - 4:  # the cut went through a character
            return _cut(raw[: error.start].decode(), _LONGEST_DATA, more=True)
        return _cut(f"0x{raw.hex()}", _LONGEST_DATA, more=len(data) > enough)


def _cut(text: str, most: int, *, more: bool = False) -> str:
    return printable(text) if len(text) <= most and not more else f"{printable(text[:most])}…"


def _record_lines(record: Record, key: str, data: str, verdicts: Sequence[Verdict]) -> list[Text]:
    line = Text(f"{'':14}{printable(record.id)}", style=_QUIET)
    if key:
        line.append(f"  {key}", style="not dim cyan")
    line.append(f"  {data}", style="not dim")
    lines = [line]
    for verdict in verdicts:
        word, style = ("matches", "green") if verdict.matches else ("filtered out", "yellow")
        lines.append(Text(f"{'':16}{verdict.mapping}: {word}", style=style))
        lines += [Text(f"{'':18}{printable(why)}", style=_QUIET) for why in verdict.why]
    return lines


def _record_document(shard: str, record: Record, key: str, data: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "event": "record",
        **({"shard": shard} if shard else {}),
        "id": record.id,
        "bytes": record.size,
        "arrived": record.arrived,
        **({"key": key} if key else {}),
        "data": data,
        **(
            {"filters": [{"mapping": each.mapping, "matches": each.matches, "why": each.why} for each in verdicts]}
            if verdicts
            else {}
        ),
    }


def _filters(here: Counter[tuple[str, bool]]) -> dict[str, dict[str, int]]:
    names = sorted({name for name, _ in here})
    return {name: {"match": here[name, True], "filtered_out": here[name, False]} for name in names}


def _oldest(page: Page) -> float | None:
    return min((record.arrived for record in page.records if record.arrived > 0), default=None)


def _age(page: Page, at: float) -> str:
    oldest = _oldest(page)
    if oldest is None:
        return ""
    age = max(0.0, at - oldest)
    return f"{age:.1f} s old" if age < _MILLISECONDS else f"{span(age)} old"


def _encoded(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document)
