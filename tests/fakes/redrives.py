"""Redrives put together from fakes: a queue of failure records that point into a stream."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import anyio
from msgspec import UNSET

from pollers.event_records import EventRecord
from pollers.sqs_record import Attributes, Origin
from runtime.core.mapping import EventSourceMapping
from runtime.redrive.entries import Fate
from runtime.redrive.fetching import Fetching
from runtime.redrive.queue_place import QueuePlace
from runtime.redrive.redriver import Redriver
from runtime.replay.order import Blocked
from runtime.replay.report import Report
from runtime.replay.rules import Overrides, Rules, rules_of
from tests.fakes.queue import ARN, FakeQueue
from tests.fakes.replays import Acts, queue_mapping, stream_mapping
from tests.fakes.stream import STREAM_ARN, FakeStream
from tests.fakes.stream_worker import FUNCTION_ARN, wall_clock


def failure_text(
    stream: FakeStream, sequences: Sequence[str], *, shard: str = "", function: str = FUNCTION_ARN, records: int | None = None
) -> str:
    """Of records that a mapping gave up together."""
    found = next(record for record in stream.puts if record.id == sequences[0])
    info = {
        "shardId": shard or stream.home(sequences[0]),
        "startSequenceNumber": sequences[0],
        "endSequenceNumber": sequences[-1],
        "approximateArrivalOfFirstRecord": _instant(found.arrived),
        "batchSize": len(sequences) if records is None else records,
        "streamArn": STREAM_ARN,
    }
    context = {"functionArn": function, "condition": "RetryAttemptsExhausted"}
    return json.dumps({"requestContext": context, "KinesisBatchInfo": info})


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


class DeadLetters(FakeQueue):
    """Shows its messages as SQS does."""

    def _hand_out(self, message: Any, visibility: int) -> Any:
        record = super()._hand_out(message, visibility)
        record.attributes = Attributes(
            ApproximateReceiveCount=str(message.receives),
            SentTimestamp="1763700000000",
            MessageGroupId=message.group if self.fifo else UNSET,
            DeadLetterQueueSourceArn=self.origin,
        )
        record.content = Origin(arn=f"{ARN}-dead", region="eu-west-1", windowed=False)
        return record

    @property
    def origin(self) -> str:
        return f"{ARN}.fifo" if self.fifo else ARN


@dataclass
class RedriveWorld:
    """What one redrive works on; `run` as often as wanted."""

    stream: FakeStream = field(default_factory=lambda: FakeStream(wall_clock))
    queue: FakeQueue = field(default_factory=FakeQueue)
    acts: Acts = field(default_factory=Acts)
    mapping: EventSourceMapping = field(default_factory=stream_mapping)
    wanted: Callable[[EventRecord], bool] = lambda _: True
    hide: int = 120

    def redriver(self, **more: Any) -> Redriver:
        strict = more.pop("strict", False)
        given: dict[str, Any] = {"function": "f", "blocked": Blocked() if strict else None, **more}
        return Redriver(
            place=QueuePlace(self.queue, fifo=self.queue.fifo, hide=self.hide),
            fetching=Fetching(open_stream=lambda _, __: self.stream),
            rules_for=self._rules_for,
            invoker=self.acts,
            report=Report(),
            clock=wall_clock,
            **given,
        )

    def _rules_for(self, source: str, source_arn: str) -> tuple[Rules, Callable[[EventRecord], bool]]:
        mapping = self.mapping if source == "kinesis" else queue_mapping(fifo=source_arn.endswith(".fifo"))
        return rules_of(mapping, Overrides()), self.wanted

    async def run(self, limit: int = 1000, **more: Any) -> Redriver:
        """To its end, with everything given back."""
        redriver = self.redriver(**more)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(redriver.place.keep)
            await redriver.run(limit)
            tasks.cancel_scope.cancel()
        redriver.report.problems += await redriver.place.close()
        return redriver

    def assert_kept(self, redriver: Redriver) -> None:
        """A message is deleted if all of its records succeeded, and else it is visible again."""
        done = {entry.message.name for entry in redriver.entries if entry.fate is Fate.DONE}
        assert set(self.queue.deleted) == done
        assert sorted(self.queue.visible()) == sorted(message.id for message in self.queue.messages)


def fates(redriver: Redriver) -> dict[str, str]:
    return {entry.message.name: entry.fate.value for entry in redriver.entries}


def whys(redriver: Redriver) -> dict[str, str]:
    return {entry.message.name: entry.why for entry in redriver.entries}
