"""Workers with one mapping of a stream, put together from fakes, to be run in virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from handlers.destinations import DestinationError, FailureRecord, ProbeFinding
from handlers.invoker import FunctionSpec, MakeEvent, Outcome, Succeeded
from pollers.record import TRIM_HORIZON
from pollers.source import StreamSpec
from runtime.core.filtering import FilterCriteria
from runtime.core.mapping import BatchLimits, EventSourceMapping, MappingState, RetryPolicy, StreamSettings
from runtime.drain import Drain
from runtime.fleet_rows import FleetRows
from runtime.leases import Lease, LeaseStore, StateError
from runtime.places import Places
from runtime.shard_status import ShardStatus
from runtime.status import MappingStatus
from runtime.stores.memory import MemoryStore
from runtime.stream_mapping import StreamParts, run_stream_mapping
from runtime.tap import Tap
from runtime.telemetry import Telemetry
from tests.fakes.stream import STREAM_ARN, STREAM_SPEC, FakeStream

EPOCH = 1_763_700_000.0
"""What the wall clock shows when the loop's clock shows 0."""
FUNCTION_ARN = "arn:aws:lambda:eu-west-1:123456789012:function:f"

Handler = Callable[[dict[str, Any]], Awaitable[Outcome]]


def wall_clock() -> float:
    return EPOCH + anyio.current_time()


async def succeed(_: dict[str, Any]) -> Outcome:
    return Succeeded(response=None)


def sequences(event: dict[str, Any]) -> list[str]:
    return [record["kinesis"]["sequenceNumber"] for record in event["Records"]]


@dataclass
class FakeFunction:
    """Calls `handler` with the event; remembers every invocation by the sequence numbers of its records."""

    handler: Handler = succeed
    invoked: list[list[str]] = field(default_factory=list)
    invoked_at: list[float] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def invoke(self, make_event: MakeEvent, *, request_id: str, function_arn: str) -> Outcome:
        event = make_event()
        assert request_id
        assert function_arn == FUNCTION_ARN
        self.invoked.append(sequences(event))
        self.invoked_at.append(anyio.current_time())
        self.events.append(event)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.handler(event)
        finally:
            self.running -= 1


@dataclass
class FakeDestination:
    refuse: Callable[[], DestinationError | None] = lambda: None
    taken: list[FailureRecord] = field(default_factory=list)
    finding: ProbeFinding | None = None

    async def send(self, failure: FailureRecord) -> None:
        await anyio.lowlevel.checkpoint()
        if (error := self.refuse()) is not None:
            raise error
        self.taken.append(failure)

    async def probe(self) -> ProbeFinding | None:
        await anyio.lowlevel.checkpoint()
        return self.finding


@dataclass
class FakeStreamWorker:
    """One worker that runs. `drain.begin()` asks it to end; `kill()` ends it at once."""

    drain: Drain
    status: MappingStatus
    telemetry: Telemetry
    scope: anyio.CancelScope
    ended: anyio.Event
    wires: "list[Wire]"
    """To the state."""

    def metric(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(name, {"mapping": "m", "source": "kinesis", **labels}) or 0.0

    def shard(self, shard: str) -> ShardStatus:
        return self.status.shards[shard]

    def kill(self) -> None:
        """As `kill -9`: nothing it does reaches the store any more."""
        for wire in self.wires:
            wire.cut = True
        self.scope.cancel()


class Wire:
    """Between a worker and the store."""

    def __init__(self, store: LeaseStore | FleetRows) -> None:
        self._store = store
        self.cut = False

    def __getattr__(self, call: str) -> Any:
        if self.cut:
            raise StateError("the worker is dead")
        return getattr(self._store, call)


@dataclass
class World:
    """What workers share."""

    stream: FakeStream = field(default_factory=lambda: FakeStream(wall_clock))
    function: FakeFunction = field(default_factory=FakeFunction)
    store: LeaseStore = field(default_factory=MemoryStore)
    stores: "Callable[[str], tuple[LeaseStore, FleetRows]] | None" = None
    """By a worker's name its way to the state, where workers share shards through a leader."""
    destination: FakeDestination | None = None
    settings: StreamSettings = field(default_factory=lambda: StreamSettings(start=TRIM_HORIZON))
    limits: BatchLimits = field(default_factory=lambda: BatchLimits(records=10))
    report: bool = False
    limiter: anyio.CapacityLimiter | None = None
    function_timeout: int = 30
    block: bool = False
    watchdog: float = 300.0
    criteria: FilterCriteria | None = None
    tap: Tap = field(default_factory=Tap)
    spec: StreamSpec = STREAM_SPEC
    reads: int = 256
    """Reads of shards at once."""
    arn: str = STREAM_ARN
    load: Callable[[], tuple[float, ...]] = tuple
    """Of the processor of every worker."""

    def policy(self, **changes: Any) -> "World":
        self.settings = StreamSettings(start=self.settings.start, retry=RetryPolicy(**changes))
        return self

    def leases(self) -> list[Lease]:
        assert isinstance(self.store, MemoryStore)
        return list(self.store._rows.values())

    def checkpoints(self) -> dict[str, str]:
        return {lease.shard: str(lease.checkpoint) for lease in self.leases()}

    def start(self, tasks: TaskGroup, name: str = "w1") -> FakeStreamWorker:
        mapping = EventSourceMapping(
            name="m",
            function="f",
            function_arn=FUNCTION_ARN,
            source="kinesis",
            source_arn=self.arn,
            batch=self.limits,
            report_item_failures=self.report,
            stream=self.settings,
            criteria=self.criteria,
        )
        telemetry, drain = Telemetry(), Drain()
        store, fleet = (self.store, None) if self.stores is None else self.stores(name)
        wire, to_fleet = Wire(store), None if fleet is None else Wire(fleet)
        status = MappingStatus(mapping=mapping, state=MappingState.CREATING, tap=self.tap)
        parts = StreamParts(
            mapping=mapping,
            function=FunctionSpec(name="f", handler="a.b", code_root=Path("/"), timeout=self.function_timeout),
            spec=self.spec,
            source=self.stream,
            invoker=self.function,
            destination=self.destination,
            store=wire,
            fleet=to_fleet,
            worker=name,
            load=self.load,
            limiter=self.limiter,
            drain=drain,
            status=status,
            telemetry=telemetry.of_mapping("m", "kinesis"),
            clock=wall_clock,
            jitter=lambda: 0.5,
            watchdog=self.watchdog,
            reads=Places(self.reads),
            block_on_destination_failure=self.block,
        )
        wires = [wire] if to_fleet is None else [wire, to_fleet]
        worker = FakeStreamWorker(drain, status, telemetry, anyio.CancelScope(), anyio.Event(), wires)

        async def run() -> None:
            with worker.scope:
                await run_stream_mapping(parts)
            worker.ended.set()

        tasks.start_soon(run, name=name)
        return worker

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeStreamWorker]:
        """One worker beside the body; ends with a drain, and fails if that does not end."""
        with anyio.fail_after(30 * 24 * 3600):
            async with anyio.create_task_group() as tasks:
                worker = self.start(tasks)
                yield worker
                worker.drain.begin()


async def wait(condition: Callable[[], bool], *, within: float = 3600.0) -> None:
    """Virtual seconds pass until the condition holds."""
    with anyio.fail_after(within):
        while not condition():  # noqa: ASYNC110  # the clock is virtual, and what is waited for knows no event
            await anyio.sleep(0.05)
