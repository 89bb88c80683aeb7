"""One batch of a queue, from the first invocation until nothing of it is pending: invoke, decide, settle."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from handlers.invoker import FunctionError, Invoker, NotInvoked, Outcome, Succeeded
from pollers.record import Record
from pollers.source import QueueSource, QueueSpec, Refusal
from runtime.clock import loop_clock
from runtime.core.backoff import backoff
from runtime.core.batching import Batch
from runtime.core.decisions import Decision, decide_queue
from runtime.core.mapping import EventSourceMapping
from runtime.drain import Drain
from runtime.request_ids import new_request_id
from runtime.telemetry import MappingTelemetry
from runtime.visibility import Held, VisibilityKeeper

_THROTTLE_BASE: Final = 0.5
_THROTTLE_CAP: Final = 20.0


class Delivered(Struct, frozen=True, kw_only=True):
    """How a delivery ended."""

    settled: tuple[Record, ...] = ()
    returned: tuple[Record, ...] = ()
    """Left to the queue: they come back after the visibility timeout."""
    released: tuple[Record, ...] = ()
    """Never invoked, and to be given back, because the drain began."""
    invoked: bool = True
    """The handler saw the records."""
    failed: bool = False
    """It ended in a function error."""
    still_running: Callable[[], Awaitable[None]] | None = None
    """The handler goes on past its time limit; wait for it before its slot is used again."""


class QueueDelivery:
    """Delivers the batches of one mapping. Safe for concurrent calls."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        *,
        spec: QueueSpec,
        source: QueueSource,
        invoker: Invoker,
        keeper: VisibilityKeeper,
        drain: Drain,
        telemetry: MappingTelemetry,
        jitter: Callable[[], float],
    ) -> None:
        self._mapping = mapping
        self._spec = spec
        self._source = source
        self._invoker = invoker
        self._keeper = keeper
        self._drain = drain
        self._telemetry = telemetry
        self._jitter = jitter
        self._now = loop_clock()

    async def deliver(self, batch: Batch, held: Held) -> Delivered:
        """Invoke until the batch has a fate, and carry it out. `held` is the hold on exactly these records.

        After a throttle the same batch is tried again for as long as it is ours, without a new receive (SQS-53).
        """
        self._telemetry.batch_released(len(batch.records), size=batch.size, waited=self._now() - held.received)
        while True:
            request_id = new_request_id()
            with self._keeper.keep(held):
                outcome = await self._invoke(batch, request_id)
                decision = decide_queue(batch, outcome, report_item_failures=self._mapping.report_item_failures)
                self._tell(outcome, decision, batch, request_id)
                await self._delete(decision.settled)
            if not decision.pending:
                return Delivered(
                    settled=decision.settled,
                    returned=decision.returned,
                    failed=isinstance(outcome, FunctionError),
                    still_running=outcome.still_running if isinstance(outcome, FunctionError) else None,
                )
            (batch,) = decision.pending
            pause = backoff(batch.throttles, base=_THROTTLE_BASE, cap=_THROTTLE_CAP, jitter=self._jitter())
            if self._now() + pause >= held.until or held.lost:
                self._telemetry.throttled_batch_let_go(len(batch.records))
                return Delivered(returned=batch.records, invoked=False)
            if not await self._drain.pause(pause):
                return Delivered(released=batch.records, invoked=False)

    async def _invoke(self, batch: Batch, request_id: str) -> Outcome:
        began = self._now()
        self._telemetry.invocation_began()
        try:
            make_event = partial(self._spec.envelope, batch.records)
            return await self._invoker.invoke(make_event, request_id=request_id, function_arn=self._mapping.function_arn)
        finally:
            self._telemetry.invocation_ended(duration=self._now() - began)

    def _tell(self, outcome: Outcome, decision: Decision, batch: Batch, request_id: str) -> None:
        records = len(batch.records)
        match outcome:
            case Succeeded():
                self._telemetry.function_succeeded(
                    request_id=request_id, records=records, failed=len(decision.returned), problem=decision.problem
                )
            case FunctionError():
                self._telemetry.function_failed(outcome, request_id=request_id, records=records)
            case NotInvoked(reason=reason):
                first = batch.throttles == 0
                self._telemetry.function_throttled(request_id=request_id, records=records, reason=reason, first=first)

    async def _delete(self, settled: tuple[Record, ...]) -> None:
        """A refused delete does not fail the batch (SQS-56): once more, then the queue delivers the record again."""
        if not settled:
            return
        refused = await delete_twice(self._source, settled)
        self._telemetry.records_deleted(len(settled) - len(refused), refused)


async def delete_twice(source: QueueSource, records: Sequence[Record]) -> list[Refusal]:
    """What was refused is asked for once more, unless it is gone. Gives back what is refused still."""
    refused = await source.delete(records)
    gone = [refusal for refusal in refused if refusal.gone]
    again = [refusal.record for refusal in refused if not refusal.gone]
    return [*gone, *await source.delete(again)] if again else refused
