"""The embedded endpoint in the test's own loop, with queues, streams, tables, sends, counts and faults for a worker elsewhere."""

import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from runtime.local import LocalEndpoint
from runtime.local.faults import Fault, parse_fault
from runtime.local.kinesis.operations import OPERATIONS as KINESIS
from runtime.local.kinesis.streams import LocalStream
from runtime.local.operations import OPERATIONS
from runtime.local.queues import Queue

ACCOUNT: Final = "123456789012"
REGION: Final = "eu-west-1"
_SIGNED: Final = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/sqs/aws4_request, SignedHeaders=host, Signature=0"
}
_JSON_1_1: Final = frozenset({"Kinesis_20131202"})
"""All others speak JSON 1.0."""
_STREAMS: Final = frozenset({"DescribeStream", "GetShardIterator", "GetRecords"})
_KNOWN: Final = {"sqs": frozenset(OPERATIONS), "kinesis": frozenset(KINESIS) | {"SubscribeToShard"}, "dynamodbstreams": _STREAMS}
_ENTRIES: Final = 10
_RECORDS: Final = 500


def arn_of(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def stream_arn(name: str) -> str:
    return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"


def _record(text: str, key: str) -> dict[str, str]:
    return {"Data": base64.b64encode(text.encode()).decode(), "PartitionKey": key}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAws:
    """A running endpoint, for a client that asks over HTTP and a test that looks inside."""

    endpoint: LocalEndpoint
    http: aiohttp.ClientSession

    async def ask(self, operation: str, *, of: str = "AmazonSQS", **request: Any) -> Any:
        """`of`: the first part of the X-Amz-Target of a service."""
        content = f"application/x-amz-json-1.{1 if of in _JSON_1_1 else 0}"
        headers = {**_SIGNED, "X-Amz-Target": f"{of}.{operation}", "Content-Type": content}
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
        request: dict[str, Any] = {
            "QueueUrl": self.url_of(name),
            "MaxNumberOfMessages": 10,
            "MessageSystemAttributeNames": ["All"],
        }
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

    # streams and tables

    async def make_stream(self, name: str, *, shards: int = 1) -> str:
        """Gives the ARN."""
        await self.kinesis("CreateStream", StreamName=name, ShardCount=shards)
        return stream_arn(name)

    async def put(self, name: str, *texts: str, key: str | None = None) -> list[str]:
        """Puts in this order; gives back the sequence numbers. Without a key, each record has its text for one."""
        numbers: list[str] = []
        for start in range(0, len(texts), _RECORDS):
            records = [_record(text, key or text) for text in texts[start : start + _RECORDS]]
            answer = await self.kinesis("PutRecords", StreamName=name, Records=records)
            numbers += [record["SequenceNumber"] for record in answer["Records"]]
        return numbers

    async def put_keyed(self, name: str, texts: Mapping[str, Sequence[str]]) -> None:
        """Under each key its texts, in that order; the keys take turns."""
        for each in zip(*texts.values(), strict=True):
            records = [_record(text, key) for key, text in zip(texts, each, strict=True)]
            await self.kinesis("PutRecords", StreamName=name, Records=records)

    async def split(self, name: str) -> str:
        """Splits the first open shard in the middle of its hash keys; gives its id."""
        shard = self.stream(name).open_shards[0]
        middle = str((shard.keys.start + shard.keys.end) // 2)
        await self.kinesis("SplitShard", StreamName=name, ShardToSplit=shard.id, NewStartingHashKey=middle)
        return shard.id

    async def merge(self, name: str) -> None:
        """Merges the first two open shards."""
        one, other = self.stream(name).open_shards[:2]
        await self.kinesis("MergeShards", StreamName=name, ShardToMerge=one.id, AdjacentShardToMerge=other.id)

    async def delete_stream(self, name: str) -> None:
        await self.kinesis("DeleteStream", StreamName=name)

    def stream(self, name: str) -> LocalStream:
        return self.endpoint.kinesis.stream(name, account=ACCOUNT, region=REGION)

    async def kinesis(self, operation: str, **request: Any) -> Any:
        """Gives the answer."""
        return await self.ask(operation, of="Kinesis_20131202", **request)

    async def make_table(self, name: str, *, shards: int = 1) -> str:
        """A table with the string key `pk` and a stream; gives the stream's ARN."""
        self.endpoint.dynamodb.new_stream_shards = shards
        answer = await self._dynamodb(
            "CreateTable",
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        return str(answer["TableDescription"]["LatestStreamArn"])

    async def put_items(self, table: str, *texts: str, key: str = "key") -> None:
        """One after another under one key, each replacing the one before."""
        for text in texts:
            await self._dynamodb("PutItem", TableName=table, Item={"pk": {"S": key}, "text": {"S": text}})

    async def _dynamodb(self, operation: str, **request: Any) -> Any:
        return await self.ask(operation, of="DynamoDB_20120810", **request)

    async def control(self, path: str, **body: Any) -> Any:
        """`POST /_local/<path>`."""
        async with self.http.post(f"{self.endpoint.url}/_local/{path}", json=body) as answer:
            assert answer.status in (200, 201), await answer.text()
            return await answer.json()

    # faults

    def add_fault(self, **given: Any) -> Fault:
        return self.endpoint.faults.add(parse_fault(given, services=_KNOWN))

    def add_faults(self, operations: Sequence[str], **given: Any) -> dict[str, Fault]:
        """The same fault for each operation."""
        return {operation: self.add_fault(operation=operation, **given) for operation in operations}

    def clear_faults(self) -> None:
        self.endpoint.faults.clear()


@asynccontextmanager
async def local_aws(*, port: int = 0) -> AsyncIterator[LocalAws]:
    async with LocalEndpoint.start(port=port) as endpoint, aiohttp.ClientSession() as http:
        yield LocalAws(endpoint=endpoint, http=http)
