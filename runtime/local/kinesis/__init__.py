"""Kinesis Data Streams in memory: shards that split and merge, records that age, iterators that expire.

The law: a record belongs to one shard for ever. Resharding closes shards and opens children; the closed ones keep what they hold
and can be read to their end. Sequence numbers grow within a shard and from every shard to its children.

`sequence`, `tokens`, `shards`, `streams` are the model; `managing`, `listing`, `reading`, `writing` its operations; `service`
is what the server sees. Streams are ACTIVE at once and nobody is throttled, unless `Streams.delay` and `Streams.reads_per_second`
say so.
"""
