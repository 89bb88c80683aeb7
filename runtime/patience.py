"""How long a source may be out of reach before whoever asks gives up."""

from typing import Protocol

import anyio

from pollers.errors import SourceError, SourceRejected
from runtime.core.backoff import backoff

_BASE = 0.3
_CAP = 5.0
_JITTER = 0.5


class Waiting(Protocol):
    """For one thing that is asked again and again."""

    async def wait(self, error: SourceError) -> None:
        """Before it is asked again. Raises the error where it is not to be asked any more."""
        ...

    def reset(self) -> None:
        """It has answered."""
        ...


class Patience:
    """A `Waiting` for so many seconds."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: from the first failure."""
        self._seconds = seconds
        self._failures = 0
        self._since = 0.0

    async def wait(self, error: SourceError) -> None:
        """Raises what waiting does not help against at once, anything else once it has lasted too long."""
        now = anyio.current_time()
        if self._failures == 0:
            self._since = now
        if isinstance(error, SourceRejected) or now - self._since >= self._seconds:
            raise error
        self._failures += 1
        await anyio.sleep(backoff(self._failures, base=_BASE, cap=_CAP, jitter=_JITTER))

    def reset(self) -> None:
        self._failures = 0
