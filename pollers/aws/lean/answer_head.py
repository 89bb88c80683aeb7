"""The head of an HTTP/1.1 answer, as far as a client of AWS has to understand it (RFC 9112).

The law: what is not plainly right is refused, and its connection is never used again. Two readings of one answer are how one
client's bytes end up in another's hands.
"""

import re
from typing import ClassVar, Final

_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\r\n]*)?\r\n")
HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)\r\n")
_HEADERS: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\r\n\0]*+\r\n)*+")
_NOT_FRAMING: Final = (
    rb"(?:[abd-su-z!#$%&'*+.^_`|~0-9-][!#$%&'*+.^_`|~0-9a-z-]*+:[^\r\n\0]*+\r\n"  # most cannot be what is looked for next
    rb"|(?!(?:connection|transfer-encoding|content-encoding|content-length):)[!#$%&'*+.^_`|~0-9a-z-]++:[^\r\n\0]*+\r\n"
    rb"|connection: keep-alive\r\n)*+"  # what HTTP/1.1 means anyway (RFC 9112, section 9.3), and DynamoDB says each time
)
_PLAIN: Final = re.compile(
    rb"HTTP/1\.1 200(?: [^\r\n]*+)?+\r\n"
    rb"(?i:" + _NOT_FRAMING + rb"content-length:[ \t]*+([0-9]{1,15})[ \t]*+\r\n" + _NOT_FRAMING + rb")"
)
"""Nearly all answers: one Content-Length is all that frames the body."""
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_INTERIM: Final = 200
_OK: Final = 200
_SWITCHING: Final = 101
_NO_CONTENT: Final = frozenset({204, 304})


class NotHttp(Exception):
    """What came is no answer that we understand; the message says why."""


class AnswerHead:
    """`length`: bytes of the body; None when it is chunked or ends with the connection."""

    __slots__ = ("_head", "_speaks_1_1", "chunked", "keep", "length", "status")

    length: int | None
    short_way: ClassVar = _PLAIN
    """It tells what the long way would, of what it knows at all."""

    def __init__(self, head: bytes) -> None:
        """`head`: all up to and with the CRLF of the last header line. Raises NotHttp."""
        self._head = head
        plain = self.short_way.fullmatch(head)
        if plain is not None:
            self.status, self.keep, self.chunked, self.length = _OK, True, False, int(plain[1])
            return
        line = _LINE.match(head)
        if line is None:
            raise NotHttp(f"it does not begin as HTTP does: {head[:40]!r}")
        right = _HEADERS.match(head, line.end())
        end = line.end() if right is None else right.end()
        if end < len(head):
            raise NotHttp(f"a header line is malformed: {head[end : end + 40]!r}")
        self.status = int(line[2])
        self.keep = self._speaks_1_1 = line[1] == b"1"
        if self.status == _SWITCHING:
            raise NotHttp("it goes over to another protocol, which nobody asked for")
        self.chunked, self.length = self._framing(self.headers)

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; values of a repeated header with commas between."""
        return _joined(HEADER.findall(self._head, self._head.index(b"\r\n") + 2))

    @property
    def interim(self) -> bool:
        """The answer itself is still to come (100 Continue)."""
        return self.status < _INTERIM

    def _framing(self, headers: dict[str, str]) -> tuple[bool, int | None]:
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if options := headers.get("connection", "").lower():
            self.keep = "close" not in options and (self.keep or "keep-alive" in options)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise NotHttp(f"its content is encoded as {headers['content-encoding']}, which nobody asked for")
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


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name_bytes, value_bytes in pairs:
        name, value = name_bytes.decode("ascii").lower(), value_bytes.decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
