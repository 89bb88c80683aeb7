"""Peeks at a queue: receives, shows, gives back. Each look raises the receive count, and hides messages for a moment.

So it looks seldom: where a look brings only what was seen before, the next one waits twice as long.
"""

from collections import OrderedDict
from typing import Final

import anyio

from pollers.errors import SourceError
from pollers.record import Record
from pollers.source import QueueSource
from runtime.tail.told import Page, Remark, Tell, Trouble

_LOOK_EVERY: Final = 2.0
_SELDOM: Final = 60.0
"""Seconds between looks, from and to."""
_HIDDEN: Final = 5
"""Seconds for which a message is hidden if it cannot be given back, as when the tail is ended by force."""
_WAIT: Final = 10
_PER_LOOK: Final = 10
_REMEMBERED: Final = 10_000
_LAST_WORD: Final = 3.0


class QueueView:
    """Of one queue; `run` may be called once."""

    def __init__(self, source: QueueSource, *, tell: Tell) -> None:
        self._source = source
        self._tell = tell
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def run(self) -> None:
        """For ever. Raises SourceError when the queue does not answer at first."""
        facts = await self._source.describe()
        warning = "each look counts as a receive, and hides what it brings for a moment"
        if facts.redrive:
            warning += "; the queue has a dead-letter queue, to which messages go after enough of them"
        self._tell(Remark(text=f"about {facts.waiting:,} waiting"))
        self._tell(Remark(text=warning, trouble=True))
        pause = _LOOK_EVERY
        trouble = Trouble(self._tell, over="the queue answers again").of("")
        while True:
            try:
                fresh, known = await self._look()
            except SourceError as error:
                await trouble.wait(error)
                continue
            trouble.reset()
            pause = min(_SELDOM, 2 * pause) if known and not fresh else _LOOK_EVERY
            await anyio.sleep(pause)

    async def _look(self) -> tuple[int, int]:
        """How many messages were seen for the first time, and how many again. What came goes back at once."""
        records = await self._source.receive(limit=_PER_LOOK, wait=_WAIT, visibility=_HIDDEN)
        try:
            fresh = [record for record in records if self._is_new(record)]
            if fresh:
                self._tell(Page(records=fresh))
        finally:
            with anyio.move_on_after(_LAST_WORD, shield=True):
                refused = await self._source.extend(records[::-1], 0) if records else []
        if kept := [refusal for refusal in refused if not refusal.gone]:
            text = f"{len(kept)} messages could not be given back ({kept[0].code}): they stay hidden for {_HIDDEN} seconds"
            self._tell(Remark(text=text, trouble=True))
        return len(fresh), len(records) - len(fresh)

    def _is_new(self, record: Record) -> bool:
        new = record.id not in self._seen
        self._seen[record.id] = None
        self._seen.move_to_end(record.id)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return new
