"""One suite over every queue source: the fake that the unit tests stand on, and SQS as each server speaks it."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from pollers import event_record
from pollers.errors import SourceRejected, SourceUnavailable
from pollers.record import Record
from pollers.sqs import SqsQueue
from tests.fakes.queue import FakeQueue
from tests.fakes.roads import aws_clients
from tests.fakes.virtual_time import virtual_time
from tests.servers.queues import QueueHandle, queue_on
from tests.servers.running import Server


@dataclass
class Observed:
    requests: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, operation: str, outcome: str) -> None:
        self.requests.append((operation, outcome))


@asynccontextmanager
async def source_on(
    server: Server, monkeypatch: pytest.MonkeyPatch, *, fifo: bool = False, windowed: bool = False
) -> AsyncIterator[tuple[SqsQueue, QueueHandle, Observed]]:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    observed = Observed()
    async with queue_on(server, fifo=fifo, attributes={"VisibilityTimeout": "30"}) as handle, aws_clients() as clients:
        yield SqsQueue(clients, handle.arn, windowed=windowed, observe=observed), handle, observed


async def check_life_of_records(source: SqsQueue | FakeQueue, sent: list[str]) -> None:
    """Receive, give back, receive again, extend, delete: what every queue must do."""
    facts = await source.describe()
    assert facts.visibility_timeout == 30
    first = await source.receive(limit=10, wait=5, visibility=None)
    assert sorted(record.id for record in first) == sorted(sent)
    assert [event_record("sqs", record)["messageId"] for record in first] == [record.id for record in first]
    assert {event_record("sqs", record)["attributes"]["ApproximateReceiveCount"] for record in first} == {"1"}
    assert await source.receive(limit=10, wait=0, visibility=None) == []

    assert await source.extend(first, 0) == []
    second = await source.receive(limit=10, wait=5, visibility=None)
    assert sorted(record.id for record in second) == sorted(sent)
    assert {event_record("sqs", record)["attributes"]["ApproximateReceiveCount"] for record in second} == {"2"}
    assert {record.handle for record in second}.isdisjoint({record.handle for record in first})

    assert await source.extend(second, 60) == []
    assert await source.delete(second) == []
    assert await source.receive(limit=10, wait=1, visibility=None) == []


@virtual_time
async def test_the_fake_queue_keeps_the_contract() -> None:
    queue = FakeQueue(visibility_timeout=30)
    await check_life_of_records(queue, queue.send("a", "b", "c"))


@virtual_time
async def test_the_fake_queue_locks_the_group_of_a_record_in_flight() -> None:
    queue = FakeQueue(fifo=True)
    queue.send("a1", "a2", group="a")
    queue.send("b1", group="b")
    (first,) = await queue.receive(limit=1, wait=0, visibility=None)
    assert first.group == "a"
    assert [record.group for record in await queue.receive(limit=10, wait=0, visibility=None)] == ["b"]
    await queue.delete([first])
    assert [event_record("sqs", record)["body"] for record in await queue.receive(limit=10, wait=0, visibility=None)] == ["a2"]


async def test_sqs_keeps_the_contract(sqs_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with source_on(sqs_server, monkeypatch) as (source, queue, observed):
        await check_life_of_records(source, await queue.send("a", "b", "c"))
        assert ("ReceiveMessage", "empty") in observed.requests
        assert ("DeleteMessageBatch", "ok") in observed.requests


@pytest.mark.like_aws("fifo_ok")
async def test_a_fifo_queue_locks_the_group_of_a_record_in_flight(sqs_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with source_on(sqs_server, monkeypatch, fifo=True) as (source, queue, _):
        await queue.send("a1", "a2", group="a")
        await queue.send("b1", group="b")
        (first,) = await source.receive(limit=1, wait=2, visibility=None)
        assert (event_record("sqs", first)["body"], first.group) == ("a1", "a")
        assert list(event_record("sqs", first)["attributes"]) == [
            "ApproximateReceiveCount",
            "SentTimestamp",
            "SequenceNumber",
            "MessageGroupId",
            "SenderId",
            "MessageDeduplicationId",
            "ApproximateFirstReceiveTimestamp",
        ]
        assert [record.group for record in await source.receive(limit=10, wait=1, visibility=None)] == ["b"]
        assert await source.delete([first]) == []
        assert [event_record("sqs", record)["body"] for record in await source.receive(limit=10, wait=2, visibility=None)] == [
            "a2"
        ]


@pytest.mark.parametrize("windowed", [False, True])
async def test_sqs_21_to_29_the_event_of_a_standard_queue(
    sqs_server: Server, monkeypatch: pytest.MonkeyPatch, *, windowed: bool
) -> None:
    async with source_on(sqs_server, monkeypatch, windowed=windowed) as (source, queue, _):
        body = '{"spaced" :  "\\u00e9 \u20ac \\n",  "n": 1.0}'
        await queue.client.send_message(
            QueueUrl=queue.url,
            MessageBody=body,
            MessageAttributes={
                "Title": {"DataType": "String", "StringValue": "The Whistler"},
                "Author": {"DataType": "String", "StringValue": "John Grisham"},
                "WeeksOn": {"DataType": "Number", "StringValue": "6"},
            },
        )
        await queue.client.send_message(
            QueueUrl=queue.url, MessageBody="bytes", MessageAttributes={"b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
        )
        await queue.client.send_message(QueueUrl=queue.url, MessageBody="plain")
        events: dict[str, Any] = {}
        while len(events) < 3:
            records = await source.receive(limit=10, wait=5, visibility=None)
            assert records
            events |= {event_record("sqs", record)["body"]: event_record("sqs", record) for record in records}

        attributes = events[body]["messageAttributes"]
        assert attributes == {
            "Title": {"stringValue": "The Whistler", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
            "Author": {"stringValue": "John Grisham", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
            "WeeksOn": {"stringValue": "6", "stringListValues": [], "binaryListValues": [], "dataType": "Number"},
        }
        assert list(attributes["Title"]) == ["stringValue", "stringListValues", "binaryListValues", "dataType"]
        assert events[body]["md5OfMessageAttributes"] == "d25a6aea97eb8f585bfa92d314504a92"  # SQS-25
        assert events["bytes"]["messageAttributes"]["b"]["binaryValue"] == "AP8="
        plain = events["plain"]
        assert plain["messageAttributes"] == {}
        assert ("md5OfMessageAttributes" in plain) is windowed  # SQS-26
        assert plain.get("md5OfMessageAttributes") is None
        assert [key for key in plain if key != "md5OfMessageAttributes"] == [
            "messageId",
            "receiptHandle",
            "body",
            "attributes",
            "messageAttributes",
            "md5OfBody",
            "eventSource",
            "eventSourceARN",
            "awsRegion",
        ]
        assert (plain["eventSource"], plain["eventSourceARN"], plain["awsRegion"]) == ("aws:sqs", queue.arn, sqs_server.region)


async def test_thirty_records_are_deleted_in_one_call(sqs_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with source_on(sqs_server, monkeypatch) as (source, queue, observed):
        await queue.send(*(str(number) for number in range(30)))
        records: list[Record] = []
        while len(records) < 30:
            more = await source.receive(limit=10, wait=5, visibility=None)
            assert more
            records += more
        assert await source.delete(records) == []
        assert observed.requests.count(("DeleteMessageBatch", "ok")) == 3
        await queue.wait_counts()


async def test_a_missing_queue_is_rejected(sqs_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with source_on(sqs_server, monkeypatch) as (_, queue, observed), aws_clients() as clients:
        missing = SqsQueue(clients, f"{queue.arn}-{uuid.uuid4().hex[:8]}", windowed=False, observe=observed)
        with pytest.raises(SourceRejected):
            await missing.describe()
        with pytest.raises(SourceRejected):
            await missing.receive(limit=1, wait=0, visibility=None)


async def test_no_server_at_all_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with aws_clients() as clients:
        queue = SqsQueue(clients, "arn:aws:sqs:eu-west-1:123456789012:q", windowed=False, observe=Observed())
        with pytest.raises(SourceUnavailable, match="no answer"):
            await queue.receive(limit=1, wait=0, visibility=None)
