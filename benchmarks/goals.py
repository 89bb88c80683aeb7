"""The goals of the worker's speed, and whether a run met them. Ratios are of CPU per record, within one run."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.results import Results, by_key, ratio
from benchmarks.scenarios import Scenario, scenario_of

IDLE_QUEUES: Final = 200
UPKEEP_LEASES: Final = 1000
_IDLE_SHARE: Final = 0.02
_IDLE_MEMORY: Final = 200_000_000
_UPKEEP_SHARE: Final = 0.05
_START_SECONDS: Final = 1.0
_HOP_SECONDS: Final = 60e-6
_FILTERED_A_SECOND: Final = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    work: str
    against: str
    row: str
    base: str
    limit: float
    """The ratio may be this much at most."""
    limit_text: str


GOALS: Final[tuple[Goal, ...]] = (
    Goal(
        work="SQS 10 x 256 B, 10 in flight, async def", against="plain loop",
        row="sqs-10/lean", base="sqs-10/plain", limit=1 / 10, limit_text="1/10",
    ),
    Goal(
        work="the same, def handler in a thread", against="plain loop calling it directly",
        row="sqs-10-def/lean", base="sqs-10-def/plain", limit=1 / 7, limit_text="1/7",
    ),
    Goal(
        work="SQS 10 x 256 B, 10 in flight", against="sqs-consumer",
        row="sqs-10/lean", base="sqs-10/sqs-consumer", limit=1 / 6, limit_text="1/6",
    ),
    Goal(
        work="SQS batch 10,000 with a window", against="our batch 10",
        row="sqs-10000-window/lean", base="sqs-10/lean", limit=0.8, limit_text="0.8",
    ),
    Goal(
        work="SQS 50 in flight", against="our 10 in flight",
        row="sqs-10-at-50/lean", base="sqs-10/lean", limit=1.1, limit_text="1.1",
    ),
    Goal(
        work="Kinesis 1,000 x 200 B", against="plain loop",
        row="kinesis-1000x200/lean", base="kinesis-1000x200/plain", limit=1 / 10, limit_text="1/10",
    ),
    Goal(
        work="Kinesis 100 x 1 kB", against="plain loop",
        row="kinesis-100x1000/lean", base="kinesis-100x1000/plain", limit=1 / 8, limit_text="1/8",
    ),
    Goal(
        work="DynamoDB Streams 100 x 1 kB", against="plain loop",
        row="dynamodb-100x1000/lean", base="dynamodb-100x1000/plain", limit=1 / 8, limit_text="1/8",
    ),
)  # fmt: skip


HOPS: Final = (("sqs-10-def", "sqs-10"), ("kinesis-100x1000-def", "kinesis-100x1000"))
"""Scenarios that differ in their handler alone: a plain one in its thread, and an `async def` one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    work: str
    against: str
    goal: str
    measured: str
    """As people read it; empty when it was not measured."""
    value: float | None
    met: bool | None
    """None when it was not measured."""

    @property
    def word(self) -> str:
        return {True: "met", False: "NOT met", None: "not measured"}[self.met]


def judge(results: Results, goals: Sequence[Goal] = GOALS) -> list[Verdict]:
    return [
        *(_judge_ratio(results, goal) for goal in goals),
        *_judge_idle(results),
        *_judge_starts(results),
        _judge_upkeep(results),
        *(_judge_hop(results, scenario_of(plain), scenario_of(other)) for plain, other in HOPS),
        _judge_filters(results),
    ]


def missed(verdicts: Iterable[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.met is False]


def fraction(value: float) -> str:
    """`1/12.3` below a half, else `0.87`."""
    return f"1/{1 / value:.1f}" if 0 < value < 0.5 else f"{value:.2f}"


def _judge_ratio(results: Results, goal: Goal) -> Verdict:
    found = ratio(by_key(results), goal.row, goal.base)
    return Verdict(
        work=goal.work,
        against=goal.against,
        goal=f"<= {goal.limit_text}",
        measured=fraction(found.median) if found else "",
        value=found.median if found else None,
        met=found.median <= goal.limit if found else None,
    )


def _judge_hop(results: Results, plain: Scenario, other: Scenario) -> Verdict:
    """What a batch costs more with a plain handler: the median of the rounds' differences."""
    rows = by_key(results)
    pairs = zip(rows.get(f"{plain.key}/lean", ()), rows.get(f"{other.key}/lean", ()), strict=False)
    hops = [(span.cpu / span.records - base.cpu / base.records) * plain.batch for span, base in pairs]
    hop = statistics.median(hops) if hops else None
    shown = "" if hop is None else f"{hop * 1e6:.0f} us"
    return _below(f"thread hop, {plain.name}", "< 60 us a batch", hop, _HOP_SECONDS, shown, against="our async def")


def _judge_idle(results: Results) -> list[Verdict]:
    work = f"{IDLE_QUEUES} idle queues"
    idle = next((idle for idle in results.idle if idle.queues == IDLE_QUEUES), None)
    share, memory = (idle.core_share, float(idle.memory)) if idle else (None, None)
    return [
        _below(work, "< 2 % of a core", share, _IDLE_SHARE, "" if share is None else f"{share:.2%}"),
        _below(work, "< 200 MB", memory, _IDLE_MEMORY, "" if memory is None else f"{memory / 1e6:.0f} MB"),
    ]


def _judge_upkeep(results: Results) -> Verdict:
    upkeep = next((each for each in results.upkeep if each.client == "lean"), None)
    share = upkeep.core_share if upkeep else None
    shown = f"{upkeep.core_share:.2%}{', leases lost' if upkeep.lost else ''}" if upkeep else ""
    verdict = _below(f"upkeep of {UPKEEP_LEASES:,} leases in DynamoDB", "< 5 % of a core", share, _UPKEEP_SHARE, shown)
    return replace(verdict, met=verdict.met and not upkeep.lost) if upkeep else verdict


def _judge_starts(results: Results) -> list[Verdict]:
    medians: dict[str, float] = {start.source: start.median for start in results.starts if start.client == "lean"}
    calls = {"sqs": "ReceiveMessage", "kinesis": "GetRecords"}
    return [_judge_start(call, medians.get(source)) for source, call in calls.items()]


def _judge_start(call: str, median: float | None) -> Verdict:
    shown = "" if median is None else f"{median:.2f} s"
    return _below(f"from process start to the first {call}", "< 1 s", median, _START_SECONDS, shown)


def _judge_filters(results: Results) -> Verdict:
    rate = results.filters.matched if results.filters else None
    return Verdict(
        work="filters, three fields of a parsed body of 500 B",
        against="",
        goal=f">= {_FILTERED_A_SECOND:,}/s",
        measured="" if rate is None else f"{rate:,.0f}/s",
        value=rate,
        met=None if rate is None else rate >= _FILTERED_A_SECOND,
    )


def _below(work: str, goal: str, value: float | None, limit: float, measured: str, *, against: str = "") -> Verdict:
    met = None if value is None else value < limit
    return Verdict(work=work, against=against, goal=goal, measured=measured, value=value, met=met)
