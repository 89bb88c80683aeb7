"""The real `esm run` against a queue on every server: it delivers, deletes, dead-letters and drains."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.worker_process import Site, WorkerProcess, function, process_on, wait_until
from tests.servers.queues import QueueHandle, queue_on
from tests.servers.running import Server


def site_for(folder: Path, queue: QueueHandle, handler: str, *, grace: int = 1, **parameters: Any) -> Site:
    site = Site(folder)
    mapping = {"name": "m", "FunctionName": "f", "EventSourceArn": queue.arn, **parameters}
    site.write_config({"f": function(handler, Timeout=10)}, [mapping], grace=grace)
    return site


async def wait_handled(worker: WorkerProcess, site: Site, what: str, count: int) -> None:
    await wait_until(lambda: len({each.id for each in site.journal(what)}) >= count, f"{count} handled\n{worker.log_text()}")


async def test_a_queue_is_worked_off_and_poison_ends_in_the_dead_letter_queue(sqs_server: Server, tmp_path: Path) -> None:
    async with queue_on(sqs_server) as dead:
        redrive = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2})
        async with queue_on(sqs_server, attributes={"VisibilityTimeout": "2", "RedrivePolicy": redrive}) as queue:
            await queue.send(*(json.dumps({"n": number}) for number in range(25)))
            await queue.send(json.dumps({"fail": 1}), json.dumps({"fail": 99}), json.dumps({"raise": 1}))
            site = site_for(tmp_path, queue, "fails_as_told", FunctionResponseTypes=["ReportBatchItemFailures"])
            async with process_on(site, sqs_server.endpoint_url) as worker:
                await worker.wait_ready()
                await wait_handled(worker, site, "ended", 27)
                await dead.wait_counts(visible=1, seconds=40)
                await queue.wait_counts(seconds=20)
                assert await worker.metric("esm_deleted_events_total") == 27
                (record,) = await dead.receive(wait=5)
                assert record["Body"] == '{"fail": 99}'
                assert await worker.stop() == 0


async def test_sigterm_in_mid_batch_finishes_it_and_gives_nothing_up(sqs_server: Server, tmp_path: Path) -> None:
    async with queue_on(sqs_server, attributes={"VisibilityTimeout": "60"}) as queue:
        ids = await queue.send(*(f"{number}" for number in range(4)))
        site = site_for(tmp_path, queue, "holds", grace=30, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
        async with process_on(site, sqs_server.endpoint_url) as worker:
            await wait_handled(worker, site, "began", 2)
            worker.send_signal(signal.SIGTERM)
            await worker.wait_log("drain_began")
            site.open_gate()
            assert await worker.wait_exit(seconds=40) == 0
            stopped = worker.log("worker_stopped")[0]
            assert stopped["abandoned"] == 0
        assert len(site.journal("ended")) == 2
        await queue.wait_counts(visible=2)
        left = await queue.receive(wait=5)
        assert {each["MessageId"] for each in left} == set(ids) - {each.id for each in site.journal("ended")}


@pytest.mark.like_aws("fifo_ok")
async def test_fifo_groups_keep_their_order_through_failures(sqs_server: Server, tmp_path: Path) -> None:
    groups = {
        group: [json.dumps({"group": group, "n": n, **({"raise": 1} if n == 2 else {})}) for n in range(5)] for group in "abcd"
    }
    async with queue_on(sqs_server, fifo=True, attributes={"VisibilityTimeout": "2"}) as queue:
        for group, bodies in groups.items():
            await queue.send(*bodies, group=group)
        site = site_for(tmp_path, queue, "fails_as_told", BatchSize=1, FunctionResponseTypes=["ReportBatchItemFailures"])
        async with process_on(site, sqs_server.endpoint_url) as worker:
            await wait_handled(worker, site, "ended", 20)
            await queue.wait_counts(seconds=20)
            assert await worker.stop() == 0
        for group, bodies in groups.items():
            done = [each.body for each in site.journal("ended") if each.group == group]
            assert list(dict.fromkeys(done)) == bodies


async def test_a_window_assembles_more_than_one_receive(sqs_server: Server, tmp_path: Path) -> None:
    async with queue_on(sqs_server) as queue:
        await queue.send(*(f"{number}" for number in range(35)))
        site = site_for(tmp_path, queue, "works", BatchSize=100, MaximumBatchingWindowInSeconds=2)
        async with process_on(site, sqs_server.endpoint_url) as worker:
            await wait_handled(worker, site, "ended", 35)
            await queue.wait_counts(seconds=20)
            assert max(call.records for call in site.calls()) > 10
            assert await worker.stop() == 0


async def test_a_slow_handler_keeps_its_messages(sqs_server: Server, tmp_path: Path) -> None:
    async with queue_on(sqs_server, attributes={"VisibilityTimeout": "2"}) as queue:
        await queue.send("a", "b")
        site = site_for(tmp_path, queue, "holds_async")
        async with process_on(site, sqs_server.endpoint_url) as worker:
            await wait_handled(worker, site, "began", 2)

            async def extended() -> bool:
                return await worker.metric("esm_aws_requests_total", operation="ChangeMessageVisibilityBatch", outcome="ok") >= 4

            await wait_until(extended, "four extensions: twice the visibility timeout")
            site.open_gate()
            await queue.wait_counts(seconds=20)
            assert {each.receives for each in site.journal()} == {1}
            assert await worker.stop() == 0
