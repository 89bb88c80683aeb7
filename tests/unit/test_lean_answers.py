"""What a connection makes of an answer: a right one however it is cut into reads, anything else as an error and the end of it."""

import asyncio
import io
import re
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.client import HTTPException, HTTPResponse
from itertools import product
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pollers.aws.lean.answer_head import AnswerHead, NotHttp
from pollers.aws.lean.connection import LARGEST_ANSWER, Answer, Connection, Content, Dropped
from pollers.aws.lean.turns import Turns
from tests.fakes.virtual_time import run_virtual, virtual_time
from tests.fakes.wire import REQUEST, Wire, http

MIB: Final = 1024 * 1024
PLAIN: Final = b'HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 7\r\nx-a: 1\r\nX-A: 2\r\n\r\n{"a":1}'
CHUNKED: Final = (
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;of=it\r\n{"a\r\n004 \t\r\n":1}\r\n0\r\nx-b: 2\r\nx-c: 3\r\n\r\n'
)
INTERIM: Final = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: <a>\r\n\r\n" + PLAIN
OLD: Final = b'HTTP/1.0 200 OK\r\n\r\n{"a":1}'
"""Ends with the connection."""


@asynccontextmanager
async def asked() -> AsyncIterator[tuple[Wire, asyncio.Task[Answer | Exception]]]:
    """A connection that waits for an answer."""
    connection = Connection(asyncio.get_running_loop(), Turns(asyncio.get_running_loop()))
    wire = Wire(connection)
    async with asyncio.TaskGroup() as tasks:
        exchange = tasks.create_task(_ended(connection), name="exchange")
        await asyncio.sleep(0)
        yield wire, exchange
        exchange.cancel()


async def _ended(connection: Connection) -> Answer | Exception:
    try:
        return await connection.exchange(REQUEST)
    except Exception as error:  # noqa: BLE001  it is what the test looks at
        return error


Outcome = tuple[Answer | Exception | None, Wire]


async def outcome_of(*pieces: bytes, piece: int | None = None, closed: bool = False, error: Exception | None = None) -> Outcome:
    """What an exchange ends with (None: it goes on), and its wire."""
    async with asked() as (wire, exchange):
        for each in pieces:
            wire.deliver(each, piece=piece)
        if closed or error is not None:
            wire.end(error)
        done, _ = await asyncio.wait([exchange], timeout=0.01)
        return (await exchange if done else None), wire


def told(*pieces: bytes, piece: int | None = None, closed: bool = False, error: Exception | None = None) -> Outcome:
    return run_virtual(outcome_of(*pieces, piece=piece, closed=closed, error=error))


def check_right(outcome: Outcome, content: Content = b'{"a":1}', *, kept: bool = True) -> Answer:
    answer, wire = outcome
    assert isinstance(answer, Answer), answer
    assert bytes(answer.content) == bytes(content)
    assert wire.protocol.usable is kept
    assert wire.closing is not kept
    return answer


def check_refused(outcome: Outcome, kind: type[Exception] = NotHttp) -> None:
    answer, wire = outcome
    assert isinstance(answer, kind), answer
    assert wire.closing
    assert not wire.protocol.usable


RIGHT: Final = {"plain": PLAIN, "chunked": CHUNKED, "interim": INTERIM}


@pytest.mark.parametrize("answer", RIGHT.values(), ids=RIGHT)
async def test_a_right_answer_is_the_same_in_every_cut(answer: bytes) -> None:
    """Every pair of places to cut at, and byte by byte."""
    for first in range(len(answer)):
        for second in range(first, len(answer), 5):
            check_right(await outcome_of(answer[:first], answer[first:second], answer[second:]))
    told_apart = check_right(await outcome_of(answer, piece=1))
    assert told_apart.head.headers == check_right(await outcome_of(answer)).head.headers


async def test_headers_are_told_by_their_names_in_lower_case_and_repeated_ones_with_commas() -> None:
    answer = check_right(await outcome_of(PLAIN))
    assert answer.head.headers == {"date": "x", "content-length": "7", "x-a": "1, 2"}
    assert AnswerHead(b"HTTP/1.1 200 all: well\r\nDate: x\r\nContent-Length: 0\r\n").headers == {
        "date": "x",
        "content-length": "0",
    }
    assert answer.head.status == 200


@pytest.mark.parametrize("answer", [*RIGHT.values(), OLD[:18]], ids=[*RIGHT, "old"])
async def test_an_answer_that_ends_early_is_a_drop_wherever_it_ends(answer: bytes) -> None:
    for end in range(len(answer)):
        for error in (None, ConnectionResetError("reset")):
            ended, wire = await outcome_of(answer[:end], error=error, closed=error is None)
            assert isinstance(ended, Dropped), (end, ended)
            assert ended.silent is (end == 0)
            assert not wire.protocol.usable


async def test_without_a_length_the_answer_ends_with_the_connection() -> None:
    for cut in range(len(OLD)):
        check_right(await outcome_of(OLD[:cut], OLD[cut:], closed=True), kept=False)
    reset, _ = await outcome_of(OLD, error=ConnectionResetError("reset"))
    assert isinstance(reset, Dropped)
    assert not reset.silent
    assert (await outcome_of(OLD))[0] is None


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_content_ends_with_its_head(status: int) -> None:
    check_right(await outcome_of(b"HTTP/1.1 %d x\r\nContent-Length: 5\r\n\r\n" % status), b"")
    check_right(await outcome_of(b"HTTP/1.1 %d x\r\n\r\nmore" % status), b"", kept=False)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.0 200 OK\r\nConnection: x",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close",
    ],
)
async def test_a_connection_that_the_server_will_close_is_not_kept(head: bytes) -> None:
    check_right(await outcome_of(head + b"\r\nContent-Length: 2\r\n\r\n{}"), b"{}", kept=False)


@pytest.mark.parametrize("said", [b"keep-alive", b"Keep-Alive", b"x, keep-alive", b"keep-alive\r\nconnection: keep-alive"])
async def test_one_that_the_server_says_to_keep_is_kept(said: bytes) -> None:
    """RFC 9112, section 9.3. DynamoDB says it each time."""
    check_right(await outcome_of(b"HTTP/1.1 200 OK\r\nConnection: " + said + b"\r\nContent-Length: 2\r\n\r\n{}"), b"{}")


class _Slowly(AnswerHead):
    """Without the short way for plain answers."""

    __slots__ = ()

    short_way = re.compile(b"(?!)")


def _read(kind: type[AnswerHead], head: bytes) -> tuple[int, bool, bool, int | None, dict[str, str]] | str:
    try:
        read = kind(head)
    except NotHttp as error:
        return str(error)
    return read.status, read.keep, read.chunked, read.length, read.headers


_LINES: Final = [
    b"Connection: keep-alive", b"connection: Keep-Alive", b"CONNECTION: close", b"Connection: close, keep-alive",
    b"Connection: keep-alive, close", b"Connection:keep-alive", b"Connection: keep-alive ", b"Connection: x", b"Connection:",
    b"X-Connection: keep-alive", b"x: connection: keep-alive", b"Keep-Alive: timeout=5", b"x: 12345678901234567890", b"Content-Length: 2",
    b"content-length:\t2 ", b"Content-Length: 3", b"Content-Length: x", b"Content-Length:", b"Content-Length: 9999999999999999",
    b"Transfer-Encoding: chunked", b"transfer-encoding: identity", b"Content-Encoding: identity", b"Content-Encoding: gzip",
]  # fmt: skip


def test_what_the_services_say_goes_the_short_way() -> None:
    for more in (b"", b"Connection: keep-alive\r\n", b"Content-Type: x\r\ncache-control: no-store\r\nTE: x\r\n"):
        for head in (b"Date: x\r\nContent-Length: 7\r\n" + more, more + b"content-length: 7\r\nx-amzn-RequestId: x\r\n"):
            assert AnswerHead.short_way.fullmatch(b"HTTP/1.1 200 OK\r\n" + head), head
    assert AnswerHead(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n").length == 7


@pytest.mark.parametrize(
    "begin", [b"HTTP/1.1 200 OK", b"HTTP/1.0 200", b"HTTP/1.1 204 x", b"HTTP/1.1 400 connection: keep-alive"]
)
def test_the_short_way_for_plain_answers_says_what_the_long_one_says(begin: bytes) -> None:
    """Whatever stands before, between and behind: every three lines."""
    for lines in product(_LINES, repeat=3):
        head = b"\r\n".join([begin, *lines, b""])
        assert _read(AnswerHead, head) == _read(_Slowly, head), head


async def test_one_of_http_1_0_is_kept_where_the_server_says_so() -> None:
    check_right(await outcome_of(b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\n{}"), b"{}")


async def test_chunks_of_http_1_0_are_read_but_such_a_connection_is_not_kept() -> None:
    """RFC 9112, section 6.1: whoever wrote that knows chunks by hearsay."""
    old = CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"\r\n\r\n3", b"\r\nConnection: keep-alive\r\n\r\n3")
    check_right(await outcome_of(old), kept=False)


HEADS: Final = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "a blank line first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "a blank first": b" HTTP/1.1 200 OK\r\n\r\n",
    "two blanks": b"HTTP/1.1  200 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\n\r\n",
    "status with a sign": b"HTTP/1.1 +20 OK\r\n\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n",
    "an HTTP/2 frame": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n",
    "lines that end in LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}\r\n\r\n",
    "a bare CR in the first line": b"HTTP/1.1 200 O\rK\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + PLAIN,
}
HEADERS: Final = {
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3",
    "one length twice": b"Content-Length: 2\r\nContent-Length: 2",
    "two lengths in one": b"Content-Length: 2, 2",
    "a length with a plus": b"Content-Length: +2",
    "a length below 0": b"Content-Length: -2",
    "a length with a blank": b"Content-Length: 1 2",
    "a length with an underscore": b"Content-Length: 1_2",
    "a length in hex": b"Content-Length: 0x2",
    "a length with a point": b"Content-Length: 2.0",
    "no length at all": b"Content-Length:",
    "a length in Arabic digits": "Content-Length: \u0662".encode(),
    "a superscript length": b"Content-Length: \xb2",
    "a length behind a no-break space": b"Content-Length: \xa02",
    "a length before a no-break space": b"Content-Length: 2\xa0",
    "a length before a next-line character": b"Content-Length: 2\x85",
    "a length behind a form feed": b"Content-Length: \x0c2",
    "a length behind a vertical tab": b"Content-Length: \x0b2",
    "a length before a separator": b"Content-Length: 2\x1f",
    "a length that is endless": b"Content-Length: " + b"9" * 400,
    "one byte more than we take": b"Content-Length: %d" % (LARGEST_ANSWER + 1),
    "both framings": b"Content-Length: 2\r\nTransfer-Encoding: chunked",
    "both framings, chunks first": b"Transfer-Encoding: chunked\r\nContent-Length: 2",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "another coding before": b"Transfer-Encoding: gzip, chunked",
    "another coding": b"Transfer-Encoding: identity",
    "no coding": b"Transfer-Encoding:",
    "chunked with a parameter": b"Transfer-Encoding: chunked;q=1",
    "chunked behind a vertical tab": b"Transfer-Encoding: \x0bchunked",
    "gzip": b"Content-Length: 2\r\nContent-Encoding: gzip",
    "two encodings": b"Content-Length: 2\r\nContent-Encoding: identity\r\nContent-Encoding: br",
    "a folded header": b"x-a: 1\r\n Content-Length: 2",
    "a folded first header": b" x-a: 1\r\nContent-Length: 2",
    "a blank before the colon": b"Content-Length : 2",
    "no colon": b"Content-Length 2",
    "no name": b": 2",
    "a bare CR": b"x-a: 1\rContent-Length: 2",
    "a bare LF": b"x-a: 1\nContent-Length: 2",
    "a NUL": b"x-a: 1\0\r\nContent-Length: 2",
    "a NUL in a name": b"x\0a: 1\r\nContent-Length: 2",
    "a name that is not ASCII": "Content-L\u00e4ngth: 2".encode(),
    "a bracket in a name": b"x(a): 1\r\nContent-Length: 2",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_what_does_not_begin_as_an_answer_is_refused(head: bytes) -> None:
    check_refused(told(head))


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
def test_headers_that_can_be_read_in_two_ways_are_refused(headers: bytes) -> None:
    check_refused(told(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n\r\n{}"))


CHUNKS: Final = {
    "no size": b"\r\n{}\r\n",
    "no hex": b"g\r\n",
    "a sign": b"+2\r\n{}\r\n",
    "below 0": b"-2\r\n{}\r\n",
    "0x": b"0x2\r\n{}\r\n",
    "an underscore": b"0_2\r\n{}\r\n",
    "a blank first": b" 2\r\n{}\r\n",
    "a line that ends in LF": b"2\n{}\r\n0\r\n\r\n",
    "a bare CR": b"2\r\r\n{}\r\n",
    "a bare CR in what follows": b"2;a\rb\r\n{}\r\n",
    "a bare LF in what follows": b"2;a\n0\r\n{}\r\n",
    "digits of another script": "\u0662\r\n{}\r\n".encode(),
    "a size of 13 digits": b"0000000000002\r\n{}\r\n",
    "a huge size": b"ffffffffffff\r\n",
    "one byte more than we take": b"%x\r\n" % (LARGEST_ANSWER + 1),
    "longer than it says": b"2\r\n{}}\r\n",
    "shorter than it says": b"4\r\n{}\r\n0\r\n\r\n",
    "ended by LF": b"2\r\n{}\n0",
    "an endless line": b"2;" + b"a" * 5000,
    "an endless size": b"0" * 5000,
    "a trailer without a colon": b"0\r\nx\r\n\r\n",
    "a trailer with a bare LF": b"0\r\nx: 1\nHTTP/1.1 200 OK\r\n\r\n",
    "a trailer with a NUL": b"0\r\nx: \0\r\n\r\n",
    "an answer for a trailer": b"0\r\nHTTP/1.1 200 OK\r\n\r\n",
    "an endless trailer": b"0\r\n" + b"x" * 5000,
    "endless trailers": b"0\r\n" + b"x: 1\r\n" * 20_000,
}


@pytest.mark.parametrize("piece", [None, 1, 7], ids=["at once", "byte by byte", "in sevens"])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_chunks_that_are_out_of_order_are_refused(chunks: bytes, piece: int | None) -> None:
    if piece == 1 and len(chunks) > 6000:
        piece = 997
    check_refused(told(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunks, piece=piece))


BEHIND: Final = {
    "plain": PLAIN,
    "large": http(body=b"x" * 600_000),
    "chunked": CHUNKED,
    "interim": INTERIM,
    "204": b"HTTP/1.1 204 x\r\n\r\n",
}


@pytest.mark.parametrize("answer", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("more", [b"\r\n", b"x", PLAIN], ids=["a blank line", "a byte", "an answer"])
async def test_after_bytes_behind_an_answer_the_connection_is_not_used_again(answer: bytes, more: bytes) -> None:
    """Whether they come with it or later; the answer itself is right."""
    ended, wire = await outcome_of(answer + more)
    assert isinstance(ended, Answer)
    assert bytes(ended.content) == bytes(check_right(await outcome_of(answer), ended.content).content)
    assert not wire.protocol.usable
    ended, wire = await outcome_of(answer, more)
    assert isinstance(ended, Answer)
    assert not wire.protocol.usable


async def test_bytes_behind_a_large_answer_are_never_the_answer_to_the_next_request() -> None:
    """They lie in the system's memory with the end of the body, and the next request may be made before they are looked at."""
    connection = Connection(asyncio.get_running_loop(), Turns(asyncio.get_running_loop()))
    wire = Wire(connection)
    exchange = asyncio.ensure_future(connection.exchange(REQUEST))
    await asyncio.sleep(0)
    answer = http(body=b"x" * 600_000)
    wire.deliver(answer[:-10])
    behind = answer[-10:] + PLAIN
    room = wire.protocol.get_buffer(-1)
    count = min(len(room), len(behind))
    room[:count] = behind[:count]
    wire.protocol.buffer_updated(count)
    assert bytes((await exchange).content) == b"x" * 600_000
    assert not connection.usable


@pytest.mark.parametrize("size", [1, 200, 300_000])
async def test_an_answer_before_the_request_ends_the_connection(size: int) -> None:
    connection = Connection(asyncio.get_running_loop(), Turns(asyncio.get_running_loop()))
    wire = Wire(connection)
    wire.deliver(http(body=b"x" * size))
    assert not connection.usable
    with pytest.raises(Dropped) as dropped:
        await connection.exchange(REQUEST)
    assert dropped.value.silent
    assert wire.sent == b""


async def test_an_answer_to_half_a_request_is_the_last_one() -> None:
    """The rest of the request is still to be sent: what follows on this connection would be read as part of it."""
    async with asked() as (wire, exchange):
        wire.unsent = 10
        wire.deliver(http(413))
        answer = await exchange
        assert isinstance(answer, Answer)
        assert answer.head.status == 413
        assert not wire.protocol.usable


async def test_a_second_answer_of_one_connection_owes_nothing_to_the_first() -> None:
    connection = Connection(asyncio.get_running_loop(), Turns(asyncio.get_running_loop()))
    wire = Wire(connection)
    for answer in (PLAIN, INTERIM, CHUNKED, http(body=b"y" * 300_000), *[INTERIM] * 6, CHUNKED, PLAIN):
        wire.answer = lambda wire, _, answer=answer: wire.deliver(answer, piece=50_000)
        got = await connection.exchange(REQUEST)
        assert bytes(got.content) == (b"y" * 300_000 if len(answer) > 1000 else b'{"a":1}')
        assert connection.usable
        assert connection.used


async def test_the_content_of_an_answer_is_the_callers_alone() -> None:
    """All connections read into one memory; nobody's answer may change when it is filled again."""
    contents = [(await outcome_of(answer))[0] for answer in (PLAIN, CHUNKED, http(body=b"z" * 300_000))]
    kept = [bytes(each.content) for each in contents if isinstance(each, Answer)]
    for byte in (b"!", b"?"):
        await outcome_of(http(body=byte * 250_000))
        await outcome_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + byte * 7)
    assert [bytes(each.content) for each in contents if isinstance(each, Answer)] == kept


def largest_memory(feed: Callable[[Wire], None]) -> int:
    """Bytes that a connection holds at most while `feed` runs, until the connection is closed."""

    async def run() -> int:
        async with asked() as (wire, _):
            tracemalloc.start()
            try:
                feed(wire)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    return run_virtual(run())


def endless(first: bytes, piece: bytes) -> Callable[[Wire], None]:
    def feed(wire: Wire) -> None:
        wire.deliver(first)
        for _ in range(400 * MIB // len(piece)):
            if wire.aborted:
                return
            wire.deliver(piece)
        pytest.fail("it goes on for ever")

    return feed


ENDLESS: Final = {
    "a head": (b"HTTP/1.1 200 OK\r\n", b"x-a: 1\r\n" * 5000, 2),
    "a header": (b"HTTP/1.1 200 OK\r\nx-a: ", b"x" * 40_000, 2),
    "a first line": (b"HTTP/1.1 200 ", b"x" * 40_000, 2),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40, 2),
    "interim answers with large heads": (b"", b"HTTP/1.1 100 Continue\r\nx-a: " + b"x" * 60_000 + b"\r\n\r\n", 2),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"x-a: 1\r\n" * 1000, 2),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"20000\r\n" + b"x" * 0x20000 + b"\r\n", 160),
    "one chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000\r\n", b"x" * MIB, 2),
    "a body without a length": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * MIB, 160),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_does_not_end_is_refused_with_a_bound_on_memory(name: str) -> None:
    first, piece, most = ENDLESS[name]
    assert largest_memory(endless(first, piece)) < most * MIB


async def test_eight_interim_answers_are_enough() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    check_right(await outcome_of(interim * 8 + PLAIN))
    check_refused(await outcome_of(interim * 9 + PLAIN))


async def test_the_largest_answer_is_taken() -> None:
    body = bytes(LARGEST_ANSWER)
    answer, wire = await outcome_of(http(body=body))
    assert isinstance(answer, Answer)
    assert len(answer.content) == LARGEST_ANSWER
    assert wire.protocol.usable


async def test_a_cancelled_exchange_leaves_its_connection_unusable() -> None:
    connection = Connection(asyncio.get_running_loop(), Turns(asyncio.get_running_loop()))
    wire = Wire(connection)
    task = asyncio.ensure_future(connection.exchange(REQUEST))
    await asyncio.sleep(0)
    wire.deliver(PLAIN[:30])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not connection.usable
    connection.abort()
    await asyncio.sleep(0)  # `connection_lost` comes, for nobody
    assert wire.aborted


async def test_an_answer_that_comes_with_the_cancellation_is_dropped_with_its_connection() -> None:
    connection = Connection(asyncio.get_running_loop(), Turns(asyncio.get_running_loop()))
    wire = Wire(connection)
    task = asyncio.ensure_future(connection.exchange(REQUEST))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    wire.deliver(PLAIN)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not connection.usable


@virtual_time
async def test_time_without_a_byte_is_counted_from_the_last_one() -> None:
    async with asked() as (wire, exchange):
        for byte in range(len(PLAIN)):
            before = wire.protocol.heard_at
            await asyncio.sleep(1)
            wire.deliver(PLAIN[byte : byte + 1])
            assert wire.protocol.heard_at == before + 1
        await exchange


# beside another reader, and anything at all


def read_by_the_standard_library(answer: bytes) -> tuple[int, bytes] | None:
    """None: it refuses."""

    class Socket:
        def makefile(self, _mode: str) -> io.BytesIO:
            return io.BytesIO(answer)

    response = HTTPResponse(Socket(), method="POST")  # type: ignore[arg-type]  # all that it uses
    try:
        response.begin()
        return response.status, response.read()
    except (HTTPException, ValueError, OSError):
        return None


TOKENS = st.text("abcXYZ019-_.~!#$%&'*+^`|", min_size=1, max_size=10)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f\x80\x85"), max_size=20)
FRAMING = {"content-length", "transfer-encoding", "content-encoding", "connection"}


@st.composite
def right_answers(draw: st.DrawFn) -> tuple[bytes, int, bytes]:
    """An answer with its status and content."""
    status = draw(st.integers(200, 599).filter(lambda number: number not in (204, 304)))
    content = draw(st.binary(max_size=60))
    headers = draw(st.lists(st.tuples(TOKENS.filter(lambda name: name.lower() not in FRAMING), TEXTS), max_size=4))
    lines = [f"{name}:{draw(st.sampled_from(['', ' ', '  ', chr(9)]))}{text}" for name, text in headers]
    body = content
    if draw(st.booleans()):
        lines.append("Transfer-Encoding: chunked")
        body = b""
        rest = content
        while rest:
            size = draw(st.integers(1, len(rest)))
            body += f"{'0' * draw(st.integers(0, 3))}{size:x}{draw(st.sampled_from(['', ' ', ';a=b', ';a']))}\r\n".encode()
            body += rest[:size] + b"\r\n"
            rest = rest[size:]
        body += b"0\r\n\r\n"
    else:
        lines.append(f"CONTENT-LENGTH:{len(content)}")
    head = "".join(f"{line}\r\n" for line in [f"HTTP/1.1 {status} {draw(TOKENS)}", *draw(st.permutations(lines))])
    return f"{head}\r\n".encode("latin-1") + body, status, content


@settings(max_examples=300, deadline=None)
@given(right=right_answers(), piece=st.none() | st.integers(1, 50))
def test_right_answers_are_read_as_the_standard_library_reads_them(right: tuple[bytes, int, bytes], piece: int | None) -> None:
    answer, status, content = right
    assert read_by_the_standard_library(answer) == (status, content)
    assert check_right(told(answer, piece=piece), content).head.status == status


DAMAGE = st.tuples(st.integers(0, 10_000), st.sampled_from(["cut", "put", "set"]), st.binary(min_size=1, max_size=3))


@settings(max_examples=600, deadline=None)
@given(right=right_answers(), damage=st.lists(DAMAGE, min_size=1, max_size=3), piece=st.none() | st.integers(1, 50))
@example((PLAIN, 200, b""), [(24, "put", b"\r")], None)
def test_a_damaged_answer_is_an_answer_or_an_error_and_never_anything_else(
    right: tuple[bytes, int, bytes], damage: list[tuple[int, str, bytes]], piece: int | None
) -> None:
    """And what we take, the standard library takes for the same; it takes more."""
    answer = bytearray(right[0])
    for where, how, what in damage:
        place = where % (len(answer) + 1)
        answer[place : place + (0 if how == "put" else len(what))] = b"" if how == "cut" else what
    ended, wire = told(bytes(answer), piece=piece, closed=True)
    assert isinstance(ended, Answer | NotHttp | Dropped), repr(ended)
    assert not wire.protocol.usable
    if isinstance(ended, Answer):
        other = read_by_the_standard_library(bytes(answer))
        assert other is not None
        assert other == (ended.head.status, bytes(ended.content))


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: b"HTTP/1.1 200 OK\r\n" + data), closed=st.booleans()
)
def test_any_bytes_are_an_answer_or_an_error_or_not_all_of_it(data: bytes, closed: bool) -> None:
    ended, wire = told(data, closed=closed)
    assert ended is None or isinstance(ended, Answer | NotHttp | Dropped), repr(ended)
    if ended is None:
        assert not closed
    elif not isinstance(ended, Answer):
        assert not wire.protocol.usable
