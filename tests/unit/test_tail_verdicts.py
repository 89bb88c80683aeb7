"""What `esm tail` says of a record, by the filters of a mapping."""

from pollers import QUEUES
from pollers.record import Record, RecordId
from pollers.sqs_record import SqsRecord
from runtime.core.filtering import FilterCriteria
from runtime.core.mapping import BatchLimits, EventSourceMapping
from runtime.tail.verdicts import Verdict, judge
from tests.fakes.queue import ORIGIN as QUEUE

ARN = "arn:aws:sqs:eu-west-1:123456789012:orders"


def mapping(*patterns: str) -> EventSourceMapping:
    criteria = FilterCriteria.compile(patterns, data=QUEUES["sqs"].filter_view) if patterns else None
    return EventSourceMapping(
        name="m", function="f", function_arn="", source="sqs", source_arn=ARN, batch=BatchLimits(records=10), criteria=criteria
    )


def record(body: str) -> Record:
    return SqsRecord(id=RecordId("m1"), handle="h", body=body, content=QUEUE)


def test_a_mapping_without_filters_has_nothing_to_say() -> None:
    assert judge(mapping(), record("{}")) is None


def test_a_record_that_does_not_match_is_explained_with_what_stands_there() -> None:
    orders = mapping('{"body": {"kind": ["order"]}}')
    assert judge(orders, record('{"kind": "order"}')) == Verdict(mapping="m", matches=True)
    assert judge(orders, record('{"kind": "refund"}')) == Verdict(
        mapping="m", matches=False, why=('filter 1: body.kind is "refund", wanted "order"',)
    )
