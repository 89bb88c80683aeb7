"""The handlers of the stream rows: they do next to nothing but tell the harness, another process, what they were given.

How many records: in eight bytes of the file that ESM_BENCH_COUNT names, mapped into both processes. How old: in lines of the file
that ESM_BENCH_AGES names.
"""

import asyncio
import base64
import mmap
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

COUNT: Final = "ESM_BENCH_COUNT"
AGES: Final = "ESM_BENCH_AGES"
PAUSE: Final = "ESM_BENCH_PAUSE"
"""Seconds that `slow` takes."""


def counter(file: Path) -> memoryview:
    """The count in the file, as item 0."""
    with file.open("r+b") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 8)).cast("Q")


_lock = threading.Lock()  # threads of `in_thread` add at the same time
_count: memoryview | list[int] = counter(Path(os.environ[COUNT])) if COUNT in os.environ else [0]


async def on_loop(event: dict[str, Any], context: object) -> None:  # noqa: ARG001  Lambda's signature
    _count[0] += len(event["Records"])


def in_thread(event: dict[str, Any], context: object) -> None:  # noqa: ARG001  Lambda's signature
    with _lock:
        _count[0] += len(event["Records"])


async def slow(event: dict[str, Any], context: object) -> None:  # noqa: ARG001  Lambda's signature
    await asyncio.sleep(float(os.environ[PAUSE]))
    _count[0] += len(event["Records"])


async def tell_age(event: dict[str, Any], context: object) -> None:  # noqa: ARG001  Lambda's signature
    """A line for each record: its source, and the seconds since the time that it holds."""
    now = time.time()
    _append("".join(f"{source} {now - sent:.6f}\n" for source, sent in _times(event)))


def _times(event: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for record in event["Records"]:
        if "kinesis" in record:
            yield "kinesis", float(base64.b64decode(record["kinesis"]["data"]))
        else:
            yield "dynamodb", float(record["dynamodb"]["NewImage"]["at"]["S"])


def _append(lines: str) -> None:
    with Path(os.environ[AGES]).open("a") as file:
        file.write(lines)
