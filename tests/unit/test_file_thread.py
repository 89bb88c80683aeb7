"""The thread of a state file: everything in order, together what waits together, and no caller left without a word."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from runtime.leases import StateError
from runtime.stores import file_thread
from runtime.stores.file_thread import FileThread
from tests.fakes.virtual_time import virtual_time


class File:
    """What is written, one after the other, and how many at a time."""

    def __init__(self) -> None:
        self.thread = FileThread("test file")
        self.written: list[str] = []
        self.sizes: list[int] = []
        self._nothing = sqlite3.connect(":memory:", check_same_thread=False)

    async def write(self, word: str) -> int:
        """How many were written when it was."""

        def add(connection: sqlite3.Connection) -> int:  # noqa: ARG001  what a store would write to
            self.written.append(word)
            return len(self.written)

        place: int = await self.thread.run(add, together=self._together)
        return place

    async def write_alone(self, word: str) -> None:
        await self.thread.run(partial(self.written.append, word))

    def _together(self, works: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        self.sizes.append(len(works))
        return [work(self._nothing) for work in works]


@asynccontextmanager
async def opened() -> AsyncIterator[File]:
    file = File()
    try:
        yield file
    finally:
        file.thread.end()


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def test_what_is_asked_for_is_done_in_that_order_however_much_waits() -> None:
    words = [str(number) for number in range(2 * file_thread._MOST_TOGETHER + 50)]
    async with opened() as file:
        async with anyio.create_task_group() as tasks:
            for number, word in enumerate(words):
                tasks.start_soon(file.write_alone if number in (1, 200) else file.write, word)
        assert file.written == words
        assert 1 < max(file.sizes) <= file_thread._MOST_TOGETHER


async def test_a_call_waits_for_as_many_as_came_together_before(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as file:
        async with anyio.create_task_group() as tasks:
            for word in "ab":
                tasks.start_soon(file.write, word)
        monkeypatch.setattr(file_thread, "_GATHER", 60.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(file.write, "c")
            await turns()
            assert file.sizes == [2]
            tasks.start_soon(file.write, "d")
        assert file.sizes == [2, 2]


async def test_who_comes_alone_now_waits_a_moment_and_is_soon_not_kept_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as file:
        async with anyio.create_task_group() as tasks:
            for word in "abc":
                tasks.start_soon(file.write, word)
        assert file.sizes == [3]
        monkeypatch.setattr(file_thread, "_GATHER", 0.0001)
        for word in "de":
            await file.write(word)
        monkeypatch.setattr(file_thread, "_GATHER", 60.0)
        with anyio.fail_after(30):
            await file.write("f")
        assert file.written == [*"abcdef"]


# how long it is waited for others, in virtual time


class Gathered:
    """Stands for the thread: each transaction takes as long as is said."""

    def __init__(self, *, seconds: float = 0.001) -> None:
        self.loop = asyncio.get_running_loop()
        self.file = FileThread("test file")
        self.file.end()  # of the real one
        self.file._given = self  # type: ignore[assignment]
        self.seconds = seconds
        self.sizes: list[int] = []
        self.longest = 0.0

    def put(self, calls: Any) -> None:
        self.sizes.append(len(calls))
        self.loop.call_later(self.seconds, self.file._take_back, calls)

    async def write(self) -> None:
        began = self.loop.time()
        await self.file.run(lambda _: None, together=lambda _: [])
        self.longest = max(self.longest, self.loop.time() - began)

    async def write_each(self, pause: float, *, count: int) -> None:
        """One call after so many seconds, and the next after as many again, whether it was answered or not."""
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(self.write)
                await anyio.sleep(pause)

    async def lane(self, pause: float, *, count: int) -> None:
        """Calls that follow each other's answers."""
        for _ in range(count):
            await self.write()
            await anyio.sleep(pause)


@virtual_time
async def test_where_many_calls_come_they_are_gathered_for_as_long_as_it_pays() -> None:
    gathered = Gathered()
    await gathered.write_each(0.001, count=1000)
    settled = gathered.sizes[file_thread._LOOK_AGAIN + 1 :]
    assert sum(gathered.sizes) == 1000
    assert sum(settled) / len(settled) > 18
    assert gathered.longest <= file_thread._TIMES * file_thread._GATHER + 2 * gathered.seconds + 1e-9


@virtual_time
async def test_where_few_calls_come_none_waits_long() -> None:
    gathered = Gathered()
    await gathered.write_each(0.002, count=500)
    assert gathered.longest <= file_thread._GATHER + 2 * gathered.seconds + 1e-9


@virtual_time
async def test_a_lane_in_a_hurry_is_kept_up_now_and_then_only() -> None:
    """By looking whether others come, which they do not."""
    gathered = Gathered()
    began = gathered.loop.time()
    await gathered.lane(0.0, count=200)
    spent = gathered.loop.time() - began
    assert gathered.sizes == [1] * 200
    assert spent <= 200 * gathered.seconds + 200 / file_thread._LOOK_AGAIN * file_thread._GATHER + 1e-9


@virtual_time
async def test_lanes_that_wait_for_one_another_are_together_at_once() -> None:
    gathered = Gathered()
    began = gathered.loop.time()
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(partial(gathered.lane, 0.0, count=200))
    assert sum(size == 50 for size in gathered.sizes) > 190
    assert gathered.loop.time() - began < 0.5  # 0.2 s is what the transactions take


@virtual_time
async def test_that_few_came_once_does_not_part_those_who_come_again() -> None:
    gathered = Gathered()
    await gathered.write_each(0.0, count=6)
    await anyio.sleep(1)
    await gathered.write()
    await anyio.sleep(1)
    await gathered.write_each(0.001, count=4)
    assert gathered.sizes == [1, 5, 1, 4]


@virtual_time
async def test_every_so_often_it_is_seen_whether_more_come() -> None:
    """Else callers who come one after the other, each a little late, would never be together."""
    gathered = Gathered()
    await gathered.write_each(0.001, count=file_thread._LOOK_AGAIN)
    assert gathered.sizes == [1] * file_thread._LOOK_AGAIN
    await gathered.write_each(0.001, count=30)
    assert gathered.sizes[file_thread._LOOK_AGAIN] == 20


async def test_for_a_task_that_was_cancelled_before_it_asked_nothing_is_done() -> None:
    """Whatever it has not been told yet: by its own scope, or by one around it just as it was to go on."""
    going_on = asyncio.Event()
    async with opened() as file:

        async def write() -> None:
            await going_on.wait()
            await file.write("b")

        with anyio.CancelScope() as scope:
            scope.cancel()
            await file.write("a")
        assert scope.cancelled_caught
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await turns()
            going_on.set()
            tasks.cancel_scope.cancel()
        torn = asyncio.ensure_future(file.write("c"))
        torn.cancel()
        await asyncio.wait((torn,))
        assert torn.cancelled()
        assert await file.write("d") == 1
        assert file.written == ["d"]


async def test_a_caller_that_is_cancelled_waits_for_the_answer_and_has_it() -> None:
    going_on = threading.Event()
    async with opened() as file:
        places: list[int] = []

        async def write(word: str) -> None:
            places.append(await file.write(word))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(file.thread.run, going_on.wait)
            await turns()
            tasks.start_soon(write, "a")
            tasks.start_soon(write, "b")
            await turns()
            tasks.cancel_scope.cancel()
            await turns_shielded()
            assert places == []
            going_on.set()
        assert (places, file.written) == ([1, 2], ["a", "b"])


async def test_a_caller_that_is_cancelled_as_the_answer_comes_has_it() -> None:
    async with opened() as file:
        take_back, places = file.thread._take_back, list[int]()

        def cancel_and_take_back(calls: Sequence[Any]) -> None:
            tasks.cancel_scope.cancel()
            take_back(calls)

        file.thread._take_back = cancel_and_take_back  # type: ignore[method-assign]  # both in one turn of the loop

        async def write() -> None:
            places.append(await file.write("a"))

        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
        assert places == [1]
        assert anyio.current_time() - began < 10, "it was there already"


async def turns_shielded() -> None:
    with anyio.CancelScope(shield=True):
        await turns()


async def test_a_caller_that_is_torn_away_gets_no_answer_and_costs_the_others_nothing() -> None:
    """Who cancels a task without a scope asks once only: it must go."""
    going_on = threading.Event()
    async with opened() as file, anyio.create_task_group() as tasks:
        tasks.start_soon(file.thread.run, going_on.wait)
        await turns()
        torn = asyncio.ensure_future(file.write("a"))
        tasks.start_soon(file.write, "b")
        await turns()
        torn.cancel()
        await turns()
        assert torn.cancelled()
        going_on.set()
        assert await file.write("c") == 3
        assert file.written == ["a", "b", "c"]


@virtual_time
async def test_a_disk_that_hangs_is_told_to_every_caller_in_its_time() -> None:
    going_on = threading.Event()
    file, told = File(), dict[str, float]()
    loop = asyncio.get_running_loop()

    async def write(word: str, after: float) -> None:
        await anyio.sleep(after)
        began = loop.time()
        with pytest.raises(StateError, match="has not answered for 15 seconds: see to its disk"):
            await file.write(word)
        told[word] = loop.time() - began

    async def hang() -> None:
        with pytest.raises(StateError):
            await file.thread.run(going_on.wait)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hang)
        tasks.start_soon(write, "a", 0.0)
        tasks.start_soon(write, "b", 5.0)
    going_on.set()
    assert told == {"a": 15.0, "b": 15.0}


async def test_what_was_asked_for_before_the_end_is_still_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_thread, "_GATHER", 60.0)
    file = File()
    file.thread._hoped_for = 9
    async with anyio.create_task_group() as tasks:
        for word in "ab":
            tasks.start_soon(file.write, word)
        await turns()
        assert file.written == []
        tasks.start_soon(file.write, "c")
        await anyio.lowlevel.checkpoint()
        file.thread.end()  # in the very turn of the loop
    assert file.written == ["a", "b", "c"]
