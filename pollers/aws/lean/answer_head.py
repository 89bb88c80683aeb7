"""The head of an HTTP/1.1 answer, as far as a client of AWS has to understand it (RFC 9112).

The law: what is not plainly right is refused, and its connection is never used again. Two readings of one answer are how one
client's bytes end up in another's hands.
"""

import re
from typing import Final

_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\r\n]*)?\r\n")
HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)\r\n")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_INTERIM: Final = 200
_SWITCHING: Final = 101
_NO_CONTENT: Final = frozenset({204, 304})


class NotHttp(Exception):
    """What came is no answer that we understand; the message says why."""


class AnswerHead:
    """`length`: bytes of the body; None when it is chunked or ends with the connection."""

    __slots__ = ("_speaks_1_1", "chunked", "headers", "keep", "length", "status")

    def __init__(self, head: bytes) -> None:
        """`head`: all up to and with the CRLF of the last header line. Raises NotHttp."""
        line = _LINE.match(head)
        if line is None:
            raise NotHttp(f"it does not begin as HTTP does: {head[:40]!r}")
        self.status = int(line[2])
        self.headers: dict[str, str] = {}
        """Names in lower case; values of a repeated header with commas between."""
        position = line.end()
        while position < len(head):
            header = HEADER.match(head, position)
            if header is None:
                raise NotHttp(f"a header line is malformed: {head[position : position + 40]!r}")
            name, value = header[1].decode("ascii").lower(), header[2].decode("latin-1").strip(" \t")
            known = self.headers.get(name)
            self.headers[name] = value if known is None else f"{known}, {value}"
            position = header.end()
        if self.status == _SWITCHING:
            raise NotHttp("it goes over to another protocol, which nobody asked for")
        options = self.headers.get("connection", "").lower()
        self._speaks_1_1 = line[1] == b"1"
        self.keep = "close" not in options and (self._speaks_1_1 or "keep-alive" in options)
        self.chunked, self.length = self._framing()

    @property
    def interim(self) -> bool:
        """The answer itself is still to come (100 Continue)."""
        return self.status < _INTERIM

    def _framing(self) -> tuple[bool, int | None]:
        length, coding = self.headers.get("content-length"), self.headers.get("transfer-encoding")
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise NotHttp(f"its content is encoded as {self.headers['content-encoding']}, which nobody asked for")
        if self.interim or self.status in _NO_CONTENT:
            return False, 0
        if coding is not None:
            if length is not None or coding.lower() != "chunked":
                raise NotHttp(f"its length is told in two ways, or in one that we do not know: {coding}, {length}")
            self.keep = self.keep and self._speaks_1_1
            return True, None
        if length is None:
            self.keep = False
            return False, None
        if _LENGTH.fullmatch(length) is None:
            raise NotHttp(f"its Content-Length is {length!r}")
        return False, int(length)
