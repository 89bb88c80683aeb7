"""Carries subscriptions out: each writes its events into one answer, woken by what happens to its stream."""

import anyio
from aiohttp import web

from runtime.local.faults import Faults, Kind
from runtime.local.kinesis.event_stream import CONTENT, damaged
from runtime.local.kinesis.subscribing import INITIAL, Subscription

_LOOK_AGAIN = 0.25
"""Seconds: for what nobody tells, such as a clock that a test moves, and clients that have gone."""


class Feeds:
    """All subscriptions of one endpoint. Lives in one event loop."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._stirred = anyio.Event()
        self._closed = False

    def wake(self) -> None:
        """Something happened to a stream."""
        self._stirred.set()
        self._stirred = anyio.Event()

    def close(self) -> None:
        """Ends all that there are."""
        self._closed = True
        self.wake()

    async def serve(self, subscription: Subscription, request: web.Request, request_id: str) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": CONTENT, "x-amzn-RequestId": request_id})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        try:
            await answer.write(INITIAL)
            if await self._feed(subscription, request, answer):
                await answer.write_eof()
        except ConnectionError:
            pass  # the client has gone
        return answer

    async def _feed(self, subscription: Subscription, request: web.Request, answer: web.StreamResponse) -> bool:
        """False: the connection is cut, and the answer has no end."""
        while not self._closed and _is_connected(request):
            stirred = self._stirred
            step = subscription.step()
            if step.frame is not None:
                frame = step.frame
                if self._strikes(Kind.EARLY_END, subscription):
                    return True
                if self._strikes(Kind.STALLED, subscription):
                    await self._keep_silent(request)
                    return True
                if self._strikes(Kind.CUT_FRAME, subscription):
                    await answer.write(frame[: len(frame) // 2])
                    _hang_up(request)
                    return False
                await answer.write(damaged(frame) if self._strikes(Kind.BAD_CHECKSUM, subscription) else frame)
            if step.over:
                return True
            if step.frame is None:
                with anyio.move_on_after(min(step.pause, _LOOK_AGAIN)):
                    await stirred.wait()
        return True

    async def _keep_silent(self, request: web.Request) -> None:
        while not self._closed and _is_connected(request):
            with anyio.move_on_after(_LOOK_AGAIN):
                await self._stirred.wait()

    def _strikes(self, kind: Kind, subscription: Subscription) -> bool:
        stream, shard = subscription.place
        found = self._faults.inside(kind, service="kinesis", operation="SubscribeToShard", stream=stream, shard=shard)
        return found is not None


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()
