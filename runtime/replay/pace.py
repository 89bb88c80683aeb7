"""The clock of what was recorded: `speed` of its seconds pass in each of ours."""

import anyio

from pollers.record import Record


class Pace:
    """It begins with the first record, or at the time that `begin` is told."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began = 0.0
        self._first: float | None = None

    def begin(self, arrived: float) -> None:
        """`arrived`: of the earliest record, where it is known before the first one is fed."""
        if self._first is None:
            self._began, self._first = anyio.current_time(), arrived

    @property
    def now(self) -> float:
        """Seconds since the replay began, by that clock."""
        return (anyio.current_time() - self._began) * self._speed if self._first is not None else 0.0

    async def wait_arrived(self, record: Record) -> None:
        """Until the record would come. One whose time is not known comes at once."""
        if record.arrived <= 0:
            return
        self.begin(record.arrived)
        if self._first is not None and (pause := record.arrived - self._first - self.now) > 0:
            await anyio.sleep(self.ours(pause))

    def ours(self, seconds: float) -> float:
        """How long so many of its seconds take here."""
        return seconds / self._speed
