"""The HTTP side: requests in, the services' answers out, faults carried out on the way.

The list in `LocalEndpoint.start` is what the endpoint speaks. A request is for the service whose prefix its `X-Amz-Target` has,
otherwise for the one that it was signed for.

Signatures are not checked, but a request must have one: its credential scope says for whom and in which region. An access key id
of 12 digits is taken as the account, so that tests can be kept apart; any other means account 000000000000.
"""

import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final
from uuid import UUID

import anyio
import anyio.abc
from aiohttp import web

from runtime.local.control import Control
from runtime.local.dynamodb.service import dynamodb_service, dynamodb_streams_service
from runtime.local.dynamodb.store import DynamoDB
from runtime.local.errors import Refused
from runtime.local.faults import Fault, Faults, Kind, When
from runtime.local.kinesis.feeds import Feeds
from runtime.local.kinesis.service import kinesis_service
from runtime.local.kinesis.streams import Streams
from runtime.local.polls import Polls
from runtime.local.service import Asked, ByScope, ByTarget, Service, answer_with
from runtime.local.sinks.sinks import Sinks
from runtime.local.sqs import refuse, sqs_service
from runtime.local.state import Caller, Clock, LocalState

_CREDENTIAL: Final = re.compile(r"Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/([a-z0-9-]+)/")
_ACCOUNT: Final = re.compile(r"\d{12}")
_NOBODY: Final = "000000000000"
_LARGEST_BODY: Final = 16 * 1024 * 1024
"""Bytes: a batch of 1 MiB may be six times as long once escaped."""
_GOODBYE: Final = 1.0
"""Seconds that open requests have to end when the endpoint stops; long polls are ended at once."""


class LocalEndpoint:
    """A running endpoint: `url` for clients; to look into and to set from the same process, the models and `faults`.

    `state` is that of SQS with what all services share, `kinesis` the streams, `dynamodb` the tables with theirs, `sinks` what
    SNS, S3, EventBridge and Lambda received.
    """

    def __init__(
        self, *, url: str, state: LocalState, kinesis: Streams, dynamodb: DynamoDB, sinks: Sinks, faults: Faults, polls: Polls
    ) -> None:
        self.url = url
        self.state = state
        self.kinesis = kinesis
        self.dynamodb = dynamodb
        self.sinks = sinks
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
        clock = _steady_clock() if clock is None else clock
        state, faults = LocalState(seed=seed, clock=clock), Faults(seed=seed)
        polls, kinesis, feeds = Polls(state), Streams(clock=clock), Feeds(faults)
        dynamodb, sinks = DynamoDB(seed=seed, clock=clock), Sinks(seed=seed, clock=clock)
        services = [
            sqs_service(state, faults, polls),
            kinesis_service(kinesis, faults, feeds),
            dynamodb_service(dynamodb),
            dynamodb_streams_service(dynamodb, faults),
            *sinks.services(),
        ]
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.add_routes(Control(state=state, faults=faults, services={service.name: service for service in services}).routes())
        app.router.add_route("*", "/{path:.*}", _Front(state=state, faults=faults, services=services, seed=seed).handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GOODBYE)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            bound_host, bound_port = runner.addresses[0][:2]
            shown = f"[{bound_host}]" if ":" in bound_host else bound_host
            url = f"http://{shown}:{bound_port}"
            yield LocalEndpoint(url=url, state=state, kinesis=kinesis, dynamodb=dynamodb, sinks=sinks, faults=faults, polls=polls)
        finally:
            polls.close()
            feeds.close()
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


class _Front:
    """Handles every request that is not for `/_local/`."""

    def __init__(self, *, state: LocalState, faults: Faults, services: Sequence[Service], seed: int) -> None:
        self._state = state
        self._faults = faults
        self._by_target = {it.route.prefix: it for it in services if isinstance(it.route, ByTarget)}
        self._by_scope = {it.route.signed_for: it for it in services if isinstance(it.route, ByScope)}
        self._rng = Random(f"requests {seed}")  # noqa: S311 - request ids that repeat by seed

    async def handle(self, request: web.Request) -> web.StreamResponse:
        request_id = str(UUID(int=self._rng.getrandbits(128), version=4))
        signed = _CREDENTIAL.search(request.headers.get("Authorization", ""))
        try:
            service = self._service(request, "" if signed is None else signed[3])
        except Refused as refused:
            return refuse(refused, request_id)
        try:
            asked = service.read(request, await request.read(), _caller(signed), request_id)
        except Refused as refused:
            return service.refuse(refused, request_id)
        self._state.requests[f"{service.name}.{asked.operation}"] += 1
        spoiled = await self._spoil(When.BEFORE, service, asked, None)
        if spoiled is not None:
            return spoiled
        response: web.StreamResponse
        try:
            response = await service.act(asked)
        except Refused as refused:
            response = service.refuse(refused, request_id)
        if response.prepared:  # it was sent as it was made
            return response
        return await self._spoil(When.AFTER, service, asked, response) or response

    def _service(self, request: web.Request, signed_for: str) -> Service:
        target, dot, _operation = request.headers.get("X-Amz-Target", "").partition(".")
        service = self._by_target.get(target) if dot else None
        service = service or self._by_scope.get(signed_for)
        if service is None:
            expected = ", ".join(f"{prefix}.<operation>" for prefix in self._by_target)
            raise Refused("UnknownOperationException", f"This endpoint speaks AWS JSON: X-Amz-Target must be {expected}.")
        return service

    async def _spoil(
        self, when: When, service: Service, asked: Asked, response: web.StreamResponse | None
    ) -> web.StreamResponse | None:
        """Carries out the faults that strike now; gives what is to be answered instead, if anything."""
        for fault in self._faults.fire(when, service=service.name, operation=asked.operation, **asked.about):
            if fault.fault is Kind.SLOW:
                await anyio.sleep(fault.seconds)
            else:
                return await _spoiled(fault, service, asked, response)
        return None


async def _spoiled(fault: Fault, service: Service, asked: Asked, response: web.StreamResponse | None) -> web.StreamResponse:
    refused = service.fault(fault.fault, asked)
    if refused is not None:
        return service.refuse(refused, asked.request_id)
    if fault.fault is Kind.GARBAGE:
        return answer_with(200, b"<html>this is not the answer you are looking for", service.content, asked.request_id)
    if fault.fault is Kind.TRUNCATE and isinstance(response, web.Response) and isinstance(response.body, bytes):
        return await _truncated(asked.request, response.headers, response.body)
    _hang_up(asked.request)  # Kind.DROP
    return web.Response()


async def _truncated(request: web.Request, headers: Mapping[str, str], body: bytes) -> web.StreamResponse:
    """Promises the whole body, sends half of it, closes."""
    stream = web.StreamResponse(headers=headers)
    stream.content_length = len(body)
    await stream.prepare(request)
    await stream.write(body[: len(body) // 2])
    _hang_up(request)
    return stream


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _caller(signed: re.Match[str] | None) -> Caller:
    if signed is None:
        raise Refused("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    key, region, _service = signed.groups()
    return Caller(key if _ACCOUNT.fullmatch(key) else _NOBODY, region)
