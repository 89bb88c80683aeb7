"""The laws of `drop_expired` and `age_left`, over every small arrangement of ages."""

from itertools import product
from math import inf
from typing import Final

import pytest

from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.decisions import AGE_EXCEEDED, EXPIRED, age_left, drop_expired
from runtime.core.mapping import UNLIMITED, RetryPolicy

NOW: Final = 1_000_000.0
LIMIT: Final = 60
AGES: Final = (-1.0, 0.0, 29.5, 30.0, 59.5, 60.0, 99.5, 100.0, 101.0)
"""Around the limit and each retention; a clock that is behind that of the source shows negative ages."""
RETENTIONS: Final = (None, 30.0, 60.0, 100.0)
COUNTERS: Final = ((0, 0), (0, 1), (1, 0), (2, 3))


def aged(ages: tuple[float, ...], retries: int = 0, throttles: int = 0) -> Batch:
    records = tuple(Record(id=RecordId(str(n)), content={}, size=1, arrived=NOW - age) for n, age in enumerate(ages))
    return Batch(records, retries=retries, throttles=throttles, received=7.0)


def expected_condition(age: float, limit: float, retention: float | None, *, tried: bool) -> str | None:
    if age >= limit:
        return AGE_EXCEEDED
    return EXPIRED if tried and retention is not None and age >= retention else None


def judge_age(ages: tuple[float, ...], batch: Batch, policy: RetryPolicy, retention: float | None) -> None:
    decision = drop_expired(batch, NOW, policy, retention=retention)
    tried = batch.retries + batch.throttles > 0
    limit = inf if policy.age == UNLIMITED else policy.age
    conditions = [expected_condition(age, limit, retention, tried=tried) for age in ages]
    rest = tuple(each for pending in decision.pending for each in pending.records)
    assert decision.discarded + rest == batch.records, "conservation and order"
    assert decision.condition == conditions[0], "no silent drop, and never for another reason than the front's"
    assert bool(decision.discarded) is (decision.condition is not None)
    assert not decision.settled + decision.returned
    assert len(decision.pending) == bool(rest)
    assert not decision.pause, "nothing was invoked, so nothing is waited for"
    if not decision.discarded:
        assert decision.pending == (batch,), "counters stay"
        return
    cut = len(decision.discarded)
    assert set(conditions[:cut]) == {decision.condition}, "one condition for one discard"
    assert not rest or conditions[cut] != decision.condition, "as much of the front as it is true of (COM-79)"
    assert not rest or decision.pending == (Batch(rest, received=batch.received),), "the checkpoint moves: counters begin anew"


@pytest.mark.parametrize("count", range(1, 5))
def test_what_is_too_old_goes_from_the_front_and_nothing_else_does(count: int) -> None:
    """COM-79..82, COM-85, over ages in any order: records of several producers need not arrive by their clocks."""
    for ages, (retries, throttles) in product(product(AGES if count < 4 else AGES[1::2], repeat=count), COUNTERS):
        batch = aged(ages, retries, throttles)
        for limit, retention in product((LIMIT, UNLIMITED), RETENTIONS):
            judge_age(ages, batch, RetryPolicy(age=limit), retention)


@pytest.mark.parametrize("count", range(1, 5))
def test_nothing_is_invoked_whose_front_is_too_old(count: int) -> None:
    """COM-81, asking again after each discard as delivery does; it ends with a young front or with nothing."""
    policy = RetryPolicy(age=LIMIT)
    for ages, retention in product(product(AGES if count < 4 else AGES[1::2], repeat=count), RETENTIONS):
        pending: tuple[Batch, ...] = (aged(ages, retries=1),)
        discarded: tuple[Record, ...] = ()
        for _ in range(count + 1):
            decision = drop_expired(pending[0], NOW, policy, retention=retention)
            pending, discarded = decision.pending, discarded + decision.discarded
            if not pending or not decision.discarded:
                break
        assert discarded + (pending[0].records if pending else ()) == aged(ages).records
        assert not pending or NOW - pending[0].records[0].arrived < LIMIT
        assert all(NOW - each.arrived >= min(LIMIT, retention or inf) for each in discarded)


def test_the_time_left_ends_exactly_when_the_front_grows_too_old() -> None:
    """COM-83."""
    for ages, (retries, throttles) in product(product(AGES, repeat=2), COUNTERS):
        batch, policy = aged(ages, retries, throttles), RetryPolicy(age=LIMIT)
        left = age_left(batch, NOW, policy)
        assert left == max(0.0, LIMIT - ages[0])
        assert drop_expired(batch, NOW + left, policy).condition == AGE_EXCEEDED
        assert left == 0 or drop_expired(batch, NOW + left - 0.25, policy).condition is None
        assert age_left(batch, NOW, RetryPolicy()) == inf
