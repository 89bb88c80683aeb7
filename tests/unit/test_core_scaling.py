"""What a worker's part of the work is worth, and that what comes of it neither swings nor starves (laws of `runtime.core.scaling`)."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.core.scaling import CATCH_UP, LEAST, SMOOTHING, TARGET, Load, desired_workers, smooth_busy

PARTS = st.floats(min_value=0, max_value=1)
LAGS = st.floats(min_value=0, max_value=1e6)
LOADS = st.builds(Load, slots=PARTS, processor=PARTS, lag=LAGS, working=st.booleans(), shards=st.none() | st.integers(0, 100))
STEP = 5.0


def load(busy: float, *, lag: float = 0.0, working: bool = True, shards: int | None = None) -> Load:
    return Load(slots=busy, processor=0.0, lag=lag, working=working, shards=shards)


@given(PARTS, LOADS)
def test_a_part_is_never_0_while_there_is_work_and_never_more_than_the_shards_held(busy: float, load: Load) -> None:
    part = desired_workers(busy, load)
    assert part >= 0
    if load.working and load.shards != 0:
        assert part >= LEAST
    if load.shards is not None:
        assert part <= load.shards


@given(PARTS, PARTS, LAGS, LAGS)
def test_more_to_do_and_more_lag_never_make_it_less(a: float, b: float, early: float, late: float) -> None:
    (a, b), (early, late) = sorted((a, b)), sorted((early, late))
    assert desired_workers(a, load(a, lag=early)) <= desired_workers(b, load(b, lag=late)) + 1e-9


@given(st.floats(min_value=0, max_value=TARGET), LAGS)
def test_lateness_makes_no_difference_where_the_worker_is_not_busy(busy: float, lag: float) -> None:
    """A shard that waits for one bad record, a source that throttles: more workers would be as late."""
    assert desired_workers(busy, load(busy, lag=lag)) == desired_workers(busy, load(busy))


@given(LAGS)
def test_a_worker_that_does_all_it_can_counts_up_to_half_as_much_again_when_late(lag: float) -> None:
    part, punctual = desired_workers(1.0, load(1.0, lag=lag)), desired_workers(1.0, load(1.0))
    assert 1.4 < punctual < 1.5
    assert punctual <= part <= 1.5 * punctual
    assert (part == 1.5 * punctual) is (lag >= CATCH_UP)


@given(st.lists(PARTS, min_size=1, max_size=8), st.lists(PARTS, min_size=1, max_size=8), st.integers(1, 60))
def test_when_workers_come_and_go_the_sum_goes_nowhere_but_from_the_old_to_the_new(
    before: list[float], after: list[float], steps: int
) -> None:
    """In steps of any size the sum of the averages is the average of the sums: no bump while a new worker takes over."""
    count = max(len(before), len(after))
    averages, total = before + [0.0] * (count - len(before)), sum(before)
    for _ in range(steps):
        now = after + [0.0] * (count - len(after))
        averages = [smooth_busy(was, load(busy), seconds=STEP) for was, busy in zip(averages, now, strict=True)]
        total = smooth_busy(total, load(sum(after)), seconds=STEP)
        assert sum(averages) == pytest.approx(total)
        low, high = sorted((sum(before), sum(after)))
        assert low - 1e-9 <= total <= high + 1e-9


def test_the_average_does_not_depend_on_how_often_it_is_taken() -> None:
    coarse = smooth_busy(0.2, load(0.9), seconds=SMOOTHING)
    fine = 0.2
    for _ in range(6):
        fine = smooth_busy(fine, load(0.9), seconds=SMOOTHING / 6)
    assert fine == pytest.approx(coarse)
    assert coarse == pytest.approx(0.2 + 0.7 * 0.632, abs=0.001)


def test_the_busier_of_slots_and_processor_counts_and_a_mapping_without_work_counts_as_idle() -> None:
    both = Load(slots=0.2, processor=0.8, lag=0, working=True)
    assert smooth_busy(0, both, seconds=1e6) == pytest.approx(0.8)
    idle = Load(slots=0.0, processor=0.8, lag=0, working=False)
    assert smooth_busy(0, idle, seconds=1e6) == 0


def test_without_work_it_comes_down_to_0_and_not_to_a_trace_of_it() -> None:
    busy, seconds = 1.0, 0
    nothing = load(0.0, working=False)
    while desired_workers(busy, nothing):
        busy = smooth_busy(busy, nothing, seconds=STEP)
        seconds += 5
    assert 120 < seconds < 180


class Autoscaler:
    """As Kubernetes' HorizontalPodAutoscaler with the behaviour that deploy/kubernetes sets.

    Nothing within 10 %; up to twice as many, or two more, in a minute; down to the highest that was wanted in the last five.
    """

    def __init__(self) -> None:
        self.workers = 1
        self._wanted: list[int] = []
        self._were: list[int] = []

    def look(self, total: float) -> None:
        wanted = self.workers if abs(total / self.workers - 1) <= 0.1 else max(1, ceil(total))
        self._wanted = [*self._wanted[-19:], wanted]
        self._were = [*self._were[-3:], self.workers]
        most = max(2 * self._were[0], self._were[0] + 2)
        self.workers = min(wanted, most) if wanted > self.workers else min(self.workers, max(self._wanted))


def history(work: list[float], *, minutes: int) -> list[int]:
    """Workers over time, each 15 seconds, where `work` is what each minute brings, in whole workers, the last going on.

    What is not done waits, and is late by as long as it takes to bring as much.
    """
    scaler, averages, told, backlog = Autoscaler(), [0.0], [], 0.0
    for second in range(0, minutes * 60, 5):
        brings = work[min(second // 60, len(work) - 1)]
        done = min(len(averages) * STEP, backlog + brings * STEP)
        backlog = max(0.0, backlog + brings * STEP - done)
        busy, lag = done / STEP / len(averages), backlog / brings if brings else backlog
        sample = load(busy, lag=lag, working=done > 0)
        averages = [smooth_busy(each, sample, seconds=STEP) for each in averages]
        if second % 15 == 0:
            scaler.look(sum(desired_workers(each, sample) for each in averages))
            averages = (averages + [0.0] * scaler.workers)[: scaler.workers]
            told.append(scaler.workers)
    return told


@pytest.mark.parametrize("work", [0.3, 1.0, 2.5, 6.0, 9.7])
def test_a_fleet_grows_quickly_to_what_steady_work_needs_and_stays_there(work: float) -> None:
    told = history([work], minutes=60)
    settled = told[-1]
    assert work <= settled <= ceil(work / TARGET) + 1
    assert next(n for n, workers in enumerate(told) if workers >= work) <= 4 * 10, "within ten minutes"
    peak = told.index(max(told))
    assert told[:peak] == sorted(told[:peak]), f"up: {told}"
    assert told[peak:] == sorted(told[peak:], reverse=True), f"and down again, once: {told}"
    assert max(told) <= 2.5 * settled, "the surplus works off what had piled up"


def test_a_fleet_shrinks_five_minutes_after_the_work_and_not_in_a_lull_of_two() -> None:
    told = history([4.0] * 30 + [0.4] * 2 + [4.0] * 28 + [0.4] * 30, minutes=90)
    busy = told[28 * 4]
    assert busy >= 5
    assert set(told[28 * 4 : 60 * 4]) == {busy}, "neither a lull nor its end moves it"
    assert set(told[60 * 4 : 64 * 4]) == {busy}
    assert told[-1] == 1
