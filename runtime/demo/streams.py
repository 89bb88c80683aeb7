"""The streams of the demo: a Kinesis stream that is resharded on the way, and a table whose stream's shards roll over.

Each has poison records, and an on-failure destination that is told of them. At the end every shard is read from its checkpoint to
its end with an ordinary client, and the destination is emptied: what the worker says of itself is not what is counted.
"""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio

from runtime.demo.line import ACCOUNT, REGION, Counts, DemoClients, Line, Reading
from runtime.local.server import LocalEndpoint

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.type_defs import AttributeValueTypeDef
    from types_aiobotocore_kinesis.type_defs import PutRecordsRequestEntryTypeDef

_PRODUCE_EVERY: Final = 0.25
_RESHARD_EVERY: Final = 3.0
_POISON_EVERY: Final = 60


@dataclass(slots=True, kw_only=True)
class KinesisLine:
    """A `Line`. Its batches fail as a whole: bisecting finds the poison."""

    name: str = "clicks"
    source: str = "kinesis"
    shows: str = "bisects around poison; shards split, merge"
    handler: str = "clicks"
    counts: Counts = field(default_factory=Counts)
    serial: int = 0

    def mapping(self) -> str:
        return (
            f"    EventSourceArn: arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{self.name}\n"
            "    StartingPosition: TRIM_HORIZON\n"
            "    BatchSize: 50\n"
            "    BisectBatchOnFunctionError: true\n" + _giving_up(self.name)
        )

    async def make(self, clients: DemoClients) -> None:
        await clients.sqs.create_queue(QueueName=f"{self.name}-failed")
        await clients.kinesis.create_stream(StreamName=self.name, ShardCount=2)

    async def produce(self, clients: DemoClients) -> None:
        resharded = anyio.current_time()
        while True:
            with anyio.CancelScope(shield=True):
                records: list[PutRecordsRequestEntryTypeDef] = [self._record() for _ in range(1 + self.serial % 8)]
                answer = await clients.kinesis.put_records(StreamName=self.name, Records=records)
                self.counts.produced += len(records) - answer.get("FailedRecordCount", 0)
                if anyio.current_time() - resharded > _RESHARD_EVERY:
                    resharded = anyio.current_time()
                    await self._reshard(clients)
            await anyio.sleep(_PRODUCE_EVERY)

    def look(self, read: Reading) -> None:
        _look(self, read)

    async def close_account(self, clients: DemoClients, read: Reading) -> None:
        self.look(read)
        left, checkpoints = 0, read.checkpoints(self)
        for shard in [each["ShardId"] for each in (await clients.kinesis.list_shards(StreamName=self.name))["Shards"]]:
            checkpoint = checkpoints.get(shard, "")  # the worker may not have seen a new one yet
            if checkpoint != "SHARD_END":
                after: Any = {"ShardIteratorType": "TRIM_HORIZON"}
                if checkpoint.isdecimal():
                    after = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": checkpoint}
                iterator = (await clients.kinesis.get_shard_iterator(StreamName=self.name, ShardId=shard, **after))[
                    "ShardIterator"
                ]
                left += len((await clients.kinesis.get_records(ShardIterator=iterator, Limit=10_000))["Records"])
        self.counts.waiting = left
        self.counts.given_up = await _given_up(self, clients, read)

    async def _reshard(self, clients: DemoClients) -> None:
        """Split the first open shard, or merge two that were split."""
        listed = (await clients.kinesis.list_shards(StreamName=self.name))["Shards"]
        shards = [shard for shard in listed if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
        shards.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        first = shards[0]
        if len(shards) > 2:  # noqa: PLR2004  # the number of shards at the beginning
            await clients.kinesis.merge_shards(
                StreamName=self.name, ShardToMerge=first["ShardId"], AdjacentShardToMerge=shards[1]["ShardId"]
            )
        else:
            middle = (int(first["HashKeyRange"]["StartingHashKey"]) + int(first["HashKeyRange"]["EndingHashKey"])) // 2
            await clients.kinesis.split_shard(StreamName=self.name, ShardToSplit=first["ShardId"], NewStartingHashKey=str(middle))

    def _record(self) -> "PutRecordsRequestEntryTypeDef":
        self.serial += 1
        click = {"id": self.serial, "poison": self.serial % _POISON_EVERY == 0}
        return {"Data": json.dumps(click).encode(), "PartitionKey": f"user-{self.serial % 37}"}


@dataclass(slots=True, kw_only=True)
class TableLine:
    """A `Line`. Its handler reports the poison item."""

    endpoint: LocalEndpoint
    name: str = "inventory"
    source: str = "dynamodb"
    shows: str = "reports poison; shards roll over"
    handler: str = "inventory"
    counts: Counts = field(default_factory=Counts)
    serial: int = 0
    stream_arn: str = ""

    def mapping(self) -> str:
        return (
            f"    EventSourceArn: {self.stream_arn}\n"
            "    StartingPosition: TRIM_HORIZON\n"
            "    BatchSize: 20\n"
            "    FunctionResponseTypes: [ReportBatchItemFailures]\n" + _giving_up(self.name)
        )

    async def make(self, clients: DemoClients) -> None:
        await clients.sqs.create_queue(QueueName=f"{self.name}-failed")
        answer = await clients.dynamodb.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "sku", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "sku", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.stream_arn = answer["TableDescription"]["LatestStreamArn"]

    async def produce(self, clients: DemoClients) -> None:
        rolled_over = anyio.current_time()
        while True:
            if anyio.current_time() - rolled_over > _RESHARD_EVERY:  # what AWS does every few hours, and no client can ask for
                rolled_over = anyio.current_time()
                self.endpoint.dynamodb.stream(self.stream_arn).roll_over(self.endpoint.state.clock())
            for _ in range(1 + self.serial % 5):
                with anyio.CancelScope(shield=True):
                    await clients.dynamodb.put_item(TableName=self.name, Item=self._item())
                    self.counts.produced += 1
            await anyio.sleep(_PRODUCE_EVERY)

    def look(self, read: Reading) -> None:
        _look(self, read)

    async def close_account(self, clients: DemoClients, read: Reading) -> None:
        _look(self, read)
        left, checkpoints = 0, read.checkpoints(self)
        listed = (await clients.streams.describe_stream(StreamArn=self.stream_arn))["StreamDescription"]["Shards"]
        for shard in [each["ShardId"] for each in listed]:
            checkpoint = checkpoints.get(shard, "")
            if checkpoint != "SHARD_END":
                after: Any = {"ShardIteratorType": "TRIM_HORIZON"}
                if checkpoint.isdecimal():
                    after = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": checkpoint}
                iterator = (await clients.streams.get_shard_iterator(StreamArn=self.stream_arn, ShardId=shard, **after))[
                    "ShardIterator"
                ]
                left += len((await clients.streams.get_records(ShardIterator=iterator))["Records"])
        self.counts.waiting = left
        self.counts.given_up = await _given_up(self, clients, read)

    def _item(self) -> "dict[str, AttributeValueTypeDef]":
        self.serial += 1
        item: dict[str, AttributeValueTypeDef] = {"sku": {"S": f"sku-{self.serial % 23}"}, "count": {"N": str(self.serial)}}
        if self.serial % _POISON_EVERY == 0:
            item["poison"] = {"BOOL": True}
        return item


def _giving_up(name: str) -> str:
    return (
        "    MaximumRetryAttempts: 1\n"
        f"    DestinationConfig: {{OnFailure: {{Destination: 'arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-failed'}}}}\n"
    )


def _look(line: Line, read: Reading) -> None:
    """From the worker's own metrics; what is not done yet waits."""
    counts = line.counts
    counts.failed = read.metric("esm_failed_invoke_events_total", line)
    counts.succeeded = read.metric("esm_invoked_events_total", line) - counts.failed
    counts.given_up = read.metric("esm_on_failure_destination_delivered_events_total", line)
    counts.waiting = counts.produced - counts.succeeded - counts.given_up


async def _given_up(line: Line, clients: DemoClients, read: Reading) -> int:
    """Empties the on-failure destination: how many records its messages tell of.

    Somebody may have redriven some of them meanwhile: those are told by nobody but the worker.
    """
    queues = {queue["name"]: queue for queue in read.endpoint.state.inspect()["queues"]}
    redriven = queues[f"{line.name}-failed"]["removed"] > 0
    url = f"{clients.sqs.meta.endpoint_url}/{ACCOUNT}/{line.name}-failed"
    told = 0
    while messages := (await clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get("Messages"):
        for message in messages:
            body = json.loads(message["Body"])
            told += (body.get("KinesisBatchInfo") or body["DDBStreamBatchInfo"])["batchSize"]
    return max(told, read.metric("esm_on_failure_destination_delivered_events_total", line)) if redriven else told
