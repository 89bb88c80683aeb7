"""Compressed files, written so that whatever was flushed can be read, and read by what their first bytes say.

A file that was cut off gives what is whole in it, then EOFError.
"""

import gzip
import io
import zlib
from typing import IO, TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_LEVEL: Final = 6
_CHUNK: Final = 128 * 1024


class Writable(Protocol):
    """A file that is being written. Raises OSError."""

    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Readable(Protocol):
    """A file that is being read."""

    def readline(self, size: int = -1, /) -> bytes: ...

    def read(self, size: int = -1, /) -> bytes: ...


class Damaged(Exception):
    """The compressed content of a file is not right."""


DAMAGES: Final = (Damaged, gzip.BadGzipFile, zlib.error)
"""What reading such a file may raise, beside EOFError and OSError."""


def compressing(raw: IO[bytes], suffix: str) -> Writable:
    """Compresses what is written to it as the ending of a file's name says, or not. Closing it closes `raw`."""
    match suffix.lower():
        case ".gz":
            return _GzipWriter(raw)
        case ".zst":
            return _ZstdWriter(raw)
        case _:
            return raw


def decompressing(raw: io.BufferedReader) -> Readable:
    """`raw` is closed by whoever opened it; it need not be one that can seek."""
    first = raw.peek(len(_ZSTD))[: len(_ZSTD)]
    if first.startswith(_GZIP):
        return gzip.GzipFile(fileobj=raw)
    if first == _ZSTD:
        return io.BufferedReader(_ZstdReader(raw), _CHUNK)
    return raw


class _GzipWriter(gzip.GzipFile):
    """One that closes its file, and has neither name nor time in it."""

    def __init__(self, raw: IO[bytes]) -> None:
        super().__init__(filename="", mode="wb", fileobj=raw, mtime=0)
        self._raw = raw

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._raw.close()


class _ZstdWriter:
    """Ends a block at each flush: a frame for each would cost up to twenty times the room."""

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard  # noqa: PLC0415  # only who writes such a file waits for it

        self._raw = raw
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
        self._block, self._frame = zstandard.COMPRESSOBJ_FLUSH_BLOCK, zstandard.COMPRESSOBJ_FLUSH_FINISH
        self._closed = False

    def write(self, data: bytes, /) -> int:
        self._raw.write(self._compressor.compress(data))
        return len(data)

    def flush(self) -> None:
        self._raw.write(self._compressor.flush(self._block))
        self._raw.flush()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._raw.write(self._compressor.flush(self._frame))
        finally:
            self._raw.close()


class _ZstdReader(io.RawIOBase):
    """Frames one after another. zstandard's own reader takes a frame that was cut off for a whole one."""

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard  # noqa: PLC0415  # as above

        self._raw = raw
        self._zstandard = zstandard
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._inside = False
        """Of a frame."""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Raises EOFError, and Damaged."""
        into = memoryview(buffer).cast("B")
        while not self._ready and self._fill():
            pass
        count = min(len(into), len(self._ready))
        into[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _fill(self) -> bool:
        """Whether there may be more."""
        chunk = self._frame.unused_data if self._frame.eof else b""
        if self._frame.eof:
            self._frame = self._zstandard.ZstdDecompressor().decompressobj()
            self._inside = False
        chunk = chunk or self._raw.read(_CHUNK)
        if not chunk:
            if self._inside:
                raise EOFError("the file ends inside a frame")
            return False
        self._inside = True
        try:
            self._ready = memoryview(self._frame.decompress(chunk))
        except self._zstandard.ZstdError as error:
            raise Damaged(str(error)) from error
        return True
