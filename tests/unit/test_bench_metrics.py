"""What is read from a worker's histograms."""

import math

import pytest

from benchmarks.metrics import Histogram, read_histogram, read_totals

_TEXT = """\
# HELP esm_batch_wait_seconds First record received to handler invoked.
# TYPE esm_batch_wait_seconds histogram
esm_batch_wait_seconds_bucket{le="0.001",mapping="a",source="sqs"} 1.0
esm_batch_wait_seconds_bucket{le="10.0",mapping="a",source="sqs"} 3.0
esm_batch_wait_seconds_bucket{le="+Inf",mapping="a",source="sqs"} 4.0
esm_batch_wait_seconds_count{mapping="a",source="sqs"} 4.0
esm_batch_wait_seconds_sum{mapping="a",source="sqs"} 30.0
esm_batch_wait_seconds_bucket{le="0.001",mapping="b",source="sqs"} 2.0
esm_batch_wait_seconds_bucket{le="10.0",mapping="b",source="sqs"} 2.0
esm_batch_wait_seconds_bucket{le="+Inf",mapping="b",source="sqs"} 2.0
esm_batch_wait_seconds_count{mapping="b",source="sqs"} 2.0
esm_batch_wait_seconds_sum{mapping="b",source="sqs"} 0.5
# TYPE esm_batch_wait_seconds_created gauge
esm_batch_wait_seconds_created{mapping="a",source="sqs"} 1.7e+09
"""


def histogram(*buckets: tuple[float, float], total: float = 0.0) -> Histogram:
    return Histogram(buckets=buckets, total=total)


def test_mappings_are_added_up() -> None:
    found = read_histogram(_TEXT, "esm_batch_wait_seconds")
    assert found == histogram((0.001, 3), (10.0, 5), (math.inf, 6), total=30.5)
    assert found.mean == pytest.approx(30.5 / 6)


def test_a_counter_is_added_up_by_one_of_its_labels() -> None:
    text = """\
# TYPE esm_state_capacity_units_total counter
esm_state_capacity_units_total{kind="read",operation="Scan"} 7.5
esm_state_capacity_units_total{kind="write",operation="UpdateItem"} 2.0
esm_state_capacity_units_total{kind="odd",operation="UpdateItem"} 1.0
# TYPE esm_other_total counter
esm_other_total{operation="Scan"} 9.0
"""
    assert read_totals(text, "esm_state_capacity_units_total", "operation") == {"Scan": 7.5, "UpdateItem": 3.0}
    assert read_totals(text, "esm_nothing_total", "operation") == {}


def test_what_is_not_there_is_empty() -> None:
    found = read_histogram(_TEXT, "esm_batch_records")
    assert (found.count, found.mean, found.quantile(0.5)) == (0, None, None)


def test_only_the_span_between_two_scrapes_counts() -> None:
    before, after = histogram((1.0, 100), (2.0, 100), (math.inf, 100)), histogram((1.0, 100), (2.0, 110), (math.inf, 110))
    assert after.since(before).quantile(0.5) == pytest.approx(1.5)
    assert after.since(histogram()).count == 110


@pytest.mark.parametrize(("share", "value"), [(0.25, 0.5), (0.5, 1.0), (0.75, 2.0), (1.0, 3.0)])
def test_a_quantile_lies_within_its_bucket_in_proportion(share: float, value: float) -> None:
    assert histogram((1.0, 10), (3.0, 20), (math.inf, 20)).quantile(share) == pytest.approx(value)


def test_a_quantile_skips_empty_buckets() -> None:
    found = histogram((1.0, 0), (2.0, 0), (4.0, 4), (math.inf, 4))
    assert found.quantile(0.5) == pytest.approx(3.0)
    assert found.quantile(0.0) == pytest.approx(2.0)


def test_what_is_beyond_the_last_bound_counts_as_that_bound() -> None:
    assert histogram((1.0, 1), (5.0, 2), (math.inf, 100)).quantile(0.99) == 5.0
