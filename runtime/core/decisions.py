"""What becomes of every record of a batch after an invocation.

The laws (tested over every small case in `tests/exhaustive`): the four parts hold each record of the batch exactly once, in
order; nothing is discarded without a condition; every pending batch is smaller, has one more retry, or follows an invocation that
never happened; and that one costs no retry.
"""

from dataclasses import dataclass, replace
from typing import assert_never

from handlers.invoker import FunctionError, NotInvoked, Outcome, Succeeded
from pollers.record import Record
from runtime.core.batching import Batch
from runtime.core.response import failed_items


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
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
    """To be invoked again by us, in this order."""
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
