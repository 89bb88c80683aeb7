"""Runs what failed through a handler again: `esm redrive`.

messages   what an on-failure message says      places   the queue, bucket, folder or file that holds messages
fetching   the records that a message points at, from the stream
redriver   message by message in the order of the shards: fetch, run, delete
"""
