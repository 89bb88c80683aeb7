"""What shall happen in a simulation: all of it drawn from a seed, before anything runs.

During the storm everything may go wrong. After it nothing does any more, except records that are poison for good, and whoever was
frozen, away or dead has been replaced: from then on the workers must be able to finish everything.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Final

from pollers.record import LATEST, TRIM_HORIZON, Position
from runtime.core.mapping import UNLIMITED, BatchLimits, EventSourceMapping, RetryPolicy, StreamSettings
from tests.fakes.stream import STREAM_ARN

EPOCH: Final = 1_700_000_000.0
"""What the one true clock shows when the loop's shows 0."""
_ALONE: Final = 0.6
"""Of the seeds: their workers share a store and no leader."""
_LONG: Final = 0.25
"""Of the fleets: they live through more than one assignment of the same shard."""
START: Final = EPOCH + 1000.0
"""The first moment of a simulation: the loop's clock begins at 1000."""
FAILOVER: Final = 10.0
SLOW_ANSWER: Final = 6.0
"""Seconds: so long that it matters from when a lease is counted, not so long that it is lost by that alone."""
FUNCTION_ARN: Final = "arn:aws:lambda:eu-west-1:123456789012:function:f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that the world does, so many seconds after the beginning."""

    at: float
    what: str
    """put, split, merge, roll, trim; start, kill, drain, freeze, thaw."""
    who: str = ""
    """The worker, or the key."""
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """Of what goes wrong during the storm, each time it could (0 to 1), and how long things take (seconds)."""

    function_error: float = 0.0
    throttle: float = 0.0
    malformed: float = 0.0
    hang: float = 0.0
    function_time: float = 0.0
    refusal: float = 0.0
    source_error: float = 0.0
    source_time: float = 0.0
    short_page: float = 0.0
    repeated_page: float = 0.0
    late_end: float = 0.0
    store_error: float = 0.0
    store_lost_answer: float = 0.0
    store_time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """For a while one worker (or every one) gets no answer but errors from one of the things it needs.

    `slow`: what it writes to the store is written at once, but the answer takes SLOW_ANSWER seconds.
    """

    begins: float
    ends: float
    what: str
    """store, source, destination or slow."""
    who: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    seed: int
    mapping: EventSourceMapping
    shards: int
    storm: float
    """Seconds."""
    acts: tuple[Act, ...]
    chances: Chances
    outages: tuple[Outage, ...]
    poison: frozenset[int]
    """Sequence numbers that the function can never take. They heal after the storm where nothing else would end them."""
    destination: bool
    block: bool
    reserved: int | None
    base_interval: float
    iterator_lifetime: float
    retention: float
    first_sequence: int
    page_limit: int
    same_names: bool
    """A worker that comes back has the name that it had before."""
    shared_clock: bool
    """The store can say for how long a row has been silent."""
    fleet: bool = False
    """The workers share shards through a leader, in a DynamoDB table."""
    lag: float = 0.0
    """Seconds that reads of that table may show of the past."""
    takes: tuple[str, ...]
    """Workers of which one at least runs at the end."""

    @property
    def policy(self) -> RetryPolicy:
        return self.settings.retry

    @property
    def settings(self) -> StreamSettings:
        assert self.mapping.stream is not None
        return self.mapping.stream


def draw(seed: int) -> Scenario:
    """The scenario of a seed: always the same."""
    dice = Random(seed)  # noqa: S311  # a game
    scenario = _draw(seed, dice)
    scenario = _besiege(scenario, dice) if len(scenario.takes) > 1 and dice.random() < 0.04 else scenario
    return _unite(scenario, Random(f"{seed} fleet"))  # noqa: S311  # a game


def _unite(scenario: Scenario, dice: Random) -> Scenario:
    """Some are fleets, of more workers and shards."""
    if dice.random() < _ALONE:
        return scenario
    more = tuple("de"[: dice.choice([0, 0, 1, 2])])
    if dice.random() < _LONG:  # so that leases are old enough to be moved to those that come late
        storm = 70.0
        puts = [Act(at=dice.uniform(20, storm), what="put", who=f"k{n % 9}", count=3) for n in range(20)]
        starts = [Act(at=dice.uniform(30, 50), what="start", who=worker) for worker in scenario.takes]
        scenario = replace(scenario, storm=storm, acts=(*scenario.acts, *puts, *starts))
    late = max((act.at for act in scenario.acts if act.what == "start"), default=0.0)
    chances = scenario.chances
    if chances.store_time > 2:  # a leader that hears of nothing in time leads nothing; some of that is enough
        chances = replace(chances, store_time=dice.choice([0.1, 1.0, 2.0, 4.0]))
    return replace(
        scenario,
        fleet=True,
        lag=dice.choice([0.0, 0.3, 1.0, 3.0]),
        shards=scenario.shards + dice.choice([0, 0, 2, 4]),
        chances=chances,
        acts=(*scenario.acts, *_draw_lives(dice, more, scenario.storm, late)),
        outages=(*scenario.outages, *_draw_outages(dice, (*scenario.takes, *more), scenario.storm)),
        takes=(*scenario.takes, *more),
    )


def _besiege(scenario: Scenario, dice: Random) -> Scenario:
    """A worker with many lanes that try again all the time hears late of its last write to the store, and then nothing more."""
    begins = dice.choice([0.0, dice.uniform(5, 12)])
    worker = dice.choice(scenario.takes)
    settings = replace(scenario.settings, start=TRIM_HORIZON, retry=RetryPolicy(), lanes=10, tumbling_window=0)
    puts = [Act(at=dice.uniform(0, 4), what="put", who=f"k{n}") for n in range(60)]
    return replace(
        scenario,
        mapping=replace(scenario.mapping, batch=BatchLimits(records=1), stream=settings),
        storm=40.0,
        acts=(*puts, *(Act(at=0.0, what="start", who=each) for each in scenario.takes)),
        chances=Chances(function_error=0.9, function_time=0.5),
        outages=(
            Outage(begins=begins, ends=begins + 3.4, what="slow", who=worker),
            Outage(begins=begins + 3.4, ends=40.0, what="store", who=worker),
        ),
        reserved=None,
        retention=24 * 3600.0,
    )


def _draw(seed: int, dice: Random) -> Scenario:
    storm = dice.choice([15.0, 20.0, 30.0, 45.0])
    tumbling = dice.choice([5, 10, 20]) if dice.random() < 0.08 else 0
    policy = _draw_policy(dice)
    workers = tuple("abc"[: dice.choice([1, 1, 2, 2, 2, 3])])
    shards = dice.choice([1, 1, 2, 2, 3, 4])
    first = dice.choice([1, 1, 95, 9_970])
    records = dice.randint(20, 120)
    destination = dice.random() < 0.7
    retry_ends = policy.attempts != UNLIMITED or policy.age != UNLIMITED
    poison_share = dice.choice([0.0, 0.0, 0.02, 0.06]) if retry_ends else dice.choice([0.0, 0.0, 0.0, 0.02])
    start, delay = _draw_start(dice)
    settings = StreamSettings(
        start=start,
        retry=policy,
        lanes=1 if tumbling else dice.choice([1, 1, 1, 2, 3, 10]),
        tumbling_window=tumbling,
        destination="arn:aws:sqs:eu-west-1:123456789012:failed" if destination else None,
        read_share=dice.choice([1.0, 1.0, 0.5]),
    )
    mapping = EventSourceMapping(
        name="m",
        function="f",
        function_arn=FUNCTION_ARN,
        source="kinesis",
        source_arn=STREAM_ARN,
        batch=BatchLimits(records=dice.choice([1, 2, 3, 5, 10, 100]), window=dice.choice([0, 0, 0, 1, 3])),
        report_item_failures=dice.random() < 0.4,
        stream=settings,
    )
    return Scenario(
        seed=seed,
        mapping=mapping,
        shards=shards,
        storm=storm,
        acts=(*_draw_stream_acts(dice, records, shards, storm), *_draw_lives(dice, workers, storm, delay)),
        chances=_draw_chances(dice, report=mapping.report_item_failures),
        outages=_draw_outages(dice, workers, storm),
        poison=frozenset(first + n for n in range(records) if dice.random() < poison_share),
        destination=destination,
        block=destination and dice.random() < 0.25,
        reserved=dice.choice([None, None, None, 1, 2]),
        base_interval=dice.choice([1.0, 1.0, 3.0, 0.25]),
        iterator_lifetime=dice.choice([300.0, 300.0, 2.0]),
        retention=dice.choice([25.0, 40.0]) if dice.random() < 0.06 else 24 * 3600.0,
        first_sequence=first,
        page_limit=dice.choice([10_000, 10_000, 7, 3]),
        same_names=dice.random() < 0.5,
        shared_clock=dice.random() < 0.5,
        takes=workers,
    )


def _draw_policy(dice: Random) -> RetryPolicy:
    return RetryPolicy(
        attempts=dice.choice([UNLIMITED, 0, 1, 2, 3]),
        age=dice.choice([UNLIMITED, UNLIMITED, UNLIMITED, 5, 12, 30]),
        bisect=dice.random() < 0.35,
    )


def _draw_start(dice: Random) -> tuple[Position, float]:
    """And after how many seconds the first worker may start, so that there is something from before the position."""
    kind = dice.choice(["all", "all", "all", "new", "time"])
    if kind == "time":
        return Position.at(START + round(dice.uniform(0, 4), 3)), 4.0
    return (LATEST, dice.choice([0.0, 4.0])) if kind == "new" else (TRIM_HORIZON, dice.choice([0.0, 4.0]))


def _draw_stream_acts(dice: Random, records: int, shards: int, storm: float) -> list[Act]:
    keys = [f"k{n}" for n in range(dice.choice([1, 3, 8, 30]))]
    acts = []
    early = dice.choice([0.0, 0.3])
    while records > 0:
        count = min(records, dice.choice([1, 1, 2, 5, 12]))
        at = 0.0 if dice.random() < early else dice.uniform(0, storm)
        acts.append(Act(at=at, what="put", who=dice.choice(keys), count=count))
        records -= count
    if dice.random() < 0.6:
        kinds = ["split", "split", "merge", "roll"] if shards > 1 else ["split", "split", "roll", "merge"]
        acts += [
            Act(at=dice.choice([dice.uniform(0, 4), dice.uniform(0, storm)]), what=dice.choice(kinds))
            for _ in range(dice.choice([1, 1, 2, 3, 4]))
        ]
    if dice.random() < 0.12:
        counts = [dice.choice([3, 10, 40]) for _ in range(dice.choice([1, 2, 3]))]
        acts += [Act(at=dice.uniform(storm / 4, storm), what="trim", count=count) for count in counts]
    return acts


def _draw_lives(dice: Random, workers: tuple[str, ...], storm: float, delay: float) -> list[Act]:
    """Each worker starts near the beginning; some are killed, drained or frozen, and most of those come back."""
    acts = []
    wild = dice.choice([0.0, 0.5, 1.0])
    for worker in workers:
        now = delay + dice.choice([0.0, 0.0, dice.uniform(0, 5)])
        acts.append(Act(at=now, what="start", who=worker))
        while dice.random() < 0.6 * wild and now < storm:
            now += dice.uniform(0.5, storm / 2)
            fate = dice.choice(["kill", "drain", "freeze", "freeze"])
            acts.append(Act(at=now, what=fate, who=worker))
            now += dice.choice([dice.uniform(0, 1), dice.uniform(1, 6), dice.uniform(8, 14), dice.uniform(14, 30)])
            acts.append(Act(at=now, what="thaw" if fate == "freeze" else "start", who=worker))
    return acts


def _draw_chances(dice: Random, *, report: bool) -> Chances:
    def some(*values: float) -> float:
        return dice.choice([0.0, 0.0, *values])

    return Chances(
        function_error=some(0.1, 0.3, 0.6),
        throttle=some(0.1, 0.4),
        malformed=some(0.2, 0.5) if report or dice.random() < 0.5 else 0.0,
        hang=some(0.03, 0.1),
        function_time=some(0.05, 0.5, 2.0),
        refusal=some(0.3, 0.8),
        source_error=some(0.05, 0.3),
        source_time=some(0.05, 0.5),
        short_page=some(0.2, 0.5),
        repeated_page=some(0.2),
        late_end=some(0.5, 1.0),
        store_error=some(0.05, 0.2),
        store_lost_answer=dice.choice([0.0, 0.0, 0.0, 0.05, 0.2]),
        store_time=some(0.02, 0.5, 2.0, 4.0),
    )


def _draw_outages(dice: Random, workers: tuple[str, ...], storm: float) -> tuple[Outage, ...]:
    outages = []
    if len(workers) > 1 and dice.random() < 0.2:  # long enough for the others to take over
        begins = dice.uniform(2, storm / 2)
        outages.append(Outage(begins=begins, ends=begins + dice.uniform(12, 25), what="store", who=dice.choice(workers)))
    while dice.random() < 0.3:
        begins = dice.uniform(0, storm)
        ends = min(storm, begins + dice.uniform(1, 15))
        what = dice.choice(["store", "store", "source", "destination"])
        outages.append(Outage(begins=begins, ends=ends, what=what, who=dice.choice([None, *workers])))
    return tuple(outages)
