"""The HTTP side: AWS JSON 1.0 requests in, the model's answers out, faults carried out on the way.

Signatures are not checked, but a request must have one: its credential scope says for whom and in which region. An access key id
of 12 digits is taken as the account, so that tests can be kept apart; any other means account 000000000000.
"""

import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final
from uuid import UUID

import anyio
import anyio.abc
import msgspec
from aiohttp import web

from runtime.local.call import Answer, Call
from runtime.local.control import Control
from runtime.local.errors import Refused
from runtime.local.faults import Fault, Faults, Kind, When
from runtime.local.operations import OPERATIONS
from runtime.local.polls import Polls
from runtime.local.receiving import Receive
from runtime.local.state import Caller, Clock, LocalState

SERVICES: Final[dict[str, str]] = {"AmazonSQS": "sqs"}
"""The prefix of `X-Amz-Target` -> the service. Kinesis (`Kinesis_20131202`) and DynamoDB join here."""
_TABLES: Final = {"sqs": OPERATIONS}
"""The service -> its operations."""
_KNOWN: Final[Mapping[str, frozenset[str]]] = {service: frozenset(table) for service, table in _TABLES.items()}
_CREDENTIAL: Final = re.compile(r"Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/")
_ACCOUNT: Final = re.compile(r"\d{12}")
_NOBODY: Final = "000000000000"
_LARGEST_BODY: Final = 16 * 1024 * 1024
"""Bytes: a batch of 1 MiB may be six times as long once escaped."""
_JSON: Final = "application/x-amz-json-1.0"
_GOODBYE: Final = 1.0
"""Seconds that open requests have to end when the endpoint stops; long polls are ended at once."""


class LocalEndpoint:
    """A running endpoint. `url` for clients, `state` and `faults` to look into and to set from the same process."""

    def __init__(self, *, url: str, state: LocalState, faults: Faults, polls: Polls) -> None:
        self.url = url
        self.state = state
        self.faults = faults
        self._polls = polls

    def wake(self) -> None:
        """Call it after moving a clock of one's own, so that open long polls see what became visible."""
        self._polls.wake_all()

    @staticmethod
    @asynccontextmanager
    async def start(
        *, host: str = "127.0.0.1", port: int = 0, seed: int = 0, clock: Clock | None = None
    ) -> AsyncIterator["LocalEndpoint"]:
        """Serves until the block is left; port 0 takes a free one. `clock` gives seconds since the epoch. Raises OSError."""
        state = LocalState(seed=seed, clock=_steady_clock() if clock is None else clock)
        faults, polls = Faults(seed=seed), Polls(state)
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.add_routes(Control(state=state, faults=faults, polls=polls, services=_KNOWN).routes())
        app.router.add_route("*", "/{path:.*}", _Front(state=state, faults=faults, polls=polls, seed=seed).handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GOODBYE)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            bound_host, bound_port = runner.addresses[0][:2]
            shown = f"[{bound_host}]" if ":" in bound_host else bound_host
            yield LocalEndpoint(url=f"http://{shown}:{bound_port}", state=state, faults=faults, polls=polls)
        finally:
            polls.close()
            with anyio.move_on_after(5 * _GOODBYE, shield=True):
                await runner.cleanup()


async def serve_endpoint(
    *,
    host: str = "127.0.0.1",
    port: int,
    seed: int = 0,
    task_status: anyio.abc.TaskStatus[LocalEndpoint] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Runs an endpoint until cancelled, then stops it. With `TaskGroup.start` the caller gets the endpoint once it listens.

    Raises OSError if it cannot listen. Prints nothing.
    """
    async with LocalEndpoint.start(host=host, port=port, seed=seed) as endpoint:
        task_status.started(endpoint)
        await anyio.sleep_forever()


def _steady_clock() -> Clock:
    """The wall clock as it was at the start, moved on by the monotonic one: no timeout jumps when the machine's clock is set."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request is about."""

    service: str
    operation: str
    queue: str | None
    body: Mapping[str, Any]


class _Front:
    """Handles every request that is not for `/_local/`."""

    def __init__(self, *, state: LocalState, faults: Faults, polls: Polls, seed: int) -> None:
        self._state = state
        self._faults = faults
        self._polls = polls
        self._rng = Random(f"requests {seed}")  # noqa: S311 - request ids that repeat by seed

    async def handle(self, request: web.Request) -> web.StreamResponse:
        request_id = str(UUID(int=self._rng.getrandbits(128), version=4))
        try:
            caller = _caller(request)
            asked = _read(request, await request.read())
        except Refused as refused:
            return _refusal(refused, request_id)
        self._state.requests[f"{asked.service}.{asked.operation}"] += 1
        spoiled = await self._spoil(When.BEFORE, request, asked, request_id, None)
        if spoiled is not None:
            return spoiled
        response = await self._act(request, caller, asked, request_id)
        return await self._spoil(When.AFTER, request, asked, request_id, response) or response

    async def _act(self, request: web.Request, caller: Caller, asked: _Asked, request_id: str) -> web.Response:
        try:
            call = Call(
                state=self._state,
                caller=caller,
                host=f"{request.scheme}://{request.host}",
                operation=asked.operation,
                request=asked.body,
                effects=self._faults,
            )
            answer = _TABLES[asked.service].get(asked.operation, _unsupported)(call)
            if isinstance(answer, Receive):
                answer = await self._polls.receive(answer, lambda: _is_connected(request))
        except Refused as refused:
            return _refusal(refused, request_id)
        finally:
            self._polls.wake()
        return _response(200, msgspec.json.encode(answer), request_id)

    async def _spoil(
        self, when: When, request: web.Request, asked: _Asked, request_id: str, response: web.Response | None
    ) -> web.StreamResponse | None:
        """Carries out the faults that strike now; gives what is to be answered instead, if anything."""
        for fault in self._faults.fire(when, service=asked.service, operation=asked.operation, queue=asked.queue):
            if fault.fault is Kind.SLOW:
                await anyio.sleep(fault.seconds)
            else:
                return await _spoiled(fault, request, request_id, response)
        return None


def _unsupported(call: Call) -> Answer:
    raise Refused("UnsupportedOperation", f"The operation {call.operation} is not supported by this endpoint.")


async def _spoiled(fault: Fault, request: web.Request, request_id: str, response: web.Response | None) -> web.StreamResponse:
    refused = fault.refusal()
    if refused is not None:
        return _refusal(refused, request_id)
    if fault.fault is Kind.GARBAGE:
        return _response(200, b"<html>this is not the answer you are looking for", request_id)
    if fault.fault is Kind.TRUNCATE and response is not None and isinstance(response.body, bytes):
        return await _truncated(request, request_id, response.body)
    _hang_up(request)  # Kind.DROP
    return web.Response()


async def _truncated(request: web.Request, request_id: str, body: bytes) -> web.StreamResponse:
    """Promises the whole body, sends half of it, closes."""
    stream = web.StreamResponse(headers={"Content-Type": _JSON, "x-amzn-RequestId": request_id})
    stream.content_length = len(body)
    await stream.prepare(request)
    await stream.write(body[: len(body) // 2])
    _hang_up(request)
    return stream


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _caller(request: web.Request) -> Caller:
    found = _CREDENTIAL.search(request.headers.get("Authorization", ""))
    if found is None:
        raise Refused("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    key, region = found.groups()
    return Caller(key if _ACCOUNT.fullmatch(key) else _NOBODY, region)


def _read(request: web.Request, raw: bytes) -> _Asked:
    target, dot, operation = request.headers.get("X-Amz-Target", "").partition(".")
    service = SERVICES.get(target)
    if service is None or not dot:
        expected = ", ".join(f"{prefix}.<operation>" for prefix in SERVICES)
        raise Refused("UnknownOperationException", f"This endpoint speaks AWS JSON 1.0: X-Amz-Target must be {expected}.")
    try:
        body = msgspec.json.decode(raw) if raw else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("SerializationException", f"The body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused("SerializationException", "The body is not a JSON object.")
    url, name = body.get("QueueUrl"), body.get("QueueName")
    queue = url.rstrip("/").rpartition("/")[2] if isinstance(url, str) else name
    return _Asked(service, operation, queue if isinstance(queue, str) else None, body)


def _refusal(refused: Refused, request_id: str) -> web.Response:
    body = msgspec.json.encode({"__type": refused.type, "message": refused.message})
    response = _response(refused.status, body, request_id)
    response.headers["x-amzn-query-error"] = refused.query_error
    return response


def _response(status: int, body: bytes, request_id: str) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": _JSON, "x-amzn-RequestId": request_id})
