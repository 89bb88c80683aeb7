"""A queue mapping put together from fakes, to be run in virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from handlers.invoker import FunctionError, FunctionSpec, MakeEvent, Outcome, Succeeded
from pollers import QUEUES
from runtime.core.filtering import FilterCriteria
from runtime.core.mapping import BatchLimits, EventSourceMapping, MappingState
from runtime.drain import Drain
from runtime.queue_mapping import QueueParts, run_queue_mapping
from runtime.slots import Slots
from runtime.status import MappingStatus
from runtime.tap import Tap
from runtime.telemetry import Telemetry
from tests.fakes.queue import ARN, FakeQueue

Handler = Callable[[list[dict[str, Any]]], Awaitable[Outcome]]


def error(text: str = "no") -> FunctionError:
    return FunctionError(error_type="Exception", message=text, document={"errorMessage": text, "errorType": "Exception"})


async def succeed(_: list[dict[str, Any]]) -> Outcome:
    return Succeeded(response=None)


@dataclass
class FakeInvoker:
    """Calls `handler` with the records of the event; remembers every invocation by the ids of its records."""

    handler: Handler = succeed
    invoked: list[list[str]] = field(default_factory=list)
    invoked_at: list[float] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def invoke(self, make_event: MakeEvent, *, request_id: str, function_arn: str) -> Outcome:
        event = make_event()
        assert request_id
        assert function_arn
        self.invoked.append([record["messageId"] for record in event["Records"]])
        self.invoked_at.append(anyio.current_time())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.handler(event["Records"])
        finally:
            self.running -= 1


@dataclass
class FakeWorker:
    """One mapping that runs. `drain.begin()` asks it to end."""

    queue: FakeQueue
    invoker: FakeInvoker
    drain: Drain
    status: MappingStatus
    telemetry: Telemetry
    scope: anyio.CancelScope

    def metric(self, name: str, **labels: str) -> float:
        wanted = {"mapping": "m", "source": "sqs", **labels}
        return self.telemetry.registry.get_sample_value(name, wanted) or 0.0

    async def wait(self, condition: Callable[[], bool], *, within: float = 3600.0) -> None:
        """Virtual seconds pass until the condition holds."""
        with anyio.fail_after(within):
            while not condition():  # noqa: ASYNC110  # the clock is virtual, and what is waited for knows no event
                await anyio.sleep(0.01)


@asynccontextmanager
async def running(
    queue: FakeQueue,
    invoker: FakeInvoker,
    *,
    limits: BatchLimits | None = None,
    concurrency: int = 10,
    function_limiter: anyio.CapacityLimiter | None = None,
    report: bool = False,
    function_timeout: int = 30,
    filters: Sequence[str] = (),
    tap: Tap | None = None,
    worked: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[FakeWorker]:
    """Runs the mapping beside the body; ends with a drain, and fails if that does not end."""
    arn = ARN + ".fifo" if queue.fifo else ARN
    mapping = EventSourceMapping(
        name="m",
        function="f",
        function_arn="arn:aws:lambda:eu-west-1:123456789012:function:f",
        source="sqs",
        source_arn=arn,
        batch=limits or BatchLimits(records=10),
        report_item_failures=report,
        maximum_concurrency=concurrency,
        criteria=FilterCriteria.compile(filters, data=QUEUES["sqs"].filter_view) if filters else None,
    )
    telemetry, drain, slots = Telemetry(), Drain(), Slots(concurrency, function_limiter)
    status = MappingStatus(mapping=mapping, state=MappingState.CREATING, tap=tap or Tap())
    parts = QueueParts(
        mapping=mapping,
        function=FunctionSpec(name="f", handler="a.b", code_root=Path("/"), timeout=function_timeout),
        spec=QUEUES["sqs"],
        source=queue,
        invoker=invoker,
        slots=slots,
        drain=drain,
        status=status,
        telemetry=telemetry.of_mapping("m", "sqs"),
        clock=lambda: 0.0,
        worked=worked,
        jitter=lambda: 0.5,
    )
    with anyio.fail_after(7 * 24 * 3600):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_queue_mapping, parts)
            yield FakeWorker(queue, invoker, drain, status, telemetry, tasks.cancel_scope)
            drain.begin()
    assert slots._taken == 0, "a slot was not given back"
