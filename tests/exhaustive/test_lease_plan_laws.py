"""The laws of `plan_leases`: law 7 of DESIGN section 3 over every small set of rows, and whole histories of up to three workers.

In a history workers plan and write one by one, or two plan from the same rows; who is asked hands over at any later time.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import combinations, permutations, product
from typing import Final, NamedTuple, TypeAlias

import pytest
from msgspec.structs import replace

from pollers.record import SHARD_END, TRIM_HORIZON
from runtime.core.lease import Lease
from runtime.core.lease_plan import LeasePlan, plan_leases, unfinished_parents

FAILOVER: Final = 10.0
ME: Final = "w0"
WORKERS: Final = ("w0", "w1", "w2")
DEAD: Final = "dead"
Tree: TypeAlias = tuple[tuple[int, ...], ...]
"""The parents of each shard."""


def every_tree(most: int) -> list[Tree]:
    """What splits, roll-overs and merges make of one or two shards; up to `most` in all."""
    found: list[Tree] = [(), ((),), ((), ())]
    for tree in found:
        leaves = [shard for shard in range(len(tree)) if not any(shard in parents for parents in tree)]
        grown = [(*tree, (leaf,)) for leaf in leaves] + [(*tree, (leaf,), (leaf,)) for leaf in leaves]
        grown += [(*tree, pair) for pair in combinations(leaves, 2)]
        found.extend(each for each in grown if len(each) <= most and each not in found)
    return found[1:]


class Kind(NamedTuple):
    """What a row may look like to us."""

    owner: str | None = None
    wanted_by: str | None = None
    held: bool = False
    quiet: bool = False
    ended: bool = False


KINDS: Final = (
    Kind(ended=True), Kind(), Kind(owner="w1"), Kind(owner="w1", quiet=True), Kind(owner=ME, held=True),
    Kind(owner="w2"), Kind(owner=ME), Kind(wanted_by=ME), Kind(wanted_by="w1"), Kind(wanted_by="w1", quiet=True),
    Kind(owner="w1", wanted_by=ME), Kind(owner="w1", wanted_by="w2"), Kind(owner="w1", wanted_by="w2", quiet=True),
    Kind(owner="w2", quiet=True), Kind(owner=ME, quiet=True), Kind(owner=ME, held=True, wanted_by="w1"),
    Kind(owner="w1", held=True), Kind(quiet=True), Kind(owner="w1", ended=True), Kind(owner=ME, wanted_by="w1"),
)  # fmt: skip
"""Held by us and owned by another: lost a moment ago, and not yet noticed."""


def leases_of(tree: Tree, kinds: Sequence[Kind]) -> list[Lease]:
    return [
        Lease(
            scope="m arn",
            shard=f"s{shard}",
            parents=tuple(f"s{parent}" for parent in parents),
            checkpoint=SHARD_END if kind.ended else TRIM_HORIZON,
            owner=kind.owner,
            wanted_by=kind.wanted_by,
        )
        for shard, (parents, kind) in enumerate(zip(tree, kinds, strict=True))
    ]


class View:
    """What the laws say of each row, read independently of the code."""

    def __init__(self, tree: Tree, kinds: Sequence[Kind], *, resuming: bool) -> None:
        self.leases = leases_of(tree, kinds)
        self.held = {f"s{shard}" for shard, kind in enumerate(kinds) if kind.held}
        self.quiet = {f"s{shard}": FAILOVER if kind.quiet else FAILOVER - 0.1 for shard, kind in enumerate(kinds)}
        self.resuming = resuming
        self.free: set[str] = set()
        self.workable: set[str] = set()
        for lease, parents, kind in zip(self.leases, tree, kinds, strict=True):
            if not kind.ended and all(kinds[parent].ended for parent in parents):
                self.workable.add(lease.shard)
                ownerless = kind.owner is None and kind.wanted_by in (None, ME)
                if not kind.held and (kind.quiet or ownerless or (resuming and kind.owner == ME)):
                    self.free.add(lease.shard)
        self.live = [lease for lease in self.leases if lease.shard in self.workable - self.free - self.held]

    def plan(self) -> LeasePlan:
        return plan_leases(self.leases, worker=ME, held=self.held, quiet=self.quiet, failover=FAILOVER, resuming=self.resuming)

    def judge(self, plan: LeasePlan) -> None:
        shards = [lease.shard for lease in (*plan.take, *plan.want)]
        assert len(shards) == len(set(shards)), "no shard twice"
        assert not self.held & set(shards), "nothing that we hold"
        assert all(any(lease is row for row in self.leases) for lease in (*plan.take, *plan.want)), "rows as they were seen"
        assert {lease.shard for lease in plan.take} <= self.free, "no child before its parents, nothing of a live owner"
        self.judge_wants(plan)
        others = {lease.owner for lease in self.live if lease.owner}
        rows = [lease for lease in self.leases if lease.shard in self.workable and self.quiet[lease.shard] < FAILOVER]
        others |= {lease.wanted_by for lease in rows if lease.wanted_by}  # who asks in silence is dead
        share = -(-len(self.workable) // len(others | {ME}))
        mine = len(self.held & self.workable)
        assert len(plan.take) == max(0, min(len(self.free), share - mine)), "its share with those who show life, and no less"
        if len(plan.take) < len(self.free):
            assert not plan.want, "nothing is asked for while something lies free"

    def judge_wants(self, plan: LeasePlan) -> None:
        theirs = Counter(lease.owner for lease in self.live if lease.owner and not lease.wanted_by)
        mine = len(self.held & self.workable) + len(plan.take) + sum(lease.wanted_by == ME for lease in self.live)
        for lease in plan.want:
            assert lease in self.live, "its owner shows life, and it can be worked on"
            assert lease.owner not in (None, ME)
            assert lease.wanted_by is None, "nobody asked for it yet"
            assert theirs[lease.owner] - mine >= 2, "the dead band"
            theirs[lease.owner] -= 1
            mine += 1
        if len(plan.take) == len(self.free):
            del theirs[ME]
            assert max(theirs.values(), default=0) - mine < 2, "and nothing beyond the dead band is left"


def judge_all(tree: Tree, kinds: Collection[Kind], *, looks: Collection[bool]) -> None:
    for row, resuming in product(product(kinds, repeat=len(tree)), looks):
        view = View(tree, row, resuming=resuming)
        view.judge(view.plan())


@pytest.mark.parametrize(("shards", "kinds"), [(1, len(KINDS)), (2, len(KINDS)), (3, 12), (4, 6)])
def test_law_7_holds_for_every_set_of_rows(shards: int, kinds: int) -> None:
    judge_all(((),) * shards, KINDS[:kinds], looks=(False, True))


@pytest.mark.parametrize("first", [KINDS[16], KINDS[12], KINDS[9]], ids=repr)
def test_law_7_holds_beside_the_rarest_rows(first: Kind) -> None:
    for others in product(KINDS, repeat=2):
        for row in ((first, *others), (first, *others, Kind(owner="w1")), (first, *others, Kind(owner="w1"), Kind(owner="w1"))):
            view = View(((),) * len(row), row, resuming=False)
            view.judge(view.plan())


@pytest.mark.parametrize("shards", range(1, 6))
def test_law_7_holds_in_every_tree(shards: int) -> None:
    """KIN-40, DDB-13: after splits, merges and roll-overs."""
    for tree in every_tree(shards):
        if len(tree) == shards:
            judge_all(tree, KINDS[: 5 if shards < 5 else 3], looks=(False,))


# whole histories


class World(NamedTuple):
    rows: tuple[Lease, ...]
    still: frozenset[str] = frozenset()
    """Shards whose rows have stood still for the failover time."""


@cache
def plan_of(world: World, worker: str) -> LeasePlan:
    held = {row.shard for row in world.rows if row.owner == worker}
    quiet = dict.fromkeys(world.still, FAILOVER)
    return plan_leases(world.rows, worker=worker, held=held, quiet=quiet, failover=FAILOVER)


def write(world: World, plan: LeasePlan, worker: str, seen: World) -> World:
    """Carry a plan out as the store does: only what is still as it was seen."""
    rows = {row.shard: row for row in world.rows}
    before = {row.shard: row for row in seen.rows}
    for lease in plan.take:
        if rows[lease.shard].owner == before[lease.shard].owner:
            assert lease.owner is None or lease.shard in seen.still, "nothing of a live owner"
            assert not unfinished_parents(lease, rows), "no child before its parents"
            rows[lease.shard] = replace(rows[lease.shard], owner=worker, wanted_by=None)
    for lease in plan.want:
        if rows[lease.shard].owner == lease.owner and rows[lease.shard].wanted_by is None:
            rows[lease.shard] = replace(rows[lease.shard], wanted_by=worker)
    taken = {lease.shard for lease in plan.take if rows[lease.shard].owner == worker}
    return World(tuple(rows.values()), world.still - taken)


def hand_over(world: World, given: Lease) -> World:
    rows = tuple(replace(row, owner=None) if row is given else row for row in world.rows)
    return World(rows, world.still - {given.shard})


class Group:
    """Some workers, and the worlds that they can bring about."""

    def __init__(self, *workers: str) -> None:
        self.workers = workers
        self.ends: set[World] = set()
        self._done: set[World] = set()
        self._open: set[World] = set()

    def explore(self, world: World) -> None:
        """Every order of steps ends in a world in which nothing is left to do."""
        assert world not in self._open, "shards that go to and fro"
        if world in self._done:
            return
        self._open.add(world)
        following = self.following(world)
        for each in following:
            self.explore(each)
        if not following:
            self.settle(world)
        self._open.discard(world)
        self._done.add(world)

    def following(self, world: World) -> set[World]:
        found = {hand_over(world, row) for row in world.rows if row.owner in self.workers and row.wanted_by}
        found |= {write(world, plan_of(world, one), one, world) for one in self.workers}
        for one, two in permutations(self.workers, 2):
            found.add(write(write(world, plan_of(world, one), one, world), plan_of(world, two), two, world))
        found.discard(world)
        if not found:  # nothing goes on but time
            found = {World(world.rows, frozenset(row.shard for row in world.rows if row.owner not in self.workers))} - {world}
        return found

    def settle(self, world: World) -> None:
        rows = {row.shard: row for row in world.rows}
        workable = [row for row in world.rows if not row.ended and not unfinished_parents(row, rows)]
        assert all(plan_of(world, worker) == LeasePlan() for worker in self.workers)
        assert all(row.owner in self.workers for row in workable), "nothing lies idle"
        assert not any(row.wanted_by for row in workable), "nobody waits"
        loads = [sum(row.owner == worker for row in workable) for worker in self.workers]
        assert max(loads) - min(loads) <= 1, "levelled within one"
        self.ends.add(world)


def worlds(shards: int, owners: Collection[str | None], askers: Collection[str | None]) -> Iterator[World]:
    kinds_of_one = [Kind(owner, asker) for owner, asker in product(owners, askers) if owner != asker or owner is None]
    for kinds in product(kinds_of_one, repeat=shards):
        yield World(tuple(leases_of(((),) * shards, kinds)))


@pytest.mark.parametrize(
    ("shards", "workers"), [(1, 1), (4, 1), (1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (1, 3), (2, 3), (3, 3), (4, 3)]
)
def test_workers_that_plan_in_any_order_level_their_shards_and_come_to_rest(shards: int, workers: int) -> None:
    group = Group(*WORKERS[:workers])
    for world in worlds(shards, (None, *group.workers), (None,)):
        group.explore(world)
    assert group.ends


@pytest.mark.parametrize(("shards", "workers"), [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2), (2, 3)])
def test_what_a_dead_worker_held_or_asked_for_is_taken_by_the_others(shards: int, workers: int) -> None:
    """Whoever asked for a shard and died before it was handed over must not keep the others from it."""
    group = Group(*WORKERS[:workers])
    for world in worlds(shards, (None, DEAD, *group.workers), (None, DEAD, *group.workers)):
        group.explore(world)
    assert group.ends


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_tree_is_worked_through_from_its_roots_to_its_leaves(workers: int) -> None:
    """KIN-40, COM-68: shards end in every possible order; what ends frees its children, and nothing is left at the end."""
    for tree in every_tree(5):
        group = Group(*WORKERS[:workers])
        frontier = {World(tuple(leases_of(tree, [Kind()] * len(tree))))}
        for _ in tree:
            group.ends.clear()
            for world in frontier:
                group.settle(in_turns(group, world))
            frontier = {ended for world in group.ends for ended in endings(world)}
        assert frontier
        assert all(row.ended for world in frontier for row in world.rows)


def in_turns(group: Group, world: World) -> World:
    """One after the other, each handing over what the one before asked for."""
    for _ in range(10):
        before = world
        for worker in group.workers:
            world = write(world, plan_of(world, worker), worker, world)
            for asked in [row for row in world.rows if row.wanted_by]:
                world = hand_over(world, asked)
        if world == before:
            break
    return world


def endings(world: World) -> Iterator[World]:
    """Each shard that is being worked on may be the next to end."""
    for ending in world.rows:
        if ending.owner and not ending.ended:
            yield World(tuple(replace(row, owner=None, checkpoint=SHARD_END) if row is ending else row for row in world.rows))


@pytest.mark.parametrize("shards", range(1, 5))
def test_a_worker_that_comes_back_takes_what_carries_its_name_at_once_and_nothing_of_the_others(shards: int) -> None:
    for world in worlds(shards, (None, ME, "w1"), (None,)):
        plan = plan_leases(world.rows, worker=ME, held=(), quiet={}, failover=FAILOVER, resuming=True)
        later = plan_leases(world.rows, worker=ME, held=(), quiet={}, failover=FAILOVER)
        assert not any(row.owner == "w1" for row in plan.take)
        assert not any(row.owner == ME for row in later.take), "afterwards they may be those of another process of our name"
        if not any(row.owner == "w1" for row in world.rows):
            assert {row.shard for row in plan.take} == {row.shard for row in world.rows}
