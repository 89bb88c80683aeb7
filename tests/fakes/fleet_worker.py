"""A worker of a fleet as far as leases go: it takes, renews, hands over and leaves, and works on nothing. For many leases, fast."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import anyio
from anyio.abc import TaskGroup

from runtime.config.worker import DynamodbState
from runtime.fleet import Fleet
from runtime.lease_keeper import HeldLease, LeaseKeeper
from runtime.leases import Lease, StateError
from runtime.stores.dynamodb.opening import dynamodb_store
from runtime.stores.dynamodb.store import DynamodbStore
from runtime.stream_telemetry import StreamTelemetry
from runtime.telemetry import Telemetry
from tests.fakes.stream import STREAM_ARN
from tests.fakes.stream_worker import wall_clock

SCOPE = f"m {STREAM_ARN}"
FAILOVER = 10.0


@dataclass
class LeaseWorker:
    """`client` is its own way to the table. `begin` starts it; `drain` asks it to end, `kill` ends it at once."""

    name: str
    client: Any
    failover: float = FAILOVER
    time_limit: float = 3.0
    skew: float = 0.0
    """Seconds by which its wall clock is ahead."""
    used: Callable[[str, str, float], None] = lambda _kind, _operation, _units: None
    rounds: int = 0
    """Looks at all rows that it took as the leader."""
    draining: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    fleet: Fleet = field(init=False)
    keeper: LeaseKeeper = field(init=False)
    store: DynamodbStore = field(init=False)

    def build(self) -> None:
        async def connect(_region: str) -> Any:
            return self.client

        numbers = count(1)
        self.store = dynamodb_store(
            DynamodbState(table="esm-{mapping}", create=True),
            connect,
            worker=self.name,
            capacity_used=self.used,
            starts={},
            clock=wall_clock,
            tokens=lambda: f"{self.name}-{id(self)}-{next(numbers)}",
        )
        telemetry = StreamTelemetry(Telemetry().of_mapping("m", "kinesis"))
        self.fleet = Fleet(
            self.store.fleet(SCOPE),
            worker=self.name,
            failover=self.failover,
            time_limit=self.time_limit,
            clock=lambda: wall_clock() + self.skew,
            telemetry=telemetry,
        )
        self.keeper = LeaseKeeper(
            self.store,
            worker=self.name,
            failover=self.failover,
            telemetry=telemetry,
            bound=lambda: self.fleet.bound,
            hand_over=lambda: self.fleet.hand_over,
        )

    @property
    def believes(self) -> set[str]:
        """The shards that it would work on now."""
        return {shard for shard, held in self.keeper.held.items() if held.ours}

    def begin(self, tasks: TaskGroup) -> None:
        self.build()
        tasks.start_soon(self._run, name=self.name)

    def kill(self) -> None:
        self.scope.cancel()

    def drain(self) -> None:
        self.draining = True

    async def _run(self) -> None:
        with self.scope:
            async with anyio.create_task_group() as upkeep:
                upkeep.start_soon(self.keeper.run, name="renew")
                upkeep.start_soon(self.fleet.run, name="share")
                while not self.draining:
                    await self.round()
                    await anyio.sleep(self.fleet.pause)
                await self.fleet.leave()
                for held in list(self.keeper.held.values()):
                    await self.keeper.let_go(held)
                upkeep.cancel_scope.cancel()
            await self.fleet.end()

    async def round(self) -> None:
        """One look, and what follows."""
        try:
            look = await self.fleet.look(self.keeper.held)
            for lease in look.take:
                await self._take(lease)
        except StateError:
            pass
        for held in list(self.keeper.held.values()):
            if not held.ours or held.lease.wanted_by not in (None, self.name):
                await self.give_up(held)

    async def _take(self, lease: Lease) -> None:
        if lease.shard not in self.keeper.held:
            await self.keeper.take(lease)

    async def give_up(self, held: HeldLease) -> None:
        if held.expired:
            self.fleet.lost(held.lease)
        await self.keeper.let_go(held)
