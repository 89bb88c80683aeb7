"""Kinesis Data Streams (`spec/kinesis.md`): the source, and the record as the Lambda event shows it.

Streams are addressed by ARN, as AWS recommends: one of another account is reached in no other way (KIN-09). Some servers know
only names; where the first request is refused as badly formed, the name is tried, and kept when it works.

A position whose records are gone is not refused: Kinesis answers empty pages that stay as far behind as the stream keeps records
(https://github.com/harlow/kinesis-consumer/issues/125). That is how it is told here.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pollers.aws.answers import answer_of, understanding
from pollers.aws.arn import Arn
from pollers.aws.clients import AwsClients, Observe
from pollers.errors import PositionTrimmed, SourceError
from pollers.record import Position, PositionKind, Record, RecordId, Shard
from pollers.shard_reading import IteratorPage, IteratorReader, foreign_position, json_size, open_reader, sequence_of
from pollers.source import StreamFacts, StreamSpec

if TYPE_CHECKING:
    from types_aiobotocore_kinesis import KinesisClient

_BADLY_FORMED: Final = frozenset(
    {"ValidationException", "InvalidArgumentException", "MissingParameter", "SerializationException"}
)
"""Codes with which a server refuses a request that names the stream by ARN only."""
_SHORTEST_RETENTION: Final = 24 * 3600
_PAGE_LIMIT: Final = 10_000


def envelope(records: Sequence[Record]) -> dict[str, Any]:
    """The Lambda event (KIN-20), copied as deep as a record goes: its batch may be invoked again."""
    return {"Records": [{**record.event, "kinesis": {**record.event["kinesis"]}} for record in records]}


SPEC: Final = StreamSpec(
    source="kinesis",
    service="kinesis",
    parameters=frozenset({
        "EventSourceArn", "FunctionName", "StartingPosition", "StartingPositionTimestamp", "BatchSize",
        "BisectBatchOnFunctionError", "DestinationConfig", "Enabled", "FilterCriteria", "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts", "ParallelizationFactor",
        "TumblingWindowInSeconds", "MetricsConfig", "KMSKeyArn", "Tags",
    }),
    default_batch_size=100,
    starting_positions=frozenset({PositionKind.TRIM_HORIZON, PositionKind.LATEST, PositionKind.AT_TIMESTAMP}),
    base_interval=1.0,
    calls_per_second=5.0,
    page_limit=_PAGE_LIMIT,
    envelope=envelope,
    info_key="KinesisBatchInfo",
    whole_seconds=False,
)  # fmt: skip
"""Parameters and limits: KIN-01, KIN-10, KIN-12."""


class KinesisStream:
    """One stream, as a `StreamSource` (and an `IteratorStream`).

    Making it asks AWS nothing; its client is made for the first request.
    """

    precision = 1000

    def __init__(self, clients: AwsClients, arn: str, *, observe: Observe, clock: Callable[[], float]) -> None:
        """`arn`: of the stream, or of a consumer of it: read like the stream itself (KIN-11), and shown in events (KIN-23).

        `clock`: the wall clock, seconds since the epoch.
        """
        parsed = Arn.parse(arn)
        self._clients = clients
        self._client: KinesisClient | None = None
        self._arn = arn
        self._stream_arn = arn.partition("/consumer/")[0]
        self._name = self._stream_arn.partition("/")[2]
        self._region = parsed.region
        self._role = f"arn:{parsed.partition}:iam::{parsed.account}:role/esm-runtime"
        self._address: dict[str, Any] = {}
        self._observe = observe
        self._clock = clock

    async def describe(self) -> StreamFacts:
        client = await self._open()
        answer = await self._ask_stream(
            "DescribeStreamSummary",
            lambda address: client.describe_stream_summary(**address),
            on=self._name,
            needs="StreamDescriptionSummary",
        )
        with understanding("DescribeStreamSummary", on=self._name):
            return StreamFacts(retention=answer["StreamDescriptionSummary"]["RetentionPeriodHours"] * 3600.0)

    async def list_shards(self) -> list[Shard]:
        """Pages by hand: AWS refuses NextToken beside a name or ARN, and botocore's paginator sends it so."""
        client = await self._open()
        answer = await self._ask_stream(
            "ListShards", lambda address: client.list_shards(**address), on=self._name, needs="Shards"
        )
        listed = list(answer["Shards"])
        while token := answer.get("NextToken"):
            asked = client.list_shards(NextToken=token)
            answer = await answer_of("ListShards", asked, on=self._name, needs="Shards", observe=self._observe)
            listed += answer["Shards"]
        with understanding("ListShards", on=self._name):
            return [_shard(each) for each in listed]

    async def open_shard(self, shard: str, at: Position) -> IteratorReader:
        return await open_reader(self, shard, at, now=self._clock())

    async def take_iterator(self, shard: str, at: Position) -> str:
        client = await self._open()
        where: dict[str, Any] = {"ShardId": shard, "ShardIteratorType": at.kind.value}
        if at.kind is PositionKind.AFTER_SEQUENCE_NUMBER:
            where["StartingSequenceNumber"] = at.sequence
        elif at.kind is PositionKind.AT_TIMESTAMP:
            where["Timestamp"] = at.timestamp
        try:
            answer = await self._ask_stream(
                "GetShardIterator",
                lambda address: client.get_shard_iterator(**address, **where),
                on=f"{shard} of {self._name}",
                needs="ShardIterator",
            )
        except SourceError as error:
            if error.code in _BADLY_FORMED and at.kind is PositionKind.AFTER_SEQUENCE_NUMBER:
                raise foreign_position(error, stream=self._name) from error
            raise
        iterator: str = answer["ShardIterator"]
        return iterator

    async def take_page(self, shard: str, iterator: str, *, limit: int, at: Position) -> IteratorPage:
        client = await self._open()
        limit = min(limit, _PAGE_LIMIT)
        address: dict[str, Any] = {} if "StreamName" in self._address else {"StreamARN": self._stream_arn}
        asked = client.get_records(ShardIterator=iterator, Limit=limit, **address)
        on = f"{shard} of {self._name}"
        answer = await answer_of("GetRecords", asked, on=on, needs="Records", observe=self._observe)
        with understanding("GetRecords", on=on):
            records = [self._record(shard, each) for each in answer["Records"]]
            behind = float(answer.get("MillisBehindLatest") or 0) / 1000
        if not records and behind >= _SHORTEST_RETENTION and at.kind is PositionKind.AFTER_SEQUENCE_NUMBER:
            await self._check_horizon(behind, at, on=on)
        following = answer.get("NextShardIterator") or None
        more = following is not None and (behind > 0 or len(records) >= limit)  # also through stretches without a record
        return IteratorPage(records=records, next_iterator=following, more=more, behind=behind)

    async def _check_horizon(self, behind: float, at: Position, *, on: str) -> None:
        """Raises PositionTrimmed. Asks anew how long records are kept: that may have been changed since."""
        retention = (await self.describe()).retention
        if behind >= retention:
            raise PositionTrimmed(
                f"GetRecords on {on}: the records after {at} are gone: the stream keeps {retention:.0f} seconds",
                code="position_trimmed",
            )

    async def _open(self) -> "KinesisClient":
        if self._client is None:
            client: KinesisClient = await self._clients.client("kinesis", self._region, retries=False)
            self._client = client
        return self._client

    async def _ask_stream(self, operation: str, ask: Callable[[dict[str, Any]], Awaitable[Any]], *, on: str, needs: str) -> Any:
        """`ask` makes the request from what names the stream."""
        if self._address:
            return await answer_of(operation, ask(self._address), on=on, needs=needs, observe=self._observe)
        by_arn, by_name = {"StreamARN": self._stream_arn}, {"StreamName": self._name}
        try:
            answer = await answer_of(operation, ask(by_arn), on=on, needs=needs, observe=self._observe)
            self._address = by_arn
        except SourceError as refusal:
            if refusal.code not in _BADLY_FORMED:
                raise
            try:
                answer = await answer_of(operation, ask(by_name), on=on, needs=needs, observe=self._observe)
            except SourceError as error:
                raise (refusal if error.code in _BADLY_FORMED else error) from None  # not the names were the trouble
            self._address = by_name
        return answer

    def _record(self, shard: str, sent: dict[str, Any]) -> Record:
        """Keys in Lambda's order (KIN-20); `data` is the base64 text as it came, and EncryptionType is left out (KIN-21)."""
        sequence, key = sequence_of(sent["SequenceNumber"]), sent["PartitionKey"]
        arrived = round(float(sent["ApproximateArrivalTimestamp"]), 3)
        event = {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": key,
                "sequenceNumber": sequence,
                "data": sent["Data"],
                "approximateArrivalTimestamp": arrived,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard}:{sequence}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": self._role,
            "awsRegion": self._region,
            "eventSourceARN": self._arn,
        }
        return Record(id=RecordId(sequence), event=event, size=json_size(event), arrived=arrived, group=key)


def _shard(listed: dict[str, Any]) -> Shard:
    """A merged shard has two parents; those that are gone from the listing are named all the same (KIN-40)."""
    parents = (listed.get("ParentShardId"), listed.get("AdjacentParentShardId"))
    return Shard(
        id=listed["ShardId"],
        parents=tuple(parent for parent in parents if parent),
        closed=listed["SequenceNumberRange"].get("EndingSequenceNumber") is not None,
    )
