"""The document of an on-failure destination, byte for byte as the samples that were recorded from AWS."""

import json
import uuid
from datetime import datetime
from typing import Any

import pytest

from pollers.kinesis import SPEC as KINESIS_SPEC
from pollers.record import PositionKind, Record, RecordId
from pollers.source import StreamSpec
from runtime.core.decisions import AGE_EXCEEDED, RETRIES_EXHAUSTED
from runtime.core.failure_record import failure_body, mapping_uuid

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:my-function"
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/my-table/stream/2025-11-25T15:47:40.123"
REQUEST = "c9b8fa9f-5a7f-4c3c-af9c-0c604cde93a5"
FIRST = "49601189658422359378836298521827638475320189012309704722"
LAST = "49601189658422359378836298522902373528957594348623495186"

KINESIS_RETRIES = (
    '{"requestContext":{"requestId":"c9b8fa9f-5a7f-4c3c-af9c-0c604cde93a5","functionArn":"arn:aws:lambda:us-east-1:123456789012:function:my-function","condition":"RetryAttemptsExhausted","approximateInvokeCount":2},"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},'
    '"version":"1.0","timestamp":"2025-11-25T16:35:06.021Z",'
    '"KinesisBatchInfo":{"shardId":"shardId-000000000000","startSequenceNumber":"49601189658422359378836298521827638475320189012309704722","endSequenceNumber":"49601189658422359378836298522902373528957594348623495186"'
    ',"approximateArrivalOfFirstRecord":"2025-11-25T16:35:01.835Z","approximateArrivalOfLastRecord":"2025-11-25T16:35:02.580Z","batchSize":2,"streamArn":"arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"}}'
)
KINESIS_PARTIAL = (
    '{"requestContext":{"requestId":"c9b8fa9f-5a7f-4c3c-af9c-0c604cde93a5","functionArn":"arn:aws:lambda:us-east-1:123456789012:function:my-function","condition":"RetryAttemptsExhausted","approximateInvokeCount":4},"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":null},'
    '"version":"1.0","timestamp":"2025-11-25T16:35:06.021Z",'
    '"KinesisBatchInfo":{"shardId":"shardId-000000000000","startSequenceNumber":"49601189658422359378836298522902373528957594348623495186","endSequenceNumber":"49601189658422359378836298522902373528957594348623495186"'
    ',"approximateArrivalOfFirstRecord":"2025-11-25T16:35:01.835Z","approximateArrivalOfLastRecord":"2025-11-25T16:35:01.835Z","batchSize":1,"streamArn":"arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"}}'
)
KINESIS_AGE = (
    '{"requestContext":{"requestId":"c9b8fa9f-5a7f-4c3c-af9c-0c604cde93a5","functionArn":"arn:aws:lambda:us-east-1:123456789012:function:my-function","condition":"RecordAgeExceeded","approximateInvokeCount":1},'
    '"version":"1.0","timestamp":"2025-11-25T16:35:06.021Z",'
    '"KinesisBatchInfo":{"shardId":"shardId-000000000000","startSequenceNumber":"49601189658422359378836298521827638475320189012309704722","endSequenceNumber":"49601189658422359378836298521827638475320189012309704722"'
    ',"approximateArrivalOfFirstRecord":"2025-11-25T16:35:01.835Z","approximateArrivalOfLastRecord":"2025-11-25T16:35:01.835Z","batchSize":1,"streamArn":"arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"}}'
)
DYNAMODB_RETRIES = (
    '{"requestContext":{"requestId":"c9b8fa9f-5a7f-4c3c-af9c-0c604cde93a5","functionArn":"arn:aws:lambda:us-east-1:123456789012:function:my-function","condition":"RetryAttemptsExhausted","approximateInvokeCount":2},"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},'
    '"version":"1.0","timestamp":"2025-11-25T16:35:06.021Z",'
    '"DDBStreamBatchInfo":{"shardId":"shardId-00000001573689847184-864758bb","startSequenceNumber":"800000000003126276362","endSequenceNumber":"800000000003126276362"'
    ',"approximateArrivalOfFirstRecord":"2025-11-25T15:51:19Z","approximateArrivalOfLastRecord":"2025-11-25T15:51:19Z","batchSize":1,"streamArn":"arn:aws:dynamodb:us-east-1:123456789012:table/my-table/stream/2025-11-25T15:47:40.123"}}'
)


def spec(**changes: Any) -> StreamSpec:
    shown: dict[str, Any] = {
        "source": "kinesis",
        "service": "kinesis",
        "parameters": frozenset(),
        "default_batch_size": 100,
        "starting_positions": frozenset(PositionKind),
        "base_interval": 1.0,
        "calls_per_second": 5.0,
        "page_limit": 10_000,
        "envelope": lambda records: {"Records": [record.event for record in records]},
        "filter_view": KINESIS_SPEC.filter_view,
        "info_key": "KinesisBatchInfo",
        "whole_seconds": False,
    }
    return StreamSpec(**{**shown, **changes})


KINESIS = spec()
DYNAMODB = spec(source="dynamodb", service="dynamodb", info_key="DDBStreamBatchInfo", whole_seconds=True)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def record(sequence: str, arrived: str | float) -> Record:
    return Record(id=RecordId(sequence), content={}, size=2, arrived=at(arrived) if isinstance(arrived, str) else arrived)


def body(*records: Record, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "shard": "shardId-000000000000",
        "stream_arn": STREAM,
        "spec": KINESIS,
        "function_arn": FUNCTION,
        "executed_version": "$LATEST",
        "condition": RETRIES_EXHAUSTED,
        "invoke_count": 2,
        "request_id": REQUEST,
        "function_error": "Unhandled",
        "timestamp": at("2025-11-25T16:35:06.021Z"),
    }
    return failure_body(records=records, **{**given, **changes})


def compact(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


EARLY, LATE = record(FIRST, "2025-11-25T16:35:01.835Z"), record(LAST, "2025-11-25T16:35:02.580Z")


def test_dst_21_to_31_retries_exhausted_as_recorded() -> None:
    assert compact(body(EARLY, LATE)) == KINESIS_RETRIES


def test_dst_27_33_a_reported_failure_has_no_function_error_and_tells_of_the_discarded_record_alone() -> None:
    only = record(LAST, "2025-11-25T16:35:01.835Z")
    assert compact(body(only, invoke_count=4, function_error=None)) == KINESIS_PARTIAL


@pytest.mark.parametrize("function_error", [None, "Unhandled"])
def test_dst_28_record_age_exceeded_has_no_response_context_at_all(function_error: str | None) -> None:
    told = body(EARLY, condition=AGE_EXCEEDED, invoke_count=1, function_error=function_error)
    assert compact(told) == KINESIS_AGE


def test_dst_32_dynamodb_shows_arrival_in_whole_seconds() -> None:
    told = body(
        record("800000000003126276362", "2025-11-25T15:51:19Z"),
        shard="shardId-00000001573689847184-864758bb",
        stream_arn=TABLE,
        spec=DYNAMODB,
    )
    assert compact(told) == DYNAMODB_RETRIES


def test_dst_23_27_a_qualified_function_is_shown_as_invoked_with_the_version_that_ran() -> None:
    told = body(EARLY, function_arn=f"{FUNCTION}:live", executed_version="7")
    assert told["requestContext"]["functionArn"] == f"{FUNCTION}:live"
    assert told["responseContext"]["executedVersion"] == "7"


def test_dst_31_three_records_are_told_by_the_first_and_the_last() -> None:
    info = body(EARLY, record("7", 0.0), LATE)["KinesisBatchInfo"]
    assert (info["startSequenceNumber"], info["endSequenceNumber"], info["batchSize"]) == (FIRST, LAST, 3)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (1764088506.0, "2025-11-25T16:35:06.000Z"),
        (1545084650.987, "2018-12-17T22:10:50.987Z"),
        (1764088506.9999, "2025-11-25T16:35:06.999Z"),
    ],
    ids=["on the second", "a float that lies below its text", "cut, not rounded"],
)
def test_dst_30_31_times_are_utc_with_three_digits(seconds: float, shown: str) -> None:
    told = body(record("7", seconds), timestamp=seconds)
    assert told["timestamp"] == shown
    assert told["KinesisBatchInfo"]["approximateArrivalOfFirstRecord"] == shown


def test_dst_32_whole_seconds_are_cut_too_and_only_of_arrivals() -> None:
    told = body(record("7", 1764088506.9999), spec=DYNAMODB)
    assert told["DDBStreamBatchInfo"]["approximateArrivalOfLastRecord"] == "2025-11-25T16:35:06Z"
    assert told["timestamp"] == "2025-11-25T16:35:06.021Z"


def test_dst_36_the_uuid_of_a_mapping_is_its_own_and_never_changes() -> None:
    mine = mapping_uuid("orders", STREAM)
    assert mine == "9a47c049-8173-5bd8-bd94-d6e30695f7f0"  # objects of years past are found under it
    assert mine == str(uuid.UUID(mine)) == mine.lower()
    assert len({mine, mapping_uuid("orders2", STREAM), mapping_uuid("orders", TABLE)}) == 3
