"""Kinesis records of which aggregates of the KPL are taken apart (`deaggregate: true`).

The law: a user record is known by the sequence number of its aggregate and its place therein, `4962...:7`; the position of a
shard knows aggregates only. The order of records is that of the stream, and within an aggregate that of its producer.

Unlike the KCL, and like AWS's modules for Lambda, user records are delivered whatever shard their keys belong to now.
"""

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import msgspec

from pollers.kinesis import LONGEST_TIME, SPEC, KinesisRecord
from pollers.kinesis import envelope as plain_envelope
from pollers.kpl import user_records
from pollers.record import Record, RecordId, sequence_of

_MAGIC: Final = "84maw"
"""How the base64 text of an aggregate begins; the sixth character has bits of the next byte."""


class UserRecord(KinesisRecord, kw_only=True, gc=False):
    """One of an aggregate; `group` is its own partition key."""

    number: int
    """Its place in the aggregate, from 0."""
    hash_key: str | None


def expand(records: Sequence[Record]) -> Sequence[Record]:
    """With the user records in place of the aggregates that hold them. What is none, or broken, stays as it is."""
    if not any(record.data.startswith(_MAGIC) for record in records if isinstance(record, KinesisRecord)):
        return records
    found: list[Record] = []
    for record in records:
        found += _user_records(record) if isinstance(record, KinesisRecord) else (record,)
    return found


def _user_records(record: KinesisRecord) -> Sequence[Record]:
    held = user_records(_content(record.data)) if record.data.startswith(_MAGIC) else None
    if held is None:
        return (record,)
    made, frame = [], _frame(record.content)
    for number, user in enumerate(held):
        one = UserRecord(
            id=RecordId(f"{record.id}:{number}"),
            arrived=record.arrived,
            group=user.key,
            data=b2a_base64(user.data, newline=False).decode("ascii"),
            content=record.content,
            number=number,
            hash_key=user.hash_key,
        )
        one.size = frame + len(one.data) + len(_text(user.key)) + len(_text(user.hash_key)) + 2 * len(one.id)
        made.append(one)
    return made


def _content(data: str) -> bytes:
    try:
        return a2b_base64(data)
    except ValueError:
        return b""


def envelope(records: Sequence[Record]) -> dict[str, Any]:
    """As `pollers.kinesis.envelope`, with what AWS's modules add to user records; their event ids are unique, unlike there."""
    event = plain_envelope(records)
    for record, shown in zip(records, event["Records"], strict=True):
        if isinstance(record, UserRecord):
            shown["kinesis"] |= {
                "sequenceNumber": sequence_of(record.id),
                "explicitHashKey": record.hash_key,
                "subSequenceNumber": record.number,
                "aggregated": True,
            }
    return event


@lru_cache(maxsize=4096)
def _frame(origin: Any) -> int:
    """Bytes of a user record without what differs between those of a shard; its number is in its id once too often."""
    nothing = UserRecord(id=RecordId(""), arrived=LONGEST_TIME, group="", data="", content=origin, number=0, hash_key=None)
    return len(msgspec.json.encode(envelope([nothing])["Records"][0])) - len('""null')


def _text(value: str | None) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate: six bytes as an escape
        return json.dumps(value).encode()


AGGREGATES: Final = replace(SPEC, envelope=envelope, expand=expand)
"""The spec of mappings that ask for user records."""
