"""What every LeaseStore promises, on each of them: two workers, each with its own way to the same rows."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest
from msgspec.structs import replace

from pollers.record import LATEST, SHARD_END, TRIM_HORIZON, Position
from runtime.leases import Lease, LeaseStore
from runtime.stores.memory import MemoryStore
from runtime.stores.sqlite import SqliteStore
from tests.fakes.dynamodb_table import FakeDynamodb, fake_store

Two: TypeAlias = tuple[LeaseStore, LeaseStore]
Open: TypeAlias = Callable[[], AbstractAsyncContextManager[Two]]

SCOPE = "orders arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
HUGE = "49590338271490256608559692538361571095921575989136588898"
"""A sequence number of Kinesis: no machine integer holds it (KIN-22)."""


@asynccontextmanager
async def two_in_memory(_folder: Path) -> AsyncIterator[Two]:
    store = MemoryStore()
    yield store, store


@asynccontextmanager
async def two_on_a_file(folder: Path) -> AsyncIterator[Two]:
    async with SqliteStore.open(folder / "state.db") as first, SqliteStore.open(folder / "state.db") as second:
        yield first, second


@asynccontextmanager
async def two_on_a_fake_table(_folder: Path) -> AsyncIterator[Two]:
    client = FakeDynamodb()
    yield fake_store(client, worker="w1"), fake_store(client, worker="w2")


STORES = {"memory": two_in_memory, "sqlite": two_on_a_file, "dynamodb": two_on_a_fake_table}
"""On real tables: `test_lease_store_on_tables.py`."""


@pytest.fixture(params=STORES)
def two_stores(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return lambda: STORES[request.param](tmp_path)


def free(shard: str = "shard-1", checkpoint: Position = TRIM_HORIZON) -> Lease:
    return Lease(scope=SCOPE, shard=shard, checkpoint=checkpoint)


async def taken(store: LeaseStore, owner: str = "me", lease: Lease | None = None) -> Lease:
    """A lease that `owner` holds."""
    lease = lease or free()
    await store.create([lease])
    held = await store.take(lease, owner)
    assert held is not None
    return held


async def only(store: LeaseStore) -> Lease:
    (row,) = await store.load(SCOPE)
    return row


async def test_what_is_created_is_loaded_by_the_other_worker_field_by_field(two_stores: Open) -> None:
    plain = free("shard-1")
    full = Lease(
        scope=SCOPE,
        shard="shard-2",
        parents=('sh"ard é', "shard-0"),
        checkpoint=Position.after(HUGE),
        window='{"start": "ü"}',
        owner="me",
        wanted_by="you",
        counter=2**40,
    )
    async with two_stores() as (mine, yours):
        await mine.create([full, plain])
        assert await yours.load(SCOPE) == [plain, full]


@pytest.mark.parametrize(
    "position",
    [TRIM_HORIZON, LATEST, SHARD_END, Position.at(1545084650.987), Position.after(HUGE), Position.after("00012")],
    ids=str,
)
async def test_every_kind_of_position_comes_back(two_stores: Open, position: Position) -> None:
    async with two_stores() as (mine, yours):
        await mine.create([free(checkpoint=position)])
        assert (await only(yours)).checkpoint == position


async def test_scopes_do_not_see_each_other(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        held = await taken(mine)
        other = replace(held, scope=f"2{SCOPE}")
        assert await mine.load(other.scope) == []
        assert await mine.renew([other]) == [None]
        await mine.create([other])
        assert await mine.checkpoint(other, SHARD_END) is not None
        await mine.delete([other])
        assert await yours.load(SCOPE) == [held]


async def test_create_leaves_what_exists_as_it_is(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        held = await taken(mine)
        await yours.create([free(checkpoint=LATEST), free("shard-2"), free("shard-2", checkpoint=LATEST)])
        assert await mine.load(SCOPE) == [held, free("shard-2")]


async def test_take_makes_the_owner_and_answers_the_request_for_it(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        lease = replace(free(checkpoint=Position.after("5")), window="{}", wanted_by="you")
        await mine.create([lease])
        held = await mine.take(lease, "me")
        assert held == replace(lease, owner="me", wanted_by=None, counter=1)
        assert await only(yours) == held


async def test_a_lease_whose_counter_stood_still_is_taken_from_its_owner_who_then_moves_nothing(two_stores: Open) -> None:
    """Whoever lost a lease cannot move its checkpoint."""
    async with two_stores() as (mine, yours):
        stale = await taken(mine)
        held = await yours.take(await only(yours), "you")
        assert held == replace(stale, owner="you", counter=2)
        assert await mine.checkpoint(stale, Position.after("7")) is None
        assert await mine.renew([stale]) == [None]
        assert await mine.release(stale) is False
        assert await mine.take(stale, "me") is None
        await mine.delete([stale])
        assert await only(mine) == held


async def test_what_is_not_there_is_lost_and_not_made(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        ghost = replace(free(), owner="me")
        assert await mine.take(ghost, "me") is None
        assert await mine.renew([ghost]) == [None]
        assert await mine.checkpoint(ghost, SHARD_END) is None
        assert await mine.release(ghost) is False
        assert await mine.want(ghost, "you") is False
        await mine.delete([ghost])
        assert await yours.load(SCOPE) == []


async def test_renew_gives_the_rows_as_they_are_now_in_the_order_asked_with_none_for_the_lost(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        third, first, second = [await taken(mine, lease=free(f"shard-{number}")) for number in (3, 1, 2)]
        assert await yours.take(first, "you") is not None
        assert await yours.want(second, "you")
        renewed = await mine.renew([third, first, second])
        assert renewed == [replace(third, counter=2), None, replace(second, counter=2, wanted_by="you")]
        rows = await yours.load(SCOPE)
        assert [(row.shard, row.owner, row.counter) for row in rows] == [
            ("shard-1", "you", 2),
            ("shard-2", "me", 2),
            ("shard-3", "me", 2),
        ]


async def test_a_lease_given_twice_is_renewed_once(two_stores: Open) -> None:
    async with two_stores() as (mine, _):
        held = await taken(mine)
        assert await mine.renew([held, held]) == [replace(held, counter=2), None]


async def test_nothing_to_do_is_done(two_stores: Open) -> None:
    async with two_stores() as (mine, _):
        await mine.create([])
        await mine.delete([])
        assert await mine.renew([]) == []
        assert await mine.load(SCOPE) == []


async def test_a_checkpoint_moves_position_and_window_and_renews(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        held = await taken(mine)
        moved = await mine.checkpoint(held, Position.after(HUGE), window='{"state": 1}')
        assert moved == replace(held, checkpoint=Position.after(HUGE), window='{"state": 1}', counter=2)
        assert await only(yours) == moved
        assert await mine.checkpoint(held, SHARD_END) is None, "the counter was last seen before that"
        closed = await mine.checkpoint(moved, Position.after(HUGE))
        assert closed == replace(moved, window=None, counter=3)
        assert await only(yours) == closed


async def test_a_renewal_is_needed_for_what_was_seen_before_it(two_stores: Open) -> None:
    async with two_stores() as (mine, _):
        held = await taken(mine)
        (renewed,) = await mine.renew([held])
        assert await mine.checkpoint(held, SHARD_END) is None
        assert isinstance(renewed, Lease)
        assert await mine.checkpoint(renewed, SHARD_END) == replace(renewed, checkpoint=SHARD_END, counter=3)


async def test_owner_and_counter_both_count(two_stores: Open) -> None:
    async with two_stores() as (mine, _):
        held = await taken(mine)
        for wrong in (replace(held, owner="you"), replace(held, owner=None), replace(held, counter=0), replace(held, counter=2)):
            assert await mine.renew([wrong]) == [None]
            assert await mine.checkpoint(wrong, SHARD_END) is None
            assert await mine.release(wrong) is False
        assert await only(mine) == held


async def test_a_checkpoint_never_goes_back(two_stores: Open) -> None:
    """Sequence numbers are compared as numbers (KIN-22): 9 lies before 10."""
    async with two_stores() as (mine, _):
        held = await taken(mine, lease=free(checkpoint=Position.after("10")))
        with pytest.raises(ValueError, match="the checkpoint of shard-1 would go back from 10 to 9"):
            await mine.checkpoint(held, Position.after("9"))
        assert await only(mine) == held


async def test_release_leaves_it_free_at_its_checkpoint_for_the_one_who_wants_it(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        held = await taken(mine, lease=free(checkpoint=Position.after("5")))
        assert await yours.want(held, "you")
        assert await mine.release(held)
        assert await only(yours) == replace(held, owner=None, wanted_by="you", counter=2)
        assert await mine.release(held) is False
        assert await mine.checkpoint(held, SHARD_END) is None


async def test_who_wanted_a_lease_that_was_released_has_to_take_it_first(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        held = await taken(mine)
        assert await yours.want(held, "you")
        assert await mine.release(held)
        free_for_you = await only(yours)
        assert await yours.renew([replace(free_for_you, owner="you")]) == [None]
        assert await yours.checkpoint(replace(free_for_you, owner="you"), SHARD_END) is None
        assert await yours.take(free_for_you, "you") == replace(held, owner="you", counter=3)


async def test_a_lease_is_wanted_by_one_at_a_time_and_of_the_owner_who_was_seen(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        held = await taken(mine)
        (renewed,) = await mine.renew([held])
        assert await yours.want(replace(held, owner="somebody"), "you") is False
        assert await yours.want(held, "you"), "the counter may have moved"
        assert await yours.want(held, "third") is False
        assert await only(mine) == replace(held, counter=2, wanted_by="you")
        assert isinstance(renewed, Lease)
        assert await mine.checkpoint(renewed, SHARD_END) == replace(held, counter=3, wanted_by="you", checkpoint=SHARD_END)


async def test_delete_forgets_what_is_as_last_seen(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        seen = [await taken(mine, lease=free(f"shard-{number}")) for number in (1, 2, 3)]
        assert await yours.renew(seen[1:2]) != [None]
        await mine.delete(seen)
        assert [row.shard for row in await yours.load(SCOPE)] == ["shard-2"]


async def test_of_many_who_take_a_lease_at_once_one_has_it(two_stores: Open) -> None:
    async with two_stores() as stores:
        lease = free()
        await stores[0].create([lease])
        won: list[str | None] = []

        async def take(number: int) -> None:
            if held := await stores[number % 2].take(lease, f"worker-{number}"):
                won.append(held.owner)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(take, number, name=f"taker {number}")
        row = await only(stores[0])
        assert won == [row.owner]
        assert row.counter == 1


async def test_a_call_of_a_cancelled_task_writes_nothing(two_stores: Open) -> None:
    async with two_stores() as (mine, yours):
        held = await taken(mine)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await mine.checkpoint(held, SHARD_END)
        assert scope.cancelled_caught
        assert await only(yours) == held
        assert await mine.release(held), "and the store goes on"
