"""Kinesis of the embedded endpoint as aiobotocore sees it: operations, errors, faults, over real sockets on loopback."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from runtime.local import LocalEndpoint

if TYPE_CHECKING:
    from types_aiobotocore_kinesis.client import KinesisClient

ACCOUNT = "123456789012"
REGION = "eu-west-1"
SESSION = get_session()
SIGNED = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/kinesis/aws4_request, SignedHeaders=h, Signature=0"
}
HALF = 1 << 127
ZERO, ONE, TWO, THREE = (f"shardId-{number:012}" for number in range(4))


@asynccontextmanager
async def client(endpoint: LocalEndpoint, **config: Any) -> AsyncIterator["KinesisClient"]:
    settings = AioConfig(retries={"total_max_attempts": 1}, **config)
    async with SESSION.create_client(
        "kinesis",
        region_name=REGION,
        endpoint_url=endpoint.url,
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="any",
        config=settings,
    ) as made:
        yield made


@asynccontextmanager
async def started(shards: int = 1) -> AsyncIterator[tuple[LocalEndpoint, "KinesisClient"]]:
    """An endpoint with a stream `s`, and a client."""
    async with LocalEndpoint.start() as endpoint, client(endpoint) as kinesis:
        await kinesis.create_stream(StreamName="s", ShardCount=shards)
        yield endpoint, kinesis


async def local(endpoint: LocalEndpoint, method: str, path: str, expected: int = 200, **body: Any) -> Any:
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{endpoint.url}/_local/{path}", json=body or None) as response,
    ):
        assert response.status == expected, await response.text()
        return await response.json()


async def set_fault(endpoint: LocalEndpoint, **fault: Any) -> None:
    await local(endpoint, "POST", "faults", 201, service="kinesis", **fault)


async def iterator(kinesis: "KinesisClient", shard: str = ZERO, kind: Any = "TRIM_HORIZON", **more: Any) -> str:
    answer = await kinesis.get_shard_iterator(StreamName="s", ShardId=shard, ShardIteratorType=kind, **more)
    return str(answer["ShardIterator"])


async def read(kinesis: "KinesisClient", shard: str = ZERO) -> list[bytes]:
    page = await kinesis.get_records(ShardIterator=await iterator(kinesis, shard))
    return [record["Data"] for record in page["Records"]]


def error(raised: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response: Any = raised.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


# Operations


async def test_a_record_makes_the_round_trip() -> None:
    async with started() as (_endpoint, kinesis):
        before = datetime.now(UTC) - timedelta(seconds=1)
        put = await kinesis.put_record(StreamName="s", Data=b"\x00\xff duck", PartitionKey="Zürich")
        page = await kinesis.get_records(ShardIterator=await iterator(kinesis), Limit=10)
        (record,) = page["Records"]
        assert (record["Data"], record["PartitionKey"]) == (b"\x00\xff duck", "Zürich")
        assert (record["SequenceNumber"], put["ShardId"]) == (put["SequenceNumber"], ZERO)
        assert "EncryptionType" not in record
        assert before < record["ApproximateArrivalTimestamp"] < datetime.now(UTC) + timedelta(seconds=1)
        assert (page["MillisBehindLatest"], "ChildShards" in page) == (0, False)
        again = await kinesis.get_records(ShardIterator=page["NextShardIterator"])
        assert again["Records"] == []


async def test_a_timestamp_with_a_fraction_finds_its_record() -> None:
    """KIN-15: the arrival that a record shows is the place where it is found."""
    async with started() as (_endpoint, kinesis):
        for number in range(3):
            await kinesis.put_record(StreamName="s", Data=str(number).encode(), PartitionKey="k")
            time.sleep(0.003)  # noqa: ASYNC251 - milliseconds apart on the server's clock
        page = await kinesis.get_records(ShardIterator=await iterator(kinesis))
        for number, record in enumerate(page["Records"]):
            at = await iterator(kinesis, kind="AT_TIMESTAMP", Timestamp=record["ApproximateArrivalTimestamp"])
            found = (await kinesis.get_records(ShardIterator=at))["Records"]
            assert found[0]["Data"] == str(number).encode()


async def test_a_stream_is_read_through_a_split_and_a_merge_each_record_once_and_parents_first() -> None:
    """KIN-40, KIN-41: children are begun when every parent has ended, at TRIM_HORIZON."""
    async with started(2) as (_endpoint, kinesis):
        sent: dict[str, int] = {}

        async def put(count: int) -> None:
            numbers = range(len(sent), len(sent) + count)
            entries: Any = [{"Data": str(n).encode(), "PartitionKey": f"key-{n % 7}"} for n in numbers]
            answer = await kinesis.put_records(StreamName="s", Records=entries)
            sent.update(zip((result["SequenceNumber"] for result in answer["Records"]), numbers, strict=True))

        await put(50)
        await kinesis.split_shard(StreamName="s", ShardToSplit=ZERO, NewStartingHashKey=str(HALF // 2))
        await put(50)
        await kinesis.merge_shards(StreamName="s", ShardToMerge=THREE, AdjacentShardToMerge=ONE)
        await put(50)
        await kinesis.update_shard_count(StreamName="s", TargetShardCount=4, ScalingType="UNIFORM_SCALING")
        await put(50)
        assert len(sent) == 200
        seen = await read_whole_stream(kinesis)
        assert sorted(seen) == sorted(sent)
        for key in range(7):
            assert [sent[it] for it in seen if sent[it] % 7 == key] == list(range(key, 200, 7))


async def read_whole_stream(kinesis: "KinesisClient") -> list[str]:
    """The sequence numbers in the order in which a reader that follows the tree sees them."""
    listed = {shard["ShardId"]: shard for shard in (await kinesis.list_shards(StreamName="s"))["Shards"]}
    closed = {shard for shard, it in listed.items() if "EndingSequenceNumber" in it["SequenceNumberRange"]}
    parents = {
        shard: {parent for name, parent in it.items() if name in ("ParentShardId", "AdjacentParentShardId")}
        for shard, it in listed.items()
    }
    seen, done = list[str](), list[str]()
    while len(done) < len(listed):
        for shard in listed:
            if shard in done or not parents[shard] <= set(done):
                continue
            children = await read_shard(kinesis, shard, seen, ends=shard in closed)
            assert children == ({child for child, its in parents.items() if shard in its} if shard in closed else set())
            done.append(shard)
    return seen


async def read_shard(kinesis: "KinesisClient", shard: str, seen: list[str], *, ends: bool) -> set[str]:
    """To its end, or to its tip while it is open. Gives back the children told."""
    page = await kinesis.get_records(ShardIterator=await iterator(kinesis, shard), Limit=7)
    while "NextShardIterator" in page and (page["Records"] or ends):
        seen += [record["SequenceNumber"] for record in page["Records"]]
        page = await kinesis.get_records(ShardIterator=page["NextShardIterator"], Limit=7)
    assert (page["Records"], page["MillisBehindLatest"]) == ([], 0)
    return {child["ShardId"] for child in page.get("ChildShards", ())}


async def test_shards_are_listed_by_pages_and_botocores_own_way_is_refused_as_on_aws() -> None:
    async with started(5) as (_endpoint, kinesis):
        found, page = list[str](), await kinesis.list_shards(StreamName="s", MaxResults=2)
        while True:
            found += [shard["ShardId"] for shard in page["Shards"]]
            if "NextToken" not in page:
                break
            page = await kinesis.list_shards(NextToken=page["NextToken"], MaxResults=2)
        assert found == [f"shardId-{number:012}" for number in range(5)]
        with pytest.raises(ClientError, match="NextToken and StreamName cannot be provided together"):
            async for _ in kinesis.get_paginator("list_shards").paginate(StreamName="s", PaginationConfig={"PageSize": 2}):
                pass


async def test_streams_are_described_and_named_by_their_arn() -> None:
    async with started() as (_endpoint, kinesis):
        summary = (await kinesis.describe_stream_summary(StreamName="s"))["StreamDescriptionSummary"]
        arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"
        assert (summary["StreamARN"], summary["StreamStatus"], summary["OpenShardCount"]) == (arn, "ACTIVE", 1)
        assert isinstance(summary["StreamCreationTimestamp"], datetime)
        await kinesis.get_waiter("stream_exists").wait(StreamName="s")
        await kinesis.increase_stream_retention_period(StreamARN=arn, RetentionPeriodHours=48)
        described = (await kinesis.describe_stream(StreamARN=arn))["StreamDescription"]
        assert (described["RetentionPeriodHours"], len(described["Shards"])) == (48, 1)
        await kinesis.put_record(StreamARN=arn, Data=b"1", PartitionKey="k")
        assert await read(kinesis) == [b"1"]
        await kinesis.delete_stream(StreamARN=arn)
        assert (await kinesis.list_streams())["StreamNames"] == []


# Errors


async def test_errors_look_to_botocore_as_they_do_on_aws() -> None:
    async with started() as (_endpoint, kinesis):
        with pytest.raises(kinesis.exceptions.ResourceNotFoundException, match="Stream no under account"):
            await kinesis.list_shards(StreamName="no")
        with pytest.raises(kinesis.exceptions.InvalidArgumentException, match=r"Invalid ShardIterator\."):
            await kinesis.get_records(ShardIterator="garbage")
        with pytest.raises(kinesis.exceptions.ResourceInUseException):
            await kinesis.create_stream(StreamName="s", ShardCount=1)
        with pytest.raises(ClientError) as raised:
            await kinesis.get_records(ShardIterator=await iterator(kinesis), Limit=10_001)
        assert error(raised) == ("ValidationException", 400)
        with pytest.raises(kinesis.exceptions.InvalidArgumentException, match="cannot be greater than the current"):
            await iterator(kinesis, kind="AT_TIMESTAMP", Timestamp=datetime.now(UTC) + timedelta(minutes=1))
        with pytest.raises(ClientError, match="ListTagsForStream") as raised:
            await kinesis.list_tags_for_stream(StreamName="s")
        assert error(raised) == ("UnknownOperationException", 400)


async def test_answers_have_the_content_type_of_json_1_1() -> None:
    async with (
        started() as (endpoint, _kinesis),
        aiohttp.ClientSession(headers=SIGNED) as http,
        http.post(endpoint.url, json={"StreamName": "no"}, headers={"X-Amz-Target": "Kinesis_20131202.ListShards"}) as response,
    ):
        assert (response.status, response.headers["Content-Type"]) == (400, "application/x-amz-json-1.1")
        assert (await response.json(content_type=None))["__type"] == "ResourceNotFoundException"
        assert len(response.headers["x-amzn-RequestId"]) == 36
        assert "x-amzn-query-error" not in response.headers


async def test_a_request_without_a_signature_is_refused() -> None:
    async with (
        LocalEndpoint.start() as endpoint,
        aiohttp.ClientSession() as http,
        http.post(endpoint.url, json={}, headers={"X-Amz-Target": "Kinesis_20131202.ListStreams"}) as response,
    ):
        assert (await response.json(content_type=None))["__type"] == "MissingAuthenticationTokenException"
        assert response.status == 400


async def test_sqs_and_kinesis_live_in_one_endpoint() -> None:
    async with started() as (endpoint, _kinesis), aiohttp.ClientSession(headers=SIGNED) as http:
        headers = {"X-Amz-Target": "AmazonSQS.CreateQueue"}
        async with http.post(endpoint.url, json={"QueueName": "q"}, headers=headers) as response:
            assert (response.status, response.headers["Content-Type"]) == (200, "application/x-amz-json-1.0")
        shown = await local(endpoint, "GET", "")
        assert ([it["name"] for it in shown["queues"]], [it["name"] for it in shown["streams"]]) == (["q"], ["s"])
        assert shown["requests"] == {"kinesis.CreateStream": 1, "sqs.CreateQueue": 1}
        assert {"kinesis", "sqs"} <= set((await local(endpoint, "GET", "health"))["services"])


# Faults


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("throttle", ("ProvisionedThroughputExceededException", 400)),
        ("error500", ("InternalFailure", 500)),
        ("error503", ("ServiceUnavailable", 503)),
        ("access_denied", ("AccessDeniedException", 400)),
        ("expired_token", ("ExpiredTokenException", 400)),
        ("expired_iterator", ("ExpiredIteratorException", 400)),
    ],
)
async def test_faults_that_answer_with_an_error(fault: str, expected: tuple[str, int]) -> None:
    """KIN-14, KIN-18. The iterator that was refused is good for the next try, or a new one is."""
    async with started() as (endpoint, kinesis):
        await kinesis.put_record(StreamName="s", Data=b"1", PartitionKey="k")
        await set_fault(endpoint, fault=fault, operation="GetRecords", times=1)
        with pytest.raises(ClientError) as raised:
            await read(kinesis)
        assert error(raised) == expected
        assert await read(kinesis) == [b"1"]


async def test_a_fault_can_be_aimed_at_a_stream_and_a_shard() -> None:
    async with started(2) as (endpoint, kinesis):
        await set_fault(endpoint, fault="throttle", operation="GetRecords", stream="s", shard=ONE)
        await set_fault(endpoint, fault="throttle", operation="ListShards", stream="other")
        assert await read(kinesis) == []
        with pytest.raises(ClientError, match=f"Rate exceeded for shard {ONE} in stream s under account {ACCOUNT}"):
            await read(kinesis, ONE)
        await kinesis.list_shards(StreamName="s")
        await kinesis.create_stream(StreamName="other", ShardCount=2)
        with pytest.raises(kinesis.exceptions.LimitExceededException):
            await kinesis.list_shards(StreamARN=f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/other")
        (first, second) = (await local(endpoint, "GET", "faults"))["faults"]
        assert (first["stream"], first["shard"], first["fired"]) == ("s", ONE, 1)
        assert (second["stream"], second["shard"], second["fired"]) == ("other", None, 1)


async def test_connections_that_drop_dawdle_or_break_off() -> None:
    async with started() as (endpoint, kinesis), client(endpoint, read_timeout=0.2) as hasty:
        await set_fault(endpoint, fault="drop", operation="PutRecord", when="after", times=1)
        with pytest.raises(ConnectionClosedError):
            await kinesis.put_record(StreamName="s", Data=b"1", PartitionKey="k")
        assert await read(kinesis) == [b"1"]
        await set_fault(endpoint, fault="truncate", operation="GetRecords", times=1)
        with pytest.raises(ConnectionClosedError):
            await read(kinesis)
        await set_fault(endpoint, fault="slow", operation="GetRecords", seconds=0.4, times=1)
        with pytest.raises(ReadTimeoutError):
            await read(hasty)
        assert await read(kinesis) == [b"1"]


async def test_garbage_is_a_success_that_cannot_be_read() -> None:
    async with started() as (endpoint, _kinesis):
        await set_fault(endpoint, fault="garbage", operation="ListStreams")
        async with (
            aiohttp.ClientSession(headers={**SIGNED, "X-Amz-Target": "Kinesis_20131202.ListStreams"}) as http,
            http.post(endpoint.url, json={}) as response,
        ):
            assert response.status == 200
            with pytest.raises(json.JSONDecodeError):
                json.loads(await response.read())


async def test_pages_that_are_empty_or_come_twice() -> None:
    """KIN-16."""
    async with started() as (endpoint, kinesis):
        await kinesis.put_record(StreamName="s", Data=b"1", PartitionKey="k")
        await set_fault(endpoint, fault="empty_page", shard=ZERO, times=1)
        await set_fault(endpoint, fault="duplicate_page", stream="s", times=1)
        found, following = list[list[bytes]](), await iterator(kinesis)
        for _ in range(4):
            page = await kinesis.get_records(ShardIterator=following)
            found.append([record["Data"] for record in page["Records"]])
            following = page["NextShardIterator"]
        assert found == [[], [b"1"], [b"1"], []]


async def test_faults_that_make_no_sense_for_kinesis_say_so() -> None:
    async with started() as (endpoint, _kinesis):
        for fault, names in (
            ({"fault": "duplicate"}, "duplicate has no meaning for kinesis"),
            ({"fault": "throttle", "queue": "q"}, "queue has no meaning for kinesis"),
            ({"fault": "empty_page", "operation": "PutRecord"}, "operation 'PutRecord' is not one of *, GetRecords"),
            ({"fault": "empty_page", "when": "after"}, "when has no meaning for empty_page"),
            ({"fault": "throttle", "stream": ""}, "stream ''"),
        ):
            answer = await local(endpoint, "POST", "faults", 400, service="kinesis", **fault)
            assert names in answer["error"]


# Control


async def test_control_calls_trim_expire_and_set() -> None:
    async with started() as (endpoint, kinesis):
        entries: Any = [{"Data": str(number).encode(), "PartitionKey": "k"} for number in range(3)]
        await kinesis.put_records(StreamName="s", Records=entries)
        old = await iterator(kinesis)
        assert await local(endpoint, "POST", "kinesis/trim", stream="s", records=2) == {"trimmed": {ZERO: 2}}
        assert [record["Data"] for record in (await kinesis.get_records(ShardIterator=old))["Records"]] == [b"2"]
        await local(endpoint, "POST", "kinesis/expire", stream="s")
        with pytest.raises(kinesis.exceptions.ExpiredIteratorException, match="tolerated delay of 300000 milliseconds"):
            await kinesis.get_records(ShardIterator=old)
        await local(endpoint, "POST", "kinesis/settings", readsPerSecond=1)
        assert await read(kinesis) == [b"2"]
        with pytest.raises(kinesis.exceptions.ProvisionedThroughputExceededException):
            await read(kinesis)
        assert "no stream" in (await local(endpoint, "POST", "kinesis/trim", 400, stream="no", records=1))["error"]
        for path in ("kinesis/fly", "kinesis/trim/more", "s3/trim"):
            assert "there is no POST" in (await local(endpoint, "POST", path, 404, stream="s"))["error"]
        async with aiohttp.ClientSession() as http:
            for body, names in ((b"{", "not JSON"), (b"[]", "not a JSON object")):
                async with http.post(f"{endpoint.url}/_local/kinesis/trim", data=body) as response:
                    assert (response.status, names in (await response.json())["error"]) == (400, True)


async def test_the_state_is_shown_and_reset() -> None:
    async with started() as (endpoint, kinesis):
        await kinesis.put_record(StreamName="s", Data=b"1", PartitionKey="k")
        await kinesis.split_shard(StreamName="s", ShardToSplit=ZERO, NewStartingHashKey=str(HALF))
        (stream,) = (await local(endpoint, "GET", ""))["streams"]
        assert (stream["name"], stream["status"]) == ("s", "ACTIVE")
        assert [(it["id"], it["parents"], it["open"], it["records"]) for it in stream["shards"]] == [
            (ZERO, [], False, 1),
            (ONE, [ZERO], True, 0),
            (TWO, [ZERO], True, 0),
        ]
        assert len(endpoint.kinesis.stream("s", account=ACCOUNT, region=REGION).shards[ZERO].records) == 1
        await local(endpoint, "DELETE", "")
        assert (await local(endpoint, "GET", ""))["streams"] == []
        assert (await kinesis.list_streams())["StreamNames"] == []
