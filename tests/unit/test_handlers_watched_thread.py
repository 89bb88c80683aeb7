"""The thread that the loop waits for. Moments are either endless or over at once; order is controlled by events."""

import asyncio
import contextvars
import functools
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from itertools import groupby
from typing import Any, TypeVar

import pytest

from handlers.threads import Call, HandlerThreads, WorkRaised
from handlers.watched_thread import WatchedThread

T = TypeVar("T")

LONG = 60.0


class Others(HandlerThreads):
    def __init__(self) -> None:
        super().__init__()
        self.started = 0

    def start(self, work: Callable[[], T]) -> Call[T]:
        self.started += 1
        return super().start(work)


class Pair:
    def __init__(self, moment: float) -> None:
        self.others = Others()
        self.thread = WatchedThread(self.others, moment=moment)
        self.start = self.thread.start

    def close(self) -> None:
        self.others.close()
        if self.thread._bell is not None:
            os.close(self.thread._bell)  # the thread reads that nobody will write any more, and ends


@pytest.fixture
def waited() -> Iterator[Pair]:
    """The loop waits until the answer is there."""
    pair = Pair(LONG)
    yield pair
    pair.close()


@pytest.fixture
def hurried() -> Iterator[Pair]:
    """The loop waits for no time at all."""
    pair = Pair(0)
    yield pair
    pair.close()


def there(call: Coroutine[Any, Any, T]) -> T:
    """What is awaited without anything to wait for but a turn of the loop."""
    assert call.send(None) is None
    with pytest.raises(StopIteration) as ended:
        call.send(None)
    answer: T = ended.value.value
    return answer


async def test_the_answer_of_a_brief_call_is_there_at_once_from_one_daemon_thread(waited: Pair) -> None:
    used = [there(waited.start(threading.current_thread).wait(LONG)) for _ in range(50)]
    assert len(set(used)) == 1
    assert used[0] is not None
    assert used[0].daemon
    assert used[0] is not threading.current_thread()
    assert waited.others.started == 0
    await waited.start(int).wait_returned()


async def test_brief_calls_one_after_the_other_leave_the_loop_its_turns(waited: Pair) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(count())
    for _ in range(20):
        await waited.start(int).wait(LONG)
    assert turns >= 20
    beside.cancel()


async def test_a_caller_who_is_cancelled_when_the_answer_is_there_ends_and_nobody_complains(waited: Pair) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))

    def work() -> None:
        raise ValueError

    async def caller() -> None:
        await waited.start(work).wait(LONG)

    calling = asyncio.create_task(caller())
    await asyncio.sleep(0)
    calling.cancel()
    await asyncio.wait([calling])
    assert calling.cancelled()
    del calling
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration(1)]
)
@pytest.mark.parametrize("pair", ["waited", "hurried"])
async def test_whatever_the_work_raises_is_handed_over_and_the_thread_lives_on(
    pair: str, error: BaseException, request: pytest.FixtureRequest
) -> None:
    threads: Pair = request.getfixturevalue(pair)

    def work() -> None:
        raise error

    with pytest.raises(WorkRaised) as caught:
        await threads.start(work).wait(LONG)
    assert caught.value.__cause__ is error
    error.__traceback__ = None
    threads.thread._to_skip = 0
    assert await threads.start(lambda: "alive").wait(LONG) == "alive"
    assert threads.others.started == 0


async def test_the_work_sees_a_copy_of_the_context_variables(waited: Pair) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("caller's")

    def work() -> str:
        seen = variable.get()
        variable.set("thread's")
        return seen

    assert await waited.start(work).wait(LONG) == "caller's"
    assert variable.get() == "caller's"


async def test_code_that_asks_the_thread_for_its_event_loop_gets_one(waited: Pair) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "done"

    def work() -> str:
        return asyncio.get_event_loop().run_until_complete(inner())

    assert [await waited.start(each).wait(LONG) for each in (work, lambda: asyncio.run(inner()), work)] == ["done"] * 3


async def test_an_answer_that_takes_longer_comes_as_from_any_thread(hurried: Pair) -> None:
    go_on = threading.Event()

    def work() -> str:
        go_on.wait(LONG)
        return threading.current_thread().name

    call = hurried.start(work)
    waiter = asyncio.create_task(call.wait(LONG))
    returned = asyncio.create_task(call.wait_returned())
    await asyncio.sleep(0)
    assert not waiter.done()
    go_on.set()
    assert await waiter == "handler-watched"
    await returned


async def test_past_the_time_limit_the_caller_goes_on_and_learns_later_of_the_return(hurried: Pair) -> None:
    go_on = threading.Event()
    call = hurried.start(lambda: go_on.wait(LONG))
    assert await call.wait(0) is None
    go_on.set()
    await call.wait_returned()


async def test_a_call_that_finds_the_thread_busy_waits_for_no_handler(hurried: Pair) -> None:
    go_on = threading.Event()
    slow = hurried.start(lambda: go_on.wait(LONG))
    hurried.thread._to_skip = 0
    beside = [await hurried.start(threading.current_thread).wait(LONG) for _ in range(3)]
    assert all(thread is not None and thread.name != "handler-watched" for thread in beside)
    go_on.set()
    assert await slow.wait(LONG)
    hurried.thread._moment = LONG
    thread = await hurried.start(threading.current_thread).wait(LONG)
    assert thread is not None
    assert thread.name == "handler-watched"


async def test_who_took_long_is_waited_for_less_and_less_until_an_answer_is_brief_again(hurried: Pair) -> None:
    attempts: list[bool] = []

    async def attempt() -> None:
        go_on, before = threading.Event(), hurried.others.started
        call = hurried.start(lambda: go_on.wait(LONG))
        go_on.set()
        await call.wait(LONG)
        attempts.append(hurried.others.started == before)

    while attempts.count(True) < 13:
        await attempt()
    skipped = [len(list(group)) for waited_for, group in groupby(attempts) if not waited_for]
    assert skipped == [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023, 1023]
    hurried.thread._to_skip, hurried.thread._moment = 0, LONG
    there(hurried.start(int).wait(LONG))
    hurried.thread._moment = 0
    attempts.clear()
    for _ in range(3):
        await attempt()
    assert attempts == [True, False, True]


async def test_an_answer_that_comes_just_as_the_moment_is_over_is_taken(waited: Pair) -> None:
    class Late:
        """As `threading.Lock`; whoever waits with a time limit is told that it was over, though by then the answer is there."""

        def __init__(self) -> None:
            self.lock = waited.thread._answered
            self.release = self.lock.release

        def acquire(self, *, timeout: float = LONG) -> bool:
            assert self.lock.acquire(timeout=LONG)
            if timeout == waited.thread._moment:
                self.lock.release()
                return False
            return True

    waited.thread._moment = 5.0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(waited.thread, "_answered", Late())
        assert there(waited.start(lambda: "just in time").wait(LONG)) == "just in time"
    assert there(waited.start(lambda: "and the next one is waited for").wait(LONG)) == "and the next one is waited for"
    assert waited.others.started == 0


async def test_without_a_pipe_or_a_thread_the_call_is_refused_and_the_next_one_begins(
    waited: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lowest_free() -> tuple[int, int]:
        ends = os.pipe()
        for end in ends:
            os.close(end)
        return ends

    lowest = lowest_free()

    def no_pipe() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    for where, name, refuse, text in (
        (os, "pipe", no_pipe, "no pipe to a handler thread: .*Too many open files"),
        (threading.Thread, "start", no_thread, "can't start new thread"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(where, name, refuse)
            with pytest.raises(RuntimeError, match=text):
                waited.start(int)
    assert lowest_free() == lowest, "nothing stays open"
    assert there(waited.start(lambda: "begun").wait(LONG)) == "begun"


async def test_an_idle_thread_keeps_nothing_of_the_last_call(waited: Pair) -> None:
    class Event:
        pass

    event = Event()
    gone = threading.Event()
    reference = weakref.ref(event, lambda _: gone.set())
    holder = [event]
    del event
    await waited.start(functools.partial(id, holder.pop())).wait(LONG)
    gc.collect()
    assert gone.wait(5)  # the thread may still be on its way back to rest
    assert reference() is None


def test_several_loops_share_the_thread_and_each_gets_its_own_answers(waited: Pair) -> None:
    waited.thread._moment = 0.001  # some answers come in time, some do not
    answers: dict[int, list[int | None]] = {}

    def drive(number: int) -> None:
        async def calls() -> None:
            answers[number] = [await waited.start(functools.partial(int, number * 1000 + each)).wait(LONG) for each in range(300)]

        asyncio.run(calls())

    drivers = [threading.Thread(target=drive, args=(number,), daemon=True) for number in range(4)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(LONG)
    assert answers == {number: [number * 1000 + each for each in range(300)] for number in range(4)}


def test_a_thread_that_returns_after_its_loop_was_closed_does_no_harm(hurried: Pair) -> None:
    go_on = threading.Event()

    async def give_up() -> None:
        assert await hurried.start(lambda: go_on.wait(LONG)).wait(0) is None

    async def again() -> str | None:
        hurried.thread._to_skip = 0
        return await hurried.start(lambda: "again").wait(LONG)

    asyncio.run(give_up())
    go_on.set()
    assert asyncio.run(again()) == "again"


def test_the_process_ends_although_a_handler_never_returns() -> None:
    program = """
import asyncio, threading
from handlers.watched_thread import WatchedThread
async def main():
    assert await WatchedThread().start(threading.Event().wait).wait(0) is None
asyncio.run(main())
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=LONG)
    assert done.stdout == "ended\n"
