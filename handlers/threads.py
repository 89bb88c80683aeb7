"""Threads for plain handlers.

Our own because a handler that never returns must not keep the process from ending, so they are daemons; and because a call must
never wait for a thread, as its time limit is that of the handler. There is one thread per call that is under way; threads that
are done wait for the next call, the last one first, and end after a while without one.
"""

import asyncio
import contextlib
import contextvars
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from handlers.thread_loop import ThreadLoop

T = TypeVar("T")

_IDLE_SECONDS: Final = 30.0


class WorkRaised(Exception):
    """What ran in the thread raised; `__cause__` is what."""


class Call(Generic[T]):
    """One call on its way through a thread. Made by `start`, awaited on the loop that was running then."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._answer: asyncio.Future[T | None] = self._loop.create_future()
        self._over = False
        self._returned: asyncio.Event | None = None

    async def wait(self, seconds: float) -> T | None:
        """What the work returned, or None when it has not returned after `seconds`; its answer is then thrown away.

        Raises WorkRaised. On cancellation the thread goes on too.
        """
        if self._over:
            self._answer.exception()  # it counts as seen, though the caller may be cancelled now
            await asyncio.sleep(0)  # who calls again and again leaves the loop its turns
            return self._answer.result()
        timer = self._loop.call_later(seconds, self._give_up)
        try:
            return await self._answer
        finally:
            timer.cancel()

    async def wait_returned(self) -> None:
        """Wait until the work has really returned."""
        if not self._over:
            if self._returned is None:
                self._returned = asyncio.Event()
            await self._returned.wait()

    def run(self, prepare: Callable[[], None]) -> Callable[[], None]:
        """In the thread: do the work. Returns what is to be called on the loop then."""
        value: Any = None
        cause: BaseException | None = None
        try:
            prepare()
            value = self._context.run(self._work)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it would end the thread, and the call with it
            cause = error
        return partial(self._finish, value, cause)

    def tell(self, finish: Callable[[], None]) -> None:
        """In the thread: have what `run` returned called on the loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(finish)

    def _finish(self, value: T, cause: BaseException | None) -> None:
        self._over = True
        if self._returned is not None:
            self._returned.set()
        if self._answer.done():
            return
        if cause is None:
            self._answer.set_result(value)
        else:
            failed = WorkRaised()
            failed.__cause__ = cause
            self._answer.set_exception(failed)

    def _give_up(self) -> None:
        if not self._answer.done():
            self._answer.set_result(None)


class Threads(Protocol):
    """Where the calls of a function run."""

    def start(self, work: Callable[[], T]) -> Call[T]:
        """Begin `work` in a thread, with a copy of the context variables. Raises RuntimeError when there can be no thread."""
        ...


_Mailbox = queue.SimpleQueue[bool]
"""Where a thread without a call sleeps: True when it is to look for one, False when it is to end."""


class HandlerThreads:
    """Daemon threads that grow on demand. `start` is for event loops, any number of them.

    The law: for each call that has not begun there is a thread that has none, so no call waits for a handler to return. One such
    thread is woken at a time, and wakes the next before it begins: one alone can run Python, and each that waits for its turn
    costs time. A thread that is done begins what has not begun, without a sleep; who was woken for that sleeps again.
    """

    def __init__(self, *, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._calls: deque[Call[Any]] = deque()
        """That have not begun."""
        self._idle: list[_Mailbox] = []
        self._waking = False
        """One that is no longer among the idle was woken, and has not looked for a call yet."""
        self._closed = False
        self._numbers = itertools.count(1)

    def start(self, work: Callable[[], T]) -> Call[T]:
        """As of `Threads`. Raises RuntimeError when they are closed, too."""
        call = Call(work)
        with self._lock:
            if self._closed:
                raise RuntimeError("the handler threads are closed")
            if not self._spare():
                self._grow()
            self._calls.append(call)
            self._wake()
        return call

    def close(self) -> None:
        """Let every thread end as soon as its handler has returned; waits for none. No call can be started any more."""
        with self._lock:
            self._closed = True
            while self._idle and self._spare():
                self._idle.pop().put(False)

    def _spare(self) -> int:
        """How many threads have no call, nor one to begin."""
        return len(self._idle) + self._waking - len(self._calls)

    def _grow(self) -> None:
        mailbox = _Mailbox()
        threading.Thread(target=self._serve, args=(mailbox,), name=f"handler-{next(self._numbers)}", daemon=True).start()
        self._idle.append(mailbox)

    def _wake(self) -> None:
        if self._calls and not self._waking:
            self._waking = True
            self._idle.pop().put(True)

    # in a thread

    def _serve(self, mailbox: _Mailbox) -> None:
        loop = ThreadLoop()
        try:
            while self._sleep(mailbox):
                call = self._look(mailbox, woken=True)
                while call is not None:
                    finish = call.run(loop.provide)
                    ended, call = call, self._look(mailbox, woken=False)
                    # only now: who has the answer may call again, and finds this thread
                    ended.tell(finish)
                    del ended, finish  # they hold event and answer
        finally:
            loop.close()

    def _sleep(self, mailbox: _Mailbox) -> bool:
        """False: the thread is to end."""
        while True:
            try:
                return mailbox.get(timeout=self._idle_seconds)
            except queue.Empty:
                if self._leave(mailbox):
                    return False

    def _leave(self, mailbox: _Mailbox) -> bool:
        """False: it is being woken, or kept for a call."""
        with self._lock:
            leave = mailbox in self._idle and self._spare() > 0
            if leave:
                self._idle.remove(mailbox)
            return leave

    def _look(self, mailbox: _Mailbox, *, woken: bool) -> Call[Any] | None:
        """A call to begin. None: the thread is to sleep."""
        with self._lock:
            if woken:
                self._waking = False
            if self._calls and (woken or not self._closed):
                call = self._calls.popleft()
                self._wake()
                return call
            if self._closed:
                mailbox.put(False)  # calls that have not begun have threads of their own
            else:
                self._idle.append(mailbox)
            return None


SHARED: Final = HandlerThreads()
"""The threads of this process; none exists before the first call."""
