"""Fresh queues on a running server, with a client that is not the product's."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from tests.servers.clients import sqs_client
from tests.servers.running import Server

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient
    from types_aiobotocore_sqs.literals import QueueAttributeNameType
    from types_aiobotocore_sqs.type_defs import MessageTypeDef, ReceiveMessageRequestTypeDef, SendMessageRequestTypeDef


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHandle:
    server: Server
    name: str
    arn: str
    """As the server tells it."""
    url: str
    """As the product builds it: `<endpoint>/<account>/<name>`."""
    client: "SQSClient"

    @property
    def fifo(self) -> bool:
        return self.name.endswith(".fifo")

    async def send(self, *bodies: str, group: str = "group", delay: int = 0) -> list[str]:
        """Sends one after another, so in this order; gives back the message ids. `group` counts on FIFO queues, `delay` (seconds) on others."""
        ids = []
        for body in bodies:
            request: SendMessageRequestTypeDef = {"QueueUrl": self.url, "MessageBody": body}
            if self.fifo:
                request |= {"MessageGroupId": group, "MessageDeduplicationId": uuid.uuid4().hex}
            else:
                request["DelaySeconds"] = delay
            ids.append((await self.client.send_message(**request))["MessageId"])
        return ids

    async def receive(self, *, limit: int = 10, wait: int = 0, visibility: int | None = None) -> "Sequence[MessageTypeDef]":
        """What one receive brings, with all attributes. Not to be cancelled: what it would have got stays hidden until its timeout."""
        request: ReceiveMessageRequestTypeDef = {
            "QueueUrl": self.url,
            "MaxNumberOfMessages": limit,
            "WaitTimeSeconds": wait,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        if visibility is not None:
            request["VisibilityTimeout"] = visibility
        answer = await self.client.receive_message(**request)
        return answer.get("Messages", [])

    async def counts(self) -> tuple[int, int, int]:
        """How many records are visible, in flight, delayed. Exact on the test servers, approximate on AWS."""
        names: list[QueueAttributeNameType] = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        answer = await self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        visible, in_flight, delayed = (int(answer["Attributes"][name]) for name in names)
        return visible, in_flight, delayed

    async def wait_counts(self, *, visible: int = 0, in_flight: int = 0, delayed: int = 0, seconds: float = 10) -> None:
        """Comes back once `counts` are these; with nothing given, once the queue is empty. Fails the test after `seconds`.

        Asks without receiving, so it changes nothing. The pauses are short for the servers' sake, not for anybody's timing.
        """
        wanted = (visible, in_flight, delayed)
        deadline = anyio.current_time() + seconds
        while (counts := await self.counts()) != wanted:
            assert anyio.current_time() < deadline, f"after {seconds:g} s (visible, in flight, delayed) is {counts}, not {wanted}"
            await anyio.sleep(0.05)


@asynccontextmanager
async def client_on(server: Server) -> "AsyncIterator[SQSClient]":
    """An SQS client that asks once: what a server refuses, the test sees."""
    async with sqs_client(server) as client:
        yield client


@asynccontextmanager
async def queue_on(
    server: Server, *, fifo: bool = False, attributes: Mapping["QueueAttributeNameType", str] | None = None
) -> AsyncIterator[QueueHandle]:
    """A queue that no other test knows. `attributes` as CreateQueue takes them, for a FIFO queue beside FifoQueue.

    The client closes at the end. The queue stays: servers end with the session, and whoever still polls it
    (a worker on its way out) should not meet an error that the test did not ask for.
    """
    name = f"t-{uuid.uuid4().hex}{'.fifo' if fifo else ''}"
    wanted: dict[QueueAttributeNameType, str] = {**(attributes or {}), **({"FifoQueue": "true"} if fifo else {})}
    async with client_on(server) as client:
        created = await client.create_queue(QueueName=name, Attributes=wanted)
        # LocalStack's URLs hold a host name that does not resolve, but any client here goes by its endpoint.
        answer = await client.get_queue_attributes(QueueUrl=created["QueueUrl"], AttributeNames=["QueueArn"])
        arn = answer["Attributes"]["QueueArn"]
        yield QueueHandle(server=server, name=name, arn=arn, url=server.queue_url(arn), client=client)
