"""Somebody who listens to a mapping, and taps that must not be touched."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from runtime.listener import Listener
from runtime.tap import Tap
from runtime.tap_events import LinesLost, Traffic


class SilentTap(Tap):
    """Nobody listens, and whatever is told all the same fails the test."""

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        msg = "something was told to a tap that nobody listens to"
        raise AssertionError(msg)

    received = filtered = invoked = ended = given_up = given_back = delete_refused = _refuse


class Heard:
    """What a listener has taken, in order."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.events: list[Traffic | LinesLost] = []

    async def hear(self, *, within: float = 0.5) -> list[Traffic | LinesLost]:
        """Takes what was told so far; all of it so far."""
        self.events += await self.listener.take(within=within)
        return self.events

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def listening(tap: Tap, *, records: bool = False) -> Iterator[Heard]:
    with tap.listen(records=records) as listener:
        yield Heard(listener)
