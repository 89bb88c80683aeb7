"""Answers that never end by themselves: AWS's event streams, frame by frame.

The law: a frame is given whole and checked or not at all, and nothing is read while nobody asks. What arrives meanwhile waits in
the buffers of the connection, and when those are full at the service: so at most one frame lies here, and one that promises to be
larger than AWS allows is an error before its bytes are there.
"""

from typing import Any, Final, Protocol

import msgspec
from botocore import exceptions as boto
from botocore.eventstream import EventStreamBuffer
from msgspec import Struct

_PRELUDE: Final = 12
"""Bytes that say how long a frame is, checked by themselves."""


class _Content(Protocol):
    async def readany(self) -> bytes: ...


class RawAnswer(Protocol):
    """An answer of which only the head was read (aiohttp's)."""

    @property
    def content(self) -> _Content: ...

    def close(self) -> None:
        """Also ends the connection: what is still on its way must not be taken for the answer to a later request."""
        ...


class Event(Struct, frozen=True):
    kind: str
    """`initial-response`, or what the service calls it."""
    payload: bytes


class EventStream:
    """The events of one answer. Not safe for concurrent calls; a cancelled `next` loses nothing."""

    def __init__(self, answer: RawAnswer, *, operation: str) -> None:
        """`operation`: whose answer it is, for errors."""
        self._answer = answer
        self._operation = operation
        self._buffered = bytearray()
        self._length: int | None = None
        """Of the frame that is on its way, once its prelude is there."""

    async def next(self) -> Event | None:
        """None: the service has ended the stream. Raises what `pollers.aws.errors` translates."""
        while True:
            event = self._take()
            if event is not None:
                return event
            chunk = await self._answer.content.readany()
            if not chunk:
                if self._buffered:
                    raise ValueError(f"the stream ends after {len(self._buffered)} bytes of a frame")
                return None
            self._buffered += chunk

    def close(self) -> None:
        self._answer.close()

    def _take(self) -> Event | None:
        if self._length is None and len(self._buffered) >= _PRELUDE:
            self._length = _length(bytes(self._buffered[:_PRELUDE]))
        if self._length is None or len(self._buffered) < self._length:
            return None
        frame = bytes(memoryview(self._buffered)[: self._length])
        del self._buffered[: self._length]
        self._length = None
        return self._event(_message(frame))

    def _event(self, message: Any) -> Event:
        headers: dict[str, Any] = message.headers
        match headers.get(":message-type"):
            case "event":
                return Event(str(headers.get(":event-type")), message.payload)
            case "exception":
                raise self._refusal(headers.get(":exception-type"), _text(message.payload))
            case "error":
                raise self._refusal(headers.get(":error-code"), str(headers.get(":error-message")))
            case other:
                raise ValueError(f"a frame of the kind {other!r}")

    def _refusal(self, code: object, message: str) -> boto.ClientError:
        return boto.ClientError({"Error": {"Code": str(code), "Message": message}}, self._operation)


def _text(payload: bytes) -> str:
    """What an exception says; all of it where it is not of the usual form."""
    try:
        return str(msgspec.json.decode(payload, type=dict[str, str])["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        return payload.decode("utf-8", "replace")


def _length(prelude: bytes) -> int:
    """Of the whole frame. Raises when the prelude is damaged, or the frame too long."""
    _feed(EventStreamBuffer(), prelude)
    return int.from_bytes(prelude[:4])


def _message(frame: bytes) -> Any:
    """Raises when the frame is damaged."""
    message = _feed(EventStreamBuffer(), frame)
    if message is None:
        raise ValueError("a frame that is shorter than its own prelude")
    return message


def _feed(buffer: Any, content: bytes) -> Any:
    """The message in it, None when it is not complete."""
    buffer.add_data(content)
    return next(buffer, None)
