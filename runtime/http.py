"""Metrics and health over HTTP, on aiohttp (INTERFACE: HTTP)."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from aiohttp import web

from runtime.drain import Drain
from runtime.errors import UserError
from runtime.status import MappingStatus
from runtime.tap_page import TailPage
from runtime.telemetry import Telemetry


class HttpError(UserError):
    """The HTTP server cannot be started; the message says why and what to do."""


class WorkerPages:
    """The pages. They answer from memory and never wait; that of a tail goes on until the worker stops."""

    def __init__(self, telemetry: Telemetry, statuses: Sequence[MappingStatus], drain: Drain, *, worker: str) -> None:
        """`worker`: the name of this one."""
        self._telemetry = telemetry
        self._statuses = statuses
        self._drain = drain
        self._tail = TailPage(statuses, worker=worker)

    def routes(self) -> list[web.RouteDef]:
        pages = {"/metrics": self.metrics, "/healthz": self.healthz, "/readyz": self.readyz, "/mappings": self.mappings}
        tail = web.get("/mappings/{name}/tail", self._tail.tail, allow_head=False)
        return [*(web.get(path, page) for path, page in pages.items()), tail]

    async def close(self, _: web.Application) -> None:
        """Whoever reads a tail gets its last line."""
        self._tail.close()

    async def metrics(self, _: web.Request) -> web.Response:
        body, content_type = self._telemetry.rendered()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def healthz(self, _: web.Request) -> web.Response:
        """Alive: that this answers shows that the loop turns."""
        now = anyio.current_time()
        stuck = {status.mapping.name: status.why_stuck(now) for status in self._statuses if status.stuck(now)}
        return _json({"status": "stuck" if stuck else "ok", "stuck": stuck}, status=503 if stuck else 200)

    async def readyz(self, _: web.Request) -> web.Response:
        waiting = {status.mapping.name: status.why_not_ready for status in self._statuses if not status.ready}
        if self._drain.begun:
            return _json({"status": "draining", "waiting": waiting}, status=503)
        return _json({"status": "waiting" if waiting else "ready", "waiting": waiting}, status=503 if waiting else 200)

    async def mappings(self, _: web.Request) -> web.Response:
        now = anyio.current_time()
        return _json({"mappings": [status.shown(now, time.time()) for status in self._statuses]})


def _json(document: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(document, indent=1) + "\n", status=status, content_type="application/json")


@asynccontextmanager
async def serve_pages(pages: WorkerPages, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the body runs; gives the port (the one that was found when `port` is 0). Raises HttpError if it cannot."""
    app = web.Application()
    app.add_routes(pages.routes())
    app.on_shutdown.append(pages.close)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            msg = f"cannot serve metrics and health on {host}:{port}: {error.strerror or error}. Change `worker: {{http: ...}}`"
            raise HttpError(msg) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
