"""Runs one seed: lives of workers come and go, until everything that was put has passed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import anyio
import structlog

from handlers.invoker import FunctionSpec
from pollers.record import PositionKind
from pollers.source import StreamSpec
from runtime.core.mapping import MappingState
from runtime.drain import Drain
from runtime.status import MappingStatus
from runtime.stores.dynamodb.store import DynamodbStore
from runtime.stream_mapping import run_stream_mapping
from runtime.stream_parts import StreamParts
from runtime.stream_telemetry import StreamTelemetry
from runtime.telemetry import Telemetry
from tests.fakes.stream import STREAM_ARN, STREAM_SPEC
from tests.simulation.journal import QUIET, Crashed, Dropped, Event, Expired, Finished, Gap, Journal, Lived, Said
from tests.simulation.life import LIFE, Life, run_lives
from tests.simulation.scenario import FAILOVER, START, Act, Scenario
from tests.simulation.stores import InMemory, Stores
from tests.simulation.surroundings import SimDestination, SimInvoker, SimSource, SimStore
from tests.simulation.table import LeaseRows, table_store
from tests.simulation.world import STREAM_ACTS, World, now

PATIENCE: Final = 1800.0
"""Seconds after the storm in which everything must have passed."""
_HELD: Final = 90.0
"""Seconds for which a record may be held back by windows and pauses."""
_DRAIN: Final = 120.0
"""Seconds in which a worker that nothing holds up must have drained."""


@dataclass(slots=True)
class Run:
    """One life that goes on."""

    life: Life
    drain: Drain
    scope: anyio.CancelScope
    ended: bool = False


@dataclass(slots=True)
class Simulation:
    """`runs` has the life of each worker that is there now; `dead` those that were killed."""

    world: World
    tasks: anyio.abc.TaskGroup
    telemetry: Telemetry = field(default_factory=Telemetry)
    runs: dict[str, Run] = field(default_factory=dict)
    dead: list[Run] = field(default_factory=list)
    lives: int = 0
    table: LeaseRows = field(default_factory=LeaseRows)

    def __post_init__(self) -> None:
        if self.world.scenario.fleet:
            self.world.leases = lambda: self.table.leases(self.world.start_time)

    # what may happen to a worker

    def act(self, act: Act) -> None:
        run = self.runs.get(act.who)
        match act.what:
            case "start" if run is None or run.ended:
                self._start(act.who)
            case "kill" if run and not run.ended:
                self._tell(run, "killed")
                run.life.freeze()
                self.dead.append(self.runs.pop(act.who))
            case "drain" if run and not run.ended:
                self._tell(run, "draining")
                run.drain.begin()
            case "freeze" if run and not run.ended:
                self._tell(run, "paused")
                run.life.freeze()
            case "thaw" if run and not run.ended:
                self._tell(run, "resumed")
                run.life.thaw()

    def _tell(self, run: Run, what: str) -> None:
        self.world.journal.add(Lived(at=now(), who=run.life.name, what=what))

    def _start(self, worker: str) -> None:
        self.lives += 1
        run = Run(life=Life(f"{worker}.{self.lives}"), drain=Drain(), scope=anyio.CancelScope())
        self.runs[worker] = run
        self._tell(run, "started")
        self.tasks.start_soon(self._live, worker, run, name=run.life.name)

    async def _live(self, worker: str, run: Run) -> None:
        LIFE.set(run.life)
        name = worker if self.world.scenario.same_names else run.life.name
        try:
            with run.scope:
                await run_stream_mapping(self._parts(run, name))
        except Exception as error:  # noqa: BLE001  # a crash is judged like everything else
            self.world.journal.add(Crashed(at=now(), who=run.life.name, error=_told(error)))
        run.ended = True
        self._tell(run, "ended")

    def _parts(self, run: Run, worker: str) -> StreamParts:
        if not self.world.scenario.fleet:
            return _parts(self.world, self.telemetry, run, worker, SimStore(self.world, run.life.name))
        store = table_store(self.world, self.table, run.life.name, worker)
        return _parts(self.world, self.telemetry, run, worker, store)

    # the story

    async def tell(self) -> None:
        for act in sorted(self.world.scenario.acts, key=lambda act: act.at):
            await _sleep_until(START + act.at)
            (self.world if act.what in STREAM_ACTS else self).act(act)
        await _sleep_until(START + self.world.scenario.storm)
        for worker, run in self.runs.items():
            if run.life.frozen:
                self.act(Act(at=0, what="thaw", who=worker))
        passed = await self._wait(self._passed, PATIENCE, every=self._keep_one)
        if any(shard.trimmed for shard in self.world.stream.shards.values()):
            await anyio.sleep(_HELD)  # what left the stream may still be in hand, so the rows say too little
        for worker, run in self.runs.items():
            if not run.drain.begun:
                self.act(Act(at=0, what="drain", who=worker))
        drained = await self._wait(lambda: all(run.ended for run in self.runs.values()), _DRAIN)
        for run in (*self.dead, *self.runs.values()):
            if run.life.spins:
                self.world.journal.add(Crashed(at=now(), who=run.life.name, error="it ran on and on while no time passed"))
        reason = QUIET if passed and drained else f"a worker did not drain in {_DRAIN:.0f} seconds"
        reason = reason if passed else f"not quiet {PATIENCE:.0f} seconds after the storm"
        self.world.journal.add(Finished(at=now(), reason=reason, counters=self._counters()))

    def _keep_one(self) -> None:
        if all(run.ended or run.drain.begun for run in self.runs.values()):
            self.act(Act(at=0, what="start", who=self.world.scenario.takes[0]))

    async def _wait(self, condition: Callable[[], bool], seconds: float, *, every: Callable[[], None] = lambda: None) -> bool:
        deadline = now() + seconds
        while not condition() and now() < deadline:
            every()
            await anyio.sleep(1)
        return condition()

    def _counters(self) -> dict[str, float]:
        return {
            name: sum(sample.value for family in counter.collect() for sample in family.samples if sample.name == name)
            for name, counter in self.telemetry.counters.items()
        }

    def _passed(self) -> bool:
        """As the rows in the store say: each shard is done as far as anything was put."""
        rows = self.world.leases()
        for shard in self.world.stream.shards.values():
            row = rows.get(shard.id)
            if row is None and not shard.gone:
                return False
            if row is None or row.checkpoint.kind is PositionKind.SHARD_END:
                continue
            kind, last = row.checkpoint.kind, shard.records[-1] if shard.records else None
            if shard.closed_at is not None or row.window is not None or kind is PositionKind.LATEST:
                return False
            if last is None or (kind is PositionKind.AT_TIMESTAMP and last.arrived < row.checkpoint.timestamp):
                continue
            if kind is PositionKind.AT_TIMESTAMP and last.arrived <= self.world.opened_at_latest.get(shard.id, 0.0):
                continue
            if row.checkpoint.sequence != last.id and shard.trimmed != len(shard.records):
                return False
        return True

    def clean_up(self) -> None:
        """Nothing of this is in the journal any more."""
        self.world.closed = self.world.journal.closed = True
        for run in (*self.dead, *self.runs.values()):
            run.scope.cancel()
            run.drain.cut()
            run.life.thaw()


def _parts(world: World, telemetry: Telemetry, run: Run, worker: str, store: SimStore | DynamodbStore) -> StreamParts:
    scenario, who = world.scenario, run.life.name
    dice = world.dice("jitter")
    return StreamParts(
        mapping=scenario.mapping,
        function=FunctionSpec(name="f", handler="a.b", code_root=Path("/"), timeout=30),
        spec=_spec(scenario),
        source=SimSource(world, who),
        invoker=SimInvoker(world, who),
        destination=SimDestination(world, who) if scenario.destination else None,
        store=store,
        fleet=store.fleet(f"m {STREAM_ARN}") if isinstance(store, DynamodbStore) else None,
        worker=worker,
        limiter=anyio.CapacityLimiter(scenario.reserved) if scenario.reserved else None,
        drain=run.drain,
        status=MappingStatus(mapping=scenario.mapping, state=MappingState.CREATING),
        telemetry=telemetry.of_mapping(who, "kinesis"),
        clock=now,
        jitter=dice.random,
        failover=FAILOVER,
        block_on_destination_failure=scenario.block,
    )


async def _sleep_until(moment: float) -> None:
    await anyio.sleep(max(0.0, moment - now()))


def _spec(scenario: Scenario) -> StreamSpec:
    return replace(STREAM_SPEC, base_interval=scenario.base_interval)


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(each) for each in error.exceptions)
    return repr(error)


def simulate(scenario: Scenario, stores: Callable[[], Stores] = InMemory) -> Journal:
    """Everything that happened."""

    async def play() -> Journal:
        world = World(scenario, stores=stores())
        with _listening(world.journal):
            async with anyio.create_task_group() as tasks:
                simulation = Simulation(world, tasks)
                try:
                    await simulation.tell()
                finally:
                    simulation.clean_up()
        return world.journal

    return run_lives(play())


@contextmanager
def _listening(journal: Journal) -> Iterator[None]:
    """The product's log lines go to the journal; so do the facts whose log lines do not name every record."""
    configured = structlog.get_config()

    def hear(_: Any, __: str, line: Any) -> Any:
        life = LIFE.get()
        told = {name: value for name, value in line.items() if name not in {"event", "mapping"}}
        journal.add(Said(at=now(), who=life.name if life else "world", name=line["event"], told=told))
        raise structlog.DropEvent

    structlog.configure(
        processors=[hear], wrapper_class=structlog.make_filtering_bound_logger(20), cache_logger_on_first_use=False
    )
    facts: dict[str, Callable[..., Event]] = {
        "records_dropped": lambda who, shard, records, *, condition, **_: Dropped(
            at=now(), who=who, shard=shard, sequences=tuple(record.id for record in records), condition=condition
        ),
        "records_expired": lambda who, shard, records: Expired(
            at=now(), who=who, shard=shard, sequences=tuple(record.id for record in records)
        ),
        "position_lost": lambda who, shard, **_: Gap(at=now(), who=who, shard=shard),
    }
    originals = {name: getattr(StreamTelemetry, name) for name in facts}
    for name, fact in facts.items():
        setattr(StreamTelemetry, name, _also(originals[name], fact, journal))
    try:
        yield
    finally:
        structlog.configure(**configured)
        for name, original in originals.items():
            setattr(StreamTelemetry, name, original)


def _also(original: Callable[..., None], fact: Callable[..., Event], journal: Journal) -> Callable[..., None]:
    def tell(self: StreamTelemetry, *args: Any, **kwargs: Any) -> None:
        life = LIFE.get()
        journal.add(fact(life.name if life else "world", *args, **kwargs))
        original(self, *args, **kwargs)

    return tell
