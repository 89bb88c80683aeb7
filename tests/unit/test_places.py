"""Places: as many at once as there are, in order, and none lost."""

import asyncio

import anyio
import anyio.lowlevel
import pytest

from runtime.places import Places
from tests.fakes.virtual_time import virtual_time


class Room:
    def __init__(self, total: int) -> None:
        self.places = Places(total)
        self.inside = 0
        self.most = 0
        self.order: list[int] = []

    async def visit(self, number: int, seconds: float = 1.0) -> None:
        async with self.places:
            self.order.append(number)
            self.inside += 1
            self.most = max(self.most, self.inside)
            try:
                await anyio.sleep(seconds)
            finally:
                self.inside -= 1


@virtual_time
async def test_never_more_than_there_are_and_waiters_in_order() -> None:
    room = Room(3)
    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(room.visit, number)
    assert (room.most, room.order) == (3, list(range(10)))


@virtual_time
async def test_a_waiter_that_gives_up_takes_no_place_with_it() -> None:
    room = Room(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(room.visit, 0, 10.0)
        await anyio.sleep(1)
        with anyio.move_on_after(1) as waited:
            await room.visit(1)
        assert waited.cancelled_caught
        tasks.start_soon(room.visit, 2)
    assert room.order == [0, 2]
    await room.visit(3)


@virtual_time
async def test_a_place_that_is_given_in_the_moment_of_giving_up_goes_to_the_next() -> None:
    room = Room(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(room.visit, 0, 5.0)
        await anyio.sleep(1)
        gives_up = asyncio.get_running_loop().create_task(room.visit(1))
        await anyio.sleep(1)
        tasks.start_soon(room.visit, 2)
        await anyio.sleep(1)
        room.places._give_back()  # one more place, for the one that waits...
        gives_up.cancel()  # ...and goes away before it has noticed
        await anyio.sleep(1)
        assert room.order == [0, 2]
    assert gives_up.cancelled()
    assert room.places._free == 2


@virtual_time
async def test_what_is_raised_inside_gives_the_place_back() -> None:
    places = Places(1)
    for _ in range(2):
        with pytest.raises(LookupError):
            async with places:
                raise LookupError
    assert places._free == 1
