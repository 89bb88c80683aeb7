"""`POST /_local/dynamodb/<call>`: what AWS does in its own time happens now. Each takes a JSON object and gives one.

`table` is a table's name, its ARN or its stream's ARN; a name must be that of one table only, whatever account and region.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from runtime.local.dynamodb.shards import Shard
from runtime.local.dynamodb.store import DynamoDB
from runtime.local.dynamodb.streams import NoSuchShard, Stream
from runtime.local.dynamodb.tables import Table
from runtime.local.dynamodb.values import read_item
from runtime.local.errors import Refused
from runtime.local.service import BadControl, check_fields

Answer = dict[str, Any]
Control = Callable[[Mapping[str, Any]], Answer]
_MOST_SHARDS: Final = 10_000


def controls(store: DynamoDB) -> dict[str, Control]:
    """By name: configure, rollover, split, vanish, trim, expire."""

    def configure(given: Mapping[str, Any]) -> Answer:
        """`{"newStreamShards": 4}`: what streams begin with from now on."""
        check_fields(given, "newStreamShards")
        shards = given.get("newStreamShards")
        if type(shards) is not int or not 1 <= shards <= _MOST_SHARDS:
            raise BadControl(f"newStreamShards {shards!r} is not an integer from 1 to {_MOST_SHARDS}")
        store.new_stream_shards = shards
        return {"newStreamShards": shards}

    def on_shards(act: Callable[[Stream, str | None, float], Answer]) -> Control:
        """`{"table": ..., "shard": ...}`; without a shard: all of them."""

        def run(given: Mapping[str, Any]) -> Answer:
            check_fields(given, "table", "shard")
            stream, shard = _stream(store, given), given.get("shard")
            if shard is not None and not isinstance(shard, str):
                raise BadControl(f"shard {shard!r} is not a string")
            try:
                return act(stream, shard, store.clock())
            except NoSuchShard as missing:
                raise BadControl(str(missing)) from None

        return run

    def expire(given: Mapping[str, Any]) -> Answer:
        """`{"table": ..., "key": ...}`; without a key: every item that has an expiry time."""
        check_fields(given, "table", "key")
        table, key = _table(store, given), given.get("key")
        try:
            found = None if key is None else table.check_key(read_item(key, "key"))
        except Refused as refused:
            raise BadControl(f"key: {refused.message}") from None
        return {"expired": table.expire(found, store.clock())}

    def trim(stream: Stream, shard: str | None, now: float) -> Answer:
        stream.trim(now, shard)
        return {}

    return {
        "configure": configure,
        "rollover": on_shards(lambda stream, shard, now: {"opened": _ids(stream.roll_over(now, shard))}),
        "split": on_shards(lambda stream, shard, now: {"opened": _ids(stream.split(now, shard))}),
        "vanish": on_shards(lambda stream, shard, _now: {"vanished": stream.vanish(shard)}),
        "trim": on_shards(trim),
        "expire": expire,
    }


def inspect(store: DynamoDB) -> Answer:
    """The part of `GET /_local/`: every table with its newest stream."""
    return {"tables": [_shown(table, store.clock()) for table in store.every_table()]}


def _shown(table: Table, now: float) -> Answer:
    stream = table.stream
    shown: Answer = {"account": table.account, "region": table.region, "name": table.name, "arn": table.arn, "items": len(table)}
    if stream is not None:
        shards = [
            {"id": shard.id, "parent": shard.parent, "closed": shard.closed, "records": len(shard.records)}
            for shard in stream.shards(now)
        ]
        shown["stream"] = {"arn": stream.arn, "enabled": stream.enabled, "view": stream.view.value, "shards": shards}
    return shown


def _table(store: DynamoDB, given: Mapping[str, Any]) -> Table:
    name = given.get("table")
    found = [table for table in store.every_table() if name in (table.name, table.arn)]
    if len(found) != 1:
        problem = "there are several: give its ARN" if found else "there is none"
        raise BadControl(f"table {name!r}: {problem}")
    return found[0]


def _stream(store: DynamoDB, given: Mapping[str, Any]) -> Stream:
    name = given.get("table")
    if isinstance(name, str) and "/stream/" in name:
        try:
            return store.stream(name)
        except Refused as refused:
            raise BadControl(refused.message) from None
    stream = _table(store, given).stream
    if stream is None:
        raise BadControl(f"table {name!r} has no stream")
    return stream


def _ids(shards: list[Shard]) -> list[str]:
    return [shard.id for shard in shards]
