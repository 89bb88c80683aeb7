"""A queue that cannot be reached: the worker stays, does not spin, says why, and goes on by itself when the queue is back."""

import signal
import socket
from pathlib import Path

import anyio
import pytest

from tests.acceptance.local_aws import local_aws
from tests.acceptance.worker_process import Site, function, mapping, process_on, wait_until, worker_on

WORKS = {"f": function("works")}
ASKED = ("ReceiveMessage", "GetQueueAttributes", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
"""All operations that a worker asks for."""


@pytest.mark.parametrize(
    ("fault", "event", "code", "stays_ready"),
    [
        ("drop", "source_failed", "no_answer", True),
        ("error503", "source_failed", "ServiceUnavailable", True),
        ("throttle", "source_throttled", "RequestThrottled", True),
        ("access_denied", "source_failed", "AccessDenied", False),
    ],
)
async def test_an_outage_is_told_once_asked_about_seldom_and_survived(
    tmp_path: Path, *, fault: str, event: str, code: str, stays_ready: bool
) -> None:
    """A passing fault leaves the worker ready; what somebody must mend makes it unready. `/mappings` has the reason of both."""
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=1)
        async with worker_on(aws, tmp_path, functions=WORKS, mappings=[mapping("orders")]) as worker:
            await worker.wait_ready()
            await wait_until(lambda: aws.has_open_poll("orders"), "a long poll is open")
            set_faults = aws.add_faults(ASKED, fault=fault, when="before")
            await aws.send("orders", "a")  # ends the long poll; then nothing is answered any more, not even the delete
            await wait_until(lambda: set_faults["ReceiveMessage"].fired >= 1, "the outage is met")
            began = anyio.current_time()
            await wait_until(lambda: set_faults["ReceiveMessage"].fired >= 3, "two more tries")
            assert anyio.current_time() - began > 0.6  # pauses of at least 0.25 and 0.5 s lie between them
            assert set_faults["ReceiveMessage"].fired == 3
            assert set_faults["DeleteMessageBatch"].fired <= 2

            told = worker.log(event)
            assert [line["code"] for line in told] == [code]
            shown = await worker.mapping("orders")
            assert (shown["error"], shown["ready"]) == (code, stays_ready)
            assert "ReceiveMessage on orders" in shown["why"]
            page = await worker.page("/readyz")
            assert page.status == (200 if stays_ready else 503)
            assert stays_ready or "ReceiveMessage on orders" in page.json["waiting"]["orders"]
            assert (await worker.page("/healthz")).status == 200

            aws.clear_faults()
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
            await worker.wait_ready()
            shown = await worker.mapping("orders")
            assert (shown["error"], shown["why"], shown["restarts"]) == (None, None, 0)
            assert [line["failures"] > 0 for line in worker.log("source_answered")] == [False, True]
            assert len(worker.log()) < 25
            assert await worker.stop() == 0


async def test_a_page_of_html_instead_of_an_answer_is_no_reason_to_spin(tmp_path: Path) -> None:
    """A proxy may answer 200 with a page of its own, which the SDK shows as an empty answer."""
    async with local_aws() as aws:
        await aws.make_queue("orders")
        async with worker_on(aws, tmp_path, functions=WORKS, mappings=[mapping("orders")]) as worker:
            await worker.wait_ready()
            await wait_until(lambda: aws.has_open_poll("orders"), "a long poll is open")
            garbage = aws.add_fault(fault="garbage", operation="ReceiveMessage", when="before")
            await aws.send("orders", "a")  # ends the long poll
            await wait_until(lambda: garbage.fired >= 1, "the outage is met")
            began = anyio.current_time()
            await wait_until(lambda: garbage.fired >= 4, "three more tries", seconds=60)
            assert anyio.current_time() - began > 0.6
            assert garbage.fired < 20
            aws.clear_faults()
            await aws.send("orders", "b")
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")


async def test_a_delete_that_was_answered_with_a_page_of_html_is_not_counted(tmp_path: Path) -> None:
    """SQS-56, MET-07: what the queue did not confirm was not deleted."""
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=2)
        aws.add_fault(fault="garbage", operation="DeleteMessageBatch", when="before", times=2)
        await aws.send("orders", "a")
        async with worker_on(aws, tmp_path, functions=WORKS, mappings=[mapping("orders")]) as worker:
            await wait_until(lambda: aws.is_empty("orders"), "the second delivery is deleted")
            assert worker.log("delete_refused")
            assert await worker.metric("esm_invoked_events_total") == 2
            await worker.wait_metric("esm_deleted_events_total", 1)


async def test_a_worker_that_is_started_before_its_endpoint_waits_for_it(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    site = Site(tmp_path)
    site.write_config(WORKS, [mapping("orders")])
    async with process_on(site, f"http://127.0.0.1:{port}") as worker:
        told = await worker.wait_log("source_failed")
        assert told["code"] == "no_answer"
        page = await worker.page("/readyz")
        assert (page.status, page.json["status"]) == (503, "waiting")
        assert "GetQueueAttributes on orders: no answer" in page.json["waiting"]["orders"]
        assert (await worker.mapping("orders"))["State"] == "Creating"
        async with local_aws(port=port) as aws:
            await aws.make_queue("orders")
            await aws.send("orders", "a")
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
            await worker.wait_ready()
            assert len(worker.log("source_failed")) <= 2  # it may have looked between the endpoint's start and the queue's
            assert (await worker.mapping("orders"))["State"] == "Enabled"
            assert await worker.stop() == 0


async def test_a_queue_that_is_not_there_is_found_once_it_is_made(tmp_path: Path) -> None:
    """SQS-10 has AWS refuse such a mapping; a worker that starts together with its queue must wait instead."""
    async with local_aws() as aws:
        await aws.make_queue("others")
        await aws.send("others", "a")
        async with worker_on(aws, tmp_path, functions=WORKS, mappings=[mapping("orders"), mapping("others")]) as worker:
            await wait_until(lambda: aws.is_empty("others"), "the mapping beside it works")
            page = await worker.page("/readyz")
            assert page.status == 503
            assert "NonExistentQueue" in page.json["waiting"]["orders"]
            await aws.make_queue("orders")
            await worker.wait_ready()
            assert len(worker.log("source_failed")) == 1


async def test_a_worker_stops_promptly_while_its_queue_cannot_be_reached(tmp_path: Path) -> None:
    """The drain ends every back-off pause."""
    async with local_aws() as aws:
        await aws.make_queue("orders")
        aws.add_faults(ASKED, fault="access_denied")
        async with worker_on(aws, tmp_path, functions=WORKS, mappings=[mapping("orders")], grace=60) as worker:
            await worker.wait_log("source_failed")
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait_exit(seconds=5) == 0
        assert worker.log()[-1]["event"] == "worker_stopped"
