"""A wire between one worker and the endpoint that can be cut, or left hanging: nothing is refused then, and nothing arrives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK = 65_536


class Wire:
    def __init__(self, port: int) -> None:
        self._port = port
        self._open = asyncio.Event()
        self._open.set()
        self._cut = False
        self._ends: set[asyncio.StreamWriter] = set()
        self.url = ""

    def cut(self) -> None:
        """Connections break, and new ones break at once."""
        self._cut = True
        for end in self._ends:
            end.transport.abort()

    def hang(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._cut = False
        self._open.set()

    async def serve(self, near: asyncio.StreamReader, near_end: asyncio.StreamWriter) -> None:
        if self._cut:
            near_end.transport.abort()
            return
        far, far_end = await asyncio.open_connection("127.0.0.1", self._port)
        ends = {near_end, far_end}
        self._ends |= ends
        try:
            await asyncio.gather(self._pass(near, far_end), self._pass(far, near_end))
        finally:
            self._ends -= ends

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                await self._open.wait()
                sink.write(data)
                await sink.drain()
        sink.close()


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Wire]:
    wire = Wire(port)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        wire.cut()
        wire.mend()
        server.close()
