"""What mappings tell their taps, on fakes in virtual time; and that they tell nothing to a tap that nobody listens to."""

from typing import Any

import anyio
import pytest

from handlers.destinations import DestinationError
from handlers.invoker import FunctionError, NotInvoked, Outcome, Succeeded
from pollers.record import TRIM_HORIZON, Record
from pollers.source import Refusal
from runtime.core.mapping import BatchLimits, StreamSettings
from runtime.listener import Listener
from runtime.tap import Tap
from runtime.tap_events import DeleteRefused, GivenBack, GivenUp, InvocationEnded, Invoked, Received
from tests.fakes.listening import Heard, SilentTap, listening
from tests.fakes.queue import FakeQueue
from tests.fakes.stream_worker import FakeDestination, World, sequences, wait
from tests.fakes.virtual_time import virtual_time
from tests.fakes.worker import FakeInvoker, error, running

S0 = "shardId-000000000000"


async def fail(_: Any) -> Outcome:
    return error("no such customer")


def quick(tap: Tap) -> Tap:
    """On virtual time, also where it measures."""
    tap._clock = tap._stopwatch = anyio.current_time
    return tap


@virtual_time
async def test_a_queue_tells_what_came_what_was_invoked_and_how_it_ended() -> None:
    queue, tap = FakeQueue(), quick(Tap())
    queue.send("a", "b")

    async def work(_: list[dict[str, Any]]) -> Outcome:
        await anyio.sleep(3)
        return Succeeded(response={"batchItemFailures": [{"itemIdentifier": "m2"}]})

    with listening(tap, records=True) as heard:
        async with running(queue, FakeInvoker(work), report=True, tap=tap) as worker:
            await worker.wait(lambda: queue.deleted == ["m1"])
        await heard.hear()
    kinds = [type(event) for event in heard.events]
    assert kinds[:3] == [Received, Invoked, InvocationEnded]
    received, invoked, ended = heard.events[:3]
    assert isinstance(received, Received)
    assert isinstance(invoked, Invoked)
    assert isinstance(ended, InvocationEnded)
    assert (received.records, received.bytes, received.waiting, received.due) == (2, 200, 2, 0.0)
    assert (invoked.first, invoked.last, invoked.request_id) == ("m1", "m2", ended.request_id)
    assert (ended.duration, ended.done, ended.returned) == (3.0, 1, 1)
    assert {detail.id: detail.fate for detail in ended.details} == {"m1": "done", "m2": "returned"}


@virtual_time
async def test_records_that_wait_for_a_window_say_how_many_and_how_long() -> None:
    queue, tap = FakeQueue(), quick(Tap())
    with listening(tap) as heard:
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=100, window=20), tap=tap) as worker:
            await worker.wait(lambda: queue.open_receives > 0)
            queue.send("a")
            await heard.hear()
            queue.send("b")
            await heard.hear()
            await worker.wait(lambda: len(queue.deleted) == 2)
    first, second = heard.of(Received)
    assert (first.waiting, first.due) == (1, 20.0)
    assert second.waiting == 2
    assert 19 < second.due < 20


@virtual_time
async def test_a_throttled_batch_that_is_let_go_is_told_as_given_back() -> None:
    queue, tap = FakeQueue(visibility_timeout=5), quick(Tap())
    queue.send("a")

    async def throttled(_: list[dict[str, Any]]) -> Outcome:
        return NotInvoked(reason="TooManyRequests")

    with listening(tap) as heard:
        async with running(queue, FakeInvoker(throttled), tap=tap) as worker:
            await worker.wait(lambda: worker.metric("esm_throttles_total") > 0)
            with anyio.fail_after(600):
                while not heard.of(GivenBack):
                    await heard.hear()
            worker.scope.cancel()
    assert heard.of(InvocationEnded)[0].outcome == "throttled"
    assert "throttled" in heard.of(GivenBack)[0].reason


@virtual_time
async def test_what_an_open_poll_brings_in_the_drain_is_told_as_given_back() -> None:
    queue, tap = FakeQueue(hold_receives=anyio.Event()), quick(Tap())
    with listening(tap) as heard:
        async with running(queue, FakeInvoker(), tap=tap) as worker:
            await worker.wait(lambda: queue.open_receives == 1 and 20 in queue.waits)
            queue.send("a", "b")
            worker.drain.begin()
            assert queue.hold_receives is not None
            queue.hold_receives.set()
            await worker.wait(lambda: worker.metric("esm_released_events_total") == 2)
        await heard.hear()
    (back,) = heard.of(GivenBack)
    assert (back.records, back.reason) == (2, "the worker stops")


@virtual_time
async def test_what_could_not_be_given_back_is_not_told_as_given_back() -> None:
    def refuse(operation: str, record: Record) -> Refusal | None:
        kept = operation == "extend" and record.id == "m1"
        return Refusal(record=record, code="InternalError", message="", gone=False) if kept else None

    queue, tap = FakeQueue(hold_receives=anyio.Event(), refuse=refuse), quick(Tap())
    with listening(tap) as heard:
        async with running(queue, FakeInvoker(), tap=tap) as worker:
            await worker.wait(lambda: queue.open_receives == 1 and 20 in queue.waits)
            queue.send("a", "b")
            worker.drain.begin()
            assert queue.hold_receives is not None
            queue.hold_receives.set()
            await worker.wait(lambda: worker.metric("esm_abandoned_events_total") == 1)
        await heard.hear()
    assert [back.records for back in heard.of(GivenBack)] == [1]


@virtual_time
async def test_sqs_56_a_refused_delete_is_told() -> None:
    def refuse(operation: str, record: Record) -> Refusal | None:
        return Refusal(record=record, code="InternalError", message="", gone=False) if operation == "delete" else None

    queue, tap = FakeQueue(refuse=refuse), quick(Tap())
    queue.send("a")
    with listening(tap) as heard:
        async with running(queue, FakeInvoker(), tap=tap) as worker:
            await worker.wait(lambda: worker.metric("esm_delete_refused_events_total") == 1)
        await heard.hear()
    assert [(event.records, event.code) for event in heard.of(DeleteRefused)] == [(1, "InternalError")]


async def watch(world: World, heard: Heard, until: type, count: int = 1) -> None:
    async with world.running():
        with anyio.fail_after(2 * 3600):
            while len(heard.of(until)) < count:
                await heard.hear()


@virtual_time
async def test_a_stream_tells_its_shard_and_how_a_batch_is_bisected_and_sent_away() -> None:
    """COM-75: halves until the record that fails is alone; then it is given up, and the destination is told (MET-06)."""
    world = World(limits=BatchLimits(records=4), destination=FakeDestination()).policy(attempts=0, bisect=True)
    quick(world.tap)
    numbers = world.stream.put("a", 4)

    async def refuse_the_last(event: dict[str, Any]) -> Outcome:
        return error("no") if numbers[3] in sequences(event) else Succeeded(response=None)

    world.function.handler = refuse_the_last
    with listening(world.tap) as heard:
        await watch(world, heard, GivenUp)
    ended = heard.of(InvocationEnded)
    assert [(event.first, event.last, event.done, event.again, event.given_up) for event in ended] == [
        (numbers[0], numbers[3], 0, (2, 2), 0),
        (numbers[0], numbers[1], 2, (), 0),
        (numbers[2], numbers[3], 0, (1, 1), 0),
        (numbers[2], numbers[2], 1, (), 0),
        (numbers[3], numbers[3], 0, (), 1),
    ]
    assert {event.shard for event in (*ended, *heard.of(Received), *heard.of(Invoked))} == {S0}
    (given_up,) = heard.of(GivenUp)
    assert (given_up.fate, given_up.condition, given_up.records) == ("sent", "RetryAttemptsExhausted", 1)
    assert (given_up.first, given_up.last, given_up.shard) == (numbers[3], numbers[3], S0)


@virtual_time
async def test_retries_of_a_batch_count_its_attempts() -> None:
    world = World().policy(attempts=2)
    world.stream.put("a", 1)
    world.function.handler = fail
    with listening(world.tap) as heard:
        await watch(world, heard, GivenUp)
    assert [event.attempt for event in heard.of(Invoked)] == [1, 2, 3]
    assert [event.again for event in heard.of(InvocationEnded)] == [(1,), (1,), ()]
    assert [(event.fate, event.message) for event in heard.of(GivenUp)] == [
        ("dropped", "the mapping has no on-failure destination")
    ]


@virtual_time
async def test_a_destination_that_refuses_is_told_and_then_what_becomes_of_the_records() -> None:
    refusals = iter(
        [DestinationError("access denied", code="AccessDenied"), DestinationError("access denied", code="AccessDenied"), None]
    )
    world = World(destination=FakeDestination(refuse=lambda: next(refusals)), block=True).policy(attempts=0)
    world.stream.put("a", 2)
    world.function.handler = fail
    with listening(world.tap) as heard:
        await watch(world, heard, GivenUp, 3)
    assert [event.fate for event in heard.of(GivenUp)] == ["refused", "refused", "sent"]
    assert heard.of(GivenUp)[0].message == "access denied"


@virtual_time
async def test_com_79_records_that_are_too_old_are_told_though_nothing_is_invoked() -> None:
    world = World().policy(age=60)
    world.stream.put("a", 2, arrived=world.stream.clock() - 120)
    with listening(world.tap) as heard:
        await watch(world, heard, GivenUp)
    assert [(event.condition, event.fate, event.records) for event in heard.of(GivenUp)] == [("RecordAgeExceeded", "dropped", 2)]
    assert heard.of(Invoked) == []


@virtual_time
async def test_com_85_records_that_left_the_stream_while_they_were_retried_are_told_as_expired() -> None:
    world = World().policy()
    world.stream.retention = 3600.0
    world.stream.put("a", 1)
    world.function.handler = fail
    with listening(world.tap) as heard:
        await watch(world, heard, GivenUp)
    assert [event.fate for event in heard.of(GivenUp)] == ["expired"]


@virtual_time
async def test_com_96_the_end_of_a_tumbling_window_is_an_invocation_without_records() -> None:
    world = World(settings=StreamSettings(start=TRIM_HORIZON, tumbling_window=10))
    world.stream.put("a", 1)

    async def keep_state(_: dict[str, Any]) -> Outcome:
        return Succeeded(response={"state": {}})

    world.function.handler = keep_state
    with listening(world.tap) as heard:
        await watch(world, heard, InvocationEnded, 2)
    assert [event.records for event in heard.of(InvocationEnded)] == [1, 0]
    assert [event.records for event in heard.of(Invoked)] == [1, 0]


@virtual_time
async def test_lanes_are_told_apart() -> None:
    world = World(settings=StreamSettings(start=TRIM_HORIZON, lanes=4))
    for key in "abcdefgh":
        world.stream.put(key, 1)
    with listening(world.tap) as heard:
        await watch(world, heard, InvocationEnded, 4)
    assert {event.lane for event in heard.of(InvocationEnded)} == {event.lane for event in heard.of(Invoked)} == {0, 1, 2, 3}


# nobody listens


@virtual_time
async def test_a_queue_to_which_nobody_listens_makes_nothing_whatever_happens() -> None:
    queue = FakeQueue(visibility_timeout=5, hold_receives=None)
    outcomes: list[Outcome] = [
        Succeeded(response=None), error("no"), NotInvoked(reason="TooManyRequests"), FunctionError(error_type="e", message="", document={}, timed_out=True),
    ]  # fmt: skip

    async def work(_: list[dict[str, Any]]) -> Outcome:
        return outcomes.pop(0) if outcomes else Succeeded(response=None)

    queue.send(*"abcdefgh")
    async with running(queue, FakeInvoker(work), limits=BatchLimits(records=1), tap=SilentTap()) as worker:
        await worker.wait(lambda: len(queue.deleted) == 8)
    assert worker.metric("esm_throttles_total") == 1
    assert worker.metric("esm_errors_total") == 2


@virtual_time
async def test_a_stream_to_which_nobody_listens_makes_nothing_whatever_happens() -> None:
    world = World(limits=BatchLimits(records=4), destination=FakeDestination(), tap=SilentTap()).policy(attempts=1, bisect=True)
    numbers = world.stream.put("a", 8)

    async def refuse_one(event: dict[str, Any]) -> Outcome:
        return error("no") if numbers[5] in sequences(event) else Succeeded(response=None)

    world.function.handler = refuse_one
    async with world.running() as worker:
        await wait(lambda: world.checkpoints().get(S0) == numbers[7])
    assert worker.metric("esm_on_failure_destination_delivered_events_total") == 1


@virtual_time
async def test_a_listener_that_never_reads_holds_up_no_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.listener.MOST_WAITING", 10)
    queue, tap = FakeQueue(), quick(Tap())
    queue.send(*map(str, range(50)))
    with listening(tap) as heard:
        async with running(queue, FakeInvoker(), limits=BatchLimits(records=1), tap=tap) as worker:
            await worker.wait(lambda: len(queue.deleted) == 50)
        assert isinstance(heard.listener, Listener)
        assert len(await heard.hear()) == 11
