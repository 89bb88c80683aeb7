"""Where measurements run, how clients are started there, and what they used between two moments.

A client is any child process that takes records from the stub. It is judged only by what the stub and its handler have seen, by
its CPU time and memory as the system counts them, and by its exit with 0 on SIGTERM; a worker also by its own histograms.
"""

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from benchmarks.metrics import Histogram, read_histogram, scrape
from benchmarks.node_client import NodeClient
from benchmarks.processes import Child, RunFailed, free_port, sleep_beside, started
from benchmarks.stub_control import Stub
from benchmarks.stub_queues import REGION

WorkerClient = Literal["sdk", "lean"]

START_SECONDS: Final = 60.0
"""How long a client may take until it works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a client used between two moments of steady work."""

    records: float
    """Mean of those that it was given and those that it finished: batches in hand at either end count half."""
    cpu: float
    """User and system seconds."""
    wall: float
    """Seconds."""
    stub_cpu: float
    """Seconds of the stub: near `wall` it was the limit, and records/s say nothing about the client."""
    read_ahead: int
    """Records given and not finished: by how many that was more at the end than at the beginning."""
    peak: int
    """Resident bytes at most, since its start."""
    wait_p50: float | None
    """Seconds from first record received to handler invoked, from the worker's histogram; None for others."""
    wait_p99: float | None
    mean_batch: float | None
    """Records of an invocation, likewise."""

    @property
    def cpu_per_100k(self) -> float:
        return self.cpu / self.records * 100_000

    @property
    def records_per_second(self) -> float:
        return self.records / self.wall

    @property
    def stub_share(self) -> float:
        return self.stub_cpu / self.wall

    @property
    def core_share(self) -> float:
        """Well below 1: the client waited for the stub, for its own pace, or for other processes on its core."""
        return self.cpu / self.wall


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    given: int
    finished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The stub, a folder for files, the cores of client and stub, and how the worker is started."""

    stub: Stub
    folder: Path
    core: int | None
    stub_core: int | None
    worker: str
    """A command; `-c FILE` is added."""
    node: NodeClient | None

    @contextmanager
    def start_worker(
        self,
        client: WorkerClient,
        handler: str,
        mappings: Sequence[Mapping[str, Any]],
        *,
        state: str,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Child]:
        """`mappings` as in esm.yaml, of the function `bench`, which is `handler` in a module of this package."""
        file, port = self.folder / "esm.yaml", free_port()
        function = {"Handler": handler, "CodeUri": str(Path(__file__).resolve().parent), "Timeout": 30}
        worker = {"http": f"127.0.0.1:{port}", "state": state, "client": client}
        file.write_text(yaml.safe_dump({"functions": {"bench": function}, "mappings": [*mappings], "worker": worker}))
        with self.start_client(f"worker {client}", [*shlex.split(self.worker), "-c", str(file)], environment) as child:
            child.metrics_port = port
            yield child

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

    def stop(self, client: Child) -> None:
        """Raises RunFailed if it does not end well."""
        self.stub.end_long_polls()
        client.stop()

    def watch(
        self, client: Child, counts: Callable[[], Counts], seconds: float, *, align: Callable[[], None] = lambda: None
    ) -> Span:
        """What `client` does in the next so many seconds. Raises RunFailed if that is nothing.

        `align` returns at a moment that is like others, where work comes in waves: the span goes from one to another.
        """
        waits, batches = _histograms(client)
        align()
        began, before, cpu, stub_cpu = time.monotonic(), counts(), client.cpu(), self.stub.child.cpu()
        sleep_beside(client, seconds)
        align()
        ended, after, used, stub_used = time.monotonic(), counts(), client.cpu() - cpu, self.stub.child.cpu() - stub_cpu
        waits_after, batches_after = _histograms(client)
        given, finished = after.given - before.given, after.finished - before.finished
        if not finished:
            raise RunFailed(f"{client.name} finished no record in {seconds:.0f} s\n{client.tail()}")
        waits, batches = waits_after.since(waits), batches_after.since(batches)
        return Span(
            records=(given + finished) / 2,
            cpu=used,
            wall=ended - began,
            stub_cpu=stub_used,
            read_ahead=given - finished,
            peak=client.peak_memory(),
            wait_p50=waits.quantile(0.5),
            wait_p99=waits.quantile(0.99),
            mean_batch=batches.mean,
        )


def _histograms(client: Child) -> tuple[Histogram, Histogram]:
    """Batch waits and batch sizes; empty for what is no worker."""
    text = "" if client.metrics_port is None else scrape(client.metrics_port)
    return read_histogram(text, "esm_batch_wait_seconds"), read_histogram(text, "esm_batch_records")
