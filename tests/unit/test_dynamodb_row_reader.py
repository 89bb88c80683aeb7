"""A reader of rows with a memory reads what one without reads."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.stores.dynamodb.row_reader import RowReader
from runtime.stores.dynamodb.rows import LeaseRow, parse_lease
from runtime.stores.dynamodb.values import BadRow, Item

JAVA: dict[str, Item] = json.loads((Path(__file__).parent / "kcl_rows.json").read_text())

TEXTS: list[Any] = [{"S": "a"}, {"S": "b"}, {"S": ""}, {"N": "1"}]
NUMBERS: list[Any] = [{"N": "0"}, {"N": "7"}, {"N": "8"}, {"N": "x"}, {"S": "7"}]
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
        "pendingCheckpointState": st.sampled_from([{"B": "AAE="}, {"B": b"\x00\x01"}, {"N": "0"}]),
        "parentShardId": st.sampled_from([{"SS": ["p", "q"]}, {"SS": ["q", "p"]}, {"SS": ["p"]}, {"S": "p"}]),
    },
)


def read(reader: RowReader | None, item: Item) -> LeaseRow | str | None:
    """What is made of it, or the text of the BadRow."""
    try:
        return parse_lease(item) if reader is None else reader.read(item)
    except BadRow as error:
        return str(error)


@given(items=st.lists(ITEMS, max_size=8))
def test_with_a_memory_the_same_is_read(items: list[Item]) -> None:
    reader = RowReader(most=3)
    for item in items:
        assert read(reader, item) == read(None, item)


def test_of_every_two_rows_of_java_the_second_is_read_as_if_it_were_the_first() -> None:
    for before, after in product(JAVA.values(), repeat=2):
        reader = RowReader()
        read(reader, before)
        assert read(reader, after) == read(None, after)


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
OTHERS: list[Any] = [None, *TEXTS, *NUMBERS, {"S": "6"}, {"SS": ["p", "q"]}, {"B": "AAI="}]


@pytest.mark.parametrize("name", [*ROW, "somethingNew"])
def test_whatever_has_changed_since_is_read_anew(name: str) -> None:
    """Missing, and of the wrong type, too."""

    def having(row: dict[str, Any]) -> Item:
        return {name: value for name, value in row.items() if value is not None}

    for before, after in product([ROW.get(name, {"S": "new"}), *OTHERS], repeat=2):
        reader = RowReader()
        read(reader, having({**ROW, name: before}))
        changed = having({**ROW, name: after})
        assert read(reader, changed) == read(None, changed)


def test_what_is_given_to_be_read_stays_as_it_is() -> None:
    reader, item = RowReader(), dict(ROW)
    assert reader.read(item) == reader.read(item)
    assert item == ROW


def test_no_more_rows_are_remembered_than_was_said() -> None:
    reader = RowReader(most=3)
    for number in range(10):
        reader.read({**ROW, "leaseKey": {"S": str(number)}})
        assert len(reader) <= 3
    assert len(reader)
