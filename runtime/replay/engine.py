"""Replays records: invoke, decide, account, until every record has its fate. Nothing is waited for between tries.

The rules of a batch are those of the worker (`core.decisions`). What the source would do afterwards, deliver again, keep a group
back, is not done: a record fails once, in the end, and the next ones go on.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any, Final, Protocol

import anyio
import anyio.abc
from msgspec.structs import replace

from handlers.invoker import FunctionError, Invoker, NotInvoked, Outcome, Succeeded
from pollers.event_records import EventRecord
from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.decisions import Decision, decide_queue, decide_stream
from runtime.core.response import failed_items
from runtime.core.tumbling import OpenWindow
from runtime.replay.lanes import Lane, Lanes, Pace
from runtime.replay.report import NOT_ALONE, Failure, Report, Trouble
from runtime.replay.rules import Rules, is_queue
from runtime.request_ids import new_request_id

_THROTTLE_PAUSE: Final = 0.05
"""Seconds until a function that could not be called at all is called again."""
_NAMED: Final = Trouble(type="ReportedAsFailed", message="the handler named it in batchItemFailures")
_UNNAMED: Final = Trouble(type=NOT_ALONE, message="given up with its batch, of which the handler named another record as failed")

Discarded = Callable[[Lane, Batch, Decision, Outcome, str], Awaitable[None]]
"""Told of records of a stream that were given up: with the batch, the outcome that led to it, and its request id."""
Settled = Callable[[tuple[Record, ...]], Awaitable[None]]
"""Told of records that succeeded, as soon as they did."""


class Beside(Protocol):
    """Another handler that gets every batch, too."""

    async def compare(
        self, make_event: Callable[[], dict[str, Any]], batch: Batch, shard: str, *, first: Outcome, took: float
    ) -> None: ...


class Replayer:
    """One replay. `feed` records inside `running`; when that block ends, all of them are done."""

    def __init__(
        self,
        rules: Rules,
        invoker: Invoker,
        report: Report,
        *,
        concurrency: int | None = None,
        speed: float | None = None,
        beside: Beside | None = None,
        discarded: Discarded | None = None,
        settled: Settled | None = None,
    ) -> None:
        """`concurrency`: most invocations at once, over all lanes. `speed`: of the recording's rhythm; None: without waiting."""
        self._rules = rules
        self._invoker = invoker
        self._report = report
        self._limiter = anyio.CapacityLimiter(concurrency) if concurrency is not None else None
        self._pace = Pace(speed) if speed is not None else None
        self._beside = beside
        self._discarded = discarded
        self._settled = settled
        self._places: dict[RecordId, str] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._lanes = Lanes(rules.batch, rules.lanes, queue=is_queue(rules.mapping.source), pace=self._pace, start=self._start)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as self._tasks:
            yield
            self._lanes.end()

    async def feed(self, record: EventRecord, *, place: str = "") -> None:
        """Waits until there is room for it. `place`: where it came from, for whoever reads of its failure."""
        if self._pace is not None:
            await self._pace.wait_arrived(record.record)
        if self._report.stopped:
            return
        self._report.take(record.record)
        if place:
            self._places[record.record.id] = place
        await self._lanes.add(record.record, source_arn=record.source_arn, shard=record.shard)

    async def finish_shard(self, source_arn: str, shard: str) -> None:
        """Until its records are done: those of its children may follow."""
        await self._lanes.finish(source_arn, shard)

    def stop(self) -> None:
        """Start no more invocations; those that run are finished."""
        self._report.stopped = True
        self._lanes.drop()

    # one lane

    def _start(self, lane: Lane) -> None:
        assert self._tasks is not None, "records are fed inside running()"  # noqa: S101
        self._tasks.start_soon(self._work, lane, name=f"lane of {lane.shard or lane.source_arn}")

    async def _work(self, lane: Lane) -> None:
        while await self._lanes.wait_due(lane):
            batch = self._lanes.take(lane)
            self._report.batches += 1
            await self._deliver(batch, lane)
            self._lanes.free(lane)
        while lane.open is not None and not self._report.stopped:
            await self._end_window(lane)

    async def _deliver(self, batch: Batch, lane: Lane) -> None:
        length = self._rules.tumbling_window
        if not length:
            await self._settle(batch, lane)
            return
        rest: Batch | None = batch
        while rest is not None and not self._report.stopped:
            lane.open = lane.open or OpenWindow.of(rest.records[0].arrived, length)
            now, rest = lane.open.split(rest)
            if now is not None:
                await self._settle(now, lane)
            if rest is not None or (lane.open is not None and lane.open.state_too_large):
                await self._end_window(lane, early=rest is None)

    async def _settle(self, batch: Batch, lane: Lane) -> None:
        pending = deque([batch])
        while pending and not self._report.stopped:
            current = pending.popleft()
            request_id = new_request_id()
            outcome = await self._invoke(current, lane, request_id)
            decision = self._decide(current, outcome)
            if lane.open is not None and decision.settled and isinstance(outcome, Succeeded):
                lane.open = lane.open.with_state(outcome.response["state"])
            self._account(current, decision, outcome, lane)
            if decision.settled and self._settled is not None:
                await self._settled(decision.settled)
            if decision.discarded and self._discarded is not None:
                await self._discarded(lane, current, decision, outcome, request_id)
            if isinstance(outcome, NotInvoked):
                await anyio.sleep(_THROTTLE_PAUSE)
            pending.extendleft(reversed(decision.pending))

    def _decide(self, batch: Batch, outcome: Outcome) -> Decision:
        rules = self._rules
        report = rules.report_item_failures
        if not is_queue(rules.mapping.source):
            return decide_stream(batch, outcome, rules.retry, report_item_failures=report, stateful=rules.tumbling_window > 0)
        decision = decide_queue(batch, outcome, report_item_failures=report)
        if decision.returned and batch.retries < rules.retry.attempts:  # as if the queue had delivered them again
            return replace(decision, returned=(), pending=(Batch(decision.returned, retries=batch.retries + 1),))
        return decision

    # the invocation

    async def _invoke(self, batch: Batch, lane: Lane, request_id: str, *, final: bool = False, early: bool = False) -> Outcome:
        make_event = partial(self._event, batch.records, lane, final=final, early=early)
        if self._limiter is None:
            return await self._call(make_event, batch, lane, request_id)
        async with self._limiter:
            return await self._call(make_event, batch, lane, request_id)

    async def _call(self, make_event: Callable[[], dict[str, Any]], batch: Batch, lane: Lane, request_id: str) -> Outcome:
        began = perf_counter()  # the loop's own clock may stand still while a handler runs
        outcome = await self._invoker.invoke(make_event, request_id=request_id, function_arn=self._rules.mapping.function_arn)
        took = perf_counter() - began
        if isinstance(outcome, NotInvoked):
            self._report.throttles += 1
            return outcome
        trouble = Trouble.of(outcome) if isinstance(outcome, FunctionError) else None
        self._report.invoked(lane.shard, batch.records, took, trouble)
        if self._beside is not None:
            await self._beside.compare(make_event, batch, lane.shard, first=outcome, took=took)
        return outcome

    def _event(self, records: tuple[Record, ...], lane: Lane, *, final: bool, early: bool) -> dict[str, Any]:
        event = self._rules.envelope(records)
        if lane.open is not None:
            event |= lane.open.keys(shard=lane.shard, source_arn=lane.source_arn, final=final, early=early)
        return event

    async def _end_window(self, lane: Lane, *, early: bool = False) -> None:
        """The last invocation of a window has no records; it is tried so often as a batch would be."""
        for _ in range(self._rules.retry.attempts + 1):
            outcome = await self._invoke(Batch(()), lane, new_request_id(), final=True, early=early)
            if isinstance(outcome, Succeeded):
                break
        else:
            start = lane.open.start if lane.open is not None else 0
            self._report.problems.append(f"shard {lane.shard}: the last invocation of the window from {start} failed")
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
            self._report.fail(
                Failure(
                    shard=lane.shard,
                    position=record.id,
                    trouble=trouble,
                    condition=decision.condition or "",
                    attempts=batch.retries + 1,
                    place=self._places.pop(record.id, ""),
                )
            )

    def _troubles(self, given_up: tuple[Record, ...], decision: Decision, outcome: Outcome, batch: Batch) -> list[Trouble]:
        if isinstance(outcome, FunctionError):
            return [Trouble.of(outcome)] * len(given_up)
        if decision.problem is not None or not isinstance(outcome, Succeeded):
            return [Trouble(type="InvalidResponse", message=decision.problem or "")] * len(given_up)
        named = failed_items(outcome.response, [record.id for record in batch.records]).failed
        return [_NAMED if record.id in named else _UNNAMED for record in given_up]
