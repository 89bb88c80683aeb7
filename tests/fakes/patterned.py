"""Answers that nobody can take for one another, to see that no connection has bytes of another."""

import asyncio
import random

from pollers.aws.lean.pool import Pool
from tests.fakes.raw_server import Asked
from tests.fakes.wire import http


def request(body: bytes = b"{}") -> bytes:
    return b"POST / HTTP/1.1\r\nhost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def pattern(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(64) * (size // 64 + 1)  # noqa: S311  nothing secret


def patterned(asked: Asked) -> bytes:
    """Of a size and in a form that the request tells."""
    number, size, chunked = (int(word) for word in asked.body.split())
    content = pattern(number, size)
    if not chunked:
        return http(body=content)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (content[:7], content[7:]) if each)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks


async def check_no_answer_has_bytes_of_another(pool: Pool) -> None:
    """Many at one time, small and large, in chunks and whole: all are read into one memory."""

    async def check(number: int) -> None:
        size = (10, 3000, 200_000, 700_000)[number % 4]
        answer = await pool.ask(request(b"%d %d %d" % (number, size, number % 3 % 2)), repeatable=False)
        await asyncio.sleep(0.001 * (number % 5))  # others are read meanwhile
        assert bytes(answer.content) == pattern(number, size), f"answer {number} has bytes of another"

    await asyncio.gather(*(check(number) for number in range(80)))
