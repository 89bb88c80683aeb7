"""How far a shard is done when several lanes work on it at once.

The law: the position is that of the last record of the longest finished prefix, in the order in which records were read; it never
goes back and never passes an unfinished record (COM-63).
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from pollers.record import Record, RecordId


class ShardProgress:
    """Records that were read and are not yet covered by the position."""

    __slots__ = ("_finished", "_open", "committed")

    def __init__(self) -> None:
        self._open: deque[RecordId] = deque()
        self._finished: set[RecordId] = set()
        self.committed: RecordId | None = None
        """The sequence number up to which everything is finished; None as long as nothing is."""

    def __len__(self) -> int:
        """How many records the position has not passed."""
        return len(self._open)

    def begin(self, records: Sequence[Record]) -> None:
        """Records that were read, in order."""
        self._open.extend([record.id for record in records])

    def finish(self, records: Sequence[Record]) -> None:
        """Records whose fate has been carried out, in any order."""
        ids = [record.id for record in records]
        if ids and not self._finished and list(islice(self._open, len(ids))) == ids:  # what one lane alone always brings
            for _ in ids:
                self._open.popleft()
            self.committed = ids[-1]
            return
        self._finished.update(ids)
        while self._open and self._open[0] in self._finished:
            self.committed = self._open.popleft()
            self._finished.discard(self.committed)
