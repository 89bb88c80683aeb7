"""Writes recordings (`docs/recordings.md`): the lines, and the file they go to."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final, Self

from pollers.compressed import compressing
from pollers.event_records import encode
from pollers.recorded import MARK, VERSION

_STANDARD_OUTPUT: Final = 1


class NotWritten(Exception):
    """The recording cannot be written on: the disk is full, or gone. What was flushed before is there."""


class RecordingFile:
    """A new file, compressed as its name says; it is there for good once `keep` was called.

    One that stands there already is replaced in that moment, and stays as it was if it never comes. `-` is standard output. What
    is no file (a pipe, a device) is written to at once.
    """

    def __init__(self, path: Path, raw: IO[bytes], *, suffix: str, beside: Path | None) -> None:
        self._path = path
        self._beside = beside
        """Where it is until it is kept; None: there is nothing to keep or to remove."""
        self._file = compressing(raw, suffix)

    @classmethod
    def create(cls, path: Path, *, overwrite: bool) -> Self:
        """Raises OSError; FileExistsError where something stands there and is not to be replaced."""
        if str(path) == "-":
            return cls(path, os.fdopen(os.dup(_STANDARD_OUTPUT), "wb"), suffix="", beside=None)
        if path.exists() and not path.is_file():
            return cls(path, path.open("wb"), suffix=path.suffix, beside=None)
        if not (overwrite and path.exists()):
            return cls(path, path.open("xb"), suffix=path.suffix, beside=path)
        target = path.resolve()
        beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        return cls(target, beside.open("xb"), suffix=path.suffix, beside=beside)

    def keep(self) -> None:
        """Raises OSError."""
        if self._beside is not None:
            if self._beside != self._path:
                self._beside.replace(self._path)
            self._beside = None

    def write(self, data: bytes, /) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Raises OSError. What was not kept is gone."""
        try:
            self._file.close()
        finally:
            if self._beside is not None:
                self._beside.unlink(missing_ok=True)


class RecordingWriter:
    """Writes one recording. Every line that was flushed is there after a crash, compressed or not. Raises NotWritten.

    The file is kept as soon as a record is in it, or when the recording ends.
    """

    def __init__(self, file: RecordingFile) -> None:
        """`file` is closed by whoever opened it."""
        self._file = file
        self._shards: set[str] = set()
        self._ended = False
        self.records = 0
        self.flushed = 0
        """Of `records`."""

    def begin(self, *, source: str, source_arn: str, at: float, by: str) -> None:
        """`at`: seconds since the epoch, as all times here."""
        self._write({MARK: VERSION, "source": source, "source_arn": source_arn, "began": at, "by": by})

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
        try:
            self._file.flush()
            if self.records or self._ended:
                self._file.keep()
        except OSError as error:
            raise NotWritten(error.strerror or str(error)) from error
        self.flushed = self.records

    def end(self, *, at: float) -> None:
        self._write({"ended": at, "records": self.records})
        self._ended = True
        self.flush()

    def _write(self, line: Mapping[str, Any]) -> None:
        try:
            self._file.write(encode(line) + b"\n")
        except OSError as error:
            raise NotWritten(error.strerror or str(error)) from error
