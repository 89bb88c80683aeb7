"""The embedded endpoint in the test's own loop, with queues, sends, counts and faults for a worker in another process."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from runtime.local import LocalEndpoint
from runtime.local.faults import Fault, parse_fault
from runtime.local.operations import OPERATIONS
from runtime.local.queues import Queue

ACCOUNT: Final = "123456789012"
REGION: Final = "eu-west-1"
_SIGNED: Final = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/sqs/aws4_request, SignedHeaders=host, Signature=0"
}
_ENTRIES: Final = 10


def arn_of(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAws:
    """A running endpoint, for a client that asks over HTTP and a test that looks inside."""

    endpoint: LocalEndpoint
    http: aiohttp.ClientSession

    async def ask(self, operation: str, **request: Any) -> Any:
        headers = {**_SIGNED, "X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
        async with self.http.post(self.endpoint.url, data=json.dumps(request), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json(content_type=None)

    async def make_queue(self, name: str, *, visibility: int = 30, dead_after: int | None = None) -> None:
        """`dead_after`: receives after which a message moves to `<name>-dead`, which is made as well."""
        attributes = {"VisibilityTimeout": str(visibility)}
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        if dead_after is not None:
            await self.ask("CreateQueue", QueueName=f"{name}-dead")
            redrive = {"deadLetterTargetArn": arn_of(f"{name}-dead"), "maxReceiveCount": dead_after}
            attributes["RedrivePolicy"] = json.dumps(redrive)
        await self.ask("CreateQueue", QueueName=name, Attributes=attributes)

    async def send(self, name: str, *bodies: str, group: str | None = None) -> list[str]:
        """Sends in this order, ten in one request; gives back the message ids."""
        ids: list[str] = []
        for start in range(0, len(bodies), _ENTRIES):
            entries = [
                {"Id": str(number), "MessageBody": body, **self._fifo_fields(group, start + number)}
                for number, body in enumerate(bodies[start : start + _ENTRIES])
            ]
            answer = await self.ask("SendMessageBatch", QueueUrl=self.url_of(name), Entries=entries)
            ids += [sent["MessageId"] for sent in answer["Successful"]]
        assert len(ids) == len(bodies)
        return ids

    def _fifo_fields(self, group: str | None, number: int) -> dict[str, str]:
        return {} if group is None else {"MessageGroupId": group, "MessageDeduplicationId": f"{group}-{number}"}

    async def receive_all(self, name: str) -> list[dict[str, Any]]:
        """Every visible message, each once; they stay hidden for the queue's timeout."""
        messages: list[dict[str, Any]] = []
        request = {"QueueUrl": self.url_of(name), "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"]}
        while got := (await self.ask("ReceiveMessage", **request)).get("Messages"):
            messages += got
        return messages

    def url_of(self, name: str) -> str:
        return f"{self.endpoint.url}/{ACCOUNT}/{name}"

    def queue(self, name: str) -> Queue:
        """The queue itself, with everything that was due by now done."""
        found = self.endpoint.state.queue(name, account=ACCOUNT, region=REGION)
        found.advance(self.endpoint.state.clock())
        return found

    def counts(self, name: str) -> tuple[int, int]:
        """How many messages are visible and in flight."""
        queue = self.queue(name)
        return queue.visible, queue.in_flight

    def is_empty(self, *names: str) -> bool:
        return all(len(self.queue(name)) == 0 for name in names)

    async def has_open_poll(self, name: str) -> bool:
        """Whether a long poll waits on the queue."""
        async with self.http.get(f"{self.endpoint.url}/_local/") as answer:
            queues = (await answer.json())["queues"]
        return any(queue["waiting"] for queue in queues if queue["name"] == name)

    def requests(self, operation: str) -> int:
        """How often it was asked for, refused requests too."""
        return self.endpoint.state.requests[f"sqs.{operation}"]

    def add_fault(self, **given: Any) -> Fault:
        known = {"sqs": frozenset(OPERATIONS)}
        return self.endpoint.faults.add(parse_fault(given, services=known))

    def add_faults(self, operations: Sequence[str], **given: Any) -> dict[str, Fault]:
        """The same fault for each operation."""
        return {operation: self.add_fault(operation=operation, **given) for operation in operations}

    def clear_faults(self) -> None:
        self.endpoint.faults.clear()


@asynccontextmanager
async def local_aws(*, port: int = 0) -> AsyncIterator[LocalAws]:
    async with LocalEndpoint.start(port=port) as endpoint, aiohttp.ClientSession() as http:
        yield LocalAws(endpoint=endpoint, http=http)
