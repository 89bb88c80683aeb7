"""What filters see of the records of each source (FLT-10..FLT-14, FLT-25): enough, cheap, and never an error."""

import base64
import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollers import SPECS, event_record, event_view
from pollers.dynamodb_streams import _PAGE, _Page
from pollers.dynamodb_streams import _Origin as TableOrigin
from pollers.filter_view import json_object
from pollers.kinesis import KinesisRecord, _Origin
from pollers.record import Record, RecordId
from pollers.sqs_record import Attributes, SqsRecord
from pollers.sqs_record import Origin as QueueOrigin

NOT_OBJECTS = [
    "", "plain", "123", "[1]", '"text"', "null", "true", '{"a":', '{"a":1}}', '{"a":NaN}', '{"a":1e999}', '{"a":"\\ud800"}',
    "\ud800", '{"a":"\ud800"}', "[" * 100_000, '{"a":' * 100_000, '{"a":' + "9" * 5000 + "}", "\ufeff{}", "{'a':1}",
]  # fmt: skip


def sqs(body: str) -> SqsRecord:
    origin = QueueOrigin(arn="arn:x", region="eu-west-1", windowed=False)
    return SqsRecord(id=RecordId("m"), handle="h", body=body, attributes=Attributes(SenderId="x"), content=origin)


def kinesis(data: bytes | str) -> KinesisRecord:
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    origin = _Origin(shard="shardId-0", role="r", region="eu-west-1", arn="a")
    return KinesisRecord(id=RecordId("7"), arrived=1.5, group="key", data=text, content=origin)


def view(source: str, record: Any, *fields: str) -> dict[str, Any]:
    return SPECS[source].filter_view.reader(frozenset(fields))(record)


class TestJsonObject:
    @pytest.mark.parametrize("text", NOT_OBJECTS, ids=range(len(NOT_OBJECTS)))
    def test_flt_25_what_is_no_json_object_is_none_and_no_error(self, text: str) -> None:
        assert json_object(text) is None
        assert json_object(text.encode("utf-8", "surrogatepass")) is None

    def test_bytes_that_are_no_utf_8_are_none(self) -> None:
        assert json_object(b'{"a":"\xff"}') is None

    def test_numbers_keep_their_digits_and_the_last_of_two_equal_keys_counts(self) -> None:
        assert json_object('{"a":1,"a":12345678901234567890123}') == {"a": 12345678901234567890123}

    @given(st.text() | st.binary())
    def test_anything_is_an_object_or_none(self, text: str | bytes) -> None:
        assert json_object(text) is None or isinstance(json_object(text), dict)


class TestSqs:
    def test_a_body_is_parsed_and_the_record_is_not_changed(self) -> None:
        record = sqs('{"a": {"b": [1.5, null]}}')
        before = deepcopy(record)
        for fields in (["body", "body.a"], ["body", "messageId"]):
            assert view("sqs", record, *fields)["body"] == {"a": {"b": [1.5, None]}}
        assert record == before

    def test_an_empty_object_is_an_object(self) -> None:
        assert view("sqs", sqs("{}"), "body", "body.a") == {"body": {}}
        assert view("sqs", sqs("{}"), "body", "messageId")["body"] == {}

    def test_flt_25_other_bodies_stay_texts(self) -> None:
        for body in NOT_OBJECTS:
            assert view("sqs", sqs(body), "body") == {"body": body}
            assert view("sqs", sqs(body), "body", "messageId") == event_record("sqs", sqs(body))

    def test_a_body_that_nobody_asks_for_is_not_parsed(self) -> None:
        record = sqs('{"a": 1}')
        assert view("sqs", record, "messageId") == event_record("sqs", record)
        assert view("sqs", record, "messageId")["body"] == '{"a": 1}'


class TestKinesis:
    def test_flt_10_data_stands_at_the_top_and_flt_13_the_rest_at_its_place(self) -> None:
        assert view("kinesis", kinesis(b'{"a": 1}'), "data", "data.a") == {"data": {"a": 1}}
        whole = view("kinesis", kinesis(b'{"a": 1}'), "data", "kinesis", "kinesis.partitionKey")
        assert whole["data"] == {"a": 1}
        assert whole["kinesis"]["partitionKey"] == "key"
        assert whole["kinesis"]["data"] == base64.b64encode(b'{"a": 1}').decode()
        assert "data" not in view("kinesis", kinesis(b'{"a": 1}'), "eventName")

    @pytest.mark.parametrize("data", [b"plain", b"[1]", b"\xff\xfe", b'{"a":"\xff"}', "no base64!", "é", ""])
    def test_flt_21_data_that_is_no_json_object_is_not_there(self, data: bytes | str) -> None:
        assert view("kinesis", kinesis(data), "data") == {}
        assert "data" not in view("kinesis", kinesis(data), "data", "eventName")


PAGE = {
    "Records": [
        {
            "eventID": "1",
            "eventName": "MODIFY",
            "dynamodb": {
                "ApproximateCreationDateTime": 1764085660.9,
                "Keys": {"id": {"S": "k"}},
                "NewImage": {"id": {"S": "k"}, "n": {"N": "101"}},
                "OldImage": {"id": {"S": "k"}},
                "SequenceNumber": "111",
                "SizeBytes": 26,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        }
    ]
}


class TestDynamodb:
    def record(self) -> Record:
        page: _Page = _PAGE.decode(json.dumps(PAGE).encode())
        assert page.Records is not None
        sent = page.Records[0]
        sent.origin = TableOrigin(region="eu-west-1", arn="a")
        return Record(id=RecordId("111"), content=sent, size=1, arrived=0.0)

    def test_the_whole_view_is_the_record_of_the_event(self) -> None:
        record = self.record()
        fields = ("dynamodb", "dynamodb.Keys", "dynamodb.NewImage", "dynamodb.OldImage", "eventName")
        assert view("dynamodb", record, *fields) == SPECS["dynamodb"].envelope([record])["Records"][0]

    def test_only_the_images_that_are_asked_for_are_decoded(self) -> None:
        change = view("dynamodb", self.record(), "dynamodb", "dynamodb.NewImage")["dynamodb"]
        assert change["NewImage"] == {"id": {"S": "k"}, "n": {"N": "101"}}
        assert "OldImage" not in change
        assert "Keys" not in change

    def test_flt_14_the_creation_time_is_a_number(self) -> None:
        change = view("dynamodb", self.record(), "dynamodb", "dynamodb.ApproximateCreationDateTime")["dynamodb"]
        assert change["ApproximateCreationDateTime"] == 1764085660.0


class TestEventViews:
    """Of records that stand in a Lambda event, as recordings hold them."""

    def test_they_are_the_views_of_the_records(self) -> None:
        body, data = sqs('{"a": 1}'), kinesis(b'{"a": 1}')
        assert event_view("sqs", event_record("sqs", body)) == view("sqs", body, "body", "messageId")
        shown = SPECS["kinesis"].envelope([data])["Records"][0]
        assert event_view("kinesis", shown) == view("kinesis", data, "data", "eventName")
        change = {"eventName": "INSERT", "dynamodb": {"Keys": {}}}
        assert event_view("dynamodb", change) is change

    @pytest.mark.parametrize("source", sorted(SPECS))
    @pytest.mark.parametrize(
        "event",
        [{}, {"body": 7}, {"body": None}, {"kinesis": 7}, {"kinesis": {}}, {"kinesis": {"data": 7}}, {"kinesis": {"data": "é"}}],
    )
    def test_a_foreign_record_is_no_error(self, source: str, event: dict[str, Any]) -> None:
        assert event_view(source, event) == event
