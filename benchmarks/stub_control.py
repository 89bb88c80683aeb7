"""The stub endpoint as the harness sees it: a child process with a small HTTP interface of its own."""

import http.client
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from benchmarks.processes import Child, RunFailed, started
from benchmarks.stub_queues import LONGEST_WAIT
from benchmarks.stub_streams import Filling

_START_SECONDS: Final = 20.0
_SLICE: Final = 1.0
"""Seconds between looks at whether the client still lives, while waiting for its deletes."""
_SHORT_WAIT: Final = 0.2
"""Seconds: how long an empty receive may wait while a client is told to stop."""


class Stub:
    """A running stub endpoint; use `started_stub`."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.url = f"http://127.0.0.1:{port}"
        self._port = port

    def reset(self, *, messages: int, body: int = 256) -> None:
        """Start over with so many messages of so many bytes, and with long polls of any length."""
        self._ask("POST", f"/_stub/reset?messages={messages}&body={body}&wait={LONGEST_WAIT}")

    def reset_streams(self, filling: Filling) -> None:
        self._ask("POST", f"/_stub/streams?{urlencode(asdict(filling))}")

    def end_shards(self) -> int:
        """Every shard ends where it was read up to. Gives how many records that are."""
        given: int = self._ask("POST", "/_stub/end-shards")["streams"]["distinct"]
        return given

    def reset_tables(self) -> None:
        self._ask("POST", "/_stub/tables")

    def end_long_polls(self) -> None:
        """Answer receives that wait, and let those that come wait only shortly: a client that drains need not sit them out."""
        self._ask("POST", f"/_stub/reset?messages=0&wait={_SHORT_WAIT}")

    def stats(self) -> dict[str, Any]:
        return self._ask("GET", "/_stub/stats")

    def stream_stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.stats()["streams"]
        return stats

    def wait_deleted(self, count: int, *, by: Child, seconds: float) -> dict[str, Any]:
        """The statistics as they were when `count` messages were deleted. Raises RunFailed if `by` ends, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            stats = self._ask("GET", f"/_stub/wait?deleted={count}&seconds={_SLICE}")
            if stats["deleted"] >= count:
                return stats
            by.check_alive()
            if time.monotonic() > deadline:
                raise RunFailed(f"{by.name} deleted {stats['deleted']} of {count} messages in {seconds:.0f} s\n{by.tail()}")

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except OSError as error:
            raise RunFailed(f"the stub endpoint does not answer: {error}\n{self.child.tail()}") from error
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise RunFailed(f"the stub endpoint refuses {method} {path}: {answer}")
        return answer


@contextmanager
def started_stub(*, folder: Path, core: int | None) -> Iterator[Stub]:
    command = [sys.executable, "-m", "benchmarks.stub_endpoint"]
    with started("stub", command, folder=folder, core=core) as child:
        deadline = time.monotonic() + _START_SECONDS
        while not (line := child.output.read_text().partition("\n")[0]).startswith("{"):
            child.check_alive()
            if time.monotonic() > deadline:
                raise RunFailed(f"the stub endpoint did not start within {_START_SECONDS:.0f} s\n{child.tail()}")
            time.sleep(0.02)
        yield Stub(child, json.loads(line)["port"])
