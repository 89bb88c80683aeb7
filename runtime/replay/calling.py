"""One invocation of a replay: how many at once, how long it took, and the other handler beside it."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final, Protocol

import anyio

from handlers.invoker import FunctionError, Invoker, MakeEvent, NotInvoked, Outcome
from pollers.record import Record
from runtime.core.batching import Batch
from runtime.replay.report import Report, Trouble

_OVERDUE_PATIENCE: Final = 5.0
"""Seconds that a handler past its time limit is waited for: a thread cannot be stopped, and may never return."""


class Beside(Protocol):
    """Another handler that gets every batch, too."""

    async def compare(self, make_event: MakeEvent, batch: Batch, shard: str, *, first: Outcome, took: float) -> None: ...


class Caller:
    """Of one replay; safe for concurrent calls."""

    def __init__(
        self, invoker: Invoker, report: Report, *, function_arn: str, concurrency: int | None, beside: Beside | None
    ) -> None:
        """`concurrency`: most invocations at once."""
        self._invoker = invoker
        self._report = report
        self._function_arn = function_arn
        self._limiter = anyio.CapacityLimiter(concurrency) if concurrency is not None else None
        self._beside = beside

    async def call(self, make_event: MakeEvent, records: tuple[Record, ...], shard: str, request_id: str) -> Outcome | None:
        """None: the replay was stopped before its turn came."""
        if self._limiter is None:
            return await self._call(make_event, records, shard, request_id)
        async with self._limiter:
            return None if self._report.stopped else await self._call(make_event, records, shard, request_id)

    async def _call(self, make_event: MakeEvent, records: tuple[Record, ...], shard: str, request_id: str) -> Outcome:
        timed = Timed(make_event)
        outcome = await self._invoker.invoke(timed, request_id=request_id, function_arn=self._function_arn)
        took = timed.took
        if isinstance(outcome, NotInvoked):
            self._report.throttles += 1
            return outcome
        self._report.invoked(shard, records, took, Trouble.of(outcome) if isinstance(outcome, FunctionError) else None)
        await self._wait_overdue(outcome)
        if self._beside is not None:
            await self._beside.compare(make_event, Batch(records), shard, first=outcome, took=took)
        return outcome

    async def _wait_overdue(self, outcome: Outcome) -> None:
        """What comes next would run beside it: out of order, and against a limit of one at once."""
        if isinstance(outcome, FunctionError) and outcome.still_running is not None and not await returned(outcome.still_running):
            self._report.overdue += 1


class Timed:
    """Makes an event, and knows since when the handler has had it. The loop's own clock may stand still meanwhile."""

    def __init__(self, make_event: MakeEvent) -> None:
        self._make_event = make_event
        self._began = perf_counter()

    def __call__(self) -> dict[str, Any]:
        event = self._make_event()
        self._began = perf_counter()
        return event

    @property
    def took(self) -> float:
        """Seconds, until now."""
        return perf_counter() - self._began


async def returned(still_running: Callable[[], Awaitable[None]]) -> bool:
    """Wait a little for a handler that runs on past its time limit."""
    with anyio.move_on_after(_OVERDUE_PATIENCE):
        await still_running()
        return True
    return False
