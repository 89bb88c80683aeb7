"""Turns: one after the other, a few turns of the loop apart, in order."""

import asyncio
from itertools import pairwise

from pollers.aws.lean.turns import _TURNS, Turns
from tests.fakes.virtual_time import virtual_time


class Loop:
    """The turns of the running loop, counted."""

    def __init__(self) -> None:
        self.turn = 0
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._count)

    def _count(self) -> None:
        self.turn += 1
        if self.turn < 200:
            self._loop.call_soon(self._count)


@virtual_time
async def test_the_first_goes_at_once_and_the_others_a_few_turns_apart_in_order() -> None:
    turns, loop = Turns(asyncio.get_running_loop()), Loop()
    went: list[tuple[int, int]] = []
    assert turns.take(lambda: went.append((0, loop.turn)))
    for number in range(1, 5):
        assert not turns.take(lambda number=number: went.append((number, loop.turn)))  # type: ignore[misc]
    assert went == []
    for _ in range(_TURNS * 5 + 5):
        await asyncio.sleep(0)
    assert [number for number, _ in went] == [1, 2, 3, 4]
    moments = [moment for _, moment in went]
    assert {later - earlier for earlier, later in pairwise(moments)} == {_TURNS}


@virtual_time
async def test_after_a_while_without_anybody_the_next_goes_at_once_again() -> None:
    turns = Turns(asyncio.get_running_loop())
    assert turns.take(lambda: None)
    for _ in range(_TURNS + 1):
        await asyncio.sleep(0)
    assert turns.take(lambda: None)
