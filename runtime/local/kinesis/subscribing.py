"""SubscribeToShard: what a subscription sends, and when it ends. Pure; `feeds` carries it out.

Within a few seconds of a successful call another one of the same consumer for the same shard is refused; a later one takes the
subscription over, and the first ends with an error. https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html
"""

from dataclasses import dataclass
from typing import Any, Final

from runtime.local.errors import Refused
from runtime.local.kinesis.call import Call
from runtime.local.kinesis.consumers import consumer_of
from runtime.local.kinesis.event_stream import event, exception
from runtime.local.kinesis.listing import child_json
from runtime.local.kinesis.reading import start_position
from runtime.local.kinesis.refusals import in_use, misread
from runtime.local.kinesis.shards import LocalShard
from runtime.local.kinesis.streams import HOUR, LocalConsumer, LocalStream, Streams

KIND: Final = "SubscribeToShardEvent"
INITIAL: Final = event("initial-response", {})
_MOST_RECORDS: Final = 1000
"""Of one event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a subscription does now."""

    frame: bytes | None = None
    """To be sent."""
    over: bool = False
    """It ends after that."""
    pause: float = 0.0
    """Seconds until it has to look again even if nothing happens."""


class Subscription:
    """One. Times in milliseconds since the epoch."""

    def __init__(self, streams: Streams, stream: LocalStream, consumer: LocalConsumer, shard: LocalShard, position: int) -> None:
        self._streams = streams
        self._stream = stream
        self._consumer = consumer
        self._shard = shard
        self._position = position
        now = streams.now()
        self._ends = now + int(streams.subscription * 1000)
        self._due = now
        """When an event is sent whether there are records or not."""
        self._serial = streams.next_serial()
        consumer.subscribed[shard.id] = (now, self._serial)

    @property
    def place(self) -> tuple[str, str]:
        """Stream and shard, for faults."""
        return self._stream.name, self._shard.id

    def step(self) -> Step:
        """One event, or a pause."""
        now = self._streams.now()
        if now >= self._ends:
            return Step(over=True)
        try:
            stream, consumer = consumer_of(self._streams, self._consumer.arn)
        except Refused as refused:
            return Step(frame=exception(refused.shape, refused.message), over=True)
        if stream.number != self._stream.number or self._shard.id not in stream.shards:
            message = f"Shard {self._shard.id} in stream {stream.name} under account {stream.account} does not exist"
            return Step(frame=exception("ResourceNotFoundException", message), over=True)
        if consumer.subscribed.get(self._shard.id, (0, 0))[1] != self._serial:
            return Step(frame=exception("ResourceInUseException", _taken(stream, self._shard, consumer)), over=True)
        return self._event(now)

    def _event(self, now: int) -> Step:
        shard = self._shard
        if self._streams.stuck_positions and shard.has_lost(self._position):
            return self._due_event(now, behind=self._stream.retention * HOUR)
        page = shard.read(self._position, limit=_MOST_RECORDS, now=now)
        if page.next is None:
            children = {"Records": [], "MillisBehindLatest": 0, "ChildShards": [child_json(child) for child in shard.children]}
            return Step(frame=event(KIND, children), over=True)
        if not page.records:
            return self._due_event(now, behind=page.behind)
        self._position = page.next
        return self._sent(now, [record.as_json() for record in page.records], page.behind, page.records[-1].sequence)

    def _due_event(self, now: int, *, behind: int) -> Step:
        if now < self._due:
            return Step(pause=max(0, min(self._due, self._ends) - now) / 1000)
        return self._sent(now, [], behind, self._shard.last)

    def _sent(self, now: int, records: list[dict[str, Any]], behind: int, continues: int) -> Step:
        self._due = now + int(self._streams.keep_alive * 1000)
        content = {"Records": records, "ContinuationSequenceNumber": str(continues), "MillisBehindLatest": behind}
        return Step(frame=event(KIND, content))


def subscribe_to_shard(call: Call) -> Subscription:
    stream, consumer = consumer_of(call.streams, call.text("ConsumerARN"))
    shard, start = stream.shard(call.name("ShardId")), call.request.get("StartingPosition")
    if not isinstance(start, dict):
        raise misread("StartingPosition", "a structure")
    if consumer.status(call.now) != "ACTIVE":
        raise in_use(f"Consumer {consumer.arn} is not ACTIVE, instead in state {consumer.status(call.now)}.")
    position = start_position(call, stream, shard, kind="Type", sequence="SequenceNumber", given=start)
    started, _ = consumer.subscribed.get(shard.id, (None, 0))
    if started is not None and call.now - started < call.streams.subscribe_every * 1000:
        raise in_use(_taken(stream, shard, consumer))
    return Subscription(call.streams, stream, consumer, shard, position)


def _taken(stream: LocalStream, shard: LocalShard, consumer: LocalConsumer) -> str:
    return f"Another active subscription exists for this consumer: {stream.account}:{stream.name}:{shard.id}:{consumer.name}"
