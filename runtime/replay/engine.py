"""Replays records: invoke, decide, account, until every record has its fate. Nothing is waited for between tries.

The rules of a batch are those of the worker (`core.decisions`). What the source would do afterwards, deliver again, keep a group
back, is not done: a record fails once, in the end, and the next ones go on, unless order is to be strict.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import anyio
import anyio.abc
from msgspec.structs import replace

from handlers.invoker import FunctionError, Invoker, NotInvoked, Outcome, Succeeded
from pollers.event_records import EventRecord
from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.decisions import RETRIES_EXHAUSTED, Decision, decide_queue, decide_stream
from runtime.core.response import failed_items
from runtime.core.tumbling import OpenWindow
from runtime.replay.calling import Beside, Caller
from runtime.replay.lanes import Lane, Lanes
from runtime.replay.order import Blocked
from runtime.replay.pace import Pace
from runtime.replay.report import NOT_ALONE, REPORTED, Failure, Report, Trouble
from runtime.replay.rules import Rules, is_queue
from runtime.request_ids import new_request_id

_THROTTLE_PAUSE: Final = 0.05
"""Seconds until a function that could not be called at all is called again."""
_NAMED: Final = Trouble(type=REPORTED, message="the handler named it in batchItemFailures")
_UNNAMED: Final = Trouble(type=NOT_ALONE, message="given up with its batch, of which the handler named another record as failed")

Discarded = Callable[[Lane, Batch, Decision, Outcome, str], Awaitable[None]]
"""Told of records of a stream that were given up: with the batch, the outcome that led to it, and its request id."""
Settled = Callable[[tuple[Record, ...]], Awaitable[None]]
"""Told of records that succeeded, as soon as they did."""
Failed = Callable[[Failure], None]
"""Told of each record that failed in the end."""


class Replayer:
    """One replay. `feed` records inside `running`; when that block ends, all of them are done."""

    def __init__(
        self,
        rules: Rules,
        invoker: Invoker,
        report: Report,
        *,
        concurrency: int | None = None,
        pace: Pace | None = None,
        beside: Beside | None = None,
        discarded: Discarded | None = None,
        settled: Settled | None = None,
        failed: Failed | None = None,
        blocked: Blocked | None = None,
    ) -> None:
        """`concurrency`: most invocations at once, over all lanes. `pace`: of the recording; None: without waiting.

        `blocked`: order is strict, nothing of what it holds is run, and what fails is added to it.
        """
        self._rules = rules
        self._queue = is_queue(rules.mapping.source)
        self._report = report
        self._pace = pace
        self._discarded = discarded
        self._settled = settled
        self._failed = failed
        self._blocked = blocked
        self._places: dict[RecordId, str] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._caller = Caller(invoker, report, function_arn=rules.mapping.function_arn, concurrency=concurrency, beside=beside)
        self._lanes = Lanes(rules.batch, rules.lanes, queue=self._queue, pace=pace, start=self._start)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as self._tasks:
            yield
            self._lanes.end()

    async def feed(self, record: EventRecord, *, place: str = "") -> None:
        """Waits until there is room for it. `place`: where it came from, for whoever reads of its failure."""
        self._report.take(record.record)
        if self._pace is not None and not self._report.stopped:
            await self._pace.wait_arrived(record.record)
        if self._report.stopped:
            return
        if place:
            self._places[record.record.id] = place
        await self._lanes.add(record.record, source_arn=record.source_arn, shard=record.shard)

    async def finish_shard(self, source_arn: str, shard: str) -> None:
        """Until its records are done: those of its children may follow."""
        await self._lanes.finish(source_arn, shard)

    def stop(self) -> None:
        """Start no more invocations; those that run are finished."""
        self._report.stopped = True
        self._lanes.close()

    # one lane

    def _start(self, lane: Lane) -> None:
        assert self._tasks is not None, "records are fed inside running()"  # noqa: S101
        self._tasks.start_soon(self._work, lane, name=f"lane of {lane.shard or lane.source_arn}")

    async def _work(self, lane: Lane) -> None:
        while await self._lanes.wait_due(lane):
            batch = self._lanes.take(lane)
            if batch.records:
                self._report.batches += 1
                await self._deliver(batch, lane)
            else:
                await self._end_window(lane)
            self._lanes.free(lane)

    async def _deliver(self, batch: Batch, lane: Lane) -> None:
        if not self._rules.tumbling_window:
            await self._settle(batch, lane)
            return
        rest: Batch | None = batch
        while rest is not None and not self._report.stopped:
            now, rest = self._window(lane, rest).split(rest)
            if now is None:
                await self._end_window(lane)
            else:
                await self._settle(now, lane)

    async def _settle(self, batch: Batch, lane: Lane) -> None:
        pending = deque([batch])
        while pending and not self._report.stopped:
            current = self._unblocked(pending.popleft(), lane)
            if not current.records:
                continue
            if self._rules.tumbling_window:
                self._window(lane, current)
            request_id = new_request_id()
            outcome = await self._invoke(current.records, lane, request_id)
            if outcome is None:
                return
            decision = self._decide(current, outcome)
            self._account(current, decision, outcome, lane)
            pending.extendleft(reversed(decision.pending))
            await self._carry_out(current, decision, outcome, lane, request_id)

    async def _carry_out(self, batch: Batch, decision: Decision, outcome: Outcome, lane: Lane, request_id: str) -> None:
        if decision.settled and self._settled is not None:
            await self._settled(decision.settled)
        if decision.settled and lane.open is not None and isinstance(outcome, Succeeded):
            lane.open = lane.open.with_state(outcome.response["state"])
            if lane.open.state_too_large:
                await self._end_window(lane, early=True)  # what is pending opens it anew (COM-95)
        if decision.discarded and self._discarded is not None:
            await self._discarded(lane, batch, decision, outcome, request_id)
        if isinstance(outcome, NotInvoked):
            await anyio.sleep(_THROTTLE_PAUSE)

    def _decide(self, batch: Batch, outcome: Outcome) -> Decision:
        rules = self._rules
        report = rules.report_item_failures
        if not self._queue:
            stateful = rules.tumbling_window > 0
            decision = decide_stream(batch, outcome, rules.retry, report_item_failures=report, stateful=stateful)
            return _named_alone(batch, decision, outcome) if rules.endless and report else decision
        decision = decide_queue(batch, outcome, report_item_failures=report)
        if decision.returned and batch.retries < rules.retry.attempts:  # as if the queue had delivered them again
            return replace(decision, returned=(), pending=(Batch(decision.returned, retries=batch.retries + 1),))
        return decision

    def _unblocked(self, batch: Batch, lane: Lane) -> Batch:
        if self._blocked is None:
            return batch
        free = tuple(each for each in batch.records if not self._blocked.holds(lane.source_arn, lane.shard, each))
        return batch if len(free) == len(batch.records) else replace(batch, records=free, counted=0)

    # the invocation

    async def _invoke(
        self, records: tuple[Record, ...], lane: Lane, request_id: str, *, final: bool = False, early: bool = False
    ) -> Outcome | None:
        make_event = partial(self._event, records, lane, lane.open, final=final, early=early)
        return await self._caller.call(make_event, records, lane.shard, request_id)

    def _event(
        self, records: tuple[Record, ...], lane: Lane, window: OpenWindow | None, *, final: bool, early: bool
    ) -> dict[str, Any]:
        event = self._rules.envelope(records)
        if window is not None:
            event |= window.keys(shard=lane.shard, source_arn=lane.source_arn, final=final, early=early)
        return event

    def _window(self, lane: Lane, batch: Batch) -> OpenWindow:
        if lane.open is None:
            lane.open = OpenWindow.of(batch.records[0].arrived, self._rules.tumbling_window)
        return lane.open

    async def _end_window(self, lane: Lane, *, early: bool = False) -> None:
        """The last invocation of a window has no records; it is tried so often as a batch would be."""
        tries = 0
        while tries <= self._rules.retry.attempts and not self._report.stopped:
            outcome = await self._invoke((), lane, new_request_id(), final=True, early=early)
            if isinstance(outcome, Succeeded) or outcome is None:
                break
            if isinstance(outcome, NotInvoked):
                await anyio.sleep(_THROTTLE_PAUSE)
            else:
                tries += 1
        else:
            if lane.open is not None and not self._report.stopped:
                where = f"shard {lane.shard}: " if lane.shard else ""
                self._report.problems.append(f"{where}the last invocation of the window from {lane.open.start} failed")
        lane.open = None

    # the account

    def _account(self, batch: Batch, decision: Decision, outcome: Outcome, lane: Lane) -> None:
        self._report.succeeded += len(decision.settled)
        for record in decision.settled:
            self._places.pop(record.id, None)
        given_up = (*decision.discarded, *decision.returned)
        if not given_up:
            return
        for record, trouble in zip(given_up, self._troubles(given_up, decision, outcome, batch), strict=True):
            if self._blocked is not None:
                self._blocked.add(lane.source_arn, lane.shard, record)
            failure = Failure(
                source_arn=lane.source_arn,
                shard=lane.shard,
                position=record.id,
                trouble=trouble,
                condition=decision.condition or "",
                attempts=batch.retries + 1,
                place=self._places.pop(record.id, ""),
                batch=len(batch.records),
            )
            self._report.fail(failure)
            if self._failed is not None:
                self._failed(failure)

    def _troubles(self, given_up: tuple[Record, ...], decision: Decision, outcome: Outcome, batch: Batch) -> list[Trouble]:
        if isinstance(outcome, FunctionError):
            return [Trouble.of(outcome)] * len(given_up)
        if decision.problem is not None or not isinstance(outcome, Succeeded):
            return [Trouble(type="InvalidResponse", message=decision.problem or "")] * len(given_up)
        named = failed_items(outcome.response, [record.id for record in batch.records]).failed
        return [_NAMED if record.id in named else _UNNAMED for record in given_up]


def _named_alone(batch: Batch, decision: Decision, outcome: Outcome) -> Decision:
    """Only what the handler named failed: whoever tries for ever gives up nothing beside it."""
    if decision.problem is not None or not isinstance(outcome, Succeeded) or len(decision.settled) == len(batch.records):
        return decision
    failed = failed_items(outcome.response, [record.id for record in batch.records]).failed
    return Decision(
        settled=tuple(record for record in batch.records if record.id not in failed),
        discarded=tuple(record for record in batch.records if record.id in failed),
        condition=RETRIES_EXHAUSTED,
    )
