"""Which worker of a fleet works on which shard, as its leader decides it: by count.

The laws: every lease that nobody holds is given to somebody; a lease whose owner shows life changes hands only by asking that
owner, only to a worker that has at least two fewer, and not before it has been there for a while; a plan is stable: after
it there is nothing to plan. So nothing goes to and fro when shards are quiet, or when workers come and go.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from math import inf

from msgspec import Struct

from runtime.core.lease import Lease

_DEAD_BAND = 2
"""Leases that a worker must have more than another until one of them moves."""


class Assignment(Struct, frozen=True, kw_only=True):
    """One lease for one worker."""

    lease: Lease
    to: str
    asks: bool
    """Its owner lives, and is asked to hand it over; else it is given at once."""


def plan_assignments(
    leases: Sequence[Lease],
    workers: Collection[str],
    *,
    quiet: Mapping[str, float],
    failover: float,
    resident: Mapping[str, float],
    residency: float,
    handing: Mapping[str, float],
    patience: float,
) -> tuple[Assignment, ...]:
    """Times in seconds, on the leader's clock. `workers`: those that live.

    `quiet`: for each shard, how long its counter has stood still; `resident`: how long its owner has it, `residency`: how long
    that must be until it is moved for balance alone; `handing`: how long a hand-over has been going on, which after `patience`
    is over: the next owner gets it.
    """
    if not workers:
        return ()
    open_leases = [lease for lease in leases if not lease.ended]
    free, loads = [], dict.fromkeys(workers, 0)
    movable: dict[str, list[Lease]] = defaultdict(list)
    overdue: list[Assignment] = []
    for lease in open_leases:
        holder = lease.wanted_by or lease.owner
        silent = quiet.get(lease.shard, 0.0) >= failover
        refused = lease.owner is None and holder not in loads  # it was given to one that is gone, who never took it
        if holder is None or silent or refused:
            free.append(lease)
            continue
        if holder in loads:
            loads[holder] += 1
        if lease.wanted_by is not None:
            to = holder if holder in loads else lease.owner  # back again, if the next owner died meanwhile
            if to in loads and handing.get(lease.shard, 0.0) >= patience:
                overdue.append(Assignment(lease=lease, to=to, asks=False))
        elif resident.get(lease.shard, inf) >= residency:
            movable[holder].append(lease)
    given = [_give(lease, loads) for lease in sorted(free, key=lambda lease: (-quiet.get(lease.shard, inf), _place(lease.shard)))]
    return (*given, *overdue, *_balance(movable, loads))


def _give(lease: Lease, loads: dict[str, int]) -> Assignment:
    """Not to the one that let it go silent, if there is another."""
    others = [worker for worker in loads if worker not in (lease.owner, lease.wanted_by)] or list(loads)
    to = min(others, key=lambda worker: (loads[worker], _place(f"{worker} {lease.shard}")))
    loads[to] += 1
    return Assignment(lease=lease, to=to, asks=False)


def _balance(movable: Mapping[str, list[Lease]], loads: dict[str, int]) -> list[Assignment]:
    moves: list[Assignment] = []
    if max(loads.values()) - min(loads.values()) < _DEAD_BAND:  # as nearly always
        return moves
    stock = {worker: sorted(movable.get(worker, ()), key=lambda lease: _place(lease.shard)) for worker in loads}
    while True:
        richest = max((worker for worker in loads if stock[worker]), key=lambda worker: (loads[worker], worker), default=None)
        poorest = min(loads, key=lambda worker: (loads[worker], worker))
        if richest is None or loads[richest] - loads[poorest] < _DEAD_BAND:
            return moves
        loads[richest] -= 1
        loads[poorest] += 1
        moves.append(Assignment(lease=stock[richest].pop(), to=poorest, asks=True))


def _place(text: str) -> bytes:
    """An order that has nothing to do with names: neighbours among the shards do not end up on one worker."""
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
