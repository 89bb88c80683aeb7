"""Failure records on their way to five services, with clients that are told what to answer, in virtual time."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType
from typing import Any, Self
from uuid import UUID

import aiohttp
import anyio
import pytest
from botocore import exceptions as boto

from handlers.destinations import (
    DestinationError,
    EventBridgeDestination,
    FailureDestination,
    FailureRecord,
    LambdaDestination,
    S3Destination,
    SnsDestination,
    SqsDestination,
    open_destination,
)
from tests.fakes.virtual_time import START, virtual_time

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders-failed"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders-failed"
BUCKET = "arn:aws:s3:::orders-failed"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:mourn"
BUS = "arn:aws:events:eu-west-1:123456789012:event-bus/failures"
ALL = [QUEUE, TOPIC, BUCKET, FUNCTION, BUS]
NAMES = ["sqs", "sns", "s3", "lambda", "events"]

BODY = (
    '{"requestContext":{"requestId":"c9b8fa9f-5a7f-4c3c-af9c-0c604cde93a5","functionArn":"arn:aws:lambda:us-east-1:123456789012:function:my-function","condition":"RetryAttemptsExhausted","approximateInvokeCount":2},"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"version":"1.0","timestamp":"2025-11-25T16:35:06.021Z",'
    '"KinesisBatchInfo":{"shardId":"shardId-000000000000","startSequenceNumber":"49590338271490256608559692538361571095921575989136588898","endSequenceNumber":"49590338271490256608559692538361571095921575989136588898",'
    '"approximateArrivalOfFirstRecord":"2025-11-25T16:35:01.835Z","approximateArrivalOfLastRecord":"2025-11-25T16:35:01.835Z","batchSize":1,"streamArn":"arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"}}'
)
EVENT = (
    '{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"test_0","sequenceNumber":"49590338271490256608559692538361571095921575989136588898","data":"eyJyZWNvcmRfaWQiOiAwfQ==","approximateArrivalTimestamp":1545084650.987},'
    '"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000000:49590338271490256608559692538361571095921575989136588898","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role","awsRegion":"us-east-1","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"}]}'
)
S3_OBJECT = BODY[:-1] + ',"payload":"' + EVENT.replace('"', '\\"') + '"}'
FAILURE = FailureRecord(
    body=json.loads(BODY), event=json.loads(EVENT), mapping="f0b1c2d3-0000-5000-8000-000000000001", shard="shardId-000000000000"
)
UNIQUE = UUID("00000000-0000-4000-8000-00000000abcd")


class Stream:
    """The body of an answer of Lambda."""

    def __init__(self) -> None:
        self.read_to_end = False
        self.closed = False

    async def read(self) -> bytes:
        self.read_to_end = True
        return b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closed = True


def good(operation: str) -> dict[str, Any]:
    """What the service answers when all is well, as far as anybody looks."""
    answers: dict[str, dict[str, Any]] = {
        "send_message": {"MessageId": "m"},
        "publish": {"MessageId": "m"},
        "put_object": {"ETag": '"e"'},
        "invoke": {"StatusCode": 202, "Payload": Stream()},
        "put_events": {"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]},
        "get_queue_attributes": {"Attributes": {"QueueArn": QUEUE}},
        "get_topic_attributes": {"Attributes": {"TopicArn": TOPIC}},
        "head_bucket": {},
        "get_function_configuration": {"FunctionArn": FUNCTION},
        "describe_event_bus": {"Arn": BUS},
    }
    return answers[operation]


HANG = object()


@dataclass
class StubClients:
    """A factory and the one client that it gives, whatever the service. `script`: what requests end in; then all is well."""

    script: list[Any] = field(default_factory=list)
    asked_for: list[tuple[str, str, bool]] = field(default_factory=list)
    calls: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    """Seconds since the start, operation, parameters."""
    no_client: Exception | None = None
    meta: Any = field(default_factory=lambda: SimpleNamespace(endpoint_url="http://localhost:4566/"))

    async def client(self, service: str, region: str, *, retries: bool) -> Any:
        self.asked_for.append((service, region, retries))
        if self.no_client is not None:
            raise self.no_client
        return self

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        async def call(**parameters: Any) -> Any:
            self.calls.append((round(anyio.current_time() - START, 3), operation, parameters))
            outcome = self.script.pop(0) if self.script else good(operation)
            if outcome is HANG:
                await anyio.sleep_forever()
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return call

    @property
    def last(self) -> dict[str, Any]:
        return self.calls[-1][2]

    @property
    def times(self) -> list[float]:
        return [time for time, _, _ in self.calls]


def error(code: str, message: str = "says the service") -> boto.ClientError:
    return boto.ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def opened(arn: str, clients: StubClients) -> FailureDestination:
    return open_destination(arn, clients, region="eu-west-1")


# What is sent


@virtual_time
async def test_dst_20_sqs_gets_the_body_as_compact_json_and_no_payload() -> None:
    clients = StubClients()
    await opened(QUEUE, clients).send(FAILURE)
    url = "http://localhost:4566/123456789012/orders-failed"
    assert clients.calls == [(0, "send_message", {"QueueUrl": url, "MessageBody": BODY})]


@virtual_time
async def test_dst_20_sns_gets_the_body_as_its_message() -> None:
    clients = StubClients()
    await opened(TOPIC, clients).send(FAILURE)
    assert clients.calls == [(0, "publish", {"TopicArn": TOPIC, "Message": BODY})]


@virtual_time
async def test_dst_36_37_s3_gets_an_object_with_the_event_as_text() -> None:
    clients = StubClients()
    await S3Destination(clients, BUCKET, region="eu-west-1", unique=lambda: UNIQUE).send(FAILURE)
    key = f"aws/lambda/{FAILURE.mapping}/shardId-000000000000/2025/11/25/2025-11-25T16.35.06-{UNIQUE}"
    assert clients.calls == [(0, "put_object", {"Bucket": "orders-failed", "Key": key, "Body": S3_OBJECT.encode()})]


@virtual_time
async def test_dst_36_two_objects_of_one_second_have_two_keys_and_two_tries_of_one_object_have_one() -> None:
    clients = StubClients(script=[error("SlowDown")])
    destination = opened(BUCKET, clients)
    await destination.send(FAILURE)
    await destination.send(FAILURE)
    first, again, second = (parameters["Key"] for _, _, parameters in clients.calls)
    assert first == again != second


@virtual_time
async def test_dst_37_an_event_with_text_beyond_ascii_survives_as_it_is() -> None:
    clients = StubClients()
    event = {"Records": [{"kinesis": {"partitionKey": 'é "€" \\ \n \U0001f600'}}]}
    await opened(BUCKET, clients).send(FailureRecord(body=FAILURE.body, event=event, mapping="m", shard="s"))
    assert "é" in clients.last["Body"].decode()
    assert json.loads(json.loads(clients.last["Body"])["payload"]) == event


@virtual_time
async def test_dst_20_a_lone_surrogate_in_the_event_does_not_lose_the_record() -> None:
    clients = StubClients()
    event = {"Records": [{"kinesis": {"partitionKey": "\ud800"}}]}
    await opened(BUCKET, clients).send(FailureRecord(body=FAILURE.body, event=event, mapping="m", shard="s"))
    assert json.loads(json.loads(clients.last["Body"])["payload"]) == event


@virtual_time
async def test_asy_24_lambda_gets_the_body_with_the_event_as_request_payload_asynchronously() -> None:
    clients = StubClients(script=[answer := good("invoke")])
    await opened(FUNCTION, clients).send(FAILURE)
    sent = clients.last
    assert (sent["FunctionName"], sent["InvocationType"]) == (FUNCTION, "Event")
    assert sent["Payload"].decode() == f'{BODY[:-1]},"requestPayload":{EVENT}}}'
    assert (answer["Payload"].read_to_end, answer["Payload"].closed) == (True, True)


@pytest.mark.parametrize(("spare", "shown"), [(0, True), (-1, False)], ids=["at the limit", "a byte over"])
@virtual_time
async def test_asy_02_lambda_gets_the_body_alone_when_the_event_makes_it_too_large(spare: int, *, shown: bool) -> None:
    clients = StubClients()
    room = 1_000_000 - len(BODY) - len(',"requestPayload":{"x":""}') - spare
    failure = FailureRecord(body=FAILURE.body, event={"x": "é" * (room // 2) + "y" * (room % 2)}, mapping="m", shard="s")
    await opened(FUNCTION, clients).send(failure)
    assert ("requestPayload" in json.loads(clients.last["Payload"])) is shown
    assert len(clients.last["Payload"]) == (1_000_000 if shown else len(BODY))


@virtual_time
async def test_asy_42_eventbridge_gets_an_event_like_those_of_lambda_itself() -> None:
    clients = StubClients()
    await opened(BUS, clients).send(FAILURE)
    (entry,) = clients.last["Entries"]
    assert entry == {
        "Source": "lambda",
        "DetailType": "Lambda Function Invocation Result - Failure",
        "Resources": [BUS, "arn:aws:lambda:us-east-1:123456789012:function:my-function"],
        "Detail": BODY,
        "EventBusName": BUS,
    }


# Where it goes


@pytest.mark.parametrize(
    ("arn", "kind", "service", "region"),
    [
        ("arn:aws:sqs:us-west-2:123456789012:q", SqsDestination, "sqs", "us-west-2"),
        ("arn:aws:sns:us-west-2:123456789012:t", SnsDestination, "sns", "us-west-2"),
        ("arn:aws:s3:::bucket", S3Destination, "s3", "eu-west-1"),
        ("arn:aws:lambda:us-west-2:123456789012:function:f", LambdaDestination, "lambda", "us-west-2"),
        ("arn:aws:lambda:us-west-2:123456789012:function:f:live", LambdaDestination, "lambda", "us-west-2"),
        ("arn:aws-cn:events:cn-north-1:123456789012:event-bus/b", EventBridgeDestination, "events", "cn-north-1"),
    ],
)
@virtual_time
async def test_the_arn_of_a_destination_decides_service_and_region(arn: str, kind: type, service: str, region: str) -> None:
    clients = StubClients()
    destination = opened(arn, clients)
    assert isinstance(destination, kind)
    assert clients.asked_for == []
    await destination.send(FAILURE)
    assert clients.asked_for == [(service, region, True)]


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "orders-failed",
        "arn:aws:kinesis:eu-west-1:123456789012:stream/s",
        "arn:aws:events:eu-west-1:123456789012:rule/r",
        "arn:aws:lambda:eu-west-1:123456789012:layer:l",
        "arn:aws:sqs:eu-west-1:q",
    ],
)
def test_what_takes_no_failure_records_is_refused_with_what_does(arn: str) -> None:
    with pytest.raises(ValueError, match="SQS queue, SNS topic, S3 bucket, Lambda function or EventBridge bus"):
        open_destination(arn, StubClients(), region="eu-west-1")


# What goes wrong


@pytest.mark.parametrize("arn", ALL, ids=NAMES)
@virtual_time
async def test_dst_13_a_delivery_is_tried_three_times(arn: str) -> None:
    clients = StubClients(script=[error("InternalError", "oops") for _ in range(3)])
    with pytest.raises(DestinationError, match=r"oops.*tried 3 times") as raised:
        await opened(arn, clients).send(FAILURE)
    assert clients.times == [0, 0.2, 1.2]
    assert arn in str(raised.value)
    assert (raised.value.code, raised.value.lasting) == ("InternalError", False)


@pytest.mark.parametrize("arn", ALL, ids=NAMES)
@virtual_time
async def test_dst_13_what_works_the_third_time_was_delivered(arn: str) -> None:
    clients = StubClients(script=[error("ThrottlingException"), aiohttp.ServerDisconnectedError()])
    await opened(arn, clients).send(FAILURE)
    assert len(clients.calls) == 3
    assert len({str(parameters) for _, _, parameters in clients.calls}) == 1


@pytest.mark.parametrize("arn", ALL, ids=NAMES)
@virtual_time
async def test_a_try_without_an_answer_ends_after_ten_seconds(arn: str) -> None:
    clients = StubClients(script=[HANG] * 3)
    with pytest.raises(DestinationError, match="no answer") as raised:
        await opened(arn, clients).send(FAILURE)
    assert clients.times == [0, 10.2, 21.2]
    assert anyio.current_time() - START == pytest.approx(31.2)
    assert raised.value.code == "no_answer"


@virtual_time
async def test_a_delivery_that_is_cancelled_is_not_tried_again() -> None:
    clients = StubClients(script=[HANG])
    with anyio.move_on_after(3) as scope:
        await opened(QUEUE, clients).send(FAILURE)
    assert scope.cancelled_caught
    assert clients.times == [0]


LASTING = {
    "no such queue": (QUEUE, "AWS.SimpleQueueService.NonExistentQueue", "create it, or name another in DestinationConfig"),
    "no such topic": (TOPIC, "NotFound", "create it"),
    "no such bucket": (BUCKET, "NoSuchBucket", "create it"),
    "no such function": (FUNCTION, "ResourceNotFoundException", "create it"),
    "no such bus": (BUS, "ResourceNotFoundException", "create it"),
    "SQS denies": (QUEUE, "AccessDenied", "allow the worker sqs:SendMessage on it"),
    "SNS denies": (TOPIC, "AuthorizationError", "allow the worker sns:Publish on it"),
    "S3 denies": (BUCKET, "AccessDenied", "allow the worker s3:PutObject on it"),
    "Lambda denies": (FUNCTION, "AccessDeniedException", "allow the worker lambda:InvokeFunction on it"),
    "EventBridge denies": (BUS, "AccessDeniedException", "allow the worker events:PutEvents on it"),
    "DST-03 FIFO queue": (f"{QUEUE}.fifo", "MissingParameter", "FIFO queues and topics cannot be destinations"),
    "DST-03 FIFO topic": (f"{TOPIC}.fifo", "InvalidParameter", "FIFO queues and topics cannot be destinations"),
    "expired token": (QUEUE, "ExpiredTokenException", "give the worker valid AWS credentials"),
    "key disabled": (TOPIC, "KMSDisabled", "see to its KMS key"),
}


@pytest.mark.parametrize(("arn", "code", "advice"), LASTING.values(), ids=LASTING)
@virtual_time
async def test_dst_13_what_cannot_pass_is_not_tried_again_and_says_what_to_do(arn: str, code: str, advice: str) -> None:
    clients = StubClients(script=[error(code)])
    with pytest.raises(DestinationError, match=f"{code}: says the service; {advice}") as raised:
        await opened(arn, clients).send(FAILURE)
    assert len(clients.calls) == 1
    assert str(raised.value).startswith(f"on-failure destination {arn}: ")
    assert (raised.value.code, raised.value.lasting) == (code, True)


@virtual_time
async def test_a_fifo_advice_is_for_fifo_destinations_alone() -> None:
    with pytest.raises(DestinationError) as raised:
        await opened(QUEUE, StubClients(script=[error("MissingParameter")])).send(FAILURE)
    assert "FIFO" not in str(raised.value)


PASSING = {
    "no connection": (boto.EndpointConnectionError(endpoint_url="http://x"), "no_answer", "no answer"),
    "no credentials": (boto.NoCredentialsError(), "no_credentials", "give the worker valid AWS credentials"),
    "not parsed": (KeyError("MessageId"), "malformed_answer", "could not be understood"),
    "throttled": (error("KMSThrottling"), "KMSThrottling", "says the service"),
    "unheard of": (error("SomethingNew"), "SomethingNew", "says the service"),
    "other trouble of the client": (
        boto.UnknownServiceError(service_name="x", known_service_names="y"),
        "UnknownServiceError",
        "x",
    ),
}


@pytest.mark.parametrize(("trouble", "code", "text"), PASSING.values(), ids=PASSING)
@virtual_time
async def test_dst_13_what_may_pass_is_tried_again(trouble: Exception, code: str, text: str) -> None:
    clients = StubClients(script=[trouble] * 3)
    with pytest.raises(DestinationError, match=text) as raised:
        await opened(QUEUE, clients).send(FAILURE)
    assert len(clients.calls) == 3
    assert (raised.value.code, raised.value.lasting) == (code, False)
    assert isinstance(raised.value.__cause__, DestinationError)
    assert raised.value.__cause__.__cause__ is trouble


@virtual_time
async def test_a_client_that_cannot_be_made_is_a_failed_delivery() -> None:
    clients = StubClients(no_client=ValueError("The config profile (x) could not be found"))
    with pytest.raises(DestinationError, match=r"profile \(x\) could not be found; see to the worker's AWS settings") as raised:
        await opened(QUEUE, clients).send(FAILURE)
    assert raised.value.code == "no_client"
    assert len(clients.asked_for) == 3


@pytest.mark.parametrize(
    ("arn", "answer"),
    [
        (QUEUE, {}),
        (TOPIC, {}),
        (BUCKET, {}),
        (FUNCTION, {"StatusCode": 200, "Payload": Stream()}),
        (BUS, {}),
        (BUS, {"FailedEntryCount": 0, "Entries": [{}]}),
    ],
    ids=[*NAMES, "events without an id"],
)
@virtual_time
async def test_an_answer_that_does_not_say_it_was_taken_is_no_delivery(arn: str, answer: dict[str, Any]) -> None:
    clients = StubClients(script=[answer] * 3)
    with pytest.raises(DestinationError) as raised:
        await opened(arn, clients).send(FAILURE)
    assert raised.value.code == "malformed_answer"
    assert len(clients.calls) == 3


def refused_entry(code: str) -> dict[str, Any]:
    return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": "says the bus"}]}


@virtual_time
async def test_an_entry_that_eventbridge_could_not_take_is_tried_again() -> None:
    clients = StubClients(script=[refused_entry("ThrottlingException")])
    await opened(BUS, clients).send(FAILURE)
    assert clients.times == [0, 0.2]


@virtual_time
async def test_an_entry_that_eventbridge_will_never_take_is_a_lasting_failure() -> None:
    clients = StubClients(script=[refused_entry("NotAuthorizedForSourceException")])
    with pytest.raises(DestinationError, match=r"says the bus; allow the worker events:PutEvents") as raised:
        await opened(BUS, clients).send(FAILURE)
    assert (raised.value.code, raised.value.lasting) == ("NotAuthorizedForSourceException", True)


# What a probe says


PROBES = {
    QUEUE: (
        "get_queue_attributes",
        {"QueueUrl": "http://localhost:4566/123456789012/orders-failed", "AttributeNames": ["QueueArn"]},
    ),
    TOPIC: ("get_topic_attributes", {"TopicArn": TOPIC}),
    BUCKET: ("head_bucket", {"Bucket": "orders-failed"}),
    FUNCTION: ("get_function_configuration", {"FunctionName": FUNCTION}),
    BUS: ("describe_event_bus", {"Name": BUS}),
}


@pytest.mark.parametrize("arn", ALL, ids=NAMES)
@virtual_time
async def test_a_probe_finds_nothing_wrong_and_writes_nothing(arn: str) -> None:
    clients = StubClients()
    assert await opened(arn, clients).probe() is None
    assert clients.calls == [(0, *PROBES[arn])]


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        (QUEUE, "QueueDoesNotExist"),
        (TOPIC, "NotFound"),
        (BUCKET, "404"),
        (FUNCTION, "ResourceNotFoundException"),
        (BUS, "ResourceNotFoundException"),
    ],
    ids=NAMES,
)
@virtual_time
async def test_a_probe_of_what_is_not_there_says_so_at_the_first_try(arn: str, code: str) -> None:
    clients = StubClients(script=[error(code)])
    finding = await opened(arn, clients).probe()
    assert finding is not None
    assert finding.message.startswith(f"on-failure destination {arn}: ")
    assert finding.message.endswith("create it, or name another in DestinationConfig")
    assert not finding.unverified
    assert len(clients.calls) == 1


@pytest.mark.parametrize(
    ("arn", "code", "permission"),
    [
        (QUEUE, "AccessDenied", "sqs:GetQueueAttributes"),
        (TOPIC, "AuthorizationError", "sns:GetTopicAttributes"),
        (BUCKET, "403", "s3:ListBucket"),
        (FUNCTION, "AccessDeniedException", "lambda:GetFunctionConfiguration"),
        (BUS, "AccessDeniedException", "events:DescribeEventBus"),
    ],
    ids=NAMES,
)
@virtual_time
async def test_a_probe_that_is_denied_knows_nothing(arn: str, code: str, permission: str) -> None:
    finding = await opened(arn, StubClients(script=[error(code)])).probe()
    assert finding is not None
    assert finding.unverified
    assert finding.message.startswith(f"could not be verified: on-failure destination {arn}: ")
    assert permission in finding.message


@virtual_time
async def test_a_probe_without_an_answer_is_a_finding() -> None:
    clients = StubClients(script=[HANG])
    finding = await opened(TOPIC, clients).probe()
    assert finding is not None
    assert not finding.unverified
    assert "no answer" in finding.message
    assert anyio.current_time() - START == 10


@pytest.mark.parametrize("arn", [QUEUE, TOPIC], ids=["sqs", "sns"])
@virtual_time
async def test_dst_03_a_probe_of_a_fifo_destination_needs_no_answer(arn: str) -> None:
    clients = StubClients()
    finding = await opened(f"{arn}.fifo", clients).probe()
    assert finding is not None
    assert "FIFO queues and topics cannot be destinations" in finding.message
    assert not finding.unverified
    assert clients.calls == []
