"""Copies what a queue shows into a recording, without deleting: receives until nothing more shows, and gives everything back.

The law: what was received is given back, however the copying ends; what cannot be given back is told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from pollers.errors import SourceRejected, SourceUnavailable
from pollers.record import Record
from pollers.source import QueueFacts, QueueSource, QueueSpec, Refusal
from runtime.patience import Patience
from runtime.recorder import Recorder

_TEN: Final = 10
_WAIT: Final = 1
"""Seconds that a receive waits: a short one asks some of SQS' servers only."""
_NOTHING_NEW: Final = 3
"""Receives in a row that bring only what was seen before mean that nothing else is there."""
_PATIENCE: Final = 15.0
_LAST_WORD: Final = 10.0
"""Seconds for giving messages back."""
_TRIES: Final = 3
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException"})


@dataclass(slots=True, kw_only=True)
class QueueRecorder(Recorder):
    """Warns before the first receive: it counts, for every message."""

    spec: QueueSpec
    queue: QueueSource
    hide: int
    """Seconds for which messages are hidden while others are copied: each is to be seen once."""
    warn: Callable[[str], None]
    last_receives: bool = False
    """Go on where a single receive uses up all that the queue's redrive policy allows."""
    _held: list[Record] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)
    _used_up: int = 0
    """Messages that the next receive moves to the dead-letter queue."""

    async def run(self) -> None:
        """Raises SourceError, and NotWritten."""
        limit = await self._look()
        if limit == 1 and not self.last_receives:
            self.tell(
                "nothing was received: the queue's redrive policy allows one receive (maxReceiveCount 1), so after a peek every"
                " message goes to the dead-letter queue. --last-receives peeks all the same"
            )
            return
        try:
            await self._copy(limit)
        finally:
            await self._give_back()
            if self._used_up:
                self.warn(
                    f"for {self._used_up} of these messages that was the last receive which the queue allows (maxReceiveCount"
                    f" {limit}): the next one moves them to the dead-letter queue"
                )

    async def _look(self) -> int | None:
        """Says what peeking does to this queue; gives its maxReceiveCount."""
        patience = Patience(_PATIENCE)
        while True:
            try:
                facts = await self.queue.describe()
            except SourceUnavailable as error:
                await patience.wait(error)
            except SourceRejected as error:
                if error.code not in _DENIED:
                    raise
                self.warn(f"{_EFFECT} Whether the queue moves messages to a dead-letter queue is not known ({error})")
                return None
            else:
                self.warn(
                    f"{_EFFECT} {_policy(facts)}. About {facts.waiting} wait; for at most {self.hide} s nobody else gets them"
                )
                return facts.max_receives

    async def _copy(self, limit: int | None) -> None:
        began, nothing_new = anyio.current_time(), 0
        while self.room > 0 and nothing_new < _NOTHING_NEW:
            if anyio.current_time() - began > self.hide / 2:
                text = f"the queue holds more than can be copied while messages are hidden for {self.hide} s (--hide)"
                self.tell(f"{text}: ended after {self.writer.records}")
                return
            records = await self._receive()
            if not records:
                return
            new = [record for record in records if record.id not in self._known]
            nothing_new = 0 if new else nothing_new + 1
            self._known.update(record.id for record in new)
            shown = self.spec.envelope(new)["Records"]
            self._used_up += sum(_is_last(event, limit) for event in shown)
            if new:
                self.write(new, shown)

    async def _receive(self) -> Sequence[Record]:
        patience = Patience(_PATIENCE)
        while True:
            try:
                with anyio.CancelScope(shield=True):  # what a receive that was cancelled had been given would stay hidden
                    records = await self.queue.receive(limit=min(_TEN, self.room), wait=_WAIT, visibility=self.hide)
                    self._held += records
            except SourceUnavailable as error:
                await patience.wait(error)
            else:
                await anyio.lowlevel.checkpoint()
                return records

    async def _give_back(self) -> None:
        """The last first: a FIFO group shows again when its first message does."""
        left = self._held[::-1]
        refused: list[Refusal] = []
        with anyio.move_on_after(_LAST_WORD, shield=True):
            for _ in range(_TRIES):
                refused = [refusal for refusal in await self.queue.extend(left, 0) if not refusal.gone]
                left = [refusal.record for refusal in refused]
                if not left:
                    return
                await anyio.sleep(1)
        if left:
            why = f" ({refused[0].message})" if refused else ""
            self.tell(f"{len(left)} messages could not be given back at once: they show again within {self.hide} s{why}")


_EFFECT: Final = "a queue can only be peeked at by receiving, which adds one to the receive count of each message."


def _policy(facts: QueueFacts) -> str:
    if not facts.redrive:
        return "It has no dead-letter queue, so nothing is moved"
    if facts.max_receives is None:
        return "Its redrive policy moves messages that were received too often to the dead-letter queue"
    return (
        f"Its redrive policy (maxReceiveCount {facts.max_receives}) moves what was received more often to the dead-letter queue"
    )


def _is_last(event: dict[str, Any], limit: int | None) -> bool:
    count = event.get("attributes", {}).get("ApproximateReceiveCount", "0")
    return limit is not None and int(count) >= limit
