"""How many receives of a queue run at once, and how many of its batches.

One receive while the queue is idle; twice as many after each full batch, up to the slots; half as many after each that came back
empty. Concurrency goes down after function errors and comes back with successes (SQS-54, amounts unpublished: ours).
"""

from typing import Final

LONGEST_WAIT: Final = 20
"""Seconds of one long poll: the most that SQS allows, so an idle queue costs three receives a minute (SQS-30)."""
MOST_PER_RECEIVE: Final = 10
"""Records that one receive brings at most (SQS-35)."""
_MOST_PARALLEL: Final = 16
"""Receives that fill one large batch together, at most."""


def plan_receives(receives: int, *, full: bool, empty: bool, slots: int) -> int:
    """How many receives to keep in the air, after one poll was `full`, `empty` or in between."""
    if full:
        receives *= 2
    elif empty:
        receives //= 2
    return max(1, min(receives, slots))


def plan_concurrency(allowed: int, *, failed: bool, maximum: int, overdue: int = 0) -> int:
    """How many batches may run at once after one more of them failed or succeeded.

    Never below 2 (SQS-41) beside the slots that `overdue` handlers hold, as far as `maximum` allows: one success must always be
    possible, or the way back up would be closed.
    """
    return max(min(2 + overdue, maximum), min(maximum, allowed - 1 if failed else allowed + 1))


def plan_parallel(parallel: int, *, full: bool, missing: int, room: int, mean_size: int) -> int:
    """How many receives to issue at once toward a batch that needs `missing` more records and has `room` bytes left.

    Never so many that they would bring much more than fits: what is over waits behind the batch.
    """
    wanted = parallel * 2 if full else 1
    by_count = -(-missing // MOST_PER_RECEIVE)
    by_bytes = room // max(1, mean_size * MOST_PER_RECEIVE)
    return max(1, min(wanted, by_count, by_bytes, _MOST_PARALLEL))
