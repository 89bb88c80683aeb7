"""What a run is asked for: the arguments, the parts that run, how far, and about how long that takes."""

import argparse
import sys
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

from benchmarks.bench import WorkerClient
from benchmarks.goals import IDLE_QUEUES
from benchmarks.measure_start import StartSource
from benchmarks.measure_upkeep import FAILOVER
from benchmarks.scenarios import SCENARIOS, Row, Scenario, rows_of, scenario_of

_AROUND_A_SPAN: Final = 3.0
"""Seconds of a row beside what is measured: start, warm-up, stop."""
_AROUND_A_START: Final = 1.5
_AROUND_IDLE: Final = 12.0
_AROUND_UPKEEP: Final = 20.0
_PER_LATENCY: Final = 1.0
"""Seconds of a pair of records."""
_FILTER_FIGURES: Final = 3
_SLOW_MESSAGES: Final = 6_000
"""A second, of the slower client."""

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which parts run, and how far; 0, or an empty tuple, leaves a part out."""

    rows: tuple[Row, ...]
    rounds: int
    seconds: float
    """Of a row in a round."""
    idle_queues: tuple[int, ...]
    idle_seconds: float
    memory_messages: int
    latencies: int
    idle_shards: tuple[tuple[WorkerClient, int], ...]
    shard_seconds: float
    busy_shards: int
    busy_seconds: float
    upkeep: tuple[WorkerClient, ...]
    upkeep_windows: int
    starts: tuple[tuple[WorkerClient, StartSource], ...]
    times: int
    """Starts of each."""
    filter_seconds: float
    """Of each figure in a round."""
    flame: Scenario | None
    flame_seconds: float
    quick: bool
    complete: bool
    """Every row, not shortened: what a baseline and the picture of the README need."""
    save_baseline: bool
    compare: bool | None
    """None: if there is a baseline."""
    check_goals: bool
    worker: str

    def estimate(self) -> float:
        """About how many seconds it takes, somewhat on the long side."""
        return (
            sum(row.scenario.seconds(self.seconds) + _AROUND_A_SPAN for row in self.rows) * self.rounds
            + len(self.idle_queues) * (self.idle_seconds + _AROUND_IDLE)
            + self.memory_messages / _SLOW_MESSAGES
            + self.latencies * _PER_LATENCY
            + len(self.idle_shards) * (self.shard_seconds + _AROUND_IDLE)
            + (self.busy_seconds + _AROUND_IDLE if self.busy_shards else 0)
            + len(self.upkeep) * (self.upkeep_windows * FAILOVER + _AROUND_UPKEEP)
            + len(self.starts) * self.times * _AROUND_A_START
            + self.filter_seconds * _FILTER_FIGURES * self.rounds
            + (self.flame_seconds + _AROUND_IDLE if self.flame else 0)
        )

    def shown(self) -> dict[str, Any]:
        """For the JSON; what runs is seen from the results."""
        return {name: value for name, value in asdict(self).items() if name not in {"rows", "worker", "flame"}}


def plan_from(argv: list[str] | None) -> Plan:
    """Exits with the parser's message when the arguments make no sense."""
    parser = _parser()
    chosen = parser.parse_args(argv)
    quick = chosen.quick
    named = (chosen.speed, chosen.streams, chosen.idle, chosen.memory, chosen.latency, chosen.shards, chosen.start)
    everything = not any((*named, chosen.upkeep, chosen.filters, chosen.flame))

    def part(wanted: bool, in_full: P, shortened: P, quickly: P, none: P) -> P:
        """A part's extent: `wanted` by name, as one of all, or not at all."""
        if not (wanted or everything):
            return none
        return quickly if quick else in_full if wanted else shortened

    scenarios = [s for s in SCENARIOS if everything or (chosen.speed if s.is_queue else chosen.streams)]
    rows = tuple(row for row in rows_of(tuple(scenarios)) if chosen.only in row.key)
    if chosen.only and not rows:
        parser.error(f"--only {chosen.only}: no row is named so; there are {', '.join(s.key for s in SCENARIOS)}")
    complete = not quick and not chosen.only and all(scenario in scenarios for scenario in SCENARIOS)
    if chosen.save_baseline and not complete:
        parser.error("--save-baseline needs every row in full: without --quick and --only, and with no part or --speed --streams")
    all_starts: tuple[tuple[WorkerClient, StartSource], ...]
    all_starts = (("lean", "sqs"), ("lean", "kinesis"), ("sdk", "sqs"), ("sdk", "kinesis"))
    all_shards: tuple[tuple[WorkerClient, int], ...] = (("lean", 1), ("lean", 10), ("lean", 100), ("lean", 1000), ("sdk", 1000))
    if chosen.only:  # rows of the tables, and nothing else
        everything = False
    return Plan(
        rows=rows,
        rounds=chosen.rounds or (1 if quick else 5),
        seconds=1.0 if quick else 4.0,
        idle_queues=part(chosen.idle, (20, IDLE_QUEUES), (20, IDLE_QUEUES), (IDLE_QUEUES,), ()),
        idle_seconds=chosen.seconds or part(chosen.idle, 60, 40, 20, 0),
        memory_messages=chosen.messages or part(chosen.memory, 1_000_000, 200_000, 40_000, 0),
        latencies=part(chosen.latency, 100, 40, 5, 0),
        idle_shards=part(chosen.shards, all_shards, all_shards, (("lean", 1), ("lean", 100)), ()),
        shard_seconds=chosen.seconds or part(chosen.shards, 20, 10, 5, 0),
        busy_shards=part(chosen.shards, 1000, 1000, 0, 0),
        busy_seconds=part(chosen.shards, 80, 40, 0, 0),
        upkeep=part(chosen.upkeep, ("lean", "sdk"), ("lean",), ("lean",), ()),
        upkeep_windows=part(chosen.upkeep, 5, 3, 1, 0),
        starts=part(chosen.start, all_starts, all_starts[:2], all_starts[:2], ()),
        times=3 if quick else 7,
        filter_seconds=part(chosen.filters, 1.0, 1.0, 0.2, 0.0),
        flame=scenario_of(chosen.flame) if chosen.flame else None,
        flame_seconds=4.0 if quick else 15.0,
        quick=quick,
        complete=complete,
        save_baseline=chosen.save_baseline,
        compare=chosen.compare,
        check_goals=chosen.check_goals,
        worker=chosen.worker,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="Measures the worker, on both of its clients, against a plain aiobotocore loop and against sqs-consumer.",
        epilog="Without a part it runs everything but --flame, some of it shortened.",
    )
    keys = [scenario.key for scenario in SCENARIOS]
    parts = parser.add_argument_group("parts")
    parts.add_argument("--speed", action="store_true", help="the speed rows of SQS")
    parts.add_argument("--streams", action="store_true", help="the speed rows of Kinesis and DynamoDB Streams")
    parts.add_argument("--idle", action="store_true", help="SQS: 20 and 200 idle queues")
    parts.add_argument("--memory", action="store_true", help="SQS: memory over 1,000,000 messages")
    parts.add_argument("--latency", action="store_true", help="streams: from put to handler at idle, 100 records of each")
    parts.add_argument("--shards", action="store_true", help="streams: 1 to 1,000 idle shards, memory of 1,000 full ones")
    parts.add_argument("--upkeep", action="store_true", help="streams: keeping 1,000 leases in DynamoDB")
    parts.add_argument("--start", action="store_true", help="from process start to the first poll, 7 times")
    parts.add_argument("--filters", action="store_true", help="records a second that filters judge, and bodies parsed for them")
    parts.add_argument(
        "--flame",
        nargs="?",
        const="sqs-10",
        choices=keys,
        metavar="ROW",
        help="a flame graph of the worker at this work (sqs-10)",
    )
    parser.add_argument("--quick", action="store_true", help="one short round of everything: does it work at all?")
    parser.add_argument("--only", default="", metavar="TEXT", help="only speed rows whose name has this in it, as sqs-10/lean")
    parser.add_argument("--rounds", type=int, help="turns of every client (5)")
    parser.add_argument("--seconds", type=float, help="of the idle parts; for SQS whole long polls (20 s) count exactly")
    parser.add_argument("--messages", type=int, default=0, help="of the memory part")
    parser.add_argument("--save-baseline", action="store_true", help="write results/baseline.json, if no run failed")
    parser.add_argument(
        "--compare", action=argparse.BooleanOptionalAction, help="name the rows that got worse (if there is a baseline)"
    )
    parser.add_argument(
        "--check-goals", action="store_true", help="exit with 1 also for a missed goal, or a row that got worse than the baseline"
    )
    parser.add_argument(
        "--worker", default=f"{sys.executable} -m runtime run", help="the command that runs the worker; `-c FILE` is added"
    )
    return parser
