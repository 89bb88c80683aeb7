"""What the filters of a mapping say of a record. The one place where `esm tail` asks them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

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


def judge(mapping: EventSourceMapping, record: Record) -> Verdict | None:  # noqa: ARG001  # no mapping has filters yet
    return None
