"""Both roads of hot requests against one server on loopback that says what a test tells it to: they send, count and tell the same."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from aiobotocore.endpoint import AioEndpoint
from botocore import exceptions as boto

from pollers.aws.clients import AwsClients
from pollers.aws.errors import to_source_error
from pollers.aws.hot import DELETE, EXTEND, KINESIS_PAGE, RECEIVE, HotKind, HotOperation, SdkOperation
from pollers.aws.lean.operation import LeanOperation
from pollers.sqs import SqsQueue
from tests.fakes.aws_environment import without_aws
from tests.fakes.raw_server import CLOSE, DROP, Asked, RawServer, Say, raw_server, saying
from tests.fakes.wire import http

ROADS: Final = {"lean": LeanOperation, "sdk": SdkOperation}
ARN: Final = "arn:aws:sqs:eu-west-1:123456789012:orders"
STREAM: Final = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
QUEUE: Final = {"QueueUrl": "http://127.0.0.1/123456789012/orders"}
BODIES: Final[dict[HotKind, dict[str, Any]]] = {
    RECEIVE: {**QUEUE, "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"]},
    DELETE: {**QUEUE, "Entries": [{"Id": "0", "ReceiptHandle": "h\u00e9 \u20ac"}]},
    EXTEND: {**QUEUE, "Entries": [{"Id": "0", "ReceiptHandle": "h", "VisibilityTimeout": 30}]},
    KINESIS_PAGE: {"ShardIterator": "AAA", "Limit": 10, "StreamARN": STREAM},
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_aws(monkeypatch, tmp_path)


@asynccontextmanager
async def on_road(road: str, server: RawServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    """`ask(kind)` sends one request of the kind and gives its outcome: content or exception."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    async with AwsClients(lean=road == "lean") as clients:

        async def ask(kind: HotKind) -> bytes | Exception:
            operation: HotOperation = await clients.operation(kind, "eu-west-1", BODIES[kind])
            assert type(operation) is ROADS[road]
            try:
                return bytes(await operation.ask(json.dumps(BODIES[kind]).encode()))
            except Exception as error:  # noqa: BLE001  it is what the test looks at
                return error

        yield ask


# what is sent

_OF_THE_TRY: Final = {"amz-sdk-invocation-id", "amz-sdk-request"}
_OF_THE_TRANSPORT: Final = {"accept": "*/*"}
"""What aiohttp adds on its own, which asks for nothing."""


def told_by(asked: Asked) -> dict[str, str]:
    return {name: value for name, value in asked.headers.items() if name not in _OF_THE_TRY | set(_OF_THE_TRANSPORT)}


@pytest.mark.parametrize("kind", BODIES, ids=[kind.name for kind in BODIES])
async def test_both_roads_send_the_same(kind: HotKind, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(saying(http())) as server:
        async with on_road("lean", server, monkeypatch) as lean, on_road("sdk", server, monkeypatch) as sdk:
            for _ in range(5):  # until one second has them both
                assert [await sdk(kind), await lean(kind)] == [b"{}", b"{}"]
                by_sdk, by_lean = server.asked[-2:]
                if by_sdk.headers["x-amz-date"] == by_lean.headers["x-amz-date"]:
                    break
        assert by_lean.line == by_sdk.line == "POST / HTTP/1.1"
        assert json.loads(by_lean.body) == json.loads(by_sdk.body) == BODIES[kind]
        if by_lean.body != by_sdk.body:  # JSON may be written in more than one way
            for asked in (by_lean, by_sdk):
                asked.headers["authorization"] = asked.headers["authorization"].partition("Signature=")[0]
                del asked.headers["content-length"]
        assert told_by(by_lean) == told_by(by_sdk)


# what is made of errors


def json_error(status: int, body: Any, **headers: str) -> bytes:
    return http(status, json.dumps(body).encode(), content_type="application/x-amz-json-1.1", **headers)


ERRORS: Final = {
    "a plain type": json_error(400, {"__type": "ExpiredIteratorException", "message": "m"}),
    "a namespace": json_error(400, {"__type": "com.amazonaws.kinesis#ExpiredIteratorException", "message": "m"}),
    "two namespaces": json_error(400, {"__type": "a#b#Code", "message": "m"}),
    "an address behind": json_error(400, {"__type": "Code:http://internal.amazon.com/coral/", "message": "m"}),
    "an address behind a namespace": json_error(400, {"__type": "ns#Code:http://a/#b", "message": "m"}),
    "Message": json_error(400, {"__type": "Code", "Message": "M"}),
    "both messages": json_error(400, {"__type": "Code", "Message": "M", "message": "m"}),
    "no message": json_error(400, {"__type": "Code"}),
    "no type": json_error(400, {"message": "m"}),
    "an empty object": json_error(403, {}),
    "the older code": json_error(400, {"__type": "QueueDoesNotExist", "message": "m"}, x_amzn_query_error="AWS.SimpleQueueService.NonExistentQueue;Sender"),
    "half an older code": json_error(400, {"__type": "New", "message": "m"}, x_amzn_query_error="Old"),
    "an empty older code": json_error(400, {"__type": "New", "message": "m"}, x_amzn_query_error=";Sender"),
    "three older codes": json_error(400, {"__type": "New", "message": "m"}, x_amzn_query_error="A;B;C"),
    "an older code of 500": json_error(500, {"__type": "New", "message": "m"}, x_amzn_query_error="Old;Receiver"),
    "text that is not ASCII": json_error(400, {"__type": "Code", "message": "\u00e9\u20ac\U0001f600"}),
    "no body, 400": http(400, b""),
    "no body, 403": http(403, b""),
    "no body, 500": http(500, b""),
    "no body, 503": http(503, b"", x_amzn_query_error="Old;Receiver"),
    "blanks, 502": http(502, b" \r\n"),
    "HTML, 503": http(503, b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>"),
    "HTML, 403": http(403, b"<html>Forbidden</html>"),
    "another HTML, 502": http(502, b"<!DOCTYPE html><html></html>"),
    "text, 504": http(504, b"upstream request timeout"),
    "half of JSON": http(400, b'{"__type": "Code", "mess'),
    "chunked": b'HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"__type":"Code"\r\n1\r\n}\r\n0\r\n\r\n',
    "a redirect to nowhere": json_error(307, {"__type": "Code", "message": "m"}),
    "an unknown status": json_error(599, {"__type": "Code", "message": "m"}),
    "an unknown status without a body": http(599, b""),
}  # fmt: skip
UNREADABLE: Final = {
    "a list": json_error(400, ["x"]),
    "a string": json_error(400, "x"),
    "a number": json_error(500, 7),
    "null": json_error(400, None),
    "no UTF-8": http(400, b"\xff\xfe"),
}
"""What botocore trips over. The lean road tells the status."""


@pytest.mark.parametrize("kind", [RECEIVE, KINESIS_PAGE], ids=["sqs", "kinesis"])
async def test_an_error_has_the_same_code_and_message_on_both_roads(kind: HotKind, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        raw_server(saying(http())) as server,
        on_road("lean", server, monkeypatch) as lean,
        on_road("sdk", server, monkeypatch) as sdk,
    ):
        for name, answer in ERRORS.items():
            server.say = lambda _, answer=answer: answer  # type: ignore[misc]  # a default to hold it
            told = [await road(kind) for road in (lean, sdk)]
            assert [isinstance(each, boto.ClientError) for each in told] == [True, True], (name, told)
            codes = [(each.response["Error"]["Code"], each.response["Error"]["Message"]) for each in told]
            assert codes[0] == codes[1], name
            sources = [to_source_error(each, doing="x") for each in told]
            assert (type(sources[0]), sources[0].code, str(sources[0])) == (
                type(sources[1]),
                sources[1].code,
                str(sources[1]),
            ), name


async def test_an_error_that_botocore_trips_over_is_told_by_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(saying(http())) as server, on_road("lean", server, monkeypatch) as lean:
        for name, answer in UNREADABLE.items():
            server.say = lambda _, answer=answer: answer  # type: ignore[misc]  # as above
            told = await lean(KINESIS_PAGE)
            assert isinstance(told, boto.ClientError), name
            assert told.response["Error"]["Code"] in ("400", "500"), name


async def test_a_signed_request_is_not_carried_to_where_a_redirect_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's transport would go there."""
    async with raw_server(saying(http())) as other, raw_server(saying(http(307, location=f"{other.url}/"))) as server:
        async with on_road("lean", server, monkeypatch) as lean:
            told = await lean(RECEIVE)
        assert isinstance(told, boto.ClientError)
        assert told.response["Error"]["Code"] == "307"
        assert other.asked == []


# how often is asked

TROUBLE: Final[dict[str, bytes]] = {
    "Throttling": json_error(400, {"__type": "Throttling"}),
    "ThrottlingException": json_error(400, {"__type": "ThrottlingException"}),
    "RequestThrottled": json_error(400, {"__type": "RequestThrottled"}, x_amzn_query_error="RequestThrottled;Sender"),
    "429": http(429, b"{}"),
    "500": http(500, b""),
    "502": http(502, b"<html></html>"),
    "503": http(503, b"{}"),
    "504": http(504, b""),
    "dropped": DROP,
    "half an answer": http()[:20],
    "AccessDenied": json_error(403, {"__type": "AccessDenied"}),
    "no HTTP": b"hello\r\n\r\n",
}


def dropping_after(answer: bytes) -> Say:
    """Half answers are followed by the end of the connection."""
    return lambda _: (answer, CLOSE) if len(answer) < 30 else answer


async def counts_on(
    road: str, monkeypatch: pytest.MonkeyPatch, kinds: tuple[HotKind, ...]
) -> tuple[dict[str, list[int]], list[float]]:
    """Requests that the server saw of each trouble and kind, and the pauses between them."""
    pauses: list[float] = []

    async def sleep(*arguments: Any) -> None:
        pauses.append(arguments[-1])

    monkeypatch.setattr(AioEndpoint, "_sleep", sleep)
    monkeypatch.setattr("pollers.aws.lean.operation.anyio", SimpleNamespace(sleep=sleep))
    counts: dict[str, list[int]] = {}
    async with raw_server(saying(http())) as server, on_road(road, server, monkeypatch) as ask:
        for name, answer in TROUBLE.items():
            for kind in kinds:
                server.close_connections()
                await server.wait_open(0)  # each begins with a fresh connection
                server.say, before = dropping_after(answer), len(server.asked)
                assert isinstance(await ask(kind), Exception), name
                counts.setdefault(name, []).append(len(server.asked) - before)
    return counts, pauses


@pytest.mark.parametrize("attempts", ["1", "2", "5", None])
@pytest.mark.parametrize("mode", ["legacy", "standard"])
async def test_deletes_and_extends_are_repeated_as_often_on_both_roads(
    mode: str, attempts: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    if attempts is not None:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", attempts)
    lean, pauses = await counts_on("lean", monkeypatch, (DELETE, EXTEND))
    sdk, pauses_of_sdk = await counts_on("sdk", monkeypatch, (DELETE, EXTEND))
    assert lean == sdk
    assert len(pauses) == len(pauses_of_sdk)
    most = int(attempts or {"legacy": 5, "standard": 3}[mode])
    assert lean["503"] == lean["dropped"] == lean["ThrottlingException"] == [most, most]
    assert lean["AccessDenied"] == [1, 1]
    assert all(0 <= pause <= 20 for pause in pauses)


async def test_polls_are_asked_once_on_both_roads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    for road in ROADS:
        counts, pauses = await counts_on(road, monkeypatch, (RECEIVE, KINESIS_PAGE))
        assert counts == {name: [1, 1] for name in TROUBLE}, road
        assert pauses == []


# where the SDK makes the requests


async def check_by_sdk(
    monkeypatch: pytest.MonkeyPatch, server: RawServer, url: str, reason: str, prepare: Callable[[Any], None] = lambda _: None
) -> None:
    """A receive and a delete come back, and by which road."""
    told: list[str | None] = []
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    async with AwsClients(tell_road=lambda *road: told.append(road[2])) as clients:
        for kind in (RECEIVE, DELETE):
            prepare(await clients.client("sqs", "eu-west-1", retries=kind.retries))
            operation = await clients.operation(kind, "eu-west-1", BODIES[kind])
            assert type(operation) is SdkOperation
            assert await operation.ask(json.dumps(BODIES[kind]).encode()) == b"{}"
        queue = SqsQueue(clients, ARN, windowed=False, observe=lambda *_: None)
        assert await queue.receive(limit=1, wait=0, visibility=None) == []
    assert set(told) == {reason}
    assert [asked.operation for asked in server.asked] == ["ReceiveMessage", "DeleteMessageBatch", "ReceiveMessage"]


async def test_through_a_proxy_the_sdk_makes_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(saying(http())) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        await check_by_sdk(monkeypatch, proxy, "http://queues.example:9324", "a proxy")
        assert {asked.line for asked in proxy.asked} == {"POST http://queues.example:9324/ HTTP/1.1"}


async def test_through_a_tunnel_the_sdk_makes_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(saying(http(503))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with AwsClients() as clients:
            operation = await clients.operation(RECEIVE, "eu-west-1", BODIES[RECEIVE])
            with pytest.raises(boto.ProxyConnectionError):
                await operation.ask(json.dumps(BODIES[RECEIVE]).encode())
        assert [asked.line for asked in proxy.asked] == ["CONNECT sqs.eu-west-1.amazonaws.com:443 HTTP/1.1"]


async def test_past_a_proxy_the_lean_client_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(saying(http())) as proxy, raw_server(saying(http())) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with on_road("lean", server, monkeypatch) as lean:
            assert await lean(RECEIVE) == b"{}"
        assert (len(proxy.asked), len(server.asked)) == (0, 1)


async def test_in_the_mode_adaptive_the_sdk_makes_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    async with raw_server(saying(http())) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        async with AwsClients() as clients:
            operation = await clients.operation(DELETE, "eu-west-1", BODIES[DELETE])
            assert type(operation) is SdkOperation
            assert await operation.ask(json.dumps(BODIES[DELETE]).encode()) == b"{}"


async def test_what_is_signed_otherwise_is_made_by_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    def sign(request: Any, **_: Any) -> None:
        request.headers["Authorization"] = (
            "AWS4-ECDSA-P256-SHA256 Credential=A/20250731/sqs/aws4_request, SignedHeaders=host, Signature=0"
        )

    async with raw_server(saying(http())) as server:
        await check_by_sdk(
            monkeypatch,
            server,
            server.url,
            "requests that are signed otherwise (AWS4-ECDSA-P256-SHA256)",
            lambda client: client.meta.events.register_first("before-send", sign, unique_id="sign"),
        )
        assert {asked.headers["authorization"][:22] for asked in server.asked} == {"AWS4-ECDSA-P256-SHA256"}
