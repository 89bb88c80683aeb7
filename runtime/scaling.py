"""Tells an autoscaler what the mappings of this worker are worth: samples each of them, keeps the average of how busy it is."""

from collections.abc import Callable, Sequence
from typing import Final

import anyio

from runtime.core.scaling import Load, desired_workers, smooth_busy
from runtime.drain import Drain
from runtime.shard_status import ShardStatus
from runtime.status import MappingStatus

_SAMPLE_EVERY: Final = 5.0
"""Seconds."""


class ScalingProbe:
    """Of one mapping in this worker."""

    def __init__(
        self,
        status: MappingStatus,
        *,
        places: int | None,
        function_busy: Callable[[], float],
        oldest_age: Callable[[], float],
        drain: Drain,
        clock: Callable[[], float],
    ) -> None:
        """`places`: batches of a queue that may ever run at once, not those that are allowed after errors; None of a stream.

        `function_busy`: how much of the function's reserved concurrency is in use. `clock`: seconds since the epoch.
        """
        self._status = status
        self._places = places
        self._function_busy = function_busy
        self._oldest_age = oldest_age
        self._drain = drain
        self._clock = clock
        self._busy = 0.0
        self._desired = 0.0

    def lag(self) -> float:
        """Seconds that the oldest record which is not done has waited, as far as this worker knows."""
        if self._places is not None:
            return self._oldest_age()
        now, wall = anyio.current_time(), self._clock()
        return max((shard.lag(now, wall) for shard in self._held), default=0.0)

    def desired(self) -> float:
        """None of the work is this worker's any more when it drains."""
        return 0.0 if self._drain.begun else self._desired

    def sample(self, processor: float, *, seconds: float) -> None:
        """`processor`: cores that the process used in the last `seconds`."""
        load = self._load(processor)
        self._busy = smooth_busy(self._busy, load, seconds=seconds)
        self._desired = desired_workers(self._busy, load)

    @property
    def _held(self) -> list[ShardStatus]:
        return [shard for shard in self._status.shards.values() if shard.running]

    def _load(self, processor: float) -> Load:
        status, lag, function = self._status, self.lag(), self._function_busy()
        if self._places is None:
            held = len(self._held)
            return Load(slots=function, processor=processor, lag=lag, working=held > 0, shards=held)
        slots = status.delivering / self._places  # not those that receive: they may wait for 20 seconds for a message
        return Load(slots=max(slots, function), processor=processor, lag=lag, working=status.delivering > 0 or lag > 0)


async def run_scaling(probes: Sequence[ScalingProbe], processor_time: Callable[[], float]) -> None:
    """Until cancelled. `processor_time`: CPU seconds of the process since it began."""
    then, used = anyio.current_time(), processor_time()
    while True:
        await anyio.sleep(_SAMPLE_EVERY)
        now, spent = anyio.current_time(), processor_time()
        for probe in probes:
            probe.sample((spent - used) / (now - then), seconds=now - then)
        then, used = now, spent
