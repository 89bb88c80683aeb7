"""The source of DynamoDB Streams: what it asks, the event it makes of the answers, and what it makes of bad ones."""

import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from botocore.exceptions import ClientError

from pollers import SPECS, STREAMS
from pollers.aws.clients import AwsClients
from pollers.aws.hot import HotKind, HotOperation
from pollers.dynamodb_streams import SPEC, DynamodbStream, envelope
from pollers.errors import PositionTrimmed, SourceError, SourceRejected, SourceUnavailable
from pollers.record import LATEST, TRIM_HORIZON, Position, PositionKind, Record, Shard, ShardPage
from pollers.shard_reading import IteratorReader
from pollers.source import ShardReader, StreamFacts, StreamSource
from tests.fakes.hot_requests import FakeOperation
from tests.fakes.virtual_time import virtual_time

ARN: Final = "arn:aws:dynamodb:us-east-1:123456789012:table/my-table/stream/2025-11-25T15:47:40.123"
SHARD: Final = "shardId-00000001764085500000-864758bb"
NOW: Final = 1764085700.75
CREATED: Final = 1764085660
EVENTS: Final = Path(__file__).parent / "events"


class FakeStreams:
    """The client of aiobotocore, as far as the source uses it: notes each request and answers as it is told."""

    def __init__(self, **answers: Any) -> None:
        """By method name: an answer or exception, or a list of them for one request each."""
        self.answers = {"get_shard_iterator": {"ShardIterator": "iterator"}, **answers}
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def ask(**request: Any) -> Any:
            self.requests.append((method, request))
            await anyio.sleep(0.01)
            answer = self.answers[method]
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [request for name, request in self.requests if name == method]


class FakeClients(AwsClients):
    def __init__(self, client: FakeStreams) -> None:
        self.given = client
        self.made: list[tuple[str, str, bool]] = []

    async def client(self, service: str, region: str, *, retries: bool) -> Any:
        self.made.append((service, region, retries))
        return self.given

    async def operation(self, kind: HotKind, region: str, sample: Mapping[str, Any], *, place: str = "") -> HotOperation:  # noqa: ARG002  # one serves all
        return FakeOperation(self.given, kind)


class Scene:
    def __init__(self, **answers: Any) -> None:
        self.client = FakeStreams(**answers)
        self.clients = FakeClients(self.client)
        self.observed: list[tuple[str, str]] = []
        self.stream = DynamodbStream(self.clients, ARN, observe=lambda *fact: self.observed.append(fact), clock=lambda: NOW)

    async def open(self, at: Position = TRIM_HORIZON) -> IteratorReader:
        return await self.stream.open_shard(SHARD, at)


def refusal(code: str, message: str = "the text") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetRecords")


def change(number: int | str, created: Any = CREATED, **more: Any) -> dict[str, Any]:
    """A record as the API has it; members in another order than Lambda shows them."""
    return {
        "eventID": f"event-{number}",
        "awsRegion": "us-east-1",
        "eventName": "INSERT",
        "eventVersion": "1.0",
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "StreamViewType": "KEYS_ONLY",
            "SizeBytes": 26,
            "SequenceNumber": str(number),
            "Keys": {"Id": {"N": "101"}},
            "ApproximateCreationDateTime": created,
            **more,
        },
    }


def page(*numbers: int, following: str | None = "next") -> dict[str, Any]:
    answer: dict[str, Any] = {"Records": [change(number) for number in numbers]}
    return answer if following is None else {**answer, "NextShardIterator": following}


def sequences(of: ShardPage) -> list[str]:
    return [record.id for record in of.records]


async def records_of(*changes: dict[str, Any]) -> tuple[Record, ...]:
    scene = Scene(get_records={"Records": list(changes), "NextShardIterator": "next"})
    return (await (await scene.open()).read(limit=1000)).records


def shown(record: Record) -> dict[str, Any]:
    """The record as an event shows it."""
    event: dict[str, Any] = envelope([record])["Records"][0]
    return event


def as_written(event: Any) -> str:
    """With the order of the keys."""
    return json.dumps(event, indent=1)


def test_the_table_of_sources_has_its_row() -> None:
    assert SPECS["dynamodb"] is STREAMS["dynamodb"] is SPEC
    assert (SPEC.default_batch_size, SPEC.page_limit, SPEC.info_key) == (100, 1000, "DDBStreamBatchInfo")
    assert SPEC.starting_positions == {PositionKind.TRIM_HORIZON, PositionKind.LATEST}, "DDB-02"
    assert STREAMS["kinesis"].parameters - SPEC.parameters == {"StartingPositionTimestamp"}, "DDB-01"


# the event


def as_sent(shown: dict[str, Any]) -> dict[str, Any]:
    """The API's record behind one of Lambda's: other order, other case, an integer time."""
    inner = dict(reversed(shown["dynamodb"].items()))
    inner["ApproximateCreationDateTime"] = int(inner["ApproximateCreationDateTime"])
    sent = {**dict(reversed(shown.items())), "dynamodb": inner}
    del sent["eventSourceARN"]
    if who := sent.get("userIdentity"):
        sent["userIdentity"] = {"Type": who["type"], "PrincipalId": who["principalId"]}
    return sent


@pytest.mark.parametrize("sample", ["insert-modify-remove", "new-image-binary", "ttl-remove"])
@virtual_time
async def test_ddb_20_ddb_27_the_event_is_the_recorded_one_to_the_order_of_its_keys(sample: str) -> None:
    expected = json.loads((EVENTS / f"dynamodb-{sample}.json").read_text())
    event = envelope(await records_of(*(as_sent(record) for record in expected["Records"])))
    assert as_written(event) == as_written(expected)


@virtual_time
async def test_ddb_23_attribute_values_of_every_kind_stay_as_they_are() -> None:
    image = {
        "s": {"S": "é"},
        "n": {"N": "3.14159265358979323846264338327950288419"},
        "bool": {"BOOL": False},
        "null": {"NULL": True},
        "b": {"B": "Zm9vYmFy"},
        "bs": {"BS": ["AAE=", "Ag=="]},
        "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["1", "2"]},
        "m": {"M": {"l": {"L": [{"M": {"b": {"B": "AA=="}}}, {"L": []}, {"NULL": True}]}, "empty": {"M": {}}}},
    }
    (record,) = await records_of(change(1, NewImage=image, OldImage={}))
    shown = envelope([record])["Records"][0]["dynamodb"]
    assert as_written(shown["NewImage"]) == as_written(image)
    assert shown["OldImage"] == {}


@pytest.mark.parametrize("created", [CREATED, float(CREATED), CREATED + 0.9])
@virtual_time
async def test_ddb_21_the_creation_time_is_a_float_of_whole_seconds(created: float) -> None:
    (record,) = await records_of(change(1, created))
    assert json.dumps(shown(record)["dynamodb"]["ApproximateCreationDateTime"]) == "1764085660.0"
    assert record.arrived == 1764085660.0


@virtual_time
async def test_what_is_known_of_a_record_beside_its_event() -> None:
    (record,) = await records_of(change("111000000000000000001"))
    assert (record.id, record.handle) == ("111000000000000000001", "")
    exact = len(json.dumps(shown(record), separators=(",", ":")))
    assert exact <= record.size <= exact + 100, "COM-11: never less"


@virtual_time
async def test_com_62_one_item_has_one_group_whatever_the_order_of_its_keys() -> None:
    keys = {"sort": {"N": "1"}, "part": {"S": "é"}}
    one, two, other = await records_of(
        change(1, Keys=keys), change(2, Keys=dict(reversed(keys.items()))), change(3, Keys={**keys, "sort": {"N": "2"}})
    )
    assert one.group == two.group == '{"part":{"S":"é"},"sort":{"N":"1"}}'
    assert other.group != one.group


@virtual_time
async def test_a_handler_may_change_its_event_and_the_next_invocation_does_not_see_it() -> None:
    records = await records_of(change(1, NewImage={"m": {"M": {"l": {"L": [{"S": "a"}]}}}}))
    before = as_written(envelope(records))
    spoiled = envelope(records)["Records"][0]
    spoiled["dynamodb"]["NewImage"]["m"]["M"]["l"]["L"].append("changed")
    spoiled["dynamodb"]["Keys"]["Id"]["N"] = spoiled["eventName"] = "changed"
    assert as_written(envelope(records)) == before


# describe and list


def description(*shards: dict[str, Any], last: str | None = None) -> dict[str, Any]:
    return {"StreamDescription": {"Shards": list(shards), **({"LastEvaluatedShardId": last} if last else {})}}


def listed(shard: str, *, closed: bool = False, parent: str | None = None) -> dict[str, Any]:
    ending = {"EndingSequenceNumber": "9"} if closed else {}
    parents = {"ParentShardId": parent} if parent else {}
    return {"ShardId": shard, "SequenceNumberRange": {"StartingSequenceNumber": "1", **ending}, **parents}


@virtual_time
async def test_ddb_12_a_stream_keeps_its_records_for_a_day() -> None:
    scene = Scene(describe_stream=description())
    stream: StreamSource = scene.stream
    assert await stream.describe() == StreamFacts(retention=86400.0)
    assert scene.client.requests == [("describe_stream", {"StreamArn": ARN, "Limit": 1})]
    assert scene.clients.made == [("dynamodbstreams", "us-east-1", False)]


@virtual_time
async def test_ddb_14_shards_come_from_every_page() -> None:
    first = description(listed("a", closed=True), listed("b", parent="a", closed=True), last="b")
    second = description(listed("c", parent="b"), {"ShardId": "d"}, last="d")
    scene = Scene(describe_stream=[first, second, description()])
    assert await scene.stream.list_shards() == [
        Shard(id="a", closed=True),
        Shard(id="b", parents=("a",), closed=True),
        Shard(id="c", parents=("b",)),
        Shard(id="d"),
    ]
    assert scene.client.asked("describe_stream") == [
        {"StreamArn": ARN},
        {"StreamArn": ARN, "ExclusiveStartShardId": "b"},
        {"StreamArn": ARN, "ExclusiveStartShardId": "d"},
    ]


@pytest.mark.parametrize("answer", [{}, {"message": "<html>"}, {"StreamDescription": {}}, description({})])
@virtual_time
async def test_a_listing_that_is_none_does_not_pass_for_a_stream_without_shards(answer: dict[str, Any]) -> None:
    with pytest.raises(SourceUnavailable) as raised:
        await Scene(describe_stream=answer).stream.list_shards()
    assert raised.value.code == "malformed_answer"


# where a reader begins


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        (TRIM_HORIZON, {"ShardIteratorType": "TRIM_HORIZON"}),
        (LATEST, {"ShardIteratorType": "LATEST"}),
        (Position.at(1764085660.5), {"ShardIteratorType": "TRIM_HORIZON"}),
        (Position.after("95"), {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "95"}),
    ],
)
@virtual_time
async def test_the_iterator_is_taken_when_the_shard_is_opened(at: Position, asked: dict[str, str]) -> None:
    scene = Scene()
    reader: ShardReader = await scene.open(at)
    assert reader is not None
    assert scene.client.requests == [("get_shard_iterator", {"StreamArn": ARN, "ShardId": SHARD, **asked})]


@virtual_time
async def test_ddb_12_a_position_that_was_trimmed_is_told_when_opening_and_when_reading() -> None:
    trimmed = refusal("TrimmedDataAccessException")
    scene = Scene(get_shard_iterator=[trimmed, {"ShardIterator": "iterator"}], get_records=trimmed)
    with pytest.raises(PositionTrimmed, match="GetShardIterator on"):
        await scene.open(Position.after("95"))
    reader = await scene.open(Position.after("95"))
    with pytest.raises(PositionTrimmed, match="GetRecords on"):
        await reader.read(limit=10)


@virtual_time
async def test_a_position_that_the_service_does_not_know_is_told_with_what_to_do() -> None:
    scene = Scene(get_shard_iterator=refusal("ValidationException", "Invalid SequenceNumber"))
    with pytest.raises(SourceRejected, match="delete the mapping's positions") as raised:
        await scene.open(Position.after("95"))
    assert raised.value.code == "foreign_position"
    with pytest.raises(SourceUnavailable, match="ValidationException"):
        await scene.open(LATEST)


# reading


@virtual_time
async def test_ddb_13_pages_follow_each_other_to_the_end() -> None:
    scene = Scene(get_records=[page(1, 2, following="second"), page(3, following=None)])
    reader = await scene.open()
    first, last = await reader.read(limit=10), await reader.read(limit=10_000)
    assert (sequences(first), first.ended, first.more, first.behind) == (["1", "2"], False, True, None)
    assert (sequences(last), last.ended, last.more) == (["3"], True, False)
    assert scene.client.asked("get_records") == [
        {"ShardIterator": "iterator", "Limit": 10},
        {"ShardIterator": "second", "Limit": 1000},
    ]
    assert await reader.read(limit=1) == ShardPage(ended=True)


@virtual_time
async def test_an_empty_page_is_neither_the_end_nor_more() -> None:
    scene = Scene(get_records=page())
    assert await (await scene.open()).read(limit=1) == ShardPage()
    assert scene.observed[-1] == ("GetRecords", "empty")


@virtual_time
async def test_ddb_26_a_page_that_came_again_is_cut_by_number_and_not_by_text() -> None:
    scene = Scene(get_records=[page(8, 9), page(8, 9, 10)])
    reader = await scene.open()
    assert [sequences(await reader.read(limit=10)) for _ in range(2)] == [["8", "9"], ["10"]]


@virtual_time
async def test_at_timestamp_skips_older_records_by_whole_seconds_while_more_waits() -> None:
    changes = [change(number, CREATED + number) for number in range(6)]
    scene = Scene(
        get_records=[{"Records": changes[:2], "NextShardIterator": "n"}, {"Records": changes[2:], "NextShardIterator": "n"}]
    )
    reader = await scene.open(Position.at(CREATED + 3.9))
    first = await reader.read(limit=10)
    assert (sequences(first), first.more) == ([], True)
    assert sequences(await reader.read(limit=10)) == ["3", "4", "5"]


@pytest.mark.parametrize("code", ["ExpiredIteratorException", "ValidationException"])
@virtual_time
async def test_a_stale_iterator_is_taken_anew_after_the_last_record_that_was_brought(code: str) -> None:
    scene = Scene(get_records=[page(1, 2), refusal(code), page(3)])
    reader = await scene.open()
    await reader.read(limit=10)
    assert sequences(await reader.read(limit=10)) == ["3"]
    again = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "2"}
    assert scene.client.asked("get_shard_iterator")[1] == {"StreamArn": ARN, "ShardId": SHARD, **again}


@virtual_time
async def test_a_reader_at_latest_that_loses_its_iterator_brings_what_was_written_since_it_was_opened() -> None:
    older, newer = change(1, int(NOW) - 1), change(2, int(NOW))
    scene = Scene(get_records=[refusal("ExpiredIteratorException"), {"Records": [older, newer], "NextShardIterator": "n"}])
    reader = await scene.open(LATEST)
    assert sequences(await reader.read(limit=10)) == ["2"]
    assert [each["ShardIteratorType"] for each in scene.client.asked("get_shard_iterator")] == ["LATEST", "TRIM_HORIZON"]


@pytest.mark.parametrize(
    "answer",
    [{}, {"message": "<html>"}, {"NextShardIterator": "next"}, {"Records": [{}]}, {"Records": [change(1, created="today")]}],
)
@virtual_time
async def test_what_is_no_answer_is_neither_an_empty_page_nor_the_end_of_the_shard(answer: dict[str, Any]) -> None:
    scene = Scene(get_records=[answer, page(1)])
    reader = await scene.open()
    with pytest.raises(SourceUnavailable) as raised:
        await reader.read(limit=10)
    assert raised.value.code == "malformed_answer"
    assert sequences(await reader.read(limit=10)) == ["1"]


@pytest.mark.parametrize(
    ("code", "kind", "outcome"),
    [
        ("LimitExceededException", SourceUnavailable, "throttled"),
        ("InternalServerError", SourceUnavailable, "error"),
    ],
)
@virtual_time
async def test_ddb_12_trouble_is_told_and_the_same_read_can_be_asked_again(
    code: str, kind: type[SourceError], outcome: str
) -> None:
    scene = Scene(get_records=[refusal(code), page(2)])
    reader = await scene.open()
    with pytest.raises(kind, match=f"GetRecords on {SHARD} of table/my-table/stream/2025-11-25"):
        await reader.read(limit=10)
    assert scene.observed[-1] == ("GetRecords", outcome)
    assert sequences(await reader.read(limit=10)) == ["2"]
    assert len(scene.client.asked("get_shard_iterator")) == 1
