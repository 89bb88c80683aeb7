"""Measures the worker against a plain aiobotocore loop and sqs-consumer: `python -m benchmarks.run` (also `make bench`).

Clients take turns in every round and medians are shown, because the machine's speed drifts: compare figures of one run, not of
two. Results go to benchmarks/results/latest.json. Exits with 1 if a run failed, and with --check-goals also if a goal was missed.
"""

import json
import math
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from rich.console import Console

from benchmarks.bench import Bench
from benchmarks.compare import Comparison, compare
from benchmarks.flame import draw_flame
from benchmarks.goals import UPKEEP_LEASES, judge, missed
from benchmarks.measure import measure_idle, measure_memory, measure_queue
from benchmarks.measure_filters import measure_filters
from benchmarks.measure_latency import measure_latency
from benchmarks.measure_start import measure_start
from benchmarks.measure_streams import measure_busy_shards, measure_idle_shards, measure_stream
from benchmarks.measure_upkeep import measure_upkeep
from benchmarks.node_client import NodeClient, prepare_node_client
from benchmarks.picture import draw_speed
from benchmarks.plan import Plan, plan_from
from benchmarks.processes import RunFailed, cores, pin
from benchmarks.results import Results, document_of, write
from benchmarks.scenarios import Row
from benchmarks.show import show, show_comparison, show_goals
from benchmarks.stub_control import started_stub
from benchmarks.stub_streams import Filling

_RESULTS: Final = Path(__file__).resolve().parent / "results"
_BASELINE: Final = _RESULTS / "baseline.json"
_FIRST_MARK: Final = 50_000
_MARK_STEP: Final = 100_000
_BUSY_BATCH: Final = 100
_BUSY_PAUSE: Final = 10.0
_BUSY_PAGES: Final = 100
_SEED: Final = 3
_PIPE_WIDTH: Final = 150
"""Columns where the output is no terminal; tables need about 130."""


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
    rows, node = _with_node(plan.rows, results, console)
    console.print(f"this takes about {math.ceil(replace(plan, rows=rows).estimate() / 60)} min", style="dim")
    # The harness wakes up only now and then; it must not do so on the client's core.
    pin(0, stub_core)
    with (
        tempfile.TemporaryDirectory(prefix="esm-bench-") as name,
        started_stub(folder=Path(name), core=stub_core) as stub,
    ):
        bench = Bench(stub=stub, folder=Path(name), core=client_core, stub_core=stub_core, worker=plan.worker, node=node)
        _run_rows(plan, rows, bench, results, console)
        _run_queues(plan, bench, results, console)
        _run_streams(plan, bench, results, console)
        for client in plan.upkeep:
            with _noted(results, console, f"upkeep of {UPKEEP_LEASES:,} leases, client: {client}"):
                results.upkeep.append(measure_upkeep(bench, client, leases=UPKEEP_LEASES, windows=plan.upkeep_windows))
        for client, source in plan.starts:
            with _noted(results, console, f"{plan.times} starts on {source}, client: {client}"):
                results.starts.append(measure_start(bench, client, source, times=plan.times))
        if plan.filter_seconds:
            with _noted(results, console, "filters"):
                results.filters = measure_filters(rounds=plan.rounds, seconds=plan.filter_seconds)
        if plan.flame:
            with _noted(results, console, f"flame graph of {plan.flame.name}"):
                file = _RESULTS / ("latest-flame.svg" if plan.quick else "flame.svg")
                console.print(draw_flame(bench, plan.flame, file, seconds=plan.flame_seconds), soft_wrap=True)
    return results


def _with_node(rows: tuple[Row, ...], results: Results, console: Console) -> tuple[tuple[Row, ...], NodeClient | None]:
    """The rows that can run here."""
    if not any(row.client == "sqs-consumer" for row in rows):
        return rows, None
    node = prepare_node_client()
    if isinstance(node, NodeClient):
        results.node = node.versions
        console.print(node.versions, style="dim", soft_wrap=True)
        return rows, node
    results.node = f"left out: {node.why}"
    console.print(f"sqs-consumer is left out: {node.why}", style="yellow", soft_wrap=True)
    return tuple(row for row in rows if row.client != "sqs-consumer"), None


def _run_rows(plan: Plan, rows: Sequence[Row], bench: Bench, results: Results, console: Console) -> None:
    """Whoever fails sits out the rounds that follow."""
    failed: set[Row] = set()
    for number in range(plan.rounds):
        # Forwards, then backwards: a drift of the machine hits all clients alike.
        for row in rows if number % 2 == 0 else reversed(rows):
            if row in failed:
                continue
            failed.add(row)
            with _noted(results, console, f"round {number + 1} of {plan.rounds}: {row.name}"):
                measure = measure_queue if row.scenario.is_queue else measure_stream
                span = measure(bench, row, seconds=row.scenario.seconds(plan.seconds))
                results.rows.setdefault(row, []).append(span)
                console.print(f"  {span.cpu_per_100k:.2f} CPU s / 100k, {span.records_per_second:,.0f} records/s")
                failed.remove(row)


def _run_queues(plan: Plan, bench: Bench, results: Results, console: Console) -> None:
    for queues in plan.idle_queues:
        with _noted(results, console, f"{queues} idle queues for {plan.idle_seconds:.0f} s"):
            results.idle.append(measure_idle(bench, queues=queues, seconds=plan.idle_seconds))
    if plan.memory_messages:
        with _noted(results, console, f"memory over {plan.memory_messages:,} messages"):
            results.memory = measure_memory(bench, "lean", marks=memory_marks(plan.memory_messages))


def _run_streams(plan: Plan, bench: Bench, results: Results, console: Console) -> None:
    if plan.latencies:
        with _noted(results, console, f"{plan.latencies} records of each stream at random moments"):
            results.latency = measure_latency(bench, samples=plan.latencies, seed=_SEED)
    for client, shards in plan.idle_shards:
        with _noted(results, console, f"{shards:,} idle shards for {plan.shard_seconds:.0f} s, client: {client}"):
            results.idle_shards.append(measure_idle_shards(bench, client, shards=shards, seconds=plan.shard_seconds))
    if plan.busy_shards:
        filling = Filling(shards=plan.busy_shards, records=1000 * _BUSY_PAGES, page=1000, size=200)
        with _noted(results, console, f"{plan.busy_shards:,} full shards for {plan.busy_seconds:.0f} s"):
            results.busy_shards = measure_busy_shards(
                bench, filling=filling, batch=_BUSY_BATCH, pause=_BUSY_PAUSE, seconds=plan.busy_seconds
            )


@contextmanager
def _noted(results: Results, console: Console, what: str) -> Iterator[None]:
    """Say what runs; what goes wrong is noted and shown, and ends nothing else: a fault of one part must not cost the others."""
    console.print(what, style="dim")
    try:
        yield
    except RunFailed as failure:
        results.failures.append(f"{what}: {failure}")
        console.print(f"failed: {failure}", style="red", markup=False)
    except Exception as error:  # noqa: BLE001  as it says
        results.failures.append(f"{what}: {error!r}")
        console.print_exception()


def _conclude(plan: Plan, results: Results, console: Console) -> bool:
    """Show, judge and write the results. Whether the goals were met and nothing got worse."""
    show(results, console)
    verdicts = judge(results)
    document = {**document_of(results, plan.shown()), "goals": [{**asdict(each), "word": each.word} for each in verdicts]}
    comparison = _comparison(plan, document, console)
    if any(verdict.met is not None for verdict in verdicts):
        show_goals(verdicts, console)
    if plan.quick:
        console.print("a quick run: one short round, so take ratios as rough", style="dim")
    write(document, _RESULTS / "latest.json")
    good = not results.failures
    if results.rows:
        picture = _RESULTS / ("speed.svg" if plan.complete and good else "latest.svg")
        picture.write_text(draw_speed(document["rows"]))
    if plan.save_baseline and good:
        write(document, _BASELINE)
        console.print("this run is the baseline now")
    elif plan.save_baseline:
        console.print("a run failed, so the baseline stays what it was", style="red")
    return not missed(verdicts) and not (comparison and comparison.worse)


def _comparison(plan: Plan, document: dict[str, Any], console: Console) -> Comparison | None:
    """None when none was wanted, or there is nothing to compare."""
    wanted = _BASELINE.exists() if plan.compare is None else plan.compare
    if not (wanted and document["rows"]):
        return None
    if not _BASELINE.exists():
        console.print("nothing to compare with: --save-baseline makes a baseline", style="yellow")
        return None
    comparison = compare(json.loads(_BASELINE.read_text()), document)
    show_comparison(comparison, console)
    document["worse_than_baseline"] = [change.now.key for change in comparison.worse]
    return comparison


def _exit_on_signal(number: int, frame: object) -> NoReturn:  # noqa: ARG001  the signature of a signal handler
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)  # a second one must not cut off the ending of the children
    sys.exit(128 + number)


def main(argv: list[str] | None = None) -> int:
    plan = plan_from(argv)
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    # Leaving through an exception ends the children, whatever the signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_on_signal)
    try:
        results = run(plan, console)
    except RunFailed as failure:
        console.print(f"failed: {failure}", style="red", markup=False)
        return 1
    as_wished = _conclude(plan, results, console)
    return 1 if results.failures or (plan.check_goals and not as_wished) else 0


if __name__ == "__main__":
    sys.exit(main())
