"""The bounds of how often and how much of a shard is read, and from when a batch waits for more, over every small input."""

from itertools import product
from typing import Final

import pytest

from pollers.record import Record, RecordId
from runtime.core.batching import ENVELOPE_BYTES, BatchWindow
from runtime.core.mapping import BatchLimits
from runtime.core.pacing import plan_ahead, plan_page, plan_read

CALLS: Final = 9
BEGINNINGS: Final = (0.0, 12_345.678)
TOLERANCE: Final = 1e-6
"""What sums of floats may be off."""


def reads(pattern: tuple[bool, ...], beginning: float, *, base: float, rate: float, share: float) -> list[float]:
    """When a shard is read, if each answer comes at once and says `more` or not."""
    times = [beginning]
    for more in pattern:
        times.append(plan_read(times[-1], more=more, base=base, rate=rate, share=share))
    return times


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("base", "rate"), [(1.0, 5.0), (0.25, 5.0), (0.05, 5.0), (0.25, 4.0)])
def test_no_second_has_more_reads_than_our_share_of_the_rate(base: float, rate: float, share: float) -> None:
    """KIN-12: 5 calls a second and shard. The first of them opens the second, so its fraction counts as one."""
    allowed = rate * share
    for pattern, beginning in product(product((False, True), repeat=CALLS), BEGINNINGS):
        times = reads(pattern, beginning, base=base, rate=rate, share=share)
        for first, last in product(range(0, CALLS + 1, 2), range(CALLS + 1)):
            assert first >= last or last - first <= (times[last] - times[first]) * allowed + TOLERANCE


@pytest.mark.parametrize(("base", "per_second"), [(1.0, 1), (0.25, 4)])
def test_an_idle_shard_is_read_at_the_base_rate(base: float, per_second: int) -> None:
    """KIN-10, DDB-10."""
    times = reads((False,) * 40, 100.0, base=base, rate=5.0, share=1.0)
    assert times == [100.0 + n / per_second for n in range(41)]


def test_a_shard_is_read_again_as_soon_as_the_rate_allows_while_there_is_more() -> None:
    """KIN-10, DDB-10; a share too small for the base rate slows that down as well."""
    for last, rate, share, base in product((0.0, 7.5), (1.0, 4.0, 8.0), (0.125, 0.25, 0.5, 1.0), (0.25, 1.0, 2.0)):
        fastest = 1 / (rate * share)
        assert plan_read(last, more=True, base=base, rate=rate, share=share) == last + fastest
        assert plan_read(last, more=False, base=base, rate=rate, share=share) == last + max(base, fastest)


def test_a_page_asks_for_what_there_is_room_for_and_always_for_something() -> None:
    for room, mean_cost, most in product(
        (-5, -1, 0, 1, 999, 1000, 1001, 5000, 10**7), (0.5, 1.0, 10.0, 333.3, 1000.0, 1e6), (1, 2, 100, 10_000)
    ):
        limit = plan_page(room, mean_cost=mean_cost, most=most)
        assert 1 <= limit <= most
        assert limit == 1 or limit * mean_cost <= room, "no more than there is room for"
        assert limit == most or (limit + 1) * mean_cost > room, "and no less"


def test_all_shards_together_read_a_bounded_amount_ahead() -> None:
    """The smallest share is kept for each: 1,000 shards of it are 256 MB, more shards are more."""
    before = plan_ahead(0)
    for shards in range(3000):
        ahead = plan_ahead(shards)
        assert 2**18 <= ahead <= 2**22
        assert ahead <= before, "no shard gains by there being more of them"
        assert ahead == 2**18 or ahead * shards <= 2**28
        assert ahead == 2**22 or (ahead + 1) * shards > 2**28 or ahead == 2**18, "and what is there is used"
        before = ahead
    assert (plan_ahead(1), plan_ahead(64), plan_ahead(128), plan_ahead(1024), plan_ahead(10**6)) == (
        2**22,
        2**22,
        2**21,
        2**18,
        2**18,
    )


# from when a batch waits


def window_of(added: tuple[int, ...], limits: BatchLimits) -> BatchWindow:
    window = BatchWindow(limits)
    for number, when in enumerate(added):
        window.add([Record(id=RecordId(str(number)), content={}, size=10, arrived=0.0)], when)
    return window


TIMES: Final = (100, 101, 103)


@pytest.mark.parametrize(("count", "size", "seconds"), list(product((1, 2, 3), (ENVELOPE_BYTES + 21, 1000), (0, 2))))
def test_com_15_a_window_begins_with_its_first_record_or_when_its_lane_became_free(count: int, size: int, seconds: int) -> None:
    """Law 8 (DESIGN, section 3) with `since`: a full batch waits for nothing, none waits past its window, none begins before."""
    limits = BatchLimits(records=count, size=size, window=seconds)
    for length in range(4):
        for added in product(TIMES, repeat=length):
            if list(added) != sorted(added):
                continue
            window = window_of(added, limits)
            for now, since in product(range(max(added, default=100), 108), (0.0, 99.0, 100.0, 102.0, 104.0)):
                remaining = window.remaining(now, since=since)
                if not added:
                    assert remaining is None
                elif not window.missing:
                    assert remaining == 0
                else:
                    assert remaining == max(0.0, max(added[0], since) + seconds - now)
                    assert remaining <= max(seconds, since + seconds - now)
            assert window.remaining(107, since=0.0) == window.remaining(107), "free from the beginning, if nothing is said"
