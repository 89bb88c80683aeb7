"""What becomes of every record of a batch after an invocation.

The laws (tested over every small case in `tests/exhaustive`): the four parts hold each record of the batch exactly once, in
order; nothing is discarded without a condition; every pending batch is smaller, has one more retry, or follows an invocation that
never happened; and that one costs no retry.
"""

from math import inf
from typing import Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from handlers.invoker import FunctionError, NotInvoked, Outcome, Succeeded
from pollers.record import Record
from runtime.core.batching import Batch
from runtime.core.mapping import UNLIMITED, RetryPolicy
from runtime.core.response import failed_items, state_problem

RETRIES_EXHAUSTED: Final = "RetryAttemptsExhausted"
AGE_EXCEEDED: Final = "RecordAgeExceeded"
EXPIRED: Final = "RecordExpired"
"""Our word for a record that left the stream while it was being retried (COM-85): counted and logged, sent nowhere."""


class Decision(Struct, frozen=True, kw_only=True):
    """One fate for every record of a batch."""

    settled: tuple[Record, ...] = ()
    """Done: delete it, or move the position past it."""
    returned: tuple[Record, ...] = ()
    """Left to the source, which delivers it again in its own time (queues)."""
    discarded: tuple[Record, ...] = ()
    """Given up: to the on-failure destination (streams)."""
    condition: str | None = None
    """Why records were discarded."""
    pending: tuple[Batch, ...] = ()
    """To be invoked (again) by us, in this order."""
    pause: bool = False
    """Whether to wait before the first pending batch is invoked."""
    problem: str | None = None
    """Why the handler's answer was taken as a failure of the whole batch."""


def decide_queue(batch: Batch, outcome: Outcome, *, report_item_failures: bool) -> Decision:
    """For queues: what failed goes back to the queue; its visibility timeout and redrive policy are the retries (SQS-50..60)."""
    match outcome:
        case NotInvoked():
            return Decision(pending=(replace(batch, throttles=batch.throttles + 1),))
        case FunctionError():
            return Decision(returned=batch.records)
        case Succeeded(response=response) if report_item_failures:
            failures = failed_items(response, [record.id for record in batch.records])
            return Decision(
                settled=tuple(record for record in batch.records if record.id not in failures.failed),
                returned=tuple(record for record in batch.records if record.id in failures.failed),
                problem=failures.problem,
            )
        case Succeeded():
            return Decision(settled=batch.records)
        case _:
            assert_never(outcome)


def split_held_groups(returned: tuple[Record, ...], waiting: tuple[Record, ...]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Split records that wait behind a batch into those that may still be delivered and those that must go back too.

    A record whose group had a failure before it must not overtake it (SQS-45, SQS-48).
    """
    failed = {record.group for record in returned if record.group is not None}
    free = tuple(record for record in waiting if record.group not in failed)
    held = tuple(record for record in waiting if record.group in failed)
    return free, held


def decide_stream(batch: Batch, outcome: Outcome, policy: RetryPolicy, *, report_item_failures: bool, stateful: bool) -> Decision:
    """For streams: what failed is retried in place until its policy gives it up (COM-70..78, KIN-50..57).

    `stateful`: the mapping has a tumbling window, so an answer without `state` is a failure (COM-94).
    """
    match outcome:
        case NotInvoked():
            return Decision(pending=(replace(batch, throttles=batch.throttles + 1),), pause=True)
        case FunctionError():
            return _fail_whole(batch, policy, problem=None)
        case Succeeded(response=response):
            problem = state_problem(response) if stateful else None
            if problem is None and report_item_failures:
                failures = failed_items(response, [record.id for record in batch.records])
                problem = failures.problem
                if problem is None and failures.failed:
                    return _fail_from(batch, policy, [record.id in failures.failed for record in batch.records].index(True))
            return Decision(settled=batch.records) if problem is None else _fail_whole(batch, policy, problem=problem)
        case _:
            assert_never(outcome)


def drop_expired(batch: Batch, now: float, policy: RetryPolicy, *, retention: float | None = None) -> Decision:
    """Split off the front of a batch that is too old to be invoked, before each try (COM-79..81); `now` in epoch seconds.

    What leaves the stream is given up only after it was tried. The rest begins with a fresh retry counter: the checkpoint moves.
    """
    limit = inf if policy.age == UNLIMITED else policy.age
    tried = batch.retries > 0 or batch.throttles > 0
    lifetime = retention if retention is not None and tried else inf

    def condition_of(record: Record) -> str | None:
        age = now - record.arrived if record.arrived > 0 else 0.0
        return AGE_EXCEEDED if age >= limit else EXPIRED if age >= lifetime else None

    condition = condition_of(batch.records[0])
    if condition is None:
        return Decision(pending=(batch,))
    front = next((n for n, record in enumerate(batch.records) if condition_of(record) != condition), len(batch.records))
    rest = batch.records[front:]
    return Decision(
        discarded=batch.records[:front],
        condition=condition,
        pending=(Batch(rest, received=batch.received),) if rest else (),
    )


def age_left(batch: Batch, now: float, policy: RetryPolicy) -> float:
    """Seconds until the first record of the batch is too old: no pause is to last longer (COM-83)."""
    return (
        inf
        if policy.age == UNLIMITED or batch.records[0].arrived <= 0
        else max(0.0, policy.age - (now - batch.records[0].arrived))
    )


def _fail_from(batch: Batch, policy: RetryPolicy, first: int) -> Decision:
    """The lowest failed record is where the checkpoint lands; if it moves, retries begin anew (KIN-50, COM-73, COM-74)."""
    if first == 0:
        return _retry(batch, policy, problem=None)
    rest = Batch(batch.records[first:], received=batch.received)
    return Decision(settled=batch.records[:first], pending=(rest,), pause=True)


def _fail_whole(batch: Batch, policy: RetryPolicy, *, problem: str | None) -> Decision:
    """Halves begin with fresh counters: a split costs no retry (COM-75..78)."""
    if policy.bisect and len(batch.records) > 1:
        middle = len(batch.records) // 2
        halves = (batch.records[:middle], batch.records[middle:])
        return Decision(pending=tuple(Batch(half, received=batch.received) for half in halves), pause=True, problem=problem)
    return _retry(batch, policy, problem=problem)


def _retry(batch: Batch, policy: RetryPolicy, *, problem: str | None) -> Decision:
    if policy.attempts != UNLIMITED and batch.retries >= policy.attempts:
        return Decision(discarded=batch.records, condition=RETRIES_EXHAUSTED, problem=problem)
    return Decision(pending=(replace(batch, retries=batch.retries + 1, throttles=0),), pause=True, problem=problem)
