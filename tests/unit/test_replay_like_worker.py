"""A replay against the worker itself, in virtual time: the same records, the same rules, the same handler, the same invocations.

What a handler does is decided by a number made from the records of the call and from how often they came together before, so
both meet the same fates whatever the order in which shards take their turns.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any
from zlib import crc32

import anyio
import hypothesis
from hypothesis import strategies as st

from handlers.invoker import NOT_JSON, NotInvoked, Outcome, Succeeded
from pollers.event_records import EventRecord
from pollers.record import TRIM_HORIZON, Record
from runtime.core.mapping import BatchLimits, EventSourceMapping, RetryPolicy, StreamSettings
from runtime.core.tumbling import MAX_STATE_BYTES
from runtime.replay.engine import Replayer
from runtime.replay.report import Failure, Report
from runtime.replay.rules import Overrides, rules_of
from tests.fakes.queue import FakeQueue
from tests.fakes.replays import FUNCTION, STREAM, Acts, ids_of, message, queue_mapping, raised
from tests.fakes.stream import STREAM_ARN
from tests.fakes.stream_worker import EPOCH, FakeDestination, FakeFunction, World, wait
from tests.fakes.virtual_time import run_virtual
from tests.fakes.worker import FakeInvoker, running

WINDOW_KEYS = ("window", "state", "shardId", "isFinalInvokeForWindow", "isWindowTerminatedEarly")


@dataclass
class Fated:
    """A handler that does the same to the same calls. What it was called with, by shard, is `calls`."""

    seed: int
    ways: Sequence[str]
    large: bool = False
    calls: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    _times: Counter[tuple[str, ...]] = field(default_factory=Counter)

    async def __call__(self, event: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        ids = ids_of(event)
        window = [event.get(key) for key in WINDOW_KEYS]
        shard = event["shardId"] if "shardId" in event else event["Records"][0]["eventID"].partition(":")[0]
        key = (*ids, str(window[0]))
        self._times[key] += 1
        number = crc32(f"{self.seed} {key} {self._times[key]}".encode())
        way = self.ways[number % len(self.ways)] if ids else "succeed"  # a worker tries the end of a window for ever
        if way != "throttle":  # how often one is throttled is no rule
            self.calls[shard].append((ids, [*window[:1], len(str(window[1])), *window[3:]]))
        state = {"n": "x" * (MAX_STATE_BYTES if self.large and number % 3 == 0 else len(ids) + len(str(window[1])))}
        named = [{"itemIdentifier": each} for n, each in enumerate(ids) if number >> n & 3 == 0]
        match way:
            case "raise":
                return raised()
            case "throttle":
                return NotInvoked(reason="throttled")
            case "name":
                return Succeeded(response={"state": state, "batchItemFailures": named})
            case "not json":
                return Succeeded(response=NOT_JSON)
            case _:
                return Succeeded(response={"state": state})


def shown(record: Record) -> dict[str, Any]:
    return {**record.content, "eventSourceARN": STREAM}


@dataclass
class Lived:
    """What a run came to."""

    calls: dict[str, list[Any]]
    given_up: list[tuple[str, str, int]]
    """First and last sequence number, and how many, of each group that was given up."""


async def live_in_worker(
    world: World, puts: Sequence[tuple[str, float]], fated: Fated, split_at: int
) -> tuple[Lived, list[EventRecord], dict[str, tuple[str, ...]]]:
    """All records are there before it begins; the shard with the first key is split in between."""
    destination = world.destination = FakeDestination()
    world.function = FakeFunction(fated)
    for number, (key, arrived) in enumerate(puts):
        if number == split_at:
            world.stream.split(world.stream.open_shards()[0])
        world.stream.put(key, arrived=arrived)
    for shard in world.stream.open_shards():
        world.stream._close(shard)  # so that the last windows end
    total = len(world.stream.puts)
    records = [
        EventRecord(source="kinesis", source_arn=STREAM, shard=shard.id, record=record)
        for shard in world.stream.shards.values()
        for record in shard.records
    ]
    async with world.running():
        await wait(
            lambda: sum(row == "SHARD_END" for row in world.checkpoints().values()) == len(world.stream.shards), within=inf
        )
    infos = [failure.body["KinesisBatchInfo"] for failure in destination.taken]
    given_up = [(each["startSequenceNumber"], each["endSequenceNumber"], each["batchSize"]) for each in infos]
    assert total == len(records)
    return (
        Lived(calls=fated.calls, given_up=given_up),
        records,
        {shard.id: shard.parents for shard in world.stream.shards.values()},
    )


async def live_in_replay(
    mapping: EventSourceMapping, records: Sequence[EventRecord], parents: dict[str, tuple[str, ...]], fated: Fated
) -> Lived:
    given_up: list[tuple[str, str, int]] = []

    async def discarded(_: Any, __: Any, decision: Any, *___: Any) -> None:
        await anyio.lowlevel.checkpoint()
        given_up.append((decision.discarded[0].id, decision.discarded[-1].id, len(decision.discarded)))

    failures: list[Failure] = []
    report = Report()
    rules = rules_of(mapping, Overrides())
    object.__setattr__(rules, "envelope", lambda batch: {"Records": [shown(record) for record in batch]})  # the fake's records
    replayer = Replayer(rules, Acts(fated), report, discarded=discarded, failed=failures.append)
    begun: set[str] = set()
    async with replayer.running():
        for record in records:
            if record.shard not in begun:
                begun.add(record.shard)
                for parent in parents[record.shard]:
                    await replayer.finish_shard(STREAM, parent)
            report.read += 1
            await replayer.feed(record)
    assert report.not_run == 0
    return Lived(calls=fated.calls, given_up=given_up)


WAYS = st.lists(st.sampled_from(["succeed", "succeed", "raise", "throttle", "name", "not json"]), min_size=2, max_size=6)


@hypothesis.settings(max_examples=50, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(st.data())
def test_a_stream_is_replayed_as_a_worker_would_run_it(data: st.DataObject) -> None:
    tumbling = data.draw(st.sampled_from((0, 0, 30)))
    lanes = 1 if tumbling else data.draw(st.integers(1, 3))
    retry = RetryPolicy(attempts=data.draw(st.integers(0, 3)), bisect=data.draw(st.booleans()))
    limits = BatchLimits(records=data.draw(st.integers(1, 10)))
    report = data.draw(st.booleans())
    ways = [*data.draw(WAYS), "succeed"]
    seed, large = data.draw(st.integers(0, 10_000)), data.draw(st.booleans())
    count = data.draw(st.integers(1, 60))
    puts = [(f"k{crc32(str(n).encode()) % 7}", EPOCH + n * 1.7) for n in range(count)]
    settings = StreamSettings(start=TRIM_HORIZON, retry=retry, lanes=lanes, tumbling_window=tumbling)
    mapping = EventSourceMapping(
        name="m",
        function="f",
        function_arn=FUNCTION,
        source="kinesis",
        source_arn=STREAM_ARN,
        batch=limits,
        report_item_failures=report,
        stream=settings,
    )
    world = World(settings=settings, limits=limits, report=report)

    async def live() -> tuple[Lived, Lived]:
        lived, records, parents = await live_in_worker(world, puts, Fated(seed, ways, large), data.draw(st.integers(0, count)))
        return lived, await live_in_replay(mapping, records, parents, Fated(seed, ways, large))

    worker, replayed = run_virtual(live())
    assert {shard: sorted(map(repr, calls)) for shard, calls in replayed.calls.items()} == {
        shard: sorted(map(repr, calls)) for shard, calls in worker.calls.items()
    }
    if lanes == 1:
        assert replayed.calls == worker.calls  # in this order
    assert sorted(replayed.given_up) == sorted(worker.given_up)


def judged(seed: int, ways: list[str], ids: list[str]) -> Outcome:
    match ways[crc32(f"{seed} {ids}".encode()) % len(ways)]:
        case "raise":
            return raised()
        case "name":
            return Succeeded(
                response={"batchItemFailures": [{"itemIdentifier": each} for each in ids if crc32(each.encode()) % 3]}
            )
        case "not json":
            return Succeeded(response=NOT_JSON)
        case _:
            return Succeeded(response=None)


@hypothesis.settings(max_examples=60, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(seed=st.integers(0, 10_000), count=st.integers(1, 35), report=st.booleans(), drawn=WAYS)
def test_messages_are_deleted_or_left_as_a_worker_would(*, seed: int, count: int, report: bool, drawn: list[str]) -> None:
    """The first time that each is handed over; afterwards the queue goes its own ways."""

    def outcome(ids: list[str]) -> Outcome:
        return judged(seed, [way for way in drawn if way != "throttle"] or ["succeed"], ids)

    async def by_worker() -> tuple[list[list[str]], set[str]]:
        queue = FakeQueue(visibility_timeout=3600)
        queue.send(*(["{}"] * count))

        async def act(records: list[dict[str, Any]]) -> Outcome:
            await anyio.lowlevel.checkpoint()
            return outcome([each["messageId"] for each in records])

        invoker = FakeInvoker(act)
        async with running(queue, invoker, concurrency=1, report=report) as worker:
            await worker.wait(lambda: sum(map(len, invoker.invoked)) >= count)
            await anyio.sleep(1)
        return invoker.invoked, set(queue.deleted)

    async def by_replay() -> tuple[list[list[str]], set[str]]:
        async def act(event: dict[str, Any]) -> Outcome:
            await anyio.lowlevel.checkpoint()
            return outcome(ids_of(event))

        acts, settled = Acts(act), set[str]()

        async def keep(records: tuple[Record, ...]) -> None:
            await anyio.lowlevel.checkpoint()
            settled.update(record.id for record in records)

        rules = rules_of(queue_mapping(report=report, concurrency=1), Overrides())
        replayer = Replayer(rules, acts, Report(), settled=keep)
        async with replayer.running():
            for number in range(1, count + 1):
                await replayer.feed(message(number))
        return acts.invoked, settled

    assert run_virtual(by_replay()) == run_virtual(by_worker())
