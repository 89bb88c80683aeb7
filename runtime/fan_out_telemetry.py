"""What a mapping of a stream's consumer tells beside the rest: which of its shards are not pushed but polled."""

from pollers.errors import SourceError
from runtime.telemetry import MappingTelemetry


class FanOutTelemetry:
    """A `TellFanOut`. Many shards fall back at once: the log says it when the first does, and when none does any more."""

    def __init__(self, mapping: MappingTelemetry) -> None:
        self._log = mapping.log
        self._polled: set[str] = set()
        mapping.watch_polled_shards(lambda: len(self._polled))

    def __call__(self, shard: str, error: SourceError | None) -> None:
        if error is not None:
            if not self._polled:
                hint = "enhanced fan-out is tried again every minute; esm_fan_out_polled_shards counts the shards"
                self._log.warning("fan_out_polled", shard=shard, error=str(error), code=error.code, hint=hint)
            self._polled.add(shard)
        elif shard in self._polled:
            self._polled.discard(shard)
            if not self._polled:
                self._log.info("fan_out_resumed")
