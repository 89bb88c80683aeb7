"""The world around the runner: a stream, a store, a function and a destination that can all go wrong, and everything they saw."""

from asyncio import get_running_loop
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final

from pollers.errors import SourceError, SourceRejected, SourceUnavailable
from pollers.record import PositionKind
from runtime.core.lease import Lease
from tests.fakes.stream import FakeStream
from tests.simulation.journal import Journal, Put, ShardClosed, ShardMade, Trimmed
from tests.simulation.life import LIFE
from tests.simulation.scenario import EPOCH, START, Act, Scenario
from tests.simulation.stores import InMemory, Stores

STREAM_ACTS: Final = frozenset({"put", "split", "merge", "roll", "trim"})


def now() -> float:
    """The one true clock, which every worker shares."""
    return EPOCH + get_running_loop().time()


@dataclass
class World:
    """One simulation. Every kind of chance has dice of its own, so that one more throw of one changes no other."""

    scenario: Scenario
    journal: Journal = field(default_factory=Journal)
    stores: Stores = field(default_factory=InMemory)
    closed: bool = False
    """The simulation is over: who still runs is being cleaned up, and gets nothing any more."""
    opened_at_latest: dict[str, float] = field(default_factory=dict)
    """When each shard was opened at LATEST last: what was put before is not for the mapping."""
    calls: "count[int]" = field(default_factory=lambda: count(1))
    sends: "count[int]" = field(default_factory=lambda: count(1))
    stream: FakeStream = field(init=False)
    leases: "Callable[[], dict[str, Lease]]" = field(init=False)
    """The rows as they are, by shard."""
    _dice: dict[str, Random] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.leases = lambda: {row.shard: row for row in self.stores.rows().values()}
        self.stream = FakeStream(
            now,
            shard_count=self.scenario.shards,
            first_sequence=self.scenario.first_sequence,
            retention=self.scenario.retention,
            page_limit=self.scenario.page_limit,
            iterator_lifetime=self.scenario.iterator_lifetime,
            fail=self._source_fault,
            latency=lambda _, __: self.time("source", self.scenario.chances.source_time),
            shorten=self._shorten,
            repeat=self._repeat,
            late_end=lambda _: self.happens("source", self.scenario.chances.late_end),
        )
        for shard in self.stream.shards:
            self.journal.add(ShardMade(at=now(), shard=shard))

    @property
    def start_time(self) -> float | None:
        """The mapping's StartingPositionTimestamp."""
        start = self.scenario.settings.start
        return start.timestamp if start.kind is PositionKind.AT_TIMESTAMP else None

    # chance

    def dice(self, kind: str) -> Random:
        if kind not in self._dice:
            self._dice[kind] = Random(f"{self.scenario.seed} {kind}")  # noqa: S311  # a game
        return self._dice[kind]

    @property
    def stormy(self) -> bool:
        return now() < START + self.scenario.storm

    def happens(self, kind: str, chance: float) -> bool:
        """Thrown only where it can happen; never after the storm."""
        return chance > 0 and self.stormy and self.dice(kind).random() < chance

    def time(self, kind: str, most: float) -> float:
        """How long something takes."""
        return self.dice(kind).uniform(0, most) if most and self.stormy else 0.0

    def out(self, what: str, who: str) -> bool:
        """Whether there is an outage of something, for the life `who`."""
        past = now() - START
        return any(
            outage.what == what and outage.begins <= past < outage.ends and outage.who in (None, who.partition(".")[0])
            for outage in self.scenario.outages
        )

    # the stream

    def act(self, act: Act) -> None:
        """Something happens to the stream."""
        dice, stream = self.dice("world"), self.stream
        known = set(stream.shards)
        match act.what:
            case "put":
                self._put(act.who, act.count)
            case "split" | "roll":
                shard = dice.choice(stream.open_shards())
                self.journal.add(ShardClosed(at=now(), shard=shard))
                if act.what == "split":
                    stream.split(shard)
                else:
                    stream.roll_over(shard)
            case "merge" if len(stream.open_shards()) > 1:
                first, second = dice.sample(stream.open_shards(), 2)
                for shard in (first, second):
                    self.journal.add(ShardClosed(at=now(), shard=shard))
                stream.merge(first, second)
            case "trim":
                shard = dice.choice(list(stream.shards))
                gone = stream.trim(shard, act.count)
                self.journal.add(Trimmed(at=now(), shard=shard, sequences=tuple(gone)))
        for shard in sorted(stream.shards.keys() - known):
            self.journal.add(ShardMade(at=now(), shard=shard, parents=stream.shards[shard].parents))

    def _put(self, key: str, number: int) -> None:
        shard = self.stream.shard_of(key).id
        for sequence in self.stream.put(key, number):
            self.journal.add(Put(at=now(), shard=shard, sequence=sequence, key=key, arrived=now()))

    def _source_fault(self, operation: str, shard: str) -> SourceError | None:
        life = LIFE.get()
        if life is None:
            return None
        if self.closed or self.out("source", life.name) or self.happens("source", self.scenario.chances.source_error):
            codes = ["ProvisionedThroughputExceededException", "InternalFailure", "connection"]
            code = self.dice("source").choice(codes)
            return SourceUnavailable(f"{operation} {shard}: {code}", code=code)
        if operation == "list" and self.happens("source", self.scenario.chances.source_error / 4):
            return SourceRejected("list: AccessDeniedException", code="AccessDeniedException")
        return None

    def _shorten(self, _: str, number: int) -> int:
        if self.happens("source", self.scenario.chances.short_page):
            return self.dice("source").randint(0, number)
        return number

    def _repeat(self, _: str) -> int:
        return self.dice("source").randint(1, 5) if self.happens("source", self.scenario.chances.repeated_page) else 0
