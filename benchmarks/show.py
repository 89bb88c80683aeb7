"""Shows the results of one run on a console."""

import statistics
from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.bench import Span
from benchmarks.compare import MARGIN, Change, Comparison
from benchmarks.goals import Verdict, fraction
from benchmarks.measure_latency import POLL_INTERVALS, Latency
from benchmarks.measure_start import Start
from benchmarks.measure_streams import BusyShards, IdleShards
from benchmarks.measure_upkeep import Upkeep
from benchmarks.results import STUB_LIMIT, Ratio, Results, middle, middle_of_known, ratio_to, stub_was_limit
from benchmarks.scenarios import CLIENT_NAMES, Row

_MEBIBYTE: Final = 1024 * 1024
_BARS: Final = 10
"""Of a histogram, up to the poll interval."""


def show(results: Results, console: Console) -> None:
    if results.rows:
        _show_rows(results, console)
    for idle in results.idle:
        console.print(
            f"idle: {idle.queues} queues, {idle.seconds:.0f} s: {idle.core_share:.2%} of a core, "
            f"{idle.receives_per_minute:.1f} receives per minute and queue, {idle.memory / _MEBIBYTE:.0f} MiB",
            soft_wrap=True,
        )
    if memory := results.memory:
        marks = ", ".join(f"{done // 1000}k: {size / _MEBIBYTE:.1f}" for done, size in memory.marks)
        console.print(f"memory in MiB after messages: {marks}; last / first = {memory.growth:.3f}", soft_wrap=True)
    for latency in results.latency:
        console.print(histogram(latency), soft_wrap=True, highlight=False)
    if results.idle_shards:
        console.print(_shard_table(results.idle_shards))
    if results.busy_shards:
        console.print(_busy_line(results.busy_shards), soft_wrap=True)
    for upkeep in results.upkeep:
        console.print(_upkeep_line(upkeep), soft_wrap=True)
    for start in results.starts:
        console.print(_start_line(start), soft_wrap=True)
    if filters := results.filters:
        console.print(
            f"filters on one core: {filters.matched:,.0f} records/s by three fields, {filters.matched_in_lists:,.0f} by three of "
            f"which two are in a list; beside that {filters.parsed:,.0f} bodies of 500 B parsed per second",
            soft_wrap=True,
        )


def show_goals(verdicts: Sequence[Verdict], console: Console) -> None:
    table = _table("Goals (CPU per record against that of the same run)", "work", "against", "goal", "measured", "")
    for verdict in verdicts:
        colour = {True: "green", False: "red", None: "dim"}[verdict.met]
        table.add_row(verdict.work, verdict.against, verdict.goal, verdict.measured, f"[{colour}]{verdict.word}[/]")
    console.print(table)


def show_comparison(comparison: Comparison, console: Console) -> None:
    console.print(
        f"against the baseline of {comparison.at}: worse is a ratio to the plain loop that is more than {MARGIN:.0%} higher, "
        "with no round inside the spread of the baseline; CPU s/100k is shown and not judged",
        style="dim",
        soft_wrap=True,
    )
    for word, colour, changes in (("worse", "red", comparison.worse), ("better", "green", comparison.better)):
        for change in changes:
            console.print(f"[{colour}]{word}[/]: {_change(change)}", soft_wrap=True, highlight=False)
    if not comparison.worse:
        console.print(f"no row of {len(comparison.changes)} got worse")
    if comparison.missing:
        console.print(f"not measured this time: {', '.join(comparison.missing)}", style="dim", soft_wrap=True)


def _change(change: Change) -> str:
    before, now = change.before, change.now
    cpu = f"CPU s/100k {before.cpu_per_100k:.2f} then, {now.cpu_per_100k:.2f} now"
    return f"{now.key}: {before.ratio:.3f} of plain then, {now.ratio:.3f} now ({change.by:+.0%}); {cpu}"


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _show_rows(results: Results, console: Console) -> None:
    columns = (
        "CPU s/100k",
        "min - max",
        "of plain",
        "of sqs-c.",
        "records/s",
        "core",
        "stub",
        "batch",
        "p50 ms",
        "p99 ms",
        "MiB",
    )
    table = _table("Speed (medians)", "work, client", *columns)
    scenario = None
    for row, spans in results.rows.items():
        if row.scenario != scenario:
            scenario = row.scenario
            table.add_row(f"[bold]{scenario.name}[/]")
        table.add_row(f"  {CLIENT_NAMES[row.client]}", *_cells(results, row, spans))
    console.print(table)
    console.print(
        "of plain, of sqs-c.: CPU against the plain loop and sqs-consumer at the same work, or at batch 10 where they know no "
        "window; core, stub: how busy client and endpoint were; batch: records of an invocation; p50, p99: batch wait, first "
        "record received to handler invoked, from the worker's histogram, interpolated within its buckets; MiB: peak",
        style="dim",
        soft_wrap=True,
    )
    if limited := [row.name for row, spans in results.rows.items() if stub_was_limit(spans)]:
        names = "\n  ".join(limited)
        console.print(
            f"* the endpoint was busy more than {STUB_LIMIT:.0%} of the time: "
            f"records/s say nothing about the client, CPU does, for\n  {names}",
            style="yellow",
            soft_wrap=True,
        )


def _cells(results: Results, row: Row, spans: Sequence[Span]) -> list[str]:
    cpu = [span.cpu_per_100k for span in spans]
    star = "*" if stub_was_limit(spans) else ""
    return [
        f"{statistics.median(cpu):.2f}",
        f"{min(cpu):.2f} - {max(cpu):.2f}",
        _fraction(ratio_to(results, row, "plain")),
        _fraction(ratio_to(results, row, "sqs-consumer")),
        f"{middle(spans, lambda span: span.records_per_second):,.0f}{star}",
        f"{middle(spans, lambda span: span.core_share):.0%}",
        f"{middle(spans, lambda span: span.stub_share):.0%}{star}",
        _number(middle_of_known(spans, lambda span: span.mean_batch), 1, ",.0f"),
        _number(middle_of_known(spans, lambda span: span.wait_p50), 1000, ",.1f"),
        _number(middle_of_known(spans, lambda span: span.wait_p99), 1000, ",.1f"),
        f"{middle(spans, lambda span: span.peak) / _MEBIBYTE:.0f}",
    ]


def _fraction(ratio: Ratio | None) -> str:
    return fraction(ratio.median) if ratio else ""


def _number(value: float | None, factor: float, style: str) -> str:
    return "" if value is None else format(value * factor, style)


def histogram(latency: Latency) -> str:
    """A bar for each tenth of the poll interval, and one more for each further tenth up to the slowest."""
    interval, slowest = POLL_INTERVALS[latency.source], max(latency.seconds)
    width = interval / _BARS
    counts = [0] * max(_BARS, int(slowest / width) + 1)
    for seconds in latency.seconds:
        counts[int(max(0.0, seconds) / width)] += 1
    median = statistics.median(latency.seconds)
    verdict = "under" if median < interval else "NOT under"
    head = f"{latency.source}, put to handler at idle, {len(latency.seconds)} records: median {median:.3f} s, "
    lines = [f"{head}{verdict} the poll interval of {interval:g} s; slowest {slowest:.3f} s"]
    for number, count in enumerate(counts):
        lines.append(f"  {number * width:5.3f} - {(number + 1) * width:5.3f} s {count:3d} {'#' * count}".rstrip())
    return "\n".join(lines)


def _shard_table(rows: list[IdleShards]) -> Table:
    columns = ("% of a core", "% per shard", "reads/s per shard", "MiB", "KiB per shard", "all read after")
    table = _table("Idle shards of one Kinesis mapping", "shards, client", *columns)
    for row in rows:
        more = row.shards - rows[0].shards
        table.add_row(
            f"{row.shards:,}, {row.client}",
            f"{row.core_share:.1%}",
            f"{row.core_share / row.shards:.3%}",
            f"{row.reads_per_second:.2f}",
            f"{row.memory / _MEBIBYTE:.1f}",
            f"{(row.memory - rows[0].memory) / more / 1024:.1f}" if more else "",
            f"{row.start:.1f} s",
        )
    return table


def _busy_line(busy: BusyShards) -> str:
    marks = ", ".join(f"{seconds:.0f} s: {size / _MEBIBYTE:.0f}" for seconds, size in busy.marks)
    return (
        f"{busy.shards:,} shards with more records than their slow handlers take: memory in MiB after {marks}; "
        f"peak {busy.peak / _MEBIBYTE:.0f}, {busy.in_hand:,} records read and not done, {busy.reads_per_second:.0f} reads/s"
    )


def _upkeep_line(upkeep: Upkeep) -> str:
    low, high = min(upkeep.core_shares), max(upkeep.core_shares)
    lost = f"; {upkeep.lost:.0f} leases were LOST" if upkeep.lost else ""
    return (
        f"upkeep of {upkeep.leases:,} leases, client: {upkeep.client}: {upkeep.core_share:.2%} of a core (median of "
        f"{len(upkeep.core_shares)} x {upkeep.seconds:.0f} s, {low:.2%} - {high:.2%}), {upkeep.write_units:.0f} write and "
        f"{upkeep.read_units:.0f} read units/s; the endpoint {statistics.median(upkeep.stub_shares):.0%}{lost}"
    )


def _start_line(start: Start) -> str:
    call = "ReceiveMessage" if start.source == "sqs" else "GetRecords"
    times = f"{len(start.seconds)} starts, {min(start.seconds):.2f} - {max(start.seconds):.2f}"
    return f"start, client: {start.client}: first {call} after {start.median:.2f} s (median of {times})"
