"""What the filters of a mapping say of a record. The one place where `esm tail` asks them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pollers import SPECS
from pollers.record import Record
from runtime.core.mapping import EventSourceMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Of one mapping on one record."""

    mapping: str
    matches: bool
    why: tuple[str, ...] = ()
    """Why not: a line for each filter."""


Judge: TypeAlias = Callable[[EventSourceMapping, Record], Verdict | None]
"""None: the mapping has no filters."""


def judge(mapping: EventSourceMapping, record: Record) -> Verdict | None:
    """A `Judge`."""
    criteria = mapping.criteria
    if criteria is None:
        return None
    view = SPECS[mapping.source].filter_view.reader(criteria.fields)(record)
    if criteria.matches(view):
        return Verdict(mapping=mapping.name, matches=True)
    return Verdict(mapping=mapping.name, matches=False, why=criteria.explain(view))
