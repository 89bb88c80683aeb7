"""SNS, S3, EventBridge and Lambda of the embedded endpoint as aiobotocore sees them: over real sockets on loopback."""

import base64
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from runtime.local import LocalEndpoint

if TYPE_CHECKING:
    from types_aiobotocore_events.client import EventBridgeClient
    from types_aiobotocore_lambda.client import LambdaClient
    from types_aiobotocore_s3.client import S3Client
    from types_aiobotocore_sns.client import SNSClient

ACCOUNT = "123456789012"
REGION: Final = "eu-west-1"
SESSION = get_session()
KEY = "aws/lambda/0-1/shardId-0/2019/11/14/2019-11-14T00.38.06-a b+c&é=?#%"


@asynccontextmanager
async def client(service: Any, url: str, *, account: str = ACCOUNT, **config: Any) -> AsyncIterator[Any]:
    async with SESSION.create_client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=account,
        aws_secret_access_key="any",
        config=AioConfig(retries={"total_max_attempts": 1}, **config),
    ) as made:
        yield made


@asynccontextmanager
async def sns_started() -> AsyncIterator[tuple[LocalEndpoint, "SNSClient", str]]:
    async with LocalEndpoint.start() as endpoint, client("sns", endpoint.url) as sns:
        yield endpoint, sns, (await sns.create_topic(Name="t"))["TopicArn"]


@asynccontextmanager
async def s3_started() -> AsyncIterator[tuple[LocalEndpoint, "S3Client"]]:
    async with LocalEndpoint.start() as endpoint, client("s3", endpoint.url) as s3:
        await s3.create_bucket(Bucket="failures", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield endpoint, s3


@asynccontextmanager
async def events_started() -> AsyncIterator[tuple[LocalEndpoint, "EventBridgeClient"]]:
    async with LocalEndpoint.start() as endpoint, client("events", endpoint.url) as events:
        yield endpoint, events


@asynccontextmanager
async def lambda_started() -> AsyncIterator[tuple[LocalEndpoint, "LambdaClient"]]:
    async with LocalEndpoint.start() as endpoint, client("lambda", endpoint.url) as functions:
        endpoint.sinks.functions.declare("f")
        yield endpoint, functions


async def local(endpoint: LocalEndpoint, path: str, *, method: str = "POST", status: int = 200, **body: Any) -> Any:
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{endpoint.url}/_local/{path}", json=body) as response,
    ):
        assert response.status == status, await response.text()
        return await response.json()


def signed(service: str) -> dict[str, str]:
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/{service}/aws4_request, Signature=0"}


def error(raised: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response: Any = raised.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


# SNS


async def test_a_message_is_published_and_can_be_read() -> None:
    """DST-20."""
    async with sns_started() as (endpoint, sns, topic):
        sent = await sns.publish(
            TopicArn=topic,
            Message='{"a":"<é>&"}',
            Subject="failed",
            MessageAttributes={
                "one": {"DataType": "String", "StringValue": "v"},
                "two": {"DataType": "Binary", "BinaryValue": b"\x00"},
            },
        )
        (published,) = (await local(endpoint, "sns/received"))["received"]
        assert (published["id"], published["topic"], published["message"]) == (sent["MessageId"], topic, '{"a":"<é>&"}')
        assert published["subject"] == "failed"
        assert published["attributes"] == {
            "one": {"DataType": "String", "StringValue": "v"},
            "two": {"DataType": "Binary", "BinaryValue": "AA=="},
        }
        assert (await local(endpoint, "", method="GET"))["topics"] == [{"arn": topic, "received": 1}]
        assert len(endpoint.sinks.topics.received) == 1


async def test_a_fifo_topic_takes_groups() -> None:
    """DST-03."""
    async with sns_started() as (endpoint, sns, _topic):
        topic = (await sns.create_topic(Name="t.fifo", Attributes={"FifoTopic": "true"}))["TopicArn"]
        with pytest.raises(ClientError) as raised:
            await sns.publish(TopicArn=topic, Message="m")
        assert error(raised) == ("InvalidParameter", 400)
        await sns.publish(TopicArn=topic, Message="m", MessageGroupId="g", MessageDeduplicationId="d")
        assert (endpoint.sinks.topics.received[0].group, endpoint.sinks.topics.received[0].dedup) == ("g", "d")


async def test_a_topic_that_is_not_there_is_not_found_and_other_actions_are_refused() -> None:
    async with sns_started() as (_endpoint, sns, topic):
        with pytest.raises(sns.exceptions.NotFoundException) as raised:
            await sns.publish(TopicArn=topic + "2", Message="m")
        assert error(raised) == ("NotFound", 404)
        with pytest.raises(ClientError) as refused:
            await sns.list_subscriptions()
        assert error(refused) == ("InvalidAction", 400)
        with pytest.raises(ClientError) as refused:
            await sns.publish(TopicArn=topic, Message="{}", MessageStructure="json")
        assert error(refused) == ("InvalidParameter", 400)


# S3


async def test_an_object_makes_the_round_trip_under_any_key() -> None:
    """DST-36; with the checksums that aiobotocore sends and wants by default."""
    async with s3_started() as (endpoint, s3):
        put = await s3.put_object(
            Bucket="failures", Key=KEY, Body=b'{"a":1}', ContentType="application/json", Metadata={"k": "v"}
        )
        assert "ChecksumCRC32" in put
        got = await s3.get_object(Bucket="failures", Key=KEY)
        assert (await got["Body"].read(), got["ContentType"], got["Metadata"]) == (b'{"a":1}', "application/json", {"k": "v"})
        assert (got["ETag"], got["ChecksumCRC32"]) == (put["ETag"], put["ChecksumCRC32"])
        head = await s3.head_object(Bucket="failures", Key=KEY)
        assert (head["ContentLength"], head["ETag"]) == (7, put["ETag"])
        (received,) = (await local(endpoint, "s3/received"))["received"]
        assert (received["bucket"], received["key"], received["body"]) == ("failures", KEY, '{"a":1}')
        assert (await local(endpoint, "", method="GET"))["buckets"] == [{"name": "failures", "objects": 1}]
        assert endpoint.sinks.buckets.get("failures", KEY).body == b'{"a":1}'


async def test_a_bucket_can_be_named_by_host() -> None:
    headers = {**signed("s3"), "Host": "failures.localhost:4566"}
    async with s3_started() as (endpoint, _s3):
        async with aiohttp.ClientSession() as http, http.put(f"{endpoint.url}/a/k", data=b"x", headers=headers) as response:
            assert response.status == 200
        assert [it.key for it in endpoint.sinks.buckets.objects("failures")] == ["a/k"]


async def test_a_chunked_body_is_stored_without_its_frame() -> None:
    """As clients send it that stream, over TLS."""
    checksum = base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big"))
    headers = {
        **signed("s3"),
        "Content-Encoding": "aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": "5",
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    raw = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + checksum + b"\r\n\r\n"
    async with s3_started() as (endpoint, s3):
        for sent, status in ((raw, 200), (raw.replace(b"hello", b"jello"), 400)):
            async with (
                aiohttp.ClientSession() as http,
                http.put(f"{endpoint.url}/failures/k", data=sent, headers=headers) as response,
            ):
                assert response.status == status, await response.text()
        assert await (await s3.get_object(Bucket="failures", Key="k"))["Body"].read() == b"hello"


async def test_objects_are_listed_by_prefix_and_page() -> None:
    async with s3_started() as (_endpoint, s3):
        assert (await s3.list_objects_v2(Bucket="failures"))["KeyCount"] == 0
        for key in ("a/1 é", "a/2", "a/3", "b"):
            await s3.put_object(Bucket="failures", Key=key, Body=b"xy")
        seen: list[str] = []
        async for page in s3.get_paginator("list_objects_v2").paginate(
            Bucket="failures", Prefix="a/", PaginationConfig={"PageSize": 2}
        ):
            seen += [entry["Key"] for entry in page["Contents"]]
            assert {entry["Size"] for entry in page["Contents"]} == {2}
        assert seen == ["a/1 é", "a/2", "a/3"]


async def test_an_object_is_deleted_over_http() -> None:
    async with s3_started() as (_endpoint, s3):
        await s3.put_object(Bucket="failures", Key="a b/ü", Body=b"x")
        for _ in range(2):  # the second time nothing is there, which S3 does not mind
            deleted = await s3.delete_object(Bucket="failures", Key="a b/ü")
            assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert (await s3.list_objects_v2(Bucket="failures"))["KeyCount"] == 0
        with pytest.raises(s3.exceptions.NoSuchBucket):
            await s3.delete_object(Bucket="other", Key="k")


async def test_what_is_not_there_is_not_found_in_s3() -> None:
    async with s3_started() as (_endpoint, s3):
        with pytest.raises(ClientError) as raised:
            await s3.put_object(Bucket="other", Key="k", Body=b"")
        assert error(raised) == ("NoSuchBucket", 404)
        with pytest.raises(s3.exceptions.NoSuchKey):
            await s3.get_object(Bucket="failures", Key="k")
        with pytest.raises(ClientError) as raised:
            await s3.head_object(Bucket="failures", Key="k")
        assert error(raised) == ("404", 404)
        await s3.head_bucket(Bucket="failures")
        with pytest.raises(ClientError) as raised:
            await s3.head_bucket(Bucket="other")
        assert error(raised) == ("404", 404)
        with pytest.raises(ClientError) as raised:
            await s3.create_bucket(Bucket="failures", CreateBucketConfiguration={"LocationConstraint": REGION})
        assert error(raised) == ("BucketAlreadyOwnedByYou", 409)


async def test_what_s3_has_and_the_endpoint_has_not_is_refused() -> None:
    async with s3_started() as (_endpoint, s3):
        await s3.put_object(Bucket="failures", Key="k", Body=b"x", IfNoneMatch="*")
        with pytest.raises(ClientError) as raised:
            await s3.put_object(Bucket="failures", Key="k", Body=b"y", IfNoneMatch="*")
        assert error(raised) == ("PreconditionFailed", 412)
        with pytest.raises(ClientError) as raised:
            await s3.get_bucket_acl(Bucket="failures")
        assert error(raised) == ("NotImplemented", 501)
        with pytest.raises(ClientError) as raised:
            await s3.get_object(Bucket="failures", Key="k", Range="bytes=0-1")
        assert error(raised) == ("NotImplemented", 501)
        with pytest.raises(ClientError) as raised:
            await s3.list_objects_v2(Bucket="failures", Delimiter="/")
        assert error(raised) == ("NotImplemented", 501)
        with pytest.raises(ClientError) as raised:
            await s3.list_buckets()
        assert error(raised) == ("NotImplemented", 501)
        with pytest.raises(ClientError) as raised:
            await s3.put_object(Bucket="failures", Key="k", Body=b"y", ExpectedBucketOwner="0" * 12)
        assert error(raised) == ("AccessDenied", 403)


# EventBridge


async def test_events_are_put_on_buses_and_failed_entries_do_not_stop_others() -> None:
    async with events_started() as (endpoint, events):
        bus = (await events.create_event_bus(Name="mine"))["EventBusArn"]
        entry: Any = {"Source": "esm", "DetailType": "failure", "Detail": '{"a":1}'}
        entries: Any = [
            {**entry, **more} for more in ({"EventBusName": "mine"}, {"Detail": "no"}, {}, {"EventBusName": "nowhere"})
        ]
        answer = await events.put_events(Entries=entries)
        assert answer["FailedEntryCount"] == 1
        assert [result.get("ErrorCode") for result in answer["Entries"]] == [None, "MalformedDetail", None, None]
        received = await local(endpoint, "events/received")
        assert [event["bus"] for event in received["received"]] == [bus, bus.replace("mine", "default")]
        assert (received["received"][0]["id"], received["received"][0]["detail"]) == (answer["Entries"][0]["EventId"], '{"a":1}')
        assert [event["bus"].rpartition("/")[2] for event in received["lost"]] == ["nowhere"]
        assert {bus["received"] for bus in (await local(endpoint, "", method="GET"))["buses"]} == {1}
        with pytest.raises(ClientError) as raised:
            await events.create_event_bus(Name="mine")
        assert error(raised) == ("ResourceAlreadyExistsException", 400)
        with pytest.raises(ClientError) as raised:
            await events.put_events(Entries=[entry] * 11)
        assert error(raised) == ("ValidationException", 400)


# Lambda


async def test_a_function_is_invoked_with_and_without_waiting() -> None:
    async with lambda_started() as (endpoint, functions):
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
        event = await functions.invoke(FunctionName=arn, InvocationType="Event", Payload=b'{"a":1}')
        assert (event["StatusCode"], await event["Payload"].read()) == (202, b"")
        waited: Any = await functions.invoke(FunctionName="f", Qualifier="3", Payload=b"{}")
        assert (waited["StatusCode"], waited["ExecutedVersion"], await waited["Payload"].read()) == (200, "3", b"null")
        assert "FunctionError" not in waited
        received = (await local(endpoint, "lambda/received"))["received"]
        assert [(it["function"], it["qualifier"], it["kind"], it["payload"]) for it in received] == [
            ("f", None, "Event", '{"a":1}'),
            ("f", "3", "RequestResponse", "{}"),
        ]
        assert (await local(endpoint, "", method="GET"))["functions"] == [{"name": "f", "received": 2}]


async def test_a_function_can_be_declared_to_fail() -> None:
    async with lambda_started() as (endpoint, functions):
        await local(endpoint, "lambda/declare", name="bad", error="it fails")
        waited = await functions.invoke(FunctionName="bad", Payload=b"{}")
        assert (waited["FunctionError"], waited["ExecutedVersion"]) == ("Unhandled", "$LATEST")
        assert b"it fails" in await waited["Payload"].read()
        for given, names in (({}, "name None"), ({"name": "a b"}, "'a b'"), ({"name": "f", "x": 1}, "'x'")):
            assert names in (await local(endpoint, "lambda/declare", status=400, **given))["error"]


async def test_a_function_that_is_not_there_and_a_payload_that_is_no_json_are_refused() -> None:
    async with lambda_started() as (endpoint, functions):
        with pytest.raises(functions.exceptions.ResourceNotFoundException) as raised:
            await functions.invoke(FunctionName="g", Payload=b"{}")
        assert raised.value.response["Error"]["Message"] == f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:g"
        with pytest.raises(functions.exceptions.InvalidRequestContentException):
            await functions.invoke(FunctionName="f", Payload=b"{")
        large = BytesIO(b'"' + b"x" * 1024 * 1024 + b'"')
        with pytest.raises(functions.exceptions.RequestTooLargeException):
            await functions.invoke(FunctionName="f", InvocationType="Event", Payload=large)
        with pytest.raises(ClientError) as refused:
            await functions.invoke(FunctionName="f", InvocationType="DryRun", Payload=b"{}")
        assert error(refused) == ("InvalidParameterValueException", 400)
        with pytest.raises(ClientError) as refused:
            await functions.get_function(FunctionName="f")
        assert error(refused) == ("UnknownOperationException", 404)
        assert endpoint.sinks.functions.received == []


# Faults

ERRORS = {
    "sns": [("throttle", "Throttling", 400), ("error500", "InternalError", 500), ("access_denied", "AuthorizationError", 403)],
    "s3": [("throttle", "SlowDown", 503), ("error500", "InternalError", 500), ("access_denied", "AccessDenied", 403)],
    "events": [
        ("throttle", "ThrottlingException", 400),
        ("error500", "InternalException", 500),
        ("access_denied", "AccessDeniedException", 400),
    ],
    "lambda": [
        ("throttle", "TooManyRequestsException", 429),
        ("error500", "ServiceException", 500),
        ("access_denied", "AccessDeniedException", 403),
    ],
}


async def use(service: str, made: Any) -> None:
    """Whatever a failure record is sent with."""
    match service:
        case "sns":
            await made.publish(TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:t", Message="m")
        case "s3":
            await made.put_object(Bucket="b", Key="k", Body=b"x")
        case "events":
            await made.put_events(Entries=[{"Source": "s", "DetailType": "d", "Detail": "{}"}])
        case _:
            await made.invoke(FunctionName="f", InvocationType="Event", Payload=b"{}")


@pytest.mark.parametrize("service", ERRORS)
async def test_faults_strike_sinks_with_the_errors_of_the_service(service: str) -> None:
    aims = {"sns": ("topic", "t"), "s3": ("bucket", "b"), "events": ("bus", "default"), "lambda": ("function", "f")}
    name, value = aims[service]
    async with LocalEndpoint.start() as endpoint, client(service, endpoint.url) as made:
        endpoint.sinks.topics.create("t", account=ACCOUNT, region=REGION, fifo=False)
        endpoint.sinks.buckets.create("b", account=ACCOUNT)
        endpoint.sinks.functions.declare("f")
        for fault, code, status in ERRORS[service]:
            await local(endpoint, "faults", status=201, service=service, fault=fault, times=1, **{name: "another"})
            await local(endpoint, "faults", status=201, service=service, fault=fault, times=1, **{name: value})
            with pytest.raises(ClientError) as raised:
                await use(service, made)
            assert error(raised) == (code, status)
        assert (await local(endpoint, f"{service}/received"))["received"] == []
        await use(service, made)
        assert len((await local(endpoint, f"{service}/received"))["received"]) == 1
        await local(endpoint, "", method="DELETE")
        assert (await local(endpoint, f"{service}/received"))["received"] == []
