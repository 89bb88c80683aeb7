"""Which message of a queue is handed out next: the only difference between standard and FIFO that a receive sees.

The law of FIFO: a message is handed out only if every earlier message of its group that still exists is handed out before it in
the same receive. So a group whose first message is in flight or delayed gives nothing; a group whose third message alone is in
flight gives the first two (recorded from AWS in 2025, and what SQS-48 promises: no *later* message while one is out).
"""

from collections import OrderedDict, deque
from typing import Protocol

from runtime.local.messages import Message, State


class Order(Protocol):
    def add(self, message: Message) -> None:
        """A message came into the queue, in whatever state."""
        ...

    def changed(self, message: Message) -> None:
        """The message became READY, or left the queue, or was put in flight."""
        ...

    def pick(self) -> Message | None:
        """The next message that may go out in this receive; the caller marks it TAKEN, or removes it, before the next call."""
        ...

    def finish(self) -> None:
        """The receive is over: nothing is TAKEN any more."""
        ...

    def clear(self) -> None: ...


class ByArrival:
    """A standard queue: first ready, first out. Messages that come back go to the end."""

    def __init__(self) -> None:
        self._ready: deque[Message] = deque()

    def add(self, message: Message) -> None:
        self.changed(message)

    def changed(self, message: Message) -> None:
        if message.state is State.READY:
            self._ready.append(message)

    def pick(self) -> Message | None:
        while self._ready:
            message = self._ready.popleft()
            if message.state is State.READY:  # else it was deleted while it waited here
                return message
        return None

    def finish(self) -> None:
        """Nothing to put right."""

    def clear(self) -> None:
        self._ready.clear()


class ByGroup:
    """A FIFO queue: groups take turns; within one receive a group gives all it can before the next one is asked (as AWS does)."""

    def __init__(self) -> None:
        # OrderedDict, not dict: taking its first key again and again stays O(1) while the front is being deleted.
        self._groups: dict[str, OrderedDict[int, Message]] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()
        self._asked: dict[str, None] = {}

    def add(self, message: Message) -> None:
        self._groups.setdefault(_group(message), OrderedDict())[message.number] = message
        self.changed(message)

    def changed(self, message: Message) -> None:
        name = _group(message)
        if message.state is State.GONE:
            self._groups[name].pop(message.number, None)
        self._refresh(name)

    def _refresh(self, name: str) -> None:
        """A group has a turn as long as its first message is ready."""
        group = self._groups[name]
        first = next(iter(group.values()), None)
        if first is None:
            del self._groups[name]
        if first is not None and first.state in (State.READY, State.TAKEN):
            self._turns.setdefault(name)
        else:
            self._turns.pop(name, None)

    def pick(self) -> Message | None:
        while self._turns:
            name = next(iter(self._turns))
            self._asked.setdefault(name)
            for message in self._groups[name].values():
                if message.state is State.READY:
                    return message
                if message.state is not State.TAKEN:
                    break
            del self._turns[name]
        return None

    def finish(self) -> None:
        """Every group that was asked has had its turn and goes to the end of the line."""
        for name in self._asked:
            self._turns.pop(name, None)
            if name in self._groups:
                self._refresh(name)
        self._asked.clear()

    def clear(self) -> None:
        self._groups.clear()
        self._turns.clear()


def _group(message: Message) -> str:
    group = message.draft.group
    if group is None:
        raise AssertionError("a message without a group in a FIFO queue")
    return group
