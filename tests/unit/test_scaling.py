"""What a worker tells an autoscaler of its mappings: sampled, averaged, and nothing once it drains."""

from typing import Any

import anyio
import pytest

from runtime.core.mapping import BatchLimits, EventSourceMapping, MappingState
from runtime.core.scaling import LEAST, SMOOTHING, TARGET
from runtime.drain import Drain
from runtime.scaling import ScalingProbe, run_scaling
from runtime.shard_status import ShardStatus
from runtime.status import MappingStatus
from tests.fakes.virtual_time import virtual_time

WALL = 1_000_000.0
LONG = 1e6
"""Seconds after which the average is what is measured."""


def status() -> MappingStatus:
    mapping = EventSourceMapping(
        name="orders",
        function="orders",
        function_arn="arn:aws:lambda:eu-west-1:123456789012:function:orders",
        source="sqs",
        source_arn="arn:aws:sqs:eu-west-1:123456789012:orders",
        batch=BatchLimits(records=10, window=0),
    )
    return MappingStatus(mapping=mapping, state=MappingState.ENABLED)


def probe(
    one: MappingStatus, *, places: int | None = 10, function: float = 0.0, oldest: float = 0.0, **more: Any
) -> ScalingProbe:
    drain = more.pop("drain", None) or Drain()
    return ScalingProbe(
        one, places=places, function_busy=lambda: function, oldest_age=lambda: oldest, drain=drain, clock=lambda: WALL
    )


def held(name: str, **more: Any) -> ShardStatus:
    return ShardStatus(shard=name, running=True, **more)


def desired(one: ScalingProbe, *, processor: float = 0.0) -> float:
    one.sample(processor, seconds=LONG)
    return one.desired()


def test_a_queue_without_messages_is_worth_nothing_however_many_receives_wait_for_some() -> None:
    one = status()
    one.receiving = 10
    assert desired(probe(one), processor=0.3) == 0


@pytest.mark.parametrize(("receiving", "delivering", "busy"), [(1, 7, 0.7), (6, 4, 0.4), (0, 10, 1.0), (1, 1, 0.1)])
def test_a_queue_is_as_busy_as_the_slots_that_deliver(receiving: int, delivering: int, busy: float) -> None:
    one = status()
    one.receiving, one.delivering = receiving, delivering
    assert desired(probe(one)) == pytest.approx(busy / TARGET)


def test_slots_that_errors_have_closed_are_no_reason_for_more_workers() -> None:
    one = status()
    one.delivering, one.allowed, one.slots = 2, 2, 10
    assert desired(probe(one)) == pytest.approx(0.2 / TARGET)


def test_a_full_function_is_as_good_a_reason_as_full_slots() -> None:
    one = status()
    one.delivering = 2
    assert desired(probe(one, function=1.0)) == pytest.approx(1 / TARGET)


def test_a_queue_that_brings_messages_is_never_worth_nothing() -> None:
    one = status()
    one.receiving = 1
    assert desired(probe(one, oldest=2.0)) == LEAST
    assert probe(one, oldest=2.0).lag() == 2.0


@virtual_time
async def test_a_stream_is_worth_at_most_the_shards_that_are_held_here() -> None:
    one = status()
    one.shards = {"s0": held("s0"), "s1": ShardStatus(shard="s1", owner="another")}
    late = probe(one, places=None)
    assert desired(late, processor=0.07) == pytest.approx(0.1)
    assert desired(late, processor=1.0) == 1
    one.shards["s0"].running = False
    assert desired(late, processor=1.0) == 0, "what is elsewhere is told by whoever holds it"


@virtual_time
async def test_the_lag_of_a_stream_is_that_of_its_latest_shard_held_here() -> None:
    one = status()
    now = anyio.current_time()
    one.shards = {"s0": held("s0", behind=5.0, last_read=now), "s1": held("s1", in_flight={0: WALL - 60}), "s2": held("s2")}
    assert probe(one, places=None).lag() == 60
    one.shards["s1"].running = False
    assert probe(one, places=None).lag() == 5


@virtual_time
async def test_a_worker_that_drains_is_worth_nothing_at_once() -> None:
    one, drain = status(), Drain()
    one.delivering = 10
    full = probe(one, drain=drain)
    assert desired(full) > 1
    drain.begin()
    assert full.desired() == 0


@virtual_time
async def test_samples_are_taken_by_themselves_with_the_processor_time_that_has_passed() -> None:
    one = status()
    one.shards = {"s0": held("s0")}
    probes = [probe(one, places=None), probe(status())]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_scaling, probes, lambda: anyio.current_time() * 0.35)
        await anyio.sleep(SMOOTHING + 1)
        assert probes[0].desired() == pytest.approx(0.35 / TARGET * 0.632, abs=0.01)
        await anyio.sleep(10 * SMOOTHING)
        assert probes[0].desired() == pytest.approx(0.35 / TARGET, abs=0.01)
        assert probes[1].desired() == 0
        tasks.cancel_scope.cancel()
