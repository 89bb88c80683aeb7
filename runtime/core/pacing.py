"""How many receives of a queue run at once and how many of its batches; how often and how much of a shard is read.

One receive while the queue is idle; twice as many after each full batch, up to the slots; half as many after each that came back
empty. Concurrency goes down after function errors and comes back with successes (SQS-54, amounts unpublished: ours).
"""

from typing import Final

LONGEST_WAIT: Final = 20
"""Seconds of one long poll: the most that SQS allows, so an idle queue costs three receives a minute (SQS-30)."""
MOST_PER_RECEIVE: Final = 10
"""Records that one receive brings at most (SQS-35)."""
MOST_PARALLEL: Final = 64
"""Receives that fill one large batch together, at most."""
LEAST_PARALLEL: Final = 32
"""And when the event loop has no time for more."""
_BUSY: Final = 0.95
_NOT_BUSY: Final = 0.9
"""Shares of the time in which the event loop works."""
_MOST_IN_A_ROUND: Final = 16 * MOST_PARALLEL
"""Receives that are decided on together, at most: each of those that run side by side is followed by a few more, until the
largest batch is full (SQS-35). A round costs a task for each that runs beside the others."""


def plan_receives(receives: int, *, full: bool, empty: bool, slots: int) -> int:
    """How many receives to keep in the air, after one poll was `full`, `empty` or in between."""
    if full:
        receives *= 2
    elif empty:
        receives //= 2
    return max(1, min(receives, slots))


def plan_parallel(parallel: int, *, worked: float, elapsed: float) -> int:
    """How many receives fill the next large batch together.

    `worked`: seconds for which the event loop was at work while so many of them took `elapsed`, each followed by others. Many pay
    while they wait for the network. A loop without a moment left gets no more from having more in the air: each answer finds that
    the others pushed what it needs out of the processor's caches.
    """
    if worked > _BUSY * elapsed:
        parallel //= 2
    elif worked < _NOT_BUSY * elapsed:
        parallel *= 2
    return max(LEAST_PARALLEL, min(MOST_PARALLEL, parallel))


def most_collecting(batch: int, parallel: int) -> int:
    """How many batches of so many records a mapping collects at once, at most, each with up to so many receives in the air.

    A few large ones: collected side by side they would all be there late, and lie in memory until then. Not one alone, for at the
    end of each come a few receives that wait for each other; a busy loop has enough to do meanwhile.
    """
    fewest = 1 if parallel == LEAST_PARALLEL else 2
    return max(fewest, 2 * parallel * MOST_PER_RECEIVE // batch)


def plan_concurrency(allowed: int, *, failed: bool, maximum: int, overdue: int = 0) -> int:
    """How many batches may run at once after one more of them failed or succeeded.

    Never below 2 (SQS-41) beside the slots that `overdue` handlers hold, as far as `maximum` allows: one success must always be
    possible, or the way back up would be closed.
    """
    return max(min(2 + overdue, maximum), min(maximum, allowed - 1 if failed else allowed + 1))


def plan_round(receives: int, *, full: bool, missing: int, room: int, mean_size: int) -> int:
    """How many receives to issue next toward a batch that needs `missing` more records and has `room` bytes left.

    `receives`: how many there were in the round before, and whether all of them came `full`. Never so many that they would bring
    much more than fits: what is over waits behind the batch.
    """
    wanted = receives * 2 if full else 1
    by_count = -(-missing // MOST_PER_RECEIVE)
    by_bytes = room // max(1, mean_size * MOST_PER_RECEIVE)
    return max(1, min(wanted, by_count, by_bytes, _MOST_IN_A_ROUND))


RECORD_COST: Final = 1024
"""Bytes of memory that a record takes beside its content, about."""
_MOST_AHEAD: Final = 4 * 1024 * 1024
_LEAST_AHEAD: Final = 256 * 1024
_AHEAD_OF_ALL: Final = 256 * 1024 * 1024


def plan_ahead(shards: int) -> int:
    """Bytes that a shard may be read ahead of its delivery, so that all `shards` of a worker together stay bounded."""
    return max(_LEAST_AHEAD, min(_MOST_AHEAD, _AHEAD_OF_ALL // max(1, shards)))


def plan_page(room: int, *, mean_cost: float, most: int) -> int:
    """How many records to ask of a shard when there is room for so many bytes; `mean_cost` is that of its records so far."""
    return max(1, min(most, int(room / mean_cost)))


def plan_read(last: float, *, more: bool, base: float, rate: float, share: float) -> float:
    """When to read a shard again that was read at `last`: at once while there is more, else at the base rate (KIN-10, DDB-10).

    Never above our `share` of the `rate` (calls/s) that the service allows.
    """
    shortest = 1 / (rate * share)
    return last + (shortest if more else max(base, shortest))
