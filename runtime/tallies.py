"""Counters and histograms for what happens at every batch, counted in plain numbers and shown as Prometheus' own at each scrape.

prometheus_client's are made for many threads, and take a lock for every step. Everything here is told on the event loop.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Count:
    """One line of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        self.value += amount


class Counter(Collector):
    def __init__(self, name: str, text: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        """`name`: without `_total`."""
        self._name = name
        self._text = text
        self._label_names = labels
        self._lines: dict[Labels, Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """The line of these label values, which appears with 0."""
        return self._lines.get(values) or self._lines.setdefault(values, Count())

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._text, labels=self._label_names)
        for values, line in self._lines.items():
            family.add_metric(values, line.value)
        yield family


class Distribution:
    """One line of a histogram."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds`: rising."""
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Values up to each bound and over the one before; the last one has those over all bounds."""
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histogram(Collector):
    def __init__(
        self, name: str, text: str, labels: Sequence[str], *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._text = text
        self._label_names = labels
        self._bounds = tuple(map(float, buckets))
        self._shown = [*map(floatToGoString, self._bounds), "+Inf"]
        self._lines: dict[Labels, Distribution] = {}
        registry.register(self)

    def labels(self, *values: str) -> Distribution:
        """The line of these label values, which appears with 0."""
        return self._lines.setdefault(values, Distribution(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._label_names)
        for values, line in self._lines.items():
            buckets, sum_of_counts = [], 0
            for bound, count in zip(self._shown, line.counts, strict=True):
                sum_of_counts += count
                buckets.append((bound, sum_of_counts))
            family.add_metric(values, buckets, line.total)
        yield family
