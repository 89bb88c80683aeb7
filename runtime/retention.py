"""For how long a stream keeps its records."""

from typing import Final

import anyio

from pollers.errors import SourceError
from pollers.source import StreamSource
from runtime.stream_telemetry import StreamTelemetry

_ASK_EVERY: Final = 3600.0


class Retention:
    """Asked seldom, and again before anything is given up because of it: it may have been raised for just that reason."""

    def __init__(self, source: StreamSource, telemetry: StreamTelemetry) -> None:
        self._source = source
        self._telemetry = telemetry
        self._ask_at = anyio.current_time()
        self.seconds: float | None = None
        """None as long as the stream has not said it."""

    async def refresh(self) -> None:
        if anyio.current_time() >= self._ask_at:
            self._ask_at = anyio.current_time() + _ASK_EVERY
            await self.ask()

    async def ask(self) -> float | None:
        """As the stream says now; None if it does not answer."""
        try:
            self.seconds = (await self._source.describe()).retention
        except SourceError as error:
            self._telemetry.retention_unknown(error)
            return None
        return self.seconds
