"""Two aiobotocore sessions, and one client per service and region, for the life of the process.

A client per use leaks and costs a second of start-up (botocore #2047); clients are safe for concurrent calls.
"""

import platform
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib import metadata
from types import TracebackType
from typing import Any, Final, Self

import aiobotocore
import anyio
import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.parsers import AioJSONParser, AioResponseParserFactory
from aiobotocore.session import AioSession, get_session

from pollers.aws.errors import to_source_error
from pollers.aws.models import ModelLoader, make_loader

Observe = Callable[[str, str], None]
"""Told of every request: operation and outcome (ok, empty, throttled, error)."""

STREAM_SERVICES: Final = frozenset({"kinesis", "dynamodbstreams"})
"""Services whose answers keep blobs as base64 text and timestamps as numbers, as the Lambda event has them."""

_CONNECT_TIMEOUT: Final = 5
_READ_TIMEOUT: Final = 30
"""Seconds without a byte; a long poll takes 20."""
_STREAM_READ_TIMEOUT: Final = 15
"""Nothing is waited for in a stream, and a large page keeps its bytes coming: silence is trouble, and holds up a whole shard."""
_MOST_CONNECTIONS: Final = 4096
"""Every open long poll holds a connection, so the bound is far above botocore's 10: the delivery slots are the real limit."""


class AwsClients:
    """Makes clients on first use and closes them all together. An async context manager."""

    def __init__(self) -> None:
        self._loader: ModelLoader | None = None
        self._sessions: dict[bool, AioSession] = {}
        self._stack = AsyncExitStack()
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self._making = anyio.Lock()  # two mappings of one region ask at the same moment; one client shall serve both

    async def client(self, service: str, region: str, *, retries: bool) -> Any:
        """A client by botocore's name of the service (`sqs`, `kinesis`, `dynamodbstreams`...); say its type where it is taken.

        `region`: empty for that of the environment. Raises SourceError when the client cannot be made (a broken profile, a bad
        endpoint URL). What STREAM_SERVICES answer is not decoded.
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

    async def _make(self, service: str, region: str, config: AioConfig) -> Any:
        made = self._session(streams=service in STREAM_SERVICES).create_client(service, region_name=region or None, config=config)
        client = await self._stack.enter_async_context(made)
        if service == "s3" and config.s3 is None and "amazonaws.com" not in client.meta.endpoint_url:
            # Another server than AWS's: `bucket.host` need not resolve there.
            return await self._make(service, region, config.merge(AioConfig(s3={"addressing_style": "path"})))
        return client

    def _session(self, *, streams: bool) -> AioSession:
        """Made for its first client: most workers need one of the two. They share what is read from botocore's files."""
        if streams not in self._sessions:
            session = _stream_session() if streams else get_session()
            self._loader = self._loader or make_loader(session)
            session.register_component("data_loader", self._loader)
            self._sessions[streams] = session
        return self._sessions[streams]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.__aexit__(kind, error, trace)


def _stream_session() -> AioSession:
    """A session of its own, because parsers belong to a session. Decoding is most of what a GetRecords costs.

    The text of an event is base64, so bytes would only be encoded again; parsing timestamps and following the shapes of the
    model record by record cost more than all else together.
    """
    session = get_session()
    session.register_component("response_parser_factory", _StreamParserFactory())
    return session


class _StreamParserFactory(AioResponseParserFactory):  # type: ignore[misc]  # aiobotocore has no types
    def create_parser(self, protocol_name: str) -> Any:
        return _StreamParser() if protocol_name == "json" else super().create_parser(protocol_name)


class _StreamParser(AioJSONParser):  # type: ignore[misc]  # as above
    """Gives an answer as its JSON is. What is none is shown as botocore shows it, as an answer in which everything is missing."""

    def _handle_json_body(self, raw_body: bytes, _shape: object) -> dict[str, Any]:
        try:
            body = msgspec.json.decode(raw_body) if raw_body else {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}
        return body if isinstance(body, dict) else {}


def _config(service: str, *, retries: bool) -> AioConfig:
    """The user agent is fixed because botocore otherwise builds it twice a request, at 18 % of a call's CPU.

    Requests are made from validated configuration by one module per source: validating each again costs another 6 %.
    """
    versions = f"aiobotocore/{aiobotocore.__version__} python/{platform.python_version()}"
    config = AioConfig(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_STREAM_READ_TIMEOUT if service in STREAM_SERVICES else _READ_TIMEOUT,
        max_pool_connections=_MOST_CONNECTIONS,
        tcp_keepalive=True,
        user_agent=f"esm-runtime/{metadata.version('esm-runtime')} {versions}",
        parameter_validation=False,
    )
    return config if retries else config.merge(AioConfig(retries={"total_max_attempts": 1}))
