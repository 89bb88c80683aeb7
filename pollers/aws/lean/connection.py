"""One connection to an endpoint: a request, its answer, and the next request only after that.

The law: an answer is taken as a whole or not at all, and a connection on which anything was out of place, a byte too many
included, is closed and never used again.
"""

import asyncio
from typing import Final

from pollers.aws.lean.answer_head import AnswerHead, NotHttp
from pollers.aws.lean.chunked import ChunkedBody
from pollers.aws.lean.turns import LARGE, Turns

Content = bytes | bytearray | memoryview

LARGEST_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of a body. GetRecords brings 10 MiB of records, a receive ten messages of 1 MiB, each a third more as base64."""
_LARGEST_HEAD: Final = 16 * 1024
_USUAL_HEAD: Final = 1024
"""Bytes in which its end is looked for first."""
_END: Final = b"\r\n\r\n"
_MOST_INTERIM: Final = 8
_SCRATCH: Final = bytearray(32 * 1024)
"""What every connection reads into. Both kinds of event loop ask for the buffer and give it back filled in one step, with TLS
too, so no two connections of a loop ever have bytes in it, and a process has one loop that reads; a large body is read straight
into its own memory."""
_SCRATCH_VIEW: Final = memoryview(_SCRATCH)
_LITTLE: Final = 2 * 1024
"""Bytes of a large answer that are read there, with its head, and copied."""


class Answer:
    """`content` is the caller's alone."""

    __slots__ = ("content", "head")

    def __init__(self, head: AnswerHead, content: Content) -> None:
        self.head = head
        self.content = content


class Dropped(Exception):
    """The connection ended before the answer did. `silent`: not a byte of it had come."""

    def __init__(self, message: str, *, silent: bool) -> None:
        super().__init__(message)
        self.silent = silent


class Connection(asyncio.BufferedProtocol):
    """Made by a pool: it asks for an `exchange` only when the one before has ended well, and aborts the connection otherwise."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turns: Turns) -> None:
        """`turns`: shared by all whose answers go to the same consumers."""
        self._loop = loop
        self._turns = turns
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._head: AnswerHead | None = None
        self._first = _SCRATCH_VIEW
        """What the beginning of the next answer is read into."""
        self._unread = b""
        """Of a head that has not come as a whole."""
        self._body: bytearray | None = None
        """The memory of a body of known length, while it is read, and a byte more: what comes behind it shows with its end."""
        self._large: memoryview | None = None
        """On it."""
        self._beginning: bytes | None = None
        """What of a large body came with its head, while it waits for its turn."""
        self._length = self._got = 0
        self._chunked: ChunkedBody | None = None
        self._until_close: bytearray | None = None
        self._interim = 0
        self.heard_at = 0.0
        """When the last byte came, or the last request was sent; the loop's clock."""
        self.used = False
        """It has carried a request before."""
        self.told_session = False
        """Its TLS session was asked for, for the next connection."""

    @property
    def usable(self) -> bool:
        """It is open, and nothing is in the air."""
        return self._transport is not None and self._waiter is None and not self._transport.is_closing()

    def exchange(self, request: bytes) -> "asyncio.Future[Answer]":
        """Send, and the whole answer in the future; Dropped and NotHttp come there too. Raises Dropped.

        Whatever ends it early leaves the connection unusable, and to be aborted.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise Dropped("it was closed before the request was sent", silent=True)
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._waiter = waiter
        self.heard_at = self._loop.time()
        transport.write(request)
        return waiter

    def fail(self, error: Exception) -> None:
        """End what is in the air with `error`, and the connection with it."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.abort()

    def abort(self) -> None:
        self._waiter = None
        if self._transport is not None:
            self._transport.abort()

    def ssl_object(self) -> object:
        return self._transport.get_extra_info("ssl_object") if self._transport is not None else None

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's; uvloop's are no subclasses of asyncio.Transport
        self.heard_at = self._loop.time()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the loop's wish
        return self._first if self._large is None else self._large[self._got :]

    def buffer_updated(self, nbytes: int) -> None:
        self.heard_at = self._loop.time()
        if self._waiter is None or self._waiter.done():
            self.abort()  # nobody asked for this
            return
        try:
            if self._body is not None:
                self._got += nbytes
                if self._got >= self._length:
                    self._finish(memoryview(self._body)[: self._length], more=self._got > self._length)
            else:
                self._take(_SCRATCH_VIEW[:nbytes])
        except NotHttp as error:
            self.fail(error)

    def eof_received(self) -> bool:
        return False  # the transport closes itself, and `connection_lost` tells the rest

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if exc is None and self._head is not None and self._until_close is not None:
            self._finish(self._until_close)
            return
        silent = self._head is None and not self._unread and not self._interim
        waiter.set_exception(Dropped(str(exc or "the server closed the connection"), silent=silent))
        self._waiter = None

    # reading

    def _take(self, data: memoryview) -> None:
        """`data` is others' again afterwards: what is kept of it is copied, once."""
        if self._chunked is not None:
            self._chunked.feed(bytes(data))
            self._end_chunked(self._chunked)
        elif self._until_close is not None:
            self._until_close += data
            self._check_size(len(self._until_close))
        elif self._unread:
            self._take_head(memoryview(self._unread + data))
        else:
            self._take_head(data)

    def _take_head(self, data: memoryview) -> None:
        beginning = bytes(data[:_USUAL_HEAD])
        end = beginning.find(_END)
        if end < 0 and len(data) > _USUAL_HEAD:
            beginning = bytes(data[: _LARGEST_HEAD + len(_END)])
            end = beginning.find(_END)
        if end < 0 and len(data) <= _LARGEST_HEAD:
            self._unread = beginning
            return
        if not 0 <= end <= _LARGEST_HEAD:
            raise NotHttp(f"its head is longer than {_LARGEST_HEAD} bytes")
        self._unread = b""
        head, rest = AnswerHead(beginning[: end + 2]), data[end + len(_END) :]
        if head.interim:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise NotHttp("one interim answer follows another")
            if rest:
                self._take_head(rest)
            return
        self._head = head
        if head.length is not None:
            self._begin_body(rest, head.length)
        elif head.chunked:
            self._chunked = ChunkedBody(limit=LARGEST_ANSWER)
            self._chunked.feed(bytes(rest))
            self._end_chunked(self._chunked)
        else:
            self._until_close = bytearray(rest)

    def _begin_body(self, rest: memoryview, length: int) -> None:
        self._check_size(length)
        here = len(rest)
        self._first = _SCRATCH_VIEW[:_LITTLE] if length > LARGE else _SCRATCH_VIEW  # the next one will be like it
        if here < length:
            self._length, self._beginning = length, bytes(rest)
            if length - here < LARGE or self._transport is None or self._turns.take(self._read_on):
                self._read_body()
            else:
                self._transport.pause_reading()
        else:
            self._finish(bytes(rest[:length]), more=here > length)

    def _read_on(self) -> None:
        """Our turn has come; but the request may have ended since."""
        if self._beginning is not None and self._transport is not None and not self._transport.is_closing():
            self._read_body()
            self._transport.resume_reading()

    def _read_body(self) -> None:
        here = len(self._beginning or b"")
        self._body = bytearray(self._length + 1)
        self._large = memoryview(self._body)
        self._large[:here] = self._beginning or b""
        self._got, self._beginning = here, None

    def _end_chunked(self, body: ChunkedBody) -> None:
        if body.complete:
            self._finish(body.content, more=bool(body.rest))

    def _check_size(self, size: int) -> None:
        if size > LARGEST_ANSWER:
            raise NotHttp(f"its body is longer than {LARGEST_ANSWER} bytes")

    def _finish(self, content: Content, *, more: bool = False) -> None:
        """`more`: bytes came behind the answer."""
        waiter, head, transport = self._waiter, self._head, self._transport
        self._waiter = self._head = self._body = self._large = self._chunked = self._until_close = None
        self._got = self._interim = 0
        if waiter is None or head is None:
            raise RuntimeError("an answer ends that never began")
        self.used = True
        if transport is not None and (more or not head.keep or transport.get_write_buffer_size()):
            transport.abort()  # at once: nothing of ours is still to come, and a TLS server may take long to say good-bye
        waiter.set_result(Answer(head, content))
