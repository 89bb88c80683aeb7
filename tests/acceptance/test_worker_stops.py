"""The life of a worker process: it starts, works, and stops without killing or forgetting work (DESIGN section 4)."""

import signal
from pathlib import Path

import pytest

from tests.acceptance.local_aws import LocalAws, local_aws
from tests.acceptance.worker_process import Site, WorkerProcess, function, mapping, process_on, wait_until, worker_on

HOLDS = {"f": function("holds", Timeout=30)}


async def test_messages_are_delivered_deleted_and_counted(tmp_path: Path) -> None:
    """SQS-50, MET-01, MET-03, MET-07."""
    async with local_aws() as aws:
        await aws.make_queue("orders")
        sent = await aws.send("orders", *(f"order {n}" for n in range(25)))
        aws.add_fault(fault="access_denied", operation="GetQueueAttributes")
        async with worker_on(aws, tmp_path, functions={"f": function("works")}, mappings=[mapping("orders")]) as worker:
            before = await worker.page("/readyz")
            assert (before.status, before.json["status"], list(before.json["waiting"])) == (503, "waiting", ["orders"])
            aws.clear_faults()
            await worker.wait_ready()
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
            await worker.wait_metric("esm_deleted_events_total", 25, mapping="orders", source="sqs")
            assert await worker.metric("esm_polled_events_total") == 25
            assert await worker.metric("esm_invoked_events_total") == 25
            assert await worker.metric("esm_errors_total") == 0
            assert (await worker.page("/healthz")).status == 200
            shown = await worker.mapping("orders")
            assert (shown["State"], shown["LastProcessingResult"], shown["why"]) == ("Enabled", "OK", None)
            assert await worker.stop() == 0
        assert sorted(each.id for each in worker.site.journal("ended")) == sorted(sent)
        last = worker.log()[-1]
        assert (last["event"], last["released"], last["abandoned"]) == ("worker_stopped", 0, 0)


async def _hold_five(aws: LocalAws, worker: WorkerProcess) -> None:
    """Brings the worker to where one batch of five is with its handler and a long poll is open."""
    await aws.send("orders", *"abcde")
    await wait_until(lambda: len(worker.site.journal("began")) == 5, "a batch is with its handler")
    await wait_until(lambda: aws.has_open_poll("orders"), "a long poll is open")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_in_mid_batch_lets_the_batch_finish_and_gives_back_what_an_open_poll_brings(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        async with worker_on(aws, tmp_path, grace=20, functions=HOLDS, mappings=[mapping("orders")]) as worker:
            await worker.wait_ready()
            await _hold_five(aws, worker)
            worker.send_signal(number)
            assert (await worker.wait_log("drain_began"))["signal"] == number.name
            page = await worker.page("/readyz")
            assert (page.status, page.json["status"]) == (503, "draining")
            assert (await worker.page("/healthz")).status == 200

            (late,) = await aws.send("orders", "late")  # the open long poll brings it
            await worker.wait_metric("esm_released_events_total", 1)
            assert aws.counts("orders") == (1, 5)
            received = aws.requests("ReceiveMessage")

            worker.site.open_gate()
            assert await worker.wait_exit() == 0
            assert aws.requests("ReceiveMessage") == received
            assert aws.counts("orders") == (1, 0)
            (message,) = await aws.receive_all("orders")
            assert message["MessageId"] == late
        assert {each.body for each in worker.site.journal("ended")} == set("abcde")
        last = worker.log()[-1]
        assert (last["event"], last["finished"], last["released"], last["abandoned"]) == ("worker_stopped", 5, 1, 0)


async def test_an_open_window_is_given_back_whole_and_never_handled(tmp_path: Path) -> None:
    """DESIGN section 4: open windows are given back; no record is received twice, or the next receive would be one too many."""
    async with local_aws() as aws:
        await aws.make_queue("orders", dead_after=2)
        sent = await aws.send("orders", *"abcde")
        gathering = mapping("orders", BatchSize=100, MaximumBatchingWindowInSeconds=300)
        async with worker_on(aws, tmp_path, functions=HOLDS, mappings=[gathering], grace=60) as worker:
            await worker.wait_metric("esm_polled_events_total", 5)
            await wait_until(lambda: aws.has_open_poll("orders"), "it waits for more")
            worker.send_signal(signal.SIGTERM)
            await worker.wait_log("drain_began")
            sent += await aws.send("orders", "late")  # ends the open poll
            assert await worker.wait_exit(seconds=10) == 0
        assert aws.counts("orders") == (6, 0)
        messages = [aws.queue("orders").find(message_id) for message_id in sent]
        assert [message and message.receives for message in messages] == [1] * 6
        assert not worker.site.journal()
        assert worker.log()[-1]["released"] == 6


async def test_a_second_signal_cuts_the_drain_short(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        async with worker_on(aws, tmp_path, grace=60, functions=HOLDS, mappings=[mapping("orders")]) as worker:
            await worker.wait_ready()
            await _hold_five(aws, worker)
            worker.send_signal(signal.SIGTERM)
            await worker.wait_log("drain_began")
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait_exit() == 3
        assert [line["records"] for line in worker.log("records_abandoned")] == [5]
        assert worker.log()[-1]["abandoned"] == 5
        assert aws.counts("orders") == (0, 5)  # not deleted: they come back


@pytest.mark.parametrize("handler", ["holds", "holds_async"])
async def test_work_that_outlasts_the_grace_period_is_abandoned(tmp_path: Path, handler: str) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        functions = {"f": function(handler, Timeout=30)}
        async with worker_on(aws, tmp_path, grace=1, functions=functions, mappings=[mapping("orders")]) as worker:
            await worker.wait_ready()
            await _hold_five(aws, worker)
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait_exit() == 3
        last = worker.log()[-1]
        assert (last["event"], last["finished"], last["abandoned"]) == ("worker_stopped", 0, 5)
        assert aws.counts("orders") == (0, 5)


async def test_after_kill_9_in_mid_batch_nothing_is_lost(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=2)
        sent = await aws.send("orders", *(str(n) for n in range(60)))
        site = Site(tmp_path)
        limited = mapping("orders", ScalingConfig={"MaximumConcurrency": 3})
        site.write_config({"f": function("holds", Timeout=30)}, [limited])
        async with process_on(site, aws.endpoint.url) as first:
            await wait_until(lambda: len(site.journal("began")) >= 30, "three batches are with their handlers")
            first.send_signal(signal.SIGKILL)
            assert await first.wait_exit() == -signal.SIGKILL
        assert not site.journal("ended")
        site.open_gate()
        async with process_on(site, aws.endpoint.url) as second:
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
            assert await second.stop() == 0
        assert {each.id for each in site.journal("ended")} == set(sent)
        assert {1, 2} <= {each.receives for each in site.journal("ended")}


async def test_a_worker_whose_slots_are_all_taken_leaves_at_once_when_its_work_is_done(tmp_path: Path) -> None:
    """Nothing but the work itself holds up the end: no poll is open, and nothing else sleeps through it."""
    async with local_aws() as aws:
        await aws.make_queue("orders")
        functions = {"f": function("holds", Timeout=30, ReservedConcurrentExecutions=1)}
        async with worker_on(aws, tmp_path, functions=functions, mappings=[mapping("orders")], grace=60) as worker:
            await worker.wait_ready()
            await aws.send("orders", "a")
            await wait_until(lambda: len(worker.site.journal("began")) == 1, "the message is with its handler")
            worker.send_signal(signal.SIGTERM)
            await worker.wait_log("drain_began")
            worker.site.open_gate()
            assert await worker.wait_exit(seconds=5) == 0
        assert aws.is_empty("orders")
