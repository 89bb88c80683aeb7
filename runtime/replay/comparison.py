"""Two handlers over the same batches: where results, errors or durations differ. What is tried again the first one decides."""

import json
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from handlers.invoker import NOT_JSON, FunctionError, Invoker, MakeEvent, NotInvoked, Outcome, Succeeded
from runtime.core.batching import Batch
from runtime.replay.calling import Timed, returned
from runtime.replay.report import Trouble
from runtime.request_ids import new_request_id

_MOST: Final = 1000
"""Differences that are told one by one; all are counted."""
_SLOWER: Final = 2.0
"""So many times as long is a difference,"""
_NOTICED: Final = 0.01
"""if it is more than so many seconds."""
_LONGEST_TEXT: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of one batch."""

    kind: str
    """`outcome` (one failed), `error`, `result` or `duration`."""
    shard: str
    first: str
    last: str
    records: int
    ours: str
    theirs: str


@dataclass(slots=True, kw_only=True)
class Comparison:
    """A `Beside`. `other` is called after the first handler has answered, with an event of its own."""

    other: Invoker
    function_arn: str
    invocations: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    """By the kind of difference."""
    differences: list[Difference] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    """Seconds of each invocation."""
    theirs: list[float] = field(default_factory=list)

    async def compare(self, make_event: MakeEvent, batch: Batch, shard: str, *, first: Outcome, took: float) -> None:
        timed = Timed(make_event)
        second = await self.other.invoke(timed, request_id=new_request_id(), function_arn=self.function_arn)
        seconds = timed.took
        if isinstance(second, FunctionError) and second.still_running is not None:
            await returned(second.still_running)
        self.invocations += 1
        self.ours.append(took)
        self.theirs.append(seconds)
        kind = _kind(first, second)
        ours = theirs = ""
        if kind is None and max(took, seconds) > _NOTICED and max(took, seconds) > _SLOWER * min(took, seconds):
            kind, ours, theirs = "duration", f"{took:.3f} s", f"{seconds:.3f} s"
        if kind is not None:
            self._differ(kind, batch, shard, ours or _shown(first), theirs or _shown(second))

    def _differ(self, kind: str, batch: Batch, shard: str, ours: str, theirs: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if len(self.differences) < _MOST:
            first, last = (batch.records[0].id, batch.records[-1].id) if batch.records else ("", "")
            self.differences.append(
                Difference(kind=kind, shard=shard, first=first, last=last, records=len(batch.records), ours=ours, theirs=theirs)
            )

    @property
    def alike(self) -> bool:
        """Apart from durations, which depend on the machine."""
        return not self.counts.keys() - {"duration"}

    @property
    def medians(self) -> tuple[float, float]:
        return (median(self.ours), median(self.theirs)) if self.ours else (0.0, 0.0)


def _kind(first: Outcome, second: Outcome) -> str | None:
    match first, second:
        case Succeeded(response=one), Succeeded(response=other):
            return None if _alike(one, other) else "result"
        case FunctionError(), FunctionError():
            return None if Trouble.of(first) == Trouble.of(second) else "error"
        case _:
            return "outcome"


def _alike(one: Any, other: Any) -> bool:
    """As JSON: `true` is not 1, and NaN is like NaN."""
    if one is None or other is None or NOT_JSON in (one, other):
        return one is other
    try:
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    except RecursionError:
        return bool(one == other)


def _shown(outcome: Outcome) -> str:
    match outcome:
        case Succeeded(response=response):
            return f"returned {response!r}"[:_LONGEST_TEXT]
        case FunctionError():
            trouble = Trouble.of(outcome)
            return f"{trouble.type}: {trouble.message}"[:_LONGEST_TEXT]
        case NotInvoked(reason=reason):
            return f"could not be called: {reason}"[:_LONGEST_TEXT]
