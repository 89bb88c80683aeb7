"""Time limits that share a timer: each ends at its own moment, and what has ended before is left alone."""

import asyncio

import anyio

from handlers.deadlines import Deadlines
from tests.fakes.virtual_time import virtual_time


async def ends(deadlines: Deadlines, *, after: float = 0.0) -> tuple[float, asyncio.Future[None]]:
    """A limit that begins `after` so many seconds; when it was over, by the loop's clock since now."""
    began = deadlines.loop.time()
    await anyio.sleep(after)
    ended = deadlines.loop.create_future()
    deadlines.begin(ended)
    await ended
    deadlines.end(ended)
    return deadlines.loop.time() - began, ended


@virtual_time
async def test_each_limit_is_over_at_its_own_time() -> None:
    deadlines = Deadlines(asyncio.get_running_loop(), 30.0)
    seen: list[float] = []

    async def one(after: float) -> None:
        seen.append((await ends(deadlines, after=after))[0])

    async with anyio.create_task_group() as tasks:
        for after in (0.0, 0.5, 29.0, 31.0, 200.0):
            tasks.start_soon(one, after)
    assert seen == [30.0, 30.5, 59.0, 61.0, 230.0]
    assert deadlines._timer is None
    assert deadlines._open == {}


@virtual_time
async def test_what_ended_in_time_is_left_alone_and_those_behind_it_are_not() -> None:
    deadlines = Deadlines(asyncio.get_running_loop(), 10.0)
    loop = deadlines.loop
    first, second = loop.create_future(), loop.create_future()
    deadlines.begin(first)
    await anyio.sleep(4)
    deadlines.begin(second)
    first.set_result("in time")
    deadlines.end(first)
    await anyio.sleep(9)
    assert not second.done()
    await anyio.sleep(1.1)
    assert (first.result(), second.result()) == ("in time", None)


@virtual_time
async def test_what_is_done_when_its_time_is_over_is_not_set_again() -> None:
    deadlines = Deadlines(asyncio.get_running_loop(), 5.0)
    trouble: list[object] = []
    deadlines.loop.set_exception_handler(lambda _, context: trouble.append(context))
    ended = deadlines.loop.create_future()
    deadlines.begin(ended)
    await anyio.sleep(4)
    ended.set_result("answer")  # and whoever waits for it has not woken up yet
    await anyio.sleep(2)
    assert (ended.result(), trouble) == ("answer", [])
