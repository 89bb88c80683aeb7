"""The operations on streams: what shards there are, and reading them.

Messages are AWS's where they are known from its documentation or from public reports.
"""

from collections.abc import Callable
from typing import Final

from runtime.local.dynamodb.call import Answer, Call
from runtime.local.dynamodb.iterators import ShardIterator
from runtime.local.dynamodb.refusals import invalid, not_found, serialization
from runtime.local.dynamodb.shards import MOST_RECORDS, Shard, Trimmed
from runtime.local.dynamodb.streams import NoSuchShard, Stream
from runtime.local.errors import Refused
from runtime.local.faults import Kind

_MOST_SHARDS: Final = 100
_MOST_STREAMS: Final = 100
_BY_NUMBER: Final = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")
_TYPES: Final = (*_BY_NUMBER, "AT_TIMESTAMP", "LATEST", "TRIM_HORIZON")

Strikes = Callable[[Kind, str, str], bool]
"""Whether a fault of this kind strikes this read, of a table's stream and a shard."""


def list_streams(call: Call) -> Answer:
    call.check_parameters({"TableName", "Limit", "ExclusiveStartStreamArn"})
    after, limit = call.maybe_text("ExclusiveStartStreamArn") or "", call.limit("Limit", _MOST_STREAMS) or _MOST_STREAMS
    caller = call.caller
    streams = call.store.streams(account=caller.account, region=caller.region, table=call.maybe_text("TableName"))
    found = [stream for stream in streams if stream.arn > after]
    more = {"LastEvaluatedStreamArn": found[limit - 1].arn} if len(found) > limit else {}
    entries = [{"StreamArn": it.arn, "TableName": it.table, "StreamLabel": it.label} for it in found[:limit]]
    return {"Streams": entries, **more}


def describe_stream(call: Call) -> Answer:
    """Shards by id, so that a page begins where the last one ended even if its last shard has vanished."""
    call.check_parameters({"StreamArn", "Limit", "ExclusiveStartShardId", "ShardFilter"})
    stream = call.store.stream(call.text("StreamArn"))
    after, limit = call.maybe_text("ExclusiveStartShardId") or "", call.limit("Limit", _MOST_SHARDS) or _MOST_SHARDS
    parent = _filter(call)
    shards = [shard for shard in stream.shards(call.store.clock()) if parent in (None, shard.parent)]
    found = [shard for shard in shards if shard.id > after]
    described = {
        "StreamArn": stream.arn,
        "StreamLabel": stream.label,
        "StreamStatus": "ENABLED" if stream.enabled else "DISABLED",
        "StreamViewType": stream.view.value,
        "CreationRequestDateTime": stream.created,
        "TableName": stream.table,
        "KeySchema": stream.key_schema,
        "Shards": [_shown(shard) for shard in found[:limit]],
    }
    if len(found) > limit:
        described["LastEvaluatedShardId"] = found[limit - 1].id
    return {"StreamDescription": described}


def _filter(call: Call) -> str | None:
    """The shard whose children are asked for."""
    if "ShardFilter" not in call.body:
        return None
    given = call.part("ShardFilter")
    kind, parent = given.get("Type"), given.get("ShardId")
    if kind != "CHILD_SHARDS":
        raise invalid(
            f"1 validation error detected: Value '{kind}' at 'shardFilter.type' failed to satisfy constraint: "
            "Member must satisfy enum value set: [CHILD_SHARDS]"
        )
    if not isinstance(parent, str) or not parent:
        raise invalid("ShardFilter of the type CHILD_SHARDS must have a ShardId")
    return parent


def _shown(shard: Shard) -> Answer:
    numbers = {"StartingSequenceNumber": str(shard.start)}
    if shard.end is not None:
        numbers["EndingSequenceNumber"] = str(shard.end)
    parent = {} if shard.parent is None else {"ParentShardId": shard.parent}
    return {"ShardId": shard.id, "SequenceNumberRange": numbers, **parent}


def get_shard_iterator(call: Call) -> Answer:
    call.check_parameters({"StreamArn", "ShardId", "ShardIteratorType", "SequenceNumber", "Timestamp"})
    stream = call.store.stream(call.text("StreamArn"))
    shard = _shard(call, stream, call.text("ShardId"))
    kind, number = call.text("ShardIteratorType"), call.maybe_text("SequenceNumber")
    if kind not in _TYPES:
        raise invalid(
            f"1 validation error detected: Value '{kind}' at 'shardIteratorType' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(_TYPES)}]"
        )
    if (kind in _BY_NUMBER) is not (number is not None):
        raise invalid(f"SequenceNumber must be given with {' and '.join(_BY_NUMBER)}, and only then")
    if (kind == "AT_TIMESTAMP") is not ("Timestamp" in call.body):
        raise invalid("Timestamp must be given with AT_TIMESTAMP, and only then")
    at = _start(call, kind, number or "", stream, shard)
    return {"ShardIterator": str(ShardIterator(stream=stream.arn, shard=shard.id, sequence=at, made=call.store.clock()))}


def _start(call: Call, kind: str, number: str, stream: Stream, shard: Shard) -> int:
    """The lowest sequence number that the iterator may bring."""
    if kind == "LATEST":
        return stream.latest()
    if kind == "TRIM_HORIZON":
        return shard.horizon()
    if kind == "AT_TIMESTAMP":
        timestamp = call.body["Timestamp"]
        if not isinstance(timestamp, int | float):
            raise serialization("Timestamp must be a number")
        if timestamp > call.store.clock():
            raise invalid("Timestamp must not be in the future")
        return shard.at_time(timestamp)
    last = stream.latest() if shard.end is None else shard.end
    if not number.isascii() or not number.isdigit() or not shard.start <= int(number) <= last:
        raise invalid(f"Invalid SequenceNumber {number!r} for the shard {shard.id}")
    try:
        shard.check_not_trimmed(int(number))
    except Trimmed:
        raise trimmed() from None
    return int(number) + (kind == "AFTER_SEQUENCE_NUMBER")


def get_records(call: Call, strikes: Strikes) -> Answer:
    call.check_parameters({"ShardIterator", "Limit"})
    iterator = ShardIterator.parse(call.text("ShardIterator"))
    limit = call.limit("Limit") or MOST_RECORDS
    if limit > MOST_RECORDS:
        raise Refused("LimitExceededException", f"Limit must be at most {MOST_RECORDS}, not {limit}")
    now = call.store.clock()
    if iterator.has_expired(now):
        raise expired()
    stream = call.store.stream(iterator.stream)
    shard = _shard(call, stream, iterator.shard)
    try:
        page, more = shard.read(iterator.sequence, limit)
    except Trimmed:
        raise trimmed() from None
    if strikes(Kind.EMPTY_PAGE, stream.table, shard.id):
        page, more = [], iterator.sequence
    if strikes(Kind.DUPLICATE_PAGE, stream.table, shard.id):
        more = iterator.sequence
    answer: Answer = {"Records": [record.body for record in page]}
    if more is not None:
        following = ShardIterator(stream=stream.arn, shard=shard.id, sequence=more, made=now)
        answer["NextShardIterator"] = str(following)
    return answer


def expired() -> Refused:
    return Refused("ExpiredIteratorException", "The shard iterator has expired and can no longer be used")


def trimmed() -> Refused:
    return Refused("TrimmedDataAccessException", "The operation attempted to read past the oldest stream record in a shard")


def _shard(call: Call, stream: Stream, shard_id: str) -> Shard:
    try:
        return stream.shard(shard_id, call.store.clock())
    except NoSuchShard:
        raise not_found(f": Shard: {shard_id} in Stream: {stream.arn} not found") from None
