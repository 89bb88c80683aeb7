"""`FilterCriteria` of a mapping: patterns are compiled here; what is wrong with them is a problem of the file (FLT-01..05)."""

from typing import Final

from pollers.source import QueueSpec, StreamSpec
from runtime.config.candidate import Candidate
from runtime.core.filtering import INVALID, FilterCriteria, FilterError

_QUOTA: Final = 5
"""Filters that AWS takes as long as nobody asked for more, which goes up to ten (FLT-02)."""
_FILTERS: Final = "FilterCriteria.Filters"


def read_criteria(candidate: Candidate, spec: QueueSpec | StreamSpec) -> FilterCriteria | None:
    """None without filters (FLT-05), and where one is wrong, which has been reported."""
    block = candidate.block
    patterns = [each.pattern for each in block.value.filter_criteria.filters]
    if not patterns or not block.sound(_FILTERS):
        return None
    if len(patterns) > _QUOTA:
        text = f"{_FILTERS} holds {len(patterns)} filters: AWS takes {_QUOTA} unless the quota of the account was raised"
        candidate.unwise(_FILTERS, f"{text}, which matters only where the block is used there too")
    sound = True
    for number, pattern in enumerate(patterns):
        key = f"{_FILTERS}.{number}.Pattern"
        try:
            _warn(candidate, key, FilterCriteria.compile([pattern], data=spec.filter_view))
        except FilterError as error:
            candidate.wrong(key, f"{key}: {error.located} (AWS: {INVALID})")
            sound = False
    return FilterCriteria.compile(patterns, data=spec.filter_view) if sound else None


def _warn(candidate: Candidate, key: str, criteria: FilterCriteria) -> None:
    if criteria.foreign:
        text = f"{key} uses {' and '.join(criteria.foreign)}, which EventBridge has and Lambda does not document"
        candidate.unwise(key, f"{text}: it works here, but Lambda may refuse it")
