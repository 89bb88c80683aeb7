"""Kinesis as a service of the server: its operations, its faults, its control calls."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from aiohttp import web

from runtime.local.errors import Refused
from runtime.local.faults import Faults, Kind
from runtime.local.kinesis.call import Call
from runtime.local.kinesis.consumers import stream_named_by
from runtime.local.kinesis.control import control_calls
from runtime.local.kinesis.feeds import Feeds
from runtime.local.kinesis.operations import OPERATIONS, QUIET
from runtime.local.kinesis.reading import expired
from runtime.local.kinesis.refusals import fault_refusal, rate_exceeded
from runtime.local.kinesis.streams import Streams
from runtime.local.kinesis.subscribing import subscribe_to_shard
from runtime.local.kinesis.tokens import Iterator, ListToken, unseal
from runtime.local.service import JSON_1_1, Answer, Asked, Service, json_service

_SUBSCRIBE: Final = "SubscribeToShard"


@dataclass(frozen=True, slots=True)
class _Inside:
    """The faults that act inside GetRecords (`call.Effects`)."""

    faults: Faults

    def empty_page(self, stream: str, shard: str) -> bool:
        return self._strikes(Kind.EMPTY_PAGE, stream, shard)

    def duplicate_page(self, stream: str, shard: str) -> bool:
        return self._strikes(Kind.DUPLICATE_PAGE, stream, shard)

    def _strikes(self, kind: Kind, stream: str, shard: str) -> bool:
        return self.faults.inside(kind, service="kinesis", operation="GetRecords", stream=stream, shard=shard) is not None


def kinesis_service(streams: Streams, faults: Faults, feeds: Feeds) -> Service:
    effects = _Inside(faults)

    def call(asked: Asked) -> Call:
        return Call(streams=streams, caller=asked.caller, request=asked.body, effects=effects)

    def carried_out(operation: Callable[[Call], Answer]) -> Callable[[Asked], Awaitable[Answer]]:
        async def act(asked: Asked) -> Answer:
            try:
                return operation(call(asked))
            finally:
                if asked.operation not in QUIET:
                    feeds.wake()

        return act

    def reset() -> None:
        streams.reset()
        feeds.wake()

    def fault(kind: Kind, asked: Asked) -> Refused | None:
        iterator = unseal(str(asked.body.get("ShardIterator", "")), Iterator)
        if kind is Kind.EXPIRED_ITERATOR and iterator is not None:
            return expired(call(asked), iterator)
        refused = fault_refusal(kind, asked.operation)
        if kind is Kind.THROTTLE and refused is None:
            shard = asked.about.get("shard", "shardId-000000000000")
            return rate_exceeded(shard, asked.about.get("stream", ""), asked.caller.account)
        return refused

    service = json_service(
        name="kinesis",
        target="Kinesis_20131202",
        content=JSON_1_1,
        operations={name: carried_out(operation) for name, operation in OPERATIONS.items()},
        about=about,
        fault=fault,
        reset=reset,
        inspect=lambda: {"streams": [stream.inspect(streams.now()) for stream in streams.every()]},
        controls=control_calls(streams),
    )

    return _with_subscriptions(service, feeds, call)


def _with_subscriptions(service: Service, feeds: Feeds, call: Callable[[Asked], Call]) -> Service:
    async def act(asked: Asked) -> web.StreamResponse:
        if asked.operation != _SUBSCRIBE:
            return await service.act(asked)
        subscription = subscribe_to_shard(call(asked))
        feeds.wake()  # the one that this takes over
        return await feeds.serve(subscription, asked.request, asked.request_id)

    return replace(service, act=act, operations=service.operations | {_SUBSCRIBE})


def about(body: Mapping[str, Any]) -> dict[str, str]:
    """Which stream and shard a request is about; an iterator and a token of a list say it too."""
    iterator = unseal(str(body.get("ShardIterator", "")), Iterator)
    if iterator is not None:
        return {"stream": iterator.name, "shard": iterator.shard}
    token = unseal(str(body.get("NextToken", "")), ListToken)
    if token is not None:
        return {"stream": token.name}
    consumed = stream_named_by(body)
    if consumed is not None:
        return {"stream": consumed, **({"shard": body["ShardId"]} if isinstance(body.get("ShardId"), str) else {})}
    name, arn, shard = body.get("StreamName"), body.get("StreamARN"), body.get("ShardId")
    stream = arn.rpartition("/")[2] if isinstance(arn, str) else name
    found = {"stream": stream, "shard": shard}
    return {key: value for key, value in found.items() if isinstance(value, str)}
