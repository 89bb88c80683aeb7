"""One mapping of a stream on fakes in virtual time: the rules of `spec/common.md` section 5 and `spec/kinesis.md`."""

from datetime import datetime
from itertools import chain
from typing import Any

import anyio
import pytest
import structlog
from msgspec.structs import replace

from handlers.destinations import DestinationError, ProbeFinding
from handlers.invoker import FunctionError, NotInvoked, Outcome, Succeeded
from pollers.errors import PositionTrimmed, SourceError, SourceUnavailable
from pollers.record import LATEST, TRIM_HORIZON, Position
from runtime.core.mapping import BatchLimits, RetryPolicy, StreamSettings
from runtime.leases import Lease
from runtime.shard import _lane_of
from runtime.stores.memory import MemoryStore
from tests.fakes.stream_worker import FakeDestination, World, sequences, wait, wall_clock
from tests.fakes.virtual_time import virtual_time
from tests.fakes.worker import error

S0 = "shardId-000000000000"


@virtual_time
async def test_kin_25_records_come_in_order_in_batches_of_the_size_asked_for() -> None:
    world = World()
    expected = world.stream.put("a", 20)
    async with world.running():
        await wait(lambda: len(world.function.invoked) == 2)
        expected += world.stream.put("a", 10)
        await wait(lambda: world.checkpoints() == {S0: expected[-1]})
    assert [len(batch) for batch in world.function.invoked] == [10, 10, 10]
    assert list(chain.from_iterable(world.function.invoked)) == expected


@virtual_time
async def test_kin_60_a_reported_record_is_retried_alone_and_its_counter_starts_again() -> None:
    world = World(limits=BatchLimits(records=3), report=True, destination=FakeDestination()).policy(attempts=3)
    numbers = world.stream.put("a", 6)

    async def report_the_sixth(event: dict[str, object]) -> Outcome:
        failed = [number for number in sequences(event) if number == numbers[5]]
        return Succeeded(response={"batchItemFailures": [{"itemIdentifier": number} for number in failed]})

    world.function.handler = report_the_sixth
    async with world.running() as worker:
        await wait(lambda: world.checkpoints().get(S0) == numbers[5])
    assert world.function.invoked == [numbers[:3], numbers[3:], *[[numbers[5]]] * 4]
    assert world.destination is not None
    (sent,) = world.destination.taken
    assert sent.body["requestContext"]["approximateInvokeCount"] == 4
    assert sent.body["responseContext"]["functionError"] is None
    assert worker.metric("esm_on_failure_destination_delivered_events_total") == 1


@virtual_time
async def test_kin_40_children_begin_after_their_parent_has_ended() -> None:
    world = World(limits=BatchLimits(records=2))
    before = world.stream.put("a", 5)
    left, right = world.stream.split(S0)
    after = world.stream.put("a", 5) + world.stream.put("b", 5)
    async with world.running():
        await wait(lambda: sum(map(len, world.function.invoked)) == 15)
        await wait(lambda: world.checkpoints()[S0] == "SHARD_END")
    delivered = list(chain.from_iterable(world.function.invoked))
    assert delivered[:5] == before
    assert sorted(delivered[5:], key=int) == sorted(after, key=int)
    assert {left, right} <= world.checkpoints().keys()


@virtual_time
async def test_latest_survives_a_kill_before_the_first_batch() -> None:
    world = World(settings=StreamSettings(start=LATEST))
    world.stream.put("a", 5)
    await anyio.sleep(1)
    async with anyio.create_task_group() as tasks:
        first = world.start(tasks)
        await wait(lambda: world.checkpoints().get(S0, "").startswith("AT_TIMESTAMP"))
        first.kill()
        new = world.stream.put("a", 3)
        await anyio.sleep(1)
        second = world.start(tasks, "w2")
        await wait(lambda: world.checkpoints()[S0] == new[-1])
        second.drain.begin()
    assert list(chain.from_iterable(world.function.invoked)) == new


@virtual_time
async def test_latest_is_kept_also_when_the_state_is_slow_at_first() -> None:
    """Else a crash before the first batch would begin at another LATEST, and lose what came in between."""
    slow_until = anyio.current_time() + 8

    class SlowAtFirst(MemoryStore):
        async def checkpoint(self, lease: Lease, position: Position, *, window: str | None = None) -> Lease | None:
            if anyio.current_time() < slow_until:
                await anyio.sleep(6)
            return await super().checkpoint(lease, position, window=window)

    world = World(settings=StreamSettings(start=LATEST), store=SlowAtFirst())
    async with world.running():
        await anyio.sleep(60)
        assert world.checkpoints()[S0].startswith("AT_TIMESTAMP")


@virtual_time
async def test_com_75_bisect_isolates_a_poison_record() -> None:
    world = World(destination=FakeDestination())
    world.settings = StreamSettings(start=world.settings.start, retry=RetryPolicy(attempts=1, bisect=True))
    numbers = world.stream.put("a", 8)

    async def fail_the_fifth(event: dict[str, object]) -> Outcome:
        return error() if numbers[4] in sequences(event) else Succeeded(response=None)

    world.function.handler = fail_the_fifth
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert world.destination is not None
    (sent,) = world.destination.taken
    assert sent.body["KinesisBatchInfo"]["batchSize"] == 1
    assert sent.body["KinesisBatchInfo"]["startSequenceNumber"] == numbers[4]


@virtual_time
async def test_two_workers_share_shards_and_take_over_from_one_that_dies() -> None:
    world = World()
    world.stream.shard_count = 4
    world.stream.__post_init__()
    async with anyio.create_task_group() as tasks:
        first = world.start(tasks, "w1")
        await wait(lambda: len([s for s in first.status.shards.values() if s.running]) >= 4)
        second = world.start(tasks, "w2")
        await wait(lambda: sum(s.running for s in second.status.shards.values()) >= 2)
        await anyio.sleep(30)
        assert (
            abs(sum(s.running for s in second.status.shards.values()) - sum(s.running for s in first.status.shards.values())) <= 1
        )
        first.kill()
        died = anyio.current_time()
        await wait(lambda: all(s.running for s in second.status.shards.values()))
        assert anyio.current_time() - died < 10 + 10 / 3 + 5
        second.drain.begin()


@virtual_time
async def test_kin_26_a_slow_handler_delays_only_the_next_batch_of_its_shard() -> None:
    world = World()
    world.stream.put("a", 20)

    async def slow(_: dict[str, object]) -> Outcome:
        await anyio.sleep(5)
        return Succeeded(response=None)

    world.function.handler = slow
    async with world.running():
        await wait(lambda: len(world.function.invoked) == 2)
    first, second = world.function.invoked_at
    assert second - first == pytest.approx(5, abs=0.1)
    assert world.function.most_running == 1


@virtual_time
async def test_kin_61_a_record_too_old_at_first_sight_is_never_invoked_and_its_message_counts_one_attempt() -> None:
    world = World(destination=FakeDestination()).policy(age=60, attempts=0)
    old = world.stream.put("a")
    await anyio.sleep(61)
    fresh = world.stream.put("a", 5)
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == fresh[-1])
    assert world.function.invoked == [fresh]
    assert world.destination is not None
    (sent,) = world.destination.taken
    assert sent.body["requestContext"]["condition"] == "RecordAgeExceeded"
    assert sent.body["requestContext"]["approximateInvokeCount"] == 1
    assert "responseContext" not in sent.body
    assert sent.body["KinesisBatchInfo"]["startSequenceNumber"] == old[0]
    assert sent.body["KinesisBatchInfo"]["batchSize"] == 1


@virtual_time
async def test_kin_62_retries_end_when_the_record_grows_too_old_and_no_pause_goes_past_that() -> None:
    world = World(limits=BatchLimits(records=1), destination=FakeDestination()).policy(age=60)
    (number,) = world.stream.put("a")
    put_at = anyio.current_time()
    world.function.handler = fail
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == number)
        gone_after = anyio.current_time() - put_at
    assert 60 <= gone_after < 60.2
    assert world.destination is not None
    (sent,) = world.destination.taken
    assert sent.body["requestContext"]["approximateInvokeCount"] == len(world.function.invoked) + 1
    assert 6 <= len(world.function.invoked) <= 10


@virtual_time
async def test_ddb_31_one_retry_means_two_invocations() -> None:
    world = World(limits=BatchLimits(records=1), destination=FakeDestination()).policy(attempts=1)
    (number,) = world.stream.put("a")
    world.function.handler = fail
    async with world.running() as worker:
        await wait(lambda: world.checkpoints().get(S0) == number)
    assert world.function.invoked == [[number]] * 2
    assert world.destination is not None
    assert world.destination.taken[0].body["requestContext"]["approximateInvokeCount"] == 2
    assert world.destination.taken[0].body["responseContext"]["functionError"] == "Unhandled"
    assert worker.status.last_result == "OK" or worker.status.last_result.startswith("PROBLEM")


@virtual_time
async def test_com_23_a_throttle_costs_no_retry() -> None:
    world = World(destination=FakeDestination()).policy(attempts=0)
    numbers = world.stream.put("a", 3)
    outcomes = [NotInvoked(reason="throttled")] * 5

    async def throttled(_: dict[str, object]) -> Outcome:
        return outcomes.pop() if outcomes else Succeeded(response=None)

    world.function.handler = throttled
    async with world.running() as worker:
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert world.function.invoked == [numbers] * 6
    assert worker.metric("esm_throttles_total") == 5


@virtual_time
async def test_without_a_destination_what_is_given_up_is_counted_as_dropped() -> None:
    world = World().policy(attempts=0)
    numbers = world.stream.put("a", 3)
    world.function.handler = fail
    async with world.running() as worker:
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert worker.metric("esm_dropped_events_total") == 3


@virtual_time
async def test_dst_13_a_destination_that_refuses_does_not_hold_the_shard_up() -> None:
    refused = DestinationError("no such queue", code="QueueDoesNotExist")
    world = World(destination=FakeDestination(refuse=lambda: refused)).policy(attempts=0)
    numbers = world.stream.put("a", 3)
    world.function.handler = fail
    async with world.running() as worker:
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert worker.metric("esm_dropped_events_total") == 3
    assert worker.metric("esm_destination_delivery_failures_total") == 1


@virtual_time
async def test_a_blocking_mapping_waits_for_its_destination_and_says_so() -> None:
    refusals = [DestinationError("no such queue", code="QueueDoesNotExist")] * 3
    destination = FakeDestination(refuse=lambda: refusals.pop() if refusals else None)
    world = World(destination=destination, block=True).policy(attempts=0)
    numbers = world.stream.put("a", 3)
    world.function.handler = fail
    async with world.running() as worker:
        await wait(lambda: worker.status.shards.get(S0) is not None and worker.shard(S0).blocks != {})
        assert "no such queue" in str(worker.shard(S0).why_not_moving)
        assert world.checkpoints()[S0] == "TRIM_HORIZON"
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert len(destination.taken) == 1
    assert worker.metric("esm_dropped_events_total") == 0
    assert worker.metric("esm_destination_delivery_failures_total") == 3


@virtual_time
async def test_com_61_lanes_keep_the_order_of_each_key_and_the_checkpoint_waits_for_the_slowest() -> None:
    world = World(settings=StreamSettings(start=TRIM_HORIZON, lanes=4), limits=BatchLimits(records=2))
    keys = "abcdefgh"
    numbers = [world.stream.put(key)[0] for _ in range(5) for key in keys]
    seen: list[str] = []

    async def work(event: dict[str, object]) -> Outcome:
        if numbers[0] in sequences(event):
            await anyio.sleep(100)
            assert world.checkpoints()[S0] == "TRIM_HORIZON"
        seen.extend(sequences(event))
        return Succeeded(response=None)

    world.function.handler = work
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert 2 <= world.function.most_running <= 4
    assert sorted(seen, key=int) == numbers
    for start in range(len(keys)):
        of_key = numbers[start :: len(keys)]
        assert [number for number in seen if number in of_key] == of_key


@virtual_time
async def test_com_15_a_batching_window_begins_when_the_previous_invocation_has_ended() -> None:
    world = World(limits=BatchLimits(records=100, window=10))
    world.stream.put("a")

    async def slow(_: dict[str, object]) -> Outcome:
        await anyio.sleep(20)
        return Succeeded(response=None)

    world.function.handler = slow
    async with world.running():
        await wait(lambda: len(world.function.invoked) == 1)
        world.stream.put("a", 2)
        await wait(lambda: len(world.function.invoked) == 2)
    first, second = world.function.invoked_at
    assert 29 <= second - first <= 31


@virtual_time
async def test_a_drain_finishes_the_batch_in_flight_checkpoints_it_and_releases_the_lease() -> None:
    world = World()
    numbers = world.stream.put("a", 30)

    async def slow(_: dict[str, object]) -> Outcome:
        await anyio.sleep(5)
        return Succeeded(response=None)

    world.function.handler = slow
    async with world.running() as worker:
        await wait(lambda: len(world.function.invoked) == 2)
    assert world.function.invoked == [numbers[:10], numbers[10:20]]
    assert world.checkpoints() == {S0: numbers[19]}
    assert [lease.owner for lease in world.leases()] == [None]
    assert worker.drain.report.finished == 10


@virtual_time
async def test_a_trimmed_position_goes_on_at_trim_horizon_and_the_gap_is_counted() -> None:
    world = World()
    numbers = world.stream.put("a", 20)
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    lost = world.stream.put("a", 5)
    kept = world.stream.put("a", 3)
    assert world.stream.trim(S0, 25)[-1] == lost[-1]
    async with world.running() as worker:
        await wait(lambda: world.checkpoints().get(S0) == kept[-1])
    assert world.function.invoked[-1] == kept
    assert worker.metric("esm_position_gaps_total") == 1


@virtual_time
async def test_com_63_a_trim_horizon_that_lies_before_the_position_repeats_nothing() -> None:
    """Kinesis says by age alone that records are gone, and drops them when it likes."""
    world = World()
    before = world.stream.put("a", 20)
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == before[-1])
    gone: list[SourceError] = [PositionTrimmed("by their age they are gone", code="trimmed")]
    world.stream.fail = lambda operation, _: gone.pop() if operation == "open" and gone else None
    kept = world.stream.put("a", 3)
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == kept[-1])
    assert world.stream.opens[-1][2] == TRIM_HORIZON
    assert [number for batch in world.function.invoked for number in batch] == before + kept


@virtual_time
async def test_a_page_that_came_again_is_worked_on_once() -> None:
    world = World()
    numbers = world.stream.put("a", 20)
    world.stream.repeat = lambda _: 5
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
        numbers += world.stream.put("a", 3)
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert sum(len(read.sequences) for read in world.stream.reads) > len(numbers)
    assert [number for batch in world.function.invoked for number in batch] == numbers


@virtual_time
async def test_ddb_15_a_shard_that_left_the_stream_unread_is_ended_and_the_gap_counted() -> None:
    world = World()
    numbers = world.stream.put("a", 5)
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    child = world.stream.roll_over(S0)
    later = world.stream.put("a", 2)
    world.stream.forget(S0)
    async with world.running() as worker:
        await wait(lambda: world.checkpoints().get(child) == later[-1])
    assert world.checkpoints()[S0] == "SHARD_END"
    assert worker.metric("esm_position_gaps_total") == 1


@virtual_time
async def test_kin_42_latest_marks_closed_shards_as_done_and_children_that_come_later_begin_at_trim_horizon() -> None:
    world = World(settings=StreamSettings(start=LATEST))
    world.stream.put("a", 5)
    left, right = world.stream.split(S0)
    world.stream.put("a", 2)
    await anyio.sleep(1)
    async with world.running():
        await wait(lambda: world.checkpoints().get(left, "").startswith("AT_TIMESTAMP"))
        await wait(lambda: world.checkpoints().get(right, "").startswith("AT_TIMESTAMP"))
        assert world.checkpoints()[S0] == "SHARD_END"
        home = world.stream.shard_of("a").id
        grandchildren = world.stream.split(home)
        new = world.stream.put("a", 3)
        await wait(lambda: new[-1] in world.checkpoints().values())
        assert world.checkpoints()[home] == "SHARD_END"
        assert set(grandchildren) <= world.checkpoints().keys()
    assert list(chain.from_iterable(world.function.invoked)) == new


@virtual_time
async def test_what_expires_in_the_stream_while_it_is_retried_is_counted_and_sent_nowhere() -> None:
    world = World(destination=FakeDestination())
    world.stream.retention = 300.0
    world.stream.put("a", 2)
    world.function.handler = fail
    async with world.running() as worker:
        await wait(lambda: worker.metric("esm_expired_events_total") == 2)
        assert anyio.current_time() >= 1300
    assert world.destination is not None
    assert world.destination.taken == []
    assert worker.metric("esm_dropped_events_total") == 0


@virtual_time
async def test_a_silent_shard_is_restarted_and_fails_health_when_that_does_not_help() -> None:
    world = World(watchdog=60.0)
    numbers = world.stream.put("a", 3)
    stuck = True
    real = world.stream.open_shard

    async def hang(shard: str, at: Position) -> Any:
        if stuck:
            await anyio.sleep_forever()
        return await real(shard, at)

    world.stream.open_shard = hang  # type: ignore[method-assign]  # a source that never answers
    async with world.running() as worker:
        await wait(lambda: S0 in worker.status.shards and worker.shard(S0).in_vain == 1)
        assert not worker.status.stuck(anyio.current_time())
        await wait(lambda: worker.status.stuck(anyio.current_time()))
        assert worker.metric("esm_shard_restarts_total") == 2
        stuck = False
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
        assert not worker.status.stuck(anyio.current_time())


@virtual_time
async def test_com_90_a_tumbling_window_hands_its_state_on_and_ends_with_a_final_invocation() -> None:
    world = World(settings=StreamSettings(start=TRIM_HORIZON, tumbling_window=60), limits=BatchLimits(records=2))

    async def count(event: dict[str, Any]) -> Outcome:
        return Succeeded(response={"state": {"count": event["state"].get("count", 0) + len(event["Records"])}})

    world.function.handler = count
    await anyio.sleep(60 - wall_clock() % 60)
    start = wall_clock()
    first = world.stream.put("a", 5)
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == first[-1])
        await anyio.sleep(60)
        second = world.stream.put("a", 1)
        await wait(lambda: world.checkpoints().get(S0) == second[-1])
    assert [len(batch) for batch in world.function.invoked] == [2, 2, 1, 0, 1]
    assert [event["state"] for event in world.function.events] == [{}, {"count": 2}, {"count": 4}, {"count": 5}, {}]
    assert [event["isFinalInvokeForWindow"] for event in world.function.events] == [False, False, False, True, False]
    ends = datetime.fromisoformat(world.function.events[3]["window"]["end"])
    assert ends.timestamp() == start + 60
    assert list(world.function.events[0])[1:] == [
        "window", "state", "shardId", "eventSourceARN", "isFinalInvokeForWindow", "isWindowTerminatedEarly",
    ]  # fmt: skip


@virtual_time
async def test_an_open_tumbling_window_survives_a_kill() -> None:
    world = World(settings=StreamSettings(start=TRIM_HORIZON, tumbling_window=600), limits=BatchLimits(records=2))

    async def count(event: dict[str, Any]) -> Outcome:
        return Succeeded(response={"state": {"count": event["state"].get("count", 0) + len(event["Records"])}})

    world.function.handler = count
    await anyio.sleep(600 - wall_clock() % 600)
    first = world.stream.put("a", 4)
    async with anyio.create_task_group() as tasks:
        one = world.start(tasks)
        await wait(lambda: world.checkpoints().get(S0) == first[-1])
        one.kill()
        second = world.stream.put("a", 2)
        two = world.start(tasks, "w2")
        await wait(lambda: world.checkpoints()[S0] == second[-1])
        two.drain.begin()
    assert [event["state"] for event in world.function.events] == [{}, {"count": 2}, {"count": 4}]


@virtual_time
async def test_com_95_a_state_over_a_megabyte_ends_the_window_early() -> None:
    world = World(settings=StreamSettings(start=TRIM_HORIZON, tumbling_window=600), limits=BatchLimits(records=1))

    async def grow(_: dict[str, Any]) -> Outcome:
        return Succeeded(response={"state": {"text": "x" * 1_100_000} if len(world.function.invoked) == 1 else {}})

    world.function.handler = grow
    numbers = world.stream.put("a", 2)
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert [event["isWindowTerminatedEarly"] for event in world.function.events] == [False, True, False]
    assert [event["isFinalInvokeForWindow"] for event in world.function.events] == [False, True, False]
    assert world.function.events[2]["state"] == {}


@virtual_time
async def test_reserved_concurrency_is_shared_by_the_shards_of_a_function() -> None:
    world = World(limiter=anyio.CapacityLimiter(1), limits=BatchLimits(records=2))
    world.stream.shard_count = 3
    world.stream.__post_init__()
    numbers = [number for key in "abcdefghij" for number in world.stream.put(key, 2)]

    async def slow(_: dict[str, object]) -> Outcome:
        await anyio.sleep(1)
        return Succeeded(response=None)

    world.function.handler = slow
    async with world.running():
        await wait(lambda: sum(map(len, world.function.invoked)) == len(numbers))
    assert world.function.most_running == 1


@virtual_time
async def test_a_handler_past_its_time_limit_is_waited_for_before_the_batch_is_tried_again() -> None:
    world = World()
    numbers = world.stream.put("a", 2)
    returned = anyio.Event()

    async def overdue(_: dict[str, object]) -> Outcome:
        if len(world.function.invoked) > 1:
            return Succeeded(response=None)
        document = {"errorType": "Sandbox.Timedout", "errorMessage": "slow"}
        return FunctionError(
            error_type="Sandbox.Timedout", message="slow", document=document, timed_out=True, still_running=returned.wait
        )

    world.function.handler = overdue
    async with world.running() as worker:
        await wait(lambda: world.function.invoked == [numbers])
        await anyio.sleep(70)
        assert len(world.function.invoked) == 1
        assert worker.status.stuck(anyio.current_time())
        returned.set()
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert world.function.invoked == [numbers] * 2


async def fail(_: dict[str, object]) -> Outcome:
    await anyio.lowlevel.checkpoint()
    return error()


@virtual_time
async def test_a_worker_that_starts_again_and_again_still_gets_its_shards_after_the_failover_time() -> None:
    """Silence counts from the dead owner's last sign of life, not from the start of whoever waits for it."""
    world = World()
    numbers = world.stream.put("a", 5)
    async with anyio.create_task_group() as tasks:
        first = world.start(tasks, "w1")
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
        first.kill()
        died = anyio.current_time()
        later = world.stream.put("a", 5)
        life = 1
        while world.checkpoints()[S0] != later[-1]:
            life += 1
            worker = world.start(tasks, f"w{life}")
            await anyio.sleep(4)
            assert anyio.current_time() - died < 10 + 4 + 4
            if life == 3:
                assert "lease held by worker w1, silent for" in str(worker.status.why_not_moving)
                assert not worker.status.ready
            worker.kill()


@virtual_time
async def test_a_worker_with_the_id_of_the_one_before_goes_on_before_the_failover_time() -> None:
    world = World()
    numbers = world.stream.put("a", 5)
    async with anyio.create_task_group() as tasks:
        first = world.start(tasks, "w1")
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
        first.kill()
        later = world.stream.put("a", 5)
        second = world.start(tasks, "w1")
        await wait(lambda: world.checkpoints()[S0] == later[-1], within=6)
        second.drain.begin()


@virtual_time
async def test_a_failure_that_repeats_is_told_in_full_once_and_then_when_its_count_has_doubled() -> None:
    world = World()
    world.stream.put("a", 3)
    world.function.handler = fail
    with structlog.testing.capture_logs() as logs:
        async with world.running() as worker:
            await wait(lambda: len(world.function.invoked) == 8)
            await anyio.sleep(1)
            assert "retrying 3 records from 1 to 3 (attempt 9 since 2025-" in str(worker.status.why_not_moving)
    told = [line for line in logs if line["event"] == "function_failed"]
    assert len(told) == 4  # the 1st, 2nd, 4th and 8th
    assert {(line["shard"], line["first"], line["last"]) for line in told} == {(S0, "1", "3")}


@virtual_time
async def test_a_destination_that_is_not_there_is_told_at_the_start() -> None:
    world = World(destination=FakeDestination(finding=ProbeFinding(message="no such queue", unverified=False)))
    with structlog.testing.capture_logs() as logs:
        async with world.running():
            await anyio.sleep(1)
    assert [line["warning"] for line in logs if line["event"] == "destination_warned"] == ["no such queue"]


# what a review found, each once red


@virtual_time
async def test_a_retention_that_was_raised_while_a_record_is_retried_is_asked_before_it_is_given_up() -> None:
    world = World()
    world.stream.retention = 300.0
    world.stream.put("a", 2)
    world.function.handler = fail
    async with world.running() as worker:
        await wait(lambda: len(world.function.invoked) > 2)
        world.stream.retention = 900.0
        await anyio.sleep(500)
        assert worker.metric("esm_expired_events_total") == 0
        await wait(lambda: worker.metric("esm_expired_events_total") == 2)


@virtual_time
async def test_a_blocked_lane_holds_up_reading_before_the_records_that_wait_behind_it_grow_without_bound() -> None:
    world = World(settings=StreamSettings(start=TRIM_HORIZON, lanes=2), limits=BatchLimits(records=100))
    world.stream.put("poison")
    stuck = _lane_of(world.stream.puts[0], 2)

    async def fail_poison(event: dict[str, Any]) -> Outcome:
        poisoned = any(record["kinesis"]["partitionKey"] == "poison" for record in event["Records"])
        return error() if poisoned else Succeeded(response=None)

    world.function.handler = fail_poison
    free = next(key for key in "abcdefgh" if _lane_of(replace(world.stream.puts[0], group=key), 2) != stuck)
    world.stream.put(free, 150_000)
    async with world.running() as worker:
        await anyio.sleep(600)
        assert worker.shard(S0).unfinished < 120_000
        assert worker.shard(S0).blocks


@virtual_time
async def test_a_tumbling_window_does_not_end_while_records_of_it_wait_for_their_batch() -> None:
    settings = StreamSettings(start=TRIM_HORIZON, tumbling_window=60)
    world = World(settings=settings, limits=BatchLimits(records=2, window=300))

    async def count(event: dict[str, Any]) -> Outcome:
        return Succeeded(response={"state": {"count": event["state"].get("count", 0) + len(event["Records"])}})

    world.function.handler = count
    await anyio.sleep(60 - wall_clock() % 60)
    world.stream.put("a", 3)
    async with world.running():
        await wait(lambda: any(event["isFinalInvokeForWindow"] for event in world.function.events))
    assert world.function.events[-1]["state"] == {"count": 3}


@virtual_time
async def test_a_tumbling_window_does_not_end_because_the_source_cannot_be_read() -> None:
    world = World(settings=StreamSettings(start=TRIM_HORIZON, tumbling_window=60))
    down = False
    world.stream.fail = lambda _, __: SourceUnavailable("down", code="no_answer") if down else None

    async def keep(event: dict[str, Any]) -> Outcome:
        return Succeeded(response={"state": event["state"]})

    world.function.handler = keep
    await anyio.sleep(60 - wall_clock() % 60)
    world.stream.put("a")
    async with world.running():
        await wait(lambda: len(world.function.events) == 1)
        await anyio.sleep(5)  # reads that bring nothing
        down = True
        await anyio.sleep(600)
        assert len(world.function.events) == 1
        down = False
        await wait(lambda: len(world.function.events) == 2)
        assert world.function.events[1]["isFinalInvokeForWindow"]


@virtual_time
async def test_an_ended_shard_that_is_open_again_is_of_another_stream_and_says_so() -> None:
    world = World()
    world.stream.put("a", 2)
    world.stream.split(S0)
    async with world.running() as worker:
        await wait(lambda: world.checkpoints().get(S0) == "SHARD_END")
        world.stream.shards[S0].closed_at = None
        await wait(lambda: "made again under its name" in str(worker.status.why_not_moving))


@virtual_time
async def test_a_shard_that_crashes_is_started_again_and_does_not_stop_the_others() -> None:
    world = World()
    world.stream.shard_count = 2
    world.stream.__post_init__()
    other = "shardId-000000000001"
    broken = world.stream.put("a", 2, shard=S0)
    fine = world.stream.put("b", 2, shard=other)
    real, bad = world.stream.open_shard, True

    async def crash(shard: str, at: Position) -> Any:
        if shard == S0 and bad:
            raise RuntimeError("a bug")
        return await real(shard, at)

    world.stream.open_shard = crash  # type: ignore[method-assign]  # a source with a bug
    async with world.running() as worker:
        await wait(lambda: world.checkpoints().get(other) == fine[-1])
        assert "it crashed, see the log" in str(worker.shard(S0).why_not_moving)
        assert worker.status.restarts == 0
        bad = False
        await wait(lambda: world.checkpoints().get(S0) == broken[-1])


@virtual_time
async def test_waiting_for_reserved_concurrency_shows() -> None:
    limiter = anyio.CapacityLimiter(1)
    limiter.acquire_on_behalf_of_nowait("another")
    world = World(limiter=limiter)
    numbers = world.stream.put("a", 2)
    async with world.running() as worker:
        await wait(lambda: S0 in worker.status.shards and "ReservedConcurrentExecutions" in str(worker.shard(S0).why_not_moving))
        limiter.release_on_behalf_of("another")
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
        assert worker.shard(S0).why_not_moving is None
