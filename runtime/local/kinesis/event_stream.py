"""Frames of an event stream: `application/vnd.amazon.eventstream`, whose headers are all texts here."""

from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

import msgspec

CONTENT: Final = "application/vnd.amazon.eventstream"
_JSON: Final = "application/x-amz-json-1.1"
_TEXT: Final = 7
"""The type of a header that is a text."""
_AROUND: Final = 16
"""Bytes of a frame beside headers and payload: two lengths and two checksums."""


def event(kind: str, content: Mapping[str, Any]) -> bytes:
    headers = {":message-type": "event", ":event-type": kind, ":content-type": _JSON}
    return frame(headers, msgspec.json.encode(content))


def exception(kind: str, message: str) -> bytes:
    headers = {":message-type": "exception", ":exception-type": kind, ":content-type": _JSON}
    return frame(headers, msgspec.json.encode({"message": message}))


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    head = b"".join(_short(name) + bytes([_TEXT]) + _long(value) for name, value in headers.items())
    prelude = (len(head) + len(payload) + _AROUND).to_bytes(4) + len(head).to_bytes(4)
    checked = prelude + _checksum(prelude) + head + payload
    return checked + _checksum(checked)


def damaged(whole: bytes) -> bytes:
    """The same with a checksum that does not fit what it is of."""
    return whole[:-1] + bytes([whole[-1] ^ 0xFF])


def _short(text: str) -> bytes:
    return len(text.encode()).to_bytes(1) + text.encode()


def _long(text: str) -> bytes:
    return len(text.encode()).to_bytes(2) + text.encode()


def _checksum(content: bytes) -> bytes:
    return crc32(content).to_bytes(4)
