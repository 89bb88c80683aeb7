"""The real `esm run` with filters on every server: what does not match is never seen, and does not come back either."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stream_site import checkpoints, stream_function, stream_mapping, stream_site, texts, wait_seen
from tests.acceptance.worker_process import Site, WorkerProcess, function, process_on, wait_until
from tests.servers.queues import QueueHandle, queue_on
from tests.servers.running import Server
from tests.servers.streams import StreamHandle, stream_on
from tests.servers.tables import TableHandle, table_on

INDEPENDENT = pytest.mark.on_servers("ministack", "kinesis-mock", "kinesalite", "moto")
COUNTS = ("esm_polled_events_total", "esm_filtered_out_events_total", "esm_invoked_events_total")


def filters(*patterns: dict[str, Any]) -> dict[str, Any]:
    return {"Filters": [{"Pattern": json.dumps(pattern)} for pattern in patterns]}


def order(number: int) -> str:
    return json.dumps({"kind": "order", "items": [{"sku": "a", "n": number}, {"sku": "b", "n": 0}]})


def refund(number: int) -> str:
    return json.dumps({"kind": "refund", "n": number})


def site_for(folder: Path, queue: QueueHandle, *patterns: dict[str, Any], **parameters: Any) -> Site:
    site = Site(folder)
    mapping = {"name": "m", "FunctionName": "f", "EventSourceArn": queue.arn, "FilterCriteria": filters(*patterns), **parameters}
    site.write_config({"f": function("works", Timeout=10)}, [mapping], grace=1)
    return site


async def counts(worker: WorkerProcess) -> list[float]:
    return [await worker.metric(name) for name in COUNTS]


@pytest.mark.parametrize("parameters", [{}, {"BatchSize": 30, "MaximumBatchingWindowInSeconds": 1}])
async def test_flt_60_a_queue_is_emptied_of_what_does_not_match(
    sqs_server: Server, tmp_path: Path, parameters: dict[str, Any]
) -> None:
    """FLT-11, FLT-20, FLT-24, FLT-53: bodies come as they were sent, plain text fits no JSON pattern, and fields belong together."""
    wanted = [order(number) for number in range(12)] + ["go: now"]
    unwanted = [refund(number) for number in range(40)] + [
        "plain",
        "[1]",
        '"go: x"',
        json.dumps({"kind": "order", "items": [{"n": 1}]}),
    ]
    patterns = (
        {"body": {"kind": ["order"], "items": {"sku": ["a"], "n": [{"numeric": [">=", 0]}]}}},
        {"body": [{"prefix": "go: "}]},
    )
    async with queue_on(sqs_server, attributes={"VisibilityTimeout": "30"}) as queue:
        await queue.send(*[body for pair in zip(unwanted, wanted, strict=False) for body in pair], *unwanted[len(wanted) :])
        site = site_for(tmp_path, queue, *patterns, **parameters)
        async with process_on(site, sqs_server.endpoint_url) as worker:
            await worker.wait_ready()
            await queue.wait_counts(seconds=20)
            await wait_until(lambda: len(site.journal("ended")) >= len(wanted), worker.log_text())
            assert sorted(each.body for each in site.journal("ended")) == sorted(wanted)
            polled, left_out, invoked = await counts(worker)
            assert polled == left_out + invoked >= len(wanted) + len(unwanted)  # a standard queue may give one twice
            assert invoked == len(wanted)
            assert await worker.metric("esm_deleted_events_total") == len(wanted)
            assert await worker.stop() == 0


@pytest.mark.like_aws("fifo_ok")
async def test_flt_64_groups_of_a_fifo_queue_keep_their_order_without_what_does_not_match(
    sqs_server: Server, tmp_path: Path
) -> None:
    async with queue_on(sqs_server, fifo=True, attributes={"VisibilityTimeout": "30"}) as queue:
        for group in "abc":
            await queue.send(*[make(number) for number in range(8) for make in (refund, order)], group=group)
        site = site_for(tmp_path, queue, {"body": {"kind": ["order"]}}, BatchSize=2)
        async with process_on(site, sqs_server.endpoint_url) as worker:
            await queue.wait_counts(seconds=20)
            await wait_until(lambda: len(site.journal("ended")) >= 24, worker.log_text())
            assert await worker.stop() == 0
        for group in "abc":
            assert [each.body for each in site.journal("ended") if each.group == group] == [order(n) for n in range(8)]


async def test_a_queue_is_filtered_by_message_attributes_too(sqs_server: Server, tmp_path: Path) -> None:
    """FLT-12, FLT-58: fields beside the body, also one whose own key has a dot."""
    pattern = {"messageAttributes": {"shop.kind": {"stringValue": ["order"]}}}
    async with queue_on(sqs_server) as queue:
        for kind in ("order", "refund"):
            attributes: dict[str, Any] = {"shop.kind": {"DataType": "String", "StringValue": kind}}
            await queue.client.send_message(QueueUrl=queue.url, MessageBody=kind, MessageAttributes=attributes)
        await queue.send("without")
        site = site_for(tmp_path, queue, pattern)
        async with process_on(site, sqs_server.endpoint_url) as worker:
            await queue.wait_counts(seconds=20)
            assert [each.body for each in site.journal("ended")] == ["order"]
            assert await worker.stop() == 0


@INDEPENDENT
async def test_flt_61_the_position_of_a_kinesis_shard_passes_what_does_not_match(kinesis_server: Server, tmp_path: Path) -> None:
    pattern = {"data": {"kind": ["order"]}}
    async with stream_on(kinesis_server) as stream:
        await stream.put(*[make(number) for number in range(10) for make in (refund, order)], "plain", "[]", "1")
        site = stream_site(tmp_path, {"f": stream_function("works")}, [_mapping(stream, pattern)])
        async with process_on(site, kinesis_server.endpoint_url, WORKER="one") as worker:
            await wait_seen(site, 10, worker)
            last = (await stream.put(*[refund(number) for number in range(40)]))[-1]
            await wait_until(lambda: last in checkpoints(site, "m").values(), worker.log_text())
            assert await counts(worker) == [63, 53, 10]
            assert await worker.stop() == 0
        async with process_on(site, kinesis_server.endpoint_url, WORKER="two") as worker:
            await stream.put(order(10))
            await wait_seen(site, 11, worker)
            assert await counts(worker) == [1, 0, 1]
            assert await worker.stop() == 0
    assert texts(site) == [order(number) for number in range(11)]


async def test_flt_61_a_table_is_filtered_by_image_and_by_event_name(dynamodb_server: Server, tmp_path: Path) -> None:
    """FLT-12, FLT-16: new items whose text begins with `order`."""
    pattern = {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"text": {"S": [{"prefix": "order"}]}}}}
    async with table_on(dynamodb_server) as table:
        await table.put("order a", "order b", "order c", key="1")  # two of them are changes of the first
        await table.put("refund", key="2")
        await table.put("order d", key="3")
        await table.delete("1")
        site = stream_site(tmp_path, {"f": stream_function("works")}, [_mapping(table, pattern)])
        async with process_on(site, dynamodb_server.endpoint_url, WORKER="one") as worker:
            await wait_seen(site, 2, worker)
            await worker.wait_metric("esm_polled_events_total", 6)
            assert await counts(worker) == [6, 4, 2]
            assert await worker.stop() == 0
        async with process_on(site, dynamodb_server.endpoint_url, WORKER="two") as worker:
            await table.put("order e", key="4")
            await wait_seen(site, 3, worker)
            assert await counts(worker) == [1, 0, 1]
            assert await worker.stop() == 0
    assert texts(site) == ["order a", "order d", "order e"]


def _mapping(handle: StreamHandle | TableHandle, pattern: dict[str, Any]) -> dict[str, Any]:
    arn = handle.arn if isinstance(handle, StreamHandle) else handle.stream_arn
    return stream_mapping("m", arn, FilterCriteria=filters(pattern))
