"""A queue mapping from poll to delete, in virtual time."""

from typing import Any

import anyio
import pytest

from handlers.invoker import FunctionError, NotInvoked, Outcome, Succeeded
from pollers.errors import SourceError, SourceRejected, SourceUnavailable
from pollers.record import Record
from pollers.source import Refusal
from runtime.core.mapping import BatchLimits, MappingState
from tests.fakes.queue import FakeQueue
from tests.fakes.virtual_time import virtual_time
from tests.fakes.worker import FakeInvoker, error, running, succeed


def bodies(count: int) -> list[str]:
    return [str(number) for number in range(count)]


class TestPolling:
    @virtual_time
    async def test_sqs_30_an_idle_queue_costs_three_receives_a_minute(self) -> None:
        queue = FakeQueue()
        async with running(queue, FakeInvoker()) as worker:
            await worker.wait(lambda: worker.status.ready)
            before = len(queue.waits)
            await anyio.sleep(600)
            assert len(queue.waits) - before <= 30
            assert set(queue.waits[1:]) == {20}
            assert queue.most_open == 1

    @virtual_time
    async def test_the_first_poll_is_short_so_that_an_empty_queue_is_ready_at_once(self) -> None:
        queue = FakeQueue()
        async with running(queue, FakeInvoker()) as worker:
            await anyio.sleep(0.1)
            assert worker.status.ready
            assert worker.status.state is MappingState.ENABLED
            assert queue.waits[0] == 0

    @virtual_time
    async def test_receives_grow_with_full_batches_up_to_the_slots_and_shrink_when_empty(self) -> None:
        queue = FakeQueue()

        async def slow(_: list[dict[str, Any]]) -> Outcome:
            await anyio.sleep(1)
            return Succeeded(response=None)

        async with running(queue, FakeInvoker(slow), concurrency=4) as worker:
            queue.send(*bodies(400))
            await worker.wait(lambda: not queue.messages)
            assert worker.invoker.most_running == 4
            await anyio.sleep(120)
            assert queue.open_receives == 1

    @virtual_time
    async def test_sqs_42_nothing_is_received_while_every_slot_is_taken(self) -> None:
        queue = FakeQueue(visibility_timeout=30)
        gate = anyio.Event()

        async def wait(_: list[dict[str, Any]]) -> Outcome:
            await gate.wait()
            return Succeeded(response=None)

        async with running(queue, FakeInvoker(wait), concurrency=2, limits=BatchLimits(records=1)) as worker:
            queue.send(*bodies(50))
            await worker.wait(lambda: worker.invoker.running == 2)
            receives = len(queue.waits)
            await anyio.sleep(3600)
            assert len(queue.waits) == receives
            assert sorted(message.receives for message in queue.messages) == [0] * 48 + [1] * 2
            gate.set()

    @virtual_time
    async def test_a_shared_function_slot_goes_round_and_idle_mappings_stay_cheap(self) -> None:
        busy, idle = FakeQueue(), FakeQueue()
        limiter = anyio.CapacityLimiter(1)

        async def work(_: list[dict[str, Any]]) -> Outcome:
            await anyio.sleep(0.1)
            return Succeeded(response=None)

        first, second = FakeInvoker(work), FakeInvoker(work)
        async with running(busy, first, function_limiter=limiter) as one, running(idle, second, function_limiter=limiter):
            busy.send(*bodies(1000))
            began = anyio.current_time()
            await one.wait(lambda: not busy.messages)
            assert anyio.current_time() - began < 45  # 10 s of work and at most one long poll of the other mapping
            assert first.most_running + second.most_running == 1
            before = len(idle.waits)
            busy.send(*bodies(6000))
            await anyio.sleep(60)
            assert len(idle.waits) - before <= 4


class TestBatching:
    @virtual_time
    async def test_a_batch_larger_than_ten_is_assembled_from_several_receives(self) -> None:
        queue = FakeQueue()
        queue.send(*bodies(250))
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=100, window=5), concurrency=1) as worker:
            await worker.wait(lambda: not queue.messages)
            assert [len(ids) for ids in worker.invoker.invoked] == [100, 100, 50]
            assert max(queue.limits) == 10

    @pytest.mark.parametrize(("busy", "fewest", "most"), [(0.5, 65, 2 * 64), (0.92, 65, 2 * 64), (1.0, 32, 32)])
    @virtual_time
    async def test_a_busy_loop_has_fewer_receives_of_large_batches_in_the_air(self, busy: float, fewest: int, most: int) -> None:
        queue = FakeQueue(takes=0.005)
        queue.send(*bodies(8_000))
        limits = BatchLimits(records=1000, window=5)

        def worked() -> float:
            return busy * anyio.current_time()

        async with running(queue, FakeInvoker(), limits=limits, concurrency=4, worked=worked) as worker:
            await worker.wait(lambda: len(queue.messages) <= 5_000)
            queue.most_open = 0
            await worker.wait(lambda: not queue.messages)
            assert fewest <= queue.most_open <= most
            assert sum(len(ids) for ids in worker.invoker.invoked) == 8_000

    @virtual_time
    async def test_two_large_batches_are_collected_at_once_for_ever(self) -> None:
        """A slot that came free when both were being collected already is given back."""
        queue = FakeQueue(takes=0.005)
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=700, window=5), concurrency=3) as worker:
            for _ in range(8):
                queue.send(*bodies(2_100))
                await worker.wait(lambda: not queue.messages)
            assert 64 < queue.most_open <= 2 * 64

    @virtual_time
    async def test_a_loop_that_is_not_busy_any_more_has_many_receives_in_the_air_again(self) -> None:
        queue = FakeQueue(takes=0.005)
        queue.send(*bodies(8_000))
        busy = 1.0
        limits = BatchLimits(records=1000, window=5)
        async with running(queue, FakeInvoker(), limits=limits, worked=lambda: busy * anyio.current_time()) as worker:
            await worker.wait(lambda: len(queue.messages) <= 5_000)
            assert queue.open_receives <= 32
            busy = 0.0
            await worker.wait(lambda: len(queue.messages) <= 3_000)
            queue.most_open = 0
            await worker.wait(lambda: not queue.messages)
            assert 64 < queue.most_open <= 2 * 64

    @virtual_time
    async def test_sqs_34_thirty_messages_in_batches_of_twenty_are_two_invocations(self) -> None:
        queue = FakeQueue()
        queue.send(*bodies(30))
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=20, window=1), concurrency=2) as worker:
            await worker.wait(lambda: not queue.messages)
            assert sorted(len(ids) for ids in worker.invoker.invoked) == [10, 20]

    @virtual_time
    async def test_a_window_ends_without_a_full_batch_and_starts_at_the_first_record(self) -> None:
        queue = FakeQueue()
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=100, window=10)) as worker:
            await anyio.sleep(15)
            first = anyio.current_time()
            queue.send("a")
            await anyio.sleep(3)
            queue.send("b")
            await worker.wait(lambda: bool(worker.invoker.invoked))
            assert worker.invoker.invoked == [["m1", "m2"]]
            assert 10 <= worker.invoker.invoked_at[0] - first <= 11

    @virtual_time
    async def test_sqs_36_a_window_hides_records_long_enough_for_window_and_function(self) -> None:
        queue = FakeQueue(visibility_timeout=30)
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=100, window=300), function_timeout=60) as worker:
            queue.send("a")
            await worker.wait(lambda: not queue.messages)
            assert set(queue.asked_visibility) == {390}
            assert worker.invoker.invoked == [["m1"]]
            assert queue.extensions == []

    @pytest.mark.parametrize("window", [0, 60])
    @virtual_time
    async def test_a_queue_without_long_polls_is_not_asked_in_a_tight_loop(self, window: int) -> None:
        queue = FakeQueue(long_polls=False)
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=100 if window else 10, window=window)) as worker:
            queue.send("a")
            await worker.wait(lambda: not queue.messages)
            await anyio.sleep(60)
            assert len(queue.waits) < 140

    @virtual_time
    async def test_sqs_37_without_a_window_the_queues_own_timeout_rules(self) -> None:
        queue = FakeQueue()
        queue.send("a")
        async with running(queue, FakeInvoker()) as worker:
            await worker.wait(lambda: not queue.messages)
            assert set(queue.asked_visibility) == {None}

    @virtual_time
    async def test_com_11_what_is_over_six_megabytes_waits_behind_hidden_and_once(self) -> None:
        queue = FakeQueue(visibility_timeout=30)
        queue.send(*bodies(10), size=1024 * 1024)

        async def slow(_: list[dict[str, Any]]) -> Outcome:
            await anyio.sleep(100)
            return Succeeded(response=None)

        async with running(queue, FakeInvoker(slow), concurrency=2) as worker:
            await worker.wait(lambda: not queue.messages)
            assert [len(ids) for ids in worker.invoker.invoked] == [5, 5]
            assert sorted(queue.deleted) == sorted(f"m{n}" for n in range(1, 11))


class TestFate:
    @virtual_time
    async def test_sqs_50_success_deletes_all(self) -> None:
        queue = FakeQueue()
        ids = queue.send(*bodies(7))
        async with running(queue, FakeInvoker()) as worker:
            await worker.wait(lambda: not queue.messages)
            assert sorted(queue.deleted) == sorted(ids)
            await worker.wait(lambda: worker.metric("esm_deleted_events_total") == 7)
            assert worker.metric("esm_polled_events_total") == 7
            assert worker.metric("esm_invoked_events_total") == 7
            assert worker.metric("esm_invocations_total") == len(worker.invoker.invoked)
            assert worker.metric("esm_aws_requests_total") == 0  # counted by the source itself

    @virtual_time
    async def test_sqs_51_a_function_error_leaves_the_batch_to_the_visibility_timeout(self) -> None:
        queue = FakeQueue(visibility_timeout=30)
        queue.send("a")

        async def fail_once(records: list[dict[str, Any]]) -> Outcome:
            return error() if records[0]["attributes"]["ApproximateReceiveCount"] == "1" else Succeeded(response=None)

        async with running(queue, FakeInvoker(fail_once)) as worker:
            await worker.wait(lambda: not queue.messages)
            first, second = worker.invoker.invoked_at
            assert 30 <= second - first < 31
            assert queue.extensions == []
            assert worker.metric("esm_errors_total") == 1
            assert worker.metric("esm_failed_invoke_events_total") == 1

    @virtual_time
    async def test_sqs_60_listed_items_stay_and_the_others_are_deleted(self) -> None:
        queue = FakeQueue()
        queue.send(*bodies(3))

        async def one_failed(records: list[dict[str, Any]]) -> Outcome:
            failed = [r["messageId"] for r in records if r["messageId"] == "m2"]
            return Succeeded(response={"batchItemFailures": [{"itemIdentifier": each} for each in failed]})

        async with running(queue, FakeInvoker(one_failed), report=True) as worker:
            await worker.wait(lambda: len(queue.deleted) == 2)
            assert [message.id for message in queue.messages] == ["m2"]
            assert worker.metric("esm_failed_invoke_events_total") == 1
            assert worker.metric("esm_errors_total") == 0  # MET-41

    @virtual_time
    async def test_sqs_53_a_throttle_retries_in_place_costs_no_receive_and_lets_go_in_the_end(self) -> None:
        queue = FakeQueue(visibility_timeout=30)
        queue.send("a")

        async def refuse(_: list[dict[str, Any]]) -> Outcome:
            return NotInvoked(reason="ReservedFunctionConcurrentInvocationLimitExceeded")

        async with running(queue, FakeInvoker(refuse)) as worker:
            await anyio.sleep(29)
            assert len(worker.invoker.invoked) >= 4
            assert queue.messages[0].receives == 1
            assert worker.metric("esm_throttles_total") == len(worker.invoker.invoked)
            assert worker.metric("esm_invocations_total") == 0
            await anyio.sleep(5)
            assert queue.messages[0].receives == 2

    @virtual_time
    async def test_a_throttle_that_ends_delivers_the_same_batch(self) -> None:
        queue = FakeQueue(visibility_timeout=30)
        queue.send("a")
        outcomes: list[Outcome] = [NotInvoked(reason="x"), NotInvoked(reason="x"), Succeeded(response=None)]

        async def in_turn(_: list[dict[str, Any]]) -> Outcome:
            return outcomes.pop(0)

        async with running(queue, FakeInvoker(in_turn)) as worker:
            await worker.wait(lambda: not queue.messages, within=10)
            assert worker.invoker.invoked == [["m1"]] * 3
            assert len([wait for wait in queue.waits if wait == 20]) <= 2

    @virtual_time
    async def test_sqs_56_a_refused_delete_is_tried_once_more_and_fails_nothing(self) -> None:
        asked: list[str] = []

        def refuse(operation: str, record: Record) -> Refusal | None:
            asked.append(operation)
            return Refusal(record=record, code="InternalError", message="", gone=False) if operation == "delete" else None

        queue = FakeQueue(refuse=refuse)
        queue.send("a")
        async with running(queue, FakeInvoker()) as worker:
            await worker.wait(lambda: len(asked) == 2)
            await anyio.sleep(10)
            assert asked == ["delete", "delete"]
            assert worker.metric("esm_deleted_events_total") == 0
            assert worker.metric("esm_errors_total") == 0

    @virtual_time
    async def test_sqs_57_a_record_that_is_gone_is_not_deleted_twice(self) -> None:
        asked: list[str] = []

        def refuse(operation: str, record: Record) -> Refusal | None:
            asked.append(operation)
            return Refusal(record=record, code="ReceiptHandleIsInvalid", message="", gone=True)

        queue = FakeQueue(refuse=refuse)
        queue.send("a")
        async with running(queue, FakeInvoker()):
            await anyio.sleep(10)
            assert asked == ["delete"]


class TestFifo:
    @virtual_time
    async def test_sqs_45_groups_keep_their_order_through_failures_and_run_in_parallel(self) -> None:
        queue = FakeQueue(fifo=True, visibility_timeout=5)
        for number in range(5):
            for group in ("a", "b", "c"):
                queue.send(f"{group}{number}", group=group)
        done: list[str] = []
        busy: set[str] = set()

        async def work(records: list[dict[str, Any]]) -> Outcome:
            groups = {record["body"][0] for record in records}
            assert not groups & busy
            busy.update(groups)
            await anyio.sleep(0.5)
            busy.difference_update(groups)
            if any(record["attributes"]["ApproximateReceiveCount"] == "1" and record["body"][1] in "13" for record in records):
                return error()
            done.extend(record["body"] for record in records)
            return Succeeded(response=None)

        async with running(queue, FakeInvoker(work), limits=BatchLimits(records=1)) as worker:
            await worker.wait(lambda: not queue.messages)
            for group in "abc":
                assert [body for body in done if body[0] == group] == [f"{group}{n}" for n in range(5)]
            assert worker.invoker.most_running > 1

    @virtual_time
    async def test_sqs_49_records_behind_a_failed_one_of_their_group_are_given_back_undelivered(self) -> None:
        queue = FakeQueue(fifo=True, visibility_timeout=30)
        queue.send(*bodies(4), group="a", size=2 * 1024 * 1024)
        queue.send("b", group="b", size=2 * 1024 * 1024)

        async def fail_first(records: list[dict[str, Any]]) -> Outcome:
            return error() if records[0]["messageId"] == "m1" else Succeeded(response=None)

        async with running(queue, FakeInvoker(fail_first)) as worker:
            await worker.wait(lambda: "m5" in queue.deleted)
            assert worker.invoker.invoked[:2] == [["m1", "m2"], ["m5"]]
            assert not {"m3", "m4"} & set(queue.deleted)
            assert worker.metric("esm_released_events_total") == 0  # that is for shutdown alone
            assert worker.drain.report.released == 0

    @virtual_time
    async def test_sqs_47_one_group_never_has_two_invocations_at_once(self) -> None:
        queue = FakeQueue(fifo=True)
        queue.send(*bodies(5), group="a")

        async def slow(_: list[dict[str, Any]]) -> Outcome:
            await anyio.sleep(1)
            return Succeeded(response=None)

        async with running(queue, FakeInvoker(slow), limits=BatchLimits(records=1)) as worker:
            await worker.wait(lambda: not queue.messages)
            assert worker.invoker.most_running == 1
            assert worker.invoker.invoked == [["m1"], ["m2"], ["m3"], ["m4"], ["m5"]]

    @virtual_time
    async def test_sqs_46_concurrency_is_at_most_the_number_of_groups(self) -> None:
        queue = FakeQueue(fifo=True)
        for group in "abc":
            queue.send(*bodies(5), group=group)

        async def slow(_: list[dict[str, Any]]) -> Outcome:
            await anyio.sleep(1)
            return Succeeded(response=None)

        async with running(queue, FakeInvoker(slow), limits=BatchLimits(records=1)) as worker:
            await worker.wait(lambda: not queue.messages)
            assert worker.invoker.most_running == 3


class TestVisibility:
    @virtual_time
    async def test_a_long_handler_keeps_its_records_hidden(self) -> None:
        queue = FakeQueue(visibility_timeout=30)
        queue.send("a")

        async def slow(_: list[dict[str, Any]]) -> Outcome:
            await anyio.sleep(900)
            return Succeeded(response=None)

        async with running(queue, FakeInvoker(slow), function_timeout=900) as worker:
            await worker.wait(lambda: not queue.messages)
            assert worker.invoker.invoked == [["m1"]]
            assert 60 <= len(queue.extensions) <= 80


class TestTrouble:
    @pytest.mark.parametrize("kind", [SourceUnavailable, SourceRejected])
    @virtual_time
    async def test_a_source_that_fails_is_asked_with_back_off_told_once_and_recovers(self, kind: type[SourceError]) -> None:
        trouble: list[SourceError] = [kind("down", code="Down")]
        queue = FakeQueue(fail=lambda _: trouble[0] if trouble else None)
        async with running(queue, FakeInvoker()) as worker:
            await anyio.sleep(3600)
            assert not worker.status.ready
            assert worker.status.why_not_moving == "down"
            trouble.clear()
            queue.send("a")
            await worker.wait(lambda: not queue.messages, within=61)
            await worker.wait(lambda: worker.status.ready, within=1)
            assert worker.status.error is None

    @virtual_time
    async def test_receives_that_fail_do_not_spin(self) -> None:
        queue = FakeQueue(fail=lambda operation: SourceUnavailable("x", code="x") if operation == "receive" else None)
        async with running(queue, FakeInvoker()) as worker:
            await anyio.sleep(3600)
            assert 100 < len(queue.waits) < 3600 / 10 + 20
            assert worker.status.state is MappingState.CREATING

    @virtual_time
    async def test_receives_that_fail_together_are_one_failure(self) -> None:
        queue = FakeQueue()

        async def slow(_: list[dict[str, Any]]) -> Outcome:
            await anyio.sleep(1)
            return Succeeded(response=None)

        async with running(queue, FakeInvoker(slow), concurrency=8) as worker:
            queue.send(*bodies(800))
            await worker.wait(lambda: worker.invoker.running == 8)
            queue.fail = lambda operation: SourceUnavailable("x", code="x") if operation == "receive" else None
            await worker.wait(lambda: worker.invoker.running == 0)
            queue.fail = lambda _: None
            await worker.wait(lambda: worker.invoker.running == 8, within=3)

    @virtual_time
    async def test_what_was_collected_is_delivered_when_a_later_receive_fails(self) -> None:
        queue = FakeQueue()
        failing = False
        queue.fail = lambda operation: SourceUnavailable("x", code="x") if failing and operation == "receive" else None
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=100, window=30)) as worker:
            await anyio.sleep(1)
            queue.send("a")
            await anyio.sleep(1)
            failing = True
            await worker.wait(lambda: not queue.messages, within=31)
            assert worker.invoker.invoked == [["m1"]]

    @virtual_time
    async def test_sqs_54_function_errors_lower_the_concurrency_and_successes_raise_it_again(self) -> None:
        queue = FakeQueue(visibility_timeout=1)
        failing = True

        async def work(_: list[dict[str, Any]]) -> Outcome:
            await anyio.sleep(0.1)
            return error() if failing else Succeeded(response=None)

        async with running(queue, FakeInvoker(work), concurrency=8) as worker:
            queue.send(*bodies(200))
            await worker.wait(lambda: worker.status.allowed == 2)
            await worker.wait(lambda: worker.invoker.running <= 2)
            failing = False
            await worker.wait(lambda: worker.status.allowed == 8)

    @virtual_time
    async def test_function_errors_leave_room_beside_handlers_that_hang(self) -> None:
        queue = FakeQueue(visibility_timeout=1)

        async def work(records: list[dict[str, Any]]) -> Outcome:
            if records[0]["body"] == "hang":
                return FunctionError(
                    error_type="Sandbox.Timedout", message="", document={}, timed_out=True, still_running=anyio.sleep_forever
                )
            return error() if records[0]["body"] == "fail" else Succeeded(response=None)

        async with running(queue, FakeInvoker(work), concurrency=10, limits=BatchLimits(records=1)) as worker:
            queue.send("hang", "hang", *["fail"] * 20)
            await worker.wait(lambda: worker.status.overdue >= 2 and worker.metric("esm_errors_total") > 40)
            queue.messages[:] = [message for message in queue.messages if message.body != "hang"]
            overdue = worker.status.overdue
            ids = queue.send(*bodies(30))
            await worker.wait(lambda: set(ids) <= set(queue.deleted), within=600)
            assert overdue < 10
            assert not worker.status.stuck(anyio.current_time() + 3600)
            worker.drain.begin()
            worker.scope.cancel()

    @virtual_time
    async def test_a_handler_past_its_limit_holds_its_slot_until_it_returns(self) -> None:
        queue = FakeQueue(visibility_timeout=1)
        returned = anyio.Event()

        async def stuck(_: list[dict[str, Any]]) -> Outcome:
            return FunctionError(
                error_type="Sandbox.Timedout", message="", document={}, timed_out=True, still_running=returned.wait
            )

        async with running(queue, FakeInvoker(stuck), concurrency=2, limits=BatchLimits(records=1)) as worker:
            queue.send(*bodies(5))
            await anyio.sleep(600)
            assert len(worker.invoker.invoked) == 2
            assert worker.metric("esm_overdue_handlers") == 2
            assert worker.status.stuck(anyio.current_time())
            worker.invoker.handler = succeed
            returned.set()
            await worker.wait(lambda: not queue.messages)
            assert worker.metric("esm_overdue_handlers") == 0
            assert not worker.status.stuck(anyio.current_time())


class TestDrain:
    @virtual_time
    async def test_work_in_flight_ends_and_nothing_new_is_received(self) -> None:
        queue = FakeQueue(visibility_timeout=10)

        async def slow(_: list[dict[str, Any]]) -> Outcome:
            await anyio.sleep(60)
            return Succeeded(response=None)

        async with running(queue, FakeInvoker(slow), limits=BatchLimits(records=1), concurrency=2) as worker:
            queue.send(*bodies(10))
            await worker.wait(lambda: worker.invoker.running == 2)
            receives = len(queue.waits)
            worker.drain.begin()
            await worker.wait(lambda: worker.invoker.running == 0)
            await anyio.sleep(60)
            assert len(queue.waits) == receives
            assert sorted(queue.deleted) == ["m1", "m2"]
            assert len(worker.invoker.invoked) == 2
            assert queue.extensions
            assert worker.drain.report.finished == 2

    @virtual_time
    async def test_what_an_open_long_poll_brings_is_given_back_at_once(self) -> None:
        queue = FakeQueue()
        async with running(queue, FakeInvoker()) as worker:
            await worker.wait(lambda: worker.status.ready)
            await anyio.sleep(1)
            worker.drain.begin()
            await anyio.sleep(1)
            queue.send(*bodies(3))
            await worker.wait(lambda: worker.drain.report.released == 3, within=1)
            assert worker.invoker.invoked == []
            assert queue.visible() == ["m1", "m2", "m3"]
            assert queue.extensions[0][1:] == (0, ("m3", "m2", "m1"))
            assert worker.metric("esm_released_events_total") == 3

    @virtual_time
    async def test_an_open_window_is_given_back(self) -> None:
        queue = FakeQueue()
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=100, window=300)) as worker:
            queue.send("a")
            await anyio.sleep(5)
            worker.drain.begin()
            await worker.wait(lambda: worker.drain.report.released == 1, within=20)
            assert queue.visible() == ["m1"]
            assert worker.invoker.invoked == []

    @virtual_time
    async def test_an_open_window_is_given_back_even_when_the_drain_is_cut_short(self) -> None:
        queue = FakeQueue()
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=100, window=300)) as worker:
            queue.send("a")
            await anyio.sleep(5)
            worker.drain.begin()
            await anyio.sleep(0.1)
            worker.scope.cancel()
        assert worker.drain.report.released == 1
        assert worker.drain.report.abandoned == 0
        assert queue.visible() == ["m1"]

    @virtual_time
    async def test_a_throttled_batch_is_given_back(self) -> None:
        queue = FakeQueue()

        async def refuse(_: list[dict[str, Any]]) -> Outcome:
            return NotInvoked(reason="x")

        queue.send("a")
        async with running(queue, FakeInvoker(refuse)) as worker:
            await anyio.sleep(5)
            worker.drain.begin()
            await worker.wait(lambda: worker.drain.report.released == 1, within=20)
            assert queue.visible() == ["m1"]
            await anyio.sleep(60)
            assert queue.messages[0].receives == 1  # our own open long poll did not get it again

    @virtual_time
    async def test_what_cannot_be_given_back_is_counted_as_abandoned(self) -> None:
        def refuse(operation: str, record: Record) -> Refusal | None:
            denied = Refusal(record=record, code="AccessDenied", message="", gone=False)
            return denied if operation == "extend" else None

        queue = FakeQueue(refuse=refuse)
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=100, window=300)) as worker:
            queue.send("a", "b")
            await anyio.sleep(5)
            worker.drain.begin()
            await worker.wait(lambda: worker.drain.report.abandoned == 2, within=20)
            assert worker.drain.report.released == 0
            assert worker.metric("esm_released_events_total") == 0

    @virtual_time
    async def test_giving_back_that_hangs_ends_and_is_counted_as_abandoned(self) -> None:
        queue = FakeQueue()

        async def hang(records: object, seconds: int) -> list[Refusal]:
            del records, seconds
            await anyio.sleep_forever()
            return []

        async with running(queue, FakeInvoker(), limits=BatchLimits(records=100, window=300)) as worker:
            queue.send("a")
            await anyio.sleep(5)
            queue.extend = hang  # type: ignore[method-assign]  # a queue that never answers
            worker.drain.begin()
            await worker.wait(lambda: worker.drain.report.abandoned == 1, within=30)

    @virtual_time
    async def test_what_is_cut_off_is_counted_as_abandoned(self) -> None:
        queue = FakeQueue()

        async def forever(_: list[dict[str, Any]]) -> Outcome:
            await anyio.sleep_forever()
            raise AssertionError

        queue.send(*bodies(4))
        async with running(queue, FakeInvoker(forever)) as worker:
            await worker.wait(lambda: worker.invoker.running == 1)
            worker.drain.begin()
            worker.scope.cancel()
        assert worker.drain.report.abandoned == 4
        assert worker.metric("esm_abandoned_events_total") == 4
