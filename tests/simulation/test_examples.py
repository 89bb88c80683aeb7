"""The worked examples of the rules, number for number, on the whole runner: KIN-25, KIN-26, KIN-60, KIN-61, DDB-32."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from handlers.invoker import FunctionError, FunctionSpec, Outcome, Succeeded
from pollers import SPECS
from pollers.record import TRIM_HORIZON
from pollers.source import StreamSpec
from runtime.core.mapping import BatchLimits, EventSourceMapping, MappingState, RetryPolicy, StreamSettings
from runtime.drain import Drain
from runtime.status import MappingStatus
from runtime.stores.memory import MemoryStore
from runtime.stream_mapping import run_stream_mapping
from runtime.stream_parts import StreamParts
from runtime.telemetry import Telemetry
from tests.fakes.stream import STREAM_ARN, STREAM_SPEC, FakeStream
from tests.fakes.stream_worker import FUNCTION_ARN, FakeDestination, FakeFunction, sequences, wall_clock
from tests.fakes.virtual_time import virtual_time

KINESIS: Final = STREAM_SPEC
_DYNAMODB = SPECS["dynamodb"]
assert isinstance(_DYNAMODB, StreamSpec)
DYNAMODB: Final = replace(_DYNAMODB, envelope=STREAM_SPEC.envelope)
"""With the records of the fake stream: what a failure record says of the batch is DynamoDB's."""
TABLE_ARN: Final = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-01T00:00:00.000"


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


@dataclass
class Example:
    """One mapping and what its function and its destination got."""

    batch: int
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    report: bool = False
    spec: StreamSpec = KINESIS
    function: FakeFunction = field(default_factory=FakeFunction)
    destination: FakeDestination = field(default_factory=FakeDestination)
    stream: FakeStream = field(default_factory=lambda: FakeStream(wall_clock))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        arn = STREAM_ARN if self.spec is KINESIS else TABLE_ARN
        mapping = EventSourceMapping(
            name="m",
            function="f",
            function_arn=FUNCTION_ARN,
            source=self.spec.source,
            source_arn=arn,
            batch=BatchLimits(records=self.batch),
            report_item_failures=self.report,
            stream=StreamSettings(start=TRIM_HORIZON, retry=self.retry),
        )
        drain = Drain()
        parts = StreamParts(
            mapping=mapping,
            function=FunctionSpec(name="f", handler="a.b", code_root=Path("/"), timeout=30),
            spec=self.spec,
            source=self.stream,
            invoker=self.function,
            destination=self.destination,
            store=MemoryStore(),
            worker="w",
            limiter=None,
            drain=drain,
            status=MappingStatus(mapping=mapping, state=MappingState.CREATING),
            telemetry=Telemetry().of_mapping("m", self.spec.source),
            clock=wall_clock,
            jitter=lambda: 0.5,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_stream_mapping, parts, name="mapping")
            yield
            drain.begin()

    @property
    def told(self) -> dict[str, Any]:
        """The one failure record."""
        (failure,) = self.destination.taken
        return failure.body


def reporting(*failing: str) -> Callable[[dict[str, Any]], Awaitable[Outcome]]:
    async def handle(event: dict[str, Any]) -> Outcome:
        items = [{"itemIdentifier": sequence} for sequence in sequences(event) if sequence in failing]
        return Succeeded(response={"batchItemFailures": items})

    return handle


@virtual_time
async def test_kin_25_thirty_records_make_three_batches_of_ten() -> None:
    example = Example(batch=10)
    example.stream.put("k", 20)
    async with example.running():
        await anyio.sleep(5)
        example.stream.put("k", 10)
        await anyio.sleep(5)
    assert example.function.invoked == [numbers(1, 10), numbers(11, 20), numbers(21, 30)]


@virtual_time
async def test_kin_26_a_slow_handler_delays_the_next_batch_of_its_shard() -> None:
    async def sleep(_: dict[str, Any]) -> Outcome:
        await anyio.sleep(5)
        return Succeeded(response=None)

    example = Example(batch=10, function=FakeFunction(handler=sleep))
    async with example.running():
        example.stream.put("k", 10)
        await anyio.sleep(2)
        example.stream.put("k", 10)  # the producer is not held up
        await anyio.sleep(20)
    assert example.function.invoked == [numbers(1, 10), numbers(11, 20)]
    first, second = example.function.invoked_at
    assert second - first >= 5
    assert example.function.most_running == 1


@pytest.mark.parametrize(
    ("spec", "info"), [(KINESIS, "KinesisBatchInfo"), (DYNAMODB, "DDBStreamBatchInfo")], ids=["KIN-60", "DDB-32"]
)
@virtual_time
async def test_kin_60_ddb_32_the_retry_counter_starts_again_when_the_checkpoint_moves(spec: StreamSpec, info: str) -> None:
    function = FakeFunction(handler=reporting("6"))
    example = Example(batch=3, retry=RetryPolicy(attempts=3), report=True, spec=spec, function=function)
    example.stream.put("k", 6)
    async with example.running():
        await anyio.sleep(60)
    assert function.invoked == [numbers(1, 3), numbers(4, 6), ["6"], ["6"], ["6"], ["6"]]
    assert example.told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert example.told["requestContext"]["approximateInvokeCount"] == 4
    assert example.told["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": None}
    told = example.told[info]
    assert (told["batchSize"], told["startSequenceNumber"], told["endSequenceNumber"]) == (1, "6", "6")


@virtual_time
async def test_kin_61_what_is_too_old_goes_to_the_destination_and_the_rest_to_the_function() -> None:
    example = Example(batch=10, retry=RetryPolicy(attempts=0, age=60))
    example.stream.put("k", arrived=wall_clock() - 61)
    example.stream.put("k", 5)
    async with example.running():
        await anyio.sleep(10)
    assert example.function.invoked == [numbers(2, 6)]
    assert example.told["requestContext"]["condition"] == "RecordAgeExceeded"
    assert example.told["requestContext"]["approximateInvokeCount"] == 1
    assert example.told["KinesisBatchInfo"]["batchSize"] == 1
    assert "responseContext" not in example.told


@virtual_time
async def test_ddb_31_one_retry_makes_two_invocations() -> None:
    async def fail(_: dict[str, Any]) -> Outcome:
        return FunctionError(error_type="E", message="no", document={"errorMessage": "no", "errorType": "E"})

    example = Example(batch=1, retry=RetryPolicy(attempts=1), spec=DYNAMODB, function=FakeFunction(handler=fail))
    example.stream.put("k")
    async with example.running():
        await anyio.sleep(30)
    assert example.function.invoked == [["1"], ["1"]]
    assert example.told["requestContext"]["approximateInvokeCount"] == 2
    assert example.told["responseContext"]["functionError"] == "Unhandled"
    assert "DDBStreamBatchInfo" in example.told
