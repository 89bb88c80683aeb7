"""One aiobotocore session and one client per service and region, for the life of the process.

A client per use leaks and costs a second of start-up (botocore #2047); clients are safe for concurrent calls.
"""

import platform
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib import metadata
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import aiobotocore
import anyio
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from pollers.aws.errors import to_source_error

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

Observe = Callable[[str, str], None]
"""Told of every request: operation and outcome (ok, empty, throttled, error)."""

_CONNECT_TIMEOUT: Final = 5
_READ_TIMEOUT: Final = 30
"""Seconds; a long poll takes 20."""
_MOST_CONNECTIONS: Final = 4096
"""Every open long poll holds a connection, so the bound is far above botocore's 10: the delivery slots are the real limit."""


class AwsClients:
    """Makes clients on first use and closes them all together. An async context manager."""

    def __init__(self) -> None:
        self._session = get_session()
        self._stack = AsyncExitStack()
        self._clients: dict[tuple[str, bool], SQSClient] = {}
        self._making = anyio.Lock()  # two mappings of one region ask at the same moment; one client shall serve both

    async def sqs(self, region: str, *, retries: bool) -> "SQSClient":
        """The SQS client of a region; raises SourceError when it cannot be made (a broken profile, a bad endpoint URL).

        `retries`: as the user's settings say (AWS_RETRY_MODE, AWS_MAX_ATTEMPTS, profile). Polls go without: their back-off is the
        mapping's own, trouble shall show at the first try, and a receive that is repeated after a lost answer strands records.
        """
        async with self._making:
            key = (region, retries)
            if key not in self._clients:
                try:
                    made = self._session.create_client("sqs", region_name=region, config=_config(retries=retries))
                    self._clients[key] = await self._stack.enter_async_context(made)
                except Exception as error:
                    raise to_source_error(error, doing=f"making an SQS client for {region}") from error
            return self._clients[key]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.__aexit__(kind, error, trace)


def _config(*, retries: bool) -> AioConfig:
    """The user agent is fixed because botocore otherwise builds it twice a request, at 18 % of a call's CPU.

    Requests are made from validated configuration by one module per source: validating each again costs another 6 %.
    """
    versions = f"aiobotocore/{aiobotocore.__version__} python/{platform.python_version()}"
    config = AioConfig(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        max_pool_connections=_MOST_CONNECTIONS,
        tcp_keepalive=True,
        user_agent=f"esm-runtime/{metadata.version('esm-runtime')} {versions}",
        parameter_validation=False,
    )
    return config if retries else config.merge(AioConfig(retries={"total_max_attempts": 1}))
