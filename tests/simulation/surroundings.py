"""What one life of a worker is given: the shared store, stream, function and destination, each behind a wrapper that can go wrong.

What is journalled is journalled in the same step in which it happens, so that no freeze comes in between.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from handlers.destinations import DestinationError, FailureRecord
from handlers.invoker import MakeEvent, Outcome
from pollers.record import LATEST, Position, Shard, ShardPage
from pollers.source import ShardReader, StreamFacts
from runtime.leases import Lease, StateError
from tests.simulation.answers import Answers
from tests.simulation.journal import (
    Began,
    Ended,
    Ending,
    Opened,
    ReadAsked,
    RowMade,
    RowRefused,
    RowsForgotten,
    RowWritten,
    SendBegan,
    SendEnded,
)
from tests.simulation.scenario import SLOW_ANSWER
from tests.simulation.world import World, now

T = TypeVar("T")


class SimStore:
    """A LeaseStore. Its answers can be slow, wrong, or lost after the write went through."""

    def __init__(self, world: World, who: str) -> None:
        mapping = world.scenario.mapping
        self._world = world
        self._who = who
        self._store = world.stores.of(who, f"{mapping.name} {mapping.source_arn}")

    async def load(self, scope: str) -> list[Lease]:
        return await self._ask("load", lambda: self._store.load(scope))

    async def silence(self, scope: str) -> Mapping[str, float]:
        store = self._store
        return await self._ask("silence", lambda: store.silence(scope)) if self._world.scenario.shared_clock else {}

    async def create(self, leases: Sequence[Lease]) -> None:
        async def write() -> None:
            known = {row.shard for row in self._world.stores.rows().values()}
            await self._store.create(leases)
            for lease in leases:
                if lease.shard not in known:
                    self._world.journal.add(
                        RowMade(at=now(), who=self._who, shard=lease.shard, parents=lease.parents, position=lease.checkpoint)
                    )

        await self._ask("create", write)

    async def take(self, lease: Lease, owner: str) -> Lease | None:
        return await self._ask("take", lambda: self._change("take", lease, lambda: self._store.take(lease, owner)))

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease | StateError | None]:
        async def write() -> Sequence[Lease | StateError | None]:
            if self._world.stores.together:
                return await self._renew(leases)
            return [row for lease in leases for row in await self._renew([lease])]

        return await self._ask("renew", write)

    async def _renew(self, leases: Sequence[Lease]) -> Sequence[Lease | StateError | None]:
        before = [self._row(lease) for lease in leases]
        rows = await self._store.renew(leases)
        for lease, row, old in zip(leases, rows, before, strict=True):
            assert not isinstance(row, StateError), "nothing goes wrong below"
            self._tell("renew", lease, old, row)
        return rows

    async def checkpoint(self, lease: Lease, position: Position, *, window: str | None = None) -> Lease | None:
        store = self._store
        return await self._ask(
            "checkpoint", lambda: self._change("checkpoint", lease, lambda: store.checkpoint(lease, position, window=window))
        )

    async def release(self, lease: Lease) -> bool:
        async def write() -> Lease | None:
            return self._row(lease) if await self._store.release(lease) else None

        return await self._ask("release", lambda: self._change("release", lease, write)) is not None

    async def want(self, lease: Lease, worker: str) -> bool:
        return await self._ask("want", lambda: self._store.want(lease, worker))

    async def delete(self, leases: Sequence[Lease]) -> None:
        async def write() -> None:
            before = {row.shard for row in self._world.stores.rows().values()}
            await self._store.delete(leases)
            gone = before - {row.shard for row in self._world.stores.rows().values()}
            self._world.journal.add(RowsForgotten(at=now(), who=self._who, shards=tuple(sorted(gone))))

        await self._ask("delete", write)

    async def _change(self, write: str, lease: Lease, change: Callable[[], Awaitable[Lease | None]]) -> Lease | None:
        await anyio.lowlevel.checkpoint()
        old = self._row(lease)
        row = await change()
        self._tell(write, lease, old, row)
        return row

    def _row(self, lease: Lease) -> Lease | None:
        return self._world.stores.rows().get((lease.scope, lease.shard))

    def _tell(self, write: str, lease: Lease, old: Lease | None, row: Lease | None) -> None:
        if row is None or old is None:
            self._world.journal.add(RowRefused(at=now(), who=self._who, write=write, shard=lease.shard))
            return
        self._world.journal.add(
            RowWritten(
                at=now(),
                who=self._who,
                write=write,
                shard=lease.shard,
                owner_before=lease.owner,
                owner=row.owner,
                before=lease.checkpoint if write == "checkpoint" else old.checkpoint,
                position=row.checkpoint,
                window=row.window,
                counter=row.counter,
            )
        )

    async def _ask(self, operation: str, ask: Callable[[], Awaitable[T]]) -> T:
        world, chances = self._world, self._world.scenario.chances
        await anyio.sleep(world.time("store", chances.store_time))
        if world.closed or world.out("store", self._who) or world.happens("store", chances.store_error):
            raise StateError(f"{operation}: the store does not answer")
        answer = await ask()
        if world.happens("store", chances.store_lost_answer):
            raise StateError(f"{operation}: the answer was lost")
        slow = operation not in {"load", "silence"} and world.out("slow", self._who)
        await anyio.sleep(SLOW_ANSWER if slow else world.time("store", chances.store_time))
        return answer


class SimSource:
    """A StreamSource; what goes wrong with it is the fake stream's business."""

    def __init__(self, world: World, who: str) -> None:
        self._world = world
        self._who = who

    async def describe(self) -> StreamFacts:
        return await self._world.stream.describe()

    async def list_shards(self) -> list[Shard]:
        return await self._world.stream.list_shards()

    async def open_shard(self, shard: str, at: Position) -> ShardReader:
        reader = await self._world.stream.open_shard(shard, at)
        if at == LATEST:
            self._world.opened_at_latest[shard] = now()
        self._world.journal.add(Opened(at=now(), who=self._who, shard=shard, position=at))
        return _SimReader(self._world, self._who, shard, reader)


class _SimReader:
    def __init__(self, world: World, who: str, shard: str, reader: ShardReader) -> None:
        self._world = world
        self._who = who
        self._shard = shard
        self._reader = reader

    async def read(self, *, limit: int) -> ShardPage:
        self._world.journal.add(ReadAsked(at=now(), who=self._who, shard=self._shard))
        return await self._reader.read(limit=limit)


class SimDestination:
    """A FailureDestination."""

    def __init__(self, world: World, who: str) -> None:
        self._world = world
        self._who = who

    async def send(self, failure: FailureRecord) -> None:
        world, send = self._world, next(self._world.sends)
        request, info = failure.body["requestContext"], failure.body["KinesisBatchInfo"]
        sequences = tuple(record["kinesis"]["sequenceNumber"] for record in failure.event["Records"])
        told = (info["startSequenceNumber"], info["endSequenceNumber"], info["batchSize"], info["shardId"])
        assert told == (sequences[0], sequences[-1], len(sequences), failure.shard), failure
        world.journal.add(
            SendBegan(
                at=now(),
                who=self._who,
                send=send,
                shard=failure.shard,
                sequences=sequences,
                condition=request["condition"],
                count=request["approximateInvokeCount"],
            )
        )
        await anyio.sleep(world.time("destination", world.scenario.chances.function_time))
        taken = not (
            world.closed or world.out("destination", self._who) or world.happens("destination", world.scenario.chances.refusal)
        )
        world.journal.add(SendEnded(at=now(), who=self._who, send=send, taken=taken))
        if not taken:
            raise DestinationError("send: the destination does not answer", code="unavailable")
        await anyio.sleep(world.time("destination", world.scenario.chances.function_time))

    async def probe(self) -> None:
        await anyio.lowlevel.checkpoint()


class SimInvoker:
    """An Invoker: the function, with all that it may do to a batch."""

    def __init__(self, world: World, who: str) -> None:
        self._world = world
        self._who = who

    async def invoke(self, make_event: MakeEvent, *, request_id: str, function_arn: str) -> Outcome:
        event = make_event()
        assert request_id
        assert function_arn == self._world.scenario.mapping.function_arn
        world, call = self._world, next(self._world.calls)
        sequences = tuple(record["kinesis"]["sequenceNumber"] for record in event["Records"])
        world.journal.add(
            Began(
                at=now(),
                who=self._who,
                call=call,
                shard=event["shardId"] if "shardId" in event else event["Records"][0]["eventID"].split(":")[0],
                sequences=sequences,
                window=event["window"]["start"] if "window" in event else None,
                seen=tuple(event["state"].get("seen", ())) if "window" in event else (),
                final=event.get("isFinalInvokeForWindow", False),
            )
        )
        with self._told(call) as told:
            chances = world.scenario.chances
            hangs = world.happens("function", chances.hang)
            await anyio.sleep(world.dice("function").uniform(5, 25) if hangs else world.time("function", chances.function_time))
            ending, done, outcome = Answers(world, event, sequences).answer()
            told.append(Ended(at=now(), who=self._who, call=call, ending=ending, done=done))
            return outcome

    @contextmanager
    def _told(self, call: int) -> Any:
        """Journals the end; or, after a cancellation, that nobody learnt of it."""
        told: list[Ended] = []
        try:
            yield told
        finally:
            self._world.journal.add(told[0] if told else Ended(at=now(), who=self._who, call=call, ending=Ending.CUT))
