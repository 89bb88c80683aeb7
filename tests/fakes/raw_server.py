"""A server on loopback that answers with whatever bytes a test gives it, and counts what it was asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import anyio

LONGEST_BODY: Final = 2**40
DROP: Final = b""
"""Said instead of an answer: the server closes the connection."""
CLOSE: Final = object()
"""Said behind an answer: it closes after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request. `connection`: the how manieth one it came on, from 0; `number`: the how manieth request, over all."""

    connection: int
    number: int
    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        return self.headers.get("x-amz-target", "").rpartition(".")[2]


Say = Callable[[Asked], bytes | tuple[bytes, object]]


@dataclass
class RawServer:
    """`say` may be exchanged at any time."""

    say: Say
    port: int = 0
    scheme: str = "http"
    host: str = "127.0.0.1"
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    """Connections, now."""
    most_open: int = 0
    piece: int | None = None
    """Bytes of an answer that are written at one time; then it waits for a moment."""
    reads: int | None = None
    """It reads no more of a request than these bytes, and closes after the answer."""
    resumed: list[bool] = field(default_factory=list)
    """Of each TLS connection: whether it went on with an earlier session."""
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    def close_connections(self) -> None:
        """As a server does that finds them idle."""
        for writer in self.writers:
            writer.close()

    async def wait_open(self, count: int) -> None:
        """Until there are so many connections."""
        with anyio.fail_after(5):
            while self.open != count:
                await self._changed.wait()

    async def wait_asked(self, count: int) -> None:
        with anyio.fail_after(5):
            while len(self.asked) < count:
                await self._changed.wait()

    def _count(self, more: int) -> None:
        self.open += more
        self.most_open = max(self.most_open, self.open)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        self._count(1)
        self.writers.add(writer)
        tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        if tls is not None:
            self.resumed.append(bool(tls.session_reused))
        try:
            while (asked := await self._read(reader, number)) is not None:
                self.asked.append(asked)
                self._count(0)
                said = self.say(asked)
                answer, then = said if isinstance(said, tuple) else (said, None)
                if answer == DROP:
                    break
                for start in range(0, len(answer), self.piece or len(answer)):
                    writer.write(answer[start : start + (self.piece or len(answer))])
                    await writer.drain()
                    if self.piece:
                        await anyio.sleep(0.001)
                if then is CLOSE or self.reads:
                    break
        except OSError:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._count(-1)

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Asked | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return None
        line, *lines = head[:-4].split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (each.split(":", 1) for each in lines)}
        body = await reader.readexactly(min(int(headers.get("content-length", "0")), self.reads or LONGEST_BODY))
        return Asked(connection=connection, number=len(self.asked), line=line, headers=headers, body=body)


@asynccontextmanager
async def raw_server(
    say: Say, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", name: str | None = None
) -> AsyncIterator[RawServer]:
    """`name`: by which it is asked, where that is not `host`."""
    server = RawServer(say, scheme="https" if tls else "http", host=name or (f"[{host}]" if ":" in host else host))
    listening = await asyncio.start_server(server._serve, host, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        server.close_connections()
        with anyio.move_on_after(5, shield=True):
            await server.wait_open(0)


def saying(*answers: bytes) -> Say:
    """The answers in turn, the last one for ever."""
    return lambda asked: answers[min(asked.number, len(answers) - 1)]
