"""What the stub endpoint answers for streams, without a socket: shards that hold so many equal records, then end.

Iterators say all there is to know (shard, records before), so nothing is kept of readers, and a page that is asked for twice is
the same. Pages are rendered once; only the numbers that differ between pages are put in. With 0 records the shards stay open and
empty.
"""

import base64
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from benchmarks.stub_queues import ACCOUNT, REGION, Refused

KINESIS_ARN: Final = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/bench"
DYNAMODB_ARN: Final = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/bench/stream/2026-01-01T00:00:00.000"

_MARK: Final = "@before@"
"""Where the twelve digits go that say how many records of the shard came before the page."""
_DIGITS: Final = 12
_INDEX: Final = 4
"""Digits of a record's place in its page, behind those."""
_KINESIS_SEQUENCE: Final = "4959033827149025660855969253836157109592"
_DYNAMODB_SEQUENCE: Final = "1111"
"""What their sequence numbers begin with; with it they are as long as those of AWS (56 and about 20 digits)."""
_ITERATOR_PADDING: Final = "x" * 180
"""Iterators are a few hundred characters long."""
_DESCRIBED_AT_ONCE: Final = 100
"""Shards in an answer of DescribeStream (API DescribeStream)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """What every shard holds."""

    shards: int = 1
    records: int = 0
    """In each shard; 0: none, and the shards stay open."""
    page: int = 100
    """Records in one answer at most, whatever Limit allows."""
    size: int = 200
    """Bytes of a record's data, or about those of an item."""


def kinesis_shard(number: int) -> str:
    return f"shardId-{number:012d}"


def dynamodb_shard(number: int) -> str:
    return f"shardId-{number:020d}-be9c4a11"


class _Asked(msgspec.Struct):
    ShardId: str = ""
    ShardIteratorType: str = ""
    StartingSequenceNumber: str = ""
    SequenceNumber: str = ""
    ShardIterator: str = ""
    Limit: int = 10_000
    ExclusiveStartShardId: str = ""


_Answer = Callable[[_Asked], bytes]


class StubStreams:
    """One stream of each service; any name or ARN of a stream means it."""

    def __init__(self) -> None:
        self._operations: dict[str, _Answer] = {
            "kinesis.DescribeStreamSummary": self._describe_summary,
            "kinesis.GetRecords": self._kinesis_page,
            "kinesis.GetShardIterator": self._iterator,
            "kinesis.ListShards": self._list_shards,
            "dynamodbstreams.DescribeStream": self._describe_stream,
            "dynamodbstreams.GetRecords": self._dynamodb_page,
            "dynamodbstreams.GetShardIterator": self._iterator,
        }
        self.reset(Filling())

    @property
    def operations(self) -> tuple[str, ...]:
        return tuple(self._operations)

    def reset(self, filling: Filling) -> None:
        """Start over: readers of before go on with iterators that mean something else."""
        self._filling = filling
        self._pages: dict[tuple[bool, int], list[bytes]] = {}
        self.given = 0
        """Records in all answers."""
        self.first_asked: float | None = None
        """When the first GetRecords came."""
        self._furthest: dict[str, int] = {}
        """How many records of each shard were read, those that were read twice once."""
        self._ended = False
        self.requests: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        """GetRecords of each shard."""

    def end_shards(self) -> None:
        """Every shard ends where it was read up to: its readers are told when they ask for more."""
        self._ended = True

    def answer(self, operation: str, body: bytes) -> bytes:
        """Raises Refused."""
        self.requests[operation] += 1
        try:
            return self._operations[operation](_decode(body))
        except (msgspec.DecodeError, ValueError) as error:
            raise Refused("ValidationException") from error

    def stats(self) -> dict[str, Any]:
        return {
            "given": self.given,
            "distinct": sum(self._furthest.values()),
            "read_shards": len(self.reads),
            "first_asked": self.first_asked,
            "requests": dict(self.requests),
            "now": time.monotonic(),
        }

    # shards

    def _list_shards(self, asked: _Asked) -> bytes:  # noqa: ARG002  all of them in one answer
        span = {"StartingHashKey": "0", "EndingHashKey": "1"}
        shards = [{**shard, "HashKeyRange": span} for shard in self._shards(kinesis_shard, _KINESIS_SEQUENCE)]
        return msgspec.json.encode({"Shards": shards})

    def _describe_summary(self, asked: _Asked) -> bytes:  # noqa: ARG002  as above
        return msgspec.json.encode(
            {
                "StreamDescriptionSummary": {
                    "StreamName": "bench",
                    "StreamARN": KINESIS_ARN,
                    "StreamStatus": "ACTIVE",
                    "RetentionPeriodHours": 24,
                    "StreamCreationTimestamp": 1545084650.0,
                    "EnhancedMonitoring": [],
                    "OpenShardCount": self._filling.shards,
                }
            }
        )

    def _describe_stream(self, asked: _Asked) -> bytes:
        shards = self._shards(dynamodb_shard, _DYNAMODB_SEQUENCE)
        begin = int(asked.ExclusiveStartShardId.split("-")[1]) + 1 if asked.ExclusiveStartShardId else 0
        shown = shards[begin : begin + _DESCRIBED_AT_ONCE]
        description = {"StreamArn": DYNAMODB_ARN, "StreamStatus": "ENABLED", "Shards": shown}
        if begin + len(shown) < len(shards):
            description["LastEvaluatedShardId"] = shown[-1]["ShardId"]
        return msgspec.json.encode({"StreamDescription": description})

    def _shards(self, name: Callable[[int], str], sequence: str) -> list[dict[str, Any]]:
        first = sequence + "0" * (_DIGITS + _INDEX)
        return [
            {"ShardId": name(number), "SequenceNumberRange": {"StartingSequenceNumber": first}}
            for number in range(self._filling.shards)
        ]

    # records

    def _iterator(self, asked: _Asked) -> bytes:
        before = 0
        if sequence := asked.StartingSequenceNumber or asked.SequenceNumber:
            before = int(sequence[-_DIGITS - _INDEX : -_INDEX]) + int(sequence[-_INDEX:])
            before += asked.ShardIteratorType == "AFTER_SEQUENCE_NUMBER"
        return b'{"ShardIterator":"%b"}' % _iterator_text(asked.ShardId, before)

    def _kinesis_page(self, asked: _Asked) -> bytes:
        return self._page(asked, dynamodb=False)

    def _dynamodb_page(self, asked: _Asked) -> bytes:
        return self._page(asked, dynamodb=True)

    def _page(self, asked: _Asked, *, dynamodb: bool) -> bytes:
        shard, text, _ = asked.ShardIterator.split("/")
        filling, before = self._filling, int(text)
        self.reads[shard] += 1
        if self.first_asked is None:
            self.first_asked = time.monotonic()
        end = self._furthest.get(shard, 0) if self._ended else filling.records
        count = max(0, min(filling.page, asked.Limit, end - before))
        self.given += count
        after = before + count
        if after > self._furthest.get(shard, 0):
            self._furthest[shard] = after
        following = b""
        stays_open = not filling.records and not self._ended
        if stays_open or after < end:
            following = b',"NextShardIterator":"%b"' % _iterator_text(shard, after)
        behind = b"" if dynamodb else b',"MillisBehindLatest":%d' % (1000 if after < end else 0)
        pieces = self._pages.get((dynamodb, count))
        if pieces is None:
            pieces = self._pages[dynamodb, count] = _rendered(count, filling.size, dynamodb=dynamodb)
        return b'{"Records":%b%b%b}' % (b"%012d".__mod__(before).join(pieces), following, behind)


_decode = msgspec.json.Decoder(_Asked).decode


def _iterator_text(shard: str, before: int) -> bytes:
    return f"{shard}/{before}/{_ITERATOR_PADDING}".encode()


def _rendered(count: int, size: int, *, dynamodb: bool) -> list[bytes]:
    """The records of a page as JSON, cut where the number of the records before it belongs."""
    record = _change if dynamodb else _kinesis_record
    now = round(time.time(), 3)
    return msgspec.json.encode([record(index, size, now) for index in range(count)]).split(_MARK.encode())


def _kinesis_record(index: int, size: int, now: float) -> dict[str, Any]:
    return {
        "ApproximateArrivalTimestamp": now,
        "Data": base64.b64encode(_text(size).encode()).decode(),
        "PartitionKey": f"{index:08x}-0000-4000-8000-000000000000",
        "SequenceNumber": f"{_KINESIS_SEQUENCE}{_MARK}{index:0{_INDEX}d}",
    }


def _change(index: int, size: int, now: float) -> dict[str, Any]:
    """A modified item whose new image has a few attributes of each common type."""
    keys = {"id": {"S": f"item-{index:08d}"}}
    image = {
        **keys,
        "count": {"N": "42"},
        "tags": {"SS": ["blue", "green"]},
        "address": {"M": {"city": {"S": "Utrecht"}, "lines": {"L": [{"S": "Oudegracht 1"}, {"NULL": True}]}}},
        "text": {"S": _text(max(1, size - 150))},
    }
    return {
        "eventID": f"{index:08x}000000000000{_MARK}",
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {
            "ApproximateCreationDateTime": int(now),
            "Keys": keys,
            "NewImage": image,
            "SequenceNumber": f"{_DYNAMODB_SEQUENCE}{_MARK}{index:0{_INDEX}d}",
            "SizeBytes": size,
            "StreamViewType": "NEW_IMAGE",
        },
    }


def _text(size: int) -> str:
    return ("benchmark " * (size // 10 + 1))[:size]
