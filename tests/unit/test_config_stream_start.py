"""`StartingPosition` and its time (KIN-02..KIN-05, DDB-02)."""

from pathlib import Path

import pytest

from pollers.record import Position
from tests.unit.test_config_case import NOW, TABLE, check, problems_of
from tests.unit.test_config_streams import stream_of, text_of


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("1767225600", NOW),
        ("1767225599.5", NOW - 0.5),
        ("1545084650.987", 1545084650.987),
        ("'1545084650.987'", 1545084650.987),
        ("0", 0.0),
        ("1.7e9", 1.7e9),
        ("${SINCE:-1545084650}", 1545084650.0),
        ("2026-01-01T00:00:00Z", NOW),
        ("'2026-01-01T00:00:00Z'", NOW),
        ("2026-01-01t00:00:00z", NOW),
        ("2025-12-31T23:59:59.250Z", NOW - 0.75),
        ("2026-01-01T01:00:00+01:00", NOW),
        ("2025-12-31T19:00:00-0500", NOW),
        ("2025-12-31 19:00:00 -05:00", NOW),
        ("2025-12-31 19:00:00 -05", NOW),
        ("2026-01-01", NOW),
        ("2026-01-01T00:00", NOW),
        ("2026-01-01 00:00:00", NOW),
    ],
)
def test_a_kinesis_stream_may_begin_at_a_time_kin_05(tmp_path: Path, given: str, seconds: float) -> None:
    stream = stream_of(tmp_path, "StartingPosition: AT_TIMESTAMP", f"StartingPositionTimestamp: {given}")
    assert stream.start == Position.at(seconds)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("1767225600.001", "which is in the future: give a time that is past"),
        ("2026-01-01T00:00:01Z", "which is in the future: give a time that is past"),
        ("1545084650987", "which is in the future: it looks like milliseconds, so divide it by 1000"),
        ("1e99", "which is in the future: give a time that is past"),
        ("-1", "must be seconds since the epoch, as in 1767225600"),
        ("1969-12-31T23:59:59Z", "must be seconds since the epoch"),
        ("yesterday", "or an ISO 8601 time, as in 2026-01-01T00:00:00Z"),
        ("2025-13-01", "must be seconds since the epoch"),
        ("2025-02-29T00:00:00Z", "must be seconds since the epoch"),
        ("2025-W01-1", "must be seconds since the epoch"),
        ("2025-01-01T25:00:00Z", "must be seconds since the epoch"),
        ("2025-01-01T00:00:00+99:00", "must be seconds since the epoch"),
        ("2025-01-01T00:00:00 Europe/Berlin", "must be seconds since the epoch"),
        ("nan", "must be seconds since the epoch"),
        ("''", "must be seconds since the epoch"),
        ("[1]", "StartingPositionTimestamp is a list"),
        ("", "StartingPositionTimestamp has no value"),
    ],
)
def test_a_time_that_is_none_or_not_past_is_a_problem_kin_05(tmp_path: Path, given: str, said: str) -> None:
    (problem,) = problems_of(tmp_path, text_of("StartingPosition: AT_TIMESTAMP", f"StartingPositionTimestamp: {given}"))
    assert (problem.line, problem.where) == (8, "mapping orders-orders")
    assert said in problem.message


def test_at_timestamp_needs_a_time_kin_04(tmp_path: Path) -> None:
    check(tmp_path, text_of("StartingPosition: AT_TIMESTAMP  #! (AWS: Need to specify a timestamp)"))


@pytest.mark.parametrize("start", ["TRIM_HORIZON", "LATEST"])
def test_a_time_is_only_for_at_timestamp_kin_05(tmp_path: Path, start: str) -> None:
    said = f"  #! StartingPositionTimestamp is only for AT_TIMESTAMP, and StartingPosition is {start}"
    check(tmp_path, text_of(f"StartingPosition: {start}", f"StartingPositionTimestamp: 1{said}"))


def test_a_dynamodb_stream_has_no_times_ddb_01_ddb_02(tmp_path: Path) -> None:
    unsupported = f"  #! (AWS: Unsupported starting position for arn type: {TABLE})"
    check(tmp_path, text_of(f"StartingPosition: AT_TIMESTAMP{unsupported}", source=TABLE))
    parameter = "  #! Unsupported 'startingPositionTimestamp' parameter for given event source mapping type."
    lines = [f"StartingPosition: AT_TIMESTAMP{unsupported}", f"StartingPositionTimestamp: 1{parameter}"]
    check(tmp_path, text_of(*lines, source=TABLE))
