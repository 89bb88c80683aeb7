"""The operations on streams as a whole: made, described, listed, kept longer, split, merged, scaled, deleted."""

from typing import Any, Final

from runtime.local.kinesis.call import Call, hash_key
from runtime.local.kinesis.listing import shard_json
from runtime.local.kinesis.refusals import in_use, invalid, misread, unsuitable
from runtime.local.kinesis.streams import LocalStream

Answer = dict[str, Any]
_MOST_SHARDS: Final = 10_000
_ON_DEMAND_SHARDS: Final = 4
_KIB: Final = 1024
_DEFAULT_PAGE: Final = 100
_LONGEST: Final = 8760
"""Hours: 365 days."""
_SHORTEST: Final = 24


def create_stream(call: Call) -> Answer:
    details = call.request.get("StreamModeDetails") or {"StreamMode": "PROVISIONED"}
    if not isinstance(details, dict):
        raise misread("StreamModeDetails", "a structure")
    mode = details.get("StreamMode")
    if mode not in ("PROVISIONED", "ON_DEMAND"):
        constraint = "Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]"
        raise unsuitable(mode, "streamModeDetails.streamMode", constraint)
    shards = call.whole("ShardCount", 1, _MOST_SHARDS)
    if mode == "PROVISIONED" and shards is None:
        raise invalid("ShardCount is required for a stream in PROVISIONED mode.")
    if mode == "ON_DEMAND" and shards is not None:
        raise invalid("ShardCount must not be given for a stream in ON_DEMAND mode.")
    largest = call.whole("MaxRecordSizeInKiB", _KIB, 10 * _KIB) or _KIB
    call.streams.create(
        call.caller, call.name("StreamName"), shards=shards or _ON_DEMAND_SHARDS, mode=mode, largest=largest * _KIB
    )
    return {}


def delete_stream(call: Call) -> Answer:
    """Gone at once; its iterators lead nowhere."""
    stream = call.stream()
    if stream.consumers and call.request.get("EnforceConsumerDeletion") is not True:
        raise in_use(
            f"Stream {stream.name} under account {stream.account} has registered consumers: set EnforceConsumerDeletion."
        )
    call.streams.delete(stream)
    return {}


def describe_stream(call: Call) -> Answer:
    stream, limit = call.stream(), call.whole("Limit", 1, 10_000) or _DEFAULT_PAGE
    after = call.maybe_text("ExclusiveStartShardId") or ""
    creating = stream.status(call.now) == "CREATING"
    shards = [shard for shard in stream.shards.values() if shard.id > after and not creating]
    return {
        "StreamDescription": {
            **_described(stream, call.now),
            "Shards": [shard_json(shard) for shard in shards[:limit]],
            "HasMoreShards": len(shards) > limit,
        }
    }


def describe_stream_summary(call: Call) -> Answer:
    stream = call.stream()
    described = _described(stream, call.now)
    return {
        "StreamDescriptionSummary": {
            **described,
            "OpenShardCount": len(stream.open_shards),
            "ConsumerCount": len(stream.consumers),
            "MaxRecordSizeInKiB": stream.largest // _KIB,
        }
    }


def list_streams(call: Call) -> Answer:
    """Goes on after a name; the token is that name too."""
    limit = call.whole("Limit", 1, 10_000) or _DEFAULT_PAGE
    after = call.maybe_text("NextToken") or call.maybe_text("ExclusiveStartStreamName") or ""
    found = [stream for stream in call.streams.owned_by(call.caller) if stream.name > after]
    page = found[:limit]
    summaries = [{key: value for key, value in _described(stream, call.now).items() if key in _SUMMARY} for stream in page]
    answer: Answer = {
        "StreamNames": [stream.name for stream in page],
        "StreamSummaries": summaries,
        "HasMoreStreams": len(found) > limit,
    }
    return {**answer, "NextToken": page[-1].name} if len(found) > limit else answer


_SUMMARY: Final = frozenset({"StreamName", "StreamARN", "StreamStatus", "StreamModeDetails", "StreamCreationTimestamp"})


def _described(stream: LocalStream, now: int) -> Answer:
    return {
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": stream.status(now),
        "StreamModeDetails": {"StreamMode": stream.mode},
        "RetentionPeriodHours": stream.retention,
        "StreamCreationTimestamp": stream.created // 1000,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
    }


def increase_retention(call: Call) -> Answer:
    stream, hours = call.stream(), _hours(call)
    if hours < stream.retention:
        raise invalid(
            f"Requested retention period ({hours} hours) for stream {stream.name} can not be shorter than existing retention "
            f"period ({stream.retention} hours). Use DecreaseRetentionPeriod API."
        )
    stream.retention = hours
    return {}


def decrease_retention(call: Call) -> Answer:
    stream, hours = call.stream(), _hours(call)
    if hours > stream.retention:
        raise invalid(
            f"Requested retention period ({hours} hours) for stream {stream.name} can not be longer than existing retention "
            f"period ({stream.retention} hours). Use IncreaseRetentionPeriod API."
        )
    stream.retention = hours
    return {}


def _hours(call: Call) -> int:
    hours = call.needed("RetentionPeriodHours", 1, 1_000_000)
    if hours < _SHORTEST:
        message = (
            f"Minimum allowed retention period is {_SHORTEST} hours. Requested retention period ({hours} hours) is too short."
        )
        raise invalid(message)
    if hours > _LONGEST:
        message = f"Maximum allowed retention period is {_LONGEST} hours. Requested retention period ({hours} hours) is too long."
        raise invalid(message)
    return hours


def split_shard(call: Call) -> Answer:
    stream, now = call.stream(), call.now
    shard, middle = call.name("ShardToSplit"), hash_key(call.text("NewStartingHashKey"), "NewStartingHashKey")
    stream.split(shard, middle, now)
    stream.settle(call.streams.settled(now))
    return {}


def merge_shards(call: Call) -> Answer:
    stream, now = call.stream(), call.now
    stream.merge(call.name("ShardToMerge"), call.name("AdjacentShardToMerge"), now)
    stream.settle(call.streams.settled(now))
    return {}


def update_shard_count(call: Call) -> Answer:
    stream, now = call.stream(), call.now
    target = call.needed("TargetShardCount", 1, _MOST_SHARDS)
    if call.text("ScalingType") != "UNIFORM_SCALING":
        constraint = "Member must satisfy enum value set: [UNIFORM_SCALING]"
        raise unsuitable(call.text("ScalingType"), "scalingType", constraint)
    current = len(stream.open_shards)
    stream.scale(target, now)
    stream.settle(call.streams.settled(now))
    return {
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "CurrentShardCount": current,
        "TargetShardCount": target,
    }
