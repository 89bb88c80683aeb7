"""A thread for handlers that may be brief: the loop waits a moment for each, instead of going on and being told.

To go on means that loop and thread contend for the interpreter, and that the loop has to be woken when the answer is there: many
changes between threads, where waiting costs two. And what came with a page of records into the processor's caches is still there
when its handler begins. Handlers that take longer are left to themselves, and soon hardly any of them is waited for.
"""

import os
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final, TypeVar

from handlers.thread_loop import ThreadLoop
from handlers.threads import SHARED, Call, Threads

T = TypeVar("T")

_MOMENT: Final = 100e-6
"""Seconds: about what it costs to go on and be told."""
_MOST_MISSES: Final = 10
"""After so many in a row, one call in 1,024 is waited for."""


class WatchedThread:
    """One daemon thread, made for the first call. Calls that find it busy go to `others`, and most of those that take long."""

    def __init__(self, others: Threads = SHARED, *, moment: float = _MOMENT) -> None:
        self._others = others
        self._moment = moment
        self._lock = threading.Lock()
        self._bell: int | None = None
        """One end of a pipe. Writing and reading let go of the interpreter: who is woken can run at once."""
        self._calls: list[Call[Any]] = []
        """At most one, which the thread is to begin."""
        self._busy = False
        """With a call that nobody else may follow: it is under way, or a loop waits for it."""
        self._waiting = False
        """A loop waits."""
        self._answered = threading.Lock()
        """The thread releases it for the loop that waits."""
        self._answered.acquire()
        self._finish: Callable[[], None] | None = None
        """What that loop is to call."""
        self._misses = 0
        self._to_skip = 0

    def start(self, work: Callable[[], T]) -> Call[T]:
        """As of `Threads`; the answer may be there on return. Holds the loop up for a moment at most."""
        if self._to_skip:
            self._to_skip -= 1
            return self._others.start(work)
        with self._lock:
            if self._busy:
                return self._others.start(work)
            bell = self._begin() if self._bell is None else self._bell
            call = Call(work)
            self._calls.append(call)
            self._busy = self._waiting = True
        os.write(bell, b"!")
        in_time = self._answered.acquire(timeout=self._moment)
        with self._lock:
            self._waiting = False
            finish, self._finish = self._finish, None
            if finish is not None:
                self._busy = False
                if not in_time:  # but just now
                    self._answered.acquire()
        if finish is not None:
            self._misses = 0
            finish()
        else:
            self._misses = min(self._misses + 1, _MOST_MISSES)
            self._to_skip = 2**self._misses - 1
        return call

    def _begin(self) -> int:
        try:
            ear, bell = os.pipe()
        except OSError as error:
            raise RuntimeError(f"no pipe to a handler thread: {error}") from error
        try:
            threading.Thread(target=self._serve, args=(ear,), name="handler-watched", daemon=True).start()
        except RuntimeError:
            os.close(ear)
            os.close(bell)
            raise
        self._bell = bell
        return bell

    # in the thread

    def _serve(self, ear: int) -> None:
        with closing(ThreadLoop()) as loop, open(ear, "rb", buffering=0) as rings:
            while rings.read(1):
                self._run(loop)

    def _run(self, loop: ThreadLoop) -> None:
        call = self._calls.pop()
        finish = call.run(loop.provide)
        with self._lock:
            waiting = self._waiting
            if waiting:
                self._finish = finish
                self._answered.release()
            else:
                self._busy = False  # first: who has the answer may call again, and finds this thread
        if not waiting:
            call.tell(finish)
