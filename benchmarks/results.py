"""What one run of the harness was asked for and found, and its JSON."""

import json
import platform
import statistics
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import Contender, Idle, Memory, Span
from benchmarks.measure_latency import POLL_INTERVALS, Latency
from benchmarks.measure_streams import BusyShards, IdleShards, StreamContender, StreamSpan


@dataclass(slots=True, kw_only=True)
class Results:
    speed: dict[Contender, list[Span]] = field(default_factory=dict)
    idle: Idle | None = None
    memory: Memory | None = None
    streams: dict[StreamContender, list[StreamSpan]] = field(default_factory=dict)
    latency: list[Latency] = field(default_factory=list)
    idle_shards: list[IdleShards] = field(default_factory=list)
    busy_shards: BusyShards | None = None
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which parts run, and how far; 0, or an empty tuple, leaves a part out."""

    rounds: int
    messages: int
    warm_up: int
    idle_queues: int
    idle_seconds: float
    memory_messages: int
    in_flight: int
    stream_rounds: int
    stream_pages: int
    """Of each shard."""
    latencies: int
    idle_shards: tuple[int, ...]
    shard_seconds: float
    busy_shards: int
    busy_seconds: float
    worker: str


def cpu_per_100k(spans: list[Span]) -> list[float]:
    return [span.cpu / span.messages * 100_000 for span in spans]


def cpu_ratio(speed: dict[Contender, list[Span]], contender: Contender) -> float | None:
    """CPU against the plain loop with the same kind of handler; None when that has no result."""
    baseline = speed.get(Contender(client="plain loop", handler=contender.handler))
    if not baseline:
        return None
    return statistics.median(cpu_per_100k(speed[contender])) / statistics.median(cpu_per_100k(baseline))


def cpu_per_million(spans: list[StreamSpan]) -> list[float]:
    return [span.cpu_per_million for span in spans]


def stream_ratio(streams: dict[StreamContender, list[StreamSpan]], contender: StreamContender) -> float | None:
    """CPU against the plain loop on the same records; None when that has no result."""
    baseline = streams.get(StreamContender(client="plain loop", shape=contender.shape))
    if not baseline:
        return None
    return statistics.median(cpu_per_million(streams[contender])) / statistics.median(cpu_per_million(baseline))


def write(results: Results, plan: Plan, file: Path) -> None:
    document: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "system": platform.system(), "processor": platform.machine()},
        "plan": {name: value for name, value in asdict(plan).items() if name != "worker"},
        "speed": _speed(results),
        "idle": asdict(results.idle) if results.idle else None,
        "memory": {"marks": results.memory.marks, "growth": results.memory.growth} if results.memory else None,
        "streams": _streams(results),
        "latency": [_latency(latency) for latency in results.latency],
        "idle_shards": [asdict(idle) for idle in results.idle_shards],
        "busy_shards": asdict(results.busy_shards) if results.busy_shards else None,
        "failures": results.failures,
    }
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n")


def _speed(results: Results) -> list[dict[str, Any]]:
    return [
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


def _streams(results: Results) -> list[dict[str, Any]]:
    return [
        {
            "client": contender.client,
            "source": contender.shape.source,
            **asdict(contender.shape.filling),
            "cpu_per_million": statistics.median(cpu_per_million(spans)),
            "cpu_per_million_of_rounds": cpu_per_million(spans),
            "records_per_second": statistics.median(span.records / span.wall for span in spans),
            "cpu_ratio_to_plain_loop": stream_ratio(results.streams, contender),
            "rounds": [asdict(span) for span in spans],
        }
        for contender, spans in results.streams.items()
    ]


def _latency(latency: Latency) -> dict[str, Any]:
    interval = POLL_INTERVALS[latency.source]
    return {**asdict(latency), "median": statistics.median(latency.seconds), "poll_interval": interval}
