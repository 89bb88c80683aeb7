"""Messages of a queue. From `fetch` to `close` they are hidden from others; after a crash they show again by themselves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from pollers import event_record
from pollers.errors import SourceError
from pollers.source import QueueSource
from runtime.redrive.places import Message, Unreadable

if TYPE_CHECKING:
    from pollers.record import Record

_TEN: Final = 10
_LAST_WORD: Final = 10.0


class QueuePlace:
    """A `Place`."""

    def __init__(self, queue: QueueSource, *, fifo: bool, hide: int) -> None:
        """`hide`: seconds for which messages are hidden, extended while the work goes on."""
        self._queue = queue
        self._hide = hide
        self._held: dict[str, Record] = {}
        """By message id; the last handle is the one that counts."""
        self._known: set[str] = set()
        self._lost: set[str] = set()
        self.partial = "of a FIFO queue only the first messages of each group show, until those are deleted" if fifo else ""

    async def fetch(self, limit: int) -> list[Message]:
        found: list[Message] = []
        while len(found) < limit:
            try:
                with anyio.CancelScope(shield=True):  # what a cancelled receive had been given would stay hidden
                    records = await self._queue.receive(limit=min(_TEN, limit - len(found)), wait=1, visibility=self._hide)
            except SourceError:
                if not found:
                    raise
                break  # too many in flight, say: first what is there
            new = [record for record in records if record.id not in self._known]
            self._held |= {record.id: record for record in records}
            self._known |= {record.id for record in new}
            found += [Message(name=record.id, record=record) for record in new]
            if not new:
                break
            await anyio.lowlevel.checkpoint()  # where a stop takes effect
        return found

    async def read(self, message: Message) -> str:
        if message.record is None:
            raise Unreadable("it is not of this queue")
        body: str = event_record("sqs", message.record)["body"]
        return body

    async def keep(self) -> None:
        while True:
            await anyio.sleep(self._hide / 3)
            refused = await self._queue.extend(list(self._held.values()), self._hide)
            self._lost |= {each.record.id for each in refused if each.gone and each.record.id in self._held}

    async def remove(self, messages: Sequence[Message]) -> list[str]:
        """A delete that was refused is tried once more, as a worker does."""
        records = [self._held.pop(message.name) for message in messages if message.name in self._held]
        refused = await self._queue.delete(records)
        gone = [each for each in refused if each.gone]
        again = [each.record for each in refused if not each.gone]
        refused = [*gone, *(await self._queue.delete(again) if again else [])]
        return [
            f"message {each.record.id} succeeded but could not be deleted and shows again: {each.code} {each.message}".rstrip()
            for each in refused
        ]

    async def close(self) -> list[str]:
        """The last first, so that no group shows its later messages before its earlier ones."""
        problems = [f"{len(self._lost)} messages could not be kept hidden: others may have got them"] if self._lost else []
        held = [record for record in self._held.values() if record.id not in self._lost]
        kept = len(held)
        with anyio.move_on_after(_LAST_WORD, shield=True):
            kept = sum(not each.gone for each in await self._queue.extend(held[::-1], 0))
        if kept:
            problems.append(f"{kept} messages could not be given back at once: they show again within {self._hide} s")
        return problems
