"""The thread for brief handlers. Whether the loop comes back before or after the answer is controlled; nothing sleeps."""

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

from handlers.brief_thread import BriefThread
from handlers.thread_loop import ThreadLoop
from handlers.threads import Call, HandlerThreads, WorkRaised

T = TypeVar("T")

LONG = 60.0


class Others(HandlerThreads):
    def __init__(self) -> None:
        super().__init__()
        self.started = 0

    def start(self, work: Callable[[], T]) -> Call[T]:
        self.started += 1
        return super().start(work)


class Brief(BriefThread):
    """Its loop comes back when the answer is there."""

    def __init__(self, others: HandlerThreads) -> None:
        super().__init__(others, clock=lambda: self.now)
        self.now = 0.0
        self.takes = 0.0
        """Seconds that a call seems to take."""
        self.back_at_once = False
        self.ended = threading.Semaphore(0)

    def _ring(self, bell: int) -> None:
        super()._ring(bell)
        self.now += self.takes
        if not self.back_at_once:
            assert self.ended.acquire(timeout=LONG)

    def _run(self, loop: ThreadLoop) -> None:
        super()._run(loop)
        if not self.back_at_once:
            self.ended.release()


class Pair:
    def __init__(self, *, back_at_once: bool) -> None:
        self.others = Others()
        self.thread = Brief(self.others)
        self.thread.back_at_once = back_at_once
        self.start = self.thread.start

    def close(self) -> None:
        self.others.close()
        if self.thread._bell is not None:
            os.close(self.thread._bell)  # the thread reads that nobody will write any more, and ends


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


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration(1)]
)
@pytest.mark.parametrize("pair", ["brief", "early"])
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


async def test_the_work_sees_a_copy_of_the_context_variables(brief: Pair) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("caller's")

    def work() -> str:
        seen = variable.get()
        variable.set("thread's")
        return seen

    assert await brief.start(work).wait(LONG) == "caller's"
    assert variable.get() == "caller's"


async def test_code_that_asks_the_thread_for_its_event_loop_gets_one(brief: Pair) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "done"

    def work() -> str:
        return asyncio.get_event_loop().run_until_complete(inner())

    assert [await brief.start(each).wait(LONG) for each in (work, lambda: asyncio.run(inner()), work)] == ["done"] * 3


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


async def test_past_the_time_limit_the_caller_goes_on_and_learns_later_of_the_return(early: Pair) -> None:
    go_on = threading.Event()
    call = early.start(lambda: go_on.wait(LONG))
    assert await call.wait(0) is None
    go_on.set()
    await call.wait_returned()


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


async def test_an_idle_thread_keeps_nothing_of_the_last_call(brief: Pair) -> None:
    class Event:
        pass

    event = Event()
    gone = threading.Event()
    reference = weakref.ref(event, lambda _: gone.set())
    holder = [event]
    del event
    await brief.start(functools.partial(id, holder.pop())).wait(LONG)
    gc.collect()
    assert gone.wait(5)  # the thread may still be on its way back to rest
    assert reference() is None


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


def test_a_thread_that_returns_after_its_loop_was_closed_does_no_harm(early: Pair) -> None:
    go_on = threading.Event()

    async def give_up() -> None:
        assert await early.start(lambda: go_on.wait(LONG)).wait(0) is None

    async def again() -> str | None:
        early.thread._to_skip = 0
        return await early.start(lambda: "again").wait(LONG)

    asyncio.run(give_up())
    go_on.set()
    assert asyncio.run(again()) == "again"


def test_the_process_ends_although_a_handler_never_returns() -> None:
    program = """
import asyncio, threading
from handlers.brief_thread import BriefThread
async def main():
    assert await BriefThread().start(threading.Event().wait).wait(0) is None
asyncio.run(main())
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=LONG)
    assert done.stdout == "ended\n"
