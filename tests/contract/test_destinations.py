"""One suite over the destinations: what each service keeps of a failure record, on servers that speak it."""

import io
import json
import os
import re
import uuid
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import anyio
import pytest

from handlers.destinations import DestinationError, FailureRecord, open_destination
from pollers.aws.clients import AwsClients
from tests.servers.catalogue import LOCAL, MINISTACK, SERVERS
from tests.servers.install import install
from tests.servers.queues import QueueHandle, queue_on
from tests.servers.running import RunningServers, Server
from tests.servers.selection import select_servers

_SPEAK_ALL: Final = frozenset({LOCAL.name, MINISTACK.name})
"""Servers with all five services."""
_NO_PROBE: Final = {
    LOCAL.name: frozenset(),
    MINISTACK.name: frozenset({"events"}),  # DescribeEventBus knows names only, where AWS takes ARNs too
}
_SECONDS: Final = 10.0
"""For what a server delivers on its own time."""
_CODE: Final = """
import json, os
def handler(event, context):
    partial = os.environ["OUT"] + ".partial"
    with open(partial, "w") as file:
        json.dump(event, file)
    os.rename(partial, os.environ["OUT"])
"""

BODY = {
    "requestContext": {
        "requestId": "c9b8fa9f-5a7f-4c3c-af9c-0c604cde93a5",
        "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:my-function",
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 2,
    },
    "version": "1.0",
    "timestamp": "2025-11-25T16:35:06.021Z",
    "KinesisBatchInfo": {"shardId": "shardId-000000000000", "batchSize": 1},
}
EVENT = {"Records": [{"kinesis": {"partitionKey": 'é "€" \\ \U0001f600', "data": "eA=="}, "awsRegion": "eu-west-1"}]}
TEXT = json.dumps(BODY, separators=(",", ":"))
MAPPING = "f0b1c2d3-0000-5000-8000-000000000001"
FAILURE = FailureRecord(body=BODY, event=EVENT, mapping=MAPPING, shard="shardId-000000000000")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The selected servers that have all five services; our own where none is selected."""
    if "server" not in metafunc.fixturenames:
        return
    selected = select_servers(metafunc.config.getoption("--servers"), os.environ)
    names = [spec.name for spec in selected if spec.name in _SPEAK_ALL] or [LOCAL.name]
    if "probed" in metafunc.fixturenames:
        pairs = [(name, service) for name in names for service in PLACES if service not in _NO_PROBE[name]]
        metafunc.parametrize(("server", "probed"), pairs, indirect=["server"])
    else:
        metafunc.parametrize("server", names, indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest, running_servers: RunningServers, monkeypatch: pytest.MonkeyPatch) -> Server:
    install(SERVERS[request.param], say=print)
    running = running_servers.get(request.param)
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    return running


Receive = Callable[[], Awaitable[list[str]]]
"""What has arrived so far, oldest first."""
Opened = AbstractAsyncContextManager[tuple[str, Receive]]
"""A new place that a failure record can be sent to: its ARN, and what arrives there."""
Place = Callable[[Server, AwsClients, Path], Opened]


async def _ask_local(server: Server, call: str, given: dict[str, Any] | None = None) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.endpoint_url}/_local/{call}", json=given or {}) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


def _bodies(queue: QueueHandle) -> Receive:
    async def receive() -> list[str]:
        return [message["Body"] for message in await queue.receive(visibility=0)]

    return receive


@asynccontextmanager
async def a_queue(server: Server, _clients: AwsClients, _folder: Path) -> AsyncIterator[tuple[str, Receive]]:
    async with queue_on(server) as queue:
        yield queue.arn, _bodies(queue)


@asynccontextmanager
async def a_topic(server: Server, clients: AwsClients, _folder: Path) -> AsyncIterator[tuple[str, Receive]]:
    sns = await clients.client("sns", server.region, retries=False)
    arn = (await sns.create_topic(Name=f"t-{uuid.uuid4().hex}"))["TopicArn"]

    async def receive() -> list[str]:
        found = await _ask_local(server, "sns/received")
        return [message["message"] for message in found["received"] if message["topic"] == arn]

    if server.name == LOCAL.name:
        yield arn, receive
        return
    async with queue_on(server) as queue:
        await sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue.arn, Attributes={"RawMessageDelivery": "true"})
        yield arn, _bodies(queue)


@asynccontextmanager
async def a_bucket(server: Server, clients: AwsClients, _folder: Path) -> AsyncIterator[tuple[str, Receive]]:
    s3 = await clients.client("s3", server.region, retries=False)
    name = f"t-{uuid.uuid4().hex}"
    await s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": server.region})

    async def receive() -> list[str]:
        listed = (await s3.list_objects_v2(Bucket=name)).get("Contents", [])
        key = rf"aws/lambda/{MAPPING}/shardId-000000000000/2025/11/25/2025-11-25T16\.35\.06-[0-9a-f-]{{36}}"
        assert all(re.fullmatch(key, entry["Key"]) for entry in listed), listed
        found = []
        for entry in listed:
            async with (await s3.get_object(Bucket=name, Key=entry["Key"]))["Body"] as stream:
                found.append((await stream.read()).decode())
        return found

    yield f"arn:aws:s3:::{name}", receive


@asynccontextmanager
async def a_function(server: Server, clients: AwsClients, folder: Path) -> AsyncIterator[tuple[str, Receive]]:
    name = f"t-{uuid.uuid4().hex}"
    arn = f"arn:aws:lambda:{server.region}:{server.access_key}:function:{name}"

    async def receive() -> list[str]:
        found = await _ask_local(server, "lambda/received")
        mine = [invocation for invocation in found["received"] if invocation["function"] == name]
        assert {invocation["kind"] for invocation in mine} <= {"Event"}
        return [invocation["payload"] for invocation in mine]

    async def read() -> list[str]:
        return [out.read_text()] if (out := folder / name).exists() else []

    if server.name == LOCAL.name:
        await _ask_local(server, "lambda/declare", {"name": name})
        yield arn, receive
        return
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as package:
        package.writestr("f.py", _CODE)
    client = await clients.client("lambda", server.region, retries=False)
    await client.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role="arn:aws:iam::123456789012:role/r",
        Handler="f.handler",
        Code={"ZipFile": packed.getvalue()},
        Environment={"Variables": {"OUT": str(folder / name)}},
    )
    yield arn, read


@asynccontextmanager
async def a_bus(server: Server, clients: AwsClients, _folder: Path) -> AsyncIterator[tuple[str, Receive]]:
    events = await clients.client("events", server.region, retries=False)
    name = f"t-{uuid.uuid4().hex}"
    arn = (await events.create_event_bus(Name=name))["EventBusArn"]

    async def receive() -> list[str]:
        mine = [event for event in (await _ask_local(server, "events/received"))["received"] if event["bus"] == arn]
        names = {"source": "source", "detail-type": "detail_type", "resources": "resources"}
        return [
            json.dumps({**{name: event[ours] for name, ours in names.items()}, "detail": json.loads(event["detail"])})
            for event in mine
        ]

    if server.name == LOCAL.name:
        yield arn, receive
        return
    async with queue_on(server) as queue:
        await events.put_rule(Name=name, EventBusName=name, EventPattern='{"source": ["lambda"]}')
        await events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": queue.arn}])
        yield arn, _bodies(queue)


async def _arrived(receive: Receive) -> list[str]:
    """What is there as soon as something is."""
    deadline = anyio.current_time() + _SECONDS
    while not (found := await receive()):
        assert anyio.current_time() < deadline, f"nothing arrived within {_SECONDS:g} s"
        await anyio.sleep(0.05)
    return found


@pytest.mark.parametrize("place", [a_queue, a_topic], ids=["sqs", "sns"])
async def test_dst_20_a_queue_or_topic_gets_the_body_byte_for_byte(server: Server, tmp_path: Path, place: Place) -> None:
    async with AwsClients() as clients, place(server, clients, tmp_path) as (arn, receive):
        await open_destination(arn, clients, region=server.region).send(FAILURE)
        assert await _arrived(receive) == [TEXT]


async def test_dst_36_37_a_bucket_gets_an_object_with_the_event_as_text(server: Server, tmp_path: Path) -> None:
    async with AwsClients() as clients, a_bucket(server, clients, tmp_path) as (arn, receive):
        destination = open_destination(arn, clients, region=server.region)
        await destination.send(FAILURE)
        await destination.send(FAILURE)
        first, second = await _arrived(receive)
        assert first == second
        document = json.loads(first)
        assert json.loads(document.pop("payload")) == EVENT
        assert json.dumps(document, separators=(",", ":")) == TEXT


async def test_asy_24_a_function_gets_the_body_and_the_event(server: Server, tmp_path: Path) -> None:
    async with AwsClients() as clients, a_function(server, clients, tmp_path) as (arn, receive):
        await open_destination(arn, clients, region=server.region).send(FAILURE)
        (event,) = await _arrived(receive)
        assert json.loads(event) == {**BODY, "requestPayload": EVENT}


async def test_asy_42_a_bus_gets_an_event_with_the_body_as_detail(server: Server, tmp_path: Path) -> None:
    async with AwsClients() as clients, a_bus(server, clients, tmp_path) as (arn, receive):
        await open_destination(arn, clients, region=server.region).send(FAILURE)
        (text,) = await _arrived(receive)
        event = json.loads(text)
        assert (event["source"], event["detail-type"]) == ("lambda", "Lambda Function Invocation Result - Failure")
        assert event["resources"] == [arn, "arn:aws:lambda:eu-west-1:123456789012:function:my-function"]
        assert event["detail"] == BODY


PLACES: Final[dict[str, Place]] = {"sqs": a_queue, "sns": a_topic, "s3": a_bucket, "lambda": a_function, "events": a_bus}


async def test_a_probe_finds_what_is_there_and_leaves_nothing(server: Server, tmp_path: Path, probed: str) -> None:
    async with AwsClients() as clients, PLACES[probed](server, clients, tmp_path) as (arn, receive):
        assert await open_destination(arn, clients, region=server.region).probe() is None
        assert await receive() == []


MISSING = {
    "sqs": "arn:aws:sqs:eu-west-1:123456789012:",
    "sns": "arn:aws:sns:eu-west-1:123456789012:",
    "s3": "arn:aws:s3:::",
    "lambda": "arn:aws:lambda:eu-west-1:123456789012:function:",
    "events": "arn:aws:events:eu-west-1:123456789012:event-bus/",
}


async def test_a_probe_says_what_is_not_there(server: Server, probed: str) -> None:
    async with AwsClients() as clients:
        finding = await open_destination(f"{MISSING[probed]}t-{uuid.uuid4().hex}", clients, region=server.region).probe()
    assert finding is not None
    assert finding.message.endswith("create it, or name another in DestinationConfig")
    assert not finding.unverified


@pytest.mark.parametrize("service", [service for service in MISSING if service != "events"])
async def test_dst_13_what_is_not_there_is_a_lasting_failure(server: Server, service: str) -> None:
    """But for EventBridge, which takes events for a bus that is not there and loses them: only a probe tells."""
    async with AwsClients() as clients:
        with pytest.raises(DestinationError, match="create it") as raised:
            await open_destination(f"{MISSING[service]}t-{uuid.uuid4().hex}", clients, region=server.region).send(FAILURE)
    assert raised.value.lasting


async def test_dst_03_no_fifo_queue_takes_a_failure_record(server: Server) -> None:
    async with AwsClients() as clients, queue_on(server, fifo=True) as queue:
        with pytest.raises(DestinationError, match="FIFO queues and topics cannot be destinations") as raised:
            await open_destination(queue.arn, clients, region=server.region).send(FAILURE)
    assert raised.value.lasting


async def test_no_server_at_all_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with AwsClients() as clients:
        queue = open_destination("arn:aws:sqs:eu-west-1:123456789012:q", clients, region="eu-west-1")
        finding = await queue.probe()
        assert finding is not None
        assert not finding.unverified
        with pytest.raises(DestinationError, match=r"no answer.*tried 3 times") as raised:
            await queue.send(FAILURE)
    assert not raised.value.lasting
