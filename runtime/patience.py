"""How long a source may be out of reach before whoever asks gives up."""

import anyio

from pollers.errors import SourceUnavailable
from runtime.core.backoff import backoff

_BASE = 0.3
_CAP = 5.0
_JITTER = 0.5


class Patience:
    """For one thing that is asked again and again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._failures = 0
        self._since = 0.0

    async def wait(self, error: SourceUnavailable) -> None:
        """Before it is asked again. Raises the error once it has lasted too long."""
        now = anyio.current_time()
        if self._failures == 0:
            self._since = now
        elif now - self._since >= self._seconds:
            raise error
        self._failures += 1
        await anyio.sleep(backoff(self._failures, base=_BASE, cap=_CAP, jitter=_JITTER))

    def reset(self) -> None:
        """It has answered."""
        self._failures = 0
