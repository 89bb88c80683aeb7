"""The measurements of SQS: CPU of a scenario's messages, cost of idle queues, memory over time."""

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.bench import START_SECONDS, Bench, Counts, Span, WorkerClient
from benchmarks.processes import Child, RunFailed, sleep_beside
from benchmarks.scenarios import HandlerKind, Row, Scenario, scenario_of
from benchmarks.stub_control import Stub
from benchmarks.stub_queues import queue_arn

HANDLERS: Final[dict[HandlerKind, str]] = {"async def": "trivial_handler.on_loop", "def": "trivial_handler.in_thread"}
ENDLESS: Final = 10**9
"""More messages, or records of a shard, than any client takes in a measurement."""
_WARM_UP_BATCHES: Final = 2
_LEAST_WARM_UP: Final = 2_000
"""Messages: the worker starts with one receive and comes to all of them meanwhile."""
_SETTLE: Final = 0.5
"""Seconds more, until the rate is steady."""
_COMPILE: Final = 4.0
"""The same for Node, which costs twice as much until V8 has compiled what is hot."""
_SLOWEST: Final = 1_000
"""Messages a second below which a run counts as stuck."""
_SETTLE_SECONDS: Final = 3.0
"""Between the first receive of every idle queue and the measurement, so that start-up is over."""


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


def queue_mapping(number: int, scenario: Scenario) -> dict[str, Any]:
    """As in esm.yaml."""
    mapping: dict[str, Any] = {
        "name": f"bench-{number}",
        "FunctionName": "bench",
        "EventSourceArn": queue_arn(f"bench-{number}"),
        "BatchSize": scenario.batch,
        "ScalingConfig": {"MaximumConcurrency": scenario.in_flight},
    }
    if scenario.window:
        mapping["MaximumBatchingWindowInSeconds"] = scenario.window
    return mapping


def start_queue_row(bench: Bench, row: Row) -> AbstractContextManager[Child]:
    """Raises RunFailed."""
    scenario = row.scenario
    if row.client == "plain":
        command = [sys.executable, "-m", "benchmarks.plain_loop", "--queue-arn", queue_arn("bench-0")]
        command += ["--concurrency", str(scenario.in_flight), "--handler", scenario.handler]
        return bench.start_client(row.client, command)
    if row.client == "sqs-consumer":
        if bench.node is None:
            raise RunFailed("sqs-consumer is not installed")
        return bench.start_client(row.client, bench.node.command(queue_arn("bench-0"), scenario.in_flight))
    mappings = [queue_mapping(0, scenario)]
    return bench.start_worker(row.client, HANDLERS[scenario.handler], mappings, state="memory://")


def measure_queue(bench: Bench, row: Row, *, seconds: float) -> Span:
    """So many seconds of steady work. Raises RunFailed."""
    bench.stub.reset(messages=ENDLESS, body=row.scenario.size)
    with start_queue_row(bench, row) as client:
        wait_warm(bench, row, client)
        span = bench.watch(client, lambda: _counts(bench.stub), seconds)
        if unknown := bench.stub.stats()["unknown_handles"]:
            raise RunFailed(f"{client.name} deleted {unknown} messages that it did not have")
        bench.stop(client)
    return span


def wait_warm(bench: Bench, row: Row, client: Child) -> None:
    """Raises RunFailed."""
    messages = max(_LEAST_WARM_UP, _WARM_UP_BATCHES * row.scenario.batch)
    bench.stub.wait_deleted(messages, by=client, seconds=START_SECONDS)
    sleep_beside(client, _COMPILE if row.client == "sqs-consumer" else _SETTLE)


def measure_idle(bench: Bench, *, queues: int, seconds: float) -> Idle:
    """The worker with `queues` mappings on queues without messages. Raises RunFailed.

    Receives come in steps of a long poll: `seconds` should be a multiple of those 20.
    """
    bench.stub.reset(messages=0)
    scenario = scenario_of("sqs-10")
    mappings = [queue_mapping(number, scenario) for number in range(queues)]
    with bench.start_worker("lean", HANDLERS[scenario.handler], mappings, state="memory://") as client:
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


def measure_memory(bench: Bench, client: WorkerClient, *, marks: Sequence[int]) -> Memory:
    """The worker's memory when each of `marks` messages (rising) are deleted. Raises RunFailed."""
    bench.stub.reset(messages=marks[-1])
    seen: list[tuple[int, int]] = []
    with start_queue_row(bench, Row(scenario=scenario_of("sqs-10"), client=client)) as child:
        done = 0
        for mark in marks:
            bench.stub.wait_deleted(mark, by=child, seconds=START_SECONDS + (mark - done) / _SLOWEST)
            seen.append((mark, child.memory()))
            done = mark
        bench.stop(child)
    return Memory(marks=seen)


def _counts(stub: Stub) -> Counts:
    stats = stub.stats()
    return Counts(given=stats["received"], finished=stats["deleted"])


def _wait_polled(stub: Stub, queues: int, *, by: Child) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (polled := len(stub.stats()["receives_of_queue"])) < queues:
        by.check_alive()
        if time.monotonic() > deadline:
            raise RunFailed(f"{by.name} polled {polled} of {queues} queues in {START_SECONDS:.0f} s\n{by.tail()}")
        time.sleep(0.2)
