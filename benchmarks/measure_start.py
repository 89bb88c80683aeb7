"""How long the worker takes from the start of its process until it first asks its source, with all that is imported before."""

import statistics
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal

from benchmarks.bench import START_SECONDS, Bench, WorkerClient
from benchmarks.measure import HANDLERS, queue_mapping
from benchmarks.measure_streams import ARNS, STREAM_HANDLERS, new_state, stream_mapping
from benchmarks.processes import Child, RunFailed
from benchmarks.scenarios import scenario_of
from benchmarks.stub_streams import Filling

StartSource = Literal["sqs", "kinesis"]

_LOOK_EVERY: Final = 0.05
"""Seconds between questions to the stub, which notes the time itself. They cost the client's core nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    client: WorkerClient
    source: StartSource
    seconds: list[float]
    """From just before the process was made to the first ReceiveMessage or GetRecords at the stub."""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def measure_start(bench: Bench, client: WorkerClient, source: StartSource, *, times: int) -> Start:
    """Raises RunFailed."""
    return Start(client=client, source=source, seconds=[_start_once(bench, client, source) for _ in range(times)])


def _start_once(bench: Bench, client: WorkerClient, source: StartSource) -> float:
    bench.stub.reset(messages=0)
    bench.stub.reset_streams(Filling(shards=1))
    with _started(bench, client, source) as child:
        deadline = time.monotonic() + START_SECONDS
        while True:
            stats: dict[str, Any] = bench.stub.stats()
            came, now = time.monotonic(), float(stats["now"])  # the same moment, but for the way back, on two clocks
            asked: float | None = stats["first_asked"] if source == "sqs" else stats["streams"]["first_asked"]
            if asked is not None:
                break
            child.check_alive()
            if came > deadline:
                raise RunFailed(f"{child.name} asked for nothing within {START_SECONDS:.0f} s\n{child.tail()}")
            time.sleep(_LOOK_EVERY)
        bench.stop(child)
    return came - (now - asked) - child.began


def _started(bench: Bench, client: WorkerClient, source: StartSource) -> AbstractContextManager[Child]:
    if source == "sqs":
        scenario = scenario_of("sqs-10")
        return bench.start_worker(client, HANDLERS[scenario.handler], [queue_mapping(0, scenario)], state="memory://")
    mappings = [stream_mapping(source, ARNS[source], batch=100)]
    return bench.start_worker(client, STREAM_HANDLERS["async def"], mappings, state=new_state(bench.folder))
