"""Which shards a worker takes and which it asks for: KIN-40, KIN-41, DDB-13, DDB-15, and how several workers share."""

from collections.abc import Collection, Mapping
from itertools import product

from pollers.record import SHARD_END, TRIM_HORIZON, Position
from runtime.core.lease import Lease
from runtime.core.lease_plan import LeasePlan, passed_shards, plan_leases, unfinished_parents

FAILOVER = 10.0


def lease(
    shard: str, *parents: str, owner: str | None = None, wanted_by: str | None = None, checkpoint: Position = TRIM_HORIZON
) -> Lease:
    return Lease(scope="m arn", shard=shard, parents=parents, checkpoint=checkpoint, owner=owner, wanted_by=wanted_by)


def ended(shard: str, *parents: str) -> Lease:
    return lease(shard, *parents, checkpoint=SHARD_END)


def plan(
    *leases: Lease,
    worker: str = "me",
    held: Collection[str] = (),
    quiet: Mapping[str, float] | None = None,
    resuming: bool = False,
) -> LeasePlan:
    return plan_leases(leases, worker=worker, held=held, quiet=quiet or {}, failover=FAILOVER, resuming=resuming)


def taken(planned: LeasePlan) -> set[str]:
    return {each.shard for each in planned.take}


def wanted(planned: LeasePlan) -> set[str]:
    return {each.shard for each in planned.want}


def test_what_comes_before_a_row_is_passed_however_long_ago_and_nothing_else() -> None:
    """KCL deletes rows of ended shards that the stream still shows, and begins at LATEST with rows of open shards alone."""
    shown = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ("d",), "f": ("d",), "new": ()}
    assert passed_shards([lease("e", "d")], shown) == {"a", "b", "c", "d"}
    assert passed_shards([lease("e")], shown) == {"a", "b", "c", "d"}, "also of a row that does not name them"
    assert passed_shards([lease("b", "a"), lease("new")], shown) == {"a"}
    assert passed_shards([lease("e", "gone")], {}) == {"gone"}
    assert passed_shards([], shown) == set()


def test_a_worker_that_is_alone_takes_everything() -> None:
    assert taken(plan(lease("a"), lease("b"), lease("c"))) == {"a", "b", "c"}


def test_a_shard_that_has_ended_is_taken_by_nobody() -> None:
    assert plan(ended("a"), ended("b", "a")) == LeasePlan()
    assert ended("a").ended
    assert not lease("a", checkpoint=Position.after("7")).ended


def test_kin_40_a_child_waits_for_exactly_those_parents_that_have_not_ended() -> None:
    """DDB-15: a parent without a row has left the stream and counts as ended."""
    for states in product(("ended", "open", "gone"), repeat=2):
        parents = [
            lease(name) if state == "open" else ended(name) for name, state in zip("ab", states, strict=True) if state != "gone"
        ]
        child = lease("child", "a", "b")
        waits_for = tuple(name for name, state in zip("ab", states, strict=True) if state == "open")
        assert unfinished_parents(child, {each.shard: each for each in (*parents, child)}) == waits_for
        assert ("child" in taken(plan(*parents, child))) is not bool(waits_for)


def test_kin_40_a_parent_that_is_being_worked_on_has_not_ended() -> None:
    rows = [lease("a", owner="me"), lease("b", "a")]
    assert plan(*rows, held={"a"}) == LeasePlan()
    assert taken(plan(ended("a"), rows[1])) == {"b"}


def test_what_waits_for_its_parents_is_no_load() -> None:
    """Otherwise a worker would be asked for shards that nobody can work on."""
    rows = [lease("a", owner="me"), lease("b", owner="other"), lease("c", "a", owner="other"), lease("d", "a", owner="other")]
    assert plan(*rows, held={"a"}) == LeasePlan()


def test_nothing_is_taken_from_a_worker_that_shows_life() -> None:
    rows = [lease("a", owner="other"), lease("b", owner="other")]
    assert taken(plan(*rows, quiet={"a": FAILOVER - 0.1, "b": 0.0})) == set()
    assert taken(plan(lease("a", owner="other"))) == set(), "a row that we never saw before shows life"


def test_a_row_that_stood_still_for_the_failover_time_is_free() -> None:
    assert taken(plan(lease("a", owner="dead"), quiet={"a": FAILOVER})) == {"a"}


def test_free_shards_are_shared_with_workers_that_hold_some() -> None:
    rows = [lease("a", owner="other"), lease("b", owner="other"), lease("c"), lease("d"), lease("e")]
    assert len(taken(plan(*rows))) == 3
    assert len(taken(plan(*rows, lease("f", owner="third")))) == 2


def test_a_worker_that_comes_later_asks_for_half() -> None:
    rows = [lease(name, owner="other") for name in "abcdef"]
    planned = plan(*rows)
    assert (taken(planned), len(wanted(planned))) == (set(), 3)


def test_one_more_is_no_reason_to_ask() -> None:
    """The dead band: it would be the other's turn to ask at once."""
    rows = [lease("a", owner="other"), lease("b", owner="other"), lease("c", owner="me")]
    assert plan(*rows, held={"c"}) == LeasePlan()
    assert len(wanted(plan(*rows, lease("d", owner="other"), held={"c"}))) == 1


def test_whoever_has_most_is_asked() -> None:
    rows = [lease("a", owner="few"), lease("b", owner="few"), *(lease(name, owner="most") for name in "cdef")]
    assert wanted(plan(*rows)) <= set("cdef")


def test_what_was_asked_for_is_not_asked_for_again_and_counts_as_coming() -> None:
    rows = [lease("a", owner="other", wanted_by="me"), lease("b", owner="other"), lease("c", owner="other")]
    assert plan(*rows) == LeasePlan()


def test_what_was_handed_over_goes_to_whoever_asked_for_it() -> None:
    rows = [lease("a", wanted_by="me"), lease("b", owner="other")]
    assert taken(plan(*rows)) == {"a"}
    assert taken(plan(*rows, worker="third")) == set()


def test_what_was_asked_for_comes_first() -> None:
    rows = [lease("a", wanted_by="me"), *(lease(name) for name in "bcd"), *(lease(name, owner="other") for name in "efg")]
    assert plan(*rows, held=()).take[0].shard == "a"


def test_what_was_handed_over_to_nobody_is_free_after_the_failover_time() -> None:
    row = lease("a", wanted_by="dead")
    assert taken(plan(row, quiet={"a": FAILOVER - 0.1})) == set()
    assert taken(plan(row, quiet={"a": FAILOVER})) == {"a"}


def test_a_worker_that_asked_and_died_takes_no_share_of_what_is_left() -> None:
    """Else the one that is left would hold half, and the rest would never be read."""
    rows = [lease("a", wanted_by="dead"), lease("b", owner="me")]
    assert taken(plan(*rows, held={"b"}, quiet={"a": FAILOVER})) == {"a"}


def test_what_is_free_is_taken_and_not_asked_for_as_well() -> None:
    """A worker that shows life may have lost one of its leases."""
    rows = [lease("a", owner="other"), lease("b", owner="other"), lease("c", owner="other")]
    for lost in "abc":
        planned = plan(*rows, quiet={lost: FAILOVER})
        assert (taken(planned), wanted(planned)) == ({lost}, set())


def test_nothing_is_asked_for_while_something_lies_free() -> None:
    """Here it is for the third worker, which asked us for one and holds nothing yet."""
    mine = [lease("a", owner="me", wanted_by="third"), lease("b", owner="me"), lease("c", owner="me")]
    theirs = [lease(name, owner="other") for name in "efghi"]
    assert plan(*mine, *theirs, lease("d"), held=set("abc")) == LeasePlan()


def test_what_we_hold_is_not_asked_for_although_its_row_says_that_it_was_lost() -> None:
    rows = [lease(name, owner="other") for name in "abcd"]
    for lost in "abcd":
        assert lost not in wanted(plan(*rows, held={lost}))


def test_rows_with_our_name_are_ours_at_the_first_look_only() -> None:
    """KIN-43: a worker that was started again goes on where it stood, without waiting for the failover time."""
    rows = [lease("a", owner="me"), lease("b", owner="other")]
    assert taken(plan(*rows, resuming=True)) == {"a"}
    assert taken(plan(*rows)) == set()
    assert taken(plan(*rows, quiet={"a": FAILOVER})) == {"a"}


def test_workers_reach_for_different_shards_first() -> None:
    rows = [lease(f"shard-{number}") for number in range(8)]
    orders = {tuple(each.shard for each in plan(*rows, worker=f"worker-{number}").take) for number in range(4)}
    assert len(orders) == 4
    assert plan(*rows, worker="worker-0") == plan(*reversed(rows), worker="worker-0"), "whatever order the store gives them in"
