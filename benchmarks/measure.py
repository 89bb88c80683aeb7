"""The three measurements of SQS: CPU of so many messages, cost of idle queues, memory over time.

A client is any child process that takes messages from the stub and deletes them. It is judged only by what the stub has
seen, by its CPU time and memory as the system counts them, and by its exit with 0 on SIGTERM.
"""

import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from benchmarks.processes import Child, RunFailed, free_port, sleep_beside, started
from benchmarks.stub_control import Stub
from benchmarks.stub_queues import REGION, queue_arn

HandlerKind = Literal["async def", "def"]

_HANDLERS: Final[dict[HandlerKind, str]] = {"async def": "trivial_handler.on_loop", "def": "trivial_handler.in_thread"}
_SLOWEST: Final = 1_000
"""Messages a second below which a run counts as stuck."""
_START_SECONDS: Final = 60.0
_SETTLE_SECONDS: Final = 3.0
"""Between the first receive of every idle queue and the measurement, so that start-up is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    client: Literal["plain loop", "worker"]
    handler: HandlerKind

    @property
    def name(self) -> str:
        return f"{self.client} {self.handler}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a client used between two instants."""

    messages: int
    cpu: float
    """User and system seconds."""
    wall: float
    """Seconds."""
    stub_cpu: float
    """Seconds of the stub: near `wall` it was the limit, and messages/s say nothing about the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    queues: int
    seconds: float
    core_share: float
    """CPU seconds per second."""
    receives_per_minute: float
    """Of one queue."""
    memory: int
    """Resident bytes at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    marks: list[tuple[int, int]]
    """Messages done, resident bytes."""

    @property
    def growth(self) -> float:
        return self.marks[-1][1] / self.marks[0][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where measurements run: the stub, a folder for files, the cores of client and stub, and how the worker is started."""

    stub: Stub
    folder: Path
    core: int | None
    stub_core: int | None
    worker: str
    """A command; `-c FILE` is added."""
    in_flight: int

    def start(self, contender: Contender) -> AbstractContextManager[Child]:
        if contender.client == "worker":
            return self.start_worker(contender.handler, queues=1, maximum_concurrency=self.in_flight)
        command = [sys.executable, "-m", "benchmarks.plain_loop", "--queue-arn", queue_arn("bench-0")]
        command += ["--concurrency", str(self.in_flight), "--handler", contender.handler]
        return self.start_client(contender.name, command)

    def start_worker(
        self, handler: HandlerKind, *, queues: int, maximum_concurrency: int | None
    ) -> AbstractContextManager[Child]:
        mappings: list[dict[str, Any]] = [
            {"name": f"bench-{number}", "FunctionName": "bench", "EventSourceArn": queue_arn(f"bench-{number}"), "BatchSize": 10}
            for number in range(queues)
        ]
        if maximum_concurrency is not None:
            for mapping in mappings:
                mapping["ScalingConfig"] = {"MaximumConcurrency": maximum_concurrency}
        return self.start_worker_with(f"worker {handler}", _HANDLERS[handler], mappings, state="memory://")

    def start_worker_with(
        self,
        name: str,
        handler: str,
        mappings: Sequence[Mapping[str, Any]],
        *,
        state: str,
        environment: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[Child]:
        """`mappings` as in esm.yaml, of the function `bench`, which is `handler` in a module of this package."""
        file = self.folder / "esm.yaml"
        function = {"Handler": handler, "CodeUri": str(Path(__file__).resolve().parent), "Timeout": 30}
        worker = {"http": f"127.0.0.1:{free_port()}", "state": state}
        file.write_text(yaml.safe_dump({"functions": {"bench": function}, "mappings": [*mappings], "worker": worker}))
        return self.start_client(name, [*shlex.split(self.worker), "-c", str(file)], environment)

    def stop(self, client: Child) -> None:
        """Raises RunFailed if it does not end well."""
        self.stub.end_long_polls()
        client.stop()

    @contextmanager
    def start_client(self, name: str, command: Sequence[str], more: Mapping[str, str] | None = None) -> Iterator[Child]:
        """`more`: of its environment, which leads to the stub."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        environment |= {
            "AWS_ENDPOINT_URL": self.stub.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **(more or {}),
        }
        with started(name, command, folder=self.folder, core=self.core, environment=environment) as child:
            yield child


def measure_speed(bench: Bench, contender: Contender, *, warm_up: int, messages: int) -> Span:
    """`messages` after the first `warm_up` ones. Raises RunFailed."""
    bench.stub.reset(messages=warm_up + messages)
    with bench.start(contender) as client:
        first = bench.stub.wait_deleted(warm_up, by=client, seconds=_START_SECONDS)
        cpu, stub_cpu = client.cpu(), bench.stub.child.cpu()
        last = bench.stub.wait_deleted(warm_up + messages, by=client, seconds=_START_SECONDS + messages / _SLOWEST)
        span = Span(
            messages=last["deleted"] - first["deleted"],
            cpu=client.cpu() - cpu,
            wall=last["last_deleted"] - first["now"],
            stub_cpu=bench.stub.child.cpu() - stub_cpu,
        )
        if last["unknown_handles"]:
            raise RunFailed(f"{client.name} deleted {last['unknown_handles']} messages that it did not have")
        bench.stop(client)
    return span


def measure_idle(bench: Bench, *, queues: int, seconds: float) -> Idle:
    """The worker with `queues` mappings on queues without messages. Raises RunFailed.

    Receives come in steps of a long poll: `seconds` should be a multiple of those 20.
    """
    bench.stub.reset(messages=0)
    with bench.start_worker("async def", queues=queues, maximum_concurrency=None) as client:
        _wait_polled(bench.stub, queues, by=client)
        sleep_beside(client, _SETTLE_SECONDS)
        first, cpu = bench.stub.stats(), client.cpu()
        sleep_beside(client, seconds)
        last, used = bench.stub.stats(), client.cpu() - cpu
        passed = last["now"] - first["now"]
        receives = last["requests"]["ReceiveMessage"] - first["requests"]["ReceiveMessage"]
        idle = Idle(
            queues=queues,
            seconds=passed,
            core_share=used / passed,
            receives_per_minute=receives / queues / (passed / 60),
            memory=client.memory(),
        )
        bench.stop(client)
    return idle


def measure_memory(bench: Bench, *, marks: Sequence[int]) -> Memory:
    """The worker's memory when each of `marks` messages (rising) are deleted. Raises RunFailed."""
    bench.stub.reset(messages=marks[-1])
    seen: list[tuple[int, int]] = []
    with bench.start_worker("async def", queues=1, maximum_concurrency=bench.in_flight) as client:
        done = 0
        for mark in marks:
            bench.stub.wait_deleted(mark, by=client, seconds=_START_SECONDS + (mark - done) / _SLOWEST)
            seen.append((mark, client.memory()))
            done = mark
        bench.stop(client)
    return Memory(marks=seen)


def _wait_polled(stub: Stub, queues: int, *, by: Child) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while (polled := len(stub.stats()["receives_of_queue"])) < queues:
        by.check_alive()
        if time.monotonic() > deadline:
            raise RunFailed(f"{by.name} polled {polled} of {queues} queues in {_START_SECONDS:.0f} s\n{by.tail()}")
        time.sleep(0.2)
