"""What a message of an on-failure destination says, and garbage in its place."""

import json
from typing import Any

import pytest

from runtime.redrive.messages import Foreign, OtherKind, parse_failure, payload_of

ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"


def failure(**changes: Any) -> dict[str, Any]:
    info = {
        "shardId": "shardId-000000000006",
        "startSequenceNumber": "10",
        "endSequenceNumber": "12",
        "approximateArrivalOfFirstRecord": "2019-11-14T00:38:04.835Z",
        "approximateArrivalOfLastRecord": "2019-11-14T00:38:05.580Z",
        "batchSize": 3,
        "streamArn": ARN,
    }
    context = {
        "requestId": "r",
        "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:orders:live",
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 1,
    }
    return {"requestContext": context, "version": "1.0", "KinesisBatchInfo": info | changes}


def shown(sequence: int) -> dict[str, Any]:
    inner = {"partitionKey": "k", "sequenceNumber": str(sequence), "data": "e30=", "approximateArrivalTimestamp": 1.0}
    return {"kinesis": inner, "eventSource": "aws:kinesis", "eventID": f"s:{sequence}", "eventSourceARN": ARN}


def test_a_failure_record_points_at_records() -> None:
    """DST-22, DST-31."""
    pointed = parse_failure(json.dumps(failure()))
    assert (pointed.source, pointed.stream_arn, pointed.shard) == ("kinesis", ARN, "shardId-000000000006")
    assert (pointed.first, pointed.last, pointed.records, pointed.function) == ("10", "12", 3, "orders")
    assert (pointed.arrived, pointed.condition, pointed.carries) == (1573691884.835, "RetryAttemptsExhausted", False)


def test_a_table_is_pointed_at_likewise() -> None:
    """DST-32."""
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-01T00:00:00.000"
    document = failure(streamArn=arn)
    document["DDBStreamBatchInfo"] = document.pop("KinesisBatchInfo")
    assert parse_failure(json.dumps(document)).source == "dynamodb"


def wrapped_by_topic(inner: Any) -> dict[str, Any]:
    return {"Type": "Notification", "TopicArn": "t", "Message": json.dumps(inner)}


def wrapped_by_bus(inner: Any) -> dict[str, Any]:
    return {"version": "0", "detail-type": "Lambda Function Invocation Result - Failure", "source": "lambda", "detail": inner}


@pytest.mark.parametrize("wrap", [wrapped_by_topic, wrapped_by_bus, lambda inner: wrapped_by_topic(wrapped_by_bus(inner))])
def test_the_envelopes_of_topics_and_buses_are_taken_off(wrap: Any) -> None:
    assert parse_failure(json.dumps(wrap(failure()))).first == "10"


@pytest.mark.parametrize("text", [False, True])
def test_a_payload_is_read_within_the_range_that_was_given_up(text: bool) -> None:
    """DST-33, DST-37: the event may have held more."""
    event: Any = {"Records": [shown(n) for n in (9, 10, 11, 12, 13)]}
    message = json.dumps({**failure(), "payload": json.dumps(event) if text else event})
    pointed = parse_failure(message)
    assert pointed.carries
    assert [(each.record.id, each.shard) for each in payload_of(message, pointed)] == [
        (n, "shardId-000000000006") for n in ("10", "11", "12")
    ]


@pytest.mark.parametrize("payload", ["{", "[]", '{"Records": 3}', '{"Records": [{}]}', 7, {"Records": None}, "null"])
def test_a_payload_that_cannot_be_read_is_told(payload: Any) -> None:
    message = json.dumps({**failure(), "payload": payload})
    with pytest.raises(Foreign, match="payload"):
        payload_of(message, parse_failure(message))


@pytest.mark.parametrize(
    "text",
    [
        "", "hello", "[]", "null", "7", '"text"', "{}", '{"Records": []}', "\ud800", '{"a":' * 3000, '{"Type": "Notification", "Message": "no"}',
        *(json.dumps(failure(**{key: value})) for key, value in {
            "streamArn": "nothing", "shardId": None, "startSequenceNumber": "abc", "endSequenceNumber": 7, "batchSize": "many",
        }.items()),
        json.dumps(failure(streamArn="arn:aws:sqs:eu-west-1:123456789012:orders")),
        json.dumps({"KinesisBatchInfo": {}}),
        json.dumps({**failure(), "requestContext": None}),
    ],
)  # fmt: skip
def test_garbage_is_told_apart(text: str) -> None:
    with pytest.raises(Foreign) as told:
        parse_failure(text)
    assert str(told.value)


@pytest.mark.parametrize("document", [{"requestContext": {}, "requestPayload": {}}, {"requestContext": {}, "KafkaBatchInfo": {}}])
def test_failures_of_other_kinds_are_no_dead_letters(document: dict[str, Any]) -> None:
    with pytest.raises(OtherKind):
        parse_failure(json.dumps(document))


@pytest.mark.parametrize("changed", [{"approximateArrivalOfFirstRecord": "soon"}, {"approximateArrivalOfFirstRecord": None}])
def test_a_time_that_is_none_is_not_known(changed: dict[str, Any]) -> None:
    assert parse_failure(json.dumps(failure(**changed))).arrived == 0
