"""One SQS queue, pure: time is an argument of every call, randomness a seeded generator. Nothing here waits.

Every public call first lets the past happen (`advance`): retention, visibility timeouts, delays and late deletes that fell due.
A receive costs O(messages returned) however deep the queue is; timers cost O(log n).

Choices where AWS leaves room, and why:
- a receipt handle of a standard queue that was followed by a newer receive: a delete succeeds and does nothing ("the request will
  succeed, but the message might not be deleted", DeleteMessage); the last handle still deletes after its timeout (recorded);
- changing the visibility of a message that is visible again: MessageNotInflight, as documented. AWS has also been recorded to
  answer success without doing anything; the documented error is the one a client must be ready for;
- in flight messages expire with the retention period like all others.
"""

from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Final, NamedTuple
from uuid import UUID

from runtime.local.dedup import Remembered
from runtime.local.errors import Refused, invalid_value
from runtime.local.handles import make_handle, read_handle
from runtime.local.messages import Draft, Message, State
from runtime.local.order import ByArrival, ByGroup, Order
from runtime.local.settings import Settings
from runtime.local.timers import Timers

MOST_IN_FLIGHT: Final = 120_000
"""Of one queue. A standard queue then answers OverLimit, a FIFO queue with no messages (ChangeMessageVisibility)."""
LONGEST_HIDING: Final = 43_200
"""Seconds from a receive for which a message can stay hidden in all."""
_SEQUENCE_STEP: Final = 256


class Sent(NamedTuple):
    """What a send gave: the new message's id and sequence number, or for a duplicate those of the first."""

    id: str
    sequence: str | None


class Delivery(NamedTuple):
    """One message of a receive, with the handle that this receive gave it."""

    message: Message
    handle: str


class _Attempt(NamedTuple):
    """A FIFO receive that may be asked for again."""

    deliveries: tuple[Delivery, ...]
    versions: tuple[int, ...]


class Queue:
    def __init__(
        self,
        *,
        name: str,
        account: str,
        region: str,
        settings: Settings,
        now: float,
        rng: Random,
        most_in_flight: int = MOST_IN_FLIGHT,
    ) -> None:
        self.name = name
        self.account = account
        self.region = region
        self.arn = f"arn:aws:sqs:{region}:{account}:{name}"
        self.settings = settings
        self.created = self.modified = now
        self.purged: float | None = None
        self.deleted = False
        self.in_flight = 0
        self.delayed = 0
        self.removed = 0
        """Messages that were deleted, by whoever received them."""
        self._most_in_flight = most_in_flight
        self._rng = rng
        self._key = rng.randbytes(16)
        self._messages: dict[int, Message] = {}
        self._numbers = 0
        self._sequence = 18_800_000_000_000_000_000 + rng.getrandbits(40) * _SEQUENCE_STEP
        self._order: Order = ByGroup() if settings.fifo else ByArrival()
        self._again: deque[Message] = deque()
        self._dedup: Remembered[Sent] = Remembered()
        self._attempts: Remembered[_Attempt] = Remembered()
        self._timers = Timers(self._timer_counts, self.__len__)
        self._expiry = Timers(self._exists, self.__len__)
        self._deletes = Timers(self._exists, self.__len__)

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def visible(self) -> int:
        return len(self._messages) - self.in_flight - self.delayed

    def find(self, message_id: str) -> Message | None:
        """A message by its id, for looking into the queue: slow."""
        return next((message for message in self._messages.values() if message.id == message_id), None)

    # Sending

    def send(self, draft: Draft, *, sender: str, now: float, dedup: str | None = None) -> Sent:
        """`dedup` is what the queue deduplicates by: given for every message of a FIFO queue, never for a standard one."""
        self.advance(now)
        key = (dedup, draft.group or "") if self.settings.dedup_scope == "messageGroup" else (dedup,)
        if dedup is not None and (first := self._dedup.get(_strings(key), now)) is not None:
            return first
        # A FIFO message has no delay of its own; 0 means the queue's (recorded).
        delay = self.settings.delay if draft.delay is None or self.settings.fifo else draft.delay
        message_id = str(UUID(int=self._rng.getrandbits(128), version=4))
        message = Message(
            number=self._next_number(), id=message_id, draft=draft, sender=sender, sent=now, expires_from=now, dedup=dedup
        )
        self._enter(message, now + delay if delay else None)
        sent = Sent(message.id, message.sequence)
        if dedup is not None:
            self._dedup.put(_strings(key), sent, now)
        return sent

    def adopt(self, message: Message, source_arn: str, now: float) -> None:
        """Takes in a message that another queue's redrive policy gave up.

        It keeps its id (SQS-28), group and receive count and, in a standard queue, its age: retention goes on from the send.
        """
        self._enter(
            Message(
                number=self._next_number(),
                id=message.id,
                draft=message.draft,
                sender=message.sender,
                sent=message.sent,
                expires_from=now if self.settings.fifo else message.expires_from,
                dedup=message.dedup,
                source_arn=source_arn,
                receives=message.receives,
                first_received=message.first_received,
            ),
            None,
        )

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _enter(self, message: Message, due: float | None) -> None:
        if self.settings.fifo:
            self._sequence += _SEQUENCE_STEP
            message.sequence = f"{self._sequence:020d}"
        self._messages[message.number] = message
        self._expiry.push(message.expires_from, message.number, 0)
        if due is not None:
            message.state = State.DELAYED
            self.delayed += 1
            self._hide_until(message, due)
        self._order.add(message)

    # Receiving

    def receive(
        self, *, limit: int, visibility: int | None, now: float, attempt: str | None = None, dead_letter: "Queue | None" = None
    ) -> list[Delivery]:
        """At most `limit` messages, hidden for `visibility` seconds (None: the queue's own timeout).

        Messages received too often move to `dead_letter` on the way. `attempt` (FIFO): the same id within five minutes gives the
        same messages and handles again, as long as none of them was deleted, changed or made visible. Raises OverLimit.
        """
        self.advance(now)
        hide = self.settings.visibility if visibility is None else visibility
        if attempt is not None and (again := self._repeat(attempt, hide, now)) is not None:
            return again
        room = self._most_in_flight - self.in_flight
        if room <= 0:
            if self.settings.fifo:
                return []
            raise Refused("OverLimit", "Too many messages in flight: delete received messages before receiving more.")
        wanted = min(limit, room)
        taken = self._copies(wanted)
        while len(taken) < wanted and (message := self._order.pick()) is not None:
            if self._is_worn(message, dead_letter) and dead_letter is not None:
                self._remove(message)
                dead_letter.adopt(message, self.arn, now)
                continue
            message.state = State.TAKEN
            message.handles = ()
            message.receives_here += 1
            taken.append(message)
        deliveries = [self._deliver(message, hide, now) for message in taken]
        self._order.finish()
        if attempt is not None and deliveries:
            versions = tuple(delivery.message.version for delivery in deliveries)
            self._attempts.put((attempt,), _Attempt(tuple(deliveries), versions), now)
        return deliveries

    def _is_worn(self, message: Message, dead_letter: "Queue | None") -> bool:
        redrive = self.settings.redrive
        return redrive is not None and dead_letter is not None and message.receives_here >= redrive.max_receives

    def _deliver(self, message: Message, hide: int, now: float) -> Delivery:
        mark = self._rng.getrandbits(64)
        message.handles = (*message.handles, mark)
        message.received = now
        message.receives += 1
        if message.receives == 1:
            message.first_received = now
        if message.state is State.TAKEN:
            self.in_flight += 1
            message.state = State.IN_FLIGHT
        if hide:
            self._hide_until(message, now + hide)
            self._order.changed(message)
        else:
            self._show(message)
        return Delivery(message, make_handle(self._key, message.number, mark))

    def _copies(self, wanted: int) -> list[Message]:
        """Messages in flight that a fault wants handed out once more."""
        copies: list[Message] = []
        while self._again and len(copies) < wanted:
            message = self._again.popleft()
            if message.state is State.IN_FLIGHT:
                copies.append(message)
        return copies

    def hand_out_again(self, messages: Iterable[Message]) -> None:
        """The next receive gives these again although they are in flight; either handle then deletes the message."""
        self._again.extend(messages)

    def _repeat(self, attempt: str, hide: int, now: float) -> list[Delivery] | None:
        found = self._attempts.get((attempt,), now)
        if found is None:
            return None
        messages = [delivery.message for delivery in found.deliveries]
        untouched = all(
            message.state is State.IN_FLIGHT and message.version == version
            for message, version in zip(messages, found.versions, strict=True)
        )
        if not untouched:
            return None
        for message in messages:
            if hide:
                self._hide_until(message, now + hide)
            else:
                self._show(message)
        self._attempts.put((attempt,), _Attempt(found.deliveries, tuple(message.version for message in messages)), now)
        return list(found.deliveries)

    # Settling

    def delete(self, handle: str, *, now: float, delay: float = 0.0) -> None:
        """Deletes for good; `delay` (a fault) lets it take effect only after so many seconds. A second delete succeeds.

        Raises ReceiptHandleIsInvalid; InvalidParameterValue for a FIFO handle whose visibility timeout has passed (recorded).
        """
        self.advance(now)
        number, mark = read_handle(self._key, handle)
        message = self._messages.get(number)
        if message is None:
            return
        if self.settings.fifo and (message.state is not State.IN_FLIGHT or mark not in message.handles):
            raise invalid_value(handle, "ReceiptHandle", "The receipt handle has expired.")
        if mark not in message.handles:
            return
        if delay > 0:
            self._deletes.push(now + delay, number, 0)
        else:
            self.removed += 1
            self._remove(message)

    def change_visibility(self, handle: str, seconds: int, *, now: float) -> None:
        """Hides the message for `seconds` from now; 0 shows it at once.

        Raises ReceiptHandleIsInvalid, MessageNotInflight, and InvalidParameterValue for a deleted message, a handle followed by a
        newer receive, or more than 12 hours in all since the receive.
        """
        self.advance(now)
        number, mark = read_handle(self._key, handle)
        message = self._messages.get(number)
        if message is None or mark not in message.handles:
            reason = "Message does not exist or is not available for visibility timeout change."
            raise invalid_value(handle, "ReceiptHandle", reason)
        if message.state is not State.IN_FLIGHT:
            raise Refused("MessageNotInflight", f'The message referred to by receipt handle "{handle}" is not in flight.')
        if now + seconds > message.received + LONGEST_HIDING:
            reason = f"Total VisibilityTimeout for the message is beyond the limit [{LONGEST_HIDING} seconds]"
            raise invalid_value(seconds, "VisibilityTimeout", reason)
        if seconds:
            self._hide_until(message, now + seconds)
        else:
            self._show(message)

    def purge(self, now: float) -> None:
        """Empties the queue, in flight and delayed messages too, and forgets what FIFO remembers. At most once in 60 seconds."""
        if self.purged is not None and now - self.purged < 60:  # noqa: PLR2004 - PurgeQueueInProgress
            raise Refused("PurgeQueueInProgress", f"Only one PurgeQueue operation on {self.name} is allowed every 60 seconds.")
        self.purged = now
        for message in self._messages.values():
            message.state = State.GONE
        self._messages.clear()
        for part in (self._order, self._again, self._dedup, self._attempts, self._timers, self._expiry, self._deletes):
            part.clear()
        self.in_flight = self.delayed = 0

    # Time

    def advance(self, now: float) -> None:
        """Lets happen what was due by `now`."""
        for number in self._expiry.due(now - self.settings.retention):
            self._remove(self._messages[number])
        for number in self._deletes.due(now):
            self.removed += 1
            self._remove(self._messages[number])
        for number in self._timers.due(now):
            self._show(self._messages[number])

    def next_change(self) -> float | None:
        """When, with nobody doing anything, a message next becomes visible or goes (which may unlock its group)."""
        expiry = self._expiry.next()
        moments = (self._timers.next(), self._deletes.next(), None if expiry is None else expiry + self.settings.retention)
        return min((moment for moment in moments if moment is not None), default=None)

    def _timer_counts(self, number: int, version: int) -> bool:
        message = self._messages.get(number)
        return message is not None and message.version == version

    def _exists(self, number: int, _version: int) -> bool:
        return number in self._messages

    def _hide_until(self, message: Message, due: float) -> None:
        message.version += 1
        message.due = due
        self._timers.push(due, message.number, message.version)

    def _show(self, message: Message) -> None:
        message.version += 1
        self._leave_state(message)
        message.state = State.READY
        self._order.changed(message)

    def _remove(self, message: Message) -> None:
        self._leave_state(message)
        message.state = State.GONE
        del self._messages[message.number]
        self._order.changed(message)

    def _leave_state(self, message: Message) -> None:
        if message.state is State.IN_FLIGHT:
            self.in_flight -= 1
        elif message.state is State.DELAYED:
            self.delayed -= 1


def _strings(key: tuple[str | None, ...]) -> tuple[str, ...]:
    return tuple(part or "" for part in key)
