"""TLS for real: authorities and certificates made here, on both event loops and in both versions."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trustme
from botocore import exceptions as boto

from pollers.aws.clients import AwsClients
from pollers.aws.hot import DELETE, RECEIVE, HotOperation
from pollers.aws.lean.operation import LeanOperation
from pollers.aws.lean.pool import Endpoint, Pool, resuming_context
from pollers.errors import SourceUnavailable
from pollers.sqs import SqsQueue
from tests.fakes.aws_environment import without_aws
from tests.fakes.loops import both_loops
from tests.fakes.patterned import check_no_answer_has_bytes_of_another, patterned
from tests.fakes.raw_server import CLOSE, RawServer, Say, raw_server, saying
from tests.fakes.wire import REQUEST, http

ARN: Final = "arn:aws:sqs:eu-west-1:123456789012:orders"
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
versions = pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the authority, at which AWS_CA_BUNDLE points."""
    without_aws(monkeypatch, tmp_path)
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(path))
    return path


def server_context(authority: trustme.CA, version: ssl.TLSVersion, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
    return context


@asynccontextmanager
async def asking(
    say: Say,
    authority: trustme.CA,
    version: ssl.TLSVersion,
    bundle: Path | None,
    *,
    name: str = "localhost",
    verify: bool = True,
    issued: tuple[str, ...] = (),
) -> AsyncIterator[tuple[Pool, RawServer]]:
    async with raw_server(say, tls=server_context(authority, version, *issued), name=name) as server:
        context = resuming_context(str(bundle) if bundle else None, verify=verify)
        end = Endpoint(url=server.url, host=name, port=server.port, tls=context, connect_timeout=5, read_timeout=30, most=20)
        pool = Pool(end)
        yield pool, server
        pool.close()
        await server.wait_open(0)


async def several(pool: Pool, count: int) -> None:
    await asyncio.gather(*(pool.ask(REQUEST, repeatable=False) for _ in range(count)))


@versions
@both_loops
async def test_every_later_connection_goes_on_with_the_session_of_the_first(
    authority: trustme.CA, bundle: Path, version: ssl.TLSVersion
) -> None:
    async with asking(saying(http()), authority, version, bundle) as (pool, server):
        await several(pool, 1)
        await several(pool, 4)
        assert server.resumed == [False, True, True, True]
        server.close_connections()
        await server.wait_open(0)
        await several(pool, 2)
        assert server.resumed[4:] == [True, True]


@versions
@both_loops
async def test_a_server_that_forgot_the_session_makes_a_new_one(
    authority: trustme.CA, bundle: Path, version: ssl.TLSVersion
) -> None:
    """Such as another of a fleet."""
    context = resuming_context(str(bundle), verify=True)
    for _ in range(2):
        async with raw_server(saying(http()), tls=server_context(authority, version), name="localhost") as server:
            end = Endpoint(
                url=server.url, host="localhost", port=server.port, tls=context, connect_timeout=5, read_timeout=30, most=20
            )
            pool = Pool(end)
            await several(pool, 1)
            await several(pool, 2)
            assert server.resumed == [False, True]
            pool.close()
            await server.wait_open(0)


@versions
@both_loops
async def test_hosts_of_one_context_have_sessions_of_their_own(
    authority: trustme.CA, bundle: Path, version: ssl.TLSVersion
) -> None:
    async with asking(saying(http()), authority, version, bundle) as (pool, server):
        await several(pool, 1)
        end = Endpoint(
            url="x", host="127.0.0.1", port=server.port, tls=pool._endpoint.tls, connect_timeout=5, read_timeout=30, most=2
        )  # fmt: skip
        other = Pool(end)
        await several(other, 1)
        assert server.resumed == [False, False]
        other.close()


@versions
@both_loops
async def test_no_answer_over_tls_has_bytes_of_another(authority: trustme.CA, bundle: Path, version: ssl.TLSVersion) -> None:
    async with asking(patterned, authority, version, bundle) as (pool, _):
        await check_no_answer_has_bytes_of_another(pool)


@versions
@both_loops
async def test_a_connection_that_the_server_will_close_is_closed_at_once(
    authority: trustme.CA, bundle: Path, version: ssl.TLSVersion
) -> None:
    """Not after a good-bye that may take 30 seconds to come."""
    async with asking(saying(http(connection="close")), authority, version, bundle) as (pool, server):
        await several(pool, 3)
        await server.wait_open(0)


@versions
@both_loops
async def test_half_an_answer_over_tls_is_a_closed_connection(
    authority: trustme.CA, bundle: Path, version: ssl.TLSVersion
) -> None:
    async with asking(lambda _: (http(body=b"x" * 300_000)[:-1], CLOSE), authority, version, bundle) as (pool, server):
        with pytest.raises(boto.ConnectionClosedError):
            await pool.ask(REQUEST, repeatable=True)
        await server.wait_open(0)


@versions
@both_loops
async def test_bytes_behind_an_answer_over_tls_are_never_the_answer_to_another_request(
    authority: trustme.CA, bundle: Path, version: ssl.TLSVersion
) -> None:
    for size in (2, 500_000):
        answer = http(body=b"x" * size) + http(body=b"of another")
        async with asking(saying(answer), authority, version, bundle) as (pool, server):
            for _ in range(4):
                assert bytes((await pool.ask(REQUEST, repeatable=False)).content) == b"x" * size
            assert server.connections == 4


@versions
@both_loops
async def test_a_cancelled_request_over_tls_closes_its_connection(
    authority: trustme.CA, bundle: Path, version: ssl.TLSVersion
) -> None:
    async with asking(lambda _: http()[:20], authority, version, bundle) as (pool, server):
        for ticks in (1, 3, 10):
            asked = asyncio.ensure_future(pool.ask(REQUEST, repeatable=True))
            for _ in range(ticks):
                await asyncio.sleep(0.002)
            asked.cancel()
            await asyncio.wait([asked])
            await server.wait_open(0)


@both_loops
async def test_an_unknown_authority_is_told(bundle: Path) -> None:
    async with asking(saying(http()), trustme.CA(), VERSIONS["1.3"], bundle) as (pool, server):
        with pytest.raises(boto.SSLError, match="certificate verify failed"):
            await pool.ask(REQUEST, repeatable=True)
        assert (server.asked, list(pool._busy), pool._opening) == ([], [], 0)


@both_loops
async def test_a_certificate_of_another_host_is_told(authority: trustme.CA, bundle: Path) -> None:
    async with asking(saying(http()), authority, VERSIONS["1.3"], bundle, issued=("other.example",)) as (pool, server):
        with pytest.raises(boto.SSLError, match=r"[Hh]ostname mismatch"):
            await pool.ask(REQUEST, repeatable=True)
        assert server.asked == []


@both_loops
async def test_what_need_not_be_verified_is_not(authority: trustme.CA) -> None:
    async with asking(saying(http()), authority, VERSIONS["1.3"], None, verify=False, issued=("other.example",)) as (
        pool,
        server,
    ):
        await several(pool, 1)
        assert len(server.asked) == 1


def test_nothing_older_than_tls_1_2_is_spoken() -> None:
    """As botocore has it."""
    assert resuming_context(None, verify=True).minimum_version is ssl.TLSVersion.TLSv1_2


@both_loops
async def test_a_server_without_tls_is_told(bundle: Path) -> None:
    async with raw_server(saying(http(400))) as server:
        context = resuming_context(str(bundle), verify=True)
        pool = Pool(
            Endpoint(url="https://h/", host="localhost", port=server.port, tls=context, connect_timeout=1, read_timeout=9, most=2)
        )
        with pytest.raises((boto.SSLError, boto.ConnectTimeoutError, boto.EndpointConnectionError)):
            await pool.ask(REQUEST, repeatable=True)
        pool.close()


# from the environment


async def hot(clients: AwsClients, server: RawServer) -> HotOperation:
    operation = await clients.operation(RECEIVE, "eu-west-1", {"QueueUrl": f"{server.url}/123456789012/orders"})
    assert type(operation) is LeanOperation
    return operation


@versions
@both_loops
async def test_a_queue_behind_an_authority_of_ones_own_is_read(
    authority: trustme.CA, bundle: Path, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bundle
    async with raw_server(saying(http()), tls=server_context(authority, version), name="localhost") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        async with AwsClients() as clients:
            assert await (await hot(clients, server)).ask(b"{}") == b"{}"
            delete = await clients.operation(
                DELETE, "eu-west-1", {"QueueUrl": f"{server.url}/123456789012/orders", "Entries": []}
            )
            assert await delete.ask(b"{}") == b"{}"
            assert server.connections == 1


async def check_unavailable(wrong: str, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(saying(http()), tls=context, name="localhost") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        async with AwsClients() as clients:
            queue = SqsQueue(clients, ARN, windowed=False, observe=lambda *_: None)
            with pytest.raises(SourceUnavailable, match=wrong) as raised:
                await queue.receive(limit=1, wait=0, visibility=None)
            assert raised.value.code == "no_answer"
            assert "ReceiveMessage on orders" in str(raised.value)
            assert server.asked == []


@pytest.mark.usefixtures("bundle")
@both_loops
async def test_a_queue_of_an_unknown_authority_is_unavailable_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    await check_unavailable("certificate verify failed", server_context(trustme.CA(), VERSIONS["1.3"]), monkeypatch)


@pytest.mark.usefixtures("bundle")
@both_loops
async def test_a_queue_of_another_name_is_unavailable_and_says_why(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check_unavailable("ostname mismatch", server_context(authority, VERSIONS["1.3"], "other.example"), monkeypatch)


async def test_a_bundle_that_is_no_certificate_is_told(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle.write_text("not a certificate")  # noqa: ASYNC240  nothing else runs yet
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://localhost:1")
    async with AwsClients() as clients:
        queue = SqsQueue(clients, ARN, windowed=False, observe=lambda *_: None)
        with pytest.raises(SourceUnavailable, match=r"CA bundle .*authority\.pem"):
            await queue.receive(limit=1, wait=0, visibility=None)
