"""A `BriefThread` whose loop comes back when a test wants it to, and the threads to which it leaves what is not for it."""

import os
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from handlers.brief_thread import BriefThread
from handlers.thread_loop import ThreadLoop
from handlers.threads import Call, HandlerThreads

T = TypeVar("T")

_LONG: Final = 60.0


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
            assert self.ended.acquire(timeout=_LONG)

    def _run(self, loop: ThreadLoop) -> None:
        super()._run(loop)
        if not self.back_at_once:
            self.ended.release()


class Pair:
    """As `handlers.threads.Threads`."""

    def __init__(self, *, back_at_once: bool) -> None:
        self.others = Others()
        self.thread = Brief(self.others)
        self.thread.back_at_once = back_at_once

    def start(self, work: Callable[[], T]) -> Call[T]:
        return self.thread.start(work)

    def close(self) -> None:
        self.others.close()
        bell, self.thread._bell = self.thread._bell, None
        if bell is not None:
            os.close(bell)  # the thread reads that nobody will write any more, and ends
