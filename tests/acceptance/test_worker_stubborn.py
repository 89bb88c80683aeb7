"""An `async def` handler that swallows its cancellation: it holds its slot, burns no CPU, and the process ends all the same."""

import signal
from pathlib import Path

from tests.acceptance.local_aws import local_aws
from tests.acceptance.worker_process import function, mapping, worker_on


async def test_a_handler_that_will_not_stop_does_not_keep_the_process(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        await aws.send("orders", "a")
        functions = {"f": {**function("works", Timeout=1), "Handler": "stubborn.handler"}}
        async with worker_on(aws, tmp_path, functions=functions, mappings=[mapping("orders")]) as worker:
            await worker.wait_log("handler_overdue")
            assert await worker.metric("esm_timeouts_total") == 1
            assert await worker.metric("esm_overdue_handlers") == 1
            used = await worker.metric("process_cpu_seconds_total")
            await aws.send("orders", "b")
            await worker.wait_metric("esm_overdue_handlers", 2)
            assert await worker.metric("process_cpu_seconds_total") - used < 0.9  # it took more than a second
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait_exit(seconds=10) == 0
            assert not worker.log("overdue_handler_returned")
