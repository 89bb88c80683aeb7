"""The real worker as a process of its own, and everything a test wants to see of it.

    async with local_aws() as aws, worker_on(aws, tmp_path, mappings=[mapping("orders")]) as worker:
        await worker.wait_ready()

The process is always gone when the block is left, ended by its own id.
"""

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import anyio
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.local_aws import ACCOUNT, LocalAws, arn_of
from tests.fakes.roads import chosen_client

CODE: Final = Path(__file__).parent / "functions"
_PATIENCE: Final = 30.0
"""Seconds a test waits for what it expects, on a machine that does much else."""
_LOOK_EVERY: Final = 0.02
_INHERITED: Final = ("PATH", "LANG", "COVERAGE_PROCESS_START", "SYSTEMROOT")


def mapping(queue: str, function: str = "f", **parameters: Any) -> dict[str, Any]:
    """A mapping of a queue, called like the queue without its dots."""
    return {"name": queue.replace(".", "-"), "FunctionName": function, "EventSourceArn": arn_of(queue), **parameters}


def function(handler: str, **parameters: Any) -> dict[str, Any]:
    """A function of `functions/acts.py`."""
    return {"Handler": f"acts.{handler}", "CodeUri": str(CODE), **parameters}


async def wait_until(check: Callable[[], bool | Awaitable[bool]], what: str, *, seconds: float = _PATIENCE) -> None:
    """Look until `check` says yes; fails the test with `what` after `seconds`."""
    deadline = anyio.current_time() + seconds
    while True:
        found = check()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return
        assert anyio.current_time() < deadline, f"not within {seconds:g} s: {what}"
        await anyio.sleep(_LOOK_EVERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """One line of the journal: what a handler did with one record, and when (monotonic seconds of this machine)."""

    what: str
    call: str
    at: float
    id: str
    body: str
    queue: str
    group: str | None
    receives: int
    handle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One invocation, from its first line in the journal to its last."""

    began: float
    ended: float
    records: int
    queue: str


class Site:
    """A folder with `esm.yaml`, the journal and the gate of the handlers. Any number of processes may run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal_file = folder / "journal.jsonl"
        self.gate = folder / "gate"

    def environment(self, endpoint_url: str, more: Mapping[str, str]) -> dict[str, str]:
        """Nothing of the AWS settings of whoever runs the tests; botocore asks once, so that all back-off seen is the worker's."""
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return kept | {
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "made-up",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_MAX_ATTEMPTS": "1",
            "JOURNAL": str(self.journal_file),
            "GATE": str(self.gate),
            **more,
        }

    def write_config(
        self,
        functions: Mapping[str, Any],
        mappings: Sequence[Mapping[str, Any]],
        *,
        grace: int = 1,
        http: str = "127.0.0.1:0",
        state: str = "memory://",
        **more: Any,
    ) -> Path:
        """JSON is YAML. A short grace period, because an idle worker waits for its long polls when it stops. `more`: of `worker`."""
        worker = {"http": http, "grace": grace, "state": state, "log": {"format": "json"}, "client": chosen_client(), **more}
        path = self.folder / "esm.yaml"
        path.write_text(json.dumps({"functions": functions, "mappings": list(mappings), "worker": worker}, indent=1))
        return path

    def open_gate(self) -> None:
        self.gate.touch()

    def journal(self, what: str | None = None) -> list[Noted]:
        """What the handlers wrote, in the order in which they wrote it; a line that is not finished yet is left out."""
        if not self.journal_file.exists():
            return []
        text = self.journal_file.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()
        noted = [Noted(**json.loads(line)) for line in lines]
        return [each for each in noted if what in (None, each.what)]

    def calls(self) -> list[Interval]:
        """The invocations, in the order in which they began."""
        by_call: dict[str, list[Noted]] = {}
        for each in self.journal():
            by_call.setdefault(each.call, []).append(each)
        intervals = [
            Interval(
                began=min(each.at for each in noted),
                ended=max(each.at for each in noted),
                records=len({each.id for each in noted}),
                queue=noted[0].queue,
            )
            for noted in by_call.values()
        ]
        return sorted(intervals, key=lambda interval: interval.began)


class WorkerProcess:
    """A running `esm run`. Its log goes to a file of its own beside `esm.yaml`."""

    def __init__(self, site: Site, process: "subprocess.Popen[bytes]", log_file: Path, http: aiohttp.ClientSession) -> None:
        self.site = site
        self._process = process
        self._log_file = log_file
        self._http = http

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def wait_exit(self, *, seconds: float = _PATIENCE) -> int:
        await wait_until(lambda: not self.alive, f"the worker ends\n{self.log_text()}", seconds=seconds)
        return self._process.returncode

    async def stop(self) -> int:
        self.send_signal(signal.SIGTERM)
        return await self.wait_exit()

    def log_text(self) -> str:
        return self._log_file.read_text()

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """The lines of the log, or those that tell of one event. A line that is no JSON fails the test."""
        text = self.log_text()
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in lines if event in (None, line["event"])]

    async def wait_log(self, event: str, *, seconds: float = _PATIENCE) -> dict[str, Any]:
        await wait_until(lambda: bool(self.log(event)), f"{event} in the log:\n{self.log_text()}", seconds=seconds)
        return self.log(event)[0]

    async def wait(self, check: Callable[[], bool | Awaitable[bool]], what: str, *, seconds: float = _PATIENCE) -> None:
        """`wait_until`, with the log as it is when it fails."""
        try:
            await wait_until(check, what, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_text()}") from None

    async def page(self, path: str) -> Page:
        started = await self.wait_log("worker_started")
        async with self._http.get(f"http://127.0.0.1:{started['http']}{path}") as answer:
            return Page(status=answer.status, text=await answer.text())

    async def wait_ready(self) -> None:
        async def ready() -> bool:
            return (await self.page("/readyz")).status == 200

        await wait_until(ready, f"the worker is ready\n{self.log_text()}")

    async def metric(self, name: str, **labels: str) -> float:
        """The sum over all series of a metric whose labels hold these; 0 when there is none yet."""
        text = (await self.page("/metrics")).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())

    async def wait_metric(self, name: str, value: float, **labels: str) -> None:
        async def has_value() -> bool:
            return await self.metric(name, **labels) == value

        await wait_until(has_value, f"{name} is {value:g}\n{self.log_text()}")

    async def mapping(self, name: str) -> dict[str, Any]:
        """What `/mappings` says of one mapping."""
        shown: list[dict[str, Any]] = (await self.page("/mappings")).json["mappings"]
        (found,) = [each for each in shown if each["name"] == name]
        return found


@asynccontextmanager
async def process_on(
    site: Site,
    endpoint_url: str,
    *,
    command: Sequence[str] = (sys.executable, "-m", "runtime"),
    arguments: Sequence[str] = ("run", "-c", "esm.yaml"),
    **environment: str,
) -> AsyncIterator[WorkerProcess]:
    """`esm run` on the site's `esm.yaml`, unless told otherwise, in the site's folder."""
    log_file = site.folder / f"worker-{time.monotonic_ns()}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - it comes back at once
            [*command, *arguments],
            cwd=site.folder,
            env=site.environment(endpoint_url, environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the tests, which end the worker themselves
        )
    try:
        async with aiohttp.ClientSession() as http:
            yield WorkerProcess(site, process, log_file, http)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@asynccontextmanager
async def worker_on(
    aws: LocalAws,
    folder: Path,
    *,
    functions: Mapping[str, Any],
    mappings: Sequence[Mapping[str, Any]],
    grace: int = 1,
) -> AsyncIterator[WorkerProcess]:
    """A site in `folder` and a worker on it."""
    site = Site(folder)
    site.write_config(functions, mappings, grace=grace)
    async with process_on(site, aws.endpoint.url) as worker:
        yield worker
