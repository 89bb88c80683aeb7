"""Long polling: receives that wait, woken by what happens in their queue. No loop looks again and again.

Waiters of a queue are served in the order they came. A waiter whose client has gone is passed over, so that it swallows nothing.
AWS does not notice in time: there a message that arrives after a client closed its connection may still be given to the dead
poll, and is then invisible for the whole visibility timeout. So this endpoint is kinder than AWS in that one point; a test that
needs the cruelty sets the fault `drop` with `when: after`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from runtime.local.call import Answer
from runtime.local.errors import Refused
from runtime.local.queues import Queue
from runtime.local.receiving import Receive
from runtime.local.state import LocalState


@dataclass(slots=True, eq=False)
class _Waiter:
    receive: Receive
    is_connected: Callable[[], bool]
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Answer | Refused | None = None


class Polls:
    """All receives that wait on one endpoint. Lives in one event loop."""

    def __init__(self, state: LocalState) -> None:
        self._state = state
        self._waiters: dict[Queue, dict[_Waiter, None]] = {}
        self._timers: dict[Queue, asyncio.TimerHandle] = {}
        self._closed = False

    def waiting(self, queue: Queue) -> int:
        return len(self._waiters.get(queue, ()))

    async def receive(self, receive: Receive, is_connected: Callable[[], bool]) -> Answer:
        """Messages as soon as there are any, an empty answer when the wait is over or the endpoint stops. Raises Refused."""
        self._serve(receive.queue)  # who waits already comes first
        answer = receive.attempt_now()
        if answer is not None or receive.wait == 0 or self._closed:
            return answer or {}
        waiter = _Waiter(receive, is_connected)
        self._waiters.setdefault(receive.queue, {})[waiter] = None
        self._arm(receive.queue)
        try:
            with anyio.move_on_after(receive.wait):
                await waiter.done.wait()
        finally:
            self._forget(waiter)
        if isinstance(waiter.result, Refused):
            raise waiter.result
        return waiter.result or {}

    def wake(self) -> None:
        """Serves the queues in which something happened, once the loop has seen which clients have gone."""
        stirred, self._state.stirred = self._state.stirred, set()
        for queue in stirred:
            if queue in self._waiters:
                asyncio.get_running_loop().call_soon(self._serve, queue)

    def wake_all(self) -> None:
        """Serves every queue: the clock was moved by hand."""
        for queue in list(self._waiters):
            self._serve(queue)

    def close(self) -> None:
        """Ends every wait with an empty answer; from now on nobody waits."""
        self._closed = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.done.set()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _serve(self, queue: Queue) -> None:
        for waiter in list(self._waiters.get(queue, ())):
            if waiter.done.is_set() or not waiter.is_connected():
                continue
            try:
                waiter.result = waiter.receive.attempt_now()
            except Refused as refused:
                waiter.result = refused
            if waiter.result is None:
                break  # nothing for this one is nothing for those behind it
            waiter.done.set()
        self._arm(queue)
        if self._state.stirred:  # a redrive fed another queue
            self.wake()

    def _arm(self, queue: Queue) -> None:
        """One timer per queue that somebody waits on: for the next message that becomes visible by itself."""
        timer = self._timers.pop(queue, None)
        if timer is not None:
            timer.cancel()
        due = queue.next_change()
        if due is None or self._closed or queue not in self._waiters:
            return
        delay = max(0.0, due - self._state.clock())
        self._timers[queue] = asyncio.get_running_loop().call_later(delay, self._serve, queue)

    def _forget(self, waiter: _Waiter) -> None:
        queue = waiter.receive.queue
        waiters = self._waiters[queue]
        del waiters[waiter]
        if not waiters:
            del self._waiters[queue]
            timer = self._timers.pop(queue, None)
            if timer is not None:
                timer.cancel()
