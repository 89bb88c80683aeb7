"""Records read back from events: what a source gave is what a recording gives."""

import base64
import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollers.aws.clients import AwsClients
from pollers.dynamodb_streams import _PAGE as DYNAMODB_PAGE
from pollers.dynamodb_streams import DynamodbStream
from pollers.dynamodb_streams import envelope as dynamodb_event
from pollers.event_records import decode, encode, envelope, read_event_record, shown_of
from pollers.kinesis import _PAGE as KINESIS_PAGE
from pollers.kinesis import KinesisStream
from pollers.kinesis import envelope as kinesis_event
from pollers.record import Record
from pollers.recording import Recorded, RecordingReader
from pollers.recording_writer import RecordingFile, RecordingWriter
from pollers.sqs import SqsQueue
from pollers.sqs_record import envelope as sqs_event
from pollers.sqs_record import read_messages
from runtime.recorder import Recorder

EVENTS: Final = Path(__file__).parent / "events"
KINESIS_ARN: Final = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
TABLE_ARN: Final = "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2026-01-31T12:00:00.000"
SHARD: Final = "shardId-000000000003"

numbers = st.integers(0, 10**56).map(str)
times = st.integers(1_000_000_000_000, 2_000_000_000_000).map(lambda milliseconds: milliseconds / 1000)
texts = st.text(st.characters(exclude_categories=()) | st.sampled_from("\ud800\udfff"), max_size=20)  # half surrogate pairs, too
words = st.text(max_size=20)


def not_observed(_operation: str, _outcome: str) -> None:
    pass


def kinesis_stream() -> KinesisStream:
    return KinesisStream(AwsClients(), KINESIS_ARN, observe=not_observed, clock=lambda: 0.0)


def sqs_queue(*, fifo: bool) -> SqsQueue:
    return SqsQueue(AwsClients(), f"arn:aws:sqs:eu-west-1:123456789012:q{'.fifo' * fifo}", windowed=True, observe=not_observed)


@st.composite
def kinesis_records(draw: st.DrawFn) -> Record:
    sent = {
        "SequenceNumber": draw(numbers),
        "ApproximateArrivalTimestamp": draw(times),
        "PartitionKey": draw(words),
        "Data": base64.b64encode(draw(st.binary(max_size=50))).decode(),
        **draw(st.sampled_from([{}, {"EncryptionType": "KMS"}, {"EncryptionType": "NONE"}])),
    }
    page = KINESIS_PAGE.decode(json.dumps({"Records": [sent]}))
    return kinesis_stream().complete(SHARD, page.Records)[0][0]


values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        words.map(lambda text: {"S": text}),
        st.floats(allow_nan=False, allow_infinity=False).map(lambda number: {"N": str(number)}),
        st.binary(max_size=10).map(lambda data: {"B": base64.b64encode(data).decode()}),
        st.lists(st.binary(max_size=5), min_size=1, max_size=3).map(
            lambda data: {"BS": [base64.b64encode(each).decode() for each in data]}
        ),
        st.lists(words, min_size=1, max_size=3).map(lambda found: {"SS": found}),
        st.booleans().map(lambda value: {"BOOL": value}),
        st.just({"NULL": True}),
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: {"L": found})
        | st.dictionaries(words, inner, max_size=3).map(lambda found: {"M": found})
    ),
    max_leaves=6,
)


@st.composite
def dynamodb_records(draw: st.DrawFn) -> Record:
    images = {
        name: draw(st.dictionaries(words, values, max_size=3))
        for name in draw(st.sets(st.sampled_from(["NewImage", "OldImage"])))
    }
    sent = {
        "eventID": draw(st.uuids()).hex,
        "eventName": draw(st.sampled_from(["INSERT", "MODIFY", "REMOVE"])),
        "dynamodb": {
            "ApproximateCreationDateTime": draw(times),
            "Keys": draw(st.dictionaries(words, values, min_size=1, max_size=2)),
            "SequenceNumber": draw(numbers),
            "SizeBytes": draw(st.integers(0, 800_000)),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **images,
        },
        **draw(st.sampled_from([{}, {"userIdentity": {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}}])),
    }
    page = DYNAMODB_PAGE.decode(json.dumps({"Records": [sent]}, separators=(",", ":"), ensure_ascii=False))
    stream = DynamodbStream(AwsClients(), TABLE_ARN, observe=not_observed, clock=lambda: 0.0)
    return stream._records(page.Records)[0]


@st.composite
def sqs_records(draw: st.DrawFn) -> Record:
    fifo = draw(st.booleans())
    attributes = {"SentTimestamp": str(draw(st.integers(0, 2_000_000_000_000))), "ApproximateReceiveCount": "1"}
    if fifo:
        attributes |= {"MessageGroupId": draw(words.filter(bool)), "SequenceNumber": draw(numbers)}
    custom = draw(
        st.dictionaries(
            words,
            words.map(lambda text: {"DataType": "String", "StringValue": text})
            | st.binary(max_size=9).map(lambda data: {"DataType": "Binary", "BinaryValue": base64.b64encode(data).decode()}),
            max_size=2,
        )
    )
    sent = {
        "MessageId": draw(st.uuids()).hex,
        "ReceiptHandle": "handle",
        "Body": draw(words),
        "MD5OfBody": "md5",
        "Attributes": draw(st.sampled_from([attributes, {**attributes, "DeadLetterQueueSourceArn": "arn:x"}])),
        **({"MessageAttributes": custom, "MD5OfMessageAttributes": "md5"} if custom else {}),
    }
    (record,) = sqs_queue(fifo=fifo).complete(read_messages(json.dumps({"Messages": [sent]}).encode()) or [])
    return record


CASES: Final = {
    "kinesis": (kinesis_records(), kinesis_event, KINESIS_ARN, SHARD),
    "dynamodb": (dynamodb_records(), dynamodb_event, TABLE_ARN, SHARD),
    "sqs": (sqs_records(), sqs_event, "", ""),
}


@pytest.mark.parametrize("source", CASES)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_a_source_gave_is_what_a_recording_gives(
    source: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The same event, and the same of all that the rules look at: id, time of arrival, group, and a size that is never too small."""
    strategy, event_of, source_arn, shard = CASES[source]
    record = data.draw(strategy)
    path = tmp_path_factory.mktemp("round") / "a.jsonl"
    file = RecordingFile.create(path, overwrite=False)
    writer = RecordingWriter(file)
    writer.begin(source=source, source_arn=source_arn, at=1.0, by="a test")
    Recorder(writer=writer, clock=lambda: 5.0).write([record], event_of([record])["Records"], shard=shard)
    writer.end(at=2.0)
    file.close()

    (item,) = RecordingReader(path)
    assert isinstance(item, Recorded), item
    back = item.of.record
    assert envelope([back]) == event_of([record])
    assert (back.id, back.arrived, back.group, back.handle) == (record.id, record.arrived, record.group, record.handle)
    assert len(encode(event_of([record])["Records"][0])) == back.size <= record.size <= back.size + 64
    assert (item.of.source, item.of.shard) == (source, shard)
    line = json.loads(path.read_bytes().splitlines()[1])
    assert line.get("encryption") == getattr(record, "encryption", None)


@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_half_a_surrogate_pair_is_kept(text: str) -> None:
    """It has no UTF-8, but JSON has an escape for it, and SQS bodies and partition keys may come with one."""
    shown = json.loads((EVENTS / "kinesis.json").read_text())["Records"][0]
    shown["kinesis"]["partitionKey"] = text
    record = read_event_record(shown).record
    assert (record.group, shown_of(record)) == (text, shown)
    assert decode(encode(text)) == text
    assert decode(encode({"a": "\ud800"})) == {"a": "\ud800"}


@pytest.mark.parametrize("name", ["kinesis", "dynamodb-insert-modify-remove", "dynamodb-new-image-binary", "dynamodb-ttl-remove"])
def test_the_events_of_lambda_itself_are_read(name: str) -> None:
    event = json.loads((EVENTS / f"{name}.json").read_text())
    read = [read_event_record(shown) for shown in event["Records"]]
    assert envelope([each.record for each in read]) == event
    assert {each.source for each in read} == {name.partition("-")[0]}


def test_a_kinesis_event_says_the_shard_and_others_do_not() -> None:
    kinesis = json.loads((EVENTS / "kinesis.json").read_text())["Records"][0]
    assert read_event_record(kinesis).shard == kinesis["eventID"].partition(":")[0]
    assert read_event_record(kinesis, shard="known").shard == "known"
    dynamodb = json.loads((EVENTS / "dynamodb-ttl-remove.json").read_text())["Records"][0]
    assert read_event_record(dynamodb).shard == ""


def test_each_call_of_the_envelope_makes_values_of_its_own() -> None:
    """A handler may change what it is given, and its batch may be invoked again."""
    record = read_event_record(json.loads((EVENTS / "kinesis.json").read_text())["Records"][0]).record
    envelope([record])["Records"][0]["kinesis"]["data"] = "changed"
    assert envelope([record])["Records"][0]["kinesis"]["data"] != "changed"


def test_what_is_known_better_than_the_event_says_it_counts() -> None:
    shown = json.loads((EVENTS / "dynamodb-ttl-remove.json").read_text())["Records"][0]
    assert read_event_record(shown, arrived=5.25).record.arrived == 5.25


MESSAGE: Final[dict[str, Any]] = {
    "messageId": "1",
    "body": "a",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:q",
}


def test_a_message_by_hand_needs_neither_handle_nor_attributes() -> None:
    record = read_event_record(MESSAGE).record
    assert (record.id, record.handle, record.arrived, record.group) == ("1", "", 0.0, None)


def test_only_messages_of_a_fifo_queue_have_a_group() -> None:
    grouped = {**MESSAGE, "attributes": {"MessageGroupId": "g"}}
    assert read_event_record(grouped).record.group is None
    fifo = {**grouped, "eventSourceARN": f"{MESSAGE['eventSourceARN']}.fifo"}
    assert read_event_record(fifo).record.group == "g"


KINESIS: Final[dict[str, Any]] = {
    "kinesis": {"sequenceNumber": "1", "data": "", "partitionKey": "k", "approximateArrivalTimestamp": 1.5},
    "eventSource": "aws:kinesis",
    "eventSourceARN": KINESIS_ARN,
}
TOLD: Final[dict[str, tuple[Any, str]]] = {
    "no_object": ([], "a record is a list, not an object"),
    "null": (None, "a record is null, not an object"),
    "no_source": ({}, "a record has no eventSource"),
    "source_a_list": ({"eventSource": []}, "a record has no eventSource"),
    "another_source": ({"eventSource": "aws:mq"}, "a record is of eventSource 'aws:mq': only those of aws:sqs, aws:kinesis, aws:dynamodb"),
    "no_arn": ({**MESSAGE, "eventSourceARN": None}, "eventSourceARN of a record is null, not text"),
    "no_body": ({k: v for k, v in MESSAGE.items() if k != "body"}, "a record of aws:sqs cannot be read: body is missing"),
    "attributes": ({**MESSAGE, "attributes": []}, "attributes of a record is a list, not an object"),
    "group": ({**MESSAGE, "eventSourceARN": "q.fifo", "attributes": {"MessageGroupId": 1}}, "MessageGroupId of a record is a number, not text"),
    "sent": ({**MESSAGE, "attributes": {"SentTimestamp": "x"}}, "SentTimestamp of a record is 'x', which is no number of milliseconds"),
    "sent_long": ({**MESSAGE, "attributes": {"SentTimestamp": "9" * 9999}}, "SentTimestamp of a record is '999"),
    "no_kinesis": ({**KINESIS, "kinesis": "x"}, "kinesis of a record is text, not an object"),
    "number": ({**KINESIS, "kinesis": {**KINESIS["kinesis"], "sequenceNumber": "x"}}, "sequenceNumber of a record is 'x', which is no"),
    "long_number": ({**KINESIS, "kinesis": {**KINESIS["kinesis"], "sequenceNumber": "1" * 5000}}, "which is no sequence number"),
    "arrived": ({**KINESIS, "kinesis": {**KINESIS["kinesis"], "approximateArrivalTimestamp": 10**400}}, "no number of seconds since 1970"),
    "arrived_true": ({**KINESIS, "kinesis": {**KINESIS["kinesis"], "approximateArrivalTimestamp": True}}, "is True, which is no number"),
    "data": ({**KINESIS, "kinesis": {**KINESIS["kinesis"], "data": "a"}}, "data of a record is no base64 text"),
    "keys": ({"eventSource": "aws:dynamodb", "eventSourceARN": TABLE_ARN, "dynamodb": {"SequenceNumber": "1", "Keys": "a"}}, "Keys of a record is text"),
    "no_keys": ({"eventSource": "aws:dynamodb", "eventSourceARN": TABLE_ARN, "dynamodb": {"SequenceNumber": "1"}}, "Keys is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_what_is_wrong_with_a_record_is_told(case: str) -> None:
    shown, told = TOLD[case]
    with pytest.raises(ValueError, match=r".") as raised:
        read_event_record(shown)
    assert told in str(raised.value)


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"1e999", b"-Infinity", b"{} x", b"\xff", b"[" * 100_000], ids=repr)
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(text)


def test_a_byte_order_mark_is_taken() -> None:
    assert decode(b"\xef\xbb\xbf{}") == {}
