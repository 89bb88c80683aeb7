"""GetShardIterator and GetRecords."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from runtime.local.errors import Refused
from runtime.local.kinesis.call import Call, lower, milliseconds
from runtime.local.kinesis.listing import child_json
from runtime.local.kinesis.refusals import invalid, no_shard, rate_exceeded, refusal, unsuitable
from runtime.local.kinesis.sequence import parse_sequence
from runtime.local.kinesis.shards import LocalShard, Page
from runtime.local.kinesis.streams import HOUR, LocalStream
from runtime.local.kinesis.tokens import Iterator, seal, unseal

Answer = dict[str, Any]
ITERATOR_LIVES: Final = 300_000
"""Milliseconds (KIN-14)."""
_TYPES: Final = ("AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON")
_MOST_RECORDS: Final = 10_000


def get_shard_iterator(call: Call) -> Answer:
    stream = call.ready_stream()
    shard = stream.shard(call.name("ShardId"))
    position = start_position(
        call, stream, shard, kind="ShardIteratorType", sequence="StartingSequenceNumber", given=call.request
    )
    return {"ShardIterator": _iterator(call, stream, shard, position)}


def start_position(
    call: Call, stream: LocalStream, shard: LocalShard, *, kind: str, sequence: str, given: Mapping[str, Any]
) -> int:
    """Where reading begins. `kind` and `sequence`: what the request calls them in `given`; the moment is Timestamp everywhere."""
    part = replace(call, request=given)
    wanted, number = part.text(kind), part.maybe_text(sequence)
    if wanted not in _TYPES:
        raise unsuitable(wanted, lower(kind), f"Member must satisfy enum value set: [{', '.join(_TYPES)}]")
    if wanted.endswith("_SEQUENCE_NUMBER") is (number is None):
        raise invalid(
            f"Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and {sequence} or "
            f"(2) TRIM_HORIZON or LATEST and no {sequence}. Request specified {wanted} and "
            f"{'no' if number is None else 'also a'} {sequence}."
        )
    if number is not None:
        return _checked(stream, shard, number) + (wanted == "AFTER_SEQUENCE_NUMBER")
    if wanted == "AT_TIMESTAMP":
        return shard.position_at(_past(call, given.get("Timestamp")))
    return shard.tip if wanted == "LATEST" else shard.start


def _checked(stream: LocalStream, shard: LocalShard, text: str) -> int:
    used = f"StartingSequenceNumber {text} used in GetShardIterator on shard {shard.id} in stream {stream.name}"
    try:
        sequence = parse_sequence(text)
    except ValueError:
        raise invalid(f"{used} under account {stream.account} is invalid.") from None
    if sequence.shard != shard.number:
        encoded = f"shardId-{sequence.shard:012}"
        raise invalid(
            f"Invalid StartingSequenceNumber. It encodes {encoded}, while it was used in a call to a shard with {shard.id}"
        )
    if sequence.made != shard.made:
        raise invalid(f"{used} under account {stream.account} is invalid because it did not come from this stream.")
    return sequence.number


def _past(call: Call, moment: object) -> int:
    if moment is None:
        raise invalid(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. "
            "Current request has no timestamp parameter."
        )
    at = milliseconds(moment, "Timestamp")
    if at > call.now:
        raise invalid(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "
            f"timestampInMillis: {at}, currentTimestampInMillis: {call.now}"
        )
    return at


def get_records(call: Call) -> Answer:
    """The records from an iterator's place on, and the next iterator; at the end of a closed shard, its children instead."""
    limit = call.whole("Limit", 1, _MOST_RECORDS) or _MOST_RECORDS
    iterator = unseal(call.text("ShardIterator"), Iterator)
    if iterator is None:
        raise invalid("Invalid ShardIterator.")
    stream, shard = _place(call, iterator)
    now, position = call.now, int(iterator.position)
    _admit(call, stream, shard, now)
    if call.effects.empty_page(stream.name, shard.id):
        page = Page(records=[], next=position, behind=shard.behind(position, now), full=False)
    elif call.streams.stuck_positions and shard.has_lost(position):
        page = Page(records=[], next=position, behind=stream.retention * HOUR, full=False)
    else:
        page = shard.read(position, limit=limit, now=now)
    if page.full and call.streams.reads_per_second is not None:
        shard.pause(now)
    following = page.next
    if page.records and call.effects.duplicate_page(stream.name, shard.id):
        following = position
    answer: Answer = {"Records": [record.as_json() for record in page.records], "MillisBehindLatest": page.behind}
    if following is not None:
        answer["NextShardIterator"] = _iterator(call, stream, shard, following)
    else:
        answer["ChildShards"] = [child_json(child) for child in shard.children]
    return answer


def expired(call: Call, iterator: Iterator) -> Refused:
    made, now = (_utc(moment) for moment in (iterator.issued, call.now))
    return refusal(
        "ExpiredIteratorException",
        f"Iterator expired. The iterator was created at time {made} while right now it is {now} which is further in the future "
        f"than the tolerated delay of {ITERATOR_LIVES} milliseconds.",
    )


def _place(call: Call, iterator: Iterator) -> tuple[LocalStream, LocalShard]:
    stream = call.streams.stream(iterator.name, account=iterator.account, region=iterator.region)
    if stream.number != iterator.stream:
        raise no_shard(iterator.shard, stream.name, stream.account)
    if call.now - iterator.issued > ITERATOR_LIVES or iterator.serial < stream.expired_below:
        raise expired(call, iterator)
    return stream, stream.shard(iterator.shard)


def _admit(call: Call, stream: LocalStream, shard: LocalShard, now: int) -> None:
    most = call.streams.reads_per_second
    if most is not None and not shard.admit(now, most=most):
        raise rate_exceeded(shard.id, stream.name, stream.account)


def _iterator(call: Call, stream: LocalStream, shard: LocalShard, position: int) -> str:
    return seal(
        Iterator(
            stream=stream.number,
            account=stream.account,
            region=stream.region,
            name=stream.name,
            shard=shard.id,
            position=str(position),
            issued=call.now,
            serial=call.streams.next_serial(),
        )
    )


def _utc(moment: int) -> str:
    """As in AWS's message: `Thu Jan 22 01:22:02 UTC 2015`."""
    return time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(moment // 1000))
