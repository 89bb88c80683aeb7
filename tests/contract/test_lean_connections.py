"""The lean client's connections over real sockets, on both event loops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
from botocore import exceptions as boto

from pollers.aws.errors import to_source_error
from pollers.aws.lean.answer_head import NotHttp
from pollers.aws.lean.pool import Endpoint, Pool
from tests.fakes.loops import both_loops
from tests.fakes.patterned import check_no_answer_has_bytes_of_another, patterned, request
from tests.fakes.raw_server import CLOSE, DROP, Asked, RawServer, Say, raw_server, saying
from tests.fakes.wire import http


@asynccontextmanager
async def asking(say: Say, *, most: int = 100, host: str = "127.0.0.1") -> AsyncIterator[tuple[Pool, RawServer]]:
    """What the pool leaves open shows: the server waits for it."""
    async with raw_server(say, host=host) as server:
        pool = pool_on(server, host=host, most=most)
        yield pool, server
        pool.close()
        await server.wait_open(0)


def pool_on(server: RawServer, *, host: str = "127.0.0.1", most: int = 100, port: int | None = None) -> Pool:
    end = Endpoint(
        url=server.url, host=host, port=port or server.port, tls=None, connect_timeout=5, read_timeout=30, most=most
    )  # fmt: skip
    return Pool(end)


async def check_works(pool: Pool) -> None:
    assert bytes((await pool.ask(request(), repeatable=False)).content) == b"{}"


@both_loops
async def test_one_connection_carries_many_requests() -> None:
    async with asking(saying(http())) as (pool, server):
        for _ in range(20):
            await check_works(pool)
        assert (server.connections, len(server.asked)) == (1, 20)


@both_loops
async def test_an_endpoint_of_ipv6_is_asked() -> None:
    async with asking(saying(http()), host="::1") as (pool, _):
        await check_works(pool)


BROKEN: Final[dict[str, bytes]] = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}",
    "a length that never comes": b"HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n{}",
    "half a head": http()[:30],
    "half a body": http(body=b"x" * 400_000)[:-1],
    "half a large body": http(body=b"x" * 4_000_000)[:-1],
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
    "chunks without an end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"x-a: 1\r\n" * 20_000,
    "endless interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    "nothing": DROP,
}


@both_loops
async def test_a_broken_answer_is_an_error_and_the_end_of_its_connection() -> None:
    async with asking(saying(http())) as (pool, server):
        for name, broken in BROKEN.items():
            server.say = lambda _, broken=broken: (broken, CLOSE)  # type: ignore[misc]  # a default to hold it
            with pytest.raises((NotHttp, boto.ConnectionClosedError)) as raised:
                await pool.ask(request(), repeatable=False)
            assert to_source_error(raised.value, doing="ReceiveMessage on q").code in ("no_answer", "malformed_answer"), name
            await server.wait_open(0)
            server.say, before = saying(http()), server.connections
            await check_works(pool)
            assert server.connections == before + 1, name


@both_loops
async def test_bytes_behind_an_answer_are_never_the_answer_to_another_request() -> None:
    other = http(body=b'{"of":"another"}')
    for size in (2, 500_000):
        async with asking(lambda _, size=size: http(body=b"x" * size) + other) as (pool, server):  # type: ignore[misc]  # as above
            for _ in range(5):
                assert bytes((await pool.ask(request(), repeatable=False)).content) == b"x" * size
            assert server.connections == 5


def a_dead_one(asked: Asked) -> bytes:
    """The first connection ends at its second request: as one that was idle for too long and that nobody told so."""
    return DROP if asked.connection == 0 and asked.number == 1 else http()


@both_loops
async def test_a_dead_connection_costs_what_may_be_repeated_one_more_try() -> None:
    async with asking(a_dead_one) as (pool, server):
        await check_works(pool)
        assert bytes((await pool.ask(request(), repeatable=True)).content) == b"{}"
        assert [asked.connection for asked in server.asked] == [0, 0, 1]


@both_loops
async def test_a_dead_connection_costs_what_may_not_be_repeated_an_error() -> None:
    async with asking(a_dead_one) as (pool, server):
        await check_works(pool)
        with pytest.raises(boto.ConnectionClosedError):
            await pool.ask(request(), repeatable=False)
        assert len(server.asked) == 2
        await check_works(pool)


@both_loops
async def test_connections_that_the_server_closes_while_they_are_idle_are_replaced() -> None:
    async with asking(saying(http())) as (pool, server):
        await asyncio.gather(*(check_works(pool) for _ in range(10)))
        server.close_connections()
        await server.wait_open(0)
        await asyncio.gather(*(check_works(pool) for _ in range(10)))
        assert len(server.asked) == 20


@both_loops
async def test_a_cancelled_request_closes_its_connection() -> None:
    """And nothing else: what is not cancelled goes on, and so do later ones."""
    async with asking(lambda asked: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf" if asked.number < 20 else http()) as (
        pool,
        server,
    ):
        asked = [asyncio.ensure_future(pool.ask(request(), repeatable=True)) for _ in range(20)]
        await server.wait_open(20)
        await server.wait_asked(20)
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
        await server.wait_open(0)
        await check_works(pool)


@both_loops
async def test_a_request_that_is_cancelled_while_it_connects_leaves_nothing_open() -> None:
    async with asking(saying(http())) as (pool, server):
        for delay in range(12):
            asked = asyncio.ensure_future(pool.ask(request(), repeatable=True))
            for _ in range(delay):
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
        await check_works(pool)
        await server.wait_open(1)


@both_loops
async def test_hundreds_of_requests_share_a_few_connections() -> None:
    async with asking(saying(http()), most=5) as (pool, server):
        asked = [asyncio.ensure_future(check_works(pool)) for _ in range(300)]
        await asyncio.sleep(0)
        for task in asked[5::3]:  # who wait for a connection
            task.cancel()
        await asyncio.wait_for(asyncio.wait(asked), 30)
        assert sum(task.cancelled() for task in asked) == 99
        assert all(task.exception() is None for task in asked if not task.cancelled())
        assert server.most_open <= 5


@both_loops
async def test_closing_the_pool_ends_what_is_in_the_air() -> None:
    async with raw_server(lambda _: http()[:20]) as server:
        pool = pool_on(server, most=3)
        asked = [asyncio.ensure_future(pool.ask(request(), repeatable=True)) for _ in range(6)]
        await server.wait_open(3)
        pool.close()
        await asyncio.wait_for(asyncio.wait(asked), 5)
        assert {type(task.exception()) for task in asked} == {boto.ConnectionClosedError}
        await server.wait_open(0)


@both_loops
async def test_nobody_there_is_told() -> None:
    async with raw_server(saying(http())) as server:
        port = server.port
    pool = pool_on(server, port=port)
    with pytest.raises(boto.EndpointConnectionError):
        await pool.ask(request(), repeatable=True)
    pool.close()


@both_loops
async def test_a_name_that_is_no_host_is_told() -> None:
    async with raw_server(saying(http())) as server:
        pool = pool_on(server, host="no-such-host.invalid")
        with pytest.raises(boto.EndpointConnectionError):
            await pool.ask(request(), repeatable=True)
        pool.close()


@both_loops
async def test_a_server_that_answers_before_it_has_read_the_request_keeps_no_connection() -> None:
    """It says 413 to a request of which most is still on its way."""
    async with asking(saying(http(413))) as (pool, server):
        server.reads = 1000
        answer = await pool.ask(request(b"x" * 20_000_000), repeatable=False)
        assert answer.head.status == 413
        assert not pool._idle


@both_loops
async def test_no_answer_has_bytes_of_another() -> None:
    async with asking(patterned, most=20) as (pool, _):
        await check_no_answer_has_bytes_of_another(pool)


@both_loops
async def test_an_answer_that_comes_in_pieces_is_one() -> None:
    async with asking(
        saying(http(body=b"x" * 100_000), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    ) as (
        pool,
        server,
    ):
        server.piece = 10_001
        assert bytes((await pool.ask(request(), repeatable=False)).content) == b"x" * 100_000
        server.piece = 3
        await check_works(pool)
        assert server.connections == 1
