"""`GET /mappings/NAME/tail`: what a mapping receives and what becomes of it, as a stream of JSON lines that ends with the worker.

`?records=1` adds a detail for each record. Payloads never go out (`tap_events`). Who takes nothing for a minute is cut off.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from msgspec import structs

from runtime.clock import now
from runtime.core.mapping import EventSourceMapping
from runtime.listener import Listener
from runtime.shard_status import ShardState
from runtime.status import MappingStatus
from runtime.tap import MOST_LISTENERS, TooManyListenersError
from runtime.tap_events import Alive, Closed, Standing, Told, Watching, to_line

CONTENT_TYPE: Final = "application/x-ndjson"
ALIVE_EVERY: Final = 15.0
"""Seconds without a line after which one is sent that says only that."""
_LOOK_EVERY: Final = 1.0
"""Seconds between looks at how the mapping stands."""
_PATIENCE: Final = 60.0
"""Seconds for which a reader may take nothing."""
_READING: Final = ShardState.READING.value
"""Also while a batch is tried again: that is told batch by batch."""
_STOPPED: Final = "the worker has stopped"


class TailPage:
    """The page of all mappings of a worker."""

    def __init__(self, statuses: Sequence[MappingStatus], *, worker: str) -> None:
        """`worker`: the name of this one."""
        self._statuses = {status.mapping.name: status for status in statuses}
        self._worker = worker

    def close(self) -> None:
        """Every reader gets its last line."""
        for status in self._statuses.values():
            status.tap.close(_STOPPED)

    async def tail(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        status = self._statuses.get(name)
        if status is None:
            known = sorted(self._statuses)
            return _refused(404, error=f"no mapping is called {name}", mappings=known)
        try:
            with status.tap.listen(records=request.query.get("records") in ("1", "true")) as listener:
                return await self._stream(request, status, listener)
        except TooManyListenersError:
            return _refused(503, error=f"{MOST_LISTENERS} readers listen to mapping {name} already")

    async def _stream(self, request: web.Request, status: MappingStatus, listener: Listener) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        page = _Page(status, listener, began=_watching(status.mapping, self._worker))
        while not page.ended and request.transport is not None and not request.transport.is_closing():
            lines = await page.next_lines()
            if lines:
                try:
                    async with asyncio.timeout(_PATIENCE):
                        await response.write(b"".join(map(to_line, lines)))
                except (TimeoutError, ConnectionError):
                    break
        return response


class _Page:
    """What one reader is sent."""

    def __init__(self, status: MappingStatus, listener: Listener, *, began: Watching) -> None:
        self._status = status
        self._listener = listener
        self._began: Watching | None = began
        self._standing = Standing(at=0.0, state="")
        """As told; with the state of every shard."""
        self._sent_at = now()
        self.ended = False

    async def next_lines(self) -> list[Told]:
        """Within a second; there may be none."""
        lines: list[Told] = []
        if self._began is not None:
            lines.append(self._began)
            self._began = None
        else:
            lines += await self._listener.take(within=_LOOK_EVERY)
        standing = standing_of(self._status, at=time.time())
        lines += _changes(self._standing, standing)
        self._standing = standing
        if (reason := self._listener.closed) is not None:
            self.ended = True
            lines.append(Closed(at=time.time(), reason=reason))
        if not lines and now() - self._sent_at >= ALIVE_EVERY:
            lines.append(Alive(at=time.time()))
        if lines:
            self._sent_at = now()
        return lines


def standing_of(status: MappingStatus, *, at: float) -> Standing:
    """How a mapping stands, `at` in epoch seconds; without what changes at every batch, which is told as such."""
    errors = [status.error, status.state_error]
    why = [str(each) for each in (status.paused, *errors) if each]
    if status.overdue:
        why.append("handlers run on past their time limit, each on a slot")
    for shard in status.shards.values():
        reasons = [block.reason for block in shard.blocks.values() if not block.attempt]
        why += [f"{shard.shard}: {reason}" for reason in dict.fromkeys(reasons)]
    shards = {name: _READING if shard.running else shard.state.value for name, shard in status.shards.items()}
    return Standing(at=at, state=status.state.value, why=tuple(why), shards=shards)


def _changes(before: Standing, after: Standing) -> list[Standing]:
    """What is to be told: of the shards those that changed."""
    shards = {shard: state for shard, state in after.shards.items() if before.shards.get(shard) != state}
    shards |= dict.fromkeys(before.shards.keys() - after.shards.keys(), "gone")
    if shards or (before.state, before.why) != (after.state, after.why):
        return [structs.replace(after, shards=shards)]
    return []


def _watching(mapping: EventSourceMapping, worker: str) -> Watching:
    return Watching(
        at=time.time(),
        mapping=mapping.name,
        source=mapping.source,
        arn=mapping.source_arn,
        function=mapping.function,
        worker=worker,
        batch_size=mapping.batch.records,
        window=mapping.batch.window,
        lanes=mapping.stream.lanes if mapping.stream else 1,
    )


def _refused(status: int, **document: object) -> web.Response:
    return web.Response(text=json.dumps(document, indent=1) + "\n", status=status, content_type="application/json")
