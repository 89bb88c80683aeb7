"""Who holds a lease believes in it for the failover time from his last write, and not a moment longer (DESIGN section 4)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from msgspec.structs import replace

from pollers.record import TRIM_HORIZON, Position
from runtime.core.lease import Lease
from runtime.lease_keeper import HeldLease, LeaseKeeper
from runtime.leases import StateError
from runtime.stores.memory import MemoryStore
from runtime.stream_telemetry import StreamTelemetry
from runtime.telemetry import Telemetry
from tests.fakes.virtual_time import virtual_time

FREE = Lease(scope="m arn", shard="s0", checkpoint=TRIM_HORIZON)


class FailingStore(MemoryStore):
    """`failing`: no call reaches it."""

    failing = False

    async def renew(self, leases: object) -> list[Lease | None]:
        if self.failing:
            raise StateError("state.db: disk I/O error")
        return await super().renew(leases)  # type: ignore[arg-type]  # whatever it is, it goes on as it came


class PartlyFailingStore(MemoryStore):
    """`stuck`: shards of which nothing is known."""

    stuck: frozenset[str] = frozenset()

    async def renew(self, leases: Sequence[Lease]) -> list[Lease | StateError | None]:  # type: ignore[override]  # as the Protocol
        answers = await super().renew([lease for lease in leases if lease.shard not in self.stuck])
        return [StateError("throttled") if lease.shard in self.stuck else answers.pop(0) for lease in leases]


@virtual_time
async def test_one_lease_that_cannot_be_renewed_is_lost_alone_and_in_time() -> None:
    store, telemetry = PartlyFailingStore(), Telemetry()
    both = [FREE, replace(FREE, shard="s1")]
    await store.create(both)
    keeper = LeaseKeeper(store, worker="w1", failover=10.0, telemetry=StreamTelemetry(telemetry.of_mapping("m", "kinesis")))
    first, second = [held for lease in both if (held := await keeper.take(lease)) is not None]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.run)
        store.stuck = frozenset({"s1"})
        await anyio.sleep(8.0)
        assert [held.ours for held in (first, second)] == [True, True], "it may work the next time"
        await anyio.sleep(4.0)
        assert [held.ours for held in (first, second)] == [True, False]
        assert second.expired
        tasks.cancel_scope.cancel()


@dataclass
class Scene:
    store: FailingStore
    keeper: LeaseKeeper
    held: HeldLease
    telemetry: Telemetry

    def changes(self, change: str) -> float:
        labels = {"mapping": "m", "source": "kinesis", "change": change}
        return self.telemetry.registry.get_sample_value("esm_lease_changes_total", labels) or 0.0


@asynccontextmanager
async def holding() -> AsyncIterator[Scene]:
    """A worker that holds one lease and renews it beside the body."""
    store, telemetry = FailingStore(), Telemetry()
    await store.create([FREE])
    told = StreamTelemetry(telemetry.of_mapping("m", "kinesis"))
    keeper = LeaseKeeper(store, worker="w1", failover=10.0, telemetry=told)
    held = await keeper.take(FREE)
    assert held is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.run)
        yield Scene(store, keeper, held, telemetry)
        tasks.cancel_scope.cancel()


async def row(store: MemoryStore) -> Lease:
    (lease,) = await store.load("m arn")
    return lease


@virtual_time
async def test_a_lease_is_renewed_three_times_in_the_failover_time() -> None:
    async with holding() as scene:
        before = (await row(scene.store)).counter
        await anyio.sleep(100)
        assert 29 <= (await row(scene.store)).counter - before <= 31
        assert scene.held.ours


@virtual_time
async def test_a_checkpoint_renews_as_well_so_no_renewal_follows_it_at_once() -> None:
    async with holding() as scene:
        await anyio.sleep(3)
        await scene.held.checkpoint(lambda: (Position.after("5"), None))
        counter = (await row(scene.store)).counter
        await anyio.sleep(1)  # over the tick at 3.3 seconds
        assert (await row(scene.store)).counter == counter
        assert (await row(scene.store)).checkpoint == Position.after("5")


@virtual_time
async def test_a_lease_that_cannot_be_renewed_ends_with_the_failover_time_and_its_work_with_it() -> None:
    async with holding() as scene:
        await anyio.sleep(4)
        last, scene.store.failing = scene.held.written, True
        with scene.held.scope:
            await anyio.sleep_forever()
        assert 10 <= anyio.current_time() - last <= 11
        assert not scene.held.ours


@virtual_time
async def test_a_lease_that_another_took_is_noticed_at_the_next_renewal() -> None:
    async with holding() as scene:
        await scene.store.take(await row(scene.store), "w2")
        began = anyio.current_time()
        with scene.held.scope:
            await anyio.sleep_forever()
        assert anyio.current_time() - began < 4
        await scene.keeper.let_go(scene.held)
        assert (await row(scene.store)).owner == "w2"
        assert scene.changes("lost") == 1


@virtual_time
async def test_who_lost_a_lease_cannot_move_its_checkpoint() -> None:
    async with holding() as scene:
        await scene.store.take(await row(scene.store), "w2")
        with scene.held.scope:
            await scene.held.checkpoint(lambda: (Position.after("9"), None))
            raise AssertionError("a lost lease goes no further than this")
        assert (await row(scene.store)).checkpoint == TRIM_HORIZON


@virtual_time
async def test_the_same_position_is_not_written_twice() -> None:
    async with holding() as scene:
        assert await scene.held.checkpoint(lambda: (Position.after("9"), None))
        assert not await scene.held.checkpoint(lambda: (Position.after("9"), None))
        assert await scene.held.checkpoint(lambda: (Position.after("9"), "{}"))


@virtual_time
async def test_a_lease_that_is_let_go_is_free_at_once_and_remembers_who_asked_for_it() -> None:
    async with holding() as scene:
        assert await scene.store.want(await row(scene.store), "w2")
        await anyio.sleep(4)
        assert scene.held.lease.wanted_by == "w2"
        await scene.keeper.let_go(scene.held)
        assert replace(await row(scene.store), counter=0) == replace(FREE, wanted_by="w2")
        assert scene.changes("handed_over") == 1
        assert scene.keeper.held == {}
