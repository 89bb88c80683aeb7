"""One replay from its parts to its end: progress on the terminal, the first signal stops it, the second cuts it short."""

import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from handlers.invoker import MakeEvent, Outcome, Succeeded
from runtime.core.batching import Batch
from runtime.replay.engine import Replayer
from runtime.replay.report import Planned, Report
from runtime.stop_signals import STOP_SIGNALS

_LOOK_EVERY: Final = 0.2


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
    replayer: Replayer, feed: Callable[[], Awaitable[None]], report: Report, *, show: Callable[[], "Showing | None"]
) -> float:
    """Feed all of it and wait until it is done; gives the seconds that it took. Raises what `feed` raises, in groups."""
    began = anyio.current_time()
    with anyio.CancelScope() as everything:
        async with anyio.create_task_group() as watching:
            feeding = anyio.CancelScope()

            async def watch_signals() -> None:
                with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:
                    async for _ in signals:
                        if report.stopped:
                            everything.cancel()
                        report.stopped = True
                        feeding.cancel()
                        replayer.stop()

            watching.start_soon(watch_signals, name="signals")
            async with _progress(show()), replayer.running():
                with feeding:
                    await feed()
            watching.cancel_scope.cancel()
    return anyio.current_time() - began


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """What a progress bar shows."""

    what: str
    done: Callable[[], float]
    total: Callable[[], float | None]
    """None: nobody knows."""
    report: Report


@asynccontextmanager
async def _progress(showing: Showing | None) -> AsyncIterator[None]:
    if showing is None:
        yield
        return
    from rich.console import Console  # noqa: PLC0415  # only a terminal pays for it
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[records]:,} records, {task.fields[rate]:,.0f}/s, {task.fields[failed]:,} failed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=True) as bar:
        task = bar.add_task(showing.what, total=showing.total(), records=0, rate=0.0, failed=0)
        began = anyio.current_time()

        async def look() -> None:
            while True:
                done = showing.report.succeeded + showing.report.failed
                rate = done / max(0.001, anyio.current_time() - began)
                fields: dict[str, Any] = {"records": done, "rate": rate, "failed": showing.report.failed}
                bar.update(task, completed=showing.done(), total=showing.total(), **fields)
                await anyio.sleep(_LOOK_EVERY)

        async with anyio.create_task_group() as looking:
            looking.start_soon(look, name="progress")
            yield
            looking.cancel_scope.cancel()


@contextlib.contextmanager
def handlers_print_to_stderr() -> Iterator[None]:
    """What handlers print must not stand between the lines of a document."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
