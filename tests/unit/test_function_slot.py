"""What shards share of a function's reserved concurrency."""

from math import inf

import anyio

from runtime.drain import Drain
from runtime.function_slot import FunctionSlots
from runtime.shard_status import ShardStatus
from tests.fakes.virtual_time import virtual_time


def slots(limiter: anyio.CapacityLimiter | None) -> FunctionSlots:
    return FunctionSlots(limiter, ShardStatus(shard="s0"))


@virtual_time
async def test_without_reserved_concurrency_there_is_always_a_slot() -> None:
    closing = Drain()
    closing.begin()
    async with slots(None).take(closing, patience=0.0) as taken:
        assert taken


@virtual_time
async def test_a_slot_is_waited_for_and_given_back() -> None:
    limiter = anyio.CapacityLimiter(1)
    limiter.acquire_on_behalf_of_nowait("another")
    async with anyio.create_task_group() as tasks:

        async def free_it() -> None:
            await anyio.sleep(5)
            limiter.release_on_behalf_of("another")

        tasks.start_soon(free_it)
        began = anyio.current_time()
        async with slots(limiter).take(Drain(), patience=inf) as taken:
            assert taken
            assert anyio.current_time() - began == 5
            assert limiter.borrowed_tokens == 1
    assert limiter.borrowed_tokens == 0


@virtual_time
async def test_patience_ends_before_a_record_grows_too_old() -> None:
    limiter = anyio.CapacityLimiter(1)
    limiter.acquire_on_behalf_of_nowait("another")
    began = anyio.current_time()
    async with slots(limiter).take(Drain(), patience=7.0) as taken:
        assert not taken
    assert anyio.current_time() - began == 7
    assert limiter.borrowed_tokens == 1


@virtual_time
async def test_a_shard_that_closes_waits_for_no_slot() -> None:
    limiter, closing = anyio.CapacityLimiter(1), Drain()
    limiter.acquire_on_behalf_of_nowait("another")
    async with anyio.create_task_group() as tasks:

        async def close() -> None:
            await anyio.sleep(3)
            closing.begin()

        tasks.start_soon(close)
        async with slots(limiter).take(closing) as taken:
            assert not taken
    limiter.release_on_behalf_of("another")
    assert limiter.borrowed_tokens == 0
