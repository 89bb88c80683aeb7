"""A thread for handlers that may be brief: who is done when the loop can go on need not tell it so.

The thread is woken while the interpreter is free, and on one core it runs at once: the loop comes back when the handler is done,
or lets go of the interpreter itself, as in each write or read, and is then left alone. A brief one takes two changes between
threads instead of six, and what came with a page of records into the processor's caches is still there when it begins. With cores
to spare the loop is back too early; then, and where handlers are not brief, hardly a call comes this way any more.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final, TypeVar

from handlers.thread_loop import ThreadLoop
from handlers.threads import SHARED, Call, Threads

T = TypeVar("T")

_BRIEF: Final = 0.5e-3
"""Seconds. The loop does nothing else meanwhile, so a handler that takes longer is to share the interpreter with it."""
_MOST_MISSES: Final = 10
"""After so many in a row one call in 1,024 is tried here."""


class BriefThread:
    """One daemon thread, made for the first call. Calls that find it busy go to `others`, and most that are not brief do."""

    def __init__(self, others: Threads = SHARED, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._others = others
        self._clock = clock
        self._lock = threading.Lock()
        self._bell: int | None = None
        """One end of a pipe. Writing and reading let go of the interpreter: who is woken can run at once."""
        self._calls: list[Call[Any]] = []
        """At most one, which the thread is to begin."""
        self._busy = False
        """With a call that nobody else may follow: it is under way, or its loop has not come back."""
        self._hoping = False
        """Its loop has not come back."""
        self._finish: Callable[[], None] | None = None
        """What that loop is to call."""
        self._misses = 0
        self._to_skip = 0

    def start(self, work: Callable[[], T]) -> Call[T]:
        """As of `Threads`; the answer may be there on return."""
        if self._to_skip:
            self._to_skip -= 1
            return self._others.start(work)
        with self._lock:
            if self._busy:
                return self._others.start(work)
            bell = self._begin() if self._bell is None else self._bell
            call = Call(work)
            self._calls.append(call)
            self._busy = self._hoping = True
        began = self._clock()
        self._ring(bell)
        with self._lock:
            self._hoping = False
            finish, self._finish = self._finish, None
            if finish is not None:
                self._busy = False
        if finish is not None:
            finish()
        if finish is not None and self._clock() - began <= _BRIEF:
            self._misses = 0
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
            threading.Thread(target=self._serve, args=(ear,), name="handler-brief", daemon=True).start()
        except RuntimeError:
            os.close(ear)
            os.close(bell)
            raise
        self._bell = bell
        return bell

    def _ring(self, bell: int) -> None:
        os.write(bell, b"!")

    # in the thread

    def _serve(self, ear: int) -> None:
        with closing(ThreadLoop()) as loop, open(ear, "rb", buffering=0) as rings:
            while rings.read(1):
                self._run(loop)

    def _run(self, loop: ThreadLoop) -> None:
        call = self._calls.pop()
        finish = call.run(loop.provide)
        with self._lock:
            hoping = self._hoping
            if hoping:
                self._finish = finish
            else:
                self._busy = False  # first: who has the answer may call again, and finds this thread
        if not hoping:
            call.tell(finish)
