"""Reads one file: a recording of ours, or events of others. What stands before a flaw is always given."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pollers.compressed import DAMAGES, Readable
from pollers.event_records import READABLE, blank_until, decode, decode_first, read_event_record, read_seconds
from pollers.foreign_events import records_in
from pollers.recorded import MARK, VERSION, Flaw, Item, Lineage, Recorded

_LONGEST_LINE: Final = 64 * 1024 * 1024
"""Bytes; an event has 6 MB."""
_LARGEST_DOCUMENT: Final = 512 * 1024 * 1024
"""Bytes of a file that is one JSON document over many lines: it is read at once."""
_LONGEST_WORD: Final = 5
"""Characters of a word of JSON, or of what an escape begins with: half of one at the end of a file was cut off."""
_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


class _Wrong(Exception):
    """A line cannot be understood."""


class FileReader:
    """One file, once."""

    def __init__(self, name: str, lines: Readable) -> None:
        """`name` is what flaws call it."""
        self._name = name
        self._lines = lines
        self._number = 0
        self._header: Mapping[str, Any] = {}
        self._began = 0
        """The line of the header."""
        self._ended = False
        self._records = 0

    def items(self) -> Iterator[Item]:
        try:
            yield from self._items()
        except _Wrong as fault:
            yield self._flaw(str(fault))
        except EOFError:
            self._number += 1
            yield self._flaw("the compressed file ends too early: it was cut off here; what stands before it was read")
        except DAMAGES as error:
            self._number += 1
            yield self._flaw(f"the compressed file is damaged here: {error}")
        except OSError as error:
            self._number += 1
            yield self._flaw(f"the file cannot be read: {error.strerror or error}")

    def _items(self) -> Iterator[Item]:
        first = self._next()
        if first is None:
            raise _Wrong("the file is empty: it is no recording")
        if first.startswith(_UTF_16):
            raise _Wrong("the file is UTF-16 text: write it as UTF-8")
        first = first.removeprefix(_BOM)
        try:
            document = decode(first)
        except ValueError:
            yield from self._whole(first)
            return
        if isinstance(document, dict) and MARK in document:
            yield from self._recording(document)
        else:
            yield from self._events(document)

    # our own

    def _recording(self, header: dict[str, Any]) -> Iterator[Item]:
        self._begin(header)
        while (text := self._next()) is not None:
            line = self._line_of_recording(text)
            if MARK in line:  # recordings may be put one behind the other
                if not self._ended:
                    yield self._cut_off(self._began)
                self._begin(line)
            elif self._ended:
                raise _Wrong("the recording has ended before this line: it does not belong to it")
            elif "record" in line:
                yield self._recorded(line)
            elif "shard" in line:
                yield self._lineage(line)
            elif "ended" in line:
                self._end(line)
            else:
                raise _Wrong("the line is neither a record nor anything else that a recording holds")
        if not self._ended:
            yield self._cut_off(self._number)

    def _cut_off(self, line: int) -> Flaw:
        which = "the recording that begins here" if line != self._number else "the recording"
        text = f"{which} has no last line, so it was cut off; what there is of it was read"
        return Flaw(file=self._name, line=line, message=text)

    def _begin(self, header: dict[str, Any]) -> None:
        if header[MARK] != VERSION:
            raise _Wrong(f"the recording has version {header[MARK]!r}, but this program reads {VERSION}: use another esm")
        if not isinstance(header.get("source_arn"), str):
            raise _Wrong("the first line of the recording has no source_arn")
        source = header.get("source")
        if source is not None and not (isinstance(source, str) and source in READABLE):
            raise _Wrong(
                f"the recording is of source {str(source)[:80]!r}: only those of {', '.join(sorted(READABLE))} can be read"
            )
        self._header, self._began, self._ended, self._records = header, self._number, False, 0

    def _end(self, line: dict[str, Any]) -> None:
        """Who makes a recording out of another with a filter leaves the number out."""
        if line.get("records", self._records) != self._records:
            raise _Wrong(f"the recording says that it holds {line['records']} records, but there are {self._records}")
        self._ended = True

    def _recorded(self, line: dict[str, Any]) -> Recorded:
        try:
            arrived = read_seconds(line, "arrived") if line.get("arrived") is not None else None
            of = read_event_record(line["record"], shard=self._shard(line) if "shard" in line else "", arrived=arrived)
        except ValueError as error:
            raise _Wrong(str(error)) from error
        self._records += 1
        return Recorded(of=of, line=self._number, file=self._name)

    def _lineage(self, line: dict[str, Any]) -> Lineage:
        parents = line.get("parents") or []
        if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
            raise _Wrong("parents of a shard is no list of shards")
        return Lineage(source_arn=self._header["source_arn"], shard=self._shard(line), parents=tuple(parents))

    def _shard(self, line: dict[str, Any]) -> str:
        shard = line["shard"]
        if not isinstance(shard, str):
            raise _Wrong(f"shard is {str(shard)[:80]}, not text")
        return shard

    def _line_of_recording(self, text: bytes) -> dict[str, Any]:
        try:
            line = decode(text)
        except ValueError as error:
            cut = "" if text.endswith(b"\n") else ", and the file ends here: it was cut off"
            raise _Wrong(f"this should be a line of a recording, but it is not JSON{cut}") from error
        if not isinstance(line, dict):
            raise _Wrong("this should be a line of a recording, but it is not an object")
        return line

    # files of others

    def _events(self, document: Any) -> Iterator[Recorded]:
        """One JSON document a line, or from some line on, over several."""
        yield from self._records_in(document)
        while (text := self._next()) is not None:
            try:
                document = decode(text)
            except ValueError:
                yield from self._whole(text)
                return
            yield from self._records_in(document)

    def _whole(self, first: bytes) -> Iterator[Recorded]:
        """Documents over many lines, to the end of the file."""
        if first.lstrip()[:1] not in (b"{", b"["):
            raise _Wrong("this is neither a recording nor JSON")
        begin = self._number
        content = first + self._lines.read(_LARGEST_DOCUMENT)
        if len(content) >= _LARGEST_DOCUMENT:
            raise _Wrong("the file is one JSON document and too large for that: put one event on each line")
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            self._number = begin + content.count(b"\n", 0, error.start)
            raise _Wrong("the file is not UTF-8 text") from error
        at = counted = 0
        while (at := blank_until(text, at)) < len(text):
            begin += text.count("\n", counted, at)
            counted, self._number = at, begin
            document, at = self._document(text, at, begin)
            yield from self._records_in(document)

    def _document(self, text: str, at: int, line: int) -> tuple[Any, int]:
        """That begins at `at`, in that line."""
        try:
            return decode_first(text, at)
        except json.JSONDecodeError as error:
            end = len(text.rstrip())
            self._number = line + text.count("\n", at, min(error.pos, end))
            half_a_word = 0 if text.endswith("\n") else _LONGEST_WORD
            if error.pos >= end - half_a_word or error.msg.startswith("Unterminated"):
                raise _Wrong("the JSON document ends too early: the file was cut off") from error
            raise _Wrong(f"this is not JSON: {error.msg}, at column {error.colno}") from error
        except ValueError as error:
            raise _Wrong(f"this is not JSON that can be read: {error}") from error

    def _records_in(self, document: Any) -> Iterator[Recorded]:
        try:
            for of in records_in(document):
                yield Recorded(of=of, line=self._number, file=self._name)
        except ValueError as error:
            raise _Wrong(str(error)) from error

    # lines

    def _next(self) -> bytes | None:
        """The next line that is not blank."""
        while line := self._lines.readline(_LONGEST_LINE):
            self._number += 1
            if len(line) >= _LONGEST_LINE:
                raise _Wrong(f"the line is longer than {_LONGEST_LINE} bytes: this is no recording")
            if line.strip():
                return line
        return None

    def _flaw(self, message: str) -> Flaw:
        return Flaw(file=self._name, line=max(1, self._number), message=message)
