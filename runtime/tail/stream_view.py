"""Looks at a stream: every shard, new ones too, read as `stream_reading` has it.

The read rate of a shard is shared with whoever else reads it, so less than half of it is taken.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from pollers.errors import PositionTrimmed
from pollers.record import LATEST, TRIM_HORIZON, Position, PositionKind, Record, Shard, ShardPage
from pollers.source import StreamSource, StreamSpec
from runtime.stream_reading import ShardLeft, Wanted, read_stream
from runtime.tail.columns import counted
from runtime.tail.told import Page, Remark, Tell, Trouble

_SHARE: Final = 0.4
"""Of the read rate of a shard."""
_PAGE: Final = 1000


class StreamView:
    """Of one stream, as a `Taker` of what is read; `run` may be called once."""

    def __init__(
        self, source: StreamSource, spec: StreamSpec, *, start: Position, tell: Tell, clock: Callable[[], float] = time.time
    ) -> None:
        """`start`: for the shards that are there at first. `clock`: the wall clock, epoch seconds."""
        self._source = source
        self._spec = spec
        self._start = start
        self._tell = tell
        self._clock = clock
        self._listed: set[str] = set()
        """The shards that were there at first."""

    async def run(self) -> None:
        """For ever. Raises SourceError when the first listing fails."""
        self._listed = {shard.id for shard in await self._source.list_shards()}
        if self._start != LATEST:
            self._tell_begun(len(self._listed))
        wanted = Wanted(since=self._start, follow=True, page=_PAGE, share=_SHARE)
        trouble = Trouble(self._tell, over="the stream answers again")
        await read_stream(self._source, self._spec, wanted, self, clock=self._clock, opened=self._opened, waiting=trouble.of)

    def _opened(self, shards: int) -> None:
        if self._start == LATEST:  # only now nothing that comes is missed
            self._tell_begun(shards)

    def _tell_begun(self, shards: int) -> None:
        self._tell(Remark(text=f"{shards} of {counted(len(self._listed), 'shard')} to read, from {_shown(self._start)}"))

    async def begin(self, shard: Shard) -> None:
        if shard.id not in self._listed:
            self._tell(Remark(shard=shard.id, text=f"new, after {' and '.join(shard.parents) or 'no other'}"))

    async def take(self, shard: Shard, page: ShardPage, records: Sequence[Record]) -> None:  # noqa: ARG002  # of the Protocol
        if records:
            self._tell(Page(shard=shard.id, records=records))

    async def end(self, shard: Shard) -> None:
        self._tell(Remark(shard=shard.id, text="has ended"))

    def trimmed(self, shard: Shard, error: PositionTrimmed) -> None:
        text = str(error) if isinstance(error, ShardLeft) else f"{error}; it goes on at {TRIM_HORIZON}"
        self._tell(Remark(shard=shard.id, text=text, trouble=True))


def _shown(position: Position) -> str:
    if position.kind is PositionKind.AT_TIMESTAMP:
        return f"{datetime.fromtimestamp(position.timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return str(position)
