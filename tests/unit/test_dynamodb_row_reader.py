"""A reader of rows with a memory reads what one without reads."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.stores.dynamodb.row_reader import RowReader
from runtime.stores.dynamodb.rows import LeaseRow, parse_lease
from runtime.stores.dynamodb.values import BadRow, Item, opened

JAVA: dict[str, Item] = json.loads((Path(__file__).parent / "kcl_rows.json").read_text())

TEXTS: list[Any] = [
    {"S": "a"},
    {"S": "b"},
    {"S": ""},
    {"N": "1"},
    {"S": 'a"},"leaseCounter":{"N":"3'},
    {"S": "\\"},
    {"S": "\u00e4"},
]
NUMBERS: list[Any] = [{"N": "0"}, {"N": "7"}, {"N": "8"}, {"N": "x"}, {"S": "7"}, {"N": "1e2"}]
ITEMS = st.fixed_dictionaries(
    {"leaseKey": st.sampled_from([{"S": "1"}, {"S": "1"}, {"S": "2"}, {"N": "1"}, {"S": ["1"]}])},
    optional={
        "checkpoint": st.sampled_from([{"S": "5"}, {"S": "5"}, {"S": "6"}, {"S": ""}]),
        "leaseCounter": st.sampled_from(NUMBERS),
        "esmWrite": st.sampled_from(TEXTS),
        "throughputKBps": st.sampled_from([*NUMBERS, {"N": "0.5"}]),
        "leaseOwner": st.sampled_from(TEXTS),
        "esmUnclaimed": st.sampled_from(NUMBERS),
        "entityType": st.sampled_from([{"S": "LEASE"}, {"S": "LEASE"}, {"S": "WORKER_METRIC_STATS"}]),
        "pendingCheckpointState": st.sampled_from([{"B": "AAE="}, {"N": "0"}]),
        "somethingNew": st.sampled_from([{"M": {"leaseCounter": {"N": "1"}}}, {"M": {"leaseCounter": {"N": "2"}}}, {"S": "M"}]),
        "parentShardId": st.sampled_from([{"SS": ["p", "q"]}, {"SS": ["q", "p"]}, {"SS": ["p"]}, {"S": "p"}]),
    },
)


ROW: dict[str, Any] = {
    **{name: {"S": "a"} for name in ("leaseOwner", "checkpointOwner", "pendingCheckpoint", "streamName", "shardId", "esmSource")},
    **{name: {"N": "7"} for name in ("leaseCounter", "ownerSwitchesSinceCheckpoint", "esmUnclaimed", "throughputKBps")},
    **{name: {"N": "7"} for name in ("checkpointSubSequenceNumber", "pendingCheckpointSubSequenceNumber")},
    **{name: {"S": "5"} for name in ("startingHashKey", "endingHashKey", "esmStart", "esmWindow", "esmWrite")},
    **{name: {"SS": ["p"]} for name in ("parentShardId", "childShardIds")},
    "leaseKey": {"S": "1"},
    "checkpoint": {"S": "5"},
    "entityType": {"S": "LEASE"},
    "pendingCheckpointState": {"B": "AAE="},
}
WAYS: list[Callable[[Item], bytes]] = [
    msgspec.json.encode,  # as DynamoDB
    lambda item: msgspec.json.encode(dict(reversed([*item.items()]))),
    lambda item: json.dumps(item).encode(),  # blanks, and escapes where there might be none
]


def parsed(text: bytes) -> LeaseRow | str | None:
    """What is made of it without a memory, or the text of the BadRow."""
    try:
        return parse_lease(json.loads(text))
    except BadRow as error:
        return str(error)


def read(reader: RowReader, text: bytes) -> LeaseRow | str | None:
    try:
        return reader.read(msgspec.Raw(text))
    except BadRow as error:
        return str(error)


@given(items=st.lists(st.tuples(ITEMS, st.sampled_from(WAYS)), max_size=8))
def test_with_a_memory_the_same_is_read(items: list[tuple[Item, Callable[[Item], bytes]]]) -> None:
    reader = RowReader(most=3)
    for item, write in items:
        text = write(item)
        assert read(reader, text) == parsed(text)
        assert read(reader, text) == parsed(text)


@pytest.mark.parametrize("write", WAYS)
def test_however_a_row_is_written_it_is_read_the_same_again(write: Callable[[Item], bytes]) -> None:
    reader, row = RowReader(), {**ROW, "leaseCounter": {"N": "12"}, "throughputKBps": {"N": "0.5"}, "esmWrite": {"S": "token"}}
    for each in (row, row, ROW, ROW, row):
        assert read(reader, write(each)) == parse_lease(each)


def test_of_every_two_rows_of_java_the_second_is_read_as_if_it_were_the_first() -> None:
    for before, after in product(JAVA.values(), repeat=2):
        reader = RowReader()
        read(reader, msgspec.json.encode(before))
        text = msgspec.json.encode(after)
        assert read(reader, text) == parsed(text)


OTHERS: list[Any] = [None, *TEXTS, *NUMBERS, {"S": "6"}, {"SS": ["p", "q"]}, {"B": "AAI="}]


@pytest.mark.parametrize("name", [*ROW, "somethingNew"])
def test_whatever_has_changed_since_is_read_anew(name: str) -> None:
    """Missing, and of the wrong type, too."""

    def having(row: dict[str, Any]) -> Item:
        return {name: value for name, value in row.items() if value is not None}

    for before, after in product([ROW.get(name, {"S": "new"}), *OTHERS], repeat=2):
        reader = RowReader()
        read(reader, msgspec.json.encode(having({**ROW, name: before})))
        changed = msgspec.json.encode(having({**ROW, name: after}))
        assert read(reader, changed) == parsed(changed)


@pytest.mark.parametrize("name", ["leaseCounter", "esmWrite", "throughputKBps", "leaseKey"])
def test_a_value_that_is_there_twice_is_read_as_json_has_it(name: str) -> None:
    reader, kind = RowReader(), next(iter(ROW[name]))
    row = msgspec.json.encode({key: value for key, value in ROW.items() if key != name})
    for last, first in product("567", repeat=2):
        text = f'{{"{name}":{{"{kind}":"{first}"}},{row[1:-1].decode()},"{name}":{{"{kind}":"{last}"}}}}'.encode()
        assert read(reader, text) == parsed(text)


def test_a_row_that_was_taken_apart_is_read_too() -> None:
    reader = RowReader()
    reader.read(msgspec.Raw(msgspec.json.encode(ROW)))
    assert reader.read({**ROW, "pendingCheckpointState": {"B": b"\0\1"}}) == parse_lease(ROW)


@pytest.mark.parametrize("text", [b"5", b"[]", b'{"leaseKey":"x"}', b'{"leaseKey":{"S":"\xff"}}'])
def test_what_is_no_row_is_told(text: bytes) -> None:
    with pytest.raises(BadRow, match="cannot be read"):
        RowReader().read(msgspec.Raw(text))


def test_half_a_surrogate_pair_is_no_reason_to_stop() -> None:
    """Only Python's own reader takes it."""
    row = opened(msgspec.Raw(rb'{"leaseKey":{"S":"\ud800"}}'))
    assert row == {"leaseKey": {"S": "\ud800"}}


def test_a_renewed_row_is_not_taken_apart_again() -> None:
    reader = RowReader()
    before = reader.read(msgspec.Raw(msgspec.json.encode(ROW)))
    renewed = {**ROW, "leaseCounter": {"N": "8"}, "esmWrite": {"S": "b"}, "throughputKBps": {"N": "1.5"}}
    row = reader.read(msgspec.Raw(msgspec.json.encode(renewed)))
    assert row is not None
    assert before is not None
    assert (row.counter, row.write, row.throughput) == (8, "b", 1.5)
    assert row.parents is before.parents


def test_no_more_rows_are_remembered_than_was_said() -> None:
    reader = RowReader(most=3)
    for number in range(10):
        reader.read(msgspec.Raw(msgspec.json.encode({**ROW, "leaseKey": {"S": str(number)}})))
        assert len(reader) <= 3
    assert len(reader)
