"""How far a shard is done when several lanes work on it at once.

The law: the position is that of the last record of the longest finished prefix, in the order in which records were read; it never
goes back and never passes an unfinished record (COM-63). An aggregate is one record here: it is passed when all of its user
records are finished, which were read together.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from pollers.record import Record, RecordId, sequence_of


class ShardProgress:
    """Records that were read and are not yet covered by the position."""

    __slots__ = ("_finished", "_open", "committed", "within")

    def __init__(self) -> None:
        self._open: deque[RecordId] = deque()
        self._finished: set[RecordId] = set()
        self.committed: str | None = None
        """The sequence number up to which everything is finished; None as long as nothing is."""
        self.within = False
        """More than the position says is finished: a part of the aggregate behind it."""

    def __len__(self) -> int:
        """How many records the position has not passed."""
        return len(self._open)

    def begin(self, ids: Iterable[RecordId]) -> None:
        """Of records that were read, in order."""
        self._open.extend(ids)

    def finish(self, records: Sequence[Record]) -> None:
        """Records whose fate has been carried out, in any order."""
        ids = [record.id for record in records]
        if ids and not self._finished and list(islice(self._open, len(ids))) == ids:  # what one lane alone always brings
            if len(ids) == len(self._open):
                self._open.clear()
            else:
                for _ in ids:
                    self._open.popleft()
            self._commit(ids)
            return
        self._finished.update(ids)
        passed: list[RecordId] = []
        while self._open and self._open[0] in self._finished:
            passed.append(self._open.popleft())
        if passed:
            self._finished.difference_update(passed)
            self._commit(passed)

    def _commit(self, passed: Sequence[RecordId]) -> None:
        """What is no longer open, in order."""
        last = passed[-1]
        self.within = False
        if ":" not in last:
            self.committed = last
            return
        sequence = sequence_of(last)
        if not self._open or sequence_of(self._open[0]) != sequence:
            self.committed = sequence
            return
        self.within = True
        whole = next((each for each in reversed(passed) if sequence_of(each) != sequence), None)
        if whole is not None:
            self.committed = sequence_of(whole)
