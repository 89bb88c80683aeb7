"""Tells the mapping's on-failure destination of what a replay gave up, when it was asked to."""

import time

from handlers.context import executed_version
from handlers.destinations import DestinationError, FailureDestination, FailureRecord
from handlers.invoker import FunctionError, Outcome
from pollers import STREAMS
from runtime.core.batching import Batch
from runtime.core.decisions import Decision
from runtime.core.failure_record import failure_body, mapping_uuid
from runtime.core.mapping import EventSourceMapping
from runtime.replay.lanes import Lane
from runtime.replay.report import Report
from runtime.replay.rules import Rules


class FailureSender:
    """Of one replay. What the destination does not take is a problem of the report."""

    def __init__(self, mapping: EventSourceMapping, destination: FailureDestination, rules: Rules, report: Report) -> None:
        self._mapping = mapping
        self._destination = destination
        self._rules = rules
        self._report = report

    async def send(self, lane: Lane, batch: Batch, decision: Decision, outcome: Outcome, request_id: str) -> None:
        """One failure record (DST-11)."""
        mapping = self._mapping
        body = failure_body(
            records=decision.discarded,
            shard=lane.shard,
            stream_arn=lane.source_arn,
            spec=STREAMS[mapping.source],
            function_arn=mapping.function_arn,
            executed_version=executed_version(mapping.function_arn),
            condition=decision.condition or "",
            invoke_count=batch.retries + 1,
            request_id=request_id,
            function_error="Unhandled" if isinstance(outcome, FunctionError) else None,
            timestamp=time.time(),
        )
        failure = FailureRecord(
            body=body,
            event=self._rules.envelope(decision.discarded),
            mapping=mapping_uuid(mapping.name, lane.source_arn),
            shard=lane.shard,
        )
        try:
            await self._destination.send(failure)
        except DestinationError as error:
            self._report.problems.append(str(error))
