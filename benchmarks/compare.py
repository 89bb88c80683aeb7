"""Which rows got worse since the baseline, judged by ratios alone.

A row is worse when its ratio to the plain loop of the same run is more than the margin above that of the baseline, and none of
its rounds lies within what the rounds of the baseline spread over. Absolute figures are shown beside it and never judged, because
machines differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

MARGIN: Final = 0.15
"""Share of the baseline's ratio: CPU of one client varies by about 5 % between runs, and a ratio has two."""
_JUDGED: Final = ("sdk", "lean")
"""Clients: our own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A row of a run."""

    key: str
    ratio: float
    """To the plain loop, median of the rounds."""
    low: float
    high: float
    cpu_per_100k: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    before: Standing
    now: Standing

    @property
    def by(self) -> float:
        """Above 0: it costs more."""
        return self.now.ratio / self.before.ratio - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    at: str
    """When the baseline was made."""
    changes: tuple[Change, ...]
    missing: tuple[str, ...]
    """Rows of the baseline that this run has not."""

    @property
    def worse(self) -> list[Change]:
        return [change for change in self.changes if is_worse(change.before, change.now)]

    @property
    def better(self) -> list[Change]:
        return [change for change in self.changes if is_worse(change.now, change.before)]


def is_worse(before: Standing, now: Standing) -> bool:
    return now.ratio > before.ratio * (1 + MARGIN) and now.low > before.high


def compare(baseline: dict[str, Any], document: dict[str, Any]) -> Comparison:
    """Both as `results.document_of` makes them."""
    before = {standing.key: standing for standing in _standings(baseline["rows"])}
    now = {standing.key: standing for standing in _standings(document["rows"])}
    return Comparison(
        at=baseline["at"],
        changes=tuple(Change(before=standing, now=now[key]) for key, standing in before.items() if key in now),
        missing=tuple(key for key in before if key not in now),
    )


def _standings(rows: Iterable[dict[str, Any]]) -> Iterable[Standing]:
    for row in rows:
        found = row["ratio_to_plain"]
        if row["client"] in _JUDGED and found:
            yield Standing(
                key=row["key"],
                ratio=found["median"],
                low=found["low"],
                high=found["high"],
                cpu_per_100k=row["cpu_per_100k"],
            )
