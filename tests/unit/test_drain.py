"""The two requests to stop."""

import anyio
import pytest

from runtime.drain import Drain
from tests.fakes.virtual_time import START, virtual_time


@virtual_time
async def test_a_drain_begins_once_and_is_seen_by_those_who_wait() -> None:
    drain = Drain()
    seen = [drain.begun]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain.wait_begun)
        await anyio.wait_all_tasks_blocked()
        drain.begin()
        drain.begin()
    assert [*seen, drain.begun] == [False, True]
    with anyio.move_on_after(1) as waiting:
        await drain.wait_cut()
    assert waiting.cancelled_caught, "a drain that has begun is not cut"


@virtual_time
async def test_a_cut_is_a_drain_as_well() -> None:
    drain = Drain()
    drain.cut()
    await drain.wait_begun()
    await drain.wait_cut()
    assert drain.begun


@pytest.mark.parametrize("seconds", [0, 0.5, 20, 12 * 3600])
@virtual_time
async def test_a_pause_lasts_its_time_while_nobody_stops(seconds: float) -> None:
    assert await Drain().pause(seconds)
    assert anyio.current_time() == START + seconds


@virtual_time
async def test_a_pause_that_lies_in_the_past_is_over() -> None:
    assert await Drain().pause(-5)
    assert anyio.current_time() == START


@virtual_time
async def test_a_pause_ends_when_the_drain_begins() -> None:
    drain = Drain()
    passed: list[bool] = []

    async def pause() -> None:
        passed.append(await drain.pause(100))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pause)
        await anyio.sleep(3)
        drain.begin()
    assert (passed, anyio.current_time()) == ([False], START + 3)


@pytest.mark.parametrize("seconds", [-1, 0, 5])
@virtual_time
async def test_there_is_no_pause_once_the_drain_has_begun(seconds: float) -> None:
    drain = Drain()
    drain.begin()
    assert not await drain.pause(seconds)
    assert anyio.current_time() == START


def test_a_report_starts_at_nothing() -> None:
    report = Drain().report
    assert (report.finished, report.released, report.abandoned) == (0, 0, 0)
