"""The thread that alone touches a state file.

The law: it does one thing after the other, in the order in which they were asked for; writes that wait at one moment share a
transaction, and each is told when that is durable.
"""

import asyncio
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Final, TypeAlias

import anyio

from handlers.deadlines import Deadlines
from runtime.leases import StateError

_MOST_TOGETHER: Final = 100
"""Writes in one transaction, which others wait for."""
_GATHER: Final = 0.005
"""Seconds to wait for as many calls as came together before: a transaction costs as much for many writes as for one."""
_MANY: Final = 4
_TIMES: Final = 4
"""Where so many came in this time it is waited as long again, so many times in all: a worker that has so much to do loses
nothing by it. With fewer, a lane in a hurry would wait for slow ones."""
_LOOK_AGAIN: Final = 20
"""Every so many times, as many as can be are hoped for, to see how many come."""
_LONGEST_CALL: Final = 15.0
"""Seconds: three times as long as a call waits for other processes. Then it may or may not have been carried out."""

Together: TypeAlias = Callable[[Sequence[Callable[[sqlite3.Connection], Any]]], list[Any]]
"""Does several pieces of work at once and gives their values; all of them or none are done."""


class _Call:
    """One piece of work on its way through the thread."""

    __slots__ = ("_work", "accepted", "answer", "done", "error", "together", "value")

    def __init__(self, work: Callable[..., Any], together: Together | None, answer: "asyncio.Future[None]") -> None:
        """`together`: `work` is for a connection, and is done by this, with others; None: it is for itself, and takes nothing."""
        self.together = together
        self.answer = answer
        """Done when there is something to see: the end of the call, of the time for it, or of the caller's patience."""
        self.accepted = False
        """It will be done."""
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._work = work

    def do(self) -> None:
        """In the thread, alone."""
        try:
            self.value = self._work() if self.together is None else self.together([self._work])[0]
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the caller's
            self.error = error

    def finish(self) -> None:
        """On the loop."""
        self.done = True
        if not self.answer.done():
            self.answer.set_result(None)

    @staticmethod
    def do_together(calls: "Sequence[_Call]", together: Together) -> None:
        """In the thread. When one of them fails nothing was done, and each is done alone to learn which it was."""
        try:
            values = together([call._work for call in calls])  # noqa: SLF001  # its own
        except BaseException:  # noqa: BLE001  # as in `do`
            for call in calls:
                call.do()
        else:
            for call, value in zip(calls, values, strict=True):
                call.value = value


class FileThread:
    """Belongs to the loop on which it was made, which gathers what goes to the thread together: each hand-over costs as much as
    a write.

    Of our own because it costs half of what a thread of anyio's pool costs for each call, and keeps the order even if a caller is
    torn away. A daemon: a disk that hangs must not keep the process from ending, and a transaction cut off is none.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = Deadlines(self._loop, _LONGEST_CALL)
        self._asked: list[_Call] = []
        """In this turn of the loop."""
        self._waiting: list[_Call] = []
        self._busy = False
        self._hoped_for, self._expected, self._rounds = 1, 1, 0
        self._patience: asyncio.TimerHandle | None = None
        self._given: queue.SimpleQueue[list[_Call] | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    async def run(self, work: Callable[..., Any], *, together: Together | None = None) -> Any:
        """Nothing is done for a task that was cancelled before. Else it ends first, and the caller has the answer."""
        call = _Call(work, together, self._loop.create_future())
        if not self._asked:
            self._loop.call_soon(self._accept)
        self._asked.append(call)
        try:
            await self._wait(call)
        except asyncio.CancelledError:
            if not call.accepted or anyio.current_effective_deadline() > -inf:
                raise  # or no scope was cancelled, which would ask again after this: whoever tore the task away does not
            with anyio.CancelScope(shield=True):
                call.answer = self._loop.create_future()
                if not call.done:
                    await self._wait(call)
        if not call.done:
            raise StateError(f"the state file has not answered for {_LONGEST_CALL:.0f} seconds: see to its disk")
        if call.error is not None:
            raise call.error
        return call.value

    def end(self) -> None:
        """Let the thread end after what it was asked for; does not wait for it."""
        self._accept()
        while self._waiting:
            self._give()
        self._given.put(None)

    async def _wait(self, call: _Call) -> None:
        """Until the call has ended, or its time is over."""
        self._limits.begin(call.answer)
        try:
            await call.answer
        finally:
            self._limits.end(call.answer)

    def _accept(self) -> None:
        """In the turn after: by then a task that was cancelled before it asked has been told so.

        To look at all scopes around each task that asks costs a thirtieth of what a page takes.
        """
        asked, self._asked = self._asked, []
        for call in asked:
            if not call.answer.cancelled():
                call.accepted = True
                self._waiting.append(call)
        if self._waiting and not self._busy:
            self._give_or_hope()

    def _give_or_hope(self) -> None:
        """Give the thread, which is free, what waits; or wait a little for as many as are hoped for."""
        if len(self._waiting) >= self._hoped_for:
            self._give()
        elif self._patience is None:
            self._hope(_TIMES - 1)

    def _hope(self, times: int) -> None:
        self._patience = self._loop.call_later(_GATHER, self._see_who_came, len(self._waiting), times)

    def _see_who_came(self, before: int, times: int) -> None:
        if times and len(self._waiting) - before >= _MANY:
            self._hope(times - 1)
        else:
            self._give()

    def _give(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        calls, self._waiting = self._waiting[:_MOST_TOGETHER], self._waiting[_MOST_TOGETHER:]
        self._rounds += 1
        self._expected = max(len(calls), self._expected - 1)
        self._hoped_for = _MOST_TOGETHER if self._rounds % _LOOK_AGAIN == 0 else self._expected
        self._busy = True
        self._given.put(calls)

    def _take_back(self, calls: Sequence[_Call]) -> None:
        for call in calls:
            call.finish()
        self._busy = False
        if self._waiting:
            self._give_or_hope()

    # in the thread

    def _serve(self) -> None:
        while (calls := self._given.get()) is not None:
            for together, group in itertools.groupby(calls, key=lambda call: call.together):
                self._do(list(group), together)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._take_back, calls)
            del calls

    @staticmethod
    def _do(calls: Sequence[_Call], together: Together | None) -> None:
        if together is None or len(calls) == 1:
            for call in calls:
                call.do()
        else:
            _Call.do_together(calls, together)
