"""`POST /_local/kinesis/<call>`: what a test does to streams that no client could do. Each finds the stream in every account."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from runtime.local.kinesis.streams import LocalStream, Streams
from runtime.local.service import Answer, BadControl, check_fields

_SECOND: Final = 1000
"""Milliseconds."""


def control_calls(streams: Streams) -> dict[str, Callable[[Mapping[str, Any]], Answer]]:
    """For `Service.controls`. They raise BadControl."""
    return {"trim": partial(trim, streams), "expire": partial(expire, streams), "settings": partial(settings, streams)}


def trim(streams: Streams, given: Mapping[str, Any]) -> Answer:
    """`{"stream", "shard"?, "records": N}` forgets the N oldest of each shard; `"before": seconds` what arrived earlier."""
    check_fields(given, "stream", "shard", "records", "before")
    if ("records" in given) is ("before" in given):
        raise BadControl("give either records (how many of each shard) or before (seconds since the epoch)")
    count, before = int(_number(given, "records")), _number(given, "before") * _SECOND
    wanted = given.get("shard")
    shards = [shard for stream in _named(streams, given) for shard in stream.shards.values() if wanted in (None, shard.id)]
    if not shards:
        raise BadControl(f"there is no shard {wanted!r}")
    kept = {shard.id: len(shard.records) for shard in shards}
    for shard in shards:
        shard.trim(shard.older_than(before) if "before" in given else count)
    return {"trimmed": {shard.id: kept[shard.id] - len(shard.records) for shard in shards}}


def expire(streams: Streams, given: Mapping[str, Any]) -> Answer:
    """`{"stream"}`: the iterators that were given out so far have expired."""
    check_fields(given, "stream")
    for stream in _named(streams, given):
        streams.expire_iterators(stream)
    return {}


def settings(streams: Streams, given: Mapping[str, Any]) -> Answer:
    """`{"readsPerSecond": N or null, "delay": seconds, "stuckPositions": boolean}`, each as it was if not given.

    Of SubscribeToShard, in seconds: `subscription`, `subscribeEvery`, `keepAlive`.
    """
    check_fields(given, "readsPerSecond", "delay", "stuckPositions", "subscription", "subscribeEvery", "keepAlive")
    reads = given.get("readsPerSecond", streams.reads_per_second)
    checked = None if reads is None else _number({"readsPerSecond": reads}, "readsPerSecond")
    stuck = given.get("stuckPositions", streams.stuck_positions)
    if not isinstance(stuck, bool):
        raise BadControl(f"stuckPositions {stuck!r} is not true or false")
    before = {
        "delay": streams.delay,
        "subscription": streams.subscription,
        "subscribeEvery": streams.subscribe_every,
        "keepAlive": streams.keep_alive,
    }
    times = {name: _number({**before, **given}, name) for name in before}
    streams.delay, streams.subscription, streams.subscribe_every, streams.keep_alive = times.values()
    streams.reads_per_second, streams.stuck_positions = checked, stuck
    return {"readsPerSecond": checked, "stuckPositions": stuck, **times}


def _named(streams: Streams, given: Mapping[str, Any]) -> list[LocalStream]:
    found = [stream for stream in streams.every() if stream.name == given.get("stream")]
    if not found:
        raise BadControl(f"there is no stream {given.get('stream')!r}")
    return found


def _number(given: Mapping[str, Any], name: str) -> float:
    value = given.get(name, 0)
    if type(value) not in (int, float) or value < 0:
        raise BadControl(f"{name} {value!r} is not a number from 0 up")
    return float(value)
