"""What a worker's /metrics says of a span of time: two scrapes, their difference, and what lies between bucket borders."""

import http.client
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import RunFailed

_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Over all mappings."""

    buckets: tuple[tuple[float, float], ...]
    """Upper bounds, rising, the last infinite; how many observations were at most that."""
    total: float
    """Sum of what was observed."""

    @property
    def count(self) -> float:
        return self.buckets[-1][1] if self.buckets else 0.0

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def since(self, earlier: "Histogram") -> "Histogram":
        before = dict(earlier.buckets)
        buckets = tuple((bound, count - before.get(bound, 0.0)) for bound, count in self.buckets)
        return Histogram(buckets=buckets, total=self.total - earlier.total)

    def quantile(self, share: float) -> float | None:
        """As if observations lay evenly within their bucket; None without observations.

        What lies above the last finite bound counts as that bound.
        """
        if not self.count:
            return None
        rank, low, below = share * self.count, 0.0, 0.0
        for bound, count in self.buckets:
            if math.isinf(bound):
                break
            if count >= rank and count > below:
                return low + (bound - low) * (rank - below) / (count - below)
            low, below = bound, count
        return low


def read_histogram(text: str, name: str) -> Histogram:
    """`text` in Prometheus' format; a metric that is not there is an empty histogram."""
    counts: defaultdict[float, float] = defaultdict(float)
    total = 0.0
    for family in text_string_to_metric_families(text):
        if family.name != name:
            continue
        for sample in family.samples:
            if sample.name == f"{name}_bucket":
                counts[float(sample.labels["le"])] += sample.value
            elif sample.name == f"{name}_sum":
                total += sample.value
    return Histogram(buckets=tuple(sorted(counts.items())), total=total)


def read_totals(text: str, name: str, label: str) -> dict[str, float]:
    """Of a counter, by the value of one of its labels: the sum over all others. Empty where it is not there."""
    totals: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                totals[sample.labels[label]] += sample.value
    return dict(totals)


def scrape(port: int) -> str:
    """Raises RunFailed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        text = response.read().decode()
    except OSError as error:
        raise RunFailed(f"the worker's /metrics does not answer: {error}") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise RunFailed(f"the worker's /metrics answers {response.status}")
    return text
