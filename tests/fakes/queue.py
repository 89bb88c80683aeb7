"""A queue in memory, as a `QueueSource`, on the loop's own clock; it passes the contract of `tests/contract/test_queue_source.py`.

Standard or FIFO. It can be told to fail, to answer late, and to refuse single records.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio

from pollers.errors import SourceError
from pollers.record import Record, RecordId
from pollers.source import QueueFacts, Refusal
from pollers.sqs_record import Attributes, Origin, SqsRecord

ARN = "arn:aws:sqs:eu-west-1:123456789012:orders"
ORIGIN = Origin(arn=ARN, region="eu-west-1", windowed=False)


@dataclass
class Message:
    id: str
    body: str
    group: str | None
    size: int
    visible_at: float = 0.0
    receives: int = 0
    handle: str = ""


@dataclass
class FakeQueue:
    """`fail` is asked before every operation and may raise; what was asked is kept in `receives`, `deleted` and so on."""

    visibility_timeout: int = 30
    redrive: bool = True
    takes: float = 0.0
    """Seconds on the wire, of a receive."""
    long_polls: bool = True
    """False: every receive answers at once."""
    fifo: bool = False
    messages: list[Message] = field(default_factory=list)
    fail: Callable[[str], SourceError | None] = lambda _: None
    refuse: Callable[[str, Record], Refusal | None] = lambda _, __: None
    hold_receives: anyio.Event | None = None
    """While set, a long poll stays open until the event, whatever there is."""
    waits: list[int] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    asked_visibility: list[int | None] = field(default_factory=list)
    received_at: list[float] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    extensions: list[tuple[float, int, tuple[str, ...]]] = field(default_factory=list)
    open_receives: int = 0
    most_open: int = 0
    _serial: int = 0
    _arrived: anyio.Event = field(default_factory=anyio.Event)

    def send(self, *bodies: str, group: str | None = None, size: int = 100) -> list[str]:
        ids = []
        for body in bodies:
            self._serial += 1
            self.messages.append(Message(id=f"m{self._serial}", body=body, group=group, size=size))
            ids.append(f"m{self._serial}")
        self._arrived.set()
        return ids

    def visible(self) -> list[str]:
        return [message.id for message in self.messages if message.visible_at <= anyio.current_time()]

    async def describe(self) -> QueueFacts:
        self._may_fail("describe")
        await anyio.lowlevel.checkpoint()
        return QueueFacts(visibility_timeout=self.visibility_timeout, redrive=self.redrive)

    async def receive(self, *, limit: int, wait: int, visibility: int | None) -> list[Record]:
        self.waits.append(wait)
        self.limits.append(limit)
        self.asked_visibility.append(visibility)
        self.received_at.append(anyio.current_time())
        self._may_fail("receive")
        self.open_receives += 1
        self.most_open = max(self.most_open, self.open_receives)
        try:
            return await self._receive(limit, wait, self.visibility_timeout if visibility is None else visibility)
        finally:
            self.open_receives -= 1

    async def _receive(self, limit: int, wait: int, visibility: int) -> list[Record]:
        deadline = anyio.current_time() + wait
        await anyio.sleep(self.takes)
        if self.hold_receives is not None and wait:
            await self.hold_receives.wait()
        while not (found := self._receivable(limit)):
            due = [message.visible_at for message in self.messages if message.visible_at > anyio.current_time()]
            until = min([deadline, *due])
            if anyio.current_time() >= deadline or not self.long_polls:
                return []
            self._arrived = anyio.Event()
            with anyio.move_on_after(until - anyio.current_time()):
                await self._arrived.wait()
        return [self._hand_out(message, visibility) for message in found]

    def _receivable(self, limit: int) -> list[Message]:
        now = anyio.current_time()
        locked = {message.group for message in self.messages if message.visible_at > now} if self.fifo else set()
        return [m for m in self.messages if m.visible_at <= now and (not self.fifo or m.group not in locked)][:limit]

    def _hand_out(self, message: Message, visibility: int) -> SqsRecord:
        message.receives += 1
        message.visible_at = anyio.current_time() + visibility
        message.handle = f"{message.id}-{message.receives}"
        attributes = Attributes(ApproximateReceiveCount=str(message.receives))
        return SqsRecord(
            id=RecordId(message.id),
            handle=message.handle,
            body=message.body,
            attributes=attributes,
            content=ORIGIN,
            size=message.size,
            group=message.group if self.fifo else None,
        )

    async def delete(self, records: Sequence[Record]) -> list[Refusal]:
        await anyio.lowlevel.checkpoint()
        refused = self._refused("delete", records)
        kept = {refusal.record.handle for refusal in refused}
        for record in records:
            if record.handle not in kept:
                self.deleted.append(record.id)
                self.messages[:] = [message for message in self.messages if message.id != record.id]
        return refused

    async def extend(self, records: Sequence[Record], seconds: int) -> list[Refusal]:
        await anyio.lowlevel.checkpoint()
        refused = self._refused("extend", records)
        now = anyio.current_time()
        self.extensions.append((now, seconds, tuple(record.id for record in records)))
        for message in self.messages:
            if message.handle in {record.handle for record in records} - {refusal.record.handle for refusal in refused}:
                message.visible_at = now + seconds
        self._arrived.set()
        return refused

    def _refused(self, operation: str, records: Sequence[Record]) -> list[Refusal]:
        refused = [refusal for record in records if (refusal := self.refuse(operation, record)) is not None]
        known = {message.handle for message in self.messages if message.visible_at > anyio.current_time()}
        if operation == "extend":
            told = {refusal.record.handle for refusal in refused}
            refused += [
                Refusal(record=record, code="MessageNotInflight", message="not in flight", gone=True)
                for record in records
                if record.handle not in known and record.handle not in told
            ]
        return refused

    def _may_fail(self, operation: str) -> None:
        if (error := self.fail(operation)) is not None:
            raise error
