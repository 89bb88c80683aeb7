"""DynamoDB and its streams of the embedded endpoint as aiobotocore sees them: over real sockets on loopback."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError, ConnectionClosedError

from runtime.local import LocalEndpoint

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient
    from types_aiobotocore_dynamodbstreams.client import DynamoDBStreamsClient

ACCOUNT = "123456789012"
REGION = "eu-west-1"
SESSION = get_session()
START = 1_800_000_000.0


@asynccontextmanager
async def client(endpoint: LocalEndpoint, service: Any) -> AsyncIterator[Any]:
    async with SESSION.create_client(
        service,
        region_name=REGION,
        endpoint_url=endpoint.url,
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="any",
        config=AioConfig(retries={"total_max_attempts": 1}),
    ) as made:
        yield made


class World:
    """An endpoint whose clock a test moves, its clients, and a table `orders` with a stream."""

    def __init__(self, endpoint: LocalEndpoint, dynamodb: "DynamoDBClient", streams: "DynamoDBStreamsClient") -> None:
        self.endpoint = endpoint
        self.dynamodb = dynamodb
        self.streams = streams
        self.now = START
        self.arn = ""

    async def put(self, key: str = "a", **attributes: Any) -> None:
        await self.dynamodb.put_item(TableName="orders", Item={"id": {"S": key}, **attributes})

    async def shards(self) -> list[str]:
        description: Any = (await self.streams.describe_stream(StreamArn=self.arn))["StreamDescription"]
        return [shard["ShardId"] for shard in description["Shards"]]

    async def iterator(self, shard: str | None = None, kind: Any = "TRIM_HORIZON") -> str:
        shard_id = (await self.shards())[0] if shard is None else shard
        answer = await self.streams.get_shard_iterator(StreamArn=self.arn, ShardId=shard_id, ShardIteratorType=kind)
        return answer["ShardIterator"]

    async def read(self, iterator: str | None = None) -> Any:
        return await self.streams.get_records(ShardIterator=iterator or await self.iterator())

    async def local(self, path: str, *, status: int = 200, **body: Any) -> Any:
        async with aiohttp.ClientSession() as http, http.post(f"{self.endpoint.url}/_local/{path}", json=body) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def fault(self, **fault: Any) -> None:
        await self.local("faults", status=201, **fault)

    async def look(self) -> Any:
        async with aiohttp.ClientSession() as http, http.get(f"{self.endpoint.url}/_local/") as response:
            return await response.json()


@asynccontextmanager
async def started() -> AsyncIterator[World]:
    worlds: list[World] = []

    def clock() -> float:
        return worlds[0].now if worlds else START

    async with (
        LocalEndpoint.start(clock=clock) as endpoint,
        client(endpoint, "dynamodb") as dynamodb,
        client(endpoint, "dynamodbstreams") as streams,
    ):
        world = World(endpoint, dynamodb, streams)
        worlds.append(world)
        created = await dynamodb.create_table(
            TableName="orders",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        world.arn = created["TableDescription"]["LatestStreamArn"]
        yield world


def error(raised: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response: Any = raised.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


async def test_an_item_with_every_type_makes_the_round_trip_into_table_and_stream() -> None:
    """DDB-21, DDB-23, DDB-25."""
    item: Any = {
        "id": {"S": "a"},
        "n": {"N": "1.5"},
        "b": {"B": b"\x00\xff"},
        "flag": {"BOOL": True},
        "null": {"NULL": True},
        "list": {"L": [{"S": "x"}, {"M": {"k": {"N": "2"}}}]},
        "ss": {"SS": ["x", "y"]},
        "ns": {"NS": ["1", "2"]},
        "bs": {"BS": [b"foo", b"bar"]},
    }
    async with started() as world:
        await world.dynamodb.get_waiter("table_exists").wait(TableName="orders")
        await world.dynamodb.put_item(TableName="orders", Item=item)
        assert (await world.dynamodb.get_item(TableName="orders", Key={"id": {"S": "a"}}))["Item"] == item
        (record,) = (await world.read())["Records"]
        assert record["dynamodb"]["NewImage"] == item
        assert record["dynamodb"]["ApproximateCreationDateTime"] == datetime.fromtimestamp(START, tz=UTC)
        assert world.arn == f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/stream/2027-01-15T08:00:00.000"
        listed = await world.streams.list_streams(TableName="orders")
        assert listed["Streams"] == [{"StreamArn": world.arn, "TableName": "orders", "StreamLabel": "2027-01-15T08:00:00.000"}]


async def test_every_operation_on_tables_and_items_is_there() -> None:
    async with started() as world:
        dynamodb = world.dynamodb
        put: Any = [{"PutRequest": {"Item": {"id": {"S": key}}}} for key in "bc"]
        await dynamodb.batch_write_item(RequestItems={"orders": put})
        await dynamodb.update_item(
            TableName="orders",
            Key={"id": {"S": "b"}},
            UpdateExpression="SET #s = :s",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={":s": {"S": "new"}},
        )
        await dynamodb.delete_item(TableName="orders", Key={"id": {"S": "c"}})
        assert (await dynamodb.scan(TableName="orders"))["Items"] == [{"id": {"S": "b"}, "state": {"S": "new"}}]
        found = await dynamodb.query(
            TableName="orders", KeyConditionExpression="id = :b", ExpressionAttributeValues={":b": {"S": "b"}}
        )
        assert found["Count"] == 1
        await dynamodb.update_time_to_live(TableName="orders", TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True})
        assert (await dynamodb.describe_time_to_live(TableName="orders"))["TimeToLiveDescription"]["AttributeName"] == "ttl"
        off = await dynamodb.update_table(TableName="orders", StreamSpecification={"StreamEnabled": False})
        assert off["TableDescription"]["TableStatus"] == "ACTIVE"
        await dynamodb.delete_table(TableName="orders")
        await dynamodb.get_waiter("table_not_exists").wait(TableName="orders")
        assert (await dynamodb.list_tables())["TableNames"] == []


async def test_a_stream_is_followed_through_roll_over_split_and_vanished_parents() -> None:
    """DDB-13, DDB-14, DDB-15."""
    async with started() as world:
        await world.put("a")
        (first,) = await world.shards()
        (second,) = (await world.local("dynamodb/rollover", table="orders", shard=first))["opened"]
        page = await world.read(await world.iterator(first))
        assert (len(page["Records"]), "NextShardIterator" in page) == (1, False)
        halves = (await world.local("dynamodb/split", table=world.arn))["opened"]
        children = await world.streams.describe_stream(
            StreamArn=world.arn, ShardFilter={"Type": "CHILD_SHARDS", "ShardId": second}
        )
        assert [shard["ParentShardId"] for shard in children["StreamDescription"]["Shards"]] == [second, second]
        assert (await world.local("dynamodb/vanish", table="orders"))["vanished"] == [first, second]
        assert await world.shards() == sorted(halves)
        with pytest.raises(ClientError) as raised:
            await world.iterator(first)
        assert error(raised) == ("ResourceNotFoundException", 400)


async def test_positions_expire_and_are_trimmed_by_the_clock() -> None:
    """DDB-11, DDB-12."""
    async with started() as world:
        await world.put("a")
        iterator = await world.iterator()
        world.now += 900
        with pytest.raises(ClientError) as raised:
            await world.read(iterator)
        assert error(raised) == ("ExpiredIteratorException", 400)
        iterator = await world.iterator()
        await world.local("dynamodb/trim", table="orders")
        with pytest.raises(ClientError) as raised:
            await world.read(iterator)
        assert error(raised) == ("TrimmedDataAccessException", 400)


async def test_a_time_to_live_delete_has_the_identity_of_the_service() -> None:
    """DDB-27."""
    async with started() as world:
        await world.put("a")
        assert await world.local("dynamodb/expire", table="orders", key={"id": {"S": "a"}}) == {"expired": 1}
        records = (await world.read())["Records"]
        assert records[1]["userIdentity"] == {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}


async def test_errors_have_aws_names_and_a_namespace() -> None:
    headers = {"Authorization": f"Credential={ACCOUNT}/20260101/{REGION}/dynamodb/aws4_request"}
    async with started() as world:
        with pytest.raises(ClientError) as raised:
            await world.dynamodb.put_item(TableName="none", Item={})
        assert error(raised) == ("ResourceNotFoundException", 400)
        with pytest.raises(ClientError) as raised:
            await world.dynamodb.scan(TableName="orders", FilterExpression="x = y")
        assert error(raised) == ("ValidationException", 400)
        with pytest.raises(ClientError) as raised:
            await world.dynamodb.describe_limits()
        assert error(raised) == ("UnknownOperationException", 400)
        types = []
        for operation, body in (("DescribeTable", {"TableName": "none"}), ("DescribeTable", {"TableName": 1}), ("Scan", {})):
            target = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", **headers}
            async with aiohttp.ClientSession() as http, http.post(world.endpoint.url, json=body, headers=target) as response:
                types.append(json.loads(await response.read())["__type"])
        assert types == [
            "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            "com.amazon.coral.service#SerializationException",
            "com.amazon.coral.validate#ValidationException",
        ]


@pytest.mark.parametrize(
    ("service", "fault", "expected"),
    [
        ("dynamodb", "throttle", ("ProvisionedThroughputExceededException", 400)),
        ("dynamodb", "error500", ("InternalServerError", 500)),
        ("dynamodb", "error503", ("ServiceUnavailable", 503)),
        ("dynamodb", "access_denied", ("AccessDeniedException", 400)),
        ("dynamodb", "expired_token", ("ExpiredTokenException", 400)),
        ("dynamodbstreams", "throttle", ("LimitExceededException", 400)),
        ("dynamodbstreams", "error500", ("InternalServerError", 500)),
        ("dynamodbstreams", "expired_iterator", ("ExpiredIteratorException", 400)),
        ("dynamodbstreams", "trimmed", ("TrimmedDataAccessException", 400)),
    ],
)
async def test_a_fault_answers_as_the_service_would(service: str, fault: str, expected: tuple[str, int]) -> None:
    async with started() as world:
        iterator = await world.iterator()
        await world.fault(service=service, fault=fault, times=1)
        with pytest.raises(ClientError) as raised:
            await (world.put() if service == "dynamodb" else world.read(iterator))
        assert error(raised) == expected
        await world.put()
        assert len((await world.read(iterator))["Records"]) == 1


async def test_describing_is_throttled_in_another_way_than_opening() -> None:
    async with started() as world:
        (shard,) = await world.shards()
        await world.fault(service="dynamodbstreams", fault="throttle")
        with pytest.raises(ClientError) as raised:
            await world.shards()
        assert error(raised) == ("LimitExceededException", 400)
        with pytest.raises(ClientError) as raised:
            await world.iterator(shard)
        assert error(raised) == ("ThrottlingException", 400)
        await world.fault(service="dynamodb", fault="throttle")
        with pytest.raises(ClientError) as raised:
            await world.dynamodb.list_tables()
        assert error(raised) == ("ThrottlingException", 400)


async def test_a_fault_of_positions_strikes_only_where_there_is_one() -> None:
    """Also when it was set for every operation."""
    async with started() as world:
        await world.fault(service="dynamodbstreams", fault="expired_iterator")
        await world.shards()
        iterator = await world.iterator()
        with pytest.raises(ClientError) as raised:
            await world.read(iterator)
        assert error(raised) == ("ExpiredIteratorException", 400)


async def test_a_fault_can_be_aimed_at_a_table_and_a_shard() -> None:
    async with started() as world:
        await world.put("a")
        (first,) = await world.shards()
        (second,) = (await world.local("dynamodb/rollover", table="orders"))["opened"]
        await world.fault(service="dynamodbstreams", fault="throttle", operation="GetRecords", table="orders", shard=second)
        await world.fault(service="dynamodbstreams", fault="throttle", operation="GetRecords", table="other")
        assert len((await world.read(await world.iterator(first)))["Records"]) == 1
        with pytest.raises(ClientError):
            await world.read(await world.iterator(second))
        await world.fault(service="dynamodb", fault="throttle", table="orders")
        put: Any = [{"PutRequest": {"Item": {"id": {"S": "b"}}}}]
        with pytest.raises(ClientError) as raised:
            await world.dynamodb.batch_write_item(RequestItems={"orders": put})
        assert error(raised) == ("ProvisionedThroughputExceededException", 400)


async def test_an_empty_page_keeps_the_place_and_a_duplicate_page_comes_twice() -> None:
    async with started() as world:
        await world.put("a")
        await world.fault(service="dynamodbstreams", fault="empty_page", times=1)
        page = await world.read()
        assert page["Records"] == []
        await world.fault(service="dynamodbstreams", fault="duplicate_page", times=1)
        pages = [page := await world.read(page["NextShardIterator"]) for _ in range(3)]
        assert [len(page["Records"]) for page in pages] == [1, 1, 0]
        assert pages[0]["Records"] == pages[1]["Records"]


async def test_an_empty_page_comes_even_at_the_end_of_a_closed_shard() -> None:
    async with started() as world:
        await world.put("a")
        shard = (await world.shards())[0]
        await world.local("dynamodb/rollover", table="orders")
        await world.fault(service="dynamodbstreams", fault="empty_page", times=1)
        page = await world.read(await world.iterator(shard))
        assert (page["Records"], "NextShardIterator" in page) == ([], True)
        page = await world.read(page["NextShardIterator"])
        assert (len(page["Records"]), "NextShardIterator" in page) == (1, False)


async def test_a_dropped_write_can_have_been_done() -> None:
    async with started() as world:
        await world.fault(service="dynamodb", fault="drop", operation="PutItem", when="after", times=1)
        with pytest.raises(ConnectionClosedError):
            await world.put("a")
        assert len((await world.read())["Records"]) == 1


async def test_tables_are_shown_counted_and_reset() -> None:
    async with started() as world:
        await world.local("dynamodb/configure", newStreamShards=2)
        await world.put("a")
        shown = await world.look()
        (table,) = shown["tables"]
        assert (table["name"], table["items"], len(table["stream"]["shards"])) == ("orders", 1, 1)
        assert shown["requests"]["dynamodb.PutItem"] == 1
        assert len(world.endpoint.dynamodb.table("orders", account=ACCOUNT, region=REGION)) == 1
        bad = await world.local("dynamodb/rollover", status=400, table="none")
        assert bad == {"error": "table 'none': there is none"}
        async with aiohttp.ClientSession() as http, http.delete(f"{world.endpoint.url}/_local/") as response:
            assert response.status == 200
        assert (await world.look())["tables"] == []
