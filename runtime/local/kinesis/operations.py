"""The table of what there is: a JSON request in, a JSON answer out, or `Refused`. Anything else is refused by name."""

from collections.abc import Callable
from typing import Any, Final

from runtime.local.kinesis.call import Call
from runtime.local.kinesis.consumers import (
    deregister_stream_consumer,
    describe_stream_consumer,
    list_stream_consumers,
    register_stream_consumer,
)
from runtime.local.kinesis.listing import list_shards
from runtime.local.kinesis.managing import (
    create_stream,
    decrease_retention,
    delete_stream,
    describe_stream,
    describe_stream_summary,
    increase_retention,
    list_streams,
    merge_shards,
    split_shard,
    update_shard_count,
)
from runtime.local.kinesis.reading import get_records, get_shard_iterator
from runtime.local.kinesis.writing import put_record, put_records

Answer = dict[str, Any]
OPERATIONS: Final[dict[str, Callable[[Call], Answer]]] = {
    "CreateStream": create_stream,
    "DeleteStream": delete_stream,
    "DescribeStream": describe_stream,
    "DescribeStreamSummary": describe_stream_summary,
    "ListStreams": list_streams,
    "ListShards": list_shards,
    "GetShardIterator": get_shard_iterator,
    "GetRecords": get_records,
    "PutRecord": put_record,
    "PutRecords": put_records,
    "SplitShard": split_shard,
    "MergeShards": merge_shards,
    "UpdateShardCount": update_shard_count,
    "IncreaseStreamRetentionPeriod": increase_retention,
    "DecreaseStreamRetentionPeriod": decrease_retention,
    "RegisterStreamConsumer": register_stream_consumer,
    "DescribeStreamConsumer": describe_stream_consumer,
    "ListStreamConsumers": list_stream_consumers,
    "DeregisterStreamConsumer": deregister_stream_consumer,
}
QUIET: Final = frozenset({
    "DescribeStream", "DescribeStreamSummary", "ListStreams", "ListShards", "GetShardIterator", "GetRecords",
    "DescribeStreamConsumer", "ListStreamConsumers",
})  # fmt: skip
"""Operations after which no subscription has to look again."""
