"""Handlers that take long: their records stay hidden from others, and their time limit holds."""

import signal
from pathlib import Path

from tests.acceptance.local_aws import local_aws
from tests.acceptance.worker_process import function, mapping, wait_until, worker_on


async def test_what_a_slow_handler_works_on_is_not_delivered_twice_and_what_waits_is_not_received(tmp_path: Path) -> None:
    """SQS-42: two batches of ten are with handlers for more than twice the queue's visibility timeout; thirty records wait."""
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=2)
        sent = await aws.send("orders", *(str(n) for n in range(50)))
        functions = {"f": function("holds_async", Timeout=30)}
        limited = mapping("orders", ScalingConfig={"MaximumConcurrency": 2})
        async with worker_on(aws, tmp_path, functions=functions, mappings=[limited]) as worker:
            await wait_until(lambda: len(worker.site.journal("began")) == 20, "two batches are with handlers")
            extended = aws.requests("ChangeMessageVisibilityBatch")
            await wait_until(lambda: aws.requests("ChangeMessageVisibilityBatch") >= extended + 10, "five extensions of both")
            assert aws.counts("orders") == (30, 20)
            assert aws.requests("ReceiveMessage") == 2
            shown = await worker.mapping("orders")
            assert (shown["delivering"], shown["why"]) == (2, "all 2 slots are taken by invocations")
            assert await worker.metric("esm_concurrent_executions") == 2
            worker.site.open_gate()
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
            assert await worker.metric("esm_visibility_lost_events_total") == 0
        noted = worker.site.journal("began")
        assert sorted(each.id for each in noted) == sorted(sent)
        assert {each.receives for each in noted} == {1}


async def test_a_plain_handler_past_its_time_limit_keeps_its_slot_until_it_returns(tmp_path: Path) -> None:
    """COM-36."""
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=1)
        await aws.send("orders", "a")
        functions = {"f": function("holds", Timeout=1, ReservedConcurrentExecutions=1)}
        async with worker_on(aws, tmp_path, functions=functions, mappings=[mapping("orders")]) as worker:
            await worker.wait_metric("esm_overdue_handlers", 1)
            assert await worker.metric("esm_timeouts_total") == 1
            assert await worker.metric("esm_errors_total") == 1
            assert worker.log("handler_overdue")[0]["level"] == "warning"
            shown = await worker.mapping("orders")
            assert (shown["overdue"], shown["delivering"]) == (1, 0)
            assert "past their time limit" in shown["why"]
            received = aws.requests("ReceiveMessage")

            await aws.send("orders", "b")
            await wait_until(lambda: aws.counts("orders") == (2, 0), "both are there for whoever asks")
            assert aws.requests("ReceiveMessage") == received
            assert len(worker.site.journal("began")) == 1

            worker.site.open_gate()
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
            await worker.wait_metric("esm_overdue_handlers", 0)
            assert worker.log("overdue_handler_returned")
            assert {each.body for each in worker.site.journal("ended")} == {"a", "b"}


async def test_a_handler_that_never_returns_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        functions = {"f": function("holds", Timeout=1, ReservedConcurrentExecutions=1)}
        async with worker_on(aws, tmp_path, functions=functions, mappings=[mapping("orders")], grace=2) as worker:
            await aws.send("orders", "a")
            await worker.wait_metric("esm_overdue_handlers", 1)
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait_exit(seconds=10) == 0  # its invocation was decided long ago: nothing is abandoned
        assert not worker.site.journal("ended")
        assert aws.counts("orders") == (0, 1)  # comes back by its visibility timeout (SQS-51)


async def test_an_async_handler_past_its_time_limit_is_cancelled(tmp_path: Path) -> None:
    """COM-36."""
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=1, dead_after=1)
        await aws.send("orders", "a")
        functions = {"f": function("holds_async", Timeout=1)}
        async with worker_on(aws, tmp_path, functions=functions, mappings=[mapping("orders")]) as worker:
            await worker.wait_metric("esm_timeouts_total", 1)
            assert await worker.metric("esm_overdue_handlers") == 0
            (told,) = worker.log("function_failed")
            assert told["error_type"] == "Sandbox.Timedout"
            assert [each.body for each in worker.site.journal("cancelled")] == ["a"]
            await wait_until(lambda: aws.counts("orders-dead") == (1, 0), "the message is in the dead-letter queue")
