"""A queue mapping with filters, in virtual time: what does not match is deleted and never seen (FLT-60, FLT-64)."""

from typing import Any

import anyio
import pytest
import structlog

from handlers.invoker import Outcome, Succeeded
from pollers.errors import SourceUnavailable
from pollers.record import Record
from pollers.source import Refusal
from runtime.core.mapping import BatchLimits
from tests.fakes.queue import FakeQueue
from tests.fakes.virtual_time import virtual_time
from tests.fakes.worker import FakeInvoker, FakeWorker, error, running

WANTED = '{"kind": "order"}'
OTHER = '{"kind": "refund"}'
ORDERS = ['{"body": {"kind": ["order"]}}']


class SlowQueue(FakeQueue):
    """Each request takes a tenth of a second."""

    async def _receive(self, limit: int, wait: int, visibility: int) -> list[Record]:
        await anyio.sleep(0.1)
        return await super()._receive(limit, wait, visibility)

    async def delete(self, records: Any) -> list[Refusal]:
        await anyio.sleep(0.1 * -(-len(records) // 80))  # ten in a request, and eight of those at once
        return await super().delete(records)


def counts(worker: FakeWorker) -> tuple[float, float, float, float]:
    names = ("polled", "filtered_out", "invoked", "deleted")
    polled, filtered, invoked, deleted = (worker.metric(f"esm_{name}_events_total") for name in names)
    return polled, filtered, invoked, deleted


@virtual_time
async def test_flt_60_what_does_not_match_is_deleted_and_never_invoked() -> None:
    queue = FakeQueue()
    wanted = [queue.send(WANTED, OTHER, "no JSON")[0] for _ in range(20)]
    async with running(queue, FakeInvoker(), filters=ORDERS) as worker:
        await worker.wait(lambda: not queue.messages)
        assert sorted(id_ for batch in worker.invoker.invoked for id_ in batch) == sorted(wanted)
        assert sorted(queue.deleted) == sorted(f"m{n}" for n in range(1, 61))
        assert counts(worker) == (60, 40, 20, 20)  # MET-02, MET-22: polled = invoked + filtered out


@virtual_time
async def test_flt_11_the_handler_gets_the_body_as_it_came() -> None:
    queue = FakeQueue()
    bodies: list[str] = []

    async def look(records: list[dict[str, Any]]) -> Outcome:
        bodies.extend(record["body"] for record in records)
        return Succeeded(response=None)

    queue.send('{"kind":   "order", "kind": "order"}')
    async with running(queue, FakeInvoker(look), filters=ORDERS) as worker:
        await worker.wait(lambda: not queue.messages)
        assert bodies == ['{"kind":   "order", "kind": "order"}']


@virtual_time
async def test_what_is_left_out_is_deleted_while_the_handler_still_works_on_the_rest() -> None:
    queue, gate = FakeQueue(), anyio.Event()

    async def hold(_: list[dict[str, Any]]) -> Outcome:
        await gate.wait()
        return Succeeded(response=None)

    queue.send(WANTED, OTHER)
    async with running(queue, FakeInvoker(hold), filters=ORDERS) as worker:
        await worker.wait(lambda: queue.deleted == ["m2"], within=5)
        assert worker.invoker.running == 1
        gate.set()
        await worker.wait(lambda: not queue.messages)


@virtual_time
async def test_what_is_left_out_does_not_count_toward_the_batch_and_is_gone_before_the_window_ends() -> None:
    queue = FakeQueue(visibility_timeout=30)
    queue.send(*[OTHER, WANTED] * 40)
    async with running(queue, FakeInvoker(), limits=BatchLimits(records=100, window=60), filters=ORDERS) as worker:
        await anyio.sleep(30)
        assert len(queue.messages) == 40  # the wanted ones, held by the open window
        assert worker.invoker.invoked == []
        queue.send(*[OTHER, WANTED] * 60)
        await worker.wait(lambda: not queue.messages)
        assert [len(batch) for batch in worker.invoker.invoked] == [100]
        assert all(count <= 1 for count in [queue.deleted.count(id_) for id_ in queue.deleted])


@pytest.mark.parametrize("limits", [BatchLimits(records=10), BatchLimits(records=1000, window=5)])
@virtual_time
async def test_a_long_stretch_of_unwanted_messages_is_drained_as_fast_as_wanted_ones(limits: BatchLimits) -> None:
    took = []
    for body in (WANTED, OTHER):
        queue = SlowQueue()
        queue.send(*[body] * 2000)
        async with running(queue, FakeInvoker(), limits=limits, filters=ORDERS) as worker:
            began = anyio.current_time()
            await worker.wait(lambda: not queue.messages)  # noqa: B023  # it is waited for here
            took.append(anyio.current_time() - began)
    assert took[1] <= took[0] * 1.1


@virtual_time
async def test_few_wanted_messages_among_many_keep_the_polls_as_many_as_full_batches_do() -> None:
    queue = SlowQueue()
    queue.send(*[*[OTHER] * 9, WANTED] * 400)
    async with running(queue, FakeInvoker(), filters=ORDERS, concurrency=8) as worker:
        await worker.wait(lambda: not queue.messages)
        assert queue.most_open == 8
        await anyio.sleep(120)
        assert queue.open_receives == 1  # idle again


@virtual_time
async def test_an_idle_queue_with_filters_costs_three_receives_a_minute() -> None:
    queue = FakeQueue()
    async with running(queue, FakeInvoker(), filters=ORDERS) as worker:
        queue.send(*[OTHER] * 25)
        await worker.wait(lambda: not queue.messages)
        await anyio.sleep(60)
        before = len(queue.waits)
        await anyio.sleep(600)
        assert len(queue.waits) - before <= 30


@virtual_time
async def test_a_refused_delete_is_tried_once_more_then_told_and_the_message_is_left_out_again() -> None:
    queue = FakeQueue(visibility_timeout=30)
    refused: list[str] = []

    def refuse(operation: str, record: Record) -> Refusal | None:
        if operation == "delete" and len(refused) < 2:
            refused.append(record.id)
            return Refusal(record=record, code="InternalError", message="later", gone=False)
        return None

    queue.refuse = refuse
    queue.send(OTHER)
    with structlog.testing.capture_logs() as logs:
        async with running(queue, FakeInvoker(), filters=ORDERS) as worker:
            await worker.wait(lambda: not queue.messages)
            assert anyio.current_time() >= 30  # it came back after its visibility timeout
            assert refused == ["m1", "m1"]
            assert worker.metric("esm_delete_refused_events_total") == 1
            assert counts(worker) == (2, 2, 0, 0)
    assert [line["records"] for line in logs if line["event"] == "delete_refused"] == [1]


@virtual_time
async def test_flt_64_a_fifo_message_is_deleted_although_an_earlier_one_of_its_group_failed() -> None:
    queue = FakeQueue(fifo=True, visibility_timeout=30)
    tries = []

    async def fail_first(records: list[dict[str, Any]]) -> Outcome:
        tries.append([record["messageId"] for record in records])
        return error() if len(tries) == 1 else Succeeded(response=None)

    queue.send(WANTED, OTHER, WANTED, group="g")
    async with running(queue, FakeInvoker(fail_first), filters=ORDERS) as worker:
        await worker.wait(lambda: queue.deleted == ["m2"], within=5)
        await worker.wait(lambda: not queue.messages)
        assert tries == [["m1", "m3"], ["m1", "m3"]]


@virtual_time
async def test_a_drain_gives_back_what_is_wanted_and_deletes_what_is_not() -> None:
    queue = FakeQueue(hold_receives=anyio.Event())
    async with running(queue, FakeInvoker(), filters=ORDERS) as worker:
        await worker.wait(lambda: queue.open_receives == 1 and queue.waits[-1] == 20)
        queue.send(WANTED, OTHER)
        worker.drain.begin()
        assert queue.hold_receives is not None
        queue.hold_receives.set()
        await worker.wait(lambda: queue.deleted == ["m2"] and queue.visible() == ["m1"])
        assert counts(worker) == (2, 1, 0, 0)
    assert worker.invoker.invoked == []
    assert worker.drain.report.released == 1


@virtual_time
async def test_a_drain_in_the_middle_of_a_stretch_ends_at_once() -> None:
    queue = SlowQueue()
    queue.send(*[OTHER] * 3000)
    async with running(queue, FakeInvoker(), filters=ORDERS) as worker:
        await worker.wait(lambda: len(queue.deleted) > 500)
        began = anyio.current_time()
        worker.drain.begin()
    assert anyio.current_time() - began < 1
    assert worker.metric("esm_polled_events_total") == worker.metric("esm_filtered_out_events_total") == len(queue.deleted)


@virtual_time
async def test_a_failure_in_the_middle_of_a_stretch_is_backed_off_from() -> None:
    queue = SlowQueue()
    queue.send(*[OTHER] * 3000)
    async with running(queue, FakeInvoker(), filters=ORDERS) as worker:
        await worker.wait(lambda: len(queue.deleted) > 500)
        queue.fail = lambda operation: SourceUnavailable("no", code="x") if operation == "receive" else None
        await anyio.sleep(1)
        before = len(queue.waits)
        await anyio.sleep(60)
        assert len(queue.waits) - before < 20
        queue.fail = lambda _: None
        await worker.wait(lambda: not queue.messages)


@virtual_time
async def test_mappings_that_share_a_slot_take_turns_in_a_stretch_of_unwanted_messages() -> None:
    busy, other = SlowQueue(), SlowQueue()
    busy.send(*[OTHER] * 2000)
    limiter = anyio.CapacityLimiter(1)
    async with (
        running(busy, FakeInvoker(), function_limiter=limiter, filters=ORDERS),
        running(other, FakeInvoker(), function_limiter=limiter) as second,
    ):
        await anyio.sleep(5)
        other.send(WANTED)
        began = anyio.current_time()
        await second.wait(lambda: not other.messages)
        assert busy.messages
        assert anyio.current_time() - began < 25
