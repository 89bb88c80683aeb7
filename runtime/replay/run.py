"""One replay from its parts to its end: the first signal stops it, the second cuts it short."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskStatus

from handlers.invoker import MakeEvent, Outcome, Succeeded
from runtime.core.batching import Batch
from runtime.replay.engine import Replayer
from runtime.replay.report import Planned, Report
from runtime.stop_signals import STOP_SIGNALS


@dataclass(slots=True)
class Planner:
    """In the place of a handler, and beside it, when nothing is to be invoked: an `Invoker` and a `Beside`."""

    batches: list[Planned] = field(default_factory=list)

    async def invoke(self, make_event: MakeEvent, *, request_id: str, function_arn: str) -> Outcome:  # noqa: ARG002  # of the Protocol
        return Succeeded(response={"state": {}})

    async def compare(self, make_event: MakeEvent, batch: Batch, shard: str, *, first: Outcome, took: float) -> None:  # noqa: ARG002  # as above
        records = batch.records
        if records:
            self.batches.append(
                Planned(shard=shard, records=len(records), size=batch.size, first=records[0].id, last=records[-1].id)
            )


async def run_replay(
    replayer: Replayer, feed: Callable[[], Awaitable[None]], report: Report, *, progress: AbstractAsyncContextManager[None]
) -> float:
    """Feed all of it and wait until it is done; gives the seconds that it took. Raises what `feed` raises, in groups."""
    began = anyio.current_time()
    feeding = anyio.CancelScope()

    def stop() -> None:
        feeding.cancel()
        replayer.stop()

    async with stopping(report, stop), progress, replayer.running():
        with feeding:
            await feed()
    return anyio.current_time() - began


@asynccontextmanager
async def stopping(report: Report, stop: Callable[[], None]) -> AsyncIterator[None]:
    """Around the work: the first signal calls `stop`, the second cancels the body, which then ends without an error."""
    async with anyio.create_task_group() as watching:
        with anyio.CancelScope() as body:

            async def watch_signals(*, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
                with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:
                    task_status.started()
                    async for _ in signals:
                        if report.stopped:
                            body.cancel()
                        else:
                            report.stopped = True
                            stop()

            await watching.start(watch_signals, name="signals")
            yield
        watching.cancel_scope.cancel()
