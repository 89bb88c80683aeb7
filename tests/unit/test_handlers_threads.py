"""The threads of plain handlers: what all of them do, and how those of the pool come and go. Nothing sleeps."""

import asyncio
import contextvars
import functools
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import pytest

from handlers.threads import HandlerThreads, Threads, WorkRaised
from tests.fakes.brief_threads import Pair

LONG = 60.0


@pytest.fixture
def threads() -> Iterator[HandlerThreads]:
    made = HandlerThreads()
    yield made
    made.close()


class Kind(Threads, Protocol):
    def close(self) -> None: ...


KINDS: Final[dict[str, Callable[[], Kind]]] = {
    "pool": HandlerThreads,
    "loop back early": lambda: Pair(back_at_once=True),
    "loop back late": lambda: Pair(back_at_once=False),
}
"""The thread for brief handlers: whether its loop comes back before or after an answer."""


@pytest.fixture(params=KINDS)
def every_kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    made = KINDS[request.param]()
    yield made
    made.close()


@pytest.fixture(params=["pool", "loop back early"])
def long_work(request: pytest.FixtureRequest) -> Iterator[Kind]:
    made = KINDS[request.param]()
    yield made
    made.close()


async def test_the_answer_comes_back(every_kind: Kind) -> None:
    assert await every_kind.start(lambda: "answer").wait(LONG) == "answer"


async def test_calls_one_after_the_other_use_one_daemon_thread(threads: HandlerThreads) -> None:
    used = [await threads.start(threading.current_thread).wait(LONG) for _ in range(50)]
    assert len(set(used)) == 1
    assert used[0] is not None
    assert used[0].daemon


async def test_every_concurrent_call_has_a_thread_of_its_own(threads: HandlerThreads) -> None:
    all_there = threading.Barrier(20)
    calls = [threads.start(all_there.wait) for _ in range(20)]  # would never return with 19 threads
    assert sorted([number for call in calls if (number := await call.wait(LONG)) is not None]) == list(range(20))


async def test_a_call_for_which_there_can_be_no_thread_is_refused_and_never_begins(
    threads: HandlerThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun = threading.Event(), []
    running = threads.start(lambda: go_on.wait(LONG))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threads.start(lambda: begun.append("refused"))
    others = [threads.start(functools.partial(begun.append, name)) for name in "ab"]
    for call in others:
        await call.wait(LONG)
    go_on.set()
    assert await running.wait(LONG)
    assert begun == ["a", "b"]


async def test_the_work_sees_a_copy_of_the_context_variables(every_kind: Kind) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("caller's")

    def work() -> str:
        seen = variable.get()
        variable.set("thread's")
        return seen

    assert await every_kind.start(work).wait(LONG) == "caller's"
    assert variable.get() == "caller's"


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration(1)]
)
async def test_whatever_the_work_raises_is_handed_over_and_the_thread_lives_on(every_kind: Kind, error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(WorkRaised) as caught:
        await every_kind.start(work).wait(LONG)
    assert caught.value.__cause__ is error
    error.__traceback__ = None
    assert await every_kind.start(lambda: "alive").wait(LONG) == "alive"


async def test_past_the_time_limit_the_caller_goes_on_and_learns_later_of_the_return(long_work: Kind) -> None:
    go_on, complaints = threading.Event(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    call = long_work.start(lambda: go_on.wait(LONG))
    assert await call.wait(0) is None
    waiters = [asyncio.create_task(call.wait_returned()) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[0].cancel()  # takes nothing from the others
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiters[1:])
    go_on.set()
    await asyncio.gather(*waiters[1:])
    await call.wait_returned()
    assert complaints == []  # the late answer is thrown away quietly


async def test_on_cancellation_the_caller_ends_at_once_and_the_thread_goes_on(long_work: Kind) -> None:
    go_on = threading.Event()
    call = long_work.start(lambda: go_on.wait(LONG))
    caller = asyncio.create_task(call.wait(LONG))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    await call.wait_returned()


def test_a_thread_that_returns_after_its_loop_was_closed_does_no_harm(long_work: Kind) -> None:
    go_on, used = threading.Event(), []

    async def give_up() -> None:
        used.append(await long_work.start(threading.current_thread).wait(LONG))
        assert await long_work.start(lambda: go_on.wait(LONG)).wait(0) is None

    asyncio.run(give_up())
    go_on.set()
    long_work.close()
    assert used[0] is not None
    used[0].join(LONG)
    assert not used[0].is_alive()


async def test_an_idle_thread_ends_after_a_while_and_the_next_call_gets_a_new_one() -> None:
    threads = HandlerThreads(idle_seconds=0)
    first = await threads.start(threading.current_thread).wait(LONG)
    assert first is not None
    first.join(LONG)
    assert not first.is_alive()
    assert await threads.start(lambda: "again").wait(LONG) == "again"
    threads.close()


async def test_close_ends_idle_threads_at_once_and_busy_ones_when_they_return(threads: HandlerThreads) -> None:
    go_on = threading.Event()

    def busy() -> threading.Thread:
        go_on.wait(LONG)
        return threading.current_thread()

    running = threads.start(busy)
    idle = await threads.start(threading.current_thread).wait(LONG)
    threads.close()
    assert idle is not None
    idle.join(LONG)
    with pytest.raises(RuntimeError, match="closed"):
        threads.start(busy)
    go_on.set()
    ended = await running.wait(LONG)
    assert ended is not None
    ended.join(LONG)
    assert not idle.is_alive()
    assert not ended.is_alive()


async def test_an_idle_thread_keeps_nothing_of_the_last_call(every_kind: Kind) -> None:
    class Event:
        pass

    event = Event()
    gone = threading.Event()
    reference = weakref.ref(event, lambda _: gone.set())
    holder = [event]
    del event

    await every_kind.start(functools.partial(id, holder.pop())).wait(LONG)
    gc.collect()
    assert gone.wait(5)  # the thread may still be on its way back to rest
    assert reference() is None


async def test_code_that_asks_the_thread_for_its_event_loop_gets_one(every_kind: Kind) -> None:
    """What `asyncio.get_event_loop().run_until_complete(...)` does in Lambda, whatever the handler before it did."""

    async def inner() -> str:
        await asyncio.sleep(0)
        return "done"

    def with_get_event_loop() -> str:
        loop = asyncio.get_event_loop()
        return loop.run_until_complete(asyncio.wait_for(loop.create_task(inner()), LONG)) + loop.run_until_complete(inner())

    def with_run() -> str:
        return asyncio.run(inner())

    def closing() -> str:
        loop = asyncio.get_event_loop()
        try:
            return loop.run_until_complete(inner())
        finally:
            loop.close()

    work = (with_get_event_loop, with_run, with_get_event_loop, closing, with_get_event_loop, closing)
    answers = [await every_kind.start(each).wait(LONG) for each in work]
    assert answers == ["donedone", "done", "donedone", "done", "donedone", "done"]


@pytest.mark.parametrize("threads", ["SHARED", "BriefThread()"])
def test_the_process_ends_although_a_handler_never_returns(threads: str) -> None:
    program = f"""
import asyncio, threading
from handlers.brief_thread import BriefThread
from handlers.threads import SHARED
async def main():
    assert await {threads}.start(threading.Event().wait).wait(0) is None
asyncio.run(main())
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=LONG)
    assert done.stdout == "ended\n"
