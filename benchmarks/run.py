"""Measures the worker against a plain aiobotocore loop: `python -m benchmarks.run` (also `make bench`).

Without a flag it runs the speed table and short idle and memory parts; `--speed`, `--idle` and `--memory` choose parts
and run them in full. Clients take turns in every round and medians are shown, because the machine's speed drifts: compare
figures of one run, not of two. Results go to benchmarks/results/latest.json. Exits with 1 if a run failed.
"""

import argparse
import json
import platform
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Bench, Contender, Idle, Memory, Span, measure_idle, measure_memory, measure_speed
from benchmarks.processes import RunFailed, cores, pin
from benchmarks.stub_control import started_stub

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
_MEBIBYTE: Final = 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Results:
    speed: dict[Contender, list[Span]] = field(default_factory=dict)
    idle: Idle | None = None
    memory: Memory | None = None
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which parts run, and how far; 0 leaves a part out."""

    rounds: int
    messages: int
    warm_up: int
    idle_queues: int
    idle_seconds: float
    memory_messages: int
    in_flight: int
    worker: str


def cpu_per_100k(spans: list[Span]) -> list[float]:
    return [span.cpu / span.messages * 100_000 for span in spans]


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
        tempfile.TemporaryDirectory(prefix="esm-bench-") as folder,
        started_stub(folder=Path(folder), core=stub_core, body_size=_BODY_SIZE) as stub,
    ):
        bench = Bench(stub=stub, folder=Path(folder), core=client_core, worker=plan.worker, in_flight=plan.in_flight)
        _run_speed(plan, bench, results, console)
        if plan.idle_seconds:
            with _noted(results, console, f"{plan.idle_queues} idle queues for {plan.idle_seconds:.0f} s"):
                results.idle = measure_idle(bench, queues=plan.idle_queues, seconds=plan.idle_seconds)
        if plan.memory_messages:
            with _noted(results, console, f"memory over {plan.memory_messages:,} messages"):
                results.memory = measure_memory(bench, marks=memory_marks(plan.memory_messages))
    return results


def _run_speed(plan: Plan, bench: Bench, results: Results, console: Console) -> None:
    failed: set[Contender] = set()
    for number in range(plan.rounds):
        # Forwards, then backwards: a drift of the machine hits both clients alike.
        for contender in _CONTENDERS if number % 2 == 0 else reversed(_CONTENDERS):
            if contender in failed:
                continue
            failed.add(contender)
            with _noted(results, console, f"round {number + 1} of {plan.rounds}: {contender.name}"):
                span = measure_speed(bench, contender, warm_up=plan.warm_up, messages=plan.messages)
                results.speed.setdefault(contender, []).append(span)
                failed.remove(contender)
                console.print(f"  {cpu_per_100k([span])[0]:.2f} CPU s / 100k, {span.messages / span.wall:,.0f} messages/s")


@contextmanager
def _noted(results: Results, console: Console, what: str) -> Iterator[None]:
    """Say what runs; a failed run is noted and shown, and ends nothing else."""
    console.print(what, style="dim")
    try:
        yield
    except RunFailed as failure:
        results.failures.append(f"{what}: {failure}")
        console.print(f"failed: {failure}", style="red", markup=False)


def show(results: Results, console: Console) -> None:
    if results.speed:
        console.print(_speed_table(results.speed))
        console.print("of plain: CPU against the plain loop with the same handler; stub: how busy the endpoint was", style="dim")
    if idle := results.idle:
        console.print(
            f"idle: {idle.queues} queues, {idle.seconds:.0f} s: {idle.core_share:.2%} of a core, "
            f"{idle.receives_per_minute:.1f} receives per minute and queue, {idle.memory / _MEBIBYTE:.0f} MiB",
            soft_wrap=True,
        )
    if memory := results.memory:
        marks = ", ".join(f"{done // 1000}k: {size / _MEBIBYTE:.1f}" for done, size in memory.marks)
        console.print(f"memory in MiB after messages: {marks}; last / first = {memory.growth:.3f}", soft_wrap=True)


def _speed_table(speed: dict[Contender, list[Span]]) -> Table:
    table = Table(title="SQS: receive 10, handler, delete 10 (medians)", box=box.SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("client, handler", no_wrap=True)
    for column in ("CPU s/100k", "min - max", "messages/s", "of plain", "stub"):
        table.add_column(column, justify="right", no_wrap=True)
    for contender, spans in speed.items():
        figures = cpu_per_100k(spans)
        ratio = cpu_ratio(speed, contender)
        table.add_row(
            f"{contender.client}, {contender.handler}",
            f"{statistics.median(figures):.2f}",
            f"{min(figures):.2f} - {max(figures):.2f}",
            f"{statistics.median(span.messages / span.wall for span in spans):,.0f}",
            "" if ratio is None else f"1/{1 / ratio:.1f}",
            f"{statistics.median(span.stub_cpu / span.wall for span in spans):.0%}",
        )
    return table


def cpu_ratio(speed: dict[Contender, list[Span]], contender: Contender) -> float | None:
    """CPU against the plain loop with the same kind of handler; None when that has no result."""
    baseline = speed.get(Contender(client="plain loop", handler=contender.handler))
    if not baseline:
        return None
    return statistics.median(cpu_per_100k(speed[contender])) / statistics.median(cpu_per_100k(baseline))


def write(results: Results, plan: Plan, file: Path) -> None:
    speed = [
        {
            **asdict(contender),
            "cpu_per_100k": statistics.median(cpu_per_100k(spans)),
            "cpu_per_100k_of_rounds": cpu_per_100k(spans),
            "messages_per_second": statistics.median(span.messages / span.wall for span in spans),
            "cpu_ratio_to_plain_loop": cpu_ratio(results.speed, contender),
            "rounds": [asdict(span) for span in spans],
        }
        for contender, spans in results.speed.items()
    ]
    document: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "system": platform.system(), "processor": platform.machine()},
        "plan": {name: value for name, value in asdict(plan).items() if name != "worker"},
        "speed": speed,
        "idle": asdict(results.idle) if results.idle else None,
        "memory": {"marks": results.memory.marks, "growth": results.memory.growth} if results.memory else None,
        "failures": results.failures,
    }
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n")


def plan_from(argv: list[str] | None) -> Plan:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--speed", action="store_true", help="the speed table")
    parser.add_argument("--idle", action="store_true", help="20 idle queues for 60 s")
    parser.add_argument("--memory", action="store_true", help="memory over 1,000,000 messages")
    parser.add_argument("--quick", action="store_true", help="fewer messages, rounds and seconds: does it work at all?")
    parser.add_argument("--messages", type=int, help="per round (100,000), or of the memory part if that alone was chosen")
    parser.add_argument("--rounds", type=int, help="turns of every client (5)")
    parser.add_argument("--seconds", type=float, help="of the idle part; whole long polls (20 s) count exactly")
    parser.add_argument("--in-flight", type=int, default=10, help="MaximumConcurrency, and loops of the plain loop (10)")
    parser.add_argument(
        "--worker", default=f"{sys.executable} -m runtime run", help="the command that runs the worker; `-c FILE` is added"
    )
    chosen = parser.parse_args(argv)
    everything = not (chosen.speed or chosen.idle or chosen.memory)
    short, quick = everything, chosen.quick
    only_memory = chosen.memory and not chosen.speed
    memory_messages = (only_memory and chosen.messages) or (100_000 if quick else 300_000 if short else 1_000_000)
    return Plan(
        rounds=(chosen.rounds or (2 if quick else 5)) if everything or chosen.speed else 0,
        messages=chosen.messages or (20_000 if quick else 100_000),
        warm_up=2_000 if quick else 5_000,
        idle_queues=20,
        idle_seconds=(chosen.seconds or (20 if quick else 40 if short else 60)) if everything or chosen.idle else 0,
        memory_messages=memory_messages if everything or chosen.memory else 0,
        in_flight=chosen.in_flight,
        worker=chosen.worker,
    )


def _exit_on_signal(number: int, frame: object) -> NoReturn:  # noqa: ARG001  the signature of a signal handler
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
