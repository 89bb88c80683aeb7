"""The measurements of streams: CPU of so many records, cost of idle shards, memory of many shards at once.

What a client was given is counted by its handler, in memory that it shares with the harness: a stream does not show what was
delivered, only what was read.
"""

import itertools
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.bench import START_SECONDS, Bench, Counts, Span, WorkerClient
from benchmarks.measure import ENDLESS
from benchmarks.processes import Child, RunFailed, sleep_beside
from benchmarks.scenarios import HandlerKind, Row
from benchmarks.stream_handlers import COUNT, PAUSE, counter
from benchmarks.stub_streams import DYNAMODB_ARN, KINESIS_ARN, Filling

StreamSource = Literal["kinesis", "dynamodb"]

ARNS: Final[dict[StreamSource, str]] = {"kinesis": KINESIS_ARN, "dynamodb": DYNAMODB_ARN}
STREAM_HANDLERS: Final[dict[HandlerKind, str]] = {"async def": "stream_handlers.on_loop", "def": "stream_handlers.in_thread"}
_SLOW: Final = "stream_handlers.slow"
_LOOK_EVERY: Final = 0.01
"""Seconds between looks at the count."""
_START_OF_A_SHARD: Final = 0.3
"""Seconds more for each; far more than it should take."""
_SETTLE_SECONDS: Final = 5.0
_WARM_UP_WAVES: Final = 2
"""Batches of each shard: all were opened by then, on average."""
_WAVE_SECONDS: Final = 60.0
"""For a batch of each shard; far more than it should take."""
_FINISH_SECONDS: Final = 60.0
"""For what a client has read ahead when the shards end."""
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleShards:
    client: WorkerClient
    shards: int
    seconds: float
    core_share: float
    """CPU seconds per second."""
    reads_per_second: float
    """Of one shard."""
    memory: int
    """Resident bytes at the end."""
    start: float
    """Seconds from the start of the process until every shard was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyShards:
    """Shards that hold more than their slow handlers can take, so that reading runs as far ahead as it may."""

    shards: int
    marks: list[tuple[float, int]]
    """Seconds since all shards were read, resident bytes."""
    peak: int
    in_hand: int
    """Records read and not delivered, at the end."""
    reads_per_second: float


class _Watched:
    """A client that runs, and the count that its handler keeps."""

    def __init__(self, bench: Bench, child: Child, count: memoryview) -> None:
        self.child = child
        self._bench = bench
        self._count = count

    @property
    def count(self) -> int:
        return int(self._count[0])

    def counts(self) -> Counts:
        return Counts(given=self._bench.stub.stream_stats()["given"], finished=self.count)

    def wait_wave(self, wave: int) -> None:
        """Until the count passes a multiple of `wave`. Raises RunFailed."""
        self.wait((self.count // wave + 1) * wave, seconds=_WAVE_SECONDS)

    def wait(self, count: int, *, seconds: float) -> None:
        """Until so many records were delivered. Raises RunFailed."""
        deadline = time.monotonic() + seconds
        while self.count < count:
            time.sleep(_LOOK_EVERY)
            self.child.check_alive()
            if time.monotonic() > deadline:
                raise RunFailed(f"{self.child.name} took {self.count} of {count} records in {seconds:.0f} s\n{self.child.tail()}")


def measure_stream(bench: Bench, row: Row, *, seconds: float) -> Span:
    """So many seconds of steady work, and that each record that was read was delivered once. Raises RunFailed.

    A worker that is the limit reads all shards and then delivers to all, in waves of up to a second: the span begins and ends
    where every shard has had as many batches as the others.
    """
    scenario = row.scenario
    wave = scenario.batch * scenario.shards
    bench.stub.reset_streams(Filling(shards=scenario.shards, records=ENDLESS, page=scenario.batch, size=scenario.size))
    with started_row(bench, row) as client:
        client.wait(_WARM_UP_WAVES * wave, seconds=START_SECONDS)
        span = bench.watch(client.child, client.counts, seconds, align=lambda: client.wait_wave(wave))
        records = bench.stub.end_shards()
        client.wait(records, seconds=_FINISH_SECONDS)
        bench.stop(client.child)
        if client.count != records:
            raise RunFailed(f"{row.name} took {client.count} records, but there were {records}")
    return span


def measure_idle_shards(bench: Bench, client_kind: WorkerClient, *, shards: int, seconds: float) -> IdleShards:
    """The worker with one mapping of a Kinesis stream whose shards stay empty. Raises RunFailed."""
    bench.stub.reset_streams(Filling(shards=shards))
    began = time.monotonic()
    with _started_worker(bench, client_kind, "kinesis", batch=100, handler=STREAM_HANDLERS["async def"]) as client:
        _wait_read(bench, client.child, shards)
        start = time.monotonic() - began
        sleep_beside(client.child, _SETTLE_SECONDS)
        first, cpu = bench.stub.stream_stats(), client.child.cpu()
        sleep_beside(client.child, seconds)
        last, used = bench.stub.stream_stats(), client.child.cpu() - cpu
        passed = last["now"] - first["now"]
        reads = last["requests"]["kinesis.GetRecords"] - first["requests"]["kinesis.GetRecords"]
        idle = IdleShards(
            client=client_kind,
            shards=shards,
            seconds=passed,
            core_share=used / passed,
            reads_per_second=reads / shards / passed,
            memory=client.child.memory(),
            start=start,
        )
        bench.stop(client.child)
    return idle


def measure_busy_shards(bench: Bench, *, filling: Filling, batch: int, pause: float, seconds: float) -> BusyShards:
    """The worker on full shards, with a handler that takes `pause` seconds for a batch of `batch`. Raises RunFailed."""
    bench.stub.reset_streams(filling)
    more = {PAUSE: str(pause)}
    with _started_worker(bench, "lean", "kinesis", batch=batch, handler=_SLOW, more=more) as client:
        _wait_read(bench, client.child, filling.shards)
        began, marks = time.monotonic(), [(0.0, client.child.memory())]
        reads = bench.stub.stream_stats()["requests"]["kinesis.GetRecords"]
        while (passed := time.monotonic() - began) < seconds:
            sleep_beside(client.child, min(seconds / 8, seconds - passed))
            marks.append((time.monotonic() - began, client.child.memory()))
        stats, done = bench.stub.stream_stats(), client.count
        busy = BusyShards(
            shards=filling.shards,
            marks=marks,
            peak=client.child.peak_memory(),
            in_hand=stats["given"] - done,
            reads_per_second=(stats["requests"]["kinesis.GetRecords"] - reads) / marks[-1][0],
        )
        bench.stop(client.child)
    return busy


def stream_mapping(source: StreamSource, arn: str, *, batch: int) -> dict[str, Any]:
    """As in esm.yaml."""
    position = {"StartingPosition": "TRIM_HORIZON", "BatchSize": batch}
    return {"name": f"bench-{source}", "FunctionName": "bench", "EventSourceArn": arn, **position}


def new_state(folder: Path) -> str:
    """A state file that is not there yet."""
    return f"sqlite:///{folder / f'state-{next(_numbers)}.db'}"


@contextmanager
def started_row(bench: Bench, row: Row) -> Iterator[_Watched]:
    scenario = row.scenario
    if scenario.source == "sqs" or row.client == "sqs-consumer":
        raise RunFailed(f"{row.name} reads no stream")
    if row.client == "plain":
        command = [sys.executable, "-m", "benchmarks.plain_stream_loop", "--source", scenario.source]
        command += ["--shards", str(scenario.shards), "--page", str(scenario.batch)]
        file = _new_count(bench.folder)
        with bench.start_client("plain stream loop", command, {COUNT: str(file)}) as child:
            yield _Watched(bench, child, counter(file))
        return
    handler = STREAM_HANDLERS[scenario.handler]
    with _started_worker(bench, row.client, scenario.source, batch=scenario.batch, handler=handler) as watched:
        yield watched


@contextmanager
def _started_worker(
    bench: Bench,
    client: WorkerClient,
    source: StreamSource,
    *,
    batch: int,
    handler: str,
    more: Mapping[str, str] | None = None,
) -> Iterator[_Watched]:
    file = _new_count(bench.folder)
    started = bench.start_worker(
        client,
        handler,
        [stream_mapping(source, ARNS[source], batch=batch)],
        state=new_state(bench.folder),
        environment={COUNT: str(file), **(more or {})},
    )
    with started as child:
        yield _Watched(bench, child, counter(file))


def _new_count(folder: Path) -> Path:
    file = folder / f"count-{next(_numbers)}"
    file.write_bytes(bytes(8))
    return file


def _wait_read(bench: Bench, client: Child, shards: int) -> None:
    seconds = START_SECONDS + _START_OF_A_SHARD * shards
    deadline = time.monotonic() + seconds
    while (read := bench.stub.stream_stats()["read_shards"]) < shards:
        client.check_alive()
        if time.monotonic() > deadline:
            raise RunFailed(f"{client.name} read {read} of {shards} shards in {seconds:.0f} s\n{client.tail()}")
        time.sleep(0.1)
