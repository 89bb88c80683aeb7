"""Which records reach the handler, and the count of those that do not."""

from collections.abc import Callable
from typing import Any, Protocol

from pollers.event_records import EventRecord, shown_of
from runtime.replay.report import Report
from runtime.replay.selection import Selection

View = Callable[[str, dict[str, Any]], dict[str, Any]]
"""A source, and a record of its events -> the record as filters see it."""


class FilterCriteria(Protocol):
    def matches(self, view: dict[str, Any]) -> bool: ...


class Choosing:
    """Of one replay."""

    def __init__(self, selection: Selection, criteria: FilterCriteria | None, report: Report, *, source: str, view: View) -> None:
        self._selection = selection
        self._criteria = criteria
        self._report = report
        self._source = source
        self._view = view
        self._strangers = False

    def takes(self, record: EventRecord, *, place: str = "") -> bool:
        """`place`: for whoever reads that a record is of another kind of source."""
        self._report.read += 1
        if record.source != self._source:
            if not self._strangers:
                self._strangers = True
                text = f"{place or 'a record'}: of {record.source}, but what is replayed is of {self._source}"
                self._report.problems.append(f"{text}: such records are left out, give them a replay of their own")
            self._report.left_out += 1
            return False
        seen: dict[str, Any] = {}

        def view() -> dict[str, Any]:
            return seen or (seen.update(self._view(record.source, shown_of(record.record))) or seen)

        if not self._selection.takes(record.record, view, record.shard):
            self._report.left_out += 1
            return False
        if self._criteria is not None and not self._criteria.matches(view()):
            self._report.filtered_out += 1
            return False
        return True
