"""A Powertools handler as its documentation has it, moved out of Lambda unchanged: nothing that failed is deleted."""

import json
from pathlib import Path

from tests.acceptance.local_aws import local_aws
from tests.acceptance.worker_process import function, mapping, wait_until, worker_on


async def test_a_processor_in_a_module_global_loses_no_failure(tmp_path: Path) -> None:
    """Two batches at once would answer with each other's failures: the worker sees it coming and runs one at a time."""
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=1, dead_after=1)
        bodies = [json.dumps({"n": number}) for number in range(300)]
        await aws.send("orders", *bodies)
        functions = {"f": {**function("works", Timeout=30), "Handler": "powertools.handler"}}
        mappings = [
            mapping("orders", FunctionResponseTypes=["ReportBatchItemFailures"], ScalingConfig={"MaximumConcurrency": 10})
        ]
        async with worker_on(aws, tmp_path, functions=functions, mappings=mappings) as worker:
            await wait_until(lambda: aws.is_empty("orders"), "every message has met its fate", seconds=60)
            dead = {json.loads(message["Body"])["n"] for message in await aws.receive_all("orders-dead")}
            assert dead == set(range(0, 300, 3))
            assert "Powertools batch processor (powertools.processor)" in worker.log("config_warned")[-1]["warning"]
            assert await worker.metric("esm_deleted_events_total") == 200
