"""The laws of `backoff`: grows up to its cap and stays in the upper half of what it has grown to."""

from itertools import pairwise, product
from typing import Final

import pytest

from runtime.core.backoff import backoff

BASES: Final = (0.05, 0.5, 1.0, 3.0)
CAPS: Final = (0.01, 0.5, 1.0, 20.0, 60.0, 1e12)
JITTERS: Final = (0.0, 0.001, 0.25, 0.5, 0.75, 0.999999)
FAILURES: Final = range(1, 80)


@pytest.mark.parametrize(("base", "cap"), list(product(BASES, CAPS)))
def test_a_wait_lies_in_the_upper_half_below_its_ceiling(base: float, cap: float) -> None:
    for failures, jitter in product(FAILURES, JITTERS):
        ceiling = min(cap, base * 2 ** min(failures - 1, 30))
        wait = backoff(failures, base=base, cap=cap, jitter=jitter)
        assert ceiling / 2 <= wait < ceiling <= cap


@pytest.mark.parametrize(("base", "cap"), list(product(BASES, CAPS)))
def test_one_more_failure_never_shortens_the_wait(base: float, cap: float) -> None:
    for jitter in JITTERS:
        waits = [backoff(failures, base=base, cap=cap, jitter=jitter) for failures in FAILURES]
        assert all(earlier <= later for earlier, later in pairwise(waits))


def test_waits_double_until_the_cap() -> None:
    assert [backoff(n, base=0.5, cap=20, jitter=0) * 2 for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 20, 20]


def test_a_failure_that_lasts_for_years_is_no_overflow() -> None:
    assert backoff(10**9, base=0.5, cap=60, jitter=0.5) == 45
