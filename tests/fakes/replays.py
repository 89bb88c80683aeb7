"""Records as recordings give them, handlers that do as they are told, and replays put together from them."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from handlers.invoker import FunctionError, MakeEvent, Outcome, Succeeded
from pollers.event_records import EventRecord, read_event_record
from pollers.record import TRIM_HORIZON
from runtime.core.mapping import BatchLimits, EventSourceMapping, RetryPolicy, StreamSettings
from runtime.replay.engine import Replayer
from runtime.replay.report import Failure, Report
from runtime.replay.rules import Overrides, Rules, rules_of

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:f"
SHARD = "shardId-000000000000"
BEGAN = 1_763_700_000.0


def kinesis_record(
    number: int, *, key: str = "k", shard: str = SHARD, arrived: float | None = None, data: bytes = b"{}"
) -> EventRecord:
    """Its sequence number is `number`."""
    at = BEGAN + number if arrived is None else arrived
    shown = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": key,
            "sequenceNumber": str(number),
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": at,
        },
        "eventSource": "aws:kinesis",
        "eventID": f"{shard}:{number}",
        "eventSourceARN": STREAM,
    }
    return read_event_record(shown, shard=shard)


def message(number: int, *, group: str | None = None, body: str = "{}", arn: str = QUEUE) -> EventRecord:
    """Its id is `m<number>`; with a group it is of a FIFO queue."""
    attributes = {"SentTimestamp": str(int(BEGAN + number) * 1000), **({"MessageGroupId": group} if group else {})}
    shown = {
        "messageId": f"m{number}",
        "receiptHandle": f"h{number}",
        "body": body,
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfMessageAttributes": None,
        "eventSource": "aws:sqs",
        "eventSourceARN": f"{arn}.fifo" if group else arn,
    }
    return read_event_record(shown)


def stream_mapping(
    *, records: int = 10, lanes: int = 1, tumbling: int = 0, report: bool = False, size: int | None = None, **policy: Any
) -> EventSourceMapping:
    """`policy`: of its RetryPolicy."""
    limits = BatchLimits(records=records) if size is None else BatchLimits(records=records, size=size)
    return EventSourceMapping(
        name="m",
        function="f",
        function_arn=FUNCTION,
        source="kinesis",
        source_arn=STREAM,
        batch=limits,
        report_item_failures=report,
        stream=StreamSettings(start=TRIM_HORIZON, retry=RetryPolicy(**policy), lanes=lanes, tumbling_window=tumbling),
    )


def queue_mapping(*, records: int = 10, report: bool = False, fifo: bool = False, concurrency: int = 2) -> EventSourceMapping:
    return EventSourceMapping(
        name="m",
        function="f",
        function_arn=FUNCTION,
        source="sqs",
        source_arn=f"{QUEUE}.fifo" if fifo else QUEUE,
        batch=BatchLimits(records=records),
        report_item_failures=report,
        maximum_concurrency=concurrency,
    )


def ids_of(event: dict[str, Any]) -> list[str]:
    return [each["messageId"] if "messageId" in each else each["kinesis"]["sequenceNumber"] for each in event["Records"]]


def raised(text: str = "no", kind: str = "ValueError") -> FunctionError:
    return FunctionError(error_type=kind, message=text, document={"errorType": kind, "errorMessage": text})


async def succeed(_: dict[str, Any]) -> Outcome:
    await anyio.lowlevel.checkpoint()
    return Succeeded(response=None)


@dataclass
class Acts:
    """An `Invoker`; remembers the events as the handler found them, and how many ran at once."""

    act: Callable[[dict[str, Any]], Awaitable[Outcome]] = succeed
    invoked: list[list[str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def invoke(self, make_event: MakeEvent, *, request_id: str, function_arn: str) -> Outcome:
        assert request_id
        assert function_arn == FUNCTION
        event = make_event()
        self.invoked.append(ids_of(event))
        self.events.append(make_event())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.act(event)
        finally:
            self.running -= 1


@dataclass
class Replayed:
    """A replay that has ended."""

    report: Report
    settled: list[str]
    failures: list[Failure]

    @property
    def failed(self) -> list[str]:
        return [failure.position for failure in self.failures]

    def assert_accounted(self) -> None:
        """Read = not selected + filtered out + succeeded + failed + not run, each record in one of them."""
        report = self.report
        assert report.succeeded == len(self.settled) == len(set(self.settled))
        assert report.failed == len(self.failures) == len(set(self.failed))
        assert not set(self.settled) & set(self.failed)
        assert report.not_run >= 0
        assert report.read == report.left_out + report.filtered_out + report.succeeded + report.failed + report.not_run


async def replay(
    records: Sequence[EventRecord],
    acts: Acts,
    mapping: EventSourceMapping | Rules | None = None,
    *,
    overrides: Overrides | None = None,
    stop_after: int | None = None,
    **more: Any,
) -> Replayed:
    """All of them through `acts`. `stop_after`: so many records were fed; `more`: for the `Replayer`."""
    rules = mapping if isinstance(mapping, Rules) else rules_of(mapping or stream_mapping(), overrides or Overrides())
    replayed = Replayed(report=Report(), settled=[], failures=[])

    async def settled(done: tuple[Any, ...]) -> None:
        replayed.settled += [record.id for record in done]

    replayer = Replayer(rules, acts, replayed.report, settled=settled, failed=replayed.failures.append, **more)
    async with replayer.running():
        for number, record in enumerate(records):
            if number == stop_after:
                replayer.stop()
            replayed.report.read += 1
            await replayer.feed(record)
    replayed.assert_accounted()
    return replayed
