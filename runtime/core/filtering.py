"""FilterCriteria: which records a function gets (`spec/filtering.md`, `docs/filters.md`).

The law: a record passes when at least one filter matches its view, the record as the function would see it with its data decoded.
A filter matches when everything that its pattern names is found; the handler always gets the original record (FLT-11).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from msgspec import Struct

from runtime.core.filters.errors import INVALID, FilterError
from runtime.core.filters.explaining import why_not
from runtime.core.filters.matching import Alternative, build_alternative
from runtime.core.filters.patterns import MAX_LENGTH, DataRule, read_pattern

__all__ = ["INVALID", "MAX_LENGTH", "DataRule", "FilterCriteria", "FilterError"]


class _Filter(Struct, frozen=True):
    alternatives: tuple[Alternative, ...]
    foreign: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCriteria:
    """The filters of a mapping, ready to be used. Two are equal when their patterns are."""

    patterns: tuple[str, ...]
    """As given. Never empty: no filter at all is `None` in a mapping (FLT-05)."""
    fields: frozenset[str]
    """What views must hold to be judged: keys of a record (`body`), and of objects in it the keys that are asked for
    (`dynamodb.NewImage`)."""
    foreign: tuple[str, ...]
    """Operators in use that Lambda's documentation does not have (FLT-51)."""
    _filters: tuple[_Filter, ...] = field(compare=False, repr=False)
    _alternatives: tuple[Alternative, ...] = field(compare=False, repr=False)

    @classmethod
    def compile(cls, patterns: Sequence[str], *, data: DataRule | None) -> Self:
        """`data`: what the source says of its data; None for views that have none. Raises FilterError for the first wrong one."""
        if not patterns:
            raise ValueError("no filters: a mapping without them has no FilterCriteria")
        filters = [_compiled(pattern, data) for pattern in patterns]
        alternatives = tuple(each for one in filters for each in one.alternatives)
        paths = [wanted.parts for each in alternatives for wanted in each.wanted]
        return cls(
            patterns=tuple(patterns),
            fields=frozenset(".".join(parts[:count]) for parts in paths for count in (1, 2)),
            foreign=tuple(dict.fromkeys(name for one in filters for name in one.foreign)),
            _filters=tuple(filters),
            _alternatives=alternatives,
        )

    def matches(self, view: dict[str, Any]) -> bool:
        for alternative in self._alternatives:  # noqa: SIM110  # this is the hot path, and a generator is not free
            if alternative.matches(view):
                return True
        return False

    def explain(self, view: dict[str, Any]) -> tuple[str, ...]:
        """For each filter that does not match, why: one line each, long values cut. Empty when all match."""
        return tuple(
            f"filter {number}: {why_not(one.alternatives, view)}"
            for number, one in enumerate(self._filters, start=1)
            if not any(each.matches(view) for each in one.alternatives)
        )


def _compiled(pattern: str, data: DataRule | None) -> _Filter:
    ways = read_pattern(pattern, data)
    fields = [each for way in ways for each in way.values()]
    return _Filter(
        alternatives=tuple(build_alternative(way, data) for way in ways),
        foreign=tuple(dict.fromkeys(name for each in fields for name in each.foreign)),
    )
