"""Fresh DynamoDB tables with a stream on a running server, with clients that are not the product's."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from tests.servers.clients import dynamodb_client, dynamodb_streams_client
from tests.servers.running import Server

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient
    from types_aiobotocore_dynamodb.literals import StreamViewTypeType
    from types_aiobotocore_dynamodb.type_defs import AttributeValueTypeDef
    from types_aiobotocore_dynamodbstreams.client import DynamoDBStreamsClient
    from types_aiobotocore_dynamodbstreams.type_defs import DescribeStreamInputTypeDef, ShardTypeDef

_SETTLE_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableHandle:
    """A table whose key is the string `pk`."""

    server: Server
    name: str
    stream_arn: str
    """As the server tells it."""
    client: "DynamoDBClient"
    streams: "DynamoDBStreamsClient"

    async def put(self, *texts: str, key: str = "key") -> None:
        """Puts one after another, so in this order, under one key; no item is equal to the one that it replaces."""
        for text in texts:
            item = {"pk": {"S": key}, "text": {"S": text}, "serial": {"S": uuid.uuid4().hex}}
            await self.client.put_item(TableName=self.name, Item=item)

    async def put_item(self, **attributes: "AttributeValueTypeDef") -> None:
        await self.client.put_item(TableName=self.name, Item=attributes)

    async def delete(self, key: str) -> None:
        await self.client.delete_item(TableName=self.name, Key={"pk": {"S": key}})

    async def shards(self) -> "list[ShardTypeDef]":
        """All that the server shows, in its order."""
        found: list[ShardTypeDef] = []
        request: DescribeStreamInputTypeDef = {"StreamArn": self.stream_arn}
        while True:
            described = (await self.streams.describe_stream(**request))["StreamDescription"]
            found += described.get("Shards", [])
            if "LastEvaluatedShardId" not in described:
                return found
            request["ExclusiveStartShardId"] = described["LastEvaluatedShardId"]

    async def open_shards(self) -> list[str]:
        return [shard["ShardId"] for shard in await self.shards() if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]

    async def disable_stream(self) -> None:
        """What is in the stream stays readable; its shards end."""
        await self.client.update_table(TableName=self.name, StreamSpecification={"StreamEnabled": False})


@asynccontextmanager
async def table_on(server: Server, *, view: "StreamViewTypeType" = "NEW_AND_OLD_IMAGES") -> AsyncIterator[TableHandle]:
    """A table that no other test knows, active, with a stream. The clients close at the end; the table stays."""
    name = f"t-{uuid.uuid4().hex}"
    async with dynamodb_client(server) as client, dynamodb_streams_client(server) as streams:
        await client.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        )
        deadline = anyio.current_time() + _SETTLE_SECONDS
        while (table := (await client.describe_table(TableName=name))["Table"])["TableStatus"] != "ACTIVE":
            assert anyio.current_time() < deadline, f"{name} is {table['TableStatus']} after {_SETTLE_SECONDS:g} s"
            await anyio.sleep(0.02)
        yield TableHandle(server=server, name=name, stream_arn=table["LatestStreamArn"], client=client, streams=streams)
