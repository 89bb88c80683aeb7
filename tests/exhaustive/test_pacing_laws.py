"""The bounds of `runtime.core.pacing`, over every small input."""

from itertools import product

import pytest

from runtime.core.pacing import (
    LEAST_PARALLEL,
    MOST_PARALLEL,
    MOST_PER_RECEIVE,
    most_collecting,
    plan_concurrency,
    plan_parallel,
    plan_receives,
    plan_round,
)


def test_receives_stay_between_one_and_the_slots() -> None:
    for receives, full, empty, slots in product(range(1, 40), (False, True), (False, True), range(40)):
        planned = plan_receives(receives, full=full, empty=empty, slots=slots)
        assert 1 <= planned <= max(1, slots)


def test_receives_double_when_full_halve_when_empty_and_stay_in_between() -> None:
    for receives, slots in product(range(1, 40), range(1, 40)):
        within = min(receives, slots)
        assert plan_receives(receives, full=True, empty=False, slots=slots) == min(2 * receives, slots)
        assert plan_receives(receives, full=False, empty=True, slots=slots) == max(1, min(receives // 2, slots))
        assert plan_receives(receives, full=False, empty=False, slots=slots) == within


@pytest.mark.parametrize("slots", range(1, 70))
def test_full_polls_reach_the_slots_and_empty_ones_end_at_a_single_receive(slots: int) -> None:
    receives = 1
    for _ in range(slots.bit_length()):
        receives = plan_receives(receives, full=True, empty=False, slots=slots)
    assert receives == slots
    for _ in range(slots.bit_length()):
        receives = plan_receives(receives, full=False, empty=True, slots=slots)
    assert receives == 1


def test_concurrency_moves_by_one_within_its_bounds() -> None:
    """Not below 2 (SQS-41) where 2 are allowed, never over the maximum."""
    for maximum in range(1, 30):
        floor = min(2, maximum)
        for allowed in range(floor, maximum + 1):
            assert plan_concurrency(allowed, failed=True, maximum=maximum) == max(floor, allowed - 1)
            assert plan_concurrency(allowed, failed=False, maximum=maximum) == min(maximum, allowed + 1)


def test_concurrency_comes_back_into_its_bounds_from_anywhere() -> None:
    for allowed, maximum, failed in product(range(-3, 40), range(1, 30), (False, True)):
        assert min(2, maximum) <= plan_concurrency(allowed, failed=failed, maximum=maximum) <= maximum


def test_parallel_receives_never_ask_for_much_more_than_fits() -> None:
    for parallel, full, missing in product(range(1, 20), (False, True), (0, 1, 9, 10, 11, 20, 21, 99, 100, 101, 10_000)):
        for room, mean_size in product((0, 1, 9, 10, 99, 100, 1000, 10**6), (1, 7, 10, 1000)):
            planned = plan_round(parallel, full=full, missing=missing, room=room, mean_size=mean_size)
            assert 1 <= planned <= 1024
            assert planned <= (2 * parallel if full else 1)
            if planned > 1:
                assert (planned - 1) * MOST_PER_RECEIVE < missing, "the last receive has something to bring"
                assert planned * MOST_PER_RECEIVE * mean_size <= room, "records of the mean size all fit"


def test_parallel_receives_grow_as_far_as_the_batch_needs() -> None:
    for missing in range(1, 12_000, 13):
        grown = 1
        for _ in range(10):
            grown = plan_round(grown, full=True, missing=missing, room=10**9, mean_size=1)
        assert grown == min(1024, -(-missing // MOST_PER_RECEIVE))


def test_receives_that_fill_a_batch_become_fewer_while_the_loop_is_busy_and_more_while_it_waits() -> None:
    for parallel, percent in product(range(LEAST_PARALLEL, MOST_PARALLEL + 1), range(120)):
        planned = plan_parallel(parallel, worked=percent / 100, elapsed=1.0)
        assert LEAST_PARALLEL <= planned <= MOST_PARALLEL
        if percent > 95:
            assert planned == max(LEAST_PARALLEL, parallel // 2)
        elif percent < 90:
            assert planned == min(MOST_PARALLEL, parallel * 2)
        else:
            assert planned == parallel


def test_a_batch_that_took_no_time_says_nothing() -> None:
    assert plan_parallel(48, worked=0.0, elapsed=0.0) == 48


def test_batches_are_collected_two_at_once_at_least_but_by_a_busy_loop() -> None:
    for batch, parallel in product(range(1, 10_001), (32, 48, 64)):
        collecting = most_collecting(batch, parallel)
        assert collecting >= (1 if parallel == LEAST_PARALLEL else 2)
        assert (collecting - 2) * batch <= 2 * parallel * MOST_PER_RECEIVE, "no more than the receives can fill"
