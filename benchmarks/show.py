"""Shows the results of one run on a console."""

import statistics
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Contender, Span
from benchmarks.measure_latency import POLL_INTERVALS, Latency
from benchmarks.measure_streams import BusyShards, IdleShards, StreamContender, StreamSpan
from benchmarks.results import Results, cpu_per_100k, cpu_per_million, cpu_ratio, stream_ratio

_MEBIBYTE: Final = 1024 * 1024
_BARS: Final = 10
"""Of a histogram, up to the poll interval."""


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
    if results.streams:
        console.print(_stream_table(results.streams))
        console.print("of plain: CPU against the plain loop, which calls its handler directly", style="dim")
    for latency in results.latency:
        console.print(histogram(latency), soft_wrap=True, highlight=False)
    if results.idle_shards:
        console.print(_shard_table(results.idle_shards))
    if results.busy_shards:
        console.print(_busy_line(results.busy_shards), soft_wrap=True)


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _speed_table(speed: dict[Contender, list[Span]]) -> Table:
    columns = ("CPU s/100k", "min - max", "messages/s", "of plain", "stub")
    table = _table("SQS: receive 10, handler, delete 10 (medians)", "client, handler", *columns)
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


def _stream_table(streams: dict[StreamContender, list[StreamSpan]]) -> Table:
    columns = ("CPU s/1M", "min - max", "records/s", "of plain", "stub", "peak MiB")
    table = _table("Streams: GetRecords, handler, checkpoint; a page is a batch (medians)", "records, client", *columns)
    for contender, spans in sorted(streams.items(), key=lambda row: row[0].name):
        figures = cpu_per_million(spans)
        ratio = stream_ratio(streams, contender)
        table.add_row(
            contender.name,
            f"{statistics.median(figures):.1f}",
            f"{min(figures):.1f} - {max(figures):.1f}",
            f"{statistics.median(span.records / span.wall for span in spans):,.0f}",
            "" if ratio is None else f"{ratio:.2f}",
            f"{statistics.median(span.stub_cpu / span.wall for span in spans):.0%}",
            f"{statistics.median(span.peak for span in spans) / _MEBIBYTE:.0f}",
        )
    return table


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
    table = _table("Idle shards of one Kinesis mapping", "shards", *columns)
    for row in rows:
        more = row.shards - rows[0].shards
        table.add_row(
            f"{row.shards:,}",
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
