"""The connections to one endpoint, kept open and used again, the last one first.

What ends a request early is told in botocore's words, so that the table of `pollers.aws.errors` and the SDK's retry settings know
it. Nothing is repeated here but what cannot have been acted on, or may be acted on twice.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Final

from botocore import exceptions as boto

from pollers.aws.lean.connection import Answer, Connection, Dropped
from pollers.aws.lean.turns import Turns

_SWEEP: Final = 1.0
"""Seconds between looks at silent and idle connections: read timeouts are up to so much late, and cost nothing per request."""
_LONGEST_IDLE: Final = 60.0
_CLOSED: Final = "the client was closed"
_FRESH: Final = 5.0
"""Seconds for which an idle connection is trusted with what cannot be repeated: servers close those that are idle for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where connections go, and their limits, as the SDK's configuration has them."""

    url: str
    """For messages."""
    host: str
    port: int
    tls: ssl.SSLContext | None
    connect_timeout: float
    read_timeout: float
    """Seconds without a byte."""
    most: int
    """Connections."""


class ResumingContext(ssl.SSLContext):
    """A client's context that goes on with the last TLS session of a host, which spares both the costly half of a handshake."""

    sessions: dict[str, ssl.SSLSession]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """What both event loops call for a new connection."""
        known = self.sessions.get(str(server_hostname))
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session or known)


def resuming_context(ca_file: str | None, *, verify: bool) -> ResumingContext:
    """As botocore makes them: TLS 1.2 at least. `ca_file`: None for the system's. Blocks, to read it; raises OSError."""
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sessions = {}
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = verify
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    return context


class Pool:
    """Belongs to the loop on which it was made; `close` it there."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._turns = Turns(self._loop)
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(self, request: bytes, *, repeatable: bool) -> Answer:
        """Send a request and wait for its answer, whatever its status. Raises botocore's HTTPClientError and such, and NotHttp.

        `repeatable`: it may be acted on twice. Then a kept connection that turns out to be closed costs nothing but one more try.
        """
        connection = self._kept(repeatable=repeatable) or await self._opened()
        self._busy.add(connection)
        try:
            return await connection.exchange(request)
        except Dropped as dropped:
            if not (dropped.silent and repeatable and connection.used):
                raise boto.ConnectionClosedError(endpoint_url=self._endpoint.url, error=dropped) from dropped
        finally:
            self._busy.discard(connection)
            self._put_back(connection)
        return await self._ask_on_a_new_one(request)

    async def _ask_on_a_new_one(self, request: bytes) -> Answer:
        connection = await self._opened()
        self._busy.add(connection)
        try:
            return await connection.exchange(request)
        except Dropped as dropped:
            raise boto.ConnectionClosedError(endpoint_url=self._endpoint.url, error=dropped) from dropped
        finally:
            self._busy.discard(connection)
            self._put_back(connection)

    def close(self) -> None:
        """Close every connection; what is in the air ends with an error."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in [*self._idle, *self._busy]:
            connection.fail(Dropped(_CLOSED, silent=False))
        self._idle.clear()
        while self._waiting:
            self._wake_one()

    def _kept(self, *, repeatable: bool) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and (repeatable or self._loop.time() - connection.heard_at < _FRESH):
                return connection
            connection.abort()
        return None

    def _put_back(self, connection: Connection) -> None:
        if connection.usable and not self._closed:
            if not connection.told_session:
                self._remember_session(connection)
            self._idle.append(connection)
        else:
            connection.abort()
        if self._waiting:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break

    def _remember_session(self, connection: Connection) -> None:
        """After the first answer, when the tickets of TLS 1.3 have come too."""
        tls = self._endpoint.tls
        connection.told_session = True
        if isinstance(tls, ResumingContext):
            session = getattr(connection.ssl_object(), "session", None)
            if session is not None:
                tls.sessions[self._endpoint.host] = session

    async def _opened(self) -> Connection:
        """A new connection, or one that came free while this waited because there may be no more."""
        while len(self._busy) + self._opening >= self._endpoint.most and not self._closed:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                self._wake_one()
                raise
            connection = self._kept(repeatable=False)
            if connection is not None:
                return connection
        self._opening += 1
        try:
            connection = await self._open()
        except BaseException:
            self._opening -= 1
            self._wake_one()
            raise
        self._opening -= 1
        return connection

    async def _open(self) -> Connection:
        end = self._endpoint
        self._check_open()
        try:
            async with asyncio.timeout(end.connect_timeout):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop, self._turns),
                    end.host,
                    end.port,
                    ssl=end.tls,
                    server_hostname=end.host if end.tls else None,
                )
        except TimeoutError as error:
            raise boto.ConnectTimeoutError(endpoint_url=end.url, error=error) from error
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise boto.SSLError(endpoint_url=end.url, error=error) from error
        except OSError as error:
            raise boto.EndpointConnectionError(endpoint_url=end.url, error=error) from error
        try:
            self._check_open()
        except boto.ConnectionClosedError:
            connection.abort()
            raise
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
        return connection

    def _check_open(self) -> None:
        if self._closed:
            raise boto.ConnectionClosedError(endpoint_url=self._endpoint.url, error=_CLOSED)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self._busy):
            if now - connection.heard_at > self._endpoint.read_timeout:
                connection.fail(boto.ReadTimeoutError(endpoint_url=self._endpoint.url))
        while self._idle and (not self._idle[0].usable or now - self._idle[0].heard_at > _LONGEST_IDLE):
            self._idle.popleft().abort()
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep) if self._busy or self._idle or self._opening else None
