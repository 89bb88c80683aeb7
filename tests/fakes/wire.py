"""Connections without a network: what a pool opens on `Wires` ends here, and the test is the server."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from pollers.aws.lean.connection import Connection
from pollers.aws.lean.pool import Endpoint, Pool

URL: Final = "https://sqs.eu-west-1.amazonaws.com/"
REQUEST: Final = b"POST / HTTP/1.1\r\nhost: sqs\r\nContent-Length: 2\r\n\r\n{}"
"""What a test sends that does not look at what was sent."""


def http(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """An answer with a Content-Length, unless `headers` have their own (`content_length`)."""
    told = {"content_length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status} Told\r\n{lines}\r\n".encode() + body


class Wire(asyncio.Transport):
    """A transport as the event loop would give it; the test plays the server through it."""

    def __init__(self, protocol: Connection) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = b""
        self.closing = False
        self.aborted = False
        self.answer: Callable[[Wire, bytes], None] | None = None
        """What the server does about a request, at once."""
        self.unsent = 0
        self.paused = False
        self.held = b""
        """What was delivered while the protocol had paused its reading."""
        protocol.connection_made(self)

    # the server's side

    def deliver(self, data: bytes, *, piece: int | None = None) -> None:
        """As the loop reads: so many bytes as the protocol has room for, or `piece`, at a time."""
        data, self.held = self.held + data, b""
        while data and not self.aborted:
            if self.paused:
                self.held = data
                return
            room = self.protocol.get_buffer(-1)
            assert len(room) > 0, "no room to read into"
            count = min(len(room), len(data), piece or len(data))
            room[:count] = data[:count]
            data = data[count:]
            self.protocol.buffer_updated(count)

    def end(self, error: Exception | None = None) -> None:
        """The server closes, or `error` ends it."""
        if not self.closing:
            self.closing = True
            if error is None:
                self.protocol.eof_received()
            self.protocol.connection_lost(error)

    # what the protocol calls

    def write(self, data: Any) -> None:
        assert not self.closing, "written to a closed transport"
        self.sent += bytes(data)
        if self.answer is not None:
            asyncio.get_running_loop().call_soon(self.answer, self, bytes(data))

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self.deliver(b"")

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002  no TLS here
        return default

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Wires:
    """The network of the running loop while the context is open: `create_connection` gives wires."""

    def __init__(self, answer: Callable[[Wire, bytes], None] | None = None) -> None:
        self.made: list[Wire] = []
        self.answer = answer
        self.before: Callable[[], Any] | None = None
        """Awaited by each attempt to connect; may raise."""

    @property
    def open(self) -> list[Wire]:
        return [wire for wire in self.made if not wire.closing]

    @property
    def requests(self) -> int:
        return sum(wire.sent.count(b"POST ") for wire in self.made)

    async def _connect(self, factory: Callable[[], Connection], *_: Any, **__: Any) -> tuple[Wire, Connection]:
        if self.before is not None:
            await self.before()
        wire = Wire(factory())
        wire.answer = self.answer
        self.made.append(wire)
        return wire, wire.protocol

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop.create_connection = self._connect  # type: ignore[method-assign, assignment]  # for this loop alone
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._loop.create_connection


def pool(*, most: int = 4, connect_timeout: float = 5, read_timeout: float = 30) -> Pool:
    return Pool(
        Endpoint(
            url=URL,
            host="sqs.eu-west-1.amazonaws.com",
            port=443,
            tls=None,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            most=most,
        )
    )


def answering(answer: bytes) -> Callable[[Wire, bytes], None]:
    """A server that says the same to every request."""
    return lambda wire, _: wire.deliver(answer)
