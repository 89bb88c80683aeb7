"""Positions: what they say, how they are kept, and which is further (KIN-15, KIN-22, KIN-43)."""

from itertools import pairwise, product

import pytest

from pollers.record import LATEST, SHARD_END, TRIM_HORIZON, Position, PositionKind

SEQUENCE = "49601189658422359378836298521827638475320189012309704722"
TEXTS = {
    "TRIM_HORIZON": TRIM_HORIZON,
    "LATEST": LATEST,
    "SHARD_END": SHARD_END,
    "AT_TIMESTAMP 1545084650.987": Position.at(1545084650.987),
    "AT_TIMESTAMP 0.0": Position.at(0.0),
    "0": Position.after("0"),
    "007": Position.after("007"),
    SEQUENCE: Position.after(SEQUENCE),
}


@pytest.mark.parametrize(("text", "position"), TEXTS.items(), ids=TEXTS)
def test_a_position_is_what_its_text_says(text: str, position: Position) -> None:
    assert str(position) == text
    assert Position.parse(text) == position


@pytest.mark.parametrize("timestamp", [0.1, 1 / 3, 1545084650.9870001, 4102444800.0, 1e-9, 1e22])
def test_a_timestamp_is_kept_to_the_last_digit(timestamp: float) -> None:
    assert Position.parse(str(Position.at(timestamp))).timestamp == timestamp


@pytest.mark.parametrize("whole", [1545084650, 0])
def test_a_timestamp_in_whole_seconds_is_written_as_it_is_read(whole: int) -> None:
    assert Position.parse(str(Position.at(whole))) == Position.at(whole)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "trim_horizon", "TRIM_HORIZON 1", "LATEST 1545084650", "SHARD_END 7", "AT_TIMESTAMP", "AT_TIMESTAMP ", "AT_TIMESTAMP soon",
        "AFTER_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER 7", "-1", "+1", "1.5", "1 ", " 1", "1_000", "0x1", "٣", "²", "HEAD", "None",
    ],
)  # fmt: skip
def test_a_text_that_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Position.parse(text)


def test_kin_22_sequence_numbers_are_compared_as_numbers() -> None:
    numbers = ["0", "9", "10", "99", "100", SEQUENCE[:-1], SEQUENCE, SEQUENCE + "0"]
    for before, after in pairwise(numbers):
        assert Position.after(before).order < Position.after(after).order
    assert Position.after("0100").order == Position.after("100").order


def test_a_shard_goes_from_its_beginning_by_its_records_to_its_end() -> None:
    beginnings = [TRIM_HORIZON, LATEST, Position.at(0.0), Position.at(1545084650.987)]
    records = [Position.after(number) for number in ("0", "7", SEQUENCE)]
    for before, after in (*product(beginnings, (*records, SHARD_END)), *product(records, (SHARD_END,))):
        assert before.order < after.order


def test_starting_positions_are_no_progress_against_each_other() -> None:
    assert TRIM_HORIZON.order == LATEST.order == Position.at(0.0).order
    assert Position.at(1.0).order < Position.at(2.0).order


def test_positions_are_values() -> None:
    assert (
        len({Position.after("1"), Position.after("1"), Position.at(1.0), TRIM_HORIZON, Position(kind=PositionKind.TRIM_HORIZON)})
        == 3
    )
    assert Position.after("1") != Position.at(1.0)
