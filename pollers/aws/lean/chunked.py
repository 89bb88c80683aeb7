"""The chunked transfer coding (RFC 9112, section 7.1), read as it comes."""

import re
from typing import Final

from pollers.aws.lean.answer_head import HEADER, NotHttp

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\r\n]*)?\r\n")
_LONGEST_LINE: Final = 4096
_MOST_TRAILERS: Final = 64 * 1024
"""Bytes of all of them."""
_CRLF: Final = b"\r\n"


class ChunkedBody:
    """Feed it what comes until it is `complete`; `rest` is what came behind the body."""

    __slots__ = ("_in_trailers", "_left", "_limit", "_trailers", "_unread", "complete", "content")

    def __init__(self, *, limit: int) -> None:
        """`limit`: bytes that the content may have."""
        self._limit = limit
        self._unread = bytearray()
        self._left: int | None = None
        """Bytes of the open chunk that are still to come, with its CRLF; None between chunks."""
        self._in_trailers = False
        self._trailers = 0
        self.content = bytearray()
        self.complete = False

    @property
    def rest(self) -> bytes:
        return bytes(self._unread)

    def feed(self, data: bytes) -> None:
        """Raises NotHttp."""
        self._unread += data
        while not self.complete and self._step():
            pass

    def _step(self) -> bool:
        """Take one piece; False when it has not come as a whole yet."""
        if self._left is not None:
            return self._take_content()
        line_end = self._unread.find(_CRLF)
        if line_end < 0 or line_end > _LONGEST_LINE:
            if len(self._unread) > _LONGEST_LINE:
                raise NotHttp("a line of its chunked body does not end")
            return False
        line = bytes(self._unread[: line_end + 2])
        del self._unread[: line_end + 2]
        if self._in_trailers:
            self._trailers += len(line)
            if self._trailers > _MOST_TRAILERS:
                raise NotHttp("its trailers do not end")
            self.complete = line == _CRLF
            if not self.complete and HEADER.fullmatch(line) is None:
                raise NotHttp(f"a trailer is malformed: {line[:40]!r}")
            return True
        size = _SIZE.fullmatch(line)
        if size is None:
            raise NotHttp(f"a chunk has no size: {line[:40]!r}")
        length = int(size[1], 16)
        if len(self.content) + length > self._limit:
            raise NotHttp(f"its body is longer than {self._limit} bytes")
        self._in_trailers = length == 0
        self._left = length + 2 if length else None
        return True

    def _take_content(self) -> bool:
        """Bytes of the open chunk, as many as there are."""
        left = self._left or 0
        piece = bytes(self._unread[: min(left - 2, len(self._unread))]) if left > len(_CRLF) else b""
        if piece:
            self.content += piece
            del self._unread[: len(piece)]
            self._left = left - len(piece)
            return True
        if len(self._unread) < left:
            return False
        if bytes(self._unread[:left]) != _CRLF[-left:]:
            raise NotHttp("a chunk is longer than it says")
        del self._unread[:left]
        self._left = None
        return True
