"""What is too old for another try: COM-72, COM-79..85 and KIN-61, number for number."""

from itertools import chain
from typing import Final

from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.decisions import AGE_EXCEEDED, EXPIRED, age_left, drop_expired
from runtime.core.mapping import RetryPolicy

NOW: Final = 1_764_085_000.25
POLICY: Final = RetryPolicy(attempts=0, age=60)


def batch(*numbers: int, arrived: float, retries: int = 0, throttles: int = 0) -> Batch:
    records = tuple(Record(id=RecordId(str(number)), content={}, size=1, arrived=arrived) for number in numbers)
    return Batch(records, retries=retries, throttles=throttles, received=3.0)


def numbers_of(records: tuple[Record, ...]) -> list[int]:
    return [int(record.id) for record in records]


def joined(*batches: Batch, retries: int = 0, throttles: int = 0) -> Batch:
    records = tuple(chain.from_iterable(each.records for each in batches))
    return Batch(records, retries=retries, throttles=throttles, received=3.0)


def test_kin_61_the_old_front_is_given_up_and_the_fresh_rest_is_invoked() -> None:
    """Also COM-79 and COM-81: never invoked, though no retry would be left."""
    old, fresh = batch(1, arrived=NOW - 61), batch(2, 3, 4, 5, 6, arrived=NOW - 1)
    decision = drop_expired(joined(old, fresh), NOW, POLICY)
    assert (decision.condition, numbers_of(decision.discarded)) == (AGE_EXCEEDED, [1])
    assert decision.pending == (fresh,)
    assert drop_expired(fresh, NOW, POLICY).pending == (fresh,)


def test_com_80_a_batch_that_grows_too_old_is_given_up_though_retries_remain() -> None:
    tried = batch(1, 2, retries=7, arrived=NOW)
    policy = RetryPolicy(age=60)
    assert drop_expired(tried, NOW + 59.75, policy).pending == (tried,)
    decision = drop_expired(tried, NOW + 60, policy)
    assert (decision.condition, decision.discarded, decision.pending) == (AGE_EXCEEDED, tried.records, ())


def test_com_73_what_remains_behind_an_old_front_begins_with_a_fresh_counter() -> None:
    fresh = batch(2, arrived=NOW)
    decision = drop_expired(joined(batch(1, arrived=NOW - 60), fresh, retries=3, throttles=2), NOW, POLICY)
    assert decision.pending == (fresh,)


def test_com_72_without_a_limit_no_record_is_too_old() -> None:
    ancient = batch(1, arrived=0.0)
    assert drop_expired(ancient, NOW, RetryPolicy()).pending == (ancient,)


def test_com_85_what_left_the_stream_is_given_up_after_it_was_tried() -> None:
    for tried in (batch(1, retries=1, arrived=NOW - 86_400), batch(1, throttles=1, arrived=NOW - 86_400)):
        decision = drop_expired(tried, NOW, RetryPolicy(), retention=86_400)
        assert (decision.condition, decision.discarded, decision.pending) == (EXPIRED, tried.records, ())
        assert drop_expired(tried, NOW - 0.25, RetryPolicy(), retention=86_400).pending == (tried,)
        assert drop_expired(tried, NOW, RetryPolicy(), retention=None).pending == (tried,)


def test_com_85_what_was_just_read_is_invoked_however_old_it_is() -> None:
    fresh = batch(1, arrived=NOW - 90_000)
    assert drop_expired(fresh, NOW, RetryPolicy(), retention=86_400).pending == (fresh,)


def test_com_80_a_record_that_is_past_its_age_and_past_the_retention_is_given_up_for_its_age() -> None:
    """That goes to the destination; what expired goes nowhere."""
    decision = drop_expired(batch(1, retries=1, arrived=NOW - 90_000), NOW, RetryPolicy(age=60), retention=86_400)
    assert decision.condition == AGE_EXCEEDED


def test_com_83_the_time_left_is_that_of_the_first_record() -> None:
    both = joined(batch(1, arrived=NOW - 40), batch(2, arrived=NOW - 59))
    assert age_left(both, NOW, RetryPolicy(age=60)) == 20
    assert age_left(both, NOW + 100, RetryPolicy(age=60)) == 0
    assert age_left(both, NOW, RetryPolicy()) == float("inf")
