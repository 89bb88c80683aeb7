"""Counters and histograms of our own, against those of prometheus_client: the same page for the same events."""

import random

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as TheirCounter
from prometheus_client import Histogram as TheirHistogram

from runtime.tallies import Counter, Histogram

BOUNDS = (0.001, 0.5, 1, 2.5, 10, 10000)


def page(registry: CollectorRegistry) -> list[str]:
    """Without the times at which lines were made, which ours have not."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_the_page_is_the_one_that_prometheus_client_makes() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counters: list[Counter | TheirCounter] = [
        Counter("esm_x", "What.", ("mapping",), registry=ours),
        TheirCounter("esm_x", "What.", ("mapping",), registry=theirs),
    ]
    histograms: list[Histogram | TheirHistogram] = [
        Histogram("esm_y", "How long.", ("mapping",), buckets=BOUNDS, registry=ours),
        TheirHistogram("esm_y", "How long.", ("mapping",), buckets=BOUNDS, registry=theirs),
    ]
    dice = random.Random(1)  # noqa: S311  # numbers, not secrets
    values = [*BOUNDS, 0.0, -1.0, 10001.0, *(dice.uniform(0, 12) for _ in range(200))]
    for mapping in ("a", 'b"\\\n'):
        for counter in counters:
            counter.labels(mapping).inc()
            counter.labels(mapping).inc(41)
        for histogram in histograms:
            for value in values:
                histogram.labels(mapping).observe(value)
    assert page(ours) == page(theirs)


def test_a_line_is_there_with_0_before_anything_happened() -> None:
    registry = CollectorRegistry()
    Counter("esm_x", "What.", ("mapping",), registry=registry).labels("a")
    Histogram("esm_y", "How long.", ("mapping",), buckets=BOUNDS, registry=registry).labels("a")
    assert registry.get_sample_value("esm_x_total", {"mapping": "a"}) == 0
    assert registry.get_sample_value("esm_y_bucket", {"mapping": "a", "le": "+Inf"}) == 0
