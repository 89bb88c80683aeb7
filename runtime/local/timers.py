"""Moments at which something happens to a message: a heap whose void entries are left in place and skipped."""

import heapq
from collections.abc import Callable, Iterator
from typing import Final

_SLACK: Final = 64
"""Void entries that a heap may always hold before it is swept."""


class Timers:
    """`is_current(number, version)` says whether an entry still counts; `live()` how many entries could count at most.

    A push costs O(log n); void entries never outnumber the live ones by more than a constant, so memory follows the queue.
    """

    def __init__(self, is_current: Callable[[int, int], bool], live: Callable[[], int]) -> None:
        self._heap: list[tuple[float, int, int]] = []
        self._is_current = is_current
        self._live = live

    def push(self, due: float, number: int, version: int) -> None:
        if len(self._heap) > 2 * self._live() + _SLACK:
            self._heap = [entry for entry in self._heap if self._is_current(entry[1], entry[2])]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (due, number, version))

    def due(self, now: float) -> Iterator[int]:
        """Takes out the message numbers whose moment has come, earliest first."""
        while self._heap and self._heap[0][0] <= now:
            _due, number, version = heapq.heappop(self._heap)
            if self._is_current(number, version):
                yield number

    def next(self) -> float | None:
        """The next moment that counts."""
        while self._heap and not self._is_current(self._heap[0][1], self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def clear(self) -> None:
        self._heap.clear()
