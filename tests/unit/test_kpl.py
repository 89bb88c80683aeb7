"""Aggregates of the KPL. `events/kpl_aggregates.json` was made with the aggregator of aws_kinesis_agg 1.2.3."""

import base64
import json
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollers.event_records import read_event_record
from pollers.kinesis import KinesisRecord, _Origin
from pollers.kinesis_aggregates import AGGREGATES, envelope, expand
from pollers.kpl import _AGGREGATE, MAGIC, UserData, user_records
from pollers.record import Record, RecordId

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "events" / "kpl_aggregates.json").read_text())
ORIGIN = _Origin(shard="shardId-000000000000", role="arn:aws:iam::1:role/r", region="eu-west-1", arn="arn:aws:kinesis:s")
THREE = base64.b64decode(GOLDEN["three records of two keys"]["aggregate"])


def sealed(body: bytes) -> bytes:
    return MAGIC + body + md5(body, usedforsecurity=False).digest()


def aggregate(*records: tuple[str, bytes]) -> bytes:
    message: Any = _AGGREGATE()
    for number, (key, data) in enumerate(records):
        message.partition_key_table.append(key)
        message.records.add(partition_key_index=number, data=data)
    return sealed(message.SerializeToString())


def stored(content: bytes, number: int = 7, key: str = "agg") -> KinesisRecord:
    data = base64.b64encode(content).decode()
    return KinesisRecord(id=RecordId(str(number)), arrived=1.5, group=key, data=data, content=ORIGIN, size=1)


@pytest.mark.parametrize("name", GOLDEN)
def test_what_the_library_of_aws_packs_is_unpacked(name: str) -> None:
    wanted = [UserData(key, hash_key, base64.b64decode(data)) for key, data, hash_key in GOLDEN[name]["records"]]
    assert user_records(base64.b64decode(GOLDEN[name]["aggregate"])) == wanted


@pytest.mark.parametrize(
    "content",
    [
        b"",
        MAGIC,
        MAGIC + b"x" * 16,
        THREE[:-1],
        THREE[:-1] + bytes([THREE[-1] ^ 1]),
        THREE[1:],
        sealed(b"no protobuf at all"),
        sealed(b"\x1a\x07\x08\x05\x1a\x03one"),  # the partition key of that place is not there
        sealed(b"\x0a\x01a\x1a\x05\x1a\x03one"),  # without partition_key_index, which is required
        sealed(b"\x0a\x01\xff\x1a\x07\x08\x00\x1a\x03one"),  # a key that is no text
        sealed(b"\x0a\x01\xff\x0a\x01b\x1a\x07\x08\x00\x1a\x03one"),  # the same beside one that is
        sealed(b"\x0a\x01a\x1a\x09\x08\x00\x10\x00\x1a\x03one"),  # an explicit hash key that is not there
        sealed(b"\x0a\x01a"),  # nothing in it
    ],
)
def test_what_is_no_aggregate_or_a_broken_one_stays_as_it_is(content: bytes) -> None:
    assert user_records(content) is None
    record = stored(content)
    assert list(expand([record])) == [record]


@given(st.binary(max_size=200))
def test_no_bytes_are_too_hostile(noise: bytes) -> None:
    for content in (noise, MAGIC + noise, sealed(noise)):
        found = user_records(content)
        assert found is None or len(found) > 0
        assert len(expand([stored(content)])) == len(found or [None])


@given(st.integers(0, 400), st.integers(1, 255))
def test_one_wrong_byte_makes_an_aggregate_an_ordinary_record(place: int, change: int) -> None:
    content = bytearray(THREE)
    content[place % len(content)] ^= change
    assert user_records(bytes(content)) is None


_KEYS = st.text(min_size=1, max_size=20).filter(lambda key: key.isprintable())


@given(st.lists(st.lists(st.tuples(_KEYS, st.binary(max_size=50)), min_size=1, max_size=5), max_size=5))
def test_every_user_record_comes_once_in_order_and_is_never_larger_than_it_says(packed: list[list[tuple[str, bytes]]]) -> None:
    begin = 49 * 10**54  # as long as on AWS
    records = [stored(aggregate(*users), begin + number) for number, users in enumerate(packed, start=1)]
    plain = stored(b"plain", begin + 99, key="p")
    found = expand([*records, plain])
    shown = envelope(found)["Records"]
    assert [(one["kinesis"]["partitionKey"], base64.b64decode(one["kinesis"]["data"])) for one in shown] == [
        *[user for users in packed for user in users],
        ("p", b"plain"),
    ]
    assert len({record.id for record in found}) == len(found) == len({one["eventID"] for one in shown})
    for record, one in zip(found[:-1], shown, strict=False):
        true = len(json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode())
        assert true <= record.size <= true + 40


def test_the_event_shows_what_the_modules_of_aws_show_under_an_id_of_its_own() -> None:
    (record,) = [stored(base64.b64decode(GOLDEN["explicit hash keys"]["aggregate"]), 4962)]
    first, second = envelope(expand([record]))["Records"]
    assert first["kinesis"] == {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": "a",
        "sequenceNumber": "4962",
        "data": "MQ==",
        "approximateArrivalTimestamp": 1.5,
        "explicitHashKey": "0",
        "subSequenceNumber": 0,
        "aggregated": True,
    }
    assert (second["kinesis"]["subSequenceNumber"], second["eventID"]) == (1, "shardId-000000000000:4962:1")
    assert {**first, "kinesis": {}, "eventID": ""} == {**second, "kinesis": {}, "eventID": ""}


def test_user_records_are_read_back_from_their_events_as_what_they_were() -> None:
    """As from an on-failure object, which holds the whole event."""
    found = expand([stored(THREE, 4962), stored(b"plain", 4963)])
    back = [read_event_record(shown) for shown in envelope(found)["Records"]]
    assert [(one.record.id, one.record.group, one.shard) for one in back] == [
        (record.id, record.group, "shardId-000000000000") for record in found
    ]


def test_a_page_without_an_aggregate_is_not_touched() -> None:
    page: tuple[Record, ...] = (stored(b"a", 1), stored(b"b", 2))
    assert expand(page) is page
    assert AGGREGATES.envelope(page)["Records"][0]["kinesis"].keys() == {
        "kinesisSchemaVersion", "partitionKey", "sequenceNumber", "data", "approximateArrivalTimestamp",
    }  # fmt: skip
