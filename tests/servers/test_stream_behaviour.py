"""What the catalogue says of the streams of a server is what they do, as `test_behaviour.py` for queues."""

import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import pytest
from botocore.exceptions import ClientError

from tests.servers.behaviour import Service, flag_names
from tests.servers.controls import NotControllable, control
from tests.servers.running import Server
from tests.servers.streams import StreamHandle, stream_on
from tests.servers.subscriptions import pushed_until, subscribing
from tests.servers.tables import TableHandle, table_on

if TYPE_CHECKING:
    from types_aiobotocore_dynamodbstreams.type_defs import RecordTypeDef
    from types_aiobotocore_kinesis.type_defs import GetRecordsOutputTypeDef, GetShardIteratorInputTypeDef

_MOST_READS = 20


async def ends_split_shards(server: Server) -> bool:
    async with stream_on(server) as stream:
        (parent,) = await stream.open_shards()
        await stream.put("a", "b")
        children = await stream.split(parent)
        assert len(children) == 2
        return await read_to_end(stream, parent) == [b"a", b"b"]


async def child_shards(server: Server) -> bool:
    async with stream_on(server) as stream:
        (parent,) = await stream.open_shards()
        children = await stream.split(parent)
        try:
            page = await read(stream, await iterator(stream, parent))
        except ClientError:
            return False
        return {child["ShardId"] for child in page.get("ChildShards", [])} == set(children)


async def pages_list_shards(server: Server) -> bool:
    async with stream_on(server, shards=5) as stream:
        first = await stream.client.list_shards(StreamName=stream.name, MaxResults=3)
        if len(first["Shards"]) != 3:
            return False
        try:
            second = await stream.client.list_shards(NextToken=first["NextToken"])
        except ClientError:
            return False
        return len(second["Shards"]) == 2 and "NextToken" not in second


async def milliseconds_behind(server: Server) -> bool:
    async with stream_on(server) as stream:
        (shard,) = await stream.open_shards()
        await stream.put("a", "b")
        time.sleep(0.05)  # noqa: ASYNC251 - age, and nothing else runs
        first = await read(stream, await iterator(stream, shard), limit=1)
        second = await read(stream, first["NextShardIterator"])
        assert [len(page["Records"]) for page in (first, second)] == [1, 1]
        return first["MillisBehindLatest"] > 0 and second["MillisBehindLatest"] == 0


async def refuses_future_timestamps(server: Server) -> bool:
    async with stream_on(server) as stream:
        (shard,) = await stream.open_shards()
        return await is_refused(iterator(stream, shard, ShardIteratorType="AT_TIMESTAMP", Timestamp=time.time() + 3600))


async def refuses_bad_sequence_numbers(server: Server) -> bool:
    async with stream_on(server) as stream:
        (shard,) = await stream.open_shards()
        return await is_refused(
            iterator(stream, shard, ShardIteratorType="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber="123456789")
        )


async def refuses_garbage_iterators(server: Server) -> bool:
    async with stream_on(server) as stream:
        return await is_refused(read(stream, "garbage"))


async def pushes_records(server: Server) -> bool:
    async with stream_on(server) as stream, subscribing(server) as subscriber:
        (shard,) = await stream.open_shards()
        try:
            events = await subscriber.subscribe(await stream.register("app"), shard, "LATEST")
        except ClientError:
            return False
        await stream.put("a")
        return await pushed_until(events, "Records") != []


async def refuses_early_subscriptions(server: Server) -> bool:
    return await refuses_to_push(server, second=True)


async def refuses_unknown_subscriptions(server: Server) -> bool:
    return await refuses_to_push(server, second=False)


async def refuses_to_push(server: Server, *, second: bool) -> bool:
    """A second subscription at once, or one of a shard that is not there, with the error that says so."""
    async with stream_on(server) as stream, subscribing(server) as subscriber:
        (shard,) = await stream.open_shards()
        try:
            consumer = await stream.register("app")
            if second:
                await subscriber.subscribe(consumer, shard)
        except ClientError:
            return False
        try:
            await subscriber.subscribe(consumer, shard if second else "shardId-000000000077")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            return str(code) == ("ResourceInUseException" if second else "ResourceNotFoundException")
        return False


async def ends_pushed_shards(server: Server) -> bool:
    async with stream_on(server) as stream, subscribing(server) as subscriber:
        (shard,) = await stream.open_shards()
        await stream.put("a")
        await stream.split(shard)
        try:
            events = await subscriber.subscribe(await stream.register("app"), shard)
        except ClientError:
            return False
        pushed = await pushed_until(events, "ChildShards")
        return sum(len(event.get("Records", ())) for event in pushed) == 1


async def ends_disabled_streams(server: Server) -> bool:
    return await ends_when_disabled(server, "a", "b")


async def ends_empty_shards(server: Server) -> bool:
    return await ends_when_disabled(server)


async def ends_when_disabled(server: Server, *puts: str) -> bool:
    async with table_on(server) as table:
        await table.put(*puts)
        await table.disable_stream()
        try:
            (shard,) = await table.shards()
            records, ended = await read_table(table, shard["ShardId"])
        except ClientError:
            return False
        return len(records) == len(puts) and ended and "EndingSequenceNumber" in shard["SequenceNumberRange"]


async def refuses_unknown_shards(server: Server) -> bool:
    async with table_on(server) as table:
        (shard,) = await table.open_shards()
        try:
            await table_iterator(table, shard[:-1] + ("1" if shard[-1] != "1" else "2"))
        except ClientError as error:
            return str(error.response["Error"]["Code"]) == "ResourceNotFoundException"
        return False


async def several_open_shards(server: Server) -> bool:
    return await opens_when_told(server, "split", 2)


async def rolls_over_shards(server: Server) -> bool:
    return await opens_when_told(server, "rollover", 1)


async def opens_when_told(server: Server, what: str, count: int) -> bool:
    """Whether the only shard can be told to close and to go on in so many children. No service of AWS can be told so."""
    async with table_on(server) as table:
        (shard,) = await table.open_shards()
        await table.put("a")
        try:
            await control(server, f"dynamodb/{what}", table=table.name)
        except NotControllable:
            return False
        parent, *children = sorted(await table.shards(), key=lambda each: each.get("ParentShardId", ""))
        assert [child.get("ParentShardId") for child in children] == [shard] * count
        records, ended = await read_table(table, shard)
        return parent["ShardId"] == shard and len(records) == 1 and ended


async def ttl_user_identity(server: Server) -> bool:
    async with table_on(server) as table:
        await table.client.update_time_to_live(
            TableName=table.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
        )
        await table.put_item(pk={"S": "key"}, until={"N": "1"})
        try:
            await control(server, "dynamodb/expire", table=table.name)
        except NotControllable:
            return False
        (shard,) = await table.open_shards()
        _, removed = (await read_table(table, shard))[0]
        return removed["userIdentity"] == {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}


async def hexadecimal_event_ids(server: Server) -> bool:
    async with table_on(server) as table:
        await table.put("a")
        (shard,) = await table.open_shards()
        (record,) = (await read_table(table, shard))[0]
        return re.fullmatch("[0-9a-f]{32}", record["eventID"]) is not None


async def silent_when_unchanged(server: Server) -> bool:
    async with table_on(server) as table:
        for _ in range(2):
            await table.put_item(pk={"S": "key"}, n={"N": "1"})
        (shard,) = await table.open_shards()
        return len((await read_table(table, shard))[0]) == 1


async def atomic_writes(server: Server) -> bool:
    """An update of many attributes gives threads the time to come between its condition and its writing."""
    async with table_on(server) as table:
        names = ", ".join(f"a{number} = :mine" for number in range(50))

        async def write(key: str, number: int) -> None:
            with suppress(table.client.exceptions.ConditionalCheckFailedException):
                await table.client.update_item(
                    TableName=table.name,
                    Key={"pk": {"S": key}},
                    UpdateExpression=f"SET {names}",
                    ConditionExpression="attribute_not_exists(a0)",
                    ExpressionAttributeValues={":mine": {"N": str(number)}},
                )
                winners.append(number)

        for attempt in range(10):
            winners: list[int] = []
            async with anyio.create_task_group() as writers:
                for number in range(10):
                    writers.start_soon(write, f"key-{attempt}", number, name=f"writer {number}")
            if len(winners) > 1:
                return False
        return True


OBSERVE_KINESIS: dict[str, Callable[[Server], Awaitable[bool]]] = {
    observe.__name__: observe
    for observe in (
        ends_split_shards,
        child_shards,
        pages_list_shards,
        milliseconds_behind,
        refuses_future_timestamps,
        refuses_bad_sequence_numbers,
        refuses_garbage_iterators,
        pushes_records,
        refuses_early_subscriptions,
        refuses_unknown_subscriptions,
        ends_pushed_shards,
    )
}
OBSERVE_DYNAMODB: dict[str, Callable[[Server], Awaitable[bool]]] = {
    observe.__name__: observe
    for observe in (
        atomic_writes,
        ends_disabled_streams,
        ends_empty_shards,
        refuses_unknown_shards,
        hexadecimal_event_ids,
        silent_when_unchanged,
        several_open_shards,
        rolls_over_shards,
        ttl_user_identity,
    )
}


@pytest.mark.parametrize("flag", sorted(OBSERVE_KINESIS))
async def test_the_catalogue_tells_the_truth_of_kinesis(kinesis_server: Server, flag: str) -> None:
    assert await OBSERVE_KINESIS[flag](kinesis_server) is getattr(kinesis_server.kinesis, flag)


@pytest.mark.parametrize("flag", sorted(OBSERVE_DYNAMODB))
async def test_the_catalogue_tells_the_truth_of_dynamodb(dynamodb_server: Server, flag: str) -> None:
    assert await OBSERVE_DYNAMODB[flag](dynamodb_server) is getattr(dynamodb_server.dynamodb, flag)


def test_every_flag_of_streams_is_observed() -> None:
    assert flag_names(Service.KINESIS) == OBSERVE_KINESIS.keys()
    assert flag_names(Service.DYNAMODB) == OBSERVE_DYNAMODB.keys()


async def iterator(stream: StreamHandle, shard: str, **position: object) -> str:
    """Of TRIM_HORIZON unless a position is given."""
    request: GetShardIteratorInputTypeDef = {"StreamName": stream.name, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    request |= position  # type: ignore[typeddict-item] # further keys of the same request
    return (await stream.client.get_shard_iterator(**request))["ShardIterator"]


async def read(stream: StreamHandle, at: str, *, limit: int = 1000) -> "GetRecordsOutputTypeDef":
    return await stream.client.get_records(ShardIterator=at, Limit=limit)


async def read_to_end(stream: StreamHandle, shard: str) -> list[bytes] | None:
    """What a shard holds; None if the server refuses, or if the shard does not end."""
    found: list[bytes] = []
    try:
        at = await iterator(stream, shard)
        for _ in range(_MOST_READS):
            page = await read(stream, at)
            found += [record["Data"] for record in page["Records"]]
            at = page.get("NextShardIterator", "")
            if not at:
                return found
    except ClientError:
        return None
    return None


async def table_iterator(table: TableHandle, shard: str) -> str:
    """Of TRIM_HORIZON."""
    answer = await table.streams.get_shard_iterator(StreamArn=table.stream_arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return answer["ShardIterator"]


async def read_table(table: TableHandle, shard: str) -> "tuple[list[RecordTypeDef], bool]":
    """What a shard holds up to its end or an empty answer, and whether it has ended."""
    at = await table_iterator(table, shard)
    found: list[RecordTypeDef] = []
    for _ in range(_MOST_READS):
        page = await table.streams.get_records(ShardIterator=at)
        found += page["Records"]
        at = page.get("NextShardIterator", "")
        if not at:
            return found, True
        if not page["Records"]:
            break
    return found, False


async def is_refused(call: Awaitable[object]) -> bool:
    try:
        await call
    except ClientError as error:
        return error.response["Error"]["Code"] in ("InvalidArgumentException", "ValidationException")
    return False
