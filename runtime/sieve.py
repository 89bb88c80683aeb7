"""Parts the records that a source brought into those for the function and those that its filters leave out."""

from collections.abc import Iterable

from pollers.record import Record
from pollers.source import QueueSpec, StreamSpec
from runtime.core.mapping import EventSourceMapping


class Sieve:
    """The filters of one mapping, on the records of its source."""

    def __init__(self, mapping: EventSourceMapping, spec: QueueSpec | StreamSpec) -> None:
        criteria = mapping.criteria
        self.open = criteria is None
        """Everything passes."""
        self._matches = criteria.matches if criteria else lambda _: True
        self._view = spec.filter_view.reader(criteria.fields if criteria else frozenset())

    def part(self, records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
        """Those that pass and those that do not, each in order."""
        matches, view = self._matches, self._view
        passed: list[Record] = []
        left_out: list[Record] = []
        for record in records:
            (passed if matches(view(record)) else left_out).append(record)
        return passed, left_out

    def runs(self, records: Iterable[Record]) -> tuple[list[Record], list[Record], list[Record]]:
        """Those that pass; the last of each run of records that do not; and both together in order.

        A position that is to pass a run need only know of its end, however long it is.
        """
        matches, view = self._matches, self._view
        passed: list[Record] = []
        ends: list[Record] = []
        steps: list[Record] = []
        in_run = False
        for record in records:
            if matches(view(record)):
                in_run = False
                passed.append(record)
                steps.append(record)
            elif in_run:
                ends[-1] = steps[-1] = record
            else:
                in_run = True
                ends.append(record)
                steps.append(record)
        return passed, ends, steps
