"""Fresh Kinesis streams on a running server, with a client that is not the product's."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from tests.servers.clients import kinesis_client
from tests.servers.running import Server

if TYPE_CHECKING:
    from types_aiobotocore_kinesis.client import KinesisClient
    from types_aiobotocore_kinesis.type_defs import DescribeStreamInputTypeDef, ShardTypeDef

_SETTLE_SECONDS = 20.0
_PER_REQUEST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHandle:
    server: Server
    name: str
    arn: str
    """As the server tells it."""
    client: "KinesisClient"

    async def put(self, *texts: str, key: str = "key") -> list[str]:
        """Puts one after another, so in this order; gives back the sequence numbers."""
        return [
            (await self.client.put_record(StreamName=self.name, Data=text.encode(), PartitionKey=key))["SequenceNumber"]
            for text in texts
        ]

    async def put_many(self, *texts: str) -> None:
        """Each under a key of its own, in few requests, so over all open shards; in order within a shard."""
        for begin in range(0, len(texts), _PER_REQUEST):
            records = [{"Data": text.encode(), "PartitionKey": text} for text in texts[begin : begin + _PER_REQUEST]]
            answer = await self.client.put_records(StreamName=self.name, Records=records)  # type: ignore[arg-type] # plain dicts
            assert answer.get("FailedRecordCount", 0) == 0

    async def shards(self) -> "list[ShardTypeDef]":
        """All that the server shows, by DescribeStream, which every server pages as AWS does."""
        found: list[ShardTypeDef] = []
        more = True
        while more:
            request: DescribeStreamInputTypeDef = {"StreamName": self.name}
            if found:
                request["ExclusiveStartShardId"] = found[-1]["ShardId"]
            described = (await self.client.describe_stream(**request))["StreamDescription"]
            found += described["Shards"]
            more = described["HasMoreShards"]
        return found

    async def open_shards(self) -> list[str]:
        return [shard["ShardId"] for shard in await self.shards() if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]

    async def split(self, shard: str) -> list[str]:
        """Splits a shard in the middle of its range; gives back its children when the stream is active again."""
        (found,) = [each for each in await self.shards() if each["ShardId"] == shard]
        low, high = (int(found["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey"))
        middle = str((low + high) // 2)
        await self.client.split_shard(StreamName=self.name, ShardToSplit=shard, NewStartingHashKey=middle)
        await self.wait_active()
        return [each["ShardId"] for each in await self.shards() if each.get("ParentShardId") == shard]

    async def merge(self, shard: str, neighbour: str) -> str:
        """Merges two shards that lie side by side; gives back their child when the stream is active again."""
        await self.client.merge_shards(StreamName=self.name, ShardToMerge=shard, AdjacentShardToMerge=neighbour)
        await self.wait_active()
        (child,) = [each["ShardId"] for each in await self.shards() if "AdjacentParentShardId" in each]
        return child

    async def register(self, name: str) -> str:
        """Registers a consumer; gives back its ARN when it is active."""
        consumer = (await self.client.register_stream_consumer(StreamARN=self.arn, ConsumerName=name))["Consumer"]["ConsumerARN"]
        deadline = anyio.current_time() + _SETTLE_SECONDS
        while True:
            described = await self.client.describe_stream_consumer(ConsumerARN=consumer)
            if described["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE":
                return consumer
            assert anyio.current_time() < deadline, f"{consumer} is not active after {_SETTLE_SECONDS:g} s"
            await anyio.sleep(0.02)

    async def wait_active(self) -> None:
        deadline = anyio.current_time() + _SETTLE_SECONDS
        while (status := await self._status()) != "ACTIVE":
            assert anyio.current_time() < deadline, f"{self.name} is {status} after {_SETTLE_SECONDS:g} s"
            await anyio.sleep(0.02)

    async def _status(self) -> str:
        summary = await self.client.describe_stream_summary(StreamName=self.name)
        return str(summary["StreamDescriptionSummary"]["StreamStatus"])


@asynccontextmanager
async def stream_on(server: Server, *, shards: int = 1) -> AsyncIterator[StreamHandle]:
    """A stream that no other test knows, active. The client closes at the end; the stream stays, like the queues of `queue_on`."""
    name = f"t-{uuid.uuid4().hex}"
    async with kinesis_client(server) as client:
        await client.create_stream(StreamName=name, ShardCount=shards)
        arn = (await client.describe_stream_summary(StreamName=name))["StreamDescriptionSummary"]["StreamARN"]
        stream = StreamHandle(server=server, name=name, arn=arn, client=client)
        await stream.wait_active()
        yield stream
