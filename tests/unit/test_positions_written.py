"""When the position of a shard is written, and what is held meanwhile, on fakes in virtual time."""

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest
from msgspec import structs

from handlers.destinations import DestinationError
from handlers.invoker import Outcome, Succeeded
from pollers.record import TRIM_HORIZON, Position, Record
from runtime.core.mapping import BatchLimits, RetryPolicy, StreamSettings
from runtime.leases import Lease
from runtime.stores.memory import MemoryStore
from tests.fakes.stream import STREAM_SPEC
from tests.fakes.stream_worker import FakeDestination, World, sequences, wait
from tests.fakes.virtual_time import virtual_time
from tests.fakes.worker import error

S0 = "shardId-000000000000"


class Watched(Record, kw_only=True, gc=True, weakref=True):
    """A record whose end can be seen."""


class SlowStore(MemoryStore):
    """Takes a second for each position, and looks around when that begins."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[weakref.ref[Watched]] = []
        self.alive: list[int] = []
        """How many records there were at each write."""

    async def checkpoint(self, lease: Lease, position: Position, *, window: str | None = None) -> Lease | None:
        self.alive.append(sum(record() is not None for record in self.records))
        await anyio.sleep(1.0)
        return await super().checkpoint(lease, position, window=window)


def watching(store: SlowStore) -> World:
    """The stream keeps its own records; a mapping works on those that are made of them."""

    def expand(records: Sequence[Record]) -> Sequence[Record]:
        made = [Watched(**structs.asdict(record)) for record in records]
        store.records += map(weakref.ref, made)
        return made

    return World(store=store, spec=replace(STREAM_SPEC, expand=expand))


@virtual_time
async def test_while_a_position_is_written_nothing_holds_the_records_before_it() -> None:
    store = SlowStore()
    world = watching(store)
    numbers = world.stream.put("a", 10)
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert (len(store.records), store.alive) == (10, [0])


@virtual_time
async def test_the_next_batch_waits_until_the_position_is_written() -> None:
    world = World(store=SlowStore())
    world.stream.put("a", 30)
    async with world.running():
        await wait(lambda: len(world.function.invoked) == 3)
    first, second, third = world.function.invoked_at
    assert (second - first, third - second) == pytest.approx((1.0, 1.0))


class Noting:
    """What was written at each invocation: how many of the records."""

    def __init__(self, world: World, numbers: list[str]) -> None:
        self.world, self.numbers = world, numbers
        self.written: list[tuple[int, int]] = []
        """Of each invocation the number of records, and of those that the position had passed."""

    def passed(self) -> int:
        position = self.world.checkpoints()[S0]
        return self.numbers.index(position) + 1 if position in self.numbers else 0

    def note(self, event: dict[str, Any]) -> list[str]:
        self.written.append((len(event["Records"]), self.passed()))
        return sequences(event)


@virtual_time
async def test_the_done_half_of_a_batch_is_written_before_the_other_half_is_tried() -> None:
    world = World(store=SlowStore(), settings=StreamSettings(start=TRIM_HORIZON, retry=RetryPolicy(attempts=5, bisect=True)))
    noting = Noting(world, numbers := world.stream.put("a", 8))

    async def fail_all_and_then_nothing(event: dict[str, Any]) -> Outcome:
        return error() if len(noting.note(event)) == 8 else Succeeded(response=None)

    world.function.handler = fail_all_and_then_nothing
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert noting.written == [(8, 0), (4, 0), (4, 4)]


@virtual_time
async def test_what_went_well_before_a_reported_failure_is_written_before_the_rest_is_tried_again() -> None:
    world = World(store=SlowStore(), report=True, settings=StreamSettings(start=TRIM_HORIZON, retry=RetryPolicy(attempts=5)))
    noting = Noting(world, numbers := world.stream.put("a", 6))

    async def fail_the_third_once(event: dict[str, Any]) -> Outcome:
        failed = [numbers[2]] if len(noting.note(event)) == 6 else []
        return Succeeded(response={"batchItemFailures": [{"itemIdentifier": each} for each in failed]})

    world.function.handler = fail_the_third_once
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert noting.written == [(6, 0), (4, 2)]


@virtual_time
async def test_what_went_well_is_written_before_a_destination_is_waited_for() -> None:
    settings = StreamSettings(start=TRIM_HORIZON, retry=RetryPolicy(attempts=0))
    world = World(store=SlowStore(), report=True, settings=settings, destination=FakeDestination())
    noting = Noting(world, numbers := world.stream.put("a", 6))
    passed: list[int] = []

    async def fail_the_third(event: dict[str, Any]) -> Outcome:
        failed = [each for each in noting.note(event) if each == numbers[2]]
        return Succeeded(response={"batchItemFailures": [{"itemIdentifier": each} for each in failed]})

    def look() -> DestinationError | None:
        passed.append(noting.passed())
        return None

    assert world.destination is not None
    world.destination.refuse = look
    world.function.handler = fail_the_third
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert passed == [2]


@virtual_time
async def test_what_a_destination_has_taken_is_passed_before_the_rest_is_tried() -> None:
    """A crash in between would send it once more."""
    settings = StreamSettings(start=TRIM_HORIZON, retry=RetryPolicy(attempts=0, bisect=True))
    world = World(store=SlowStore(), settings=settings, destination=FakeDestination())
    noting = Noting(world, numbers := world.stream.put("a", 2))

    async def fail_the_first(event: dict[str, Any]) -> Outcome:
        return error() if numbers[0] in noting.note(event) else Succeeded(response=None)

    world.function.handler = fail_the_first
    async with world.running():
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert noting.written[-1] == (1, 1)


@virtual_time
async def test_of_a_tumbling_window_the_state_is_written_before_its_last_invocation() -> None:
    """Also where one batch holds its last records and the first ones of the next."""
    settings = StreamSettings(start=TRIM_HORIZON, tumbling_window=30)
    world = World(store=SlowStore(), settings=settings, limits=BatchLimits(records=10, window=60))
    numbers = world.stream.put("a", 6)
    noting = Noting(world, numbers)

    async def count(event: dict[str, Any]) -> Outcome:
        noting.note(event)
        return Succeeded(response={"state": {"seen": str(len(noting.written))}})

    world.function.handler = count
    async with world.running():
        await anyio.sleep(31)
        numbers += world.stream.put("a", 4)
        await wait(lambda: world.checkpoints().get(S0) == numbers[-1])
    assert noting.written[:3] == [(6, 0), (0, 6), (4, 6)]
