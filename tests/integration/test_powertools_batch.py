"""The batch processor of AWS Lambda Powertools works unchanged in a handler of ours.

The handlers are written as its documentation has them and loaded from a code root of their own; the events have the shape of real
ones (spec/events/sqs-standard.json, sqs-fifo.json; SQS-20..27).
"""

import hashlib
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from handlers.code_roots import CODE_ROOTS
from handlers.invoker import FunctionError, FunctionSpec, Outcome, Succeeded
from handlers.python_function import PythonFunction

ARN = "arn:aws:lambda:us-east-1:123456789012:function:orders"


@pytest.fixture(autouse=True)
def _imports_taken_back() -> Iterator[None]:
    yield
    CODE_ROOTS.close()


@pytest.fixture(autouse=True, params=[False, True], ids=["elsewhere", "as-in-lambda"])
def _environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Powertools takes another road to an event loop when LAMBDA_TASK_ROOT is set; both must work in our threads."""
    monkeypatch.setenv("POWERTOOLS_DEV", "false")
    if request.param:
        monkeypatch.setenv("LAMBDA_TASK_ROOT", "/var/task")
    else:
        monkeypatch.delenv("LAMBDA_TASK_ROOT", raising=False)


def record(number: int, *, fail: bool = False, group: str | None = None) -> dict[str, Any]:
    body = json.dumps({"message": number, "fail": fail})
    fifo = {"SequenceNumber": f"{18849496460467696128 + number}", "MessageGroupId": group}
    return {
        "messageId": f"059f36b4-87a3-44ab-83d2-{number:012}",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            **({} if group is None else fifo),
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            **({} if group is None else {"MessageDeduplicationId": f"dedup-{number}"}),
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {
            "Author": {"stringValue": "John Grisham", "stringListValues": [], "binaryListValues": [], "dataType": "String"}
        },
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:my-queue{'' if group is None else '.fifo'}",
        "awsRegion": "us-east-1",
    }


def failed_items(*numbers: int) -> Succeeded:
    items = [{"itemIdentifier": f"059f36b4-87a3-44ab-83d2-{number:012}"} for number in numbers]
    return Succeeded(response={"batchItemFailures": items})


STANDARD = """
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

    processor = BatchProcessor(event_type=EventType.SQS)

    def record_handler(record):
        assert record.message_attributes["Author"].string_value == "John Grisham"
        if record.json_body["fail"]:
            raise ValueError(record.message_id)

    def handler(event, context):
        return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)
"""
FIFO = """
    from aws_lambda_powertools.utilities.batch import SqsFifoPartialProcessor, process_partial_response

    processor = SqsFifoPartialProcessor()

    def record_handler(record, lambda_context):
        assert record.attributes.message_group_id
        assert lambda_context.get_remaining_time_in_millis() > 0
        if record.json_body["fail"]:
            raise ValueError(record.message_id)

    def handler(event, context):
        return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)
"""
ASYNC_RECORDS = """
    import asyncio
    from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor, EventType, async_process_partial_response

    processor = AsyncBatchProcessor(event_type=EventType.SQS)

    async def record_handler(record):
        await asyncio.sleep(0)
        if record.json_body["fail"]:
            raise ValueError(record.message_id)

    def handler(event, context):
        return async_process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)
"""
NOT_RAISING = STANDARD.replace("EventType.SQS)", "EventType.SQS, raise_on_entire_batch_failure=False)")
IN_ASYNC_HANDLER = STANDARD.replace("def handler", "async def handler")
OWN_PROCESSOR = STANDARD.replace("processor=processor", "processor=BatchProcessor(event_type=EventType.SQS)")


def load(tmp_path: Path, source: str) -> PythonFunction:
    (tmp_path / "orders_app.py").write_text(textwrap.dedent(source))
    return PythonFunction.load(FunctionSpec(name="orders", handler="orders_app.handler", code_root=tmp_path, timeout=30))


async def invoke(function: PythonFunction, *records: dict[str, Any]) -> Outcome:
    return await function.invoke(lambda: {"Records": list(records)}, request_id="r-1", function_arn=ARN)


@pytest.mark.parametrize(
    "source", [STANDARD, ASYNC_RECORDS, NOT_RAISING, IN_ASYNC_HANDLER], ids=["sync", "async", "quiet", "coroutine"]
)
async def test_only_the_messages_that_failed_are_reported(tmp_path: Path, source: str) -> None:
    function = load(tmp_path, source)
    assert await invoke(function, record(1), record(2, fail=True), record(3), record(4, fail=True)) == failed_items(2, 4)
    assert await invoke(function, record(1), record(2)) == failed_items()  # nothing is left of the batch before


@pytest.mark.parametrize("source", [STANDARD, ASYNC_RECORDS, FIFO], ids=["sync", "async", "fifo"])
async def test_a_batch_that_failed_as_a_whole_is_a_function_error(tmp_path: Path, source: str) -> None:
    group = "1" if source is FIFO else None
    outcome = await invoke(load(tmp_path, source), record(1, fail=True, group=group), record(2, fail=True, group=group))
    assert isinstance(outcome, FunctionError)
    assert outcome.error_type == "BatchProcessingError"
    assert outcome.message.startswith("All records failed processing. 2 individual errors logged separately below.")


async def test_a_processor_told_not_to_raise_reports_all_messages(tmp_path: Path) -> None:
    outcome = await invoke(load(tmp_path, NOT_RAISING), record(1, fail=True), record(2, fail=True))
    assert outcome == failed_items(1, 2)


async def test_the_fifo_processor_stops_at_the_first_failure_and_reports_the_rest(tmp_path: Path) -> None:  # SQS-68
    records = [record(n, fail=n == 2, group="1") for n in (1, 2, 3, 4)]
    assert await invoke(load(tmp_path, FIFO), *records) == failed_items(2, 3, 4)


async def test_the_fifo_processor_may_skip_the_failed_group_alone(tmp_path: Path) -> None:
    source = FIFO.replace("Processor()", "Processor(skip_group_on_error=True)")
    records = [record(1, fail=True, group="a"), record(2, group="b"), record(3, group="a"), record(4, group="b")]
    assert await invoke(load(tmp_path, source), *records) == failed_items(1, 3)


async def test_concurrent_batches_do_not_mix_when_each_has_its_own_processor(tmp_path: Path) -> None:
    """A processor in a global variable holds the state of one batch: Lambda has one invocation at a time per process, we have many."""
    function = load(tmp_path, OWN_PROCESSOR)
    outcomes: dict[int, Outcome] = {}

    async def one(n: int) -> None:
        outcomes[n] = await invoke(function, *(record(10 * n + m, fail=m == n % 10) for m in range(10)))

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(one, n)
    assert outcomes == {n: failed_items(10 * n + n % 10) for n in range(20)}
