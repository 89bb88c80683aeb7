"""What one run of the harness found, its ratios, and its JSON."""

import json
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import Span
from benchmarks.measure import Idle, Memory
from benchmarks.measure_filters import Filters
from benchmarks.measure_latency import POLL_INTERVALS, Latency
from benchmarks.measure_start import Start
from benchmarks.measure_streams import BusyShards, IdleShards
from benchmarks.measure_upkeep import Upkeep
from benchmarks.scenarios import Client, Row, yardstick

STUB_LIMIT: Final = 0.9
"""Share of its core from which on the stub, and not the client, sets the pace."""


@dataclass(slots=True, kw_only=True)
class Results:
    rows: dict[Row, list[Span]] = field(default_factory=dict)
    """Of each row a span for each round, from the first on: a row that fails has no more from there on."""
    node: str = ""
    """What sqs-consumer ran on, or why it did not."""
    idle: list[Idle] = field(default_factory=list)
    memory: Memory | None = None
    latency: list[Latency] = field(default_factory=list)
    idle_shards: list[IdleShards] = field(default_factory=list)
    busy_shards: BusyShards | None = None
    upkeep: list[Upkeep] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    filters: Filters | None = None
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """CPU per record of one row over that of another, round by round."""

    median: float
    low: float
    high: float


def middle(spans: Sequence[Span], figure: Callable[[Span], float]) -> float:
    return statistics.median(figure(span) for span in spans)


def middle_of_known(spans: Sequence[Span], figure: Callable[[Span], float | None]) -> float | None:
    """None where a span has no such figure."""
    figures = [known for span in spans if (known := figure(span)) is not None]
    return statistics.median(figures) if figures and len(figures) == len(spans) else None


def ratio(rows: Mapping[str, Sequence[Span]], row: str, base: str | None) -> Ratio | None:
    """Of the rounds that both have; None when there is none. The drift of the machine between rounds cancels out."""
    pairs = zip(rows.get(row, ()), rows.get(base or "", ()), strict=False)
    ratios = [span.cpu_per_100k / other.cpu_per_100k for span, other in pairs]
    if not ratios:
        return None
    return Ratio(median=statistics.median(ratios), low=min(ratios), high=max(ratios))


def by_key(results: Results) -> dict[str, list[Span]]:
    return {row.key: spans for row, spans in results.rows.items()}


def ratio_to(results: Results, row: Row, client: Client) -> Ratio | None:
    """CPU of `row` over that of `client` for the same work; None for the client itself."""
    return None if row.client == client else ratio(by_key(results), row.key, yardstick(row, client))


def stub_was_limit(spans: Sequence[Span]) -> bool:
    return middle(spans, lambda span: span.stub_share) > STUB_LIMIT


def document_of(results: Results, plan: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it. `plan`: what was asked for."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "system": platform.system(), "processor": platform.machine()},
        "sqs_consumer": results.node,
        "plan": plan,
        "rows": [_row(results, row, spans) for row, spans in results.rows.items()],
        "idle": [asdict(idle) for idle in results.idle],
        "memory": {"marks": results.memory.marks, "growth": results.memory.growth} if results.memory else None,
        "latency": [_latency(latency) for latency in results.latency],
        "idle_shards": [asdict(idle) for idle in results.idle_shards],
        "busy_shards": asdict(results.busy_shards) if results.busy_shards else None,
        "upkeep": [_upkeep(upkeep) for upkeep in results.upkeep],
        "starts": [{**asdict(start), "median": start.median} for start in results.starts],
        "filters": asdict(results.filters) if results.filters else None,
        "failures": results.failures,
    }


def write(document: dict[str, Any], file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n")


def _row(results: Results, row: Row, spans: Sequence[Span]) -> dict[str, Any]:
    scenario = asdict(row.scenario)
    to_plain, to_node = ratio_to(results, row, "plain"), ratio_to(results, row, "sqs-consumer")
    return {
        "key": row.key,
        "client": row.client,
        "work": row.scenario.name,
        **{name: scenario[name] for name in ("source", "batch", "size", "in_flight", "shards", "handler", "window")},
        "cpu_per_100k": middle(spans, lambda span: span.cpu_per_100k),
        "records_per_second": middle(spans, lambda span: span.records_per_second),
        "batch_wait_p50": middle_of_known(spans, lambda span: span.wait_p50),
        "batch_wait_p99": middle_of_known(spans, lambda span: span.wait_p99),
        "batch_wait_from": "the worker's histogram, interpolated within buckets",
        "mean_batch": middle_of_known(spans, lambda span: span.mean_batch),
        "peak_memory": middle(spans, lambda span: span.peak),
        "plain": yardstick(row, "plain"),
        "ratio_to_plain": asdict(to_plain) if to_plain else None,
        "ratio_to_sqs_consumer": asdict(to_node) if to_node else None,
        "core_share": middle(spans, lambda span: span.core_share),
        "stub_share": middle(spans, lambda span: span.stub_share),
        "stub_was_limit": stub_was_limit(spans),
        "rounds": [{**asdict(span), "cpu_per_100k": span.cpu_per_100k} for span in spans],
    }


def _latency(latency: Latency) -> dict[str, Any]:
    interval = POLL_INTERVALS[latency.source]
    return {**asdict(latency), "median": statistics.median(latency.seconds), "poll_interval": interval}


def _upkeep(upkeep: Upkeep) -> dict[str, Any]:
    units = {"write_units": upkeep.write_units, "read_units": upkeep.read_units}
    return {**asdict(upkeep), "core_share": upkeep.core_share, **units}
