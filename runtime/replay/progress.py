"""What a terminal shows while it goes on: a bar, the rate, the time left."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio

from runtime.replay.report import Report

_LOOK_EVERY: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """What the bar shows."""

    what: Callable[[], str]
    done: Callable[[], float]
    total: Callable[[], float | None]
    """None: nobody knows yet."""
    report: Report


def load_bar() -> None:
    """To be called before code of the user's is imported, if there will be a bar: a `rich` of theirs must not become ours."""
    import rich.console  # noqa: PLC0415  # only a terminal pays for it
    import rich.progress  # noqa: PLC0415
    import rich.table  # noqa: F401, PLC0415


@asynccontextmanager
async def progress(showing: Showing | None) -> AsyncIterator[None]:
    """Beside the body, on stderr; None: nothing. The bar is gone afterwards."""
    if showing is None:
        yield
        return
    from rich.console import Console  # noqa: PLC0415  # it is loaded already
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=True, expand=True) as bar:
        task = bar.add_task(showing.what(), total=None, told="")
        began = anyio.current_time()

        async def look() -> None:
            while True:
                told = _told(showing.report, anyio.current_time() - began)
                bar.update(task, description=showing.what(), completed=showing.done(), total=showing.total(), told=told)
                await anyio.sleep(_LOOK_EVERY)

        async with anyio.create_task_group() as looking:
            looking.start_soon(look, name="progress")
            yield
            looking.cancel_scope.cancel()


def _told(report: Report, seconds: float) -> str:
    done = report.succeeded + report.failed
    told = f"{done:,} records, {done / max(0.001, seconds):,.0f}/s"
    return f"{told}, {report.failed:,} failed" if report.failed else told
