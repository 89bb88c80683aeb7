"""The laws of LeaseStore, over every short story of two and three workers with one lease.

A worker knows the row as it last saw it, and does one thing after the other with that. Stories that led to the same row, the same
views and the same successes are one from there on; workers are named in the order in which they begin.
"""

from collections.abc import Awaitable, Callable, Coroutine
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import anyio
import pytest
from msgspec.structs import replace

from pollers.record import TRIM_HORIZON, Position
from runtime.leases import Lease, LeaseStore, StateError
from runtime.local.dynamodb.store import DynamoDB
from runtime.stores.memory import MemoryStore
from runtime.stores.sqlite import SqliteStore
from tests.fakes.dynamodb_table import FakeDynamodb, fake_store
from tests.fakes.virtual_time import virtual_time

CONDITIONAL: Final = ("take", "renew", "checkpoint", "release")
STEPS: Final = ("load", *CONDITIONAL, "want")
NEW: Final = Lease(scope="m arn:aws:kinesis:eu-west-1:123456789012:stream/s", shard="s", checkpoint=TRIM_HORIZON)

Answer: TypeAlias = Lease | bool | None
Stage: TypeAlias = Callable[[Lease], Awaitable[LeaseStore]]
"""Gives a store that holds just this row."""


class World(NamedTuple):
    row: Lease
    views: tuple[Lease, ...]
    """What each worker saw last."""
    winners: tuple[int, ...] = ()
    """By counter: who wrote over it."""
    begun: int = 0
    """How many workers have done anything."""


def position_of(worker: int, view: Lease) -> Position:
    """Ahead of what it saw, and its own: no other worker writes this one."""
    return Position.after(str((view.checkpoint.order[1] // 10 + 1) * 10 + worker))


async def act(store: LeaseStore, step: str, worker: int, view: Lease) -> Answer:
    name = f"w{worker}"
    match step:
        case "load":
            (row,) = await store.load(view.scope)
            return row
        case "take":
            return await store.take(view, name)
        case "renew":
            (renewed,) = await store.renew([view])
            assert not isinstance(renewed, StateError)
            return renewed
        case "checkpoint":
            return await store.checkpoint(view, position_of(worker, view))
        case "release":
            return await store.release(view)
        case _:
            return await store.want(view, name)


def judge(world: World, step: str, worker: int, answer: Answer, after: Lease) -> World:
    """Hold the laws against one step; gives the world behind it."""
    before, view = world.row, world.views[worker]
    as_seen = view.counter == before.counter and (step == "take" or view.owner == before.owner)
    seen, winners = view, world.winners
    if step in CONDITIONAL and answer:
        assert as_seen, "the condition did not hold"
        assert len(winners) == before.counter, "two workers wrote over one counter value"
        assert after.counter == before.counter + 1
        assert (after.checkpoint == before.checkpoint) is (step != "checkpoint")
        winners = (*winners, worker)
    expected = replace(before, counter=len(winners))
    match step:
        case "load":
            assert answer == after
            seen = after
        case "want":
            assert bool(answer) is (view.owner == before.owner and before.wanted_by is None)
            expected = replace(expected, wanted_by=f"w{worker}") if answer else expected
        case _:
            assert bool(answer) is as_seen
            expected = written(step, worker, view, expected) if answer else expected
            assert answer in (None, False) or step == "release" or answer == after
            seen = answer if isinstance(answer, Lease) else view
    assert after == expected, "a refused write leaves everything as it is, and a successful one changes its own fields only"
    views = (*world.views[:worker], seen, *world.views[worker + 1 :])
    return World(after, views, winners, max(world.begun, worker + 1))


def written(step: str, worker: int, view: Lease, row: Lease) -> Lease:
    match step:
        case "take":
            return replace(row, owner=f"w{worker}", wanted_by=None)
        case "checkpoint":
            return replace(row, checkpoint=position_of(worker, view))
        case "release":
            return replace(row, owner=None)
        case _:
            return row


async def in_memory(row: Lease) -> LeaseStore:
    store = MemoryStore()
    await store.create([row])
    return store


async def tell_stories(stage: Stage, workers: int, steps: int) -> list[World]:
    """Every world that `workers` can bring about in up to `steps`; each step towards it was judged."""
    frontier = [World(NEW, (NEW,) * workers)]
    known = set(frontier)
    for _ in range(steps):
        found: dict[World, None] = {}
        for world, worker, step in product(frontier, range(workers), STEPS):
            if worker > world.begun:
                continue
            store = await stage(world.row)
            answer = await act(store, step, worker, world.views[worker])
            (after,) = await store.load(NEW.scope)
            found[judge(world, step, worker, answer, after)] = None
        frontier = [world for world in found if world not in known]
        known.update(frontier)
    return list(known)


def in_a_table() -> Stage:
    """One store after the other on one table: to join it costs more than a story."""
    store = fake_store(FakeDynamodb(DynamoDB(seed=0, clock=lambda: 0.0)))

    async def with_row(row: Lease) -> LeaseStore:
        await store.delete(await store.load(row.scope))
        await store.create([row])
        return store

    return with_row


@pytest.mark.parametrize(
    ("stage", "workers", "steps"),
    [(in_memory, 2, 5), (in_memory, 3, 5), (in_a_table(), 2, 4), (in_a_table(), 3, 3)],
    ids=["memory-2", "memory-3", "dynamodb-2", "dynamodb-3"],
)
@virtual_time
async def test_the_laws_hold(stage: Stage, workers: int, steps: int) -> None:
    worlds = await tell_stories(stage, workers, steps)
    able = min(workers, (steps + 1) // 2)  # who wants to take it from another must look first
    assert any(len(set(world.winners)) == able for world in worlds), "each of them had the lease at some time"
    assert max(len(world.winners) for world in worlds) == steps


async def test_the_laws_hold_on_a_file(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "state.db") as store:

        async def on_file(row: Lease) -> LeaseStore:
            await store.delete(await store.load(row.scope))
            await store.create([row])
            return store

        worlds = await tell_stories(on_file, 2, 3)
    assert any(len(set(world.winners)) == 2 for world in worlds)


async def at_once(stage: Stage, world: World, mine: str, yours: str) -> tuple[Answer, Answer, Lease]:
    store = await stage(world.row)
    answers: dict[int, Answer] = {}

    async def one(worker: int, call: Coroutine[Any, Any, Answer]) -> None:
        answers[worker] = await call

    async with anyio.create_task_group() as tasks:
        for worker, step in enumerate((mine, yours)):
            tasks.start_soon(one, worker, act(store, step, worker, world.views[worker]), name=f"worker {worker}")
    (after,) = await store.load(NEW.scope)
    return answers[0], answers[1], after


async def one_by_one(stage: Stage, world: World, steps: tuple[str, str], order: tuple[int, int]) -> tuple[Answer, Answer, Lease]:
    store = await stage(world.row)
    answers = {worker: await act(store, steps[worker], worker, world.views[worker]) for worker in order}
    (after,) = await store.load(NEW.scope)
    return answers[0], answers[1], after


@pytest.mark.parametrize(("stage", "steps"), [(in_memory, 2), (in_a_table(), 1)], ids=["memory", "dynamodb"])
@virtual_time
async def test_two_calls_at_once_are_as_good_as_one_after_the_other(stage: Stage, steps: int) -> None:
    """On a table, a call may be several requests, and the other call comes between any two of them."""
    for world, mine, yours in product(await tell_stories(in_memory, 2, steps), STEPS, STEPS):
        both = await at_once(stage, world, mine, yours)
        assert both in [await one_by_one(stage, world, (mine, yours), order) for order in ((0, 1), (1, 0))]
