"""What a FIFO queue remembers for five minutes: deduplication ids that were sent, and receives that may be asked for again.

Both intervals: SQS API reference (SendMessage, MessageDeduplicationId; ReceiveMessage, ReceiveRequestAttemptId).
"""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

INTERVAL: Final = 300.0
Kept = TypeVar("Kept")


class Remembered(Generic[Kept]):
    """Values that are forgotten five minutes after they were put in."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], tuple[float, Kept]] = OrderedDict()

    def put(self, key: tuple[str, ...], value: Kept, now: float) -> None:
        self._forget(now)
        self._kept.pop(key, None)
        self._kept[key] = (now, value)

    def get(self, key: tuple[str, ...], now: float) -> Kept | None:
        self._forget(now)
        found = self._kept.get(key)
        return None if found is None else found[1]

    def clear(self) -> None:
        self._kept.clear()

    def _forget(self, now: float) -> None:
        while self._kept:
            put, _value = next(iter(self._kept.values()))
            if now - put < INTERVAL:
                return
            self._kept.popitem(last=False)
