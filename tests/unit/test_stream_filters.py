"""A stream mapping with filters, in virtual time: the position passes what does not match, and nothing else sees it (FLT-61)."""

from itertools import chain
from typing import Any

import anyio
import pytest

from handlers.invoker import Outcome, Succeeded
from pollers.record import TRIM_HORIZON
from runtime.core.filtering import FilterCriteria
from runtime.core.mapping import BatchLimits, RetryPolicy, StreamSettings
from runtime.stores.memory import MemoryStore
from tests.fakes.stream import STREAM_SPEC
from tests.fakes.stream_worker import EPOCH, FakeDestination, World, wait
from tests.fakes.virtual_time import virtual_time
from tests.fakes.worker import error

S0 = "shardId-000000000000"


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[float] = []

    async def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        self.written.append(anyio.current_time())
        return await super().checkpoint(*args, **kwargs)


def filtering(*keys: str, **world: Any) -> World:
    """Of the partition keys, these are wanted."""
    pattern = f'{{"kinesis": {{"partitionKey": [{",".join(f"{chr(34)}{key}{chr(34)}" for key in keys)}]}}}}'
    return World(criteria=FilterCriteria.compile([pattern], data=STREAM_SPEC.filter_view), **world)


def invoked(world: World) -> list[str]:
    return list(chain.from_iterable(world.function.invoked))


@virtual_time
async def test_flt_61_the_handler_gets_what_matches_and_the_position_passes_the_rest() -> None:
    world = filtering("yes")
    wanted = []
    for _ in range(30):
        world.stream.put("no", 3)
        wanted += world.stream.put("yes")
    last = world.stream.put("no", 7)[-1]
    async with world.running() as worker:
        await wait(lambda: world.checkpoints() == {S0: last})
        assert invoked(world) == wanted
        assert [len(batch) for batch in world.function.invoked] == [10, 10, 10]
        names = ("polled", "filtered_out", "invoked")
        assert [worker.metric(f"esm_{name}_events_total") for name in names] == [127, 97, 30]


@virtual_time
async def test_flt_61_a_stretch_without_a_match_is_passed_within_about_a_second_and_written_about_once_a_second() -> None:
    store = CountingStore()
    world = filtering("yes", store=store)
    world.stream.page_limit = 10
    async with world.running() as worker:
        await wait(lambda: worker.status.ready)
        for _ in range(600):
            last = world.stream.put("no", 10)[-1]
            await anyio.sleep(0.5)
            assert int(last) - int(world.checkpoints()[S0].removeprefix("TRIM_HORIZON") or 0) <= 60
        await wait(lambda: world.checkpoints() == {S0: last}, within=3)
        assert world.function.invoked == []
        assert len(store.written) <= 310
        status = worker.shard(S0)
        assert (status.unfinished, status.standing_still(anyio.current_time()), status.iterator_age(EPOCH)) == (0, 0, 0)
        assert status.last_advance is not None
        assert worker.metric("esm_checkpoint_age_seconds") == 0
        before = len(store.written)
        await anyio.sleep(3600)
        assert len(store.written) == before


@virtual_time
async def test_com_63_the_position_never_passes_an_unfinished_record() -> None:
    world, gate = filtering("yes"), anyio.Event()

    async def hold(_: dict[str, Any]) -> Outcome:
        await gate.wait()
        return Succeeded(response=None)

    world.function.handler = hold
    passed = world.stream.put("no", 5)[-1]
    world.stream.put("yes")
    async with world.running() as worker:
        await wait(lambda: world.function.running == 1)
        last = world.stream.put("no", 500)[-1]
        await anyio.sleep(60)
        assert world.checkpoints() == {S0: passed}
        assert worker.shard(S0).unfinished >= 2
        assert worker.shard(S0).standing_still(anyio.current_time()) > 50
        gate.set()
        await wait(lambda: world.checkpoints() == {S0: last}, within=3)


@virtual_time
async def test_com_63_lanes_and_filters_together_keep_order_and_position() -> None:
    world = filtering(*"abcdef", settings=StreamSettings(start=TRIM_HORIZON, lanes=3))
    expected: dict[str, list[str]] = {key: [] for key in "abcdef"}

    async def work(_: dict[str, Any]) -> Outcome:
        await anyio.sleep(world.stream.puts.__len__() % 3 / 10)
        return error() if len(world.function.invoked) == 4 else Succeeded(response=None)

    world.function.handler = work
    for n in range(200):
        key = "abcdef"[n % 6]
        expected[key] += world.stream.put(key)
        world.stream.put("no", n % 4)
    last = world.stream.puts[-1].id
    async with world.running():
        await wait(lambda: world.checkpoints() == {S0: last})
    home = {number: key for key, numbers in expected.items() for number in numbers}
    for key, numbers in expected.items():
        assert list(dict.fromkeys(n for n in invoked(world) if home[n] == key)) == numbers


@virtual_time
async def test_a_kill_in_a_stretch_goes_on_near_where_it_was_and_repeats_no_match() -> None:
    world = filtering("yes")
    wanted = world.stream.put("yes", 3)
    with anyio.fail_after(24 * 3600):
        async with anyio.create_task_group() as tasks:
            first = world.start(tasks)
            for _ in range(100):
                world.stream.put("no", 20)
                await anyio.sleep(0.2)
            first.kill()
            await first.ended.wait()
            position = int(world.checkpoints()[S0])
            assert len(world.stream.puts) - position <= 300
            wanted += world.stream.put("yes", 3)
            second = world.start(tasks, "w2")
            await wait(lambda: world.checkpoints() == {S0: wanted[-1]})
            second.drain.begin()
    assert invoked(world) == wanted


@virtual_time
async def test_a_drain_writes_the_last_position_and_releases_the_lease() -> None:
    world = filtering("yes")
    world.stream.page_limit = 100
    last = world.stream.put("no", 500)[-1]
    async with world.running() as worker:
        await wait(lambda: worker.metric("esm_filtered_out_events_total") == 500)
        worker.drain.begin()
    assert world.checkpoints() == {S0: last}
    assert [lease.owner for lease in world.leases()] == [None]


@virtual_time
async def test_a_shard_that_holds_no_match_ends_and_its_children_begin() -> None:
    world = filtering("yes")
    world.stream.put("no", 50)
    first, second = world.stream.split(S0)
    wanted = world.stream.put("yes", 2)
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == "SHARD_END" and invoked(world) == wanted)
        assert set(world.checkpoints()) == {S0, first, second}


@virtual_time
async def test_flt_63_what_is_left_out_goes_to_no_destination_however_old_it_is() -> None:
    settings = StreamSettings(start=TRIM_HORIZON, retry=RetryPolicy(age=60))
    world = filtering("yes", settings=settings, destination=FakeDestination())
    world.stream.put("no", 5, arrived=EPOCH - 3600)
    old = world.stream.put("yes", arrived=EPOCH - 3600)
    last = world.stream.put("no", 5, arrived=EPOCH - 3600)[-1]
    async with world.running() as worker:
        await wait(lambda: world.checkpoints() == {S0: last})
        assert world.destination is not None
        (sent,) = world.destination.taken
        assert sent.body["KinesisBatchInfo"]["startSequenceNumber"] == old[0]
        assert worker.metric("esm_filtered_out_events_total") == 10


@virtual_time
async def test_a_window_that_waits_for_matches_holds_up_neither_reading_nor_memory() -> None:
    world = filtering("yes", limits=BatchLimits(records=100, window=300))
    async with world.running() as worker:
        first = world.stream.put("yes")
        await anyio.sleep(2)
        for _ in range(100):
            world.stream.put("no", 1500)
            await anyio.sleep(2)
        assert worker.metric("esm_filtered_out_events_total") > 140_000
        assert worker.shard(S0).unfinished < 500
        await wait(lambda: world.checkpoints() == {S0: world.stream.puts[-1].id})
        assert invoked(world) == first


@pytest.mark.parametrize(("lanes", "keys"), [(1, ("yes", "no")), (2, ("a", "c"))], ids=["what was left out", "another lane"])
@virtual_time
async def test_com_10c_a_batch_is_filled_by_the_bytes_of_its_own_records_alone(lanes: int, keys: tuple[str, str]) -> None:
    """Other records of the same page are as large: with them it would be over the limit at once."""
    settings = StreamSettings(start=TRIM_HORIZON, lanes=lanes)
    world = filtering("yes", "a", "c", limits=BatchLimits(records=100, window=60), settings=settings)
    for key in keys:
        world.stream.put(key, 4, size=1024 * 1024)
    async with world.running():
        await anyio.sleep(55)
        assert invoked(world) == []
        await wait(lambda: [len(batch) for batch in world.function.invoked] == [4] * lanes, within=10)


@pytest.mark.parametrize("more_follows", [True, False])
@virtual_time
async def test_com_97_a_tumbling_window_ends_when_an_unwanted_record_of_a_later_one_comes_or_time_passes(
    more_follows: bool,
) -> None:
    world = filtering("yes", settings=StreamSettings(start=TRIM_HORIZON, tumbling_window=60))

    async def count(event: dict[str, Any]) -> Outcome:
        return Succeeded(response={"state": {"n": event["state"].get("n", 0) + len(event["Records"])}})

    world.function.handler = count
    async with world.running():
        world.stream.put("yes", 3)
        await wait(lambda: len(world.function.invoked) == 1)
        began = anyio.current_time()
        for _ in range(30):
            if more_follows:
                world.stream.put("no", 3)
            await anyio.sleep(10)
        final = world.function.events[-1]
        assert (final["isFinalInvokeForWindow"], final["state"], final["Records"]) == (True, {"n": 3}, [])
        after = world.function.invoked_at[-1] - began
        assert after <= 75 if more_follows else 115 <= after <= 200
        last = world.stream.put("yes", 1)[-1]
        await wait(lambda: world.checkpoints() == {S0: last})
        assert world.function.events[-1]["state"] == {}


@virtual_time
async def test_a_long_page_is_sifted_in_parts_and_nothing_of_it_is_lost_when_the_shard_closes_in_between() -> None:
    world = filtering("yes")
    wanted = [world.stream.put(key)[0] for _ in range(1000) for key in ("no", "yes")][1::2]
    with anyio.fail_after(24 * 3600):
        async with anyio.create_task_group() as tasks:
            first = world.start(tasks)
            await wait(lambda: first.metric("esm_polled_events_total") > 0)
            first.drain.begin()
            await first.ended.wait()
            second = world.start(tasks, "w2")
            await wait(lambda: world.checkpoints() == {S0: wanted[-1]})
            second.drain.begin()
    assert list(dict.fromkeys(invoked(world))) == wanted
