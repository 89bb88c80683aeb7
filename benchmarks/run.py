"""Measures the worker against a plain aiobotocore loop: `python -m benchmarks.run` (also `make bench`).

Without a flag it runs everything, some of it shortened; `--speed`, `--idle`, `--memory` (SQS), `--streams`, `--latency` and
`--shards` choose parts and run them in full. Clients take turns in every round and medians are shown, because the machine's speed
drifts: compare figures of one run, not of two. Results go to benchmarks/results/latest.json. Exits with 1 if a run failed.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn, Protocol, TypeVar

from rich.console import Console

from benchmarks.measure import Bench, Contender, measure_idle, measure_memory, measure_speed
from benchmarks.measure_latency import measure_latency
from benchmarks.measure_streams import (
    Shape,
    StreamContender,
    measure_busy_shards,
    measure_idle_shards,
    measure_stream,
)
from benchmarks.processes import RunFailed, cores, pin
from benchmarks.results import Plan, Results, cpu_per_100k, write
from benchmarks.show import show
from benchmarks.stub_control import started_stub
from benchmarks.stub_streams import Filling

_CONTENDERS: Final = (
    Contender(client="plain loop", handler="async def"),
    Contender(client="worker", handler="async def"),
    Contender(client="plain loop", handler="def"),
    Contender(client="worker", handler="def"),
)
_RESULTS: Final = Path(__file__).resolve().parent / "results" / "latest.json"
_BODY_SIZE: Final = 256
_FIRST_MARK: Final = 50_000
_MARK_STEP: Final = 100_000
_BUSY_BATCH: Final = 100
_BUSY_PAUSE: Final = 10.0
_BUSY_PAGES: Final = 100
_SEED: Final = 3


class _Named(Protocol):
    @property
    def name(self) -> str: ...


C = TypeVar("C", bound=_Named)
P = TypeVar("P")


def stream_contenders(pages: int) -> tuple[StreamContender, ...]:
    """Each shard holds so many pages. Enough shards that five reads a second of each are not the limit (KIN-12)."""
    shapes = (
        Shape(source="kinesis", filling=Filling(shards=60, records=1000 * pages, page=1000, size=200)),
        Shape(source="kinesis", filling=Filling(shards=300, records=100 * pages, page=100, size=1000)),
        Shape(source="dynamodb", filling=Filling(shards=300, records=100 * pages, page=100, size=1000)),
    )
    return tuple(
        StreamContender(client=client, shape=shape)
        for shape in shapes
        for client in ("plain loop", "worker async def", "worker def")
    )


def memory_marks(messages: int) -> list[int]:
    """Where memory is read: after the first 50,000 messages (all, if there are fewer), then every 100,000."""
    return sorted({min(_FIRST_MARK, messages), *range(_MARK_STEP, messages + 1, _MARK_STEP), messages})


def run(plan: Plan, console: Console) -> Results:
    """Run the parts of the plan one after the other; a part that fails is in `failures`, the others still run."""
    results = Results()
    pair = cores()
    stub_core, client_core = pair or (None, None)
    if pair is None:
        console.print("[yellow]stub and client share cores here: take the figures with care[/]")
    # The harness wakes up only now and then; it must not do so on the client's core.
    pin(0, stub_core)
    with (
        tempfile.TemporaryDirectory(prefix="esm-bench-") as name,
        started_stub(folder=Path(name), core=stub_core, body_size=_BODY_SIZE) as stub,
    ):
        folder = Path(name)
        bench = Bench(
            stub=stub, folder=folder, core=client_core, stub_core=stub_core, worker=plan.worker, in_flight=plan.in_flight
        )
        _run_queues(plan, bench, results, console)
        _run_streams(plan, bench, results, console)
    return results


def _run_queues(plan: Plan, bench: Bench, results: Results, console: Console) -> None:
    def speed(contender: Contender) -> str:
        span = measure_speed(bench, contender, warm_up=plan.warm_up, messages=plan.messages)
        results.speed.setdefault(contender, []).append(span)
        return f"{cpu_per_100k([span])[0]:.2f} CPU s / 100k, {span.messages / span.wall:,.0f} messages/s"

    _take_turns(plan.rounds, _CONTENDERS, speed, results, console)
    if plan.idle_seconds:
        with _noted(results, console, f"{plan.idle_queues} idle queues for {plan.idle_seconds:.0f} s"):
            results.idle = measure_idle(bench, queues=plan.idle_queues, seconds=plan.idle_seconds)
    if plan.memory_messages:
        with _noted(results, console, f"memory over {plan.memory_messages:,} messages"):
            results.memory = measure_memory(bench, marks=memory_marks(plan.memory_messages))


def _run_streams(plan: Plan, bench: Bench, results: Results, console: Console) -> None:
    def speed(contender: StreamContender) -> str:
        span = measure_stream(bench, contender)
        results.streams.setdefault(contender, []).append(span)
        return f"{span.cpu_per_million:.1f} CPU s / 1M, {span.records / span.wall:,.0f} records/s"

    contenders = stream_contenders(plan.stream_pages)
    _take_turns(plan.stream_rounds, contenders, speed, results, console)
    if plan.latencies:
        with _noted(results, console, f"{plan.latencies} records of each stream at random moments"):
            results.latency = measure_latency(bench, samples=plan.latencies, seed=_SEED)
    for shards in plan.idle_shards:
        with _noted(results, console, f"{shards:,} idle shards for {plan.shard_seconds:.0f} s"):
            results.idle_shards.append(measure_idle_shards(bench, shards=shards, seconds=plan.shard_seconds))
    if plan.busy_shards:
        filling = Filling(shards=plan.busy_shards, records=1000 * _BUSY_PAGES, page=1000, size=200)
        with _noted(results, console, f"{plan.busy_shards:,} full shards for {plan.busy_seconds:.0f} s"):
            results.busy_shards = measure_busy_shards(
                bench, filling=filling, batch=_BUSY_BATCH, pause=_BUSY_PAUSE, seconds=plan.busy_seconds
            )


def _take_turns(rounds: int, contenders: Sequence[C], measure: Callable[[C], str], results: Results, console: Console) -> None:
    """`measure` gives what is shown of it. Whoever fails sits out the rounds that follow."""
    failed: set[C] = set()
    for number in range(rounds):
        # Forwards, then backwards: a drift of the machine hits all clients alike.
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            if contender in failed:
                continue
            failed.add(contender)
            with _noted(results, console, f"round {number + 1} of {rounds}: {contender.name}"):
                console.print(f"  {measure(contender)}")
                failed.remove(contender)


@contextmanager
def _noted(results: Results, console: Console, what: str) -> Iterator[None]:
    """Say what runs; a failed run is noted and shown, and ends nothing else."""
    console.print(what, style="dim")
    try:
        yield
    except RunFailed as failure:
        results.failures.append(f"{what}: {failure}")
        console.print(f"failed: {failure}", style="red", markup=False)


def plan_from(argv: list[str] | None) -> Plan:
    chosen = _parser().parse_args(argv)
    everything = not (chosen.speed or chosen.idle or chosen.memory or chosen.streams or chosen.latency or chosen.shards)
    quick = chosen.quick

    def part(wanted: bool, in_full: P, shortened: P, quickly: P, none: P) -> P:
        """A part's extent: `wanted` by name, as one of all, or not at all."""
        if not (wanted or everything):
            return none
        return quickly if quick else in_full if wanted else shortened

    only_memory = chosen.memory and not chosen.speed
    memory_messages = (only_memory and chosen.messages) or part(chosen.memory, 1_000_000, 300_000, 100_000, 0)
    rounds = chosen.rounds or (2 if quick else 5)
    return Plan(
        rounds=part(chosen.speed, rounds, rounds, rounds, 0),
        messages=chosen.messages or (20_000 if quick else 100_000),
        warm_up=2_000 if quick else 5_000,
        idle_queues=20,
        idle_seconds=part(chosen.idle, chosen.seconds or 60, chosen.seconds or 40, chosen.seconds or 20, 0),
        memory_messages=memory_messages,
        in_flight=chosen.in_flight,
        stream_rounds=part(chosen.streams, rounds, rounds, rounds, 0),
        stream_pages=3 if quick else 5,
        latencies=part(chosen.latency, 100, 60, 15, 0),
        idle_shards=part(chosen.shards, (1, 10, 100, 1000), (1, 10, 100, 1000), (1, 10, 100), ()),
        shard_seconds=chosen.seconds or part(chosen.shards, 20, 10, 5, 0),
        busy_shards=part(chosen.shards, 1000, 1000, 100, 0),
        busy_seconds=part(chosen.shards, 80, 60, 20, 0),
        worker=chosen.worker,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--speed", action="store_true", help="SQS: the speed table")
    parser.add_argument("--idle", action="store_true", help="SQS: 20 idle queues for 60 s")
    parser.add_argument("--memory", action="store_true", help="SQS: memory over 1,000,000 messages")
    parser.add_argument("--streams", action="store_true", help="streams: the speed table")
    parser.add_argument("--latency", action="store_true", help="streams: from put to handler at idle, 100 records of each")
    parser.add_argument(
        "--shards", action="store_true", help="streams: cost of 1 to 1,000 idle shards, memory of 1,000 full ones"
    )
    parser.add_argument("--quick", action="store_true", help="fewer messages, rounds and seconds: does it work at all?")
    parser.add_argument("--messages", type=int, help="SQS: per round (100,000), or of the memory part if that alone was chosen")
    parser.add_argument("--rounds", type=int, help="turns of every client (5)")
    parser.add_argument("--seconds", type=float, help="of the idle parts; for SQS whole long polls (20 s) count exactly")
    parser.add_argument("--in-flight", type=int, default=10, help="SQS: MaximumConcurrency, and loops of the plain loop (10)")
    parser.add_argument(
        "--worker", default=f"{sys.executable} -m runtime run", help="the command that runs the worker; `-c FILE` is added"
    )
    return parser


def _exit_on_signal(number: int, frame: object) -> NoReturn:  # noqa: ARG001  the signature of a signal handler
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)  # a second one must not cut off the ending of the children
    sys.exit(128 + number)


def main(argv: list[str] | None = None) -> int:
    plan = plan_from(argv)
    console = Console()
    # Leaving through an exception ends the children, whatever the signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_on_signal)
    try:
        results = run(plan, console)
    except RunFailed as failure:
        console.print(f"failed: {failure}", style="red", markup=False)
        return 1
    show(results, console)
    write(results, plan, _RESULTS)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
