"""`/mappings/NAME/tail` over real sockets: the page, its readers, and the feed that follows it over restarts."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.mapping import BatchLimits, EventSourceMapping, MappingState
from runtime.drain import Drain
from runtime.http import WorkerPages, serve_pages
from runtime.status import MappingStatus
from runtime.tail.feed import FeedLine, Gone, NoWorkerError, TailRefusedError, WorkerFeed
from runtime.tap import MOST_LISTENERS
from runtime.tap_events import Closed, Invoked, LinesLost, Standing, Told, Watching, from_line
from runtime.telemetry import Telemetry
from tests.acceptance.worker_process import wait_until

BATCH = Batch((Record(id=RecordId("m1"), content={}, size=100, arrived=0.0),))


def a_status(name: str) -> MappingStatus:
    mapping = EventSourceMapping(
        name=name,
        function="f",
        function_arn="arn:aws:lambda:eu-west-1:123456789012:function:f",
        source="sqs",
        source_arn=f"arn:aws:sqs:eu-west-1:123456789012:{name}",
        batch=BatchLimits(records=10),
    )
    return MappingStatus(mapping=mapping, state=MappingState.ENABLED)


@asynccontextmanager
async def served(*statuses: MappingStatus, port: int = 0, worker: str = "w1") -> AsyncIterator[int]:
    pages = WorkerPages(Telemetry(), statuses, Drain(), worker=worker)
    async with serve_pages(pages, "127.0.0.1", port) as found:
        yield found


async def next_event(lines: AsyncIterator[FeedLine | Gone]) -> Told:
    line = await anext(lines)
    assert isinstance(line, FeedLine)
    assert line.event is not None
    return line.event


@asynccontextmanager
async def answering(answer: web.StreamResponse) -> AsyncIterator[str]:
    """Another server than a worker."""

    async def handle(_: web.Request) -> web.StreamResponse:
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_the_page_is_json_lines_from_what_is_watched_to_why_it_ended() -> None:
    status = a_status("orders")
    async with aiohttp.ClientSession() as http:
        async with served(status) as port:
            answer = await http.get(f"http://127.0.0.1:{port}/mappings/orders/tail")
            assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
            assert isinstance(from_line(await answer.content.readline()), Watching)
            assert isinstance(from_line(await answer.content.readline()), Standing)
            status.tap.invoked(BATCH, "request-1")
            event = from_line(await answer.content.readline())
            assert isinstance(event, Invoked)
            assert event.request_id == "request-1"
        assert isinstance(from_line(await answer.content.readline()), Closed)
        assert await answer.content.readline() == b""


async def test_an_unknown_mapping_is_not_found_and_the_known_ones_are_named() -> None:
    async with served(a_status("b"), a_status("a")) as port, aiohttp.ClientSession() as http:
        answer = await http.get(f"http://127.0.0.1:{port}/mappings/orders/tail")
        assert answer.status == 404
        assert await answer.json() == {"error": "no mapping is called orders", "mappings": ["a", "b"]}
        with pytest.raises(TailRefusedError, match="has no mapping orders: it has a, b"):
            await anext(WorkerFeed(f"http://127.0.0.1:{port}", "orders", records=False).lines())


async def test_details_come_only_where_records_are_asked_for() -> None:
    status = a_status("orders")
    async with served(status) as port, aiohttp.ClientSession() as http, AsyncExitStack() as readers:
        asked = [http.get(f"http://127.0.0.1:{port}/mappings/orders/tail{query}") for query in ("", "?records=1")]
        answers = [await readers.enter_async_context(each) for each in asked]
        for answer in answers:
            await answer.content.readline()
            await answer.content.readline()
        status.tap.received(BATCH.records)
        brief, detailed = [json.loads(await answer.content.readline()) for answer in answers]
    assert "details" not in brief
    assert detailed["details"] == [{"id": "m1", "bytes": 100}]


async def test_a_reader_that_leaves_is_noticed_and_then_nobody_listens() -> None:
    status = a_status("orders")
    async with served(status) as port:
        url = f"http://127.0.0.1:{port}/mappings/orders/tail"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            await answer.content.readline()
            assert status.tap.listening
        await wait_until(lambda: not status.tap.listening, "nobody listens", seconds=5)


async def test_too_many_readers_are_refused() -> None:
    status = a_status("orders")
    async with served(status) as port:
        address = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as http, AsyncExitStack() as readers:
            for _ in range(MOST_LISTENERS):
                answer = await readers.enter_async_context(http.get(f"{address}/mappings/orders/tail"))
                await answer.content.readline()
            with pytest.raises(TailRefusedError, match="16 readers listen to mapping orders already"):
                await anext(WorkerFeed(address, "orders", records=False).lines())


async def test_a_reader_that_does_not_read_holds_nothing_up_and_is_told_what_it_lost() -> None:
    status = a_status("orders")
    async with served(status) as port:
        with socket.socket() as raw:
            await _ask_and_do_not_read(raw, port, status)
            told = await _tell_much(status)
            await asyncio.sleep(0.3)
            received = await _read_until(raw, b"lines_lost")
    lines = [from_line(part) for part in received.split(b"\r\n") if part.startswith(b'{"event":"lines_lost"')]
    assert lines
    assert isinstance(lines[0], LinesLost)
    assert 0 < lines[0].lines < told


async def test_a_reader_that_takes_nothing_for_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.tap_page._PATIENCE", 0.3)
    status = a_status("orders")
    async with served(status) as port:
        with socket.socket() as raw:
            await _ask_and_do_not_read(raw, port, status)
            await _tell_much(status)
            await wait_until(lambda: not status.tap.listening, "nobody listens", seconds=5)


async def _ask_and_do_not_read(raw: socket.socket, port: int, status: MappingStatus) -> None:
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    await loop.sock_sendall(raw, b"GET /mappings/orders/tail HTTP/1.1\r\nHost: x\r\n\r\n")
    await wait_until(lambda: status.tap.listening, "somebody listens", seconds=5)


async def _tell_much(status: MappingStatus) -> int:
    """Far more than the buffers of the sockets and the listener hold; how many lines."""
    for turn in range(40):
        for number in range(2000):
            status.tap.invoked(BATCH, f"request-{turn}-{number}")
        await asyncio.sleep(0.005)
    return 80_000


async def _read_until(raw: socket.socket, wanted: bytes) -> bytes:
    received = b""
    async with asyncio.timeout(20):
        while wanted not in received or not received.endswith(b"\n"):
            received += await asyncio.get_running_loop().sock_recv(raw, 1 << 20)
    return received.replace(b"\n", b"\r\n")


async def test_the_feed_follows_the_worker_over_a_restart_and_tells_it_once() -> None:
    status = a_status("orders")
    async with asyncio.timeout(20), served(status) as port:
        feed = WorkerFeed(f"http://127.0.0.1:{port}", "orders", records=False)
        async with aclosing(feed.lines()) as lines:
            assert isinstance(await next_event(lines), Watching)
            assert isinstance(await next_event(lines), Standing)
            status.tap.close("the worker has stopped")
            assert isinstance(await next_event(lines), Closed)
            assert await anext(lines) == Gone(reason=None)
            again = await next_event(lines)
            assert isinstance(again, Watching)


async def test_the_feed_waits_for_a_worker_that_is_away_for_longer() -> None:
    async with asyncio.timeout(20):
        async with served(a_status("orders")) as port:
            lines = WorkerFeed(f"http://127.0.0.1:{port}", "orders", records=False).lines()
            await next_event(lines)
            await next_event(lines)
        assert isinstance(await next_event(lines), Closed)
        assert await anext(lines) == Gone(reason=None)
        later = asyncio.ensure_future(anext(lines))
        await asyncio.sleep(1.5)
        assert not later.done()
        async with served(a_status("orders"), port=port, worker="w2"):
            line = await later
            assert isinstance(line, FeedLine)
            assert isinstance(line.event, Watching)
            assert line.event.worker == "w2"
            await lines.aclose()


async def test_the_feed_ends_when_the_worker_comes_back_without_the_mapping() -> None:
    async with asyncio.timeout(20):
        async with served(a_status("orders")) as port:
            lines = WorkerFeed(f"http://127.0.0.1:{port}", "orders", records=False).lines()
            await next_event(lines)
        async with served(a_status("other"), port=port):
            with pytest.raises(TailRefusedError, match="has no mapping orders: it has other"):
                [line async for line in lines]


async def test_nobody_there_is_said_as_such() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NoWorkerError, match="Connection refused"):
            await anext(WorkerFeed(address, "orders", records=False).lines())


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(text="<html>hello</html>", content_type="text/html"),
        lambda: web.Response(text="404: Not Found", status=404),
        lambda: web.Response(text="[]", status=404, content_type="application/json"),
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}),
    ],
)
async def test_another_server_is_told_from_a_worker(answer: "type[web.Response]") -> None:
    async with answering(answer()) as address:
        with pytest.raises(TailRefusedError, match="it is no worker, or one of an earlier version"):
            await anext(WorkerFeed(address, "orders", records=False).lines())


async def test_lines_of_a_later_version_come_raw() -> None:
    body = b'{"event":"invented","at":1}\n\nnonsense\n{"event":"alive","at":1.0}\n'
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(answering(web.Response(body=body, content_type="application/x-ndjson")))
        lines = await stack.enter_async_context(aclosing(WorkerFeed(address, "orders", records=False).lines()))
        found = [await anext(lines) for _ in range(3)]
    assert [line.event is None for line in found if isinstance(line, FeedLine)] == [True, True, False]
    assert isinstance(found[1], FeedLine)
    assert found[1].raw == b"nonsense"
