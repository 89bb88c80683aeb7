"""Handlers that fail, partly or wholly, and handlers that would take the process with them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.local_aws import local_aws
from tests.acceptance.worker_process import function, mapping, wait_until, worker_on

REPORTS: dict[str, Any] = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
TOLD = {"f": function("fails_as_told")}


async def test_only_the_items_that_a_handler_reports_come_again(tmp_path: Path) -> None:
    """SQS-60."""
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=2)
        good, bad, also_good = await aws.send("orders", "{}", json.dumps({"fail": 1}), json.dumps({"n": 3}))
        async with worker_on(aws, tmp_path, functions=TOLD, mappings=[mapping("orders", **REPORTS)]) as worker:
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
            began = worker.site.journal("began")
            assert sorted((each.id, each.receives) for each in began) == sorted([(good, 1), (bad, 1), (also_good, 1), (bad, 2)])
            assert len({each.call for each in began}) == 2
            await worker.wait_metric("esm_deleted_events_total", 3)
            assert await worker.metric("esm_failed_invoke_events_total") == 1
            assert await worker.metric("esm_errors_total") == 0


async def test_without_report_batch_item_failures_an_answer_that_names_items_is_a_success(tmp_path: Path) -> None:
    """SQS-50, section "ReportBatchItemFailures": the answer is read only if the mapping says so."""
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=2)
        await aws.send("orders", json.dumps({"fail": 1}))
        async with worker_on(aws, tmp_path, functions=TOLD, mappings=[mapping("orders")]) as worker:
            await worker.wait_metric("esm_deleted_events_total", 1)
            assert aws.is_empty("orders")


@pytest.mark.parametrize("parameters", [{}, REPORTS])
async def test_after_a_function_error_the_batch_comes_again_when_its_visibility_timeout_is_over(
    tmp_path: Path, parameters: dict[str, Any]
) -> None:
    """SQS-51."""
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=2)
        sent = await aws.send("orders", json.dumps({"raise": 1}), json.dumps({"raise": 1, "n": 2}))
        async with worker_on(aws, tmp_path, functions=TOLD, mappings=[mapping("orders", **parameters)]) as worker:
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
            noted = worker.site.journal("began")
            first = {each.id: each for each in noted if each.receives == 1}
            second = {each.id: each for each in noted if each.receives == 2}
            assert first.keys() == second.keys() == set(sent)
            assert len(noted) == 4
            for message_id in sent:
                assert second[message_id].handle != first[message_id].handle
                assert second[message_id].at - first[message_id].at > 1.5  # the 2 s run from the receive
            assert await worker.metric("esm_errors_total") == 1
            assert await worker.metric("esm_failed_invoke_events_total") == 2
            assert aws.requests("ChangeMessageVisibilityBatch") == 0  # "visibility is not reset"
            (told,) = worker.log("function_failed")
            assert (told["error_type"], told["records"]) == ("RuntimeError", 2)


@pytest.mark.parametrize("handler", ["misbehaves", "misbehaves_async"])
async def test_a_handler_cannot_end_the_worker_and_what_it_failed_ends_in_the_dead_letter_queue(
    tmp_path: Path, handler: str
) -> None:
    """COM-31, COM-37, SQS-55."""
    ways = ["exits", "exits with success", "interrupts", "gives up", "answers with an object", "answers with a set"]
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=1, dead_after=2)
        functions = {"f": function(handler)}
        async with worker_on(aws, tmp_path, functions=functions, mappings=[mapping("orders", BatchSize=1)]) as worker:
            await aws.send("orders", *ways)
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty")
            await aws.send("orders", "works")
            await worker.wait_metric("esm_deleted_events_total", 1)
            assert worker.alive
            assert (await worker.page("/readyz")).status == 200
            assert await worker.metric("esm_mapping_restarts_total") == 0
            assert await worker.metric("esm_errors_total") == 2 * len(ways)
            kinds = {line["error_type"] for line in worker.log("function_failed")}
            assert kinds == {"Runtime.ExitError", "Runtime.MarshalError"}
            assert await worker.stop() == 0
        dead = await aws.receive_all("orders-dead")
        assert sorted(message["Body"] for message in dead) == sorted(ways)
