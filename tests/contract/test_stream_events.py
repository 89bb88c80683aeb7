"""The records of streams as the Lambda event shows them, from every server."""

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from pollers.dynamodb_streams import envelope as dynamodb_envelope
from pollers.kinesis import KinesisRecord
from pollers.kinesis import envelope as kinesis_envelope
from pollers.record import Record
from tests.fakes.streams_on_servers import all_records, dynamodb_under_test, kinesis_under_test
from tests.servers.behaviour import Service
from tests.servers.controls import control
from tests.servers.running import Server

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.literals import StreamViewTypeType


async def test_kin_20_the_event_of_a_record(kinesis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kinesis_under_test(kinesis_server, monkeypatch) as stream:
        before = time.time()
        sent = await stream.handle.client.put_record(StreamName=stream.handle.name, Data=b"\x00\xff hello", PartitionKey="ключ")
        (record,) = await all_records(stream, 1)
        event = shown_of(record)
        assert list(event) == [
            "kinesis",
            "eventSource",
            "eventVersion",
            "eventID",
            "eventName",
            "invokeIdentityArn",
            "awsRegion",
            "eventSourceARN",
        ]
        data = event["kinesis"]
        arrived = data["approximateArrivalTimestamp"]
        assert list(data.items()) == [
            ("kinesisSchemaVersion", "1.0"),
            ("partitionKey", "ключ"),
            ("sequenceNumber", sent["SequenceNumber"]),
            ("data", "AP8gaGVsbG8="),
            ("approximateArrivalTimestamp", arrived),
        ]
        assert type(arrived) is float
        assert before - 1.01 < arrived < time.time() + 1
        assert arrived == round(arrived, 3)
        assert (event["eventSource"], event["eventVersion"], event["eventName"]) == ("aws:kinesis", "1.0", "aws:kinesis:record")
        assert event["eventID"] == f"{sent['ShardId']}:{sent['SequenceNumber']}"
        assert event["invokeIdentityArn"].startswith("arn:aws:iam::")
        assert (event["awsRegion"], event["eventSourceARN"]) == (kinesis_server.region, stream.handle.arn)
        assert (record.id, record.group, record.arrived) == (sent["SequenceNumber"], "ключ", arrived)


NEW_IMAGE: dict[str, Any] = {
    "pk": {"S": "key"},
    "s": {"S": "päivää"},
    "n": {"N": "-1.5"},
    "b": {"B": b"\x00\xff"},
    "bool": {"BOOL": False},
    "null": {"NULL": True},
    "l": {"L": [{"S": "x"}, {"B": b"in a list"}, {"L": []}]},
    "m": {"M": {"b": {"B": b"in a map"}, "bs": {"BS": [b"\x01"]}}},
    "ss": {"SS": ["one"]},
    "ns": {"NS": ["1", "2.5"]},
    "bs": {"BS": [b"a", b"b"]},
}
SHOWN: dict[str, Any] = {
    **NEW_IMAGE,
    "b": {"B": "AP8="},
    "l": {"L": [{"S": "x"}, {"B": "aW4gYSBsaXN0"}, {"L": []}]},
    "m": {"M": {"b": {"B": "aW4gYSBtYXA="}, "bs": {"BS": ["AQ=="]}}},
    "bs": {"BS": ["YQ==", "Yg=="]},
}


async def test_ddb_20_to_25_the_events_of_insert_modify_and_remove(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dynamodb_under_test(dynamodb_server, monkeypatch) as stream:
        before = time.time()
        await stream.handle.put_item(**NEW_IMAGE)
        await stream.handle.put_item(pk={"S": "key"}, n={"N": "2"})
        await stream.handle.delete("key")
        records = await all_records(stream, 3)
        for record in records:
            check_frame(record, stream.handle.stream_arn, dynamodb_server, since=before)
        insert, modify, remove = (shown_of(record) for record in records)
        assert [event["eventName"] for event in (insert, modify, remove)] == ["INSERT", "MODIFY", "REMOVE"]
        assert images(insert) == ["Keys", "NewImage"]
        assert images(modify) == ["Keys", "NewImage", "OldImage"]
        assert images(remove) == ["Keys", "OldImage"]
        assert with_ordered_sets(insert["dynamodb"]["NewImage"]) == SHOWN
        assert with_ordered_sets(modify["dynamodb"]["OldImage"]) == SHOWN
        assert modify["dynamodb"]["NewImage"] == {"pk": {"S": "key"}, "n": {"N": "2"}}
        assert {record.group for record in records} == {'{"pk":{"S":"key"}}'}


@pytest.mark.like_aws("hexadecimal_event_ids")
async def test_ddb_24_an_event_id_is_that_of_the_stream(dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dynamodb_under_test(dynamodb_server, monkeypatch) as stream:
        await stream.put("a", "b")
        ids = [shown_of(record)["eventID"] for record in await all_records(stream, 2)]
        assert len(set(ids)) == 2
        assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        ("KEYS_ONLY", [["Keys"], ["Keys"], ["Keys"]]),
        ("NEW_IMAGE", [["Keys", "NewImage"], ["Keys", "NewImage"], ["Keys"]]),
        ("OLD_IMAGE", [["Keys"], ["Keys", "OldImage"], ["Keys", "OldImage"]]),
    ],
)
async def test_ddb_22_the_view_of_a_stream_says_which_images_are_shown(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch, view: "StreamViewTypeType", shown: list[list[str]]
) -> None:
    """Of an insert, a change and a removal."""
    async with dynamodb_under_test(dynamodb_server, monkeypatch, view=view) as stream:
        await stream.put("a", "b")
        await stream.handle.delete("key")
        events = [shown_of(record) for record in await all_records(stream, 3)]
        assert [images(event) for event in events] == shown
        assert {event["dynamodb"]["StreamViewType"] for event in events} == {view}


@pytest.mark.like_aws("silent_when_unchanged")
async def test_ddb_17_a_write_that_changes_nothing_is_no_record(dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dynamodb_under_test(dynamodb_server, monkeypatch) as stream:
        for number in ("1", "1", "2"):
            await stream.handle.put_item(pk={"S": "key"}, n={"N": number})
        assert [shown_of(record)["eventName"] for record in await all_records(stream, 2)] == ["INSERT", "MODIFY"]


@pytest.mark.like_aws("ttl_user_identity")
async def test_ddb_27_what_time_to_live_deletes_says_who_did_it(dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dynamodb_under_test(dynamodb_server, monkeypatch) as stream:
        table = stream.handle
        await table.client.update_time_to_live(
            TableName=table.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
        )
        await table.put_item(pk={"S": "key"}, until={"N": "1"})
        await control(dynamodb_server, "dynamodb/expire", table=table.name)
        _, removed = await all_records(stream, 2)
        assert shown_of(removed)["eventName"] == "REMOVE"
        assert shown_of(removed)["userIdentity"] == {"principalId": "dynamodb.amazonaws.com", "type": "Service"}
        assert list(shown_of(removed))[-3:] == ["dynamodb", "userIdentity", "eventSourceARN"]


async def test_a_handler_that_changes_its_event_changes_no_record(
    stream_server: tuple[Service, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, server = stream_server
    if service is Service.KINESIS:
        async with kinesis_under_test(server, monkeypatch) as kinesis:
            await kinesis.put("a")
            (record,) = await all_records(kinesis, 1)
            kinesis_envelope([record])["Records"][0]["kinesis"].clear()
            assert kinesis.text(record) == "a"
    else:
        async with dynamodb_under_test(server, monkeypatch) as dynamodb:
            await dynamodb.put("a")
            (record,) = await all_records(dynamodb, 1)
            dynamodb_envelope([record])["Records"][0]["dynamodb"]["NewImage"]["text"].clear()
            assert dynamodb.text(record) == "a"


def check_frame(record: Record, stream_arn: str, server: Server, *, since: float) -> None:
    """Everything about an event but its images: DDB-20, DDB-21."""
    event, change = shown_of(record), shown_of(record)["dynamodb"]
    assert list(event) == ["eventID", "eventName", "eventVersion", "eventSource", "awsRegion", "dynamodb", "eventSourceARN"]
    assert (event["eventVersion"], event["eventSource"]) == ("1.1", "aws:dynamodb")
    assert (event["awsRegion"], event["eventSourceARN"]) == (server.region, stream_arn)
    assert [key for key in change if key not in ("NewImage", "OldImage")] == [
        "ApproximateCreationDateTime",
        "Keys",
        "SequenceNumber",
        "SizeBytes",
        "StreamViewType",
    ]
    assert list(change)[:2] == ["ApproximateCreationDateTime", "Keys"]
    assert list(change)[-3:] == ["SequenceNumber", "SizeBytes", "StreamViewType"]
    created = change["ApproximateCreationDateTime"]
    assert (type(created), created) == (float, int(created))
    assert since - 2 < created < time.time() + 1
    assert change["Keys"] == {"pk": {"S": "key"}}
    assert type(change["SizeBytes"]) is int
    assert change["SizeBytes"] >= 0
    assert (change["SequenceNumber"], change["StreamViewType"]) == (record.id, "NEW_AND_OLD_IMAGES")
    assert record.arrived == created


def shown_of(record: Record) -> dict[str, Any]:
    """The record as an event shows it."""
    envelope = kinesis_envelope if isinstance(record, KinesisRecord) else dynamodb_envelope
    event: dict[str, Any] = envelope([record])["Records"][0]
    return event


def images(event: dict[str, Any]) -> list[str]:
    return [key for key in event["dynamodb"] if key in ("Keys", "NewImage", "OldImage")]


def with_ordered_sets(image: dict[str, Any]) -> dict[str, Any]:
    """A set has no order of its own."""
    sets = ("SS", "NS", "BS")
    return {
        name: {kind: sorted(content) if kind in sets else content for kind, content in value.items()}
        for name, value in image.items()
    }
