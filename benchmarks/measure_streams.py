"""The measurements of streams: CPU of so many records, cost of idle shards, memory of many shards at once.

What a client was given is counted by its handler, in memory that it shares with the harness: a stream does not show what was
delivered, only what was read.
"""

import itertools
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.measure import Bench
from benchmarks.processes import Child, RunFailed, sleep_beside
from benchmarks.stream_handlers import COUNT, PAUSE, counter
from benchmarks.stub_streams import DYNAMODB_ARN, KINESIS_ARN, Filling

Source = Literal["kinesis", "dynamodb"]
StreamHandler = Literal["on_loop", "in_thread", "slow"]

ARNS: Final[dict[Source, str]] = {"kinesis": KINESIS_ARN, "dynamodb": DYNAMODB_ARN}
_LOOK_EVERY: Final = 0.01
"""Seconds between looks at the count. Time and CPU are read with it, so a late look makes a span longer and not wrong."""
_WARM_UP_PAGES: Final = 1
"""Of each shard, before the measurement: every shard was opened by then, on average."""
_TAIL: Final = 0.1
"""Share of the records that is not measured either: shards end one by one then."""
_START_SECONDS: Final = 60.0
_START_OF_A_SHARD: Final = 0.3
"""Seconds more for each; far more than it should take."""
_SETTLE_SECONDS: Final = 5.0
_SLOWEST: Final = 500
"""Records a second below which a run counts as stuck."""
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One row of the table: what is read."""

    source: Source
    filling: Filling

    @property
    def name(self) -> str:
        return f"{self.source} {self.filling.page:,} x {self.filling.size:,} B"

    @property
    def records(self) -> int:
        return self.filling.shards * self.filling.records


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamContender:
    client: Literal["plain loop", "worker async def", "worker def"]
    shape: Shape

    @property
    def name(self) -> str:
        return f"{self.shape.name}: {self.client}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpan:
    """What a client used between two instants."""

    records: int
    cpu: float
    """User and system seconds."""
    wall: float
    stub_cpu: float
    """Seconds of the stub: near `wall` it was the limit."""
    read_ahead: int
    """Records read and not yet delivered: by how many that was more at the end than at the beginning."""
    peak: int
    """Resident bytes at most."""

    @property
    def cpu_per_million(self) -> float:
        return self.cpu / self.records * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleShards:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    count: int
    at: float
    cpu: float
    stub_cpu: float
    given: int


class _Watched:
    """A client that runs, and the count that its handler keeps."""

    def __init__(self, bench: Bench, child: Child, count: memoryview) -> None:
        self.child = child
        self._bench = bench
        self._count = count

    @property
    def count(self) -> int:
        return int(self._count[0])

    def wait(self, count: int, *, seconds: float) -> _Moment:
        """When so many records were delivered. Raises RunFailed."""
        deadline = time.monotonic() + seconds
        while self.count < count:
            time.sleep(_LOOK_EVERY)
            self.child.check_alive()
            if time.monotonic() > deadline:
                raise RunFailed(f"{self.child.name} took {self.count} of {count} records in {seconds:.0f} s\n{self.child.tail()}")
        stub = self._bench.stub
        done, at, cpu, stub_cpu = self.count, time.monotonic(), self.child.cpu(), stub.child.cpu()
        return _Moment(count=done, at=at, cpu=cpu, stub_cpu=stub_cpu, given=stub.stream_stats()["given"])


def measure_stream(bench: Bench, contender: StreamContender) -> StreamSpan:
    """The records between the warm-up and the end, and that each was delivered once. Raises RunFailed."""
    shape = contender.shape
    bench.stub.reset_streams(shape.filling)
    with _watched(bench, contender) as client:
        warm_up = _WARM_UP_PAGES * shape.filling.page * shape.filling.shards
        first = client.wait(warm_up, seconds=_START_SECONDS)
        last = client.wait(int(shape.records * (1 - _TAIL)), seconds=_START_SECONDS + shape.records / _SLOWEST)
        client.wait(shape.records, seconds=_START_SECONDS + shape.records * _TAIL / _SLOWEST)
        peak = client.child.peak_memory()
        bench.stop(client.child)
        if client.count != shape.records:
            raise RunFailed(f"{contender.name} took {client.count} records, but there were {shape.records}")
    return StreamSpan(
        records=last.count - first.count,
        cpu=last.cpu - first.cpu,
        wall=last.at - first.at,
        stub_cpu=last.stub_cpu - first.stub_cpu,
        read_ahead=(last.given - last.count) - (first.given - first.count),
        peak=peak,
    )


def measure_idle_shards(bench: Bench, *, shards: int, seconds: float) -> IdleShards:
    """The worker with one mapping of a Kinesis stream whose shards stay empty. Raises RunFailed."""
    bench.stub.reset_streams(Filling(shards=shards))
    began = time.monotonic()
    with _started_worker(bench, "kinesis", page=100, handler="on_loop") as client:
        _wait_read(bench, client.child, shards)
        start = time.monotonic() - began
        sleep_beside(client.child, _SETTLE_SECONDS)
        first, cpu = bench.stub.stream_stats(), client.child.cpu()
        sleep_beside(client.child, seconds)
        last, used = bench.stub.stream_stats(), client.child.cpu() - cpu
        passed = last["now"] - first["now"]
        reads = last["requests"]["kinesis.GetRecords"] - first["requests"]["kinesis.GetRecords"]
        idle = IdleShards(
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
    with _started_worker(bench, "kinesis", page=batch, handler="slow", more=more) as client:
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


def stream_mapping(source: Source, arn: str, *, batch: int) -> dict[str, Any]:
    """As in esm.yaml."""
    position = {"StartingPosition": "TRIM_HORIZON", "BatchSize": batch}
    return {"name": f"bench-{source}", "FunctionName": "bench", "EventSourceArn": arn, **position}


def new_state(folder: Path) -> str:
    """A state file that is not there yet."""
    return f"sqlite:///{folder / f'state-{next(_numbers)}.db'}"


def _watched(bench: Bench, contender: StreamContender) -> AbstractContextManager[_Watched]:
    shape = contender.shape
    if contender.client == "plain loop":
        return _started_plain(bench, shape)
    handler: StreamHandler = "on_loop" if contender.client == "worker async def" else "in_thread"
    return _started_worker(bench, shape.source, page=shape.filling.page, handler=handler)


@contextmanager
def _started_plain(bench: Bench, shape: Shape) -> Iterator[_Watched]:
    command = [sys.executable, "-m", "benchmarks.plain_stream_loop", "--source", shape.source]
    command += ["--shards", str(shape.filling.shards), "--page", str(shape.filling.page)]
    file = _new_count(bench.folder)
    with bench.start_client("plain stream loop", command, {COUNT: str(file)}) as child:
        yield _Watched(bench, child, counter(file))


@contextmanager
def _started_worker(
    bench: Bench, source: Source, *, page: int, handler: StreamHandler, more: Mapping[str, str] | None = None
) -> Iterator[_Watched]:
    file = _new_count(bench.folder)
    started = bench.start_worker_with(
        "stream worker",
        f"stream_handlers.{handler}",
        [stream_mapping(source, ARNS[source], batch=page)],
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
    seconds = _START_SECONDS + _START_OF_A_SHARD * shards
    deadline = time.monotonic() + seconds
    while (read := bench.stub.stream_stats()["read_shards"]) < shards:
        client.check_alive()
        if time.monotonic() > deadline:
            raise RunFailed(f"{client.name} read {read} of {shards} shards in {seconds:.0f} s\n{client.tail()}")
        time.sleep(0.1)
