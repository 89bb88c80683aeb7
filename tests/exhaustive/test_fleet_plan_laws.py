"""The laws of `runtime.core.fleet_plan`, over every small fleet: 3 workers and 4 leases in every state that one can be in."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import pytest
from msgspec.structs import replace

from pollers.record import SHARD_END, TRIM_HORIZON
from runtime.core.fleet_plan import Assignment, plan_assignments
from runtime.core.lease import Lease

WORKERS = ("a", "b", "c")
FAILOVER, RESIDENCY, PATIENCE = 10.0, 30.0, 60.0
STATES = (
    "ended",
    "nobody",
    *(f"{owner} {how}" for owner in ("a", "b", "gone") for how in ("alive", "silent", "new")),
    "a>b",
    "a>b overdue",
)
"""Of a lease: who has it, and how."""


class Fleet:
    def __init__(self, states: Sequence[str]) -> None:
        self.leases = [_lease(f"s{number}", state) for number, state in enumerate(states)]
        self.quiet = {f"s{number}": 20.0 if "silent" in state else 1.0 for number, state in enumerate(states)}
        self.resident = {f"s{number}": 1.0 if "new" in state else 100.0 for number, state in enumerate(states)}
        self.handing = {f"s{number}": 90.0 if "overdue" in state else 5.0 for number, state in enumerate(states)}

    def plan(self, workers: Sequence[str]) -> tuple[Assignment, ...]:
        return plan_assignments(
            self.leases,
            workers,
            quiet=self.quiet,
            failover=FAILOVER,
            resident=self.resident,
            residency=RESIDENCY,
            handing=self.handing,
            patience=PATIENCE,
        )

    def carry_out(self, plan: Iterable[Assignment]) -> None:
        """As the table does it: the next owner of one that is asked for is known at once."""
        for each in plan:
            index = next(number for number, lease in enumerate(self.leases) if lease.shard == each.lease.shard)
            shard = each.lease.shard
            if each.asks:
                self.leases[index] = replace(each.lease, wanted_by=each.to)
                self.handing[shard] = 0.0
            else:
                self.leases[index] = replace(each.lease, owner=each.to, wanted_by=None, counter=each.lease.counter + 1)
                self.resident[shard] = 0.0
            self.quiet[shard] = 0.0

    def loads(self, workers: Sequence[str]) -> Counter[str]:
        counts = Counter(dict.fromkeys(workers, 0))
        counts.update(lease.wanted_by or lease.owner or "nobody" for lease in self.leases if not lease.ended)
        return counts


def _lease(shard: str, state: str) -> Lease:
    lease = Lease(scope="m", shard=shard, checkpoint=SHARD_END if state == "ended" else TRIM_HORIZON)
    if state in ("ended", "nobody"):
        return lease
    who = state.split(maxsplit=1)[0]
    if ">" in who:
        owner, wanted_by = who.split(">")
        return replace(lease, owner=owner, wanted_by=wanted_by)
    return replace(lease, owner=who)


def fleets() -> Iterator[tuple[Fleet, Sequence[str]]]:
    for states in product(STATES, repeat=4):
        for count in range(len(WORKERS) + 1):
            yield Fleet(states), WORKERS[:count]


def is_free(fleet: Fleet, lease: Lease) -> bool:
    return not lease.ended and (lease.owner is None or fleet.quiet[lease.shard] >= FAILOVER)


def test_every_small_fleet_keeps_the_laws() -> None:
    for fleet, workers in fleets():
        plan = fleet.plan(workers)
        planned = [each.lease.shard for each in plan]
        assert len(set(planned)) == len(planned), "a lease is planned twice"
        assert all(each.to in workers for each in plan)
        if not workers:
            assert plan == ()
            continue
        given = {each.lease.shard for each in plan if not each.asks}
        for lease in fleet.leases:
            if is_free(fleet, lease):
                assert lease.shard in given, "nobody gets a lease that nobody holds"
            if lease.ended:
                assert lease.shard not in planned
        for each in plan:
            lease = each.lease
            if each.asks:
                assert lease.owner is not None
                assert lease.wanted_by is None
                assert not is_free(fleet, lease)
                assert fleet.resident[lease.shard] >= RESIDENCY
            elif not is_free(fleet, lease):
                assert each.to == (lease.wanted_by if lease.wanted_by in workers else lease.owner)
                assert fleet.handing[lease.shard] >= PATIENCE
        before = fleet.loads(workers)
        fleet.carry_out(plan)
        assert fleet.plan(workers) == (), "what was planned is not stable"
        assert_moves_even_out(before, fleet.loads(workers), plan, workers)


def assert_moves_even_out(before: Counter[str], after: Counter[str], plan: Sequence[Assignment], workers: Sequence[str]) -> None:
    """Whoever is asked has no fewer afterwards than whoever gets it, and a silent owner does not get its lease back."""
    for each in plan:
        if each.asks and each.lease.owner in workers:
            assert after[str(each.lease.owner)] >= after[each.to] - 1
        if not each.asks and each.lease.wanted_by is None and len(workers) > 1:
            assert each.to != each.lease.owner
    if not plan:
        assert after == before


@pytest.mark.parametrize("joined", [1, 3, 9])
def test_a_thousand_shards_are_level_within_three_rounds(joined: int) -> None:
    """First one worker has all; then others join: at most one lease more than another, and nothing moves after that."""
    fleet = Fleet(["nobody"] * 1000)
    fleet.carry_out(fleet.plan(["w0"]))
    workers = [f"w{number}" for number in range(joined + 1)]
    fleet.resident = dict.fromkeys(fleet.resident, 100.0)
    for _ in range(3):
        fleet.carry_out(fleet.plan(workers))
    loads = fleet.loads(workers)
    assert max(loads.values()) - min(loads.values()) <= 1
    assert fleet.plan(workers) == ()


def test_the_shards_of_a_worker_that_is_gone_are_spread_over_the_others() -> None:
    fleet = Fleet(["nobody"] * 1000)
    workers = [f"w{number}" for number in range(10)]
    fleet.carry_out(fleet.plan(workers))
    fleet.resident = dict.fromkeys(fleet.resident, 100.0)
    fleet.quiet = {lease.shard: 20.0 if lease.owner == "w3" else 1.0 for lease in fleet.leases}
    plan = fleet.plan([worker for worker in workers if worker != "w3"])
    assert {each.lease.owner for each in plan} == {"w3"}, "others' leases move, too"
    fleet.carry_out(plan)
    loads = fleet.loads(workers)
    assert loads["w3"] == 0
    assert max(loads.values()) - min(load for worker, load in loads.items() if worker != "w3") <= 1


def test_a_worker_that_comes_back_soon_moves_nothing_that_was_just_moved() -> None:
    """Without residency, leases would go to and fro with every worker that comes and goes."""
    fleet = Fleet(["a alive", "b new", "b new"])
    assert [each.lease.owner for each in fleet.plan(WORKERS) if each.asks] == []
    fleet = Fleet(["a alive", "a alive", "a alive", "b new"])
    assert [(each.lease.owner, each.to) for each in fleet.plan(WORKERS)] == [("a", "c")]
