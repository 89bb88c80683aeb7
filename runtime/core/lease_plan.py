"""Which shards a worker takes, and which it asks another worker for.

The laws: no shard is taken twice, none before all of its parents have ended, none from a worker that shows life; a lease is only
asked for when its owner has at least two more than we would have, so that no shard goes to and fro. Every worker plans alone,
from the same rows; the store's conditional writes settle who was faster.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from runtime.core.lease import Lease

_DEAD_NAMESAKE: Final = 0.4
"""Of the failover time: longer than an owner that lives takes to renew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePlan:
    """What to do about the leases of one mapping now."""

    take: tuple[Lease, ...] = ()
    want: tuple[Lease, ...] = ()
    """To be asked for; their owners hand them over when the batch in flight is done."""


def unfinished_parents(lease: Lease, leases: Mapping[str, Lease]) -> tuple[str, ...]:
    """The parents that must end first. One without a row has left the stream and counts as finished (DDB-15)."""
    return tuple(parent for parent in lease.parents if parent in leases and not leases[parent].ended)


def passed_shards(leases: Collection[Lease], parents: Mapping[str, Collection[str]]) -> set[str]:
    """All that come before a shard that has a row. `parents`: of the shards that the stream shows.

    One of them without a row was read to its end and its row deleted, as KCL does within minutes, or was never to be read (a
    fleet of Java that began at LATEST has rows of open shards alone): a new row would have it read from its beginning.
    """
    passed: set[str] = set()
    todo = [parent for lease in leases for parent in (*lease.parents, *parents.get(lease.shard, ()))]
    while todo:
        shard = todo.pop()
        if shard not in passed:
            passed.add(shard)
            todo += parents.get(shard, ())
    return passed


def plan_leases(
    leases: Sequence[Lease],
    *,
    worker: str,
    held: Collection[str],
    quiet: Mapping[str, float],
    failover: float,
    resuming: bool = False,
) -> LeasePlan:
    """Plan for `worker`, which holds the shards `held`.

    `quiet`: for each shard, the seconds for which its counter has stood still before our own eyes. `resuming`: we have just
    begun, so rows that carry our name are those of the process before us, once they have missed a renewal.
    """
    rows = {lease.shard: lease for lease in leases}
    workable = [lease for lease in leases if not lease.ended and not unfinished_parents(lease, rows)]

    def is_free(lease: Lease) -> bool:
        if lease.shard in held:
            return False
        if quiet.get(lease.shard, 0.0) >= failover:
            return True
        if lease.owner is None:
            return lease.wanted_by in (None, worker)
        return resuming and lease.owner == worker and quiet.get(lease.shard, inf) >= failover * _DEAD_NAMESAKE

    free = {lease.shard: lease for lease in workable if is_free(lease)}
    busy = [lease for lease in workable if lease.shard not in free and lease.shard not in held]
    loads = Counter(lease.owner for lease in busy if lease.owner)
    loads.pop(worker, None)  # rows of a process before us, which has not been silent for long enough
    asking = {lease.wanted_by for lease in workable if lease.wanted_by and quiet.get(lease.shard, 0.0) < failover}
    others = set(loads) | asking - {worker}  # who asks for a lease in silence is dead
    share = -(-len(workable) // (len(others) + 1))
    mine = sum(lease.shard in held for lease in workable)
    take = sorted(free.values(), key=lambda lease: (lease.wanted_by != worker, _place(worker, lease.shard)))
    take = take[: max(0, share - mine)]
    coming = sum(lease.wanted_by == worker and lease.shard not in free for lease in workable)
    wants = () if len(take) < len(free) else _plan_wants(busy, loads, mine + len(take) + coming, worker)
    return LeasePlan(take=tuple(take), want=wants)


def _plan_wants(busy: Sequence[Lease], loads: Counter[str], mine: int, worker: str) -> tuple[Lease, ...]:
    """From whoever has most, as long as that is at least two more than we would have then."""
    theirs: dict[str, list[Lease]] = {owner: [] for owner in loads}
    for lease in sorted(busy, key=lambda lease: _place(worker, lease.shard)):
        if lease.owner in theirs and not lease.wanted_by:
            theirs[lease.owner].append(lease)
    wants: list[Lease] = []
    while theirs:
        most = max(theirs.values(), key=len)
        if len(most) - mine < 2:  # noqa: PLR2004  # the dead band
            break
        wants.append(most.pop())
        mine += 1
    return tuple(wants)


def _place(worker: str, shard: str) -> bytes:
    """An order that differs between workers: they do not all reach for the same shard first."""
    return hashlib.blake2b(f"{worker} {shard}".encode(), digest_size=8).digest()
