"""The Kinesis source: what it asks, the event it makes of the answers, and what it makes of bad ones."""

import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from pollers import SPECS, STREAMS
from pollers.aws.clients import AwsClients
from pollers.aws.hot import HotKind, HotOperation
from pollers.errors import PositionTrimmed, SourceError, SourceRejected, SourceUnavailable
from pollers.kinesis import SPEC, KinesisStream, envelope
from pollers.record import LATEST, SHARD_END, TRIM_HORIZON, Position, PositionKind, Record, Shard, ShardPage
from pollers.shard_reading import IteratorReader
from pollers.source import ShardReader, StreamFacts, StreamSource
from tests.fakes.hot_requests import FakeOperation
from tests.fakes.virtual_time import virtual_time

ARN: Final = "arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"
SHARD: Final = "shardId-000000000000"
NOW: Final = 1545084700.25
SAMPLE: Final = json.loads((Path(__file__).parent / "events" / "kinesis.json").read_text())
FIRST, SECOND = (record["kinesis"]["sequenceNumber"] for record in SAMPLE["Records"])
DAY: Final = 24 * 3600 * 1000


class FakeKinesis:
    """The client of aiobotocore, as far as the source uses it: notes each request and answers as it is told."""

    def __init__(self, **answers: Any) -> None:
        """By method name: an answer or exception, a list of them for one request each, or a function of the request."""
        self.answers = {"get_shard_iterator": count_iterators(), **answers}
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def ask(**request: Any) -> Any:
            self.requests.append((method, request))
            await anyio.sleep(0.01)
            answer = self.answers[method]
            if isinstance(answer, list):
                answer = answer.pop(0)
            if callable(answer):
                answer = answer(request)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [request for name, request in self.requests if name == method]


def count_iterators() -> Callable[[dict[str, Any]], dict[str, Any]]:
    given: list[str] = []

    def answer(_: dict[str, Any]) -> dict[str, Any]:
        given.append(f"iterator-{len(given)}")
        return {"ShardIterator": given[-1]}

    return answer


class FakeClients(AwsClients):
    """Gives out the one client, or the error of making it."""

    def __init__(self, client: FakeKinesis | Exception) -> None:
        self.given = client
        self.made: list[tuple[str, str, bool]] = []

    async def client(self, service: str, region: str, *, retries: bool) -> Any:
        self.made.append((service, region, retries))
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    async def operation(self, kind: HotKind, region: str, sample: Mapping[str, Any], *, place: str = "") -> HotOperation:  # noqa: ARG002  # one serves all
        return FakeOperation(self.given, kind)


class Scene:
    def __init__(self, *, arn: str = ARN, **answers: Any) -> None:
        self.client = FakeKinesis(**answers)
        self.clients = FakeClients(self.client)
        self.observed: list[tuple[str, str]] = []
        self.stream = KinesisStream(self.clients, arn, observe=lambda *fact: self.observed.append(fact), clock=lambda: NOW)

    async def open(self, at: Position = TRIM_HORIZON) -> IteratorReader:
        return await self.stream.open_shard(SHARD, at)


def refusal(code: str, message: str = "the text") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetRecords")


def sent(number: int | str, key: str = "k", data: str = "aGVsbG8=", arrived: Any = 1545084650.987) -> dict[str, Any]:
    return {"SequenceNumber": str(number), "PartitionKey": key, "Data": data, "ApproximateArrivalTimestamp": arrived}


def page(*numbers: int, behind: int = 0, following: str | None = "next") -> dict[str, Any]:
    answer: dict[str, Any] = {"Records": [sent(number) for number in numbers], "MillisBehindLatest": behind}
    return answer if following is None else {**answer, "NextShardIterator": following}


def sequences(of: ShardPage) -> list[str]:
    return [record.id for record in of.records]


def shown(record: Record) -> dict[str, Any]:
    """The record as an event shows it."""
    event: dict[str, Any] = envelope([record])["Records"][0]
    return event


def as_written(event: Any) -> str:
    """With the order of the keys."""
    return json.dumps(event, indent=1)


def test_the_table_of_sources_has_its_row() -> None:
    assert SPECS["kinesis"] is STREAMS["kinesis"] is SPEC
    assert (SPEC.default_batch_size, SPEC.page_limit, SPEC.info_key) == (100, 10_000, "KinesisBatchInfo")


def test_it_is_a_stream_source() -> None:
    scene = Scene()
    stream: StreamSource = scene.stream
    assert stream is not None
    assert scene.clients.made == []


# the event


async def two_records(scene: Scene) -> tuple[Record, ...]:
    return (await (await scene.open()).read(limit=100)).records


def sample_page() -> dict[str, Any]:
    return {
        "Records": [
            {**sent(FIRST, "test_0", "eyJyZWNvcmRfaWQiOiAwfQ==", 1545084650.987), "EncryptionType": "KMS"},
            sent(SECOND, "test_1", "aGVsbG8=", 1545084711.166),
        ],
        "NextShardIterator": "next",
        "MillisBehindLatest": 0,
    }


@virtual_time
async def test_kin_20_kin_21_the_event_is_the_recorded_one_to_the_order_of_its_keys() -> None:
    expected = as_written(SAMPLE).replace("role/lambda-role", "role/esm-runtime")
    assert as_written(envelope(await two_records(Scene(get_records=sample_page())))) == expected


@virtual_time
async def test_what_is_known_of_a_record_beside_its_event() -> None:
    first, _ = await two_records(Scene(get_records=sample_page()))
    assert (first.id, first.group, first.arrived, first.handle) == (FIRST, "test_0", 1545084650.987, "")
    assert first.size == len(json.dumps(shown(first), separators=(",", ":")))


@virtual_time
async def test_kin_20_arrival_is_seconds_with_milliseconds_whatever_a_server_sends() -> None:
    answer = {"Records": [sent(1, arrived=1607497475), sent(2, arrived=1607497475.1234567)], "NextShardIterator": "n"}
    one, two = await two_records(Scene(get_records=answer))
    assert json.dumps([shown(each)["kinesis"]["approximateArrivalTimestamp"] for each in (one, two)]) == (
        "[1607497475.0, 1607497475.123]"
    )


@virtual_time
async def test_a_partition_key_of_any_text_is_counted_in_bytes() -> None:
    answer = {"Records": [sent(1, key='é"'), sent(2, key="\ud800")], "NextShardIterator": "n"}
    one, two = await two_records(Scene(get_records=answer))
    assert one.size - len(json.dumps(shown(one), separators=(",", ":"), ensure_ascii=False).encode()) == 0
    assert two.size - len(json.dumps(shown(two), separators=(",", ":"))) == 0


@virtual_time
async def test_a_handler_may_change_its_event_and_the_next_invocation_does_not_see_it() -> None:
    records = await two_records(Scene(get_records=sample_page()))
    before = as_written(envelope(records))
    spoiled = envelope(records)["Records"][0]
    spoiled["kinesis"]["data"] = "changed"
    spoiled["kinesis"]["more"] = spoiled["eventID"] = "changed"
    assert as_written(envelope(records)) == before


@virtual_time
async def test_kin_23_a_consumer_shows_in_the_event_and_its_stream_is_read() -> None:
    consumer = f"{ARN}/consumer/app:1545084650"
    scene = Scene(arn=consumer, get_records=sample_page())
    first, _ = await two_records(scene)
    assert shown(first)["eventSourceARN"] == consumer
    assert {request["StreamARN"] for _, request in scene.client.requests} == {ARN}


@virtual_time
async def test_other_partitions_show_in_the_identity() -> None:
    scene = Scene(arn="arn:aws-cn:kinesis:cn-north-1:1:stream/s", get_records=page(1))
    (record,) = await two_records(scene)
    assert shown(record)["invokeIdentityArn"] == "arn:aws-cn:iam::1:role/esm-runtime"
    assert shown(record)["awsRegion"] == "cn-north-1"
    assert scene.clients.made == [("kinesis", "cn-north-1", False)], "one client, without retries of the SDK"


# describe and list


@virtual_time
async def test_kin_17_retention_is_told_in_seconds() -> None:
    scene = Scene(describe_stream_summary={"StreamDescriptionSummary": {"RetentionPeriodHours": 48}})
    assert await scene.stream.describe() == StreamFacts(retention=172800.0)
    assert scene.observed == [("DescribeStreamSummary", "ok")]


def listed(number: int, *, closed: bool = False, **parents: str) -> dict[str, Any]:
    ending = {"EndingSequenceNumber": "9"} if closed else {}
    return {"ShardId": f"shardId-{number:012}", "SequenceNumberRange": {"StartingSequenceNumber": "1", **ending}, **parents}


@virtual_time
async def test_kin_40_shards_come_with_both_parents_of_a_merge_from_every_page() -> None:
    first = {"Shards": [listed(0, closed=True), listed(1, closed=True, ParentShardId=SHARD)], "NextToken": "token-1"}
    second = {"Shards": [listed(2, ParentShardId="a", AdjacentParentShardId="b")], "NextToken": "token-2"}
    scene = Scene(list_shards=[first, second, {"Shards": []}])
    assert await scene.stream.list_shards() == [
        Shard(id=SHARD, closed=True),
        Shard(id="shardId-000000000001", parents=(SHARD,), closed=True),
        Shard(id="shardId-000000000002", parents=("a", "b")),
    ]
    # AWS refuses NextToken together with what names the stream
    assert scene.client.asked("list_shards") == [{"StreamARN": ARN}, {"NextToken": "token-1"}, {"NextToken": "token-2"}]


@virtual_time
async def test_a_shard_comes_with_the_hash_keys_that_it_has() -> None:
    keys = {"StartingHashKey": "170141183460469231731687303715884105728", "EndingHashKey": str(2**128 - 1)}
    scene = Scene(list_shards=[{"Shards": [{**listed(0), "HashKeyRange": keys}]}])
    (shard,) = await scene.stream.list_shards()
    assert shard.keys == (2**127, 2**128 - 1)


@pytest.mark.parametrize("answer", [{}, {"message": "<html>"}, {"Shards": [{}]}, {"Shards": [7]}])
@virtual_time
async def test_a_listing_that_is_none_does_not_pass_for_a_stream_without_shards(answer: dict[str, Any]) -> None:
    with pytest.raises(SourceUnavailable) as raised:
        await Scene(list_shards=answer).stream.list_shards()
    assert raised.value.code == "malformed_answer"


# ARN or name


def names_only(answer: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda request: answer if "StreamName" in request else refusal("ValidationException", "null at 'streamName'")


@virtual_time
async def test_a_server_that_knows_only_names_is_asked_by_name_from_then_on() -> None:
    summary = {"StreamDescriptionSummary": {"RetentionPeriodHours": 24}}
    scene = Scene(
        describe_stream_summary=names_only(summary), list_shards=names_only({"Shards": []}), get_records=page(following=None)
    )
    await scene.stream.describe()
    await scene.stream.list_shards()
    await (await scene.open()).read(limit=1)
    by_name = {"StreamName": "lambda-stream"}
    assert scene.client.asked("describe_stream_summary") == [{"StreamARN": ARN}, by_name]
    assert scene.client.asked("list_shards") == [by_name]
    assert scene.client.asked("get_shard_iterator")[0]["StreamName"] == "lambda-stream"
    assert "StreamARN" not in scene.client.asked("get_records")[0]


@virtual_time
async def test_kin_09_what_is_refused_after_the_arn_was_understood_is_not_asked_by_name() -> None:
    scene = Scene(list_shards=[{"Shards": []}, refusal("ValidationException")])
    await scene.stream.list_shards()
    with pytest.raises(SourceUnavailable):
        await scene.stream.list_shards()
    assert scene.client.asked("list_shards") == [{"StreamARN": ARN}] * 2


@pytest.mark.parametrize(
    ("by_arn", "by_name", "told"),
    [
        ("ValidationException", "ValidationException", "ARN: ValidationException"),
        ("InvalidArgumentException", "ResourceNotFoundException", "name: ResourceNotFoundException"),
        ("ResourceNotFoundException", "ValidationException", "ARN: ResourceNotFoundException"),
    ],
)
@virtual_time
async def test_the_error_that_says_more_is_shown(by_arn: str, by_name: str, told: str) -> None:
    def answer(request: dict[str, Any]) -> ClientError:
        return refusal(by_arn, f"ARN: {by_arn}") if "StreamARN" in request else refusal(by_name, f"name: {by_name}")

    with pytest.raises(SourceError, match=told):
        await Scene(list_shards=answer).stream.list_shards()


# where a reader begins


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        (TRIM_HORIZON, {"ShardIteratorType": "TRIM_HORIZON"}),
        (LATEST, {"ShardIteratorType": "LATEST"}),
        (Position.at(1545084650.987), {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1545084650.987}),
        (Position.after("95"), {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "95"}),
    ],
)
@virtual_time
async def test_kin_15_the_iterator_is_taken_when_the_shard_is_opened(at: Position, asked: dict[str, str]) -> None:
    scene = Scene()
    reader: ShardReader = await scene.open(at)
    assert reader is not None
    assert scene.client.requests == [("get_shard_iterator", {"StreamARN": ARN, "ShardId": SHARD, **asked})]


@virtual_time
async def test_a_shard_at_its_end_is_not_opened() -> None:
    with pytest.raises(ValueError, match="not opened again"):
        await Scene().open(SHARD_END)


@pytest.mark.parametrize(
    "text",
    [
        "StartingSequenceNumber 95 used in GetShardIterator on shard shardId-000000000000 in stream trimmed-stream under account 123456789012 is invalid because it did not come from this stream.",
        "Invalid StartingSequenceNumber. It encodes shardId-000000000007, while it was used in a call to shardId-000000000000",
    ],
)
@virtual_time
async def test_a_position_of_another_stream_is_told_with_what_to_do(text: str) -> None:
    scene = Scene(get_shard_iterator=refusal("InvalidArgumentException", text))
    with pytest.raises(SourceRejected, match="delete the mapping's positions, or give the mapping another name") as raised:
        await scene.open(Position.after("95"))
    assert raised.value.code == "foreign_position"
    assert text in str(raised.value)


@virtual_time
async def test_a_record_that_somebody_named_and_the_shard_has_not_is_told_as_that() -> None:
    """No mapping keeps such a position, so there is none to delete."""
    scene = Scene(get_shard_iterator=refusal("InvalidArgumentException", "Invalid StartingSequenceNumber."))
    with pytest.raises(SourceRejected, match="95 is no sequence number of this shard of lambda-stream") as raised:
        await scene.open(Position.at_record("95"))
    assert "mapping" not in str(raised.value)


@virtual_time
async def test_a_refused_timestamp_is_no_foreign_position() -> None:
    scene = Scene(get_shard_iterator=refusal("InvalidArgumentException", "Timestamp cannot be in the future"))
    with pytest.raises(SourceUnavailable, match="in the future"):
        await scene.open(Position.at(NOW + 60))


@virtual_time
async def test_a_shard_that_is_gone_is_rejected() -> None:
    scene = Scene(get_shard_iterator=refusal("ResourceNotFoundException", "Shard x does not exist"))
    with pytest.raises(SourceRejected, match=f"GetShardIterator on {SHARD} of lambda-stream: ResourceNotFoundException"):
        await scene.open()


# reading


@virtual_time
async def test_pages_follow_each_other_to_the_end() -> None:
    scene = Scene(get_records=[page(1, 2, behind=1500, following="second"), page(3, following=None)])
    reader = await scene.open()
    first, last = await reader.read(limit=2), await reader.read(limit=20_000)
    assert (sequences(first), first.ended, first.more, first.behind) == (["1", "2"], False, True, 1.5)
    assert (sequences(last), last.ended, last.more, last.behind) == (["3"], True, False, 0.0)
    assert scene.client.asked("get_records") == [
        {"ShardIterator": "iterator-0", "Limit": 2, "StreamARN": ARN},
        {"ShardIterator": "second", "Limit": 10_000, "StreamARN": ARN},
    ]
    assert await reader.read(limit=1) == ShardPage(ended=True), "nobody is asked after the end"
    assert len(scene.client.asked("get_records")) == 2


@pytest.mark.parametrize("nothing", [{"NextShardIterator": None}, {"NextShardIterator": ""}, {}])
@virtual_time
async def test_kin_16_the_end_is_an_iterator_that_is_null_or_missing(nothing: dict[str, Any]) -> None:
    scene = Scene(get_records={"Records": [], "MillisBehindLatest": 0, "ChildShards": [], **nothing})
    assert (await (await scene.open()).read(limit=1)).ended


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (page(1, 2), False),
        (page(1, 2, behind=1), True),
        (page(1, 2, 3), True),
        (page(behind=1), True),
        (page(), False),
        (page(1, 2, 3, following=None), False),
    ],
    ids=["caught up", "behind", "full", "empty and behind", "empty", "ended"],
)
@virtual_time
async def test_kin_10_more_waits_when_the_page_is_behind_or_was_full(answer: dict[str, Any], more: bool) -> None:
    assert (await (await Scene(get_records=answer).open()).read(limit=3)).more is more


@virtual_time
async def test_kin_16_an_empty_page_is_not_the_end() -> None:
    scene = Scene(get_records=page())
    assert await (await scene.open()).read(limit=1) == ShardPage(behind=0.0)
    assert scene.observed == [("GetShardIterator", "ok"), ("GetRecords", "empty")]


@virtual_time
async def test_kin_22_a_page_that_came_again_is_cut_by_number_and_not_by_text() -> None:
    scene = Scene(get_records=[page(8, 9), page(8, 9, 10), page(9, 10), page(11)])
    reader = await scene.open()
    pages = [await reader.read(limit=10) for _ in range(4)]
    assert [sequences(each) for each in pages] == [["8", "9"], ["10"], [], ["11"]]


@virtual_time
async def test_what_lies_before_the_checkpoint_is_cut_as_well() -> None:
    scene = Scene(get_records=page(8, 9, 10))
    assert sequences(await (await scene.open(Position.after("9"))).read(limit=10)) == ["10"]


@virtual_time
async def test_com_64_what_arrived_before_the_timestamp_is_left_out_until_the_first_that_did_not() -> None:
    """The SDK sends whole seconds; the service orders by sequence number, not by time."""
    arrivals = [1545084650.1, 1545084650.986, 1545084650.987, 1545084650.5]
    answer = {**page(), "Records": [sent(number, arrived=each) for number, each in enumerate(arrivals)]}
    scene = Scene(get_records=[answer, {**page(), "Records": [sent(9, arrived=1545084649.0)]}])
    reader = await scene.open(Position.at(1545084650.98799))
    assert sequences(await reader.read(limit=10)) == ["2", "3"], "the service tells times in milliseconds"
    assert sequences(await reader.read(limit=10)) == ["9"]


# iterators that are of no more use


@pytest.mark.parametrize("code", ["ExpiredIteratorException", "InvalidArgumentException"])
@virtual_time
async def test_kin_14_a_stale_iterator_is_taken_anew_after_the_last_record_that_was_brought(code: str) -> None:
    scene = Scene(get_records=[page(1, 2), refusal(code), page(3)])
    reader = await scene.open()
    await reader.read(limit=10)
    assert sequences(await reader.read(limit=10)) == ["3"], "in the same call"
    again = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "2"}
    assert scene.client.asked("get_shard_iterator")[1] == {"StreamARN": ARN, "ShardId": SHARD, **again}
    assert [request["ShardIterator"] for request in scene.client.asked("get_records")] == ["iterator-0", "next", "iterator-1"]


@pytest.mark.parametrize(
    ("at", "again"),
    [
        (TRIM_HORIZON, {"ShardIteratorType": "TRIM_HORIZON"}),
        (Position.at(1545084650.987), {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1545084650.987}),
        (Position.after("95"), {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "95"}),
        (LATEST, {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": NOW}),
    ],
)
@virtual_time
async def test_kin_14_before_the_first_record_it_is_taken_anew_where_the_reader_began(
    at: Position, again: dict[str, Any]
) -> None:
    scene = Scene(get_records=[page(), refusal("ExpiredIteratorException"), page()])
    reader = await scene.open(at)
    await reader.read(limit=10)
    await reader.read(limit=10)
    assert scene.client.asked("get_shard_iterator")[1] == {"StreamARN": ARN, "ShardId": SHARD, **again}


@virtual_time
async def test_an_iterator_that_is_stale_at_once_is_told_and_not_taken_for_ever() -> None:
    scene = Scene(get_records=refusal("ExpiredIteratorException"))
    reader = await scene.open()
    with pytest.raises(SourceUnavailable) as raised:
        await reader.read(limit=10)
    assert raised.value.code == "ExpiredIteratorException"
    assert len(scene.client.requests) == 4
    scene.client.answers["get_records"] = page(1)
    assert sequences(await reader.read(limit=10)) == ["1"], "the reader is still of use"
    iterators = [request["ShardIterator"] for request in scene.client.asked("get_records")]
    assert iterators == ["iterator-0", "iterator-1", "iterator-1"], "and goes on with the new one"


# positions whose records are gone


def summary(hours: int) -> dict[str, Any]:
    return {"StreamDescriptionSummary": {"RetentionPeriodHours": hours}}


@virtual_time
async def test_kin_43_a_trimmed_position_shows_as_an_empty_page_a_whole_retention_behind() -> None:
    scene = Scene(get_records=page(behind=DAY), describe_stream_summary=summary(24))
    reader = await scene.open(Position.after("95"))
    with pytest.raises(PositionTrimmed, match="the records after 95 are gone: the stream keeps 86400 seconds"):
        await reader.read(limit=10)


@virtual_time
async def test_kin_43_so_does_one_that_a_reader_has_been_waiting_at() -> None:
    scene = Scene(get_records=[page(1), page(behind=2 * DAY)], describe_stream_summary=summary(48))
    reader = await scene.open()
    await reader.read(limit=10)
    with pytest.raises(PositionTrimmed):
        await reader.read(limit=10)


@pytest.mark.parametrize(
    ("at", "answer", "hours"),
    [
        (TRIM_HORIZON, page(behind=DAY), 24),
        (Position.at(1.0), page(behind=DAY), 24),
        (Position.after("95"), page(96, behind=DAY), 24),
        (Position.after("95"), page(behind=DAY - 1), 24),
        (Position.after("95"), page(behind=DAY), 48),
    ],
    ids=["at the horizon", "at a time", "records came", "not so far behind", "kept for longer"],
)
@virtual_time
async def test_kin_43_nothing_else_is_a_trimmed_position(at: Position, answer: dict[str, Any], hours: int) -> None:
    scene = Scene(get_records=answer, describe_stream_summary=summary(hours))
    assert not (await (await scene.open(at)).read(limit=10)).ended


# answers that are none, and trouble


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"message": "<html>bad gateway</html>"},
        {"NextShardIterator": "next"},
        {**page(), "Records": [{"SequenceNumber": "1"}]},
        {**page(), "Records": [sent(1, arrived="2018-12-17")]},
    ],
)
@virtual_time
async def test_what_is_no_answer_is_neither_an_empty_page_nor_the_end_of_the_shard(answer: dict[str, Any]) -> None:
    scene = Scene(get_records=[answer, page(1)])
    reader = await scene.open()
    with pytest.raises(SourceUnavailable) as raised:
        await reader.read(limit=10)
    assert raised.value.code == "malformed_answer"
    assert sequences(await reader.read(limit=10)) == ["1"]
    assert scene.client.asked("get_records")[0] == scene.client.asked("get_records")[1]


@pytest.mark.parametrize(
    ("trouble", "kind", "outcome"),
    [
        (refusal("ProvisionedThroughputExceededException"), SourceUnavailable, "throttled"),
        (refusal("KMSThrottlingException"), SourceUnavailable, "throttled"),
        (refusal("InternalFailureException"), SourceUnavailable, "error"),
        (refusal("KMSDisabledException"), SourceRejected, "error"),
        (refusal("AccessDeniedException"), SourceRejected, "error"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), SourceUnavailable, "error"),
    ],
    ids=["throughput", "kms throttling", "fault", "kms", "denied", "no answer"],
)
@virtual_time
async def test_kin_18_trouble_is_told_and_the_same_read_can_be_asked_again(
    trouble: Exception, kind: type[SourceError], outcome: str
) -> None:
    scene = Scene(get_records=[page(1), trouble, page(2)])
    reader = await scene.open()
    await reader.read(limit=10)
    with pytest.raises(kind, match=f"GetRecords on {SHARD} of lambda-stream"):
        await reader.read(limit=10)
    assert scene.observed[-1] == ("GetRecords", outcome)
    assert sequences(await reader.read(limit=10)) == ["2"]
    assert len(scene.client.asked("get_shard_iterator")) == 1


@virtual_time
async def test_a_cancelled_read_loses_nothing() -> None:
    scene = Scene(get_records=lambda _: page(1, following="second"))
    reader = await scene.open()
    with anyio.move_on_after(0.005):
        await reader.read(limit=10)
    assert sequences(await reader.read(limit=10)) == ["1"]
    assert [request["ShardIterator"] for request in scene.client.asked("get_records")] == ["iterator-0"] * 2


@virtual_time
async def test_a_client_that_cannot_be_made_is_asked_for_again() -> None:
    scene = Scene(list_shards={"Shards": []})
    scene.clients.given = SourceRejected("no profile", code="ProfileNotFound")
    with pytest.raises(SourceRejected, match="no profile"):
        await scene.stream.list_shards()
    scene.clients.given = scene.client
    assert await scene.stream.list_shards() == []
    await scene.stream.list_shards()
    assert len(scene.clients.made) == 2


def test_kin_01_its_parameters() -> None:
    assert {"StartingPositionTimestamp", "ParallelizationFactor", "TumblingWindowInSeconds"} <= SPEC.parameters
    assert "ScalingConfig" not in SPEC.parameters
    assert SPEC.starting_positions == {PositionKind.TRIM_HORIZON, PositionKind.LATEST, PositionKind.AT_TIMESTAMP}
