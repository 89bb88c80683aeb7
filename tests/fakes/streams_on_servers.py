"""Streams for the contract of `StreamSource`: one on a server, or the fake, each with the same few things to do to it.

A source is judged by what it reads of the texts that were put, so a stream knows the text of a record.
"""

import base64
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import anyio
import pytest

from pollers.aws.clients import AwsClients
from pollers.dynamodb_streams import DynamodbStream
from pollers.dynamodb_streams import envelope as dynamodb_event
from pollers.errors import SourceError
from pollers.kinesis import KinesisStream
from pollers.kinesis import envelope as kinesis_event
from pollers.kinesis_fan_out import FanOutStream
from pollers.record import TRIM_HORIZON, Position, Record, Shard
from pollers.source import ShardReader, StreamFacts, StreamSource
from tests.fakes.roads import aws_clients
from tests.fakes.stream import FakeStream
from tests.servers.behaviour import Service
from tests.servers.controls import control, set_fault
from tests.servers.running import Server
from tests.servers.streams import StreamHandle, stream_on
from tests.servers.tables import TableHandle, table_on

READ_SECONDS = 30
"""For a machine that does much else. What takes longer was lost, and the test fails."""


@dataclass
class Observed:
    requests: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, operation: str, outcome: str) -> None:
        self.requests.append((operation, outcome))


class StreamUnderTest(Protocol):
    @property
    def source(self) -> StreamSource: ...

    @property
    def tick(self) -> float:
        """Seconds after which a new record has a later arrival time."""
        ...

    async def put(self, *texts: str, key: str = "key") -> None:
        """One after another, so in this order."""
        ...

    def text(self, record: Record) -> str: ...

    async def open_shards(self) -> list[str]: ...

    async def end(self, shard: str) -> None:
        """The shard takes no more records; what it holds can be read to its end."""
        ...


OpenStream = Callable[[], AbstractAsyncContextManager[StreamUnderTest]]
"""Makes a stream with one shard that no other test knows."""


@dataclass(frozen=True, kw_only=True)
class KinesisUnderTest:
    source: KinesisStream
    handle: StreamHandle
    observed: Observed
    clients: AwsClients
    tick: float = 0.02

    def missing(self) -> StreamSource:
        """The source of a stream that is not there."""
        return KinesisStream(self.clients, f"{self.handle.arn}-missing", observe=self.observed, clock=time.time)

    async def put(self, *texts: str, key: str = "key") -> None:
        await self.handle.put(*texts, key=key)

    def text(self, record: Record) -> str:
        return base64.b64decode(kinesis_event([record])["Records"][0]["kinesis"]["data"]).decode()

    async def open_shards(self) -> list[str]:
        return await self.handle.open_shards()

    async def end(self, shard: str) -> None:
        await self.handle.split(shard)

    async def fault(self, fault: str, **more: Any) -> None:
        """The embedded endpoint does this to requests about the stream."""
        await set_fault(self.handle.server, fault, service="kinesis", stream=self.handle.name, **more)

    async def trim(self) -> None:
        """The embedded endpoint forgets what the stream holds."""
        await control(self.handle.server, "kinesis/trim", stream=self.handle.name, records=1_000_000)


@dataclass(frozen=True, kw_only=True)
class DynamodbUnderTest:
    source: DynamodbStream
    handle: TableHandle
    observed: Observed
    clients: AwsClients
    tick: float = 1.05

    def missing(self) -> StreamSource:
        arn = self.handle.stream_arn.replace(self.handle.name, f"{self.handle.name}-missing")
        return DynamodbStream(self.clients, arn, observe=self.observed, clock=time.time)

    async def put(self, *texts: str, key: str = "key") -> None:
        await self.handle.put(*texts, key=key)

    def text(self, record: Record) -> str:
        return str(dynamodb_event([record])["Records"][0]["dynamodb"]["NewImage"]["text"]["S"])

    async def open_shards(self) -> list[str]:
        return await self.handle.open_shards()

    async def end(self, shard: str) -> None:
        """No server but the embedded endpoint ends a shard alone: all of them end, with the stream."""
        await self.handle.disable_stream()
        assert shard not in await self.open_shards()

    async def fault(self, fault: str, **more: Any) -> None:
        await set_fault(self.handle.server, fault, service="dynamodbstreams", table=self.handle.name, **more)

    async def trim(self) -> None:
        await control(self.handle.server, "dynamodb/trim", table=self.handle.name)


@dataclass(kw_only=True)
class FakeUnderTest:
    source: FakeStream
    tick: float = 0.02
    texts: dict[str, str] = field(default_factory=dict)

    async def put(self, *texts: str, key: str = "key") -> None:
        for text in texts:
            (sequence,) = self.source.put(key)
            self.texts[sequence] = text

    def text(self, record: Record) -> str:
        return self.texts[record.id]

    async def open_shards(self) -> list[str]:
        return self.source.open_shards()

    async def end(self, shard: str) -> None:
        self.source.split(shard)


@asynccontextmanager
async def kinesis_under_test(
    server: Server, monkeypatch: pytest.MonkeyPatch, *, shards: int = 1
) -> AsyncIterator[KinesisUnderTest]:
    _talk_to(server, monkeypatch)
    observed = Observed()
    async with stream_on(server, shards=shards) as handle, aws_clients() as clients:
        source = KinesisStream(clients, handle.arn, observe=observed, clock=time.time)
        yield KinesisUnderTest(source=source, handle=handle, observed=observed, clients=clients)


@dataclass(frozen=True, kw_only=True)
class PushedUnderTest(KinesisUnderTest):
    """A stream whose records are pushed."""

    source: "_ConsumerEach"  # type: ignore[assignment]  # its shards are read otherwise
    consumer: str
    """ARN of one that nobody uses yet."""
    told: list[tuple[str, SourceError | None]]

    def missing(self) -> StreamSource:
        return self.reading(f"{self.handle.arn}-missing/consumer/app:1")

    def reading(self, consumer: str) -> FanOutStream:
        return FanOutStream(self.clients, consumer, observe=self.observed, clock=time.time, tell=self.tell)

    def tell(self, shard: str, error: SourceError | None) -> None:
        self.told.append((shard, error))


@dataclass(kw_only=True)
class _ConsumerEach:
    """A `StreamSource` that reads each shard it opens by a consumer of its own: one consumer has one reader of a shard."""

    handle: StreamHandle
    make: Callable[[str], FanOutStream]
    first: FanOutStream
    count: int = 1
    opened: list[ShardReader] = field(default_factory=list)

    async def describe(self) -> StreamFacts:
        return await self.first.describe()

    async def list_shards(self) -> list[Shard]:
        return await self.first.list_shards()

    async def open_shard(self, shard: str, at: Position) -> ShardReader:
        self.count += 1
        stream = self.make(await self.handle.register(f"app-{self.count}"))
        self.opened.append(await stream.open_shard(shard, at))
        return self.opened[-1]

    def close(self) -> None:
        for reader in self.opened:
            reader.close()


@asynccontextmanager
async def pushed_under_test(
    server: Server, monkeypatch: pytest.MonkeyPatch, *, shards: int = 1
) -> AsyncIterator[PushedUnderTest]:
    _talk_to(server, monkeypatch)
    observed, told = Observed(), list[tuple[str, SourceError | None]]()
    async with stream_on(server, shards=shards) as handle, aws_clients() as clients:

        def make(consumer: str) -> FanOutStream:
            return FanOutStream(clients, consumer, observe=observed, clock=time.time, tell=lambda *said: told.append(said))

        consumer = await handle.register("app")
        source = _ConsumerEach(handle=handle, make=make, first=make(consumer))
        try:
            yield PushedUnderTest(source=source, handle=handle, observed=observed, clients=clients, consumer=consumer, told=told)
        finally:
            source.close()


@asynccontextmanager
async def dynamodb_under_test(server: Server, monkeypatch: pytest.MonkeyPatch, **table: Any) -> AsyncIterator[DynamodbUnderTest]:
    """`table`: as `table_on` takes it."""
    _talk_to(server, monkeypatch)
    observed = Observed()
    async with table_on(server, **table) as handle, aws_clients() as clients:
        source = DynamodbStream(clients, handle.stream_arn, observe=observed, clock=time.time)
        yield DynamodbUnderTest(source=source, handle=handle, observed=observed, clients=clients)


@asynccontextmanager
async def fake_under_test() -> AsyncIterator[FakeUnderTest]:
    yield FakeUnderTest(source=FakeStream(clock=anyio.current_time))


ServerStream = KinesisUnderTest | DynamodbUnderTest
OpenServerStream = Callable[[], AbstractAsyncContextManager[ServerStream]]


def opener(service: Service, server: Server, monkeypatch: pytest.MonkeyPatch) -> OpenServerStream:
    if service is Service.KINESIS:
        return partial(kinesis_under_test, server, monkeypatch)
    return partial(dynamodb_under_test, server, monkeypatch)


def _talk_to(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)


async def read_all(stream: StreamUnderTest, reader: ShardReader, *, limit: int = 1000, until: int | None = None) -> list[str]:
    """The texts of a shard up to its end; or, with `until`, up to so many of them and two empty pages more."""
    found: list[str] = []
    empty = 0
    with anyio.fail_after(READ_SECONDS):
        while until is None or len(found) < until or empty < 2:
            page = await reader.read(limit=limit)
            assert len(page.records) <= limit
            found += texts(stream, page.records)
            if page.ended:
                assert until is None, f"the shard ended after {len(found)} records"
                return found
            if not page.records:
                empty += 1
    return found


def texts(stream: StreamUnderTest, records: Iterable[Record]) -> list[str]:
    return [stream.text(record) for record in records]


async def only_shard(stream: StreamUnderTest, at: Position) -> ShardReader:
    (shard,) = await stream.open_shards()
    return await stream.source.open_shard(shard, at)


async def all_records(stream: StreamUnderTest, count: int) -> list[Record]:
    """The first records of the only shard."""
    reader = await only_shard(stream, TRIM_HORIZON)
    found: list[Record] = []
    with anyio.fail_after(READ_SECONDS):
        while len(found) < count:
            found += (await reader.read(limit=1000)).records
    return found
