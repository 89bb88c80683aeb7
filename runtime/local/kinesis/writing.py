"""PutRecord and PutRecords."""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from typing import Any, Final

from runtime.local.kinesis.call import Call, hash_key
from runtime.local.kinesis.refusals import invalid, misread, unsuitable
from runtime.local.kinesis.streams import LocalStream

Answer = dict[str, Any]
_LONGEST_KEY: Final = 256
"""Characters."""
_MOST_RECORDS: Final = 500
_LARGEST_REQUEST: Final = 10 * 1024 * 1024
"""Bytes of all records with their keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A checked record that has no place yet."""

    key: str
    data: str
    size: int
    hash_key: int


def put_record(call: Call) -> Answer:
    stream = call.ready_stream()
    return _put(call, stream, _draft(call.request, stream, "", ""))


def put_records(call: Call) -> Answer:
    """Every record is put, in the order of the request: nothing is throttled here."""
    stream, entries = call.ready_stream(), call.request.get("Records")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise misread("Records", "a list of structures")
    if not 1 <= len(entries) <= _MOST_RECORDS:
        bound = f"less than or equal to {_MOST_RECORDS}" if entries else "greater than or equal to 1"
        raise unsuitable("[...]", "records", f"Member must have length {bound}")
    drafts = [_draft(entry, stream, f"records.{number}.member.", "Records.") for number, entry in enumerate(entries, start=1)]
    if sum(draft.size for draft in drafts) > _LARGEST_REQUEST:
        raise invalid(f"Records size exceeds {_LARGEST_REQUEST // 1024 // 1024} MB limit")
    return {"FailedRecordCount": 0, "Records": [_put(call, stream, draft) for draft in drafts]}


def _put(call: Call, stream: LocalStream, draft: _Draft) -> Answer:
    shard, record = stream.put(draft.hash_key, key=draft.key, data=draft.data, size=draft.size, now=call.now)
    return {"ShardId": shard.id, "SequenceNumber": str(record.sequence)}


def _draft(given: Mapping[str, Any], stream: LocalStream, path: str, place: str) -> _Draft:
    key, data, explicit = given.get("PartitionKey"), given.get("Data"), given.get("ExplicitHashKey")
    for name, value in (("PartitionKey", key), ("ExplicitHashKey", explicit), ("Data", data)):
        if value is not None and not isinstance(value, str):
            raise misread(f"{place}{name}", "a string")
    if key is None or data is None:
        raise unsuitable(None, path + ("partitionKey" if key is None else "data"), "Member must not be null")
    if not 1 <= len(key) <= _LONGEST_KEY:
        bound = f"less than or equal to {_LONGEST_KEY}" if key else "greater than or equal to 1"
        raise unsuitable(key, f"{path}partitionKey", f"Member must have length {bound}")
    try:
        size = len(binascii.a2b_base64(data, strict_mode=True)) + len(key.encode())
    except ValueError as error:
        raise misread(f"{place}Data", f"base64 text: {error}") from None
    if size > stream.largest:
        raise unsuitable("...", f"{path}data", f"Member must have length less than or equal to {stream.largest}")
    place_of = hash_of(key) if explicit is None else hash_key(explicit, "ExplicitHashKey")
    return _Draft(key=key, data=data, size=size, hash_key=place_of)


def hash_of(key: str) -> int:
    """Where a partition key lies among the hash keys."""
    return int.from_bytes(md5(key.encode(), usedforsecurity=False).digest())
