"""The AWS clients of a worker: one of the SDK's per service and region, and the hot operations that may go past it.

A client per use leaks and costs a second of start-up (botocore #2047); clients are safe for concurrent calls.
"""

import platform
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from importlib import metadata
from types import TracebackType
from typing import Any, Final, Self

import aiobotocore
import anyio
import anyio.to_thread
from aiobotocore.config import AioConfig
from aiobotocore.parsers import AioJSONParser, AioResponseParserFactory
from aiobotocore.session import AioSession, get_session
from botocore import exceptions as boto

from pollers.aws.credentials import REFUSED, SessionCredentials
from pollers.aws.errors import to_source_error
from pollers.aws.hot import BODY, RAW_SHAPES, HotKind, HotOperation, SdkOperation
from pollers.aws.lean.operation import Clock, LeanOperation
from pollers.aws.lean.pool import Pool, ResumingContext, resuming_context
from pollers.aws.lean.retrying import RetrySettings
from pollers.aws.lean.template import NotCovered, endpoint_of, hold_back_when_asked, take_template
from pollers.aws.models import make_loader

Observe = Callable[[str, str], None]
"""Told of every request: operation and outcome (ok, empty, throttled, error)."""
TellRoad = Callable[[str, str, str | None], None]
"""Told once of each service, endpoint, and reason why it is the SDK's client that makes the hot requests; None when it is not."""

_STREAM_SERVICES: Final = frozenset({"kinesis", "dynamodbstreams"})
_CONNECT_TIMEOUT: Final = 5
_READ_TIMEOUT: Final = 30
"""Seconds without a byte; a long poll takes 20."""
_STREAM_READ_TIMEOUT: Final = 15
"""Nothing is waited for in a stream, and a large page keeps its bytes coming: silence is trouble, and holds up a whole shard."""
_STATE_TIMEOUT: Final = 2
"""DynamoDB answers in milliseconds, and a lease that is not renewed in time is lost: rather ask again."""
_MOST_CONNECTIONS: Final = 4096
"""Every open long poll holds a connection, so the bound is far above botocore's 10: the delivery slots are the real limit."""


class AwsClients:
    """Makes clients on first use and closes them all together. An async context manager."""

    def __init__(self, *, lean: bool = True, tell_road: TellRoad | None = None) -> None:
        """`lean`: hot operations may leave the SDK's client where it can be done."""
        self._made_session: AioSession | None = None
        self._lean = lean
        self._tell_road = tell_road
        self._stack = AsyncExitStack()
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self._making = anyio.Lock()  # two mappings of one region ask at the same moment; one client shall serve both
        self._made_credentials: SessionCredentials | None = None
        self._operations: dict[tuple[HotKind, str, str], HotOperation] = {}
        self._making_operation = anyio.Lock()
        self._pools: dict[str, Pool] = {}
        self._contexts: dict[tuple[str | None, bool], ResumingContext] = {}
        self._clocks: dict[str, Clock] = {}
        self._told: set[tuple[str, str, str | None]] = set()

    async def client(self, service: str, region: str, *, retries: bool) -> Any:
        """A client by botocore's name of the service (`sqs`, `kinesis`, `dynamodbstreams`...); say its type where it is taken.

        `region`: empty for that of the environment. Raises SourceError when the client cannot be made (a broken profile, a bad
        endpoint URL).
        `retries`: as the user's settings say (AWS_RETRY_MODE, AWS_MAX_ATTEMPTS, profile). Polls go without: their back-off is the
        mapping's own, trouble shall show at the first try, and a receive that is repeated after a lost answer strands records.
        """
        async with self._making:
            key = (service, region, retries)
            if key not in self._clients:
                try:
                    self._clients[key] = await self._make(service, region, _config(service, retries=retries))
                except Exception as error:
                    where = region or "the region of the environment"
                    raise to_source_error(error, doing=f"making a client of {service} for {where}") from error
            return self._clients[key]

    async def operation(self, kind: HotKind, region: str, sample: Mapping[str, Any], *, place: str = "") -> HotOperation:
        """A hot operation, on the lean road where it can be. Raises SourceError as `client` does, and for want of credentials.

        `sample`: parameters of a request like those that will be made. `place`: what the endpoint depends on besides the region
        (the ARN of a stream), for which the sample stands.
        """
        client = await self.client(kind.service, region, retries=kind.retries)
        async with self._making_operation:
            key = (kind, region, place)
            if key not in self._operations:
                self._operations[key] = await self._choose(client, kind, sample)
            return self._operations[key]

    async def _choose(self, client: Any, kind: HotKind, sample: Mapping[str, Any]) -> HotOperation:
        reason: str | None = "worker.client is sdk"
        operation: HotOperation | None = None
        if self._lean:
            try:
                operation, reason = await self._make_lean(client, kind, sample), None
            except NotCovered as missing:
                reason = str(missing)
            except Exception as error:
                raise to_source_error(error, doing=f"the first {kind.name}") from error
        told = (kind.service, client.meta.endpoint_url, reason)
        if self._tell_road is not None and told not in self._told:
            self._told.add(told)
            self._tell_road(*told)
        return operation or SdkOperation(client, kind)

    async def _make_lean(self, client: Any, kind: HotKind, sample: Mapping[str, Any]) -> LeanOperation:
        """Raises NotCovered, and what the SDK's client raises when it cannot make a request."""
        retries = RetrySettings(client, kind.name) if kind.retries else None
        credentials = await self._credentials.current()
        if credentials is None:
            raise boto.NoCredentialsError
        template = await take_template(client, kind.method, sample, credentials)
        origin = f"{kind.service} {template.url}"
        if origin not in self._pools:
            endpoint = await anyio.to_thread.run_sync(endpoint_of, client, template, self._tls)
            self._pools[origin] = Pool(endpoint)
            self._stack.callback(self._pools[origin].close)
        clock = self._clocks.setdefault(origin, Clock())
        pool = self._pools[origin]
        return LeanOperation(
            template, pool, self._credentials, clock, name=kind.name, repeatable=kind.repeatable, retries=retries
        )

    def _tls(self, ca_file: str | None, verify: bool) -> ResumingContext:
        """In a thread: reading the authorities takes a while. One operation is made at a time."""
        key = (ca_file, verify)
        if key not in self._contexts:
            try:
                self._contexts[key] = resuming_context(ca_file, verify=verify)
            except OSError as error:
                raise boto.SSLError(endpoint_url=f"CA bundle {ca_file}", error=error) from error
        return self._contexts[key]

    async def _make(self, service: str, region: str, config: AioConfig) -> Any:
        made = self._session.create_client(service, region_name=region or None, config=config)
        client = await self._stack.enter_async_context(made)
        if service == "s3" and config.s3 is None and "amazonaws.com" not in client.meta.endpoint_url:
            # Another server than AWS's: `bucket.host` need not resolve there.
            return await self._make(service, region, config.merge(AioConfig(s3={"addressing_style": "path"})))
        hold_back_when_asked(client)
        client.meta.events.register("after-call", self._see_answer)
        return client

    @property
    def _session(self) -> AioSession:
        """Made for the first client: it reads the profile, which may be broken."""
        if self._made_session is None:
            self._made_session = _session()
        return self._made_session

    @property
    def _credentials(self) -> SessionCredentials:
        if self._made_credentials is None:
            self._made_credentials = SessionCredentials(self._session, hand_out=self._hand_out)
        return self._made_credentials

    def _hand_out(self, credentials: Any) -> None:
        """To the clients that were made with others, and to those that will be made."""
        self._session._credentials = credentials  # noqa: SLF001  # there is no public way; a rename shows in the tests
        for client in self._clients.values():
            client._request_signer._credentials = credentials  # noqa: SLF001  # as above

    async def _see_answer(self, parsed: Mapping[str, Any], **_: Any) -> None:
        """Of the SDK's clients: refused credentials are looked for anew, for whoever asks next."""
        if parsed.get("Error", {}).get("Code") in REFUSED:
            credentials = await self._credentials.current()
            if credentials is not None:
                await self._credentials.renewed(credentials)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.__aexit__(kind, error, trace)


def _session() -> AioSession:
    """The answers of hot operations are not decoded: their sources do that, in one step, to what they need."""
    session = get_session()
    session.register_component("data_loader", make_loader(session))
    session.register_component("response_parser_factory", _ParserFactory())
    return session


class _ParserFactory(AioResponseParserFactory):  # type: ignore[misc]  # aiobotocore has no types
    def create_parser(self, protocol_name: str) -> Any:
        return _Parser() if protocol_name == "json" else super().create_parser(protocol_name)


class _Parser(AioJSONParser):  # type: ignore[misc]  # as above
    def _handle_json_body(self, raw_body: bytes, shape: Any) -> dict[str, Any]:
        if shape is not None and shape.name in RAW_SHAPES:
            return {BODY: raw_body}
        parsed: dict[str, Any] = super()._handle_json_body(raw_body, shape)
        return parsed


def _config(service: str, *, retries: bool) -> AioConfig:
    """The user agent is fixed because botocore otherwise builds it twice a request, at 18 % of a call's CPU.

    Requests are made from validated configuration by one module per source: validating each again costs another 6 %.
    """
    state = service == "dynamodb"
    read_timeout = _STATE_TIMEOUT if state else _STREAM_READ_TIMEOUT if service in _STREAM_SERVICES else _READ_TIMEOUT
    versions = f"aiobotocore/{aiobotocore.__version__} python/{platform.python_version()}"
    config = AioConfig(
        connect_timeout=_STATE_TIMEOUT if state else _CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        max_pool_connections=_MOST_CONNECTIONS,
        tcp_keepalive=True,
        user_agent=f"esm-runtime/{metadata.version('esm-runtime')} {versions}",
        parameter_validation=False,
    )
    return config if retries else config.merge(AioConfig(retries={"total_max_attempts": 1}))
