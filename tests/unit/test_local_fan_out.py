"""Consumers and subscriptions of the embedded endpoint: the rules of SubscribeToShard, step by step, under a clock of one's own."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer

from runtime.local.errors import Refused
from runtime.local.faults import Fault, Faults, Kind
from runtime.local.kinesis.call import Call
from runtime.local.kinesis.operations import OPERATIONS
from runtime.local.kinesis.service import about
from runtime.local.kinesis.streams import LocalStream, Streams
from runtime.local.kinesis.subscribing import Subscription, subscribe_to_shard
from runtime.local.state import Caller

ZERO = "shardId-000000000000"
ONE = "AA=="


class _NoEffects:
    def empty_page(self, *_: str) -> bool:
        return False

    def duplicate_page(self, *_: str) -> bool:
        return False


@dataclass
class Scene:
    now: float = 1_700_000_000.0
    streams: Streams = field(init=False)

    def __post_init__(self) -> None:
        self.streams = Streams(clock=lambda: self.now)
        self.ask("CreateStream", StreamName="s", ShardCount=1)

    def call(self, **request: Any) -> Call:
        caller = Caller("123456789012", "eu-west-1")
        return Call(streams=self.streams, caller=caller, request=request, effects=_NoEffects())

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        return OPERATIONS[operation](self.call(**request))

    def put(self, *keys: str) -> list[str]:
        return [self.ask("PutRecord", StreamName="s", PartitionKey=key, Data=ONE)["SequenceNumber"] for key in keys]

    @property
    def stream(self) -> LocalStream:
        return self.streams.stream("s", account="123456789012", region="eu-west-1")

    def register(self, name: str = "app") -> str:
        return str(self.ask("RegisterStreamConsumer", StreamARN=self.stream.arn, ConsumerName=name)["Consumer"]["ConsumerARN"])

    def subscribe(self, consumer: str, kind: str = "TRIM_HORIZON", **start: Any) -> Subscription:
        position = {"Type": kind, **start}
        return subscribe_to_shard(self.call(ConsumerARN=consumer, ShardId=ZERO, StartingPosition=position))


def sent(subscription: Subscription) -> list[tuple[str, dict[str, Any]]]:
    """What it sends until it pauses or is over, read by the SDK's own parser."""
    found = []
    while (step := subscription.step()).frame is not None:
        buffer = EventStreamBuffer()
        buffer.add_data(step.frame)
        (message,) = buffer
        kind = message.headers.get(":event-type") or message.headers[":exception-type"]
        found.append((kind, msgspec.json.decode(message.payload)))
        if step.over:
            break
    return found


def keys(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [record["PartitionKey"] for _, event in events for record in event["Records"]]


def refusal_of(act: Any, *given: Any, **more: Any) -> str:
    with pytest.raises(Refused) as raised:
        act(*given, **more)
    return raised.value.shape


def test_a_consumer_is_registered_described_listed_and_deregistered() -> None:
    scene = Scene()
    scene.streams.delay = 2.0
    arn = scene.register()
    assert arn == "arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/app:1700000000"
    described = scene.ask("DescribeStreamConsumer", ConsumerARN=arn)["ConsumerDescription"]
    assert (described["ConsumerStatus"], described["StreamARN"]) == ("CREATING", scene.stream.arn)
    assert refusal_of(scene.subscribe, arn) == "ResourceInUseException"
    scene.now += 2
    by_name = scene.ask("DescribeStreamConsumer", StreamARN=scene.stream.arn, ConsumerName="app")["ConsumerDescription"]
    assert (by_name["ConsumerARN"], by_name["ConsumerStatus"]) == (arn, "ACTIVE")
    assert refusal_of(scene.register) == "ResourceInUseException"
    assert scene.ask("DescribeStreamSummary", StreamName="s")["StreamDescriptionSummary"]["ConsumerCount"] == 1
    assert refusal_of(scene.ask, "DeleteStream", StreamName="s") == "ResourceInUseException"
    scene.ask("DeregisterStreamConsumer", ConsumerARN=arn)
    assert refusal_of(scene.ask, "DescribeStreamConsumer", ConsumerARN=arn) == "ResourceNotFoundException"
    assert refusal_of(scene.subscribe, arn) == "ResourceNotFoundException"


def test_consumers_are_listed_by_pages_and_there_are_twenty_at_most() -> None:
    scene = Scene()
    for number in range(20):
        scene.register(f"app-{number:02}")
    assert refusal_of(scene.register, "one-more") == "LimitExceededException"
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = scene.ask("ListStreamConsumers", StreamARN=scene.stream.arn, MaxResults=8, **token)
        found += [consumer["ConsumerName"] for consumer in page["Consumers"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert found == [f"app-{number:02}" for number in range(20)]


def test_a_consumer_that_is_registered_anew_is_another() -> None:
    scene = Scene()
    old = scene.register()
    scene.ask("DeregisterStreamConsumer", StreamARN=scene.stream.arn, ConsumerName="app")
    scene.now += 1
    scene.register()
    assert refusal_of(scene.subscribe, old) == "ResourceNotFoundException"


def test_records_are_pushed_as_they_come_and_empty_events_in_between() -> None:
    scene = Scene()
    first = scene.put("a", "b")
    subscription = scene.subscribe(scene.register())
    ((kind, event),) = sent(subscription)
    assert (kind, keys([(kind, event)]), event["ContinuationSequenceNumber"], event["MillisBehindLatest"]) == (
        "SubscribeToShardEvent", ["a", "b"], first[-1], 0,
    )  # fmt: skip
    assert subscription.step().pause == 5.0
    scene.now += 3
    (last,) = scene.put("c")
    assert keys(sent(subscription)) == ["c"]
    scene.now += 5
    ((_, empty),) = sent(subscription)
    assert (empty["Records"], empty["ContinuationSequenceNumber"]) == ([], last)


@pytest.mark.parametrize("kind", ["LATEST", "AFTER_SEQUENCE_NUMBER", "AT_SEQUENCE_NUMBER", "AT_TIMESTAMP", "TRIM_HORIZON"])
def test_a_subscription_begins_where_it_was_asked_to_and_another_goes_on_from_its_continuation(kind: str) -> None:
    scene = Scene()
    consumer = scene.register()
    a, _ = scene.put("a", "b")
    scene.now += 10
    scene.put("c")
    start: dict[str, Any] = {"Timestamp": scene.now} if kind == "AT_TIMESTAMP" else {}
    start = {"SequenceNumber": a} if kind.endswith("NUMBER") else start
    expected = {
        "LATEST": "",
        "AFTER_SEQUENCE_NUMBER": "bc",
        "AT_SEQUENCE_NUMBER": "abc",
        "AT_TIMESTAMP": "c",
        "TRIM_HORIZON": "abc",
    }
    events = sent(scene.subscribe(consumer, kind, **start))
    assert "".join(keys(events)) == expected[kind]
    scene.put("d")
    scene.now += 5
    following = events[-1][1]["ContinuationSequenceNumber"]
    assert keys(sent(scene.subscribe(consumer, "AFTER_SEQUENCE_NUMBER", SequenceNumber=following))) == ["d"]


def test_within_five_seconds_a_second_subscription_is_refused_and_later_it_takes_over() -> None:
    scene = Scene()
    consumer, other = scene.register(), scene.register("other")
    subscription = scene.subscribe(consumer)
    sent(subscription)
    scene.subscribe(other)
    scene.now += 4.9
    assert refusal_of(scene.subscribe, consumer) == "ResourceInUseException"
    scene.now += 0.2
    second = scene.subscribe(consumer)
    ((kind, said),) = sent(subscription)
    assert (kind, said["message"]) == (
        "ResourceInUseException",
        f"Another active subscription exists for this consumer: 123456789012:s:{ZERO}:app",
    )
    assert sent(second)[0][0] == "SubscribeToShardEvent"


def test_a_subscription_is_over_after_five_minutes() -> None:
    scene = Scene()
    subscription = scene.subscribe(scene.register())
    scene.now += 299
    assert sent(subscription) != []
    scene.now += 1
    step = subscription.step()
    assert (step.frame, step.over) == (None, True)


def test_a_closed_shard_ends_with_its_children_and_without_a_continuation() -> None:
    scene = Scene()
    scene.put("a")
    subscription = scene.subscribe(scene.register())
    scene.ask("SplitShard", StreamName="s", ShardToSplit=ZERO, NewStartingHashKey=str(1 << 127))
    events = sent(subscription)
    assert keys(events) == ["a"]
    children = [child["ShardId"] for child in events[-1][1]["ChildShards"]]
    assert children == ["shardId-000000000001", "shardId-000000000002"]
    assert "ContinuationSequenceNumber" not in events[-1][1]


def test_a_deleted_stream_or_consumer_ends_its_subscriptions_with_an_error() -> None:
    scene = Scene()
    consumer, other = scene.register(), scene.register("other")
    gone, left = scene.subscribe(consumer), scene.subscribe(other)
    scene.ask("DeregisterStreamConsumer", ConsumerARN=consumer)
    assert sent(gone)[-1][0] == "ResourceNotFoundException"
    scene.ask("DeleteStream", StreamName="s", EnforceConsumerDeletion=True)
    assert sent(left)[-1][0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("request_", "shape"),
    [
        ({"ShardId": "shardId-000000000009"}, "ResourceNotFoundException"),
        ({"ConsumerARN": "app"}, "ValidationException"),
        ({"ConsumerARN": None}, "ValidationException"),
        ({"StartingPosition": None}, "SerializationException"),
        ({"StartingPosition": {"Type": "NEWEST"}}, "ValidationException"),
        ({"StartingPosition": {"Type": "AFTER_SEQUENCE_NUMBER"}}, "InvalidArgumentException"),
        ({"StartingPosition": {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "12"}}, "InvalidArgumentException"),
        ({"StartingPosition": {"Type": "LATEST", "SequenceNumber": "12"}}, "InvalidArgumentException"),
        ({"StartingPosition": {"Type": "AT_TIMESTAMP"}}, "InvalidArgumentException"),
    ],
)
def test_requests_that_make_no_sense_are_refused(request_: dict[str, Any], shape: str) -> None:
    scene = Scene()
    sound = {"ConsumerARN": scene.register(), "ShardId": ZERO, "StartingPosition": {"Type": "LATEST"}}
    assert refusal_of(subscribe_to_shard, scene.call(**{**sound, **request_})) == shape


def test_faults_can_be_aimed_at_a_subscription() -> None:
    body = {"ConsumerARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/app:1", "ShardId": ZERO}
    assert about(body) == {"stream": "s", "shard": ZERO}
    faults = Faults(seed=0)
    faults.add(Fault(fault=Kind.STALLED, service="kinesis", about={"stream": "s"}, times=1))
    aimed = {"service": "kinesis", "operation": "SubscribeToShard", "shard": ZERO}
    struck = [faults.inside(Kind.STALLED, stream=stream, **aimed) is not None for stream in ("other", "s", "s")]
    assert struck == [False, True, False]
