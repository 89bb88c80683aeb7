"""Consumers of a stream: registered, described, listed, deregistered."""

import re
from collections.abc import Mapping
from typing import Any, Final

from runtime.local.kinesis.call import Call
from runtime.local.kinesis.refusals import in_use, invalid, not_found, refusal, unsuitable
from runtime.local.kinesis.streams import LocalConsumer, LocalStream, Streams

Answer = dict[str, Any]
_ARN: Final = re.compile(
    r"(arn:aws[^:]*:kinesis:([^:]*):(\d{12}):stream/([a-zA-Z0-9_.-]{1,128}))/consumer/([a-zA-Z0-9_.-]{1,128}):\d+"
)
_MOST: Final = 20
"""Consumers of a stream."""
_DEFAULT_PAGE: Final = 100


def register_stream_consumer(call: Call) -> Answer:
    call.text("StreamARN")
    stream, name = call.ready_stream(), call.name("ConsumerName")
    if name in stream.consumers:
        raise in_use(f"Consumer {name} under stream {stream.name} under account {stream.account} already exists.")
    if len(stream.consumers) >= _MOST:
        raise refusal("LimitExceededException", f"The stream {stream.name} already has {_MOST} consumers.")
    consumer = stream.register(name, call.now, active=call.streams.settled(call.now))
    return {"Consumer": _shown(consumer, call.now)}


def describe_stream_consumer(call: Call) -> Answer:
    stream, consumer = _named(call)
    return {"ConsumerDescription": {**_shown(consumer, call.now), "StreamARN": stream.arn}}


def list_stream_consumers(call: Call) -> Answer:
    """Goes on after a name; the token is that name."""
    call.text("StreamARN")
    stream, most, after = call.stream(), call.whole("MaxResults", 1, 10_000) or _DEFAULT_PAGE, call.maybe_text("NextToken") or ""
    found = [consumer for name, consumer in sorted(stream.consumers.items()) if name > after]
    answer: Answer = {"Consumers": [_shown(consumer, call.now) for consumer in found[:most]]}
    return {**answer, "NextToken": found[most - 1].name} if len(found) > most else answer


def deregister_stream_consumer(call: Call) -> Answer:
    """Gone at once, and with it its subscriptions."""
    stream, consumer = _named(call)
    del stream.consumers[consumer.name]
    return {}


def consumer_of(streams: Streams, arn: str) -> tuple[LocalStream, LocalConsumer]:
    """Raises ResourceNotFoundException, ValidationException."""
    found = _ARN.fullmatch(arn)
    if found is None:
        pattern = r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+"
        raise unsuitable(arn, "consumerARN", f"Member must satisfy regular expression pattern: {pattern}")
    _, region, account, name, called = found.groups()
    stream = streams.stream(name, account=account, region=region)
    consumer = stream.consumers.get(called)
    if consumer is None or consumer.arn != arn:
        raise not_found(f"Consumer {arn} not found.")
    return stream, consumer


def stream_named_by(body: Mapping[str, Any]) -> str | None:
    """The name of the stream in ConsumerARN, if that is one."""
    found = _ARN.fullmatch(str(body.get("ConsumerARN", "")))
    return found[4] if found else None


def _named(call: Call) -> tuple[LocalStream, LocalConsumer]:
    """By ConsumerARN, or by StreamARN and ConsumerName."""
    arn = call.maybe_text("ConsumerARN")
    if arn is not None:
        return consumer_of(call.streams, arn)
    if call.maybe_text("StreamARN") is None or call.maybe_text("ConsumerName") is None:
        raise invalid("Either ConsumerARN, or both StreamARN and ConsumerName, must be provided.")
    stream, name = call.stream(), call.name("ConsumerName")
    if name not in stream.consumers:
        raise not_found(f"Consumer {name} of stream {stream.name} under account {stream.account} not found.")
    return stream, stream.consumers[name]


def _shown(consumer: LocalConsumer, now: int) -> Answer:
    return {
        "ConsumerName": consumer.name,
        "ConsumerARN": consumer.arn,
        "ConsumerStatus": consumer.status(now),
        "ConsumerCreationTimestamp": consumer.created / 1000,
    }
