"""Delivery slots: the limits of the mapping and of the function bind together, and nothing leaks."""

import anyio
import pytest

from runtime.slots import Slot, Slots
from tests.fakes.virtual_time import virtual_time


async def taken_now(slots: Slots, most: int = 20) -> list[Slot]:
    """As many slots as can be had without waiting."""
    taken: list[Slot] = []
    with anyio.move_on_after(1):
        for _ in range(most):
            taken.append(await slots.take())  # noqa: PERF401  # what was taken before the wait counts
    return taken


@pytest.mark.parametrize(("own", "shared", "expected"), [(3, None, 3), (3, 5, 3), (5, 3, 3), (1, 1, 1)])
@virtual_time
async def test_the_tighter_limit_binds(own: int, shared: int | None, expected: int) -> None:
    slots = Slots(own, None if shared is None else anyio.CapacityLimiter(shared))
    assert (slots.maximum, slots.own, slots.allowed) == (own, own, expected)
    assert len(await taken_now(slots)) == expected


@virtual_time
async def test_mappings_of_one_function_share_its_limit() -> None:
    function = anyio.CapacityLimiter(3)
    first, second = Slots(2, function), Slots(5, function)
    assert len(await taken_now(first)) == 2
    assert len(await taken_now(second)) == 1


@virtual_time
async def test_a_slot_given_back_goes_to_who_waited_first() -> None:
    slots = Slots(1, anyio.CapacityLimiter(1))
    order: list[int] = []

    async def work(number: int) -> None:
        slot = await slots.take()
        order.append(number)
        slot.release()

    held = await slots.take()
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(work, number)
        await anyio.wait_all_tasks_blocked()
        assert order == []
        held.release()
    assert order == [0, 1, 2, 3]


@virtual_time
async def test_a_waiter_cancelled_at_the_function_s_limit_leaks_nothing() -> None:
    function = anyio.CapacityLimiter(1)
    busy, waiting = Slots(1, function), Slots(1, function)
    held = await busy.take()
    with anyio.move_on_after(5) as scope:
        await waiting.take()
    assert scope.cancelled_caught
    assert not busy.contended
    held.release()
    assert len(await taken_now(waiting)) == 1


@virtual_time
async def test_a_waiter_cancelled_at_the_mapping_s_limit_leaks_nothing() -> None:
    function = anyio.CapacityLimiter(2)
    slots = Slots(1, function)
    held = await slots.take()
    with anyio.move_on_after(5) as scope:
        await slots.take()
    assert scope.cancelled_caught
    held.release()
    assert function.borrowed_tokens == 0
    assert len(await taken_now(slots)) == 1


@virtual_time
async def test_a_waiter_cancelled_in_the_moment_it_is_served_leaks_nothing() -> None:
    function = anyio.CapacityLimiter(1)
    slots = Slots(2, function)

    async def work() -> None:
        (await slots.take()).release()

    held = await slots.take()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        held.release()
        tasks.cancel_scope.cancel()
    assert function.borrowed_tokens == 0
    assert len(await taken_now(slots)) == 1


@virtual_time
async def test_a_slot_given_back_twice_is_an_error() -> None:
    slot = await Slots(1, None).take()
    slot.release()
    with pytest.raises(RuntimeError):
        slot.release()


@virtual_time
async def test_slots_are_contended_only_by_other_mappings() -> None:
    function = anyio.CapacityLimiter(1)
    ours, others = Slots(3, function), Slots(3, function)
    assert not Slots(1, None).contended
    held = await ours.take()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ours.take)
        await anyio.wait_all_tasks_blocked()
        assert (ours.contended, others.contended) == (False, True), "we wait ourselves"
        tasks.start_soon(others.take)
        await anyio.wait_all_tasks_blocked()
        assert (ours.contended, others.contended) == (True, True)
        tasks.cancel_scope.cancel()
    assert not ours.contended
    held.release()


@virtual_time
async def test_fewer_allowed_slots_touch_nothing_that_runs() -> None:
    slots = Slots(3, None)
    running = await taken_now(slots)
    slots.allow(1)
    assert (slots.own, slots.allowed, slots.maximum) == (1, 1, 3)
    running.pop().release()
    running.pop().release()
    assert await taken_now(slots) == []
    running.pop().release()
    assert len(await taken_now(slots)) == 1


@virtual_time
async def test_more_allowed_slots_serve_those_who_wait() -> None:
    slots = Slots(3, None)
    slots.allow(1)
    taken: list[Slot] = []

    async def take() -> None:
        taken.append(await slots.take())

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        assert len(taken) == 1
        slots.allow(2)
        await anyio.wait_all_tasks_blocked()
        assert len(taken) == 2
        slots.allow(3)
    assert len(taken) == 3


@virtual_time
async def test_raising_the_limit_below_what_runs_serves_nobody() -> None:
    slots = Slots(3, None)
    await taken_now(slots)
    slots.allow(1)
    slots.allow(2)
    assert await taken_now(slots) == []


@virtual_time
async def test_a_slot_may_be_kept_while_no_limit_was_lowered_and_nobody_else_waits() -> None:
    function = anyio.CapacityLimiter(2)
    ours, others = Slots(2, function), Slots(2, function)
    running = await taken_now(ours)
    kept = [ours.may_keep]
    ours.allow(1)
    kept.append(ours.may_keep)
    running.pop().release()
    kept.append(ours.may_keep)
    async with anyio.create_task_group() as tasks:
        held = await others.take()
        tasks.start_soon(others.take)
        await anyio.wait_all_tasks_blocked()
        kept.append(ours.may_keep)
        tasks.cancel_scope.cancel()
    held.release()
    kept.append(ours.may_keep)
    assert kept == [True, False, True, False, True]


@virtual_time
async def test_a_slot_given_back_twice_does_not_make_room_for_another() -> None:
    slots = Slots(3, None)
    running = await taken_now(slots)
    running[0].release()
    with pytest.raises(RuntimeError):
        running[0].release()
    slots.allow(1)
    assert not slots.may_keep  # two still run
