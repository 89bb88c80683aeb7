"""DynamoDB Streams (`spec/dynamodb-streams.md`): the source, and the record as the Lambda event shows it.

Attribute values stay as the service sends them, binary ones as base64 text (DDB-23): the client does not decode them.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw, Struct

from pollers.aws.answers import answer_of, translated, understanding
from pollers.aws.arn import Arn
from pollers.aws.clients import AwsClients, Observe
from pollers.aws.hot import DYNAMODB_PAGE, HotOperation
from pollers.errors import SourceError
from pollers.filter_view import FilterView, View
from pollers.record import TRIM_HORIZON, Position, PositionKind, Record, RecordId, Shard
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
    from types_aiobotocore_dynamodbstreams import DynamoDBStreamsClient

_RETENTION: Final = 24 * 3600.0
"""Seconds; nothing in the API says it (DDB-12)."""
_PAGE_LIMIT: Final = 1000
_A_TIME: Final = 1764085660
"""With as many digits as a creation time has until the year 2286."""
_DIGITS: Final = 6
"""Of `SizeBytes`: an item has 400 KB, and a record two of them."""
_IDENTITY: Final = len('"userIdentity":,')


class _Origin(Struct, frozen=True, gc=False):
    """What all records of a stream have in common."""

    region: str
    arn: str


class _Change(Struct, gc=False):
    """Images stay JSON until an event shows them: what is invoked again gets values of its own."""

    ApproximateCreationDateTime: float
    Keys: Raw
    SequenceNumber: str
    SizeBytes: int
    StreamViewType: str
    NewImage: Raw = Raw()
    OldImage: Raw = Raw()


class _Who(Struct, gc=False):
    PrincipalId: str
    Type: str


class _Sent(Struct, gc=False):
    """A record as it came."""

    eventID: str  # noqa: N815  # as AWS writes it
    eventName: str  # noqa: N815  # as above
    dynamodb: _Change
    userIdentity: _Who | None = None  # noqa: N815  # as above
    origin: _Origin | None = None
    """Not sent; filled in."""


class _Page(Struct):
    Records: list[_Sent] | None = None
    NextShardIterator: str | None = None


_PAGE: Final = msgspec.json.Decoder(_Page)
_decode: Final = msgspec.json.Decoder().decode


def envelope(records: Sequence[Record]) -> dict[str, Any]:
    """The Lambda event (DDB-20), made anew for each call: its batch may be invoked again."""
    return {"Records": [_shown(record.content, record.content.origin) for record in records]}


_ALL_PARTS: Final = frozenset({"dynamodb.Keys", "dynamodb.NewImage", "dynamodb.OldImage"})


def _shown(sent: _Sent, origin: Any, parts: frozenset[str] = _ALL_PARTS) -> dict[str, Any]:
    """Keys in Lambda's order (DDB-20, DDB-21), the creation time in whole seconds. `parts`: those of `_ALL_PARTS` to decode."""
    change = sent.dynamodb
    dynamodb: dict[str, Any] = {"ApproximateCreationDateTime": float(int(change.ApproximateCreationDateTime))}
    if "dynamodb.Keys" in parts:
        dynamodb["Keys"] = _decode(change.Keys)
    if "dynamodb.NewImage" in parts and _is_there(change.NewImage):
        dynamodb["NewImage"] = _decode(change.NewImage)
    if "dynamodb.OldImage" in parts and _is_there(change.OldImage):
        dynamodb["OldImage"] = _decode(change.OldImage)
    dynamodb["SequenceNumber"] = change.SequenceNumber
    dynamodb["SizeBytes"] = change.SizeBytes
    dynamodb["StreamViewType"] = change.StreamViewType
    event: dict[str, Any] = {
        "eventID": sent.eventID,
        "eventName": sent.eventName,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": origin.region,
        "dynamodb": dynamodb,
    }
    if sent.userIdentity is not None:  # an expiry by TTL (DDB-27)
        event["userIdentity"] = {"principalId": sent.userIdentity.PrincipalId, "type": sent.userIdentity.Type}
    event["eventSourceARN"] = origin.arn
    return event


def _is_there(image: Raw) -> bool:
    length = len(image)
    return length > 0 and (length != len("null") or bytes(image) != b"null")


def event_view(event: dict[str, Any]) -> View:
    """A record of the event, as it is (FLT-10)."""
    return event


def _view_reader(fields: frozenset[str]) -> Callable[[Record], View]:
    parts = _ALL_PARTS & fields
    return lambda record: _shown(record.content, record.content.origin, parts)


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
    filter_view=FilterView(key="dynamodb", plain_text=False, reader=_view_reader, of_event=event_view),
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
        self._pages: HotOperation | None = None
        self._origin = _Origin(region=parsed.region, arn=arn)
        self._frame = _frame_size(self._origin)
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
        if known.sequence:
            where["SequenceNumber"] = known.sequence
        asked = client.get_shard_iterator(**where)
        on = f"{shard} of {self._name}"
        try:
            answer = await answer_of("GetShardIterator", asked, on=on, needs="ShardIterator", observe=self._observe)
        except SourceError as error:
            if error.code == "ValidationException" and known.sequence:
                raise foreign_position(error, at, stream=self._name) from error
            raise
        iterator: str = answer["ShardIterator"]
        return iterator

    async def take_page(self, shard: str, iterator: str, *, limit: int, at: Position) -> IteratorPage:  # noqa: ARG002  # the service itself refuses a trimmed one
        """A page may end at 1 MB, and the service does not say whether more waits: where records came, it is asked again."""
        request = {"ShardIterator": iterator, "Limit": min(limit, _PAGE_LIMIT)}
        on = f"{shard} of {self._name}"
        pages = self._pages or await self._open_pages(request)
        try:
            content = await pages.ask(msgspec.json.encode(request))
        except Exception as error:
            raise translated(error, "GetRecords", on=on, observe=self._observe) from error
        try:
            page = _PAGE.decode(content)
            records = self._records(page.Records)
        except ValueError as error:
            self._observe("GetRecords", "error")
            raise no_page(error, on=on) from error
        self._observe("GetRecords", "ok" if records else "empty")
        following = page.NextShardIterator or None
        more = following is not None and bool(records)
        return IteratorPage(records=records, next_iterator=following, more=more, size=sum([record.size for record in records]))

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

    async def _open_pages(self, sample: dict[str, Any]) -> HotOperation:
        operation = self._pages = await self._clients.operation(DYNAMODB_PAGE, self._region, sample)
        return operation

    def _records(self, page: list[_Sent] | None) -> list[Record]:
        """Raises ValueError."""
        if page is None:
            raise ValueError("Records is missing (a proxy?)")
        check_sequences([sent.dynamodb.SequenceNumber for sent in page])
        records = []
        for sent in page:
            sent.origin = self._origin
            change = sent.dynamodb
            records.append(
                Record(
                    id=RecordId(change.SequenceNumber),
                    content=sent,
                    size=self._frame + _size(sent),
                    arrived=float(int(change.ApproximateCreationDateTime)),
                    group=_canonical(change.Keys),
                )
            )
        return records


def _frame_size(origin: _Origin) -> int:
    """Bytes of a record without what differs between records of a stream, and with the names of all images."""
    names = len('"NewImage":,"OldImage":,')
    nothing = _Change(ApproximateCreationDateTime=_A_TIME, Keys=Raw(b"{}"), SequenceNumber="", SizeBytes=0, StreamViewType="")
    shown = _shown(_Sent(eventID="", eventName="", dynamodb=nothing), origin)
    return len(msgspec.json.encode(shown)) - len("{}") - len("0") + names


def _size(sent: _Sent) -> int:
    """Bytes of what differs. Images count as they came, which is how AWS writes JSON: without a blank too many."""
    change = sent.dynamodb
    size = len(sent.eventID) + len(sent.eventName) + len(change.SequenceNumber) + len(change.StreamViewType)
    size += len(change.Keys) + len(change.NewImage) + len(change.OldImage) + _DIGITS
    return size if sent.userIdentity is None else size + len(msgspec.json.encode(sent.userIdentity)) + _IDENTITY


def _canonical(keys: Raw) -> str:
    """One text for one item (COM-62)."""
    return msgspec.json.encode(_decode(keys), order="sorted").decode()


def _shard(listed: dict[str, Any]) -> Shard:
    parent = listed.get("ParentShardId")
    return Shard(
        id=listed["ShardId"],
        parents=(parent,) if parent else (),
        closed=listed.get("SequenceNumberRange", {}).get("EndingSequenceNumber") is not None,
    )
