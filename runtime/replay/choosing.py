"""Which records reach the handler, and the count of those that do not."""

from typing import Any

from pollers.event_records import EventRecord, shown_of
from runtime.core.filtering import FilterCriteria
from runtime.replay.filtering import passes, view_of
from runtime.replay.report import Report
from runtime.replay.selection import Selection


class Choosing:
    """Of one replay."""

    def __init__(self, selection: Selection, criteria: FilterCriteria | None, report: Report, *, source: str) -> None:
        """`source`: the kind whose records are replayed."""
        self._selection = selection
        self._criteria = criteria
        self._report = report
        self._source = source
        self._strangers = False

    def takes(self, record: EventRecord, *, place: str = "") -> bool:
        """`place`: for whoever reads that a record is of another kind of source."""
        self._report.read += 1
        if record.source != self._source:
            self._tell_stranger(record, place)
            self._report.left_out += 1
            return False
        seen: dict[str, Any] = {}

        def view() -> dict[str, Any]:
            if not seen:
                seen.update(view_of(record.source, shown_of(record.record)))
            return seen

        if not self._selection.takes(record.record, view, record.shard):
            self._report.left_out += 1
            return False
        if not passes(self._criteria, record):
            self._report.filtered_out += 1
            return False
        self._report.chosen += 1
        return True

    def _tell_stranger(self, record: EventRecord, place: str) -> None:
        if not self._strangers:
            self._strangers = True
            text = f"{place or 'a record'}: of {record.source}, but what is replayed is of {self._source}"
            self._report.problems.append(f"{text}: such records are left out, give them a replay of their own")
