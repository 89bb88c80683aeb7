"""How many workers the work of a mapping is worth, as one of them sees it: its own part, as a fraction of a worker.

The parts are added up over the workers, for no worker knows how many others share a queue. The laws: while the work stays the
same, so does the sum, however many share it and whenever some come or go, so a fleet of that size stays; a part is never 0 while
there is work, and never more than the shards that are held (one shard is never on two workers, so the sum is never more than all
open shards); lateness makes more of it only where the worker is busy: a shard that waits for one bad record is late on any number
of workers. Going down slowly is left to whoever adds up: done on the parts, it would make the sum jump when a worker joins.
"""

from math import exp
from typing import Final

from msgspec import Struct

TARGET: Final = 0.7
"""Of a worker: how busy it is meant to be."""
CATCH_UP: Final = 300.0
"""Seconds of lag at which a worker that does all it can counts half as much again."""
SMOOTHING: Final = 30.0
"""Seconds after which the average has gone 63 % of the way to what is measured now."""
LEAST: Final = 0.05
"""The part of a worker that has work, however little."""
_NOTHING: Final = 0.01
"""Below it, the average of a worker without work counts as 0."""


class Load(Struct, frozen=True, kw_only=True):
    """What one worker does for one mapping now."""

    slots: float
    """Of the invocations that may run at once, the part that does."""
    processor: float
    """CPU cores that the process uses: one process does not get far beyond one."""
    lag: float
    """Seconds."""
    working: bool
    """There is something to do: records in hand or on their way, or a shard to watch."""
    shards: int | None = None
    """Shards held; None of a queue."""


def smooth_busy(before: float, load: Load, *, seconds: float) -> float:
    """The average of how busy the worker is, `seconds` after it was `before`.

    It follows up and down alike: what one worker gains when another joins, that one loses at the same pace.
    """
    measured = max(load.slots, load.processor) if load.working else 0.0
    kept = exp(-seconds / SMOOTHING)
    return before * kept + measured * (1 - kept)


def desired_workers(busy: float, load: Load) -> float:
    """This worker's part, when it is `busy` on the average."""
    full = min(1.0, max(0.0, (busy - TARGET) / (1 - TARGET)))
    late = min(1.0, load.lag / CATCH_UP)
    wanted = busy / TARGET * (1 + full * late / 2)
    if load.working:
        wanted = max(LEAST, wanted)
    elif wanted < _NOTHING:
        wanted = 0.0
    return wanted if load.shards is None else min(wanted, load.shards)
