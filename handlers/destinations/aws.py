"""The services of AWS that take failure records. SQS, SNS and S3 get what AWS sends them; Lambda and EventBridge are ours."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from handlers.destinations.errors import NOT_FIFO, NotTaken
from handlers.destinations.failure import FailureRecord, ProbeFinding
from handlers.destinations.target import Clients, Request, Target

if TYPE_CHECKING:
    from types_aiobotocore_events import EventBridgeClient
    from types_aiobotocore_lambda import LambdaClient
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sqs import SQSClient

_ASYNC_LIMIT: Final = 1_000_000
"""Bytes of an asynchronous invocation's event: AWS says 1 MB (ASY-02) and not which."""
_ACCEPTED: Final = 202
"""The answer to an asynchronous invocation (ASY-01)."""


class SqsDestination:
    """A standard queue. The body is the message (DST-20); the queue is addressed as a source is, without GetQueueUrl."""

    def __init__(self, clients: Clients, arn: str) -> None:
        _, _, _, region, account, name = arn.split(":", 5)
        self._target = Target(clients=clients, service="sqs", region=region, arn=arn)
        self._path = f"/{account}/{name}"

    async def send(self, failure: FailureRecord) -> None:
        body = encode(failure.body)

        async def send(client: "SQSClient") -> None:
            _confirm(await client.send_message(QueueUrl=self._url(client), MessageBody=body), "MessageId")

        await self._target.deliver(Request(operation="SendMessage", permission="sqs:SendMessage"), send)

    async def probe(self) -> ProbeFinding | None:
        async def ask(client: "SQSClient") -> None:
            _confirm(await client.get_queue_attributes(QueueUrl=self._url(client), AttributeNames=["QueueArn"]), "Attributes")

        request = Request(operation="GetQueueAttributes", permission="sqs:GetQueueAttributes")
        return _fifo(self._target.arn) or await self._target.probe(request, ask)

    def _url(self, client: "SQSClient") -> str:
        endpoint: str = client.meta.endpoint_url
        return endpoint.rstrip("/") + self._path


class SnsDestination:
    """A standard topic. The body is the message (DST-20)."""

    def __init__(self, clients: Clients, arn: str) -> None:
        self._target = Target(clients=clients, service="sns", region=arn.split(":")[3], arn=arn)

    async def send(self, failure: FailureRecord) -> None:
        body = encode(failure.body)

        async def publish(client: "SNSClient") -> None:
            _confirm(await client.publish(TopicArn=self._target.arn, Message=body), "MessageId")

        await self._target.deliver(Request(operation="Publish", permission="sns:Publish"), publish)

    async def probe(self) -> ProbeFinding | None:
        async def ask(client: "SNSClient") -> None:
            _confirm(await client.get_topic_attributes(TopicArn=self._target.arn), "Attributes")

        request = Request(operation="GetTopicAttributes", permission="sns:GetTopicAttributes")
        return _fifo(self._target.arn) or await self._target.probe(request, ask)


class S3Destination:
    """A bucket. Every failure record is an object, with the event beside the body as text (DST-36, DST-37)."""

    def __init__(self, clients: Clients, arn: str, *, region: str, unique: Callable[[], UUID] = uuid4) -> None:
        """`region`: where to ask, as the ARN of a bucket has none. `unique` makes the random part of the keys."""
        self._target = Target(clients=clients, service="s3", region=region, arn=arn)
        self._bucket = arn.split(":", 5)[5]
        self._unique = unique

    async def send(self, failure: FailureRecord) -> None:
        key = object_key(failure, self._unique())  # one for all tries: an object that was written twice is still one
        body = encode({**failure.body, "payload": encode(failure.event)}).encode()

        async def put(client: "S3Client") -> None:
            _confirm(await client.put_object(Bucket=self._bucket, Key=key, Body=body), "ETag")

        await self._target.deliver(Request(operation="PutObject", permission="s3:PutObject"), put)

    async def probe(self) -> ProbeFinding | None:
        async def ask(client: "S3Client") -> None:
            await client.head_bucket(Bucket=self._bucket)

        return await self._target.probe(Request(operation="HeadBucket", permission="s3:ListBucket"), ask)


class LambdaDestination:
    """A function, invoked asynchronously: beyond AWS, whose mappings have no such destination.

    Its event is the body and, as in the records of Lambda's own asynchronous destinations (ASY-24), `requestPayload`: the event
    that failed, as an object. It is left out where the whole would be over the limit of such an invocation; the positions in the
    body still tell where the records are.
    """

    def __init__(self, clients: Clients, arn: str) -> None:
        self._target = Target(clients=clients, service="lambda", region=arn.split(":")[3], arn=arn)

    async def send(self, failure: FailureRecord) -> None:
        event = encode({**failure.body, "requestPayload": failure.event}).encode()
        if len(event) > _ASYNC_LIMIT:
            event = encode(failure.body).encode()

        async def invoke(client: "LambdaClient") -> None:
            answer = await client.invoke(FunctionName=self._target.arn, InvocationType="Event", Payload=event)
            async with answer["Payload"] as stream:  # read, or its connection is lost to the pool
                await stream.read()
            if answer["StatusCode"] != _ACCEPTED:
                raise NotTaken("malformed_answer", f"the status is {answer['StatusCode']}, not {_ACCEPTED} (a proxy?)")

        await self._target.deliver(Request(operation="Invoke", permission="lambda:InvokeFunction"), invoke)

    async def probe(self) -> ProbeFinding | None:
        async def ask(client: "LambdaClient") -> None:
            _confirm(await client.get_function_configuration(FunctionName=self._target.arn), "FunctionArn")

        request = Request(operation="GetFunctionConfiguration", permission="lambda:GetFunctionConfiguration")
        return await self._target.probe(request, ask)


class EventBridgeDestination:
    """An event bus: beyond AWS, whose mappings have no such destination.

    The event looks like those of Lambda's own asynchronous destinations (ASY-42), so one rule catches both; its detail is the
    body. AWS answers an event for a bus that is not there as if it had taken it: only `probe` tells.
    """

    def __init__(self, clients: Clients, arn: str) -> None:
        self._target = Target(clients=clients, service="events", region=arn.split(":")[3], arn=arn)

    async def send(self, failure: FailureRecord) -> None:
        detail = encode(failure.body)

        async def put(client: "EventBridgeClient") -> None:
            answer = await client.put_events(
                Entries=[
                    {
                        "Source": "lambda",
                        "DetailType": "Lambda Function Invocation Result - Failure",
                        "Resources": [self._target.arn, failure.body["requestContext"]["functionArn"]],
                        "Detail": detail,
                        "EventBusName": self._target.arn,
                    }
                ]
            )
            (entry,) = answer["Entries"]
            if "ErrorCode" in entry:  # the request succeeds all the same
                raise NotTaken(entry["ErrorCode"], entry.get("ErrorMessage", ""))
            _confirm(entry, "EventId")

        await self._target.deliver(Request(operation="PutEvents", permission="events:PutEvents"), put)

    async def probe(self) -> ProbeFinding | None:
        async def ask(client: "EventBridgeClient") -> None:
            _confirm(await client.describe_event_bus(Name=self._target.arn), "Arn")

        return await self._target.probe(Request(operation="DescribeEventBus", permission="events:DescribeEventBus"), ask)


def object_key(failure: FailureRecord, unique: UUID) -> str:
    """The key of an S3 object (DST-36), from the `timestamp` of the body, which is UTC."""
    second: str = failure.body["timestamp"][:19]
    day, shown = second[:10].replace("-", "/"), second.replace(":", ".")
    return f"aws/lambda/{failure.mapping}/{failure.shard}/{day}/{shown}-{unique}"


def encode(document: dict[str, Any]) -> str:
    """Compact JSON (DST-20), fit for UTF-8: a lone surrogate, which is not, makes it ASCII."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(document, separators=(",", ":"))
    return text


def _confirm(answer: Mapping[str, Any], key: str) -> None:
    """A body that botocore cannot read, a proxy's page, shows as an empty answer."""
    if not answer.get(key):
        raise NotTaken("malformed_answer", f"the answer has no {key} (a proxy?)")


def _fifo(arn: str) -> ProbeFinding | None:
    """DST-03: accepted in a configuration, but no delivery succeeds."""
    if not arn.endswith(".fifo"):
        return None
    return ProbeFinding(message=f"on-failure destination {arn}: {NOT_FIFO}", unverified=False)
