"""Runs what failed through a handler again: `esm redrive`.

messages   what an on-failure message says          places     what holds messages: queue_place, bucket_place, file_place
fetching   the records that a message points at     entries    the messages, and what became of them
redriver   message by message in the order of the shards: fetch, run, delete            show   the summary
"""
