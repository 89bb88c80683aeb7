"""Recordings: records of a source in a file, one JSON object a line (`docs/recordings.md`); and files of others like them.

    {"esm_recording": 1, "source": "kinesis", "source_arn": "arn:...", "began": 1767225600.0, "by": "esm-runtime 0.1.0"}
    {"shard": "shardId-000000000001", "parents": ["shardId-000000000000"]}
    {"shard": "...", "position": "4960...", "arrived": 1767225599.5, "received": 1767225600.2, "record": {part of a Lambda event}}
    {"ended": 1767225700.0, "records": 1}

Compressed when the name ends in `.gz` or `.zst`; read by what the first bytes say. What stands before a flaw is always given.
"""

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, Protocol, Self

from msgspec import Struct

from pollers.event_records import EventRecord, decode, encode, read_event_record

VERSION: Final = 1
_MARK: Final = "esm_recording"
_LONGEST_LINE: Final = 64 * 1024 * 1024
"""Bytes; an event has 6 MB."""
_LARGEST_DOCUMENT: Final = 512 * 1024 * 1024
"""Bytes of a file that is one JSON document over many lines: it is read at once."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class Writable(Protocol):
    """A file that is being written."""

    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Readable(Protocol):
    """A file that is being read."""

    def readline(self, size: int = -1, /) -> bytes: ...

    def read(self, size: int = -1, /) -> bytes: ...


class Recorded(Struct, frozen=True, kw_only=True):
    """One record of a recording."""

    of: EventRecord
    line: int = 0
    """Where it stands in its file."""
    file: str = ""


class Lineage(Struct, frozen=True, kw_only=True):
    """A shard begins; its records come after those of its parents."""

    source_arn: str
    shard: str
    parents: tuple[str, ...] = ()


class Flaw(Struct, frozen=True, kw_only=True):
    """Why a file cannot be read on."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class RecordingWriter:
    """Writes one recording. Every line that was flushed is there after a crash, compressed or not."""

    def __init__(self, file: Writable) -> None:
        """`file` is closed by whoever opened it (`create_recording`)."""
        self._file = file
        self._shards: set[str] = set()
        self.records = 0

    def begin(self, *, source: str, source_arn: str, at: float, by: str) -> None:
        """`at`: seconds since the epoch, as all times here."""
        self._write({_MARK: VERSION, "source": source, "source_arn": source_arn, "began": at, "by": by})

    def begin_shard(self, shard: str, parents: tuple[str, ...]) -> None:
        """Once for each shard, after the records of its parents."""
        if shard not in self._shards:
            self._shards.add(shard)
            self._write({"shard": shard, "parents": parents})

    def add(self, shown: Mapping[str, Any], *, shard: str, position: str, arrived: float, received: float, **more: str) -> None:
        """`shown`: the record's part of an event. `more`: what the source said beyond it."""
        where = {"shard": shard} if shard else {}
        self._write({**where, "position": position, "arrived": arrived, "received": received, **more, "record": shown})
        self.records += 1

    def flush(self) -> None:
        self._file.flush()

    def end(self, *, at: float) -> None:
        self._write({"ended": at, "records": self.records})
        self.flush()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(encode(line) + b"\n")


def create_recording(path: Path, *, overwrite: bool) -> Writable:
    """A new file for a `RecordingWriter`, compressed as its name says. Raises OSError."""
    raw = path.open("wb" if overwrite else "xb")
    match path.suffix:
        case ".gz":
            return _Gzip(raw)
        case ".zst":
            import zstandard  # noqa: PLC0415  # only who writes such a file waits for it

            # flush() ends a frame: whatever was flushed can be read
            return _Zstd(zstandard.ZstdCompressor(level=6).stream_writer(raw, closefd=True, write_return_read=True))
        case _:
            return raw


class _Gzip(gzip.GzipFile):
    """One that closes its file."""

    def __init__(self, raw: IO[bytes]) -> None:
        super().__init__(filename="", mode="wb", fileobj=raw, mtime=0)
        self._raw = raw

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Zstd(io.RawIOBase):
    """Ends a frame at each flush."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._writer.write(data)
        return len(data)

    def flush(self) -> None:
        import zstandard  # noqa: PLC0415  # as above

        if not self.closed:
            self._writer.flush(zstandard.FLUSH_FRAME)

    def close(self) -> None:
        if not self.closed:
            super().close()  # flushes
            self._writer.close()


class RecordingReader:
    """The records of a file or of a folder of files, in order. Iterating opens and closes the files.

    A file is read until it ends or cannot be understood; then a `Flaw` follows what stood before it, and the next file is read.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError if there is nothing of that name."""
        self.path = path
        self._files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        self.total_bytes = sum(each.stat().st_size for each in self._files)
        self._done = 0
        self._raw: IO[bytes] | None = None

    @property
    def read_bytes(self) -> int:
        """Of `total_bytes`, as they lie on disk."""
        return self._done + (self._raw.tell() if self._raw is not None else 0)

    def __iter__(self) -> Iterator[Recorded | Lineage | Flaw]:
        for file in self._files:
            try:
                with file.open("rb") as self._raw:
                    yield from _FileReader(str(file), _decompressed(self._raw)).items()
            except OSError as error:
                yield Flaw(file=str(file), line=1, message=f"the file cannot be read: {error.strerror or error}")
            finally:
                self._raw = None
            self._done += file.stat().st_size
        if not self._files:
            yield Flaw(file=str(self.path), line=1, message="the folder is empty: there is nothing to read")


def _decompressed(raw: IO[bytes]) -> Readable:
    first = raw.read(4)
    raw.seek(0)
    if first.startswith(_GZIP):
        return gzip.GzipFile(fileobj=raw)
    if first == _ZSTD:
        import zstandard  # noqa: PLC0415  # only who reads such a file waits for it

        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
    return raw


class _Wrong(Exception):
    """A line cannot be understood."""


class _FileReader:
    """Reads one file."""

    def __init__(self, name: str, lines: Readable) -> None:
        self._name = name
        self._lines = lines
        self._number = 0
        self._header: Mapping[str, Any] | None = None
        self._ended = False
        self._records = 0

    @classmethod
    def on(cls, name: str, content: bytes) -> Self:
        return cls(name, io.BytesIO(content))

    def items(self) -> Iterator[Recorded | Lineage | Flaw]:
        try:
            yield from self._items()
        except _Wrong as fault:
            yield self._flaw(str(fault))
        except EOFError:
            yield self._flaw("the compressed file ends too early: it was cut off")
        except Exception as error:
            if not _is_compression(error):
                raise
            yield self._flaw(f"the compressed file is damaged: {error}")

    def _items(self) -> Iterator[Recorded | Lineage | Flaw]:
        first = self._next()
        if first is None:
            raise _Wrong("the file is empty: it is no recording")
        try:
            document = decode(first)
        except ValueError:
            yield from self._whole(first)
            return
        if isinstance(document, dict) and _MARK in document:
            yield from self._recording(document)
        else:
            yield from self._events(document)

    # our own

    def _recording(self, header: dict[str, Any]) -> Iterator[Recorded | Lineage]:
        self._check_header(header)
        while (text := self._next()) is not None:
            line = self._decoded(text)
            if _MARK in line:  # recordings may be put one behind the other
                self._check_header(line)
            elif "record" in line:
                yield self._recorded(line)
            elif "shard" in line:
                parents = tuple(map(str, line.get("parents") or ()))
                yield Lineage(source_arn=self._source_arn, shard=str(line["shard"]), parents=parents)
            elif "ended" in line:
                self._check_end(line)
            else:
                raise _Wrong("the line is neither a record nor anything else that a recording holds")
        if not self._ended:
            raise _Wrong("the recording has no last line, so it was cut off here; what stands before it was read")

    @property
    def _source_arn(self) -> str:
        return str(self._header["source_arn"]) if self._header else ""

    def _check_header(self, header: dict[str, Any]) -> None:
        if header[_MARK] != VERSION:
            raise _Wrong(f"the recording has version {header[_MARK]!r}, but this program reads {VERSION}: use a newer esm")
        if not isinstance(header.get("source_arn"), str):
            raise _Wrong("the first line of the recording has no source_arn")
        self._header, self._ended, self._records = header, False, 0

    def _check_end(self, line: dict[str, Any]) -> None:
        if line.get("records") != self._records:
            raise _Wrong(f"the recording says that it holds {line.get('records')} records, but there are {self._records}")
        self._ended = True

    def _recorded(self, line: dict[str, Any]) -> Recorded:
        arrived = line.get("arrived")
        if arrived is not None and not isinstance(arrived, int | float):
            raise _Wrong(f"arrived is {arrived!r}, not a number of seconds")
        self._records += 1
        return self._read(line["record"], shard=str(line.get("shard", "")), arrived=arrived)

    # files of others

    def _events(self, document: Any) -> Iterator[Recorded]:
        """One JSON document a line."""
        yield from self._records_in(document)
        while (text := self._next()) is not None:
            yield from self._records_in(self._decoded(text, of="a JSON document"))

    def _whole(self, first: bytes) -> Iterator[Recorded]:
        """One document over many lines, or several."""
        if first.lstrip()[:1] not in (b"{", b"["):
            raise _Wrong("this is neither a recording nor JSON")
        start = self._number
        content = first + self._lines.read(_LARGEST_DOCUMENT)
        if len(content) >= _LARGEST_DOCUMENT:
            raise _Wrong("the file is one JSON document and too large for that: put one event on each line")
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            self._number = start + content.count(b"\n", 0, error.start)
            raise _Wrong("the file is not UTF-8 text") from error
        reader, at = json.JSONDecoder(), 0
        while True:
            at += len(text) - at - len(text[at:].lstrip())
            if at >= len(text):
                return
            self._number = start + text.count("\n", 0, at)
            try:
                document, at = reader.raw_decode(text, at)
            except json.JSONDecodeError as error:
                self._number = start + error.lineno - 1
                raise _Wrong(f"this is not JSON: {error.msg}, at column {error.colno}") from error
            except RecursionError as error:
                raise _Wrong("the document is nested too deeply") from error
            yield from self._records_in(document)

    def _records_in(self, document: Any) -> Iterator[Recorded]:
        if isinstance(document, list):
            for each in document:
                yield from self._records_in(each)
        elif not isinstance(document, dict):
            raise _Wrong(f"this is no Lambda event but {type(document).__name__}")
        elif _MARK in document:
            raise _Wrong("a recording begins inside a file of events: give them as two files")
        elif isinstance(document.get("Records"), list):
            for shown in document["Records"]:
                yield self._read(shown)
        elif "requestContext" in document:
            yield from self._records_in(self._payload(document))
        elif "eventSource" in document:
            yield self._read(document)
        else:
            raise _Wrong('this is no Lambda event: it has no "Records"')

    def _payload(self, failure: dict[str, Any]) -> Any:
        """Of an on-failure record: text in S3 objects (DST-37), the event itself where a function was told."""
        payload = failure.get("payload", failure.get("requestPayload"))
        if payload is None:
            raise _Wrong(
                "this is an on-failure record without payload: those of queues and topics only say where the records are. "
                "`esm redrive` fetches them from the stream"
            )
        return self._decoded(payload.encode("utf-8", "surrogatepass"), of="payload") if isinstance(payload, str) else payload

    # lines

    def _read(self, shown: Any, *, shard: str = "", arrived: float | None = None) -> Recorded:
        try:
            of = read_event_record(shown, shard=shard, arrived=arrived)
        except ValueError as error:
            raise _Wrong(str(error)) from error
        return Recorded(of=of, line=self._number, file=self._name)

    def _next(self) -> bytes | None:
        """The next line that is not blank."""
        while line := self._lines.readline(_LONGEST_LINE):
            self._number += 1
            if len(line) >= _LONGEST_LINE:
                raise _Wrong(f"the line is longer than {_LONGEST_LINE} bytes: this is no recording")
            if line.strip():
                return line
        return None

    def _decoded(self, text: bytes, *, of: str = "a line of a recording") -> Any:
        try:
            document = decode(text)
        except ValueError as error:
            cut = "" if text.endswith(b"\n") or of == "payload" else ", and the file ends here: it was cut off"
            raise _Wrong(f"this should be {of}, but it is not JSON{cut}") from error
        if of == "a line of a recording" and not isinstance(document, dict):
            raise _Wrong("this should be a line of a recording, but it is not an object")
        return document

    def _flaw(self, message: str) -> Flaw:
        return Flaw(file=self._name, line=max(1, self._number), message=message)


def _is_compression(error: Exception) -> bool:
    return isinstance(error, gzip.BadGzipFile) or type(error).__module__.partition(".")[0] in ("zstandard", "zlib")


def read_document(name: str, content: bytes) -> Iterator[Recorded | Lineage | Flaw]:
    """What a file of that content would hold; `name` is what flaws call it."""
    return _FileReader.on(name, content).items()
