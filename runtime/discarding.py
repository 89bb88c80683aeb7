"""What becomes of records that are given up: told to the on-failure destination, or counted and logged. Never neither."""

from typing import Any

from handlers.context import executed_version
from handlers.destinations import DestinationError, FailureRecord
from handlers.invoker import FunctionError, Outcome
from runtime.core.batching import Batch
from runtime.core.decisions import EXPIRED, Decision
from runtime.core.failure_record import failure_body, mapping_uuid
from runtime.stream_parts import StreamParts
from runtime.stream_telemetry import StreamTelemetry
from runtime.tap_events import Fate


class Discarder:
    """Of one shard."""

    def __init__(self, parts: StreamParts, shard: str, telemetry: StreamTelemetry) -> None:
        self._parts = parts
        self._shard = shard
        self._telemetry = telemetry

    def asks_destination(self, decision: Decision) -> bool:
        """Whether a destination is to be told; what none is told of is counted and logged here."""
        if decision.condition == EXPIRED:
            self._telemetry.records_expired(self._shard, decision.discarded)
            self._tell(decision, "expired")
        elif self._parts.destination is None:
            self._drop(decision, "the mapping has no on-failure destination")
        else:
            return True
        return False

    async def send(
        self, batch: Batch, decision: Decision, *, outcome: Outcome | None, request_id: str, event: dict[str, Any]
    ) -> str | None:
        """One failure record about what the decision discards (DST-11). `outcome`: the invocation that led to it, if one did.

        Gives why it is to be tried again, where the mapping blocks; None when the records are done with.
        """
        destination = self._parts.destination
        if destination is None:
            return None
        try:
            await destination.send(self._failure_record(batch, decision, outcome, request_id, event))
        except DestinationError as error:
            self._telemetry.destination_failed(self._shard, error, records=len(decision.discarded))
            self._tell(decision, "refused", str(error))
            if self._parts.block_on_destination_failure:
                return str(error)
            self._drop(decision, str(error))
        else:
            self._telemetry.records_sent_away(
                self._shard, decision.discarded, condition=decision.condition or "", destination=self._parts.settings.destination
            )
            self._tell(decision, "sent")
        return None

    def _failure_record(
        self, batch: Batch, decision: Decision, outcome: Outcome | None, request_id: str, event: dict[str, Any]
    ) -> FailureRecord:
        mapping = self._parts.mapping
        body = failure_body(
            records=decision.discarded,
            shard=self._shard,
            stream_arn=mapping.source_arn,
            spec=self._parts.spec,
            function_arn=mapping.function_arn,
            executed_version=executed_version(mapping.function_arn),
            condition=decision.condition or "",
            invoke_count=batch.retries + 1,
            request_id=request_id,
            function_error="Unhandled" if isinstance(outcome, FunctionError) else None,
            timestamp=self._parts.clock(),
        )
        return FailureRecord(body=body, event=event, mapping=mapping_uuid(mapping.name, mapping.source_arn), shard=self._shard)

    def _drop(self, decision: Decision, reason: str) -> None:
        condition = decision.condition or ""
        self._telemetry.records_dropped(self._shard, decision.discarded, condition=condition, reason=reason)
        self._tell(decision, "dropped", reason)

    def _tell(self, decision: Decision, fate: Fate, message: str | None = None) -> None:
        tap = self._parts.status.tap
        if tap.listening:
            destination = self._parts.settings.destination
            tap.given_up(decision, shard=self._shard, fate=fate, destination=destination, message=message)
