"""ListShards: filtered, by pages. The token of a page names the stream, so the stream must not be named beside it, as on AWS."""

from typing import Any, Final

from runtime.local.kinesis.call import Call, milliseconds
from runtime.local.kinesis.refusals import in_use, invalid, misread, refusal, unsuitable
from runtime.local.kinesis.shards import LocalShard
from runtime.local.kinesis.streams import LocalStream
from runtime.local.kinesis.tokens import ListToken, seal, unseal

Answer = dict[str, Any]
Filter = dict[str, str | int | float]
_LARGEST_PAGE: Final = 1000
_TOKEN_LIVES: Final = 300_000
"""Milliseconds."""
_ALONE: Final = ("StreamName", "StreamARN", "ExclusiveStartShardId", "StreamCreationTimestamp", "ShardFilter")
"""What NextToken stands for."""
_FILTERS: Final = ("AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP")


def list_shards(call: Call) -> Answer:
    limit = min(call.whole("MaxResults", 1, 10_000) or _LARGEST_PAGE, _LARGEST_PAGE)
    token = call.maybe_text("NextToken")
    if token is not None:
        stream, after, chosen = _continued(call, token)
    elif call.request.get("StreamName") is None and call.request.get("StreamARN") is None:
        raise invalid("Either NextToken or StreamName should be provided.")
    else:
        stream, after, chosen = call.stream(), call.maybe_text("ExclusiveStartShardId") or "", _filter(call)
    if stream.status(call.now) == "CREATING":
        raise in_use(f"Stream {stream.name} under account {stream.account} not ACTIVE, instead in state CREATING")
    found = [shard for shard in stream.shards.values() if shard.id > after and _passes(shard, stream, chosen)]
    page = found[:limit]
    answer: Answer = {"Shards": [shard_json(shard) for shard in page]}
    if len(found) > limit:
        following = ListToken(stream.account, stream.region, stream.name, page[-1].id, call.now, chosen)
        answer["NextToken"] = seal(following)
    return answer


def shard_json(shard: LocalShard) -> Answer:
    shown: Answer = {
        "ShardId": shard.id,
        "HashKeyRange": {"StartingHashKey": str(shard.keys.start), "EndingHashKey": str(shard.keys.end)},
        "SequenceNumberRange": {"StartingSequenceNumber": str(shard.start)},
    }
    if shard.end is not None:
        shown["SequenceNumberRange"]["EndingSequenceNumber"] = str(shard.end)
    for name, parent in zip(("ParentShardId", "AdjacentParentShardId"), shard.parents, strict=False):
        shown[name] = parent
    return shown


def child_json(shard: LocalShard) -> Answer:
    """As a member of ChildShards, at the end of its parents."""
    return {
        "ShardId": shard.id,
        "ParentShards": list(shard.parents),
        "HashKeyRange": shard_json(shard)["HashKeyRange"],
    }


def _continued(call: Call, text: str) -> tuple[LocalStream, str, Filter]:
    for name in _ALONE:
        if call.request.get(name) is not None:
            raise invalid(f"NextToken and {name} cannot be provided together.")
    token = unseal(text, ListToken)
    if token is None:
        raise invalid("The NextToken is invalid.")
    if call.now - token.issued > _TOKEN_LIVES:
        raise refusal("ExpiredNextTokenException", "The NextToken is older than 300 seconds.")
    return call.streams.stream(token.name, account=token.account, region=token.region), token.after, token.filter


def _filter(call: Call) -> Filter:
    """Checked: `type`, and with it `shard` or `at` (milliseconds)."""
    given = call.request.get("ShardFilter")
    if given is None:
        return {"type": "FROM_TRIM_HORIZON"}
    if not isinstance(given, dict):
        raise misread("ShardFilter", "a structure")
    kind, shard, moment = given.get("Type"), given.get("ShardId"), given.get("Timestamp")
    if not isinstance(kind, str) or kind not in _FILTERS:
        raise unsuitable(kind, "shardFilter.type", f"Member must satisfy enum value set: [{', '.join(_FILTERS)}]")
    if kind == "AFTER_SHARD_ID":
        if not isinstance(shard, str):
            raise invalid("ShardId must be provided for a ShardFilter of type AFTER_SHARD_ID.")
        return {"type": kind, "shard": shard}
    if kind.endswith("_TIMESTAMP"):
        if moment is None:
            raise invalid(f"Timestamp must be provided for a ShardFilter of type {kind}.")
        return {"type": kind, "at": milliseconds(moment, "ShardFilter.Timestamp")}
    return {"type": kind}


def _passes(shard: LocalShard, stream: LocalStream, chosen: Filter) -> bool:
    """A shard was open at the trim horizon if what came before it has aged out: then no parent of it is listed any more."""
    match chosen:
        case {"type": "AT_LATEST"}:
            return shard.closed is None
        case {"type": "AT_TRIM_HORIZON"}:
            return not any(parent in stream.shards for parent in shard.parents)
        case {"type": "AFTER_SHARD_ID", "shard": str(after)}:
            return shard.id > after
        case {"type": "AT_TIMESTAMP", "at": int(moment)}:
            return shard.opened <= moment and (shard.closed is None or shard.closed >= moment)
        case {"type": "FROM_TIMESTAMP", "at": int(moment)}:
            return shard.closed is None or shard.closed >= moment
        case _:
            return True
