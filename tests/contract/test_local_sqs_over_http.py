"""The embedded endpoint as aiobotocore sees it: every operation, every error, every fault, over real sockets on loopback."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import UNSIGNED
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from runtime.local import LocalEndpoint, serve_endpoint

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient

ACCOUNT = "123456789012"
REGION = "eu-west-1"
SESSION = get_session()
SIGNED = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/sqs/aws4_request, SignedHeaders=host, Signature=0"
}


@asynccontextmanager
async def client(
    endpoint: LocalEndpoint, *, account: str = ACCOUNT, region: str = REGION, **config: Any
) -> AsyncIterator["SQSClient"]:
    settings = AioConfig(retries={"total_max_attempts": 1}, **config)
    async with SESSION.create_client(
        "sqs",
        region_name=region,
        endpoint_url=endpoint.url,
        aws_access_key_id=account,
        aws_secret_access_key="any",
        config=settings,
    ) as made:
        yield made


@asynccontextmanager
async def started(**queue: str) -> AsyncIterator[tuple[LocalEndpoint, "SQSClient", str]]:
    """An endpoint, a client, and the URL of a queue with the given attributes."""
    async with LocalEndpoint.start() as endpoint, client(endpoint) as sqs:
        name = "q.fifo" if "FifoQueue" in queue else "q"
        yield endpoint, sqs, (await sqs.create_queue(QueueName=name, Attributes=queue))["QueueUrl"]  # type: ignore[arg-type] # plain names


async def set_fault(endpoint: LocalEndpoint, **fault: Any) -> str:
    async with aiohttp.ClientSession() as http, http.post(f"{endpoint.url}/_local/faults", json=fault) as response:
        assert response.status == 201, await response.text()
        return str((await response.json())["id"])


async def local(endpoint: LocalEndpoint, method: str, path: str) -> Any:
    async with aiohttp.ClientSession() as http, http.request(method, endpoint.url + path) as response:
        assert response.status == 200
        return await response.json()


async def receive(sqs: "SQSClient", url: str, **options: Any) -> list[Any]:
    return list((await sqs.receive_message(QueueUrl=url, **options)).get("Messages", []))


def error(raised: pytest.ExceptionInfo[ClientError]) -> tuple[str, str, int]:
    response: Any = raised.value.response
    return response["Error"]["Code"], response["Error"].get("QueryErrorCode", ""), response["ResponseMetadata"]["HTTPStatusCode"]


# Operations


async def test_a_message_makes_the_round_trip_with_everything_on_it() -> None:
    async with started() as (_endpoint, sqs, url):
        attributes: Any = {
            "Title": {"DataType": "String", "StringValue": "The Whistler"},
            "Blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        }
        trace: Any = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}}
        sent = await sqs.send_message(
            QueueUrl=url, MessageBody="héllo", MessageAttributes=attributes, MessageSystemAttributes=trace
        )
        (message,) = await receive(sqs, url, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"])
        assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "héllo")
        assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
        assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
        assert message["MessageAttributes"] == attributes
        assert len(sent["MD5OfMessageSystemAttributes"]) == 32
        system = message["Attributes"]
        assert sorted(system) == [
            "AWSTraceHeader",
            "ApproximateFirstReceiveTimestamp",
            "ApproximateReceiveCount",
            "SenderId",
            "SentTimestamp",
        ]  # SQS-22
        assert (system["ApproximateReceiveCount"], system["AWSTraceHeader"]) == ("1", "Root=1")
        assert abs(int(system["SentTimestamp"]) / 1000 - time.time()) < 5
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        assert await receive(sqs, url) == []


async def test_without_being_asked_no_attributes_come_and_an_empty_receive_has_no_messages_key() -> None:
    async with started() as (_endpoint, sqs, url):
        await sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})
        (message,) = await receive(sqs, url)
        assert sorted(message) == ["Body", "MD5OfBody", "MessageId", "ReceiptHandle"]
        assert "Messages" not in await sqs.receive_message(QueueUrl=url)


async def test_queues_are_made_found_listed_changed_and_deleted() -> None:
    async with started(VisibilityTimeout="7") as (_endpoint, sqs, url):
        assert url.endswith(f"/{ACCOUNT}/q")
        assert (await sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "7"}))["QueueUrl"] == url
        assert (await sqs.get_queue_url(QueueName="q"))["QueueUrl"] == url
        await sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "3"})
        shown: Any = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]))["Attributes"]
        assert (shown["VisibilityTimeout"], shown["DelaySeconds"]) == ("7", "3")
        assert shown["QueueArn"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
        assert "Attributes" not in await sqs.get_queue_attributes(QueueUrl=url)
        await sqs.delete_queue(QueueUrl=url)
        assert "QueueUrls" not in await sqs.list_queues()
        with pytest.raises(ClientError) as raised:
            await sqs.create_queue(QueueName="q")
        assert error(raised)[0] == "AWS.SimpleQueueService.QueueDeletedRecently"


async def test_lists_are_paged() -> None:
    async with started() as (_endpoint, sqs, _url):
        for number in range(5):
            await sqs.create_queue(QueueName=f"p{number}")
        pages = [
            page
            async for page in sqs.get_paginator("list_queues").paginate(QueueNamePrefix="p", PaginationConfig={"PageSize": 2})
        ]
        assert [[url[-2:] for url in page["QueueUrls"]] for page in pages] == [["p0", "p1"], ["p2", "p3"], ["p4"]]


async def test_batches_send_delete_and_change() -> None:
    async with started() as (_endpoint, sqs, url):
        sent = await sqs.send_message_batch(
            QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": "\x01" if n == 9 else str(n)} for n in range(10)]
        )
        assert len(sent["Successful"]) == 9
        assert [(failed["Id"], failed["Code"], failed["SenderFault"]) for failed in sent["Failed"]] == [
            ("9", "InvalidMessageContents", True)
        ]
        messages = await receive(sqs, url, MaxNumberOfMessages=10)
        handles = [message["ReceiptHandle"] for message in messages]
        changed = await sqs.change_message_visibility_batch(
            QueueUrl=url,
            Entries=[{"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": 0} for n, handle in enumerate(handles[:4])],
        )
        assert len(changed["Successful"]) == 4
        assert set(changed) == {"Successful", "ResponseMetadata"}
        deleted = await sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate([*handles[4:], "garbage"])],
        )
        assert len(deleted["Successful"]) == 5
        assert [failed["Code"] for failed in deleted["Failed"]] == ["ReceiptHandleIsInvalid"]
        assert len(await receive(sqs, url, MaxNumberOfMessages=10)) == 4
        refused = await sqs.change_message_visibility_batch(
            QueueUrl=url, Entries=[{"Id": "gone", "ReceiptHandle": handles[5], "VisibilityTimeout": 1}]
        )
        assert [failed["Code"] for failed in refused["Failed"]] == ["InvalidParameterValue"]


async def test_changed_visibility_gives_a_message_back() -> None:
    async with started() as (_endpoint, sqs, url):
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        (message,) = await receive(sqs, url)
        await sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
        (again,) = await receive(sqs, url, AttributeNames=["ApproximateReceiveCount"])
        assert again["Attributes"] == {"ApproximateReceiveCount": "2"}


async def test_counts_and_purge() -> None:
    async with started() as (endpoint, sqs, url):
        for body, delay in (("a", 0), ("b", 0), ("c", 60)):
            await sqs.send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay)
        await receive(sqs, url)
        names: Any = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        shown = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        assert shown["Attributes"] == dict.fromkeys(names, "1")
        await sqs.purge_queue(QueueUrl=url)
        assert len(endpoint.state.queue("q", account=ACCOUNT, region=REGION)) == 0
        with pytest.raises(ClientError) as raised:
            await sqs.purge_queue(QueueUrl=url)
        assert error(raised) == ("AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress", 403)


async def test_fifo_groups_deduplication_and_attempts() -> None:
    async with started(FifoQueue="true", ContentBasedDeduplication="true") as (_endpoint, sqs, url):
        first = await sqs.send_message(QueueUrl=url, MessageBody="a1", MessageGroupId="a")
        assert (await sqs.send_message(QueueUrl=url, MessageBody="a1", MessageGroupId="a"))["MessageId"] == first["MessageId"]
        await sqs.send_message(QueueUrl=url, MessageBody="a2", MessageGroupId="a", MessageDeduplicationId="own")
        messages = await receive(sqs, url, AttributeNames=["All"], MaxNumberOfMessages=10, ReceiveRequestAttemptId="x")
        assert [message["Body"] for message in messages] == ["a1", "a2"]
        assert messages[1]["Attributes"]["MessageDeduplicationId"] == "own"
        assert messages[0]["Attributes"]["SequenceNumber"] == first["SequenceNumber"]
        again = await receive(sqs, url, MaxNumberOfMessages=10, ReceiveRequestAttemptId="x")
        assert [message["ReceiptHandle"] for message in again] == [message["ReceiptHandle"] for message in messages]
        assert await receive(sqs, url) == []


async def test_worn_messages_move_to_the_dead_letter_queue_and_wake_who_waits_there() -> None:
    async with started() as (endpoint, sqs, url):
        dead = (await sqs.create_queue(QueueName="dead"))["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
        await sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})
        sent = await sqs.send_message(QueueUrl=url, MessageBody="x")
        async with client(endpoint) as other, asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(receive(other, dead, WaitTimeSeconds=10, AttributeNames=["All"]))
            await until_waiting(endpoint, "dead")
            assert len(await receive(sqs, url)) == 1
            assert await receive(sqs, url) == []
            async with asyncio.timeout(5):
                (moved,) = await waiting
        assert moved["MessageId"] == sent["MessageId"]  # SQS-28
        assert moved["Attributes"]["DeadLetterQueueSourceArn"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
        assert moved["Attributes"]["ApproximateReceiveCount"] == "2"


async def test_accounts_and_regions_are_worlds_apart() -> None:
    async with started() as (endpoint, _sqs, url):
        async with client(endpoint, account="AKIAEXAMPLE") as other:
            assert "QueueUrls" not in await other.list_queues()
            assert "/000000000000/" in (await other.create_queue(QueueName="q"))["QueueUrl"]
        async with client(endpoint, region="us-east-1") as elsewhere:
            with pytest.raises(ClientError) as raised:
                await elsewhere.send_message(QueueUrl=url, MessageBody="x")
            assert error(raised)[0] == "AWS.SimpleQueueService.NonExistentQueue"


async def test_equal_seeds_give_equal_message_ids() -> None:
    async def ids(seed: int) -> list[str]:
        async with LocalEndpoint.start(seed=seed) as endpoint, client(endpoint) as sqs:
            url = (await sqs.create_queue(QueueName="q"))["QueueUrl"]
            return [(await sqs.send_message(QueueUrl=url, MessageBody="x"))["MessageId"] for _ in range(3)]

    assert await ids(1) == await ids(1)
    assert await ids(1) != await ids(2)


# Errors


def entry(number: int = 0, **more: Any) -> dict[str, Any]:
    return {"Id": str(number), "MessageBody": "x", **more}


BIG = "x" * 1_048_576
CASES: list[tuple[str, dict[str, Any], tuple[str, str, int]]] = [
    ("send_message", {"QueueUrl": "no"}, ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", 400)),
    ("get_queue_url", {"QueueName": "no"}, ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", 400)),
    ("create_queue", {"QueueName": "q", "Attributes": {"DelaySeconds": "1"}}, ("QueueAlreadyExists", "QueueNameExists", 400)),
    ("create_queue", {"QueueName": "a b"}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("create_queue", {"QueueName": "z", "Attributes": {"Colour": "red"}}, ("InvalidAttributeName", "InvalidAttributeName", 400)),
    (
        "create_queue",
        {"QueueName": "z", "Attributes": {"DelaySeconds": "x"}},
        ("InvalidAttributeValue", "InvalidAttributeValue", 400),
    ),
    ("get_queue_attributes", {"AttributeNames": ["Colour"]}, ("InvalidAttributeName", "InvalidAttributeName", 400)),
    ("send_message", {"MessageBody": ""}, ("MissingParameter", "MissingRequiredParameterException", 400)),
    ("send_message", {"MessageBody": "\x00"}, ("InvalidMessageContents", "InvalidMessageContents", 400)),
    ("send_message", {"MessageBody": BIG + "x"}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("send_message", {"DelaySeconds": 901}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("send_message", {"MessageDeduplicationId": "x"}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("receive_message", {"WaitTimeSeconds": 21}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("receive_message", {"WaitTimeSeconds": -1}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("receive_message", {"VisibilityTimeout": 43_201}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("receive_message", {"MaxNumberOfMessages": 0}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("receive_message", {"MaxNumberOfMessages": 11}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("receive_message", {"ReceiveRequestAttemptId": "x"}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("delete_message", {"ReceiptHandle": "garbage"}, ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404)),
    (
        "change_message_visibility",
        {"ReceiptHandle": "garbage", "VisibilityTimeout": 1},
        ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404),
    ),
    (
        "change_message_visibility",
        {"ReceiptHandle": "x", "VisibilityTimeout": 43_201},
        ("InvalidParameterValue", "InvalidParameterValueException", 400),
    ),
    ("send_message_batch", {"Entries": []}, ("AWS.SimpleQueueService.EmptyBatchRequest", "EmptyBatchRequest", 400)),
    (
        "send_message_batch",
        {"Entries": [entry(n) for n in range(11)]},
        ("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "TooManyEntriesInBatchRequest", 400),
    ),
    (
        "send_message_batch",
        {"Entries": [entry(), entry()]},
        ("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinct", 400),
    ),
    (
        "send_message_batch",
        {"Entries": [entry(Id="a:b")]},
        ("AWS.SimpleQueueService.InvalidBatchEntryId", "InvalidBatchEntryId", 400),
    ),
    (
        "send_message_batch",
        {"Entries": [entry(MessageBody=BIG), entry(1)]},
        ("AWS.SimpleQueueService.BatchRequestTooLong", "BatchRequestTooLong", 400),
    ),
    (
        "delete_message_batch",
        {"Entries": [{"Id": "a", "ReceiptHandle": "x"}, {"Id": "a", "ReceiptHandle": "x"}]},
        ("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinct", 400),
    ),
    (
        "change_message_visibility_batch",
        {"Entries": []},
        ("AWS.SimpleQueueService.EmptyBatchRequest", "EmptyBatchRequest", 400),
    ),
    ("list_queues", {"MaxResults": 1001}, ("InvalidParameterValue", "InvalidParameterValueException", 400)),
    ("list_queue_tags", {}, ("AWS.SimpleQueueService.UnsupportedOperation", "UnsupportedOperation", 400)),
]
WITHOUT_URL = {"create_queue", "get_queue_url", "list_queues"}


BIG_BODY = "ignore:Sending a large body directly:ResourceWarning"
"""What aiohttp thinks of a client that sends a mebibyte in one piece, as aiobotocore does."""


@pytest.mark.filterwarnings(BIG_BODY)
async def test_errors_look_to_botocore_as_they_do_on_aws() -> None:
    async with started() as (endpoint, sqs, url):
        for operation, parameters, expected in CASES:
            full = dict(parameters)
            if operation not in WITHOUT_URL:
                full["QueueUrl"] = f"{endpoint.url}/{ACCOUNT}/{full['QueueUrl']}" if "QueueUrl" in full else url
            if operation == "send_message":
                full.setdefault("MessageBody", "x")
            with pytest.raises(ClientError) as raised:
                await getattr(sqs, operation)(**full)
            assert error(raised) == expected, (operation, str(parameters)[:100])
            request_id = raised.value.response["ResponseMetadata"]["RequestId"]
            assert len(request_id) == 36


async def test_errors_can_be_caught_by_the_classes_of_the_client() -> None:
    async with started() as (_endpoint, sqs, url):
        with pytest.raises(sqs.exceptions.QueueDoesNotExist):
            await sqs.get_queue_url(QueueName="no")
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        (message,) = await receive(sqs, url, VisibilityTimeout=0)
        with pytest.raises(sqs.exceptions.MessageNotInflight):
            await sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=1)


@pytest.mark.filterwarnings(BIG_BODY)
async def test_a_message_of_exactly_one_mebibyte_passes() -> None:
    async with started() as (_endpoint, sqs, url):
        await sqs.send_message(QueueUrl=url, MessageBody=BIG)
        (message,) = await receive(sqs, url)
        assert len(message["Body"]) == 1_048_576


async def test_fifo_errors() -> None:
    async with started(FifoQueue="true", VisibilityTimeout="0") as (_endpoint, sqs, url):
        cases: list[tuple[dict[str, Any], str]] = [
            ({"MessageDeduplicationId": "d"}, "MissingParameter"),
            ({"MessageGroupId": "g"}, "InvalidParameterValue"),
            ({"MessageGroupId": "g", "MessageDeduplicationId": "d", "DelaySeconds": 2}, "InvalidParameterValue"),
        ]
        for parameters, code in cases:
            with pytest.raises(ClientError) as raised:
                await sqs.send_message(QueueUrl=url, MessageBody="x", **parameters)
            assert error(raised)[0] == code
        with pytest.raises(ClientError) as raised:
            await sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "0", "MessageBody": "x"}])
        assert error(raised)[0] == "InvalidParameterValue"
        await sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d")
        (message,) = await receive(sqs, url)
        with pytest.raises(ClientError, match="The receipt handle has expired"):
            await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


async def test_a_request_without_a_signature_is_refused() -> None:
    async with LocalEndpoint.start() as endpoint, client(endpoint, signature_version=UNSIGNED) as sqs:
        with pytest.raises(ClientError) as raised:
            await sqs.list_queues()
        assert error(raised)[::2] == ("MissingAuthenticationToken", 403)


@pytest.mark.parametrize(
    ("target", "body", "status", "kind"),
    [
        ("AmazonSQS.ListQueues", "{", 400, "SerializationException"),
        ("AmazonSQS.ListQueues", "[]", 400, "SerializationException"),
        ("AmazonSQS.ListQueues", '{"MaxResults": "many"}', 400, "SerializationException"),
        ("AmazonSQS.SendMessage", "{}", 400, "MissingRequiredParameterException"),
        ("AmazonSNS.Publish", "{}", 400, "UnknownOperationException"),
        ("", "Action=ListQueues", 400, "UnknownOperationException"),
        ("AmazonSQS.AddPermission", "{}", 400, "UnsupportedOperation"),
    ],
)
async def test_requests_that_no_client_library_would_make(target: str, body: str, status: int, kind: str) -> None:
    async with (
        LocalEndpoint.start() as endpoint,
        aiohttp.ClientSession(headers=SIGNED) as http,
        http.post(f"{endpoint.url}/{ACCOUNT}/q", data=body, headers={"X-Amz-Target": target}) as response,
    ):
        answer = await response.json(content_type=None)
        assert (response.status, answer["__type"].rpartition("#")[2]) == (status, kind)
        assert response.headers["x-amzn-query-error"].endswith(";Sender")
        if kind == "UnsupportedOperation":
            assert "AddPermission" in answer["message"]


# Long polls


async def until_waiting(endpoint: LocalEndpoint, name: str, number: int = 1) -> None:
    """Until so many receives wait on the queue."""
    queue = endpoint.state.queue(name, account=ACCOUNT, region=REGION)
    await eventually(lambda: endpoint._polls.waiting(queue) == number)


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - what happens inside a server sets no event of ours
            await anyio.sleep(0.005)


async def test_a_long_poll_is_answered_as_soon_as_a_message_comes() -> None:
    async with started() as (endpoint, sqs, url), client(endpoint) as other, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(receive(other, url, WaitTimeSeconds=20))
        await until_waiting(endpoint, "q")
        before = time.monotonic()
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        assert [message["Body"] for message in await waiting] == ["x"]
        assert time.monotonic() - before < 1


async def test_a_long_poll_ends_empty_after_its_wait() -> None:
    async with started(ReceiveMessageWaitTimeSeconds="1") as (_endpoint, sqs, url):
        before = time.monotonic()
        assert await receive(sqs, url) == []
        assert 0.95 < time.monotonic() - before < 3


async def test_a_long_poll_sees_a_visibility_timeout_run_out() -> None:
    async with started() as (_endpoint, sqs, url):
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        await receive(sqs, url, VisibilityTimeout=1)
        before = time.monotonic()
        assert len(await receive(sqs, url, WaitTimeSeconds=10)) == 1
        assert 0.9 < time.monotonic() - before < 1.5


async def test_a_clock_of_ones_own_moves_time() -> None:
    now = 1_800_000_000.0
    async with LocalEndpoint.start(clock=lambda: now) as endpoint, client(endpoint) as sqs:
        url = (await sqs.create_queue(QueueName="q"))["QueueUrl"]
        await sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=900)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(receive(sqs, url, WaitTimeSeconds=20, AttributeNames=["SentTimestamp"]))
            await until_waiting(endpoint, "q")
            now += 900
            endpoint.wake()
            async with asyncio.timeout(2):
                (message,) = await waiting
        assert message["Attributes"] == {"SentTimestamp": "1800000000000"}


async def test_who_waits_longest_is_served_first() -> None:
    async with started() as (endpoint, sqs, url), client(endpoint) as other, asyncio.TaskGroup() as tasks:
        served: list[int] = []

        async def wait(number: int) -> None:
            await receive(other, url, WaitTimeSeconds=20)
            served.append(number)

        for number in range(4):
            tasks.create_task(wait(number))
            await until_waiting(endpoint, "q", number + 1)
        for number in range(4):
            await sqs.send_message(QueueUrl=url, MessageBody="x")
            await eventually(lambda: len(served) == number + 1)  # noqa: B023 - called only within this turn of the loop
        assert served == [0, 1, 2, 3]


async def test_a_poll_whose_client_has_gone_swallows_nothing() -> None:
    async with started() as (endpoint, sqs, url):
        headers = {**SIGNED, "X-Amz-Target": "AmazonSQS.ReceiveMessage"}
        for number in range(20):
            async with aiohttp.ClientSession(headers=headers) as http:
                poll = asyncio.ensure_future(http.post(endpoint.url, json={"QueueUrl": url, "WaitTimeSeconds": 20}))
                await until_waiting(endpoint, "q", number + 1)  # those whose clients have gone wait on, and are passed over
                poll.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await poll
            await sqs.send_message(QueueUrl=url, MessageBody="x")
            (message,) = await receive(sqs, url, WaitTimeSeconds=1)
            await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


async def test_deleting_a_queue_ends_its_polls() -> None:
    async with started() as (endpoint, sqs, url), client(endpoint) as other:
        poll = asyncio.create_task(receive(other, url, WaitTimeSeconds=20))
        await until_waiting(endpoint, "q")
        await sqs.delete_queue(QueueUrl=url)
        with pytest.raises(ClientError) as raised:
            await poll
        assert error(raised)[0] == "AWS.SimpleQueueService.NonExistentQueue"


async def test_the_endpoint_stops_at_once_with_long_polls_open() -> None:
    async with AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(LocalEndpoint.start())
        async with client(endpoint) as sqs:
            url = (await sqs.create_queue(QueueName="q"))["QueueUrl"]
            poll = asyncio.create_task(receive(sqs, url, WaitTimeSeconds=20))
            await until_waiting(endpoint, "q")
            before = time.monotonic()
            await stack.aclose()
            assert await poll == []
            assert time.monotonic() - before < 0.9


async def test_a_cancelled_endpoint_has_let_go_of_its_port() -> None:
    async with anyio.create_task_group() as tasks:
        endpoint: LocalEndpoint = await tasks.start(_served)
        port = int(endpoint.url.rpartition(":")[2])
        assert (await local(endpoint, "GET", "/_local/health"))["status"] == "ok"
        tasks.cancel_scope.cancel()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_the_endpoint_binds_loopback_only_unless_told_otherwise() -> None:
    async with LocalEndpoint.start() as endpoint:
        assert endpoint.url.startswith("http://127.0.0.1:")


async def _served(*, task_status: anyio.abc.TaskStatus[LocalEndpoint]) -> None:
    await serve_endpoint(port=0, task_status=task_status)


# Faults


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("throttle", ("RequestThrottled", "RequestThrottled", 403)),
        ("error500", ("InternalFailure", "InternalFailure", 500)),
        ("error503", ("ServiceUnavailable", "ServiceUnavailable", 503)),
        ("access_denied", ("AccessDenied", "AccessDeniedException", 403)),
        ("expired_token", ("ExpiredToken", "ExpiredTokenException", 403)),
    ],
)
@pytest.mark.parametrize(("when", "kept"), [("before", 0), ("after", 1)])
async def test_faults_that_answer_with_an_error(fault: str, expected: tuple[str, str, int], when: str, kept: int) -> None:
    async with started() as (endpoint, sqs, url):
        await set_fault(endpoint, fault=fault, operation="SendMessage", times=1, when=when)
        with pytest.raises(ClientError) as raised:
            await sqs.send_message(QueueUrl=url, MessageBody="x")
        assert error(raised) == expected
        assert len(endpoint.state.queue("q", account=ACCOUNT, region=REGION)) == kept
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        (shown,) = (await local(endpoint, "GET", "/_local/faults"))["faults"]
        assert (shown["fired"], shown["id"]) == (1, "fault-1")


async def test_botocore_retries_a_throttled_request() -> None:
    async with started() as (endpoint, _sqs, url):
        await set_fault(endpoint, fault="throttle", times=1)
        settings = AioConfig(retries={"mode": "standard", "total_max_attempts": 3})
        async with SESSION.create_client(
            "sqs",
            region_name=REGION,
            endpoint_url=endpoint.url,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="x",
            config=settings,
        ) as patient:
            answer = await patient.send_message(QueueUrl=url, MessageBody="x")
        assert answer["ResponseMetadata"]["RetryAttempts"] == 1


@pytest.mark.parametrize(("when", "kept"), [("before", 0), ("after", 1)])
async def test_a_dropped_connection(when: str, kept: int) -> None:
    async with started() as (endpoint, sqs, url):
        await set_fault(endpoint, fault="drop", operation="SendMessage", times=1, when=when)
        with pytest.raises(ConnectionClosedError):
            await sqs.send_message(QueueUrl=url, MessageBody="x")
        assert len(endpoint.state.queue("q", account=ACCOUNT, region=REGION)) == kept


async def test_a_slow_answer_runs_into_the_clients_timeout() -> None:
    async with started() as (endpoint, sqs, url), client(endpoint, read_timeout=0.2) as hasty:
        await set_fault(endpoint, fault="slow", seconds=0.5, operation="SendMessage")
        before = time.monotonic()
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        assert time.monotonic() - before >= 0.5
        with pytest.raises(ReadTimeoutError):
            await hasty.send_message(QueueUrl=url, MessageBody="x")


async def test_a_truncated_answer_breaks_off_after_the_work_was_done() -> None:
    async with started() as (endpoint, sqs, url):
        await set_fault(endpoint, fault="truncate", operation="ReceiveMessage", times=1)
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        with pytest.raises(ConnectionClosedError):
            await receive(sqs, url)
        assert endpoint.state.queue("q", account=ACCOUNT, region=REGION).in_flight == 1


async def test_garbage_is_a_success_that_cannot_be_read() -> None:
    async with started() as (endpoint, _sqs, url):
        await set_fault(endpoint, fault="garbage", operation="SendMessage")
        async with (
            aiohttp.ClientSession(headers={**SIGNED, "X-Amz-Target": "AmazonSQS.SendMessage"}) as http,
            http.post(endpoint.url, json={"QueueUrl": url, "MessageBody": "x"}) as response,
        ):
            assert response.status == 200
            with pytest.raises(json.JSONDecodeError):
                json.loads(await response.read())


async def test_a_delete_that_takes_effect_late() -> None:
    async with started(VisibilityTimeout="0") as (endpoint, sqs, url):
        await set_fault(endpoint, fault="delayed_delete", seconds=0.4)
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        (message,) = await receive(sqs, url)
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        assert len(await receive(sqs, url)) == 1
        await anyio.sleep(0.5)
        assert await receive(sqs, url) == []


async def test_a_duplicate_delivery() -> None:
    async with started() as (endpoint, sqs, url):
        await set_fault(endpoint, fault="duplicate", times=1, queue="q")
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        (first,) = await receive(sqs, url)
        (second,) = await receive(sqs, url)
        assert first["MessageId"] == second["MessageId"]
        assert first["ReceiptHandle"] != second["ReceiptHandle"]
        assert await receive(sqs, url) == []


async def test_a_refused_entry_of_a_batch() -> None:
    async with started() as (endpoint, sqs, url):
        await set_fault(endpoint, fault="refuse_entry", operation="DeleteMessageBatch", times=1, code="ServiceUnavailable")
        await sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "0", "MessageBody": "a"}, {"Id": "1", "MessageBody": "b"}])
        messages = await receive(sqs, url, MaxNumberOfMessages=2)
        answer = await sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)],
        )
        assert [failed["Code"] for failed in answer["Failed"]] == ["ServiceUnavailable"]
        assert [done["Id"] for done in answer["Successful"]] == ["1"]
        assert len(endpoint.state.queue("q", account=ACCOUNT, region=REGION)) == 1


async def test_a_bad_fault_is_refused_with_what_is_wrong() -> None:
    async with LocalEndpoint.start() as endpoint, aiohttp.ClientSession() as http:
        for body, names in ((b'{"fault": "flood"}', "flood"), (b"{", "not JSON"), (b"[]", "JSON object")):
            async with http.post(f"{endpoint.url}/_local/faults", data=body) as response:
                assert (response.status, names in (await response.json())["error"]) == (400, True)
        for path in ("faults/fault-9", "health", "nothing"):
            async with http.delete(f"{endpoint.url}/_local/{path}") as response:
                assert (response.status, "error" in await response.json()) == (404, True)


async def test_faults_are_removed_one_by_one_and_all_together() -> None:
    async with started() as (endpoint, sqs, url):
        first = await set_fault(endpoint, fault="throttle")
        await set_fault(endpoint, fault="error500", queue="other")
        await local(endpoint, "DELETE", f"/_local/faults/{first}")
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        assert len((await local(endpoint, "GET", "/_local/faults"))["faults"]) == 1
        await local(endpoint, "DELETE", "/_local/faults")
        assert (await local(endpoint, "GET", "/_local/faults"))["faults"] == []


# State


async def test_the_state_is_shown_and_reset() -> None:
    async with started() as (endpoint, sqs, url):
        await sqs.send_message(QueueUrl=url, MessageBody="x")
        await set_fault(endpoint, fault="throttle", queue="other")
        shown = await local(endpoint, "GET", "/_local/")
        (queue,) = shown["queues"]
        assert {name: queue[name] for name in ("name", "visible", "inFlight", "delayed", "waiting")} == {
            "name": "q",
            "visible": 1,
            "inFlight": 0,
            "delayed": 0,
            "waiting": 0,
        }
        assert shown["requests"] == {"sqs.CreateQueue": 1, "sqs.SendMessage": 1}
        assert len(shown["faults"]) == 1
        await local(endpoint, "DELETE", "/_local/")
        after = await local(endpoint, "GET", "/_local/")
        assert (after["queues"], after["requests"], after["faults"]) == ([], {}, [])
        await sqs.create_queue(QueueName="q")
        assert (await local(endpoint, "GET", "/_local/health"))["status"] == "ok"
