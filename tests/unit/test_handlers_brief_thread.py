"""What is peculiar to the thread for brief handlers; what it has in common with others is in `test_handlers_threads.py`."""

import asyncio
import functools
import gc
import os
import threading
from collections.abc import Coroutine, Iterator
from itertools import groupby
from typing import Any, TypeVar

import pytest

from tests.fakes.brief_threads import Pair

T = TypeVar("T")

LONG = 60.0


@pytest.fixture
def brief() -> Iterator[Pair]:
    """The answer is there when the loop comes back."""
    pair = Pair(back_at_once=False)
    yield pair
    pair.close()


@pytest.fixture
def early() -> Iterator[Pair]:
    """The loop comes back at once: before the answer, if the work waits for something."""
    pair = Pair(back_at_once=True)
    yield pair
    pair.close()


def there(call: Coroutine[Any, Any, T]) -> T:
    """What is awaited without anything to wait for but a turn of the loop."""
    assert call.send(None) is None
    with pytest.raises(StopIteration) as ended:
        call.send(None)
    answer: T = ended.value.value
    return answer


async def test_the_answer_of_a_brief_call_is_there_at_once_from_one_daemon_thread(brief: Pair) -> None:
    told: list[object] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", told.append)
        used = [there(brief.start(threading.current_thread).wait(LONG)) for _ in range(50)]
    assert told == []
    assert len(set(used)) == 1
    assert used[0] is not None
    assert used[0].daemon
    assert used[0] is not threading.current_thread()
    assert brief.others.started == 0
    await brief.start(int).wait_returned()


async def test_brief_calls_one_after_the_other_leave_the_loop_its_turns(brief: Pair) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(count())
    for _ in range(20):
        await brief.start(int).wait(LONG)
    assert turns >= 20
    beside.cancel()


async def test_a_caller_who_is_cancelled_when_the_answer_is_there_ends_and_nobody_complains(brief: Pair) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))

    def work() -> None:
        raise ValueError

    async def caller() -> None:
        await brief.start(work).wait(LONG)

    calling = asyncio.create_task(caller())
    await asyncio.sleep(0)
    calling.cancel()
    await asyncio.wait([calling])
    assert calling.cancelled()
    del calling
    gc.collect()
    assert complaints == []


async def test_an_answer_that_takes_longer_comes_as_from_any_thread(early: Pair) -> None:
    go_on = threading.Event()

    def work() -> str:
        go_on.wait(LONG)
        return threading.current_thread().name

    call = early.start(work)
    waiter = asyncio.create_task(call.wait(LONG))
    returned = asyncio.create_task(call.wait_returned())
    await asyncio.sleep(0)
    assert not waiter.done()
    go_on.set()
    assert await waiter == "handler-brief"
    await returned


async def test_a_call_that_finds_the_thread_busy_waits_for_no_handler(early: Pair) -> None:
    go_on = threading.Event()
    slow = early.start(lambda: go_on.wait(LONG))
    early.thread._to_skip = 0
    beside = [await early.start(threading.current_thread).wait(LONG) for _ in range(3)]
    assert all(thread is not None and thread.name != "handler-brief" for thread in beside)
    go_on.set()
    assert await slow.wait(LONG)
    early.thread._to_skip = 0
    thread = await early.start(threading.current_thread).wait(LONG)
    assert thread is not None
    assert thread.name == "handler-brief"


async def test_handlers_that_are_not_brief_come_here_less_and_less_until_one_is_brief_again(early: Pair) -> None:
    attempts: list[bool] = []

    async def attempt() -> None:
        go_on, before = threading.Event(), early.others.started
        call = early.start(lambda: go_on.wait(LONG))
        go_on.set()
        await call.wait(LONG)
        attempts.append(early.others.started == before)

    while attempts.count(True) < 13:
        await attempt()
    skipped = [len(list(group)) for here, group in groupby(attempts) if not here]
    assert skipped == [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023, 1023]
    early.thread._to_skip, early.thread.back_at_once = 0, False
    there(early.start(int).wait(LONG))
    early.thread.back_at_once = True
    attempts.clear()
    for _ in range(3):
        await attempt()
    assert attempts == [True, False, True]


@pytest.mark.parametrize(("seconds", "elsewhere"), [(0.4e-3, 0), (0.6e-3, 1)])
async def test_a_handler_that_keeps_the_interpreter_is_to_share_it_with_the_loop(
    brief: Pair, seconds: float, elsewhere: int
) -> None:
    """It is done when the loop comes back, but that took long."""
    brief.thread.takes = seconds
    there(brief.start(int).wait(LONG))
    await brief.start(int).wait(LONG)
    assert brief.others.started == elsewhere


async def test_without_a_pipe_or_a_thread_the_call_is_refused_and_the_next_one_begins(
    brief: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list(os.pipe())
    closed: list[int] = []

    def no_pipe() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pipe", no_pipe)
        with pytest.raises(RuntimeError, match=r"no pipe to a handler thread: .*Too many open files"):
            brief.start(int)
        patched.setattr(os, "pipe", lambda: opened)
        patched.setattr(os, "close", closed.append)
        patched.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            brief.start(int)
    assert closed == opened
    for end in opened:
        os.close(end)
    assert there(brief.start(lambda: "begun").wait(LONG)) == "begun"


def test_several_loops_share_the_thread_and_each_gets_its_own_answers(brief: Pair) -> None:
    brief.thread.back_at_once = True  # some answers are there by then, some are not
    answers: dict[int, list[int | None]] = {}

    def drive(number: int) -> None:
        async def calls() -> None:
            answers[number] = [await brief.start(functools.partial(int, number * 1000 + each)).wait(LONG) for each in range(300)]

        asyncio.run(calls())

    drivers = [threading.Thread(target=drive, args=(number,), daemon=True) for number in range(4)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(LONG)
    assert answers == {number: [number * 1000 + each for each in range(300)] for number in range(4)}
