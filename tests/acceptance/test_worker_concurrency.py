"""How much is polled and run at once."""

from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from tests.acceptance.local_aws import ACCOUNT, REGION, local_aws
from tests.acceptance.worker_process import function, mapping, wait_until, worker_on


async def test_two_mappings_share_a_reserved_concurrency_of_one_and_both_move_on(tmp_path: Path) -> None:
    async with local_aws() as aws:
        for name in ("orders", "returns"):
            await aws.make_queue(name)
            await aws.send(name, *(str(n) for n in range(20)))
        functions = {"f": function("takes_a_moment", ReservedConcurrentExecutions=1)}
        mappings = [mapping("orders", BatchSize=1), mapping("returns", BatchSize=1)]
        async with worker_on(aws, tmp_path, functions=functions, mappings=mappings) as worker:
            await wait_until(lambda: aws.is_empty("orders", "returns"), "both queues are empty")
            assert await worker.metric("esm_throttles_total") == 0
        calls = worker.site.calls()
        assert len(calls) == 40
        assert all(later.began >= earlier.ended for earlier, later in pairwise(calls)), "two ran at once"
        for start in (0, 10, 20):
            assert {call.queue for call in calls[start : start + 10]} == {"orders", "returns"}


async def test_a_function_with_reserved_concurrency_0_receives_nothing_and_is_ready(tmp_path: Path) -> None:
    async with local_aws() as aws:
        for name in ("paused", "control"):
            await aws.make_queue(name)
        (waiting,) = await aws.send("paused", "a")
        functions = {"f": function("works"), "zero": function("works", ReservedConcurrentExecutions=0)}
        mappings = [mapping("paused", "zero"), mapping("control")]
        async with worker_on(aws, tmp_path, functions=functions, mappings=mappings) as worker:
            await worker.wait_ready()
            await aws.send("control", "a")
            await wait_until(lambda: aws.is_empty("control"), "the mapping beside it works")
            message = aws.endpoint.state.queue("paused", account=ACCOUNT, region=REGION).find(waiting)
            assert message is not None
            assert message.receives == 0
            assert (await worker.mapping("paused"))["why"] == "function zero has ReservedConcurrentExecutions 0"
            assert await worker.stop() == 0


async def test_a_mapping_that_is_not_enabled_receives_nothing_and_is_ready(tmp_path: Path) -> None:
    """SQS-81."""
    async with local_aws() as aws:
        await aws.make_queue("control")
        mappings = [mapping("off", Enabled=False), mapping("control")]
        async with worker_on(aws, tmp_path, functions={"f": function("works")}, mappings=mappings) as worker:
            await worker.wait_ready()  # a queue that does not even exist is no reason to wait
            assert (await worker.mapping("off"))["State"] == "Disabled"
            assert await worker.stop() == 0
        assert not worker.log("source_failed")
        assert aws.requests("GetQueueAttributes") == 1


async def test_a_window_gathers_more_than_one_receive_can_bring(tmp_path: Path) -> None:
    """SQS-32, SQS-35."""
    async with local_aws() as aws:
        await aws.make_queue("orders")
        sent = await aws.send("orders", *(str(n) for n in range(60)))
        gathering = mapping("orders", BatchSize=100, MaximumBatchingWindowInSeconds=2)
        async with worker_on(aws, tmp_path, functions={"f": function("works")}, mappings=[gathering]) as worker:
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
            assert await worker.metric("esm_batch_records_sum") == 60
        calls = worker.site.calls()
        assert max(call.records for call in calls) > 10
        assert {each.id for each in worker.site.journal("ended")} == set(sent)


async def test_thirty_messages_in_batches_of_twenty_are_two_invocations(tmp_path: Path) -> None:
    """SQS-34, as recorded on AWS."""
    async with local_aws() as aws:
        await aws.make_queue("orders")
        await aws.send("orders", *(str(n) for n in range(30)))
        gathering = mapping("orders", BatchSize=20, MaximumBatchingWindowInSeconds=1, ScalingConfig={"MaximumConcurrency": 2})
        async with worker_on(aws, tmp_path, functions={"f": function("works")}, mappings=[gathering]) as worker:
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
        assert sorted(call.records for call in worker.site.calls()) == [10, 20]


@pytest.mark.slow
async def test_three_idle_queues_cost_three_long_polls_a_minute_each(tmp_path: Path) -> None:
    """SQS-30. One short poll shows that a queue answers; from then on every poll takes its 20 seconds."""
    names = ("orders", "returns", "refunds")
    async with local_aws() as aws:
        for name in names:
            await aws.make_queue(name)
        mappings = [mapping(name) for name in names]
        async with worker_on(aws, tmp_path, functions={"f": function("works")}, mappings=mappings) as worker:
            await worker.wait_ready()
            began = anyio.current_time()
            await wait_until(lambda: aws.requests("ReceiveMessage") >= 9, "a second long poll on every queue", seconds=60)
            assert anyio.current_time() - began > 19
            assert aws.requests("ReceiveMessage") == 9
            assert aws.requests("GetQueueAttributes") == 3
            assert await worker.metric("esm_aws_requests_total", operation="ReceiveMessage", outcome="empty") == 6
