"""How records become batches.

The law: what goes in comes out once, in order; no batch is over the count or the bytes (a record that alone is over the bytes
travels alone), and none waits past its window.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate, islice
from typing import Final

from msgspec import Struct

from pollers.record import Record
from runtime.core.mapping import BatchLimits

ENVELOPE_BYTES: Final = len('{"Records":[]}')


class Batch(Struct, frozen=True):
    """What one invocation receives, and how often it was tried before."""

    records: tuple[Record, ...]
    retries: int = 0
    """Invocations that ended in a function error before this one (streams)."""
    throttles: int = 0
    """Times in a row that the function was not invoked."""
    received: float = 0.0
    """When the first of the records was received, in monotonic seconds."""
    counted: int = 0
    """Its `size`, where somebody has counted it; 0 where not."""

    @property
    def size(self) -> int:
        """Bytes of the event as compact JSON."""
        return self.counted or ENVELOPE_BYTES + sum([record.size for record in self.records]) + len(self.records) - 1


class BatchWindow:
    """Collects records until a batch is due. `now` is monotonic seconds, the same clock in every call."""

    __slots__ = ("_added", "_bytes", "_limits", "_records")

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._records: deque[Record] = deque()
        self._added: deque[tuple[float, int]] = deque()
        """When so many of the records were added, in order."""
        self._bytes = ENVELOPE_BYTES - 1  # each record brings a comma; the first needs none

    def __len__(self) -> int:
        return len(self._records)

    @property
    def missing(self) -> int:
        """How many more records the batch may take; 0 once it is full."""
        return 0 if self._bytes >= self._limits.size else max(0, self._limits.records - len(self._records))

    @property
    def size(self) -> int:
        """Bytes of the records that are held, about."""
        return self._bytes - ENVELOPE_BYTES + 1

    @property
    def room(self) -> int:
        """How many more bytes the batch may take."""
        return max(0, self._limits.size - self._bytes)

    def add(self, records: Sequence[Record], now: float, *, size: int | None = None) -> None:
        """`size`: of all of them together, where somebody has counted it."""
        if records:
            self._records.extend(records)
            self._added.append((now, len(records)))
            self._bytes += (sum([record.size for record in records]) if size is None else size) + len(records)

    def remaining(self, now: float, *, since: float = 0.0) -> float | None:
        """Seconds until the window ends, 0 when the batch is due, None when there is nothing to wait for.

        `since`: when whoever takes the batches became free; no window begins before (COM-15).
        """
        if not self._records:
            return None
        if not self.missing:
            return 0
        return max(0.0, max(self._added[0][0], since) + self._limits.window - now)

    def take(self) -> Batch:
        """The oldest records that make one batch; what does not fit stays for the next. Empty when there are none."""
        received = self._added[0][0] if self._added else 0.0
        records = self._records
        if len(records) <= self._limits.records:
            if self._bytes > self._limits.size:
                return self._take_but_last(received)
            counted = self._bytes if records else 0
            return Batch(self.drop(), received=received, counted=counted)
        sizes = [record.size + 1 for record in islice(records, self._limits.records)]
        totals = list(accumulate(sizes, initial=ENVELOPE_BYTES - 1))  # bytes of a batch of so many of them
        count = max(1, bisect_right(totals, self._limits.size) - 1)
        taken = tuple([records.popleft() for _ in range(count)])
        self._bytes -= totals[count] - totals[0]
        self._forget(count)
        return Batch(taken, received=received, counted=totals[count])

    def _take_but_last(self, received: float) -> Batch:
        """All but what is over the bytes: few, as a rule, so they are looked for from the end."""
        records, over = self._records, deque[Record]()
        size = self._bytes
        while size > self._limits.size and len(records) > 1:
            over.appendleft(records.pop())
            size -= over[0].size + 1
        batch = Batch(tuple(records), received=received, counted=size)
        self._forget(len(records))
        self._records = over
        self._bytes -= size - (ENVELOPE_BYTES - 1)
        return batch

    def _forget(self, taken: int) -> None:
        """When the first `taken` records were added."""
        while taken:
            added, count = self._added.popleft()
            if count > taken:
                self._added.appendleft((added, count - taken))
                return
            taken -= count

    def held(self) -> tuple[Record, ...]:
        """What is held, in order."""
        return tuple(self._records)

    def drop(self) -> tuple[Record, ...]:
        """Everything that is held, in order; the window is empty afterwards."""
        held = tuple(self._records)
        self._records.clear()
        self._added.clear()
        self._bytes = ENVELOPE_BYTES - 1
        return held
