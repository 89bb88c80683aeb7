"""The batches of one shard, from the first invocation until every record has its fate: invoke, decide, carry out, checkpoint.

Only the owner of the lease may do any of it, so the lease is asked before each invocation and each failure record, and all of it
is cancelled when the lease is lost. A failure record is sent before the checkpoint moves: a crash in between repeats it (DST-14).
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Any, Final

import anyio

from handlers.invoker import FunctionError, MakeEvent, NotInvoked, Outcome, Succeeded
from pollers.record import Record
from runtime.checkpoints import Checkpoints
from runtime.clock import loop_clock
from runtime.core.backoff import backoff
from runtime.core.batching import Batch
from runtime.core.decisions import EXPIRED, Decision, age_left, decide_stream, drop_expired
from runtime.core.tumbling import OpenWindow
from runtime.discarding import Discarder
from runtime.drain import Drain
from runtime.function_slot import FunctionSlots
from runtime.lease_keeper import HeldLease
from runtime.request_ids import new_request_id
from runtime.retention import Retention
from runtime.shard_status import Block, ShardStatus
from runtime.stream_parts import StreamParts
from runtime.stream_telemetry import StreamTelemetry

_RETRY_BASE: Final = 0.5
_RETRY_CAP: Final = 60.0
"""Seconds between tries of a batch: AWS publishes none (COM-83)."""
_THROTTLE_CAP: Final = 20.0
_LONGEST_REASON: Final = 200
"""Characters of an error's text in what `/mappings` says."""
_OVERHEAD: Final = 60.0
"""Seconds that what surrounds an invocation may take."""


class StreamDelivery:
    """Delivers the batches of one shard. Safe for concurrent calls from its lanes; with a tumbling window there is one lane."""

    def __init__(
        self,
        parts: StreamParts,
        held: HeldLease,
        *,
        status: ShardStatus,
        telemetry: StreamTelemetry,
        closing: Drain,
        retention: Retention,
    ) -> None:
        self._parts = parts
        self._held = held
        self._status = status
        self._telemetry = telemetry
        self._closing = closing
        self._retention = retention
        self._failures: dict[int, tuple[str, int]] = {}
        """By lane: how the function failed last, and how often in a row it did so."""
        self._slots = FunctionSlots(parts.limiter, status)
        self._discarder = Discarder(parts, held.lease.shard, telemetry)
        self._tap = parts.status.tap
        self._now = loop_clock()
        self.checkpoints = Checkpoints(parts, held, status=status, telemetry=telemetry)

    async def deliver(self, batch: Batch, lane: int) -> bool:
        """Invoke until every record of the batch has its fate. False: the shard closes first, and the rest is not done.

        The caller has the last position written, with `checkpoints.advance`, when nothing holds the batch any more: while that
        takes its time the memory serves the next page, which finds it in the processor's caches.
        """
        waited = self._now() - batch.received
        self._telemetry.mapping.batch_released(len(batch.records), size=batch.size, waited=waited)
        if not self._parts.settings.tumbling_window:
            return await self._deliver(batch, lane)
        if (
            self.checkpoints.window is not None
            and self.checkpoints.window.state_too_large
            and not await self.end_window(early=True)
        ):
            return False  # as of a checkpoint that was written just before a crash
        rest: Batch | None = batch
        while rest is not None:
            now, rest = self._open_window(rest).split(rest)
            done = await self.end_window() if now is None else await self._deliver(now, lane)
            if not done:
                return False
        return True

    async def end_window(self, *, early: bool = False) -> bool:
        """The last invocation of the open window; the shard waits until it succeeds (COM-96). False: the shard closes first."""
        failures = 0
        while self.checkpoints.window is not None:
            if self._closing.begun:
                return False
            async with self._slot(0) as taken:
                if not taken:
                    return False
                request_id = new_request_id()
                if self._tap.listening:
                    self._tap.invoked(Batch((), throttles=failures), request_id, shard=self._held.lease.shard)
                outcome = await self._invoke(partial(self._event, (), final=True, early=early), request_id, records=())
                self._tell(outcome, Decision(), Batch((), throttles=failures), request_id, 0)
                if isinstance(outcome, FunctionError):
                    await self._wait_overdue(outcome, lane=0)
            if isinstance(outcome, Succeeded):
                self.checkpoints.window = None
                self._status.blocks.pop(0, None)
                self._failures.pop(0, None)
                self._parts.status.last_result = "OK"
                await self.checkpoints.advance()
                self._telemetry.window_ended(self._held.lease.shard, early=early)
            else:
                failures += 1
                self._block(0, "retrying the last invocation of a tumbling window", attempt=failures + 1)
                await self._rest(backoff(failures, base=_RETRY_BASE, cap=_RETRY_CAP, jitter=self._parts.jitter()))
        return True

    async def _deliver(self, batch: Batch, lane: int) -> bool:
        pending = deque([batch])
        self._status.in_flight[lane] = batch.records[-1].arrived
        while pending:
            decision = await self._try(pending[0], lane)
            if decision is None:
                return False
            pending.popleft()
            pending.extendleft(reversed(decision.pending))
            if pending and decision.settled:
                await self.checkpoints.advance()
            if decision.pause and not await self._pause(pending[0], lane):
                return False
        self._status.blocks.pop(lane, None)
        self._failures.pop(lane, None)
        self._status.in_flight.pop(lane, None)
        return True

    async def _try(self, batch: Batch, lane: int) -> Decision | None:
        """None: the shard closes. What is too old goes before anything is invoked (COM-79, COM-80)."""
        policy = self._parts.settings.retry
        decision = drop_expired(batch, self._parts.clock(), policy, retention=self._retention.seconds)
        if decision.condition == EXPIRED:
            decision = drop_expired(batch, self._parts.clock(), policy, retention=await self._retention.ask())
        if decision.discarded:
            return decision if await self._discard(batch, decision, lane, None, new_request_id()) else None
        if self._closing.begun:
            return None
        patience = age_left(batch, self._parts.clock(), policy)
        if self._slots.unlimited:
            return await self._try_in_slot(batch, lane)
        async with self._slot(lane, patience=patience) as taken:
            if not taken:  # the shard closes, or the batch grew too old while it waited
                return Decision(pending=(batch,))
            return await self._try_in_slot(batch, lane)

    async def _try_in_slot(self, batch: Batch, lane: int) -> Decision | None:
        request_id = new_request_id()
        settings = self._parts.settings
        if settings.tumbling_window:
            self._open_window(batch)
        if self._tap.listening:
            self._tap.invoked(batch, request_id, shard=self._held.lease.shard, lane=lane)
        outcome = await self._invoke(partial(self._event, batch.records), request_id, records=batch.records)
        report, stateful = self._parts.mapping.report_item_failures, settings.tumbling_window > 0
        decision = decide_stream(batch, outcome, settings.retry, report_item_failures=report, stateful=stateful)
        self._tell(outcome, decision, batch, request_id, lane)
        done = await self._carry_out(batch, decision, outcome, request_id, lane)
        if isinstance(outcome, FunctionError):  # what was given up is done with, also if only a restart ends the handler
            await self._wait_overdue(outcome, lane)
        return decision if done else None

    async def _carry_out(self, batch: Batch, decision: Decision, outcome: Outcome, request_id: str, lane: int) -> bool:
        if decision.settled:
            window = self.checkpoints.window
            if window is not None and isinstance(outcome, Succeeded):
                self.checkpoints.window = window.with_state(outcome.response["state"])
            self._finish(decision.settled)
            if self.checkpoints.window is not None:
                await self.checkpoints.advance()  # a state is kept before anything is made of it
            if self.checkpoints.window is not None and self.checkpoints.window.state_too_large:
                return await self.end_window(early=True)  # what is pending then opens the same window anew (COM-95)
        return not decision.discarded or await self._discard(batch, decision, lane, outcome, request_id)

    async def _discard(self, batch: Batch, decision: Decision, lane: int, outcome: Outcome | None, request_id: str) -> bool:
        """False: the shard closes while it blocks for its destination."""
        failures = 0
        await self._held.check()  # who lost the shard has nothing to say about its records
        if self._discarder.asks_destination(decision):
            event = self._event(decision.discarded)
            while True:
                with self._status.busy(_OVERHEAD):
                    problem = await self._discarder.send(batch, decision, outcome=outcome, request_id=request_id, event=event)
                if problem is None:
                    break
                failures += 1
                self._block(lane, "the on-failure destination takes nothing", detail=problem)
                if not await self._rest(backoff(failures, base=_RETRY_BASE, cap=_RETRY_CAP, jitter=self._parts.jitter())):
                    return False
                await self._held.check()
        self._finish(decision.discarded)
        await self.checkpoints.advance()
        return True

    def _finish(self, records: tuple[Record, ...]) -> None:
        if self._parts.drain.begun:
            self._parts.drain.report.finished += len(records)
        self._parts.status.last_result = "OK"  # also when the stream moved on because records were given up (DDB-33)
        self.checkpoints.finish(records)

    @asynccontextmanager
    async def _slot(self, lane: int, *, patience: float = inf) -> AsyncIterator[bool]:
        before = self._status.blocks.get(lane)
        if self._slots.full:
            self._block(lane, f"waiting for one of {self._slots.most} invocations at once (ReservedConcurrentExecutions)")
        async with self._slots.take(self._closing, patience=patience) as taken:
            if before is not None:
                self._status.blocks[lane] = before
            else:
                self._status.blocks.pop(lane, None)
            yield taken

    # the invocation

    def _event(self, records: tuple[Record, ...], *, final: bool = False, early: bool = False) -> dict[str, Any]:
        event = self._parts.spec.envelope(records)
        if self.checkpoints.window is not None:
            shard, source = self._held.lease.shard, self._parts.mapping.source_arn
            event |= self.checkpoints.window.keys(shard=shard, source_arn=source, final=final, early=early)
        return event

    async def _invoke(self, make_event: MakeEvent, request_id: str, *, records: tuple[Record, ...]) -> Outcome:
        await self._held.check()
        telemetry, began = self._telemetry.mapping, self._now()
        with self._status.busy(self._parts.function.timeout + _OVERHEAD):
            telemetry.invocation_began()
            self._parts.status.delivering += 1
            try:
                arn = self._parts.mapping.function_arn
                return await self._parts.invoker.invoke(make_event, request_id=request_id, function_arn=arn)
            except anyio.get_cancelled_exc_class():
                self._abandon(len(records))
                raise
            finally:
                self._parts.status.delivering -= 1
                telemetry.invocation_ended(duration=self._now() - began)

    def _abandon(self, records: int) -> None:
        """Count what the end of the grace period cuts off; it is delivered again from the checkpoint."""
        if records and self._parts.drain.begun and self._held.ours:
            self._parts.drain.report.abandoned += records
            self._telemetry.mapping.records_abandoned(records)

    def _tell(self, outcome: Outcome, decision: Decision, batch: Batch, request_id: str, lane: int) -> None:
        if self._tap.listening:
            self._tap.ended(outcome, decision, batch, request_id, shard=self._held.lease.shard, lane=lane)
        telemetry, records = self._telemetry.mapping, len(batch.records)
        match outcome:
            case Succeeded():
                failed = records - len(decision.settled)
                times = self._count_failure(lane, decision.problem) if decision.problem else 1
                telemetry.function_succeeded(
                    request_id=request_id, records=records, failed=failed, problem=decision.problem, times=times
                )
            case FunctionError():
                times = self._count_failure(lane, f"{outcome.error_type}: {outcome.message}")
                where = {"shard": self._held.lease.shard, **_ends(batch)}
                telemetry.function_failed(outcome, request_id=request_id, records=records, times=times, where=where)
            case NotInvoked(reason=reason):
                telemetry.function_throttled(request_id=request_id, records=records, reason=reason, first=batch.throttles == 0)
        if decision.problem is not None or not isinstance(outcome, Succeeded):
            self._parts.status.last_result = "PROBLEM: Function call failed"

    def _count_failure(self, lane: int, what: str) -> int:
        what = what[:_LONGEST_REASON]
        before, times = self._failures.get(lane, ("", 0))
        self._failures[lane] = (what, times + 1 if what == before else 1)
        return self._failures[lane][1]

    async def _wait_overdue(self, outcome: FunctionError, lane: int) -> None:
        """A plain handler that runs on past its time limit: trying again beside it would break the order of the shard."""
        if outcome.still_running is None:
            return
        self._parts.status.overdue += 1
        self._status.overdue[lane] = self._now()
        self._telemetry.mapping.overdue_handlers(self._parts.status.overdue, 1)
        self._block(lane, "a handler runs on past its time limit")
        try:
            await self._parts.drain.unless_begun(outcome.still_running)  # a mere hand-over waits: two would work on one batch
        finally:
            self._parts.status.overdue -= 1
            self._status.overdue.pop(lane, None)
            self._telemetry.mapping.overdue_handlers(self._parts.status.overdue, -1)

    # waiting

    async def _pause(self, batch: Batch, lane: int) -> bool:
        """Before a batch is tried again; never past the moment at which it grows too old (COM-83). False: the shard closes."""
        throttled = batch.throttles > 0
        failures, cap = (batch.throttles, _THROTTLE_CAP) if throttled else (max(1, batch.retries), _RETRY_CAP)
        pause = backoff(failures, base=_RETRY_BASE, cap=cap, jitter=self._parts.jitter())
        what = _described(batch)
        if throttled:
            self._block(lane, f"throttled: {what}")
        else:
            why = self._failures.get(lane, ("reported as failed", 1))[0]
            self._block(lane, f"retrying {what}", attempt=batch.retries + 1, detail=why)
        return await self._rest(min(pause, age_left(batch, self._parts.clock(), self._parts.settings.retry)))

    async def _rest(self, seconds: float) -> bool:
        with self._status.busy(seconds):
            return await self._closing.pause(seconds)

    def _block(self, lane: int, reason: str, *, attempt: int = 0, detail: str = "") -> None:
        """Keeps the time since when the lane has been blocked for this reason."""
        before = self._status.blocks.get(lane)
        since = before.since if before and before.reason == reason else self._parts.clock()
        self._status.blocks[lane] = Block(reason=reason, since=since, attempt=attempt, detail=detail)

    def _open_window(self, batch: Batch) -> OpenWindow:
        checkpoints = self.checkpoints
        if checkpoints.window is None:
            checkpoints.window = OpenWindow.of(batch.records[0].arrived, self._parts.settings.tumbling_window)
        return checkpoints.window


def _ends(batch: Batch) -> dict[str, str]:
    return {"first": batch.records[0].id, "last": batch.records[-1].id} if batch.records else {}


def _described(batch: Batch) -> str:
    first, last = batch.records[0].id, batch.records[-1].id
    return f"record {first}" if len(batch.records) == 1 else f"{len(batch.records)} records from {first} to {last}"
