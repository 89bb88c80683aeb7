"""A way to a DynamoDB server that notes what passes, and that can be cut.

    async with recording(dynamodb_server) as wire, java_worker(folder, settings(..., dynamodb=wire.endpoint_url)) as worker:
        ...
        renewals = [call for call in wire.calls if call.operation == "UpdateItem"]

After a write that succeeded, the item is read back from the server itself, so `after` is the row as this write left it (unless
somebody else wrote it within the millisecond between).
"""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web

from tests.servers.clients import dynamodb_client
from tests.servers.running import Server

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient

_KEYS: Final = ("leaseKey", "key", "wid")
"""The key attributes of the lease table, and of the two tables that KCL had before 3.5 for leadership and for metrics."""
_WRITES: Final = ("PutItem", "UpdateItem", "DeleteItem")
_NOT_PASSED_ON: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "content-encoding", "accept-encoding"}
)
_BODY_BYTES: Final = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request and its answer, both as DynamoDB's JSON."""

    at: float
    """Monotonic seconds of this machine, when the request came."""
    operation: str
    """As `UpdateItem`."""
    request: dict[str, Any]
    status: int
    answer: dict[str, Any]
    after: dict[str, Any] | None
    """The row after a write that succeeded; None where there is none, and after anything else."""

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def key(self) -> str:
        """Of the row that it is about; empty if it is about none."""
        item: dict[str, Any] = self.request.get("Key") or self.request.get("Item") or {}
        return next((item[name]["S"] for name in _KEYS if name in item), "")


class Wire:
    """What passed so far, in the order of the answers."""

    def __init__(self, server: Server, *, http: aiohttp.ClientSession, table: "DynamoDBClient") -> None:
        self.endpoint_url = ""
        self.calls: list[Call] = []
        self.cut = False
        """While True, every request's connection is dropped unanswered."""
        self._server = server
        self._http = http
        self._table = table

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        at = time.monotonic()
        body = await request.read()
        if self.cut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        kept = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
        async with self._http.request(
            request.method, self._server.endpoint_url + request.path_qs, data=body, headers=kept
        ) as answer:
            text = await answer.read()
            headers = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON}
        await self._note(at, request.headers.get("X-Amz-Target", "").partition(".")[2], body, answer.status, text)
        return web.Response(status=answer.status, body=text, headers=headers)

    async def _note(self, at: float, operation: str, body: bytes, status: int, text: bytes) -> None:
        request: dict[str, Any] = json.loads(body or b"{}")
        after = await self._row(request) if operation in _WRITES and status == 200 else None
        call = Call(at=at, operation=operation, request=request, status=status, answer=json.loads(text or b"{}"), after=after)
        self.calls.append(call)

    async def _row(self, request: dict[str, Any]) -> dict[str, Any] | None:
        item: dict[str, Any] = request.get("Key") or request["Item"]
        key: dict[str, Any] = {name: item[name] for name in _KEYS if name in item}
        found = await self._table.get_item(TableName=request["TableName"], Key=key, ConsistentRead=True)
        return dict(found["Item"]) if "Item" in found else None


@asynccontextmanager
async def recording(server: Server) -> AsyncIterator[Wire]:
    """Listens on a free port of loopback until the block is left."""
    async with aiohttp.ClientSession() as http, dynamodb_client(server) as table:
        wire = Wire(server, http=http, table=table)
        app = web.Application(client_max_size=_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", wire.pass_on)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            wire.endpoint_url = f"http://{host}:{port}"
            yield wire
        finally:
            await runner.cleanup()
