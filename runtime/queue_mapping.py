"""Runs one mapping of a queue: polls as much as can be started, assembles batches, delivers them.

A delivery slot is taken BEFORE each receive. One receive is in the air while the queue is idle; more as batches come full.
What the filters leave out never enters a batch: it is deleted at once (FLT-60), in FIFO queues too (FLT-64).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.abc import TaskGroup

from handlers.invoker import FunctionSpec, Invoker
from pollers.errors import SourceError, SourceRejected
from pollers.record import Record
from pollers.source import QueueFacts, QueueSource, QueueSpec, Refusal
from runtime.clock import loop_clock
from runtime.core.backoff import backoff
from runtime.core.batching import Batch, BatchWindow
from runtime.core.decisions import split_held_groups
from runtime.core.mapping import EventSourceMapping, MappingState
from runtime.core.pacing import (
    LEAST_PARALLEL,
    LONGEST_WAIT,
    MOST_PARALLEL,
    MOST_PER_RECEIVE,
    most_collecting,
    plan_concurrency,
    plan_parallel,
    plan_receives,
    plan_round,
)
from runtime.delivery import Delivered, QueueDelivery, delete_twice
from runtime.drain import Drain
from runtime.queue_facts import queue_warnings, receive_visibility
from runtime.sieve import Sieve
from runtime.slots import Slot, Slots
from runtime.status import MappingStatus
from runtime.telemetry import MappingTelemetry
from runtime.visibility import Held, VisibilityKeeper

DEFAULT_CONCURRENCY: Final = 10
"""Batches at once without a ScalingConfig. AWS would go to 1,250 (SQS-40); one process does better with a bound it can carry."""
_FAILURE_BASE: Final = 0.5
_UNAVAILABLE_CAP: Final = 20.0
_REJECTED_CAP: Final = 60.0
_EARLY_PAUSE: Final = 1.0
"""Seconds until the next poll after a long poll that came back empty and early."""
_LAST_WORD: Final = 5.0
"""Seconds for giving records back when the grace period is over already."""
_REFRESH: Final = 300.0
"""Seconds after which the queue is asked for its visibility timeout again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueParts:
    """What a queue mapping is put together from; `app.py` makes them."""

    mapping: EventSourceMapping
    function: FunctionSpec
    spec: QueueSpec
    source: QueueSource
    invoker: Invoker
    slots: Slots
    drain: Drain
    status: MappingStatus
    telemetry: MappingTelemetry
    clock: Callable[[], float]
    """Wall clock: seconds since the epoch."""
    worked: Callable[[], float]
    """Seconds for which the event loop was at work so far."""
    jitter: Callable[[], float]
    """Uniform in [0, 1)."""


async def run_queue_mapping(parts: QueueParts) -> None:
    """Run until the drain has begun and nothing is in hand any more."""
    poller = _QueuePoller(parts)
    facts = await poller.wait_described()
    if facts is None:
        return
    async with anyio.create_task_group() as upkeep:
        upkeep.start_soon(poller.keeper.run, name=f"{parts.mapping.name} visibility")
        upkeep.start_soon(poller.run_refresh, name=f"{parts.mapping.name} refresh")
        async with anyio.create_task_group() as work:
            await poller.run_intake(work)
        upkeep.cancel_scope.cancel()


class _QueuePoller:
    """The state of one running mapping."""

    def __init__(self, parts: QueueParts) -> None:
        self._parts = parts
        self._mapping = parts.mapping
        self._source = parts.source
        self._slots = parts.slots
        self._drain = parts.drain
        self._status = parts.status
        self._telemetry = parts.telemetry
        self._visibility = 0
        self._hidden_for: int | None = None
        """Seconds that a receive asks for; None leaves them to the queue."""
        self._wanted = 1
        self._parallel = MOST_PARALLEL
        """Receives that fill a large batch together."""
        self._known_round = 1
        """Receives of the largest round since one did not come full: the next batch need not find that out from the beginning."""
        self._resume_at = 0.0
        self._failures = 0
        self._answered = False
        self._changed = anyio.Event()
        self._now = loop_clock()
        self._sieve = Sieve(parts.mapping, parts.spec)
        self.keeper = VisibilityKeeper(parts.source, parts.telemetry, parts.jitter)
        self._delivery = QueueDelivery(
            parts.mapping,
            spec=parts.spec,
            source=parts.source,
            invoker=parts.invoker,
            keeper=self.keeper,
            drain=parts.drain,
            telemetry=parts.telemetry,
            tap=parts.status.tap,
            jitter=parts.jitter,
        )
        self._status.begin()
        self._status.slots = self._slots.maximum
        self._status.allowed = self._slots.allowed

    # what the queue says of itself

    async def wait_described(self) -> QueueFacts | None:
        """Ask until the queue answers; None when the drain begins first."""
        while not self._drain.begun:
            try:
                facts = await self._describe_once()
            except SourceError as error:
                self._source_failed(error)
                await self._drain.pause(self._resume_at - self._now())
                continue
            if facts is not None:
                self._learn(facts)
                for warning in queue_warnings(self._mapping, self._parts.function, facts):
                    self._telemetry.source_warned(warning)
                return facts
        return None

    async def _describe_once(self) -> QueueFacts | None:
        """None when the drain begins before the answer. An error comes out as itself, not as a group."""
        try:
            return await self._drain.unless_begun(self._source.describe)
        except* SourceError as errors:
            raise errors.exceptions[0] from None

    async def run_refresh(self) -> None:
        """The timeout of a queue may be changed while we run. What goes wrong here, the receives meet and tell as well."""
        while True:
            await anyio.sleep(_REFRESH)
            try:
                self._learn(await self._source.describe())
            except SourceError as error:
                self._source_failed(error)

    def _learn(self, facts: QueueFacts) -> None:
        self._visibility = facts.visibility_timeout
        self._hidden_for = receive_visibility(self._mapping, self._parts.function, self._visibility)
        self._status.facts = {"VisibilityTimeout": facts.visibility_timeout, "RedrivePolicy": facts.redrive}

    # the intake

    async def run_intake(self, work: TaskGroup) -> None:
        """Start a poll whenever one is wanted and may deliver; ends when the drain begins. Cancels waits, never a receive."""
        async with anyio.create_task_group() as intake:
            intake.start_soon(self._run_polls, work, name=f"{self._mapping.name} intake")
            await self._drain.wait_begun()
            intake.cancel_scope.cancel()

    async def _run_polls(self, work: TaskGroup) -> None:
        while True:
            await self._wait_wanted()
            slot = await self._slots.take()
            if self._status.receiving >= self._wanted:  # another went straight on meanwhile
                slot.release()
                continue
            self._status.receiving += 1
            work.start_soon(self._poll, slot, work, name=f"{self._mapping.name} poll")

    async def _wait_wanted(self) -> None:
        while self._status.receiving >= self._wanted:
            await self._wait_change()
        await anyio.sleep_until(self._resume_at)

    async def _wait_change(self) -> None:
        """Until a receive ends."""
        if self._changed.is_set():
            self._changed = anyio.Event()
        await self._changed.wait()

    async def _poll(self, slot: Slot, work: TaskGroup) -> None:
        """Turns of a slot: receive, deliver what came, and again for as long as the next receive is wanted at once."""
        window = BatchWindow(self._mapping.batch)
        left_out: list[Record] = []
        still_running = None
        try:
            while True:
                try:
                    await self._collect(window, left_out)
                finally:
                    self._status.receiving -= 1
                    self._changed.set()
                still_running = await self._deliver_and_delete(window, left_out)
                if still_running is not None or not self._wants_more():
                    break
                self._status.receiving += 1
        except anyio.get_cancelled_exc_class():
            await self._release(window.drop())  # no handler has seen these
            raise
        finally:
            if still_running is None:
                slot.release()
            else:
                work.start_soon(self._wait_overdue, slot, still_running, name=f"{self._mapping.name} overdue")

    def _wants_more(self) -> bool:
        """Whether this slot may go straight on, past the intake: it saves a task and two queues for every batch."""
        return self._status.receiving < self._wanted and self._may_go_on

    @property
    def _may_go_on(self) -> bool:
        return not self._drain.begun and self._now() >= self._resume_at and self._slots.may_keep

    async def _collect(self, window: BatchWindow, left_out: list[Record]) -> None:
        """Receive until the batch is due: full, at the window's end, or at once where there is no window.

        What the filters left out of the last receive may be in `left_out` afterwards, still to be deleted.
        """
        receives = 1
        got: int | None = 0
        limits = [MOST_PER_RECEIVE]
        while True:
            await self._delete(left_out)
            asked_at = self._now()
            wait = self._wait(window, asked_at)
            if wait is None or self._drain.begun:
                break
            limits = self._limits(window, receives)
            got = await self._receive_some(window, left_out, limits, wait)
            now = self._now()
            early = wait > 0 and now - asked_at < wait / 2
            if got is None or (got == 0 and not len(window)):
                self._rest(wait, early=early)
                break
            if window.remaining(now) == 0:
                break
            if not len(window):  # a stretch of what nobody wants is drained like any other
                self._plan_receives(full=got == sum(limits), empty=False)
                if not self._may_go_on:
                    break
            if got == 0 and early:
                await self._drain.pause(_EARLY_PAUSE)
            receives = self._plan_round(window, receives, full=got == sum(limits))
        more_than_shows = not self._sieve.open and got == sum(limits)  # few are wanted, and the queue has many
        full = len(window) > 0 and (window.missing == 0 or more_than_shows)
        self._plan_receives(full=full, empty=not len(window) and not got)

    def _plan_receives(self, *, full: bool, empty: bool) -> None:
        slots = min(self._slots.allowed, most_collecting(self._mapping.batch.records, self._parallel))
        self._wanted = plan_receives(self._wanted, full=full, empty=empty, slots=slots)
        self._changed.set()

    def _plan_round(self, window: BatchWindow, receives: int, *, full: bool) -> int:
        """How many receives follow on so many."""
        if full:
            receives = max(receives, self._known_round // 2)
        mean_size = (self._mapping.batch.size - window.room) // max(1, len(window))
        receives = plan_round(receives, full=full, missing=window.missing, room=window.room, mean_size=mean_size)
        self._known_round = max(self._known_round, receives) if full else receives
        return receives

    def _wait(self, window: BatchWindow, now: float) -> int | None:
        """How long the next receive may wait; None when the batch is due."""
        remaining = window.remaining(now)
        if remaining is None:
            return self._first_wait()
        return max(1, min(LONGEST_WAIT, int(remaining))) if remaining > 0 else None

    def _first_wait(self) -> int:
        """A long poll; a short one to learn that the queue answers (again), or where others may want the shared slot."""
        sure = self._answered and self._status.error is None
        return LONGEST_WAIT if sure and not self._slots.scarce else 0

    def _rest(self, wait: int, *, early: bool) -> None:
        """After a poll that brought nothing.

        An idle queue that has to share its slots asks as seldom as if it had polled long, and leaves them to the others.
        A long poll that does not wait (a server without them, messages that all go to a dead-letter queue) is slowed down.
        """
        pause = 0.0
        if wait == 0 and self._answered and self._slots.scarce:
            pause = LONGEST_WAIT
        elif early:
            pause = _EARLY_PAUSE
        self._resume_at = max(self._resume_at, self._now() + pause)

    def _limits(self, window: BatchWindow, receives: int) -> list[int]:
        missing = window.missing
        if receives == 1:
            return [min(MOST_PER_RECEIVE, missing)]
        starts = range(0, min(missing, receives * MOST_PER_RECEIVE), MOST_PER_RECEIVE)
        return [min(MOST_PER_RECEIVE, missing - start) for start in starts]

    async def _receive_some(self, window: BatchWindow, left_out: list[Record], limits: list[int], wait: int) -> int | None:
        """Receives side by side into one window; how many records came, None when one of them failed.

        A receive that came full is followed by the next one. A task for each would cost as much as the receive.
        """
        if len(limits) == 1:
            return await self._receive(window, left_out, limits[0], wait)
        results: list[int | None] = []
        waiting = iter(limits)

        async def receive_on() -> None:
            unwanted: list[Record] = []
            for limit in waiting:
                may_wait = self._wait(window, self._now()) if results else wait
                if may_wait is None or self._drain.begun:
                    return
                got = await self._receive(window, unwanted, limit, may_wait)
                results.append(got)
                if unwanted:
                    await self._delete(unwanted)
                if got != limit:
                    return

        began, worked = self._now(), self._parts.worked()
        async with anyio.create_task_group() as receives:
            for _ in range(min(self._parallel, len(limits))):
                receives.start_soon(receive_on, name=f"{self._mapping.name} receive")
        if len(limits) > LEAST_PARALLEL:
            worked = self._parts.worked() - worked
            self._parallel = plan_parallel(self._parallel, worked=worked, elapsed=self._now() - began)
        return None if None in results else sum(got for got in results if got)

    async def _receive(self, window: BatchWindow, left_out: list[Record], limit: int, wait: int) -> int | None:
        """How many records came, wanted or not; None when it failed."""
        try:
            records = await self._source.receive(limit=limit, wait=wait, visibility=self._hidden_for)
        except SourceError as error:
            self._source_failed(error)
            return None
        self._source_answered(records)
        wanted, unwanted = (records, ()) if self._sieve.open else self._sieve.part(records)
        if unwanted:
            self._telemetry.records_filtered_out(len(unwanted))
            left_out += unwanted
        now = self._now()
        window.add(wanted, now)
        if self._status.tap.listening:
            self._status.tap.received(records, waiting=len(window), due=window.remaining(now))
            self._status.tap.filtered(unwanted, why=self._sieve.why)
        return len(records)

    async def _delete(self, left_out: list[Record]) -> None:
        """What the filters left out. If that is refused twice the queue delivers it again, and it is left out again."""
        if left_out:
            records, left_out[:] = tuple(left_out), ()
            self._telemetry.delete_refused(await delete_twice(self._source, records))

    def _source_answered(self, records: Sequence[Record]) -> None:
        oldest = min([record.arrived for record in records if record.arrived], default=None)
        self._telemetry.batch_polled(len(records), oldest_age=0.0 if oldest is None else self._parts.clock() - oldest)
        if self._answered and self._status.error is None:
            return
        self._telemetry.source_answered(visibility_timeout=self._visibility, failures=self._failures)
        self._answered = True
        self._failures = 0
        self._status.error = None
        self._resume_at = 0.0
        if self._status.state is MappingState.CREATING and self._status.move(MappingState.ENABLED):
            self._telemetry.state_changed(MappingState.ENABLED)

    def _source_failed(self, error: SourceError) -> None:
        """Back off; tell once per change of what is wrong, not once per try. Receives that fail together are one failure."""
        self._wanted = 1
        now = self._now()
        if now >= self._resume_at:
            self._failures += 1
            cap = _REJECTED_CAP if isinstance(error, SourceRejected) else _UNAVAILABLE_CAP
            self._resume_at = now + backoff(self._failures, base=_FAILURE_BASE, cap=cap, jitter=self._parts.jitter())
        if self._status.error is None or self._status.error.code != error.code:
            self._telemetry.source_failed(error)
        self._status.error = error

    # the work

    async def _deliver_and_delete(self, window: BatchWindow, left_out: list[Record]) -> Callable[[], Awaitable[None]] | None:
        """Deliver what was collected; what was left out of it is deleted meanwhile, so that neither waits for the other."""
        if not left_out:
            return await self._deliver_all(window)
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._delete, left_out, name=f"{self._mapping.name} delete")
            still_running = await self._deliver_all(window)
        return still_running  # noqa: RET504  # a task group might swallow what comes out of it, thinks mypy

    async def _deliver_all(self, window: BatchWindow) -> Callable[[], Awaitable[None]] | None:
        """Deliver what was collected: one batch, unless it came to more than the byte limit.

        What waits behind a batch is kept hidden, and goes back if its group failed before it, or the slot is not free any more.
        """
        while len(window):
            if self._drain.begun:
                await self._release(window.drop())
                break
            batch = window.take()
            delivered = await self._deliver(batch, window)
            if delivered.still_running is not None:
                await self._release(window.drop())
                return delivered.still_running
            if len(window) and self._mapping.fifo:
                free, held = split_held_groups((*delivered.returned, *delivered.released), window.drop())
                await self._release(held)
                window.add(free, batch.received)
        return None

    async def _deliver(self, batch: Batch, waiting: BatchWindow) -> Delivered:
        timeout = self._hidden_for or self._visibility
        held = Held(batch.records, received=batch.received, timeout=timeout)
        self._status.delivering += 1
        try:
            if len(waiting):
                with self.keeper.keep(Held(waiting.held(), received=batch.received, timeout=timeout)):
                    delivered = await self._delivery.deliver(batch, held)
            else:
                delivered = await self._delivery.deliver(batch, held)
        except anyio.get_cancelled_exc_class():
            self._abandon(len(batch.records))
            raise
        finally:
            self._status.delivering -= 1
        self._account(delivered)
        if delivered.released:
            await self._release(delivered.released)
        return delivered

    def _account(self, delivered: Delivered) -> None:
        if not delivered.invoked:
            return
        self._status.last_result = "PROBLEM: Function call failed" if delivered.failed else "OK"
        if self._drain.begun:
            self._drain.report.finished += len(delivered.settled) + len(delivered.returned)
        self._plan_concurrency(failed=delivered.failed and not self._mapping.report_item_failures)

    def _plan_concurrency(self, *, failed: bool) -> None:
        own, overdue = self._slots.own, self._status.overdue
        planned = plan_concurrency(own, failed=failed, maximum=self._slots.maximum, overdue=overdue)
        if planned != own:
            self._slots.allow(planned)
            self._status.allowed = self._slots.allowed

    async def _release(self, records: tuple[Record, ...]) -> None:
        """Give records back: visible at once, the last first, so that no group shows its later records before its earlier ones.

        In the drain only after our own open receives have ended: they would get the records again, at a receive count each.
        """
        if not records:
            return
        held = Held(records, received=self._now(), timeout=self._visibility)
        try:
            with self.keeper.keep(held):
                while self._drain.begun and self._status.receiving:
                    await self._wait_change()
        finally:  # also when the grace period ends
            refused = [Refusal(record=record, code="no_answer", message="", gone=False) for record in records]
            with anyio.move_on_after(_LAST_WORD, shield=True):
                refused = await self._source.extend(records[::-1], 0)
            kept = [refusal for refusal in refused if not refusal.gone]  # what is gone is with the queue already
            self._telemetry.records_released(len(records) - len(kept), kept, stopping=self._drain.begun)
            if self._status.tap.listening:
                self._tell_released(records, kept)
            if self._drain.begun:
                self._drain.report.released += len(records) - len(kept)
            self._abandon(len(kept))

    def _tell_released(self, records: tuple[Record, ...], kept: list[Refusal]) -> None:
        held = {refusal.record.handle for refusal in kept}
        back = [record for record in records if record.handle not in held]
        self._status.tap.given_back(back, reason="the worker stops" if self._drain.begun else "not to be delivered now")

    def _abandon(self, records: int) -> None:
        if records:
            self._telemetry.records_abandoned(records)
            if self._drain.begun:
                self._drain.report.abandoned += records

    async def _wait_overdue(self, slot: Slot, still_running: Callable[[], Awaitable[None]]) -> None:
        """Hold the slot of a handler that could not be stopped until it really returns."""
        self._count_overdue(1)
        try:
            await still_running()
            self._count_overdue(-1)
        finally:
            slot.release()

    def _count_overdue(self, change: int) -> None:
        self._status.overdue += change
        self._telemetry.overdue_handlers(self._status.overdue, change)
        self._plan_concurrency(failed=False)
        if self._status.overdue < self._slots.most:
            self._status.overdue_since = None
        elif self._status.overdue_since is None:
            self._status.overdue_since = self._now()
