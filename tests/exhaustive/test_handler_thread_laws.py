"""The law of `handlers.threads`, over every order of what can happen to a few calls and their threads."""

import queue
from collections.abc import Iterator
from typing import Any, Final

import pytest

from handlers.threads import Call, HandlerThreads

MOST_CALLS: Final = 4


class Threads(HandlerThreads):
    """Its threads are none: they go on when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeping: list[queue.SimpleQueue[bool]] = []
        self.busy: list[tuple[queue.SimpleQueue[bool], Call[Any]]] = []
        self.begun: list[Call[Any]] = []
        self.made = 0
        self.asked = 0
        self.closed = False

    def _grow(self) -> None:
        mailbox: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.made += 1
        self.sleeping.append(mailbox)
        self._idle.append(mailbox)

    def steps(self) -> Iterator[tuple[str, int]]:
        """Everything that can happen next."""
        if self.asked < MOST_CALLS and not self.closed:
            yield "start", 0
        if not self.closed:
            yield "close", 0
        for number, mailbox in enumerate(self.sleeping):
            yield "be tired", number  # also in the moment in which it is woken
            if not mailbox.empty():
                yield "wake", number
        for number in range(len(self.busy)):
            yield "return", number

    def go(self, step: tuple[str, int]) -> None:
        match step:
            case "start", _:
                self.asked += 1
                self.start(int)
            case "close", _:
                self.closed = True
                self.close()
            case "be tired", number:
                if self._leave(self.sleeping[number]):
                    del self.sleeping[number]
            case "wake", number:
                mailbox = self.sleeping.pop(number)
                if mailbox.get_nowait():
                    self._settle(mailbox, self._look(mailbox, woken=True))
            case "return", number:
                mailbox, _ = self.busy.pop(number)
                self._settle(mailbox, self._look(mailbox, woken=False))

    def _settle(self, mailbox: "queue.SimpleQueue[bool]", call: Call[Any] | None) -> None:
        if call is None:
            self.sleeping.append(mailbox)
        else:
            self.begun.append(call)
            self.busy.append((mailbox, call))

    def check(self) -> None:
        awake = [mailbox for mailbox in self.sleeping if not mailbox.empty()]
        open_calls = self.asked - len(self.begun)
        assert open_calls <= len(self.sleeping)  # each has a thread without a call
        assert not open_calls or awake  # one of which is on its way
        assert self.closed or len(awake) <= 1
        assert self.made <= MOST_CALLS
        if not open_calls and not self.busy and not awake:
            assert self._spare() == len(self.sleeping)
            assert not self.closed or not self.sleeping  # all have ended

    def state(self) -> tuple[Any, ...]:
        """What tells one situation from another."""
        asleep = sorted((mailbox.empty(), mailbox in self._idle) for mailbox in self.sleeping)
        return self.asked, len(self.begun), len(self.busy), tuple(asleep), self._waking, self.closed


def replay(steps: tuple[tuple[str, int], ...]) -> Threads:
    threads = Threads()
    for step in steps:
        threads.go(step)
    return threads


@pytest.mark.parametrize("told_to_close", [False, True])
async def test_no_call_waits_for_a_handler_in_any_order_of_things(told_to_close: bool) -> None:
    seen: set[tuple[Any, ...]] = set()
    ends = 0
    waiting: list[tuple[tuple[str, int], ...]] = [()]
    while waiting:
        steps = waiting.pop()
        threads = replay(steps)
        threads.check()
        if threads.state() in seen:
            continue
        seen.add(threads.state())
        ends += threads.asked == len(threads.begun) == MOST_CALLS and not threads.busy
        waiting += [(*steps, step) for step in threads.steps() if told_to_close or step[0] != "close"]
    assert ends
    assert len(seen) > 50


async def test_calls_begin_in_the_order_in_which_they_were_started() -> None:
    threads = Threads()
    calls = [threads.start(int) for _ in range(MOST_CALLS)]
    while len(threads.begun) < MOST_CALLS:
        (number,) = [number for number, mailbox in enumerate(threads.sleeping) if not mailbox.empty()]
        threads.go(("wake", number))
    assert threads.begun == calls
    assert len(threads.busy) == MOST_CALLS


async def test_a_thread_that_is_done_begins_what_has_not_begun() -> None:
    threads = Threads()
    calls = [threads.start(int) for _ in range(3)]
    threads.go(("wake", next(number for number, mailbox in enumerate(threads.sleeping) if not mailbox.empty())))
    for _ in range(2):
        threads.go(("return", 0))
    assert threads.begun == calls
