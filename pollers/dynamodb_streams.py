"""DynamoDB Streams (`spec/dynamodb-streams.md`): the source, and the record as the Lambda event shows it.

Attribute values stay as the service sends them, binary ones as base64 text (DDB-23): the client does not decode them.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from json import dumps
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pollers.aws.answers import answer_of, understanding
from pollers.aws.arn import Arn
from pollers.aws.clients import AwsClients, Observe
from pollers.errors import SourceError
from pollers.record import TRIM_HORIZON, Position, PositionKind, Record, RecordId, Shard
from pollers.shard_reading import IteratorPage, IteratorReader, foreign_position, json_size, open_reader, sequence_of
from pollers.source import StreamFacts, StreamSpec

if TYPE_CHECKING:
    from types_aiobotocore_dynamodbstreams import DynamoDBStreamsClient

_RETENTION: Final = 24 * 3600.0
"""Seconds; nothing in the API says it (DDB-12)."""
_PAGE_LIMIT: Final = 1000
_IMAGES: Final = ("Keys", "NewImage", "OldImage")


def envelope(records: Sequence[Record]) -> dict[str, Any]:
    """The Lambda event (DDB-20), copied to its depth: its batch may be invoked again."""
    return {"Records": [_copy(record.event) for record in records]}


def _copy(event: dict[str, Any]) -> dict[str, Any]:
    """By way of JSON, which the event is made of: four times as fast as `deepcopy`."""
    try:
        copied: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    except UnicodeEncodeError:  # a lone surrogate in the text
        return deepcopy(event)
    return copied


SPEC: Final = StreamSpec(
    source="dynamodb",
    service="dynamodb",
    parameters=frozenset({
        "EventSourceArn", "FunctionName", "StartingPosition", "BatchSize", "BisectBatchOnFunctionError", "DestinationConfig",
        "Enabled", "FilterCriteria", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts", "ParallelizationFactor", "TumblingWindowInSeconds", "MetricsConfig", "KMSKeyArn", "Tags",
    }),
    default_batch_size=100,
    starting_positions=frozenset({PositionKind.TRIM_HORIZON, PositionKind.LATEST}),
    base_interval=0.25,
    calls_per_second=5.0,
    page_limit=_PAGE_LIMIT,
    envelope=envelope,
    info_key="DDBStreamBatchInfo",
    whole_seconds=True,
)  # fmt: skip
"""Parameters and limits: DDB-01, DDB-02, DDB-10, DDB-11. AWS names no rate of GetRecords per shard: Kinesis' own is kept to."""


class DynamodbStream:
    """The stream of a table, as a `StreamSource` (and an `IteratorStream`).

    Making it asks AWS nothing; its client is made for the first request.
    """

    precision = 1

    def __init__(self, clients: AwsClients, arn: str, *, observe: Observe, clock: Callable[[], float]) -> None:
        """`clock`: the wall clock, seconds since the epoch."""
        parsed = Arn.parse(arn)
        self._clients = clients
        self._client: DynamoDBStreamsClient | None = None
        self._arn = arn
        self._name = parsed.resource
        self._region = parsed.region
        self._observe = observe
        self._clock = clock

    async def describe(self) -> StreamFacts:
        await self._page_of_shards(Limit=1)
        return StreamFacts(retention=_RETENTION)

    async def list_shards(self) -> list[Shard]:
        answer = await self._page_of_shards()
        listed = list(answer["Shards"])
        while last := answer.get("LastEvaluatedShardId"):
            answer = await self._page_of_shards(ExclusiveStartShardId=last)
            listed += answer["Shards"]
        with understanding("DescribeStream", on=self._name):
            return [_shard(each) for each in listed]

    async def open_shard(self, shard: str, at: Position) -> IteratorReader:
        return await open_reader(self, shard, at, now=self._clock())

    async def take_iterator(self, shard: str, at: Position) -> str:
        """The service has no AT_TIMESTAMP: the shard is read from its beginning, and the reader leaves out what is older."""
        client = await self._open()
        known = TRIM_HORIZON if at.kind is PositionKind.AT_TIMESTAMP else at
        where: dict[str, Any] = {"StreamArn": self._arn, "ShardId": shard, "ShardIteratorType": known.kind.value}
        if known.kind is PositionKind.AFTER_SEQUENCE_NUMBER:
            where["SequenceNumber"] = known.sequence
        asked = client.get_shard_iterator(**where)
        on = f"{shard} of {self._name}"
        try:
            answer = await answer_of("GetShardIterator", asked, on=on, needs="ShardIterator", observe=self._observe)
        except SourceError as error:
            if error.code == "ValidationException" and known.kind is PositionKind.AFTER_SEQUENCE_NUMBER:
                raise foreign_position(error, stream=self._name) from error
            raise
        iterator: str = answer["ShardIterator"]
        return iterator

    async def take_page(self, shard: str, iterator: str, *, limit: int, at: Position) -> IteratorPage:  # noqa: ARG002  # the service itself refuses a trimmed one
        """A page may end at 1 MB, and the service does not say whether more waits: where records came, it is asked again."""
        client = await self._open()
        asked = client.get_records(ShardIterator=iterator, Limit=min(limit, _PAGE_LIMIT))
        on = f"{shard} of {self._name}"
        answer = await answer_of("GetRecords", asked, on=on, needs="Records", observe=self._observe)
        with understanding("GetRecords", on=on):
            records = [self._record(each) for each in answer["Records"]]
        following = answer.get("NextShardIterator") or None
        return IteratorPage(records=records, next_iterator=following, more=following is not None and bool(records))

    async def _page_of_shards(self, **page: Any) -> dict[str, Any]:
        client = await self._open()
        asked = client.describe_stream(StreamArn=self._arn, **page)
        answer = await answer_of("DescribeStream", asked, on=self._name, needs="StreamDescription", observe=self._observe)
        description: dict[str, Any] = answer["StreamDescription"]
        with understanding("DescribeStream", on=self._name):
            description["Shards"]  # a listing without it must not pass for a stream without shards
        return description

    async def _open(self) -> "DynamoDBStreamsClient":
        if self._client is None:
            client: DynamoDBStreamsClient = await self._clients.client("dynamodbstreams", self._region, retries=False)
            self._client = client
        return self._client

    def _record(self, sent: dict[str, Any]) -> Record:
        """Keys in Lambda's order (DDB-20, DDB-21), the creation time in whole seconds."""
        change = sent["dynamodb"]
        sequence, created = sequence_of(change["SequenceNumber"]), float(int(change["ApproximateCreationDateTime"]))
        shown: dict[str, Any] = {"ApproximateCreationDateTime": created}
        shown.update((image, change[image]) for image in _IMAGES if change.get(image) is not None)
        shown["SequenceNumber"] = sequence
        shown["SizeBytes"] = change["SizeBytes"]
        shown["StreamViewType"] = change["StreamViewType"]
        event: dict[str, Any] = {
            "eventID": sent["eventID"],
            "eventName": sent["eventName"],
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": self._region,
            "dynamodb": shown,
        }
        if who := sent.get("userIdentity"):  # an expiry by TTL (DDB-27)
            event["userIdentity"] = {"principalId": who["PrincipalId"], "type": who["Type"]}
        event["eventSourceARN"] = self._arn
        return Record(
            id=RecordId(sequence), event=event, size=json_size(event), arrived=created, group=_canonical(change["Keys"])
        )


def _canonical(keys: dict[str, Any]) -> str:
    """One text for one item (COM-62)."""
    try:
        return msgspec.json.encode(keys, order="sorted").decode()
    except UnicodeEncodeError:  # as above
        return dumps(keys, sort_keys=True, separators=(",", ":"))


def _shard(listed: dict[str, Any]) -> Shard:
    parent = listed.get("ParentShardId")
    return Shard(
        id=listed["ShardId"],
        parents=(parent,) if parent else (),
        closed=listed.get("SequenceNumberRange", {}).get("EndingSequenceNumber") is not None,
    )
