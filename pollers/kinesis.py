"""Kinesis Data Streams (`spec/kinesis.md`): the source, and the record as the Lambda event shows it.

Streams are addressed by ARN, as AWS recommends: one of another account is reached in no other way (KIN-09). Some servers know
only names; where the first request is refused as badly formed, the name is tried, and kept when it works.

A position whose records are gone is not refused: Kinesis answers empty pages that stay as far behind as the stream keeps records
(https://github.com/harlow/kinesis-consumer/issues/125). That is how it is told here.
"""

import json
from binascii import a2b_base64
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from pollers.aws.answers import answer_of, read_content, translated, understanding
from pollers.aws.arn import Arn
from pollers.aws.clients import AwsClients, Observe
from pollers.aws.hot import KINESIS_PAGE, HotOperation
from pollers.errors import PositionTrimmed, SourceError
from pollers.filter_view import FilterView, View, json_object, top_level
from pollers.record import Position, PositionKind, Record, RecordId, Shard
from pollers.shard_reading import (
    IteratorPage,
    IteratorReader,
    check_sequences,
    foreign_position,
    no_page,
    open_reader,
)
from pollers.source import StreamFacts, StreamSpec

if TYPE_CHECKING:
    from types_aiobotocore_kinesis import KinesisClient

BADLY_FORMED: Final = frozenset({"ValidationException", "InvalidArgumentException", "MissingParameter", "SerializationException"})
"""Codes with which a server refuses a request that names the stream by ARN only."""
SHORTEST_RETENTION: Final = 24 * 3600
_PAGE_LIMIT: Final = 10_000
_MOST_ORIGINS: Final = 4096


class _Origin(Struct, frozen=True, gc=False):
    """What all records of a shard have in common."""

    shard: str
    role: str
    region: str
    arn: str


_AS_SENT: Final = {
    "id": "SequenceNumber", "arrived": "ApproximateArrivalTimestamp", "group": "PartitionKey", "data": "Data",
    "encryption": "EncryptionType", "content": "$content", "size": "$size", "handle": "$handle",
}  # fmt: skip
"""AWS's names of what it sends, and names that it has not for what is filled in."""


class KinesisRecord(Record, kw_only=True, gc=False, rename=_AS_SENT):
    """A record, decoded in one step; `content` is its origin. Filled in here, and changed by nobody else."""

    id: RecordId
    arrived: float
    group: str
    data: str
    """Base64 text (KIN-21)."""
    encryption: str | None = None
    """Not shown to functions; recordings keep it."""
    content: _Origin | None = None
    size: int = 0


class _Page(Struct):
    Records: list[KinesisRecord] | None = None
    NextShardIterator: str | None = None
    MillisBehindLatest: float | None = None


_PAGE: Final = msgspec.json.Decoder(_Page)
_ENCODER: Final = msgspec.json.Encoder()
_ROUNDING: Final = 1.5 * 2**52
"""Added and taken away again it leaves a whole number, for it is so large that a float has no place for parts of one. A third of
what int() takes."""


def envelope(records: Sequence[Record]) -> dict[str, Any]:
    """The Lambda event (KIN-20), made anew for each call: its batch may be invoked again.

    Keys in Lambda's order; EncryptionType is left out (KIN-21).
    """
    shown = []
    origin, shard, frame = None, "", dict[str, Any]()
    record: Any
    for record in records:
        if record.content is not origin:  # of one shard all have the same
            origin = record.content
            shard, frame = origin.shard, _frame(origin)
        sequence = record.id
        each = frame.copy()
        each["kinesis"] = {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record.group,
            "sequenceNumber": sequence,
            "data": record.data,
            "approximateArrivalTimestamp": record.arrived,
        }
        each["eventID"] = f"{shard}:{sequence}"
        shown.append(each)
    return {"Records": shown}


def _frame(origin: _Origin) -> dict[str, Any]:
    """What is the same in all that is shown of a shard's records, and the places of the rest."""
    return {
        "kinesis": None,
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": origin.role,
        "awsRegion": origin.region,
        "eventSourceARN": origin.arn,
    }


def event_view(event: dict[str, Any]) -> View:
    """A record of the event, and its data decoded beside `kinesis` (FLT-10, FLT-13), if that is a JSON object (FLT-21)."""
    inner = event.get("kinesis")
    data = _decoded(inner.get("data")) if isinstance(inner, dict) else None
    return event if data is None else {**event, "data": data}


def _decoded(data: Any) -> dict[str, Any] | None:
    try:
        return json_object(a2b_base64(data)) if isinstance(data, str) else None
    except ValueError:  # no base64
        return None


def _view_reader(fields: frozenset[str]) -> Callable[[Record], View]:
    asked = top_level(fields)
    if asked == {"data"}:
        return _data_alone
    if "data" in asked:
        return lambda record: event_view(envelope([record])["Records"][0])
    return lambda record: envelope([record])["Records"][0]


def _data_alone(record: Any) -> View:
    data = _decoded(record.data)
    return {} if data is None else {"data": data}


LONGEST_TIME: Final = 1545084650.987
"""With as many digits as an arrival time has until the year 2286."""


def _frame_size(origin: _Origin) -> int:
    """Bytes of a record without what differs between records of a shard; without the quotes of its key."""
    nothing = KinesisRecord(id=RecordId(""), arrived=LONGEST_TIME, group="", data="", content=origin)
    return len(msgspec.json.encode(envelope([nothing])["Records"][0])) - len('""')


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
    filter_view=FilterView(key="data", plain_text=False, reader=_view_reader, of_event=event_view),
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
        self._pages: HotOperation | None = None
        self._origins: dict[str, tuple[_Origin, int]] = {}
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
        if at.sequence:
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
            if error.code in BADLY_FORMED and at.sequence:
                raise foreign_position(error, at, stream=self._name) from error
            raise
        iterator: str = answer["ShardIterator"]
        return iterator

    async def take_page(self, shard: str, iterator: str, *, limit: int, at: Position) -> IteratorPage:
        request: dict[str, Any] = {"ShardIterator": iterator, "Limit": min(limit, _PAGE_LIMIT)}
        if "StreamName" not in self._address:
            request["StreamARN"] = self._stream_arn
        on = f"{shard} of {self._name}"
        pages = self._pages or await self._open_pages(request)
        try:
            content = await pages.ask(msgspec.json.encode(request))
        except Exception as error:
            raise translated(error, "GetRecords", on=on, observe=self._observe) from error
        try:
            page = read_content(content, _PAGE)
            records, size = self.complete(shard, page.Records)
        except ValueError as error:
            self._observe("GetRecords", "error")
            raise no_page(error, on=on) from error
        self._observe("GetRecords", "ok" if records else "empty")
        behind = (page.MillisBehindLatest or 0.0) / 1000
        if not records and behind >= SHORTEST_RETENTION and at.sequence:
            await self.check_horizon(behind, at, on=on)
        following = page.NextShardIterator or None
        more = following is not None and (behind > 0 or len(records) >= limit)  # also through stretches without a record
        return IteratorPage(records=records, next_iterator=following, more=more, behind=behind, size=size)

    async def check_horizon(self, behind: float, at: Position, *, on: str) -> None:
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

    async def _open_pages(self, sample: dict[str, Any]) -> HotOperation:
        """The place is the stream's: AWS has endpoints for single accounts, which the SDK's rules take from its ARN."""
        operation = await self._clients.operation(KINESIS_PAGE, self._region, sample, place=sample.get("StreamARN", ""))
        self._pages = operation
        return operation

    async def _ask_stream(self, operation: str, ask: Callable[[dict[str, Any]], Awaitable[Any]], *, on: str, needs: str) -> Any:
        """`ask` makes the request from what names the stream."""
        if self._address:
            return await answer_of(operation, ask(self._address), on=on, needs=needs, observe=self._observe)
        by_arn, by_name = {"StreamARN": self._stream_arn}, {"StreamName": self._name}
        try:
            answer = await answer_of(operation, ask(by_arn), on=on, needs=needs, observe=self._observe)
            self._address = by_arn
        except SourceError as refusal:
            if refusal.code not in BADLY_FORMED:
                raise
            try:
                answer = await answer_of(operation, ask(by_name), on=on, needs=needs, observe=self._observe)
            except SourceError as error:
                raise (refusal if error.code in BADLY_FORMED else error) from None  # not the names were the trouble
            self._address = by_name
        return answer

    def complete(self, shard: str, page: list[KinesisRecord] | None) -> tuple[list[KinesisRecord], int]:
        """Fills in what AWS does not send; arrival times to the millisecond. Raises ValueError.

        Also gives the bytes of data, before they were written as base64.
        """
        if page is None:
            raise ValueError("Records is missing (a proxy?)")
        sequences = [record.id for record in page]
        check_sequences(sequences)
        origin, frame = self._origins.get(shard) or self._new_origin(shard)
        frame += 2 * max(map(len, sequences), default=0)  # nearly always all are as long as the longest
        encode_into, text, characters = _ENCODER.encode_into, bytearray(), 0
        for record in page:
            record.content = origin
            record.arrived = (record.arrived * 1000 + _ROUNDING - _ROUNDING) / 1000
            data = len(record.data)
            characters += data
            try:
                encode_into(record.group, text)
                record.size = frame + data + len(text)
            except UnicodeEncodeError:  # a lone surrogate: six bytes as an escape
                record.size = frame + data + len(json.dumps(record.group))
        return page, characters * 3 // 4

    def _new_origin(self, shard: str) -> tuple[_Origin, int]:
        """With the bytes of its records' frame."""
        if len(self._origins) >= _MOST_ORIGINS:
            self._origins.clear()
        origin = _Origin(shard=shard, role=self._role, region=self._region, arn=self._arn)
        self._origins[shard] = origin, _frame_size(origin)
        return self._origins[shard]


def _shard(listed: dict[str, Any]) -> Shard:
    """A merged shard has two parents; those that are gone from the listing are named all the same (KIN-40)."""
    parents = (listed.get("ParentShardId"), listed.get("AdjacentParentShardId"))
    keys = listed.get("HashKeyRange")
    return Shard(
        id=listed["ShardId"],
        parents=tuple(parent for parent in parents if parent),
        closed=listed["SequenceNumberRange"].get("EndingSequenceNumber") is not None,
        keys=(int(keys["StartingHashKey"]), int(keys["EndingHashKey"])) if keys else None,
    )
