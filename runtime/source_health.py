"""Whether the source of a mapping answers: many ask it, and the user is told once per change, not once per try."""

from collections.abc import Callable
from typing import Final

from pollers.errors import SourceError, SourceRejected
from runtime.core.backoff import backoff
from runtime.status import MappingStatus
from runtime.stream_telemetry import StreamTelemetry

_BASE: Final = 0.5
_UNAVAILABLE_CAP: Final = 20.0
_REJECTED_CAP: Final = 60.0


class SourceHealth:
    """Of one mapping. `who` is a shard, or the listing of shards."""

    def __init__(self, status: MappingStatus, telemetry: StreamTelemetry, jitter: Callable[[], float]) -> None:
        self._status = status
        self._telemetry = telemetry
        self._jitter = jitter
        self._failures: dict[str, int] = {}
        self._told: set[str] = set()
        """Codes, since the source last answered everybody."""

    def failed(self, who: str, error: SourceError) -> float:
        """Gives the seconds after which to ask again."""
        failures = self._failures[who] = self._failures.get(who, 0) + 1
        if error.code not in self._told:
            self._told.add(error.code)
            self._telemetry.mapping.source_failed(error)
        self._status.error = error
        cap = _REJECTED_CAP if isinstance(error, SourceRejected) else _UNAVAILABLE_CAP
        return backoff(failures, base=_BASE, cap=cap, jitter=self._jitter())

    def forget(self, who: str) -> None:
        """It asks no more."""
        if self._failures.pop(who, None) is not None and not self._failures:
            self._status.error = None
            self._told.clear()

    def answered(self, who: str) -> None:
        if self._failures.pop(who, None) is not None and not self._failures:
            self._status.error = None
            self._told.clear()
            self._telemetry.source_answered()
