"""At least once, and in order where there is an order, with handlers that fail at random."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.acceptance.local_aws import local_aws
from tests.acceptance.worker_process import Noted, function, mapping, wait_until, worker_on

REPORTS: dict[str, Any] = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


async def test_ten_thousand_messages_end_handled_or_in_the_dead_letter_queue(tmp_path: Path) -> None:
    """SQS-50, SQS-51, SQS-55, SQS-60."""
    bodies = ["poison" if n % 200 == 0 else f"order {n}" for n in range(10_000)]
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=2, dead_after=3)
        functions = {"f": function("fails_at_random", Timeout=10)}
        async with worker_on(aws, tmp_path, functions=functions, mappings=[mapping("orders", **REPORTS)]) as worker:
            sent = await aws.send("orders", *bodies)
            await wait_until(lambda: aws.is_empty("orders"), "the queue is empty", seconds=120)
            deleted = await worker.metric("esm_deleted_events_total")
            assert await worker.metric("esm_polled_events_total") > 11_000  # many came more than once
            assert await worker.stop() == 0
        dead = {message["MessageId"] for message in await aws.receive_all("orders-dead")}
        assert len(sent) == deleted + len(dead)
        handled = {each.id for each in worker.site.journal("ended")}
        assert handled | dead == set(sent)
        poison = {message_id for message_id, body in zip(sent, bodies, strict=True) if body == "poison"}
        assert poison <= dead
        assert len(dead) < 500  # 50 poisoned ones, and those that chance failed three times


async def test_fifo_groups_keep_their_order_through_failures_and_run_side_by_side(tmp_path: Path) -> None:
    """SQS-45, SQS-48, SQS-68."""
    groups = [f"group-{n}" for n in range(20)]
    async with local_aws() as aws:
        await aws.make_queue("orders.fifo", visibility=1)
        sent = {group: await aws.send("orders.fifo", *(f"{group} {n}" for n in range(10)), group=group) for group in groups}
        functions = {"f": function("keeps_order", Timeout=10)}
        async with worker_on(aws, tmp_path, functions=functions, mappings=[mapping("orders.fifo", **REPORTS)]) as worker:
            await wait_until(lambda: aws.is_empty("orders.fifo"), "the queue is empty", seconds=60)
            assert await worker.stop() == 0
        ended = worker.site.journal("ended")
        for group, ids in sent.items():
            first_successes = list(dict.fromkeys(each.id for each in ended if each.group == group))
            assert first_successes == ids, group
        assert any(each.receives > 1 for each in ended)
        for group in groups:
            assert not _overlap(worker.site.journal(), group), group
        calls = worker.site.calls()
        assert any(later.began < earlier.ended for earlier, later in pairwise(calls)), "no two batches ran side by side"


def _overlap(noted: list[Noted], group: str) -> bool:
    """Whether two invocations had records of the group in hand at one time."""
    in_hand: set[str] = set()
    for each in sorted((each for each in noted if each.group == group and each.what != "ended"), key=lambda each: each.at):
        if each.what == "left":
            in_hand.discard(each.call)
        else:
            in_hand.add(each.call)
        if len(in_hand) > 1:
            return True
    return False
