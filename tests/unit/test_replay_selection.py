"""Which records are replayed."""

from typing import Any

import pytest

from pollers import STREAMS
from pollers.event_records import EventRecord, shown_of
from pollers.record import LATEST, TRIM_HORIZON, Position
from runtime.core.filtering import FilterCriteria
from runtime.replay.choosing import Choosing
from runtime.replay.filtering import view_of
from runtime.replay.report import Report
from runtime.replay.selection import Selection, SelectionError, parse_bound, parse_condition
from tests.fakes.replays import BEGAN, kinesis_record, message

NOW = 1_763_712_000.0


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("now", Position.at(NOW)),
        ("LATEST", LATEST),
        ("TRIM_HORIZON", TRIM_HORIZON),
        ("90s", Position.at(NOW - 90)),
        ("1.5h", Position.at(NOW - 5400)),
        ("2d", Position.at(NOW - 172_800)),
        ("1767225600", Position.at(1767225600)),
        ("1767225600.25", Position.at(1767225600.25)),
        ("2026-01-01", Position.at(1767225600)),
        ("2026-01-01T00:00:00Z", Position.at(1767225600)),
        ("2026-01-01T01:00:00+01:00", Position.at(1767225600)),
        ("49600000000000000000000000000000000000000000000000000001", Position.at_record("49600000000000000000000000000000000000000000000000000001")),
    ],
)  # fmt: skip
def test_a_bound_is_a_time_or_a_position(text: str, bound: Position) -> None:
    assert parse_bound(text, name="--from", now=NOW) == bound


@pytest.mark.parametrize(("text", "told"), [("yesterday", "neither a time"), ("1767225600000", "seconds"), ("20260131", "2026-01-31"), ("", "neither"), (".", "neither")])  # fmt: skip
def test_a_bound_that_is_neither_is_refused_with_what_to_write(text: str, told: str) -> None:
    with pytest.raises(SelectionError, match=told):
        parse_bound(text, name="--from", now=NOW)


def taken(selection: Selection, *records: EventRecord) -> list[str]:
    choosing = Choosing(selection, None, Report(), source=records[0].source)
    return [each.record.id for each in records if choosing.takes(each)]


RECORDS = [kinesis_record(n, key=f"k{n % 2}", shard=f"s{n % 2}", data=b'{"kind": "a.b", "n": %d}' % n) for n in range(1, 7)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"since": Position.at(BEGAN + 3)}, "3456"),
        ({"until": Position.at(BEGAN + 3)}, "12"),
        ({"since": Position.at_record("3")}, "3456"),
        ({"until": Position.at_record("3")}, "123"),
        ({"only": frozenset("25")}, "25"),
        ({"shards": frozenset({"s1"})}, "135"),
        ({"shards": frozenset({"s1"}), "until": Position.at_record("3")}, "13"),
        ({"conditions": [parse_condition("partitionKey=k0")]}, "246"),
        ({"conditions": [parse_condition("partitionKey!=k0"), parse_condition("data.n=3")]}, "3"),
        ({"conditions": [parse_condition("data.kind=a*")]}, "123456"),
        ({"conditions": [parse_condition("shard=s0")]}, "246"),
        ({"conditions": [parse_condition("data.nothing=3")]}, ""),
        ({"conditions": [parse_condition("data.nothing!=3")]}, "123456"),
    ],
)
def test_a_record_is_taken_when_all_of_it_holds(given: dict[str, Any], expected: str) -> None:
    assert taken(Selection(**given), *RECORDS) == list(expected)


def test_conditions_look_into_messages_and_their_lists() -> None:
    records = [
        message(1, body='{"items": [{"id": 1}, {"id": 2}], "a.b": {"c": true}}'),
        message(2, body="no json"),
        message(3, body="[1]"),
    ]
    assert taken(Selection(conditions=[parse_condition("body.items.id=2")]), *records) == ["m1"]
    assert taken(Selection(conditions=[parse_condition("body.a.b.c=true")]), *records) == ["m1"]
    assert taken(Selection(conditions=[parse_condition("body=no json")]), *records) == ["m2"]


def test_data_that_is_no_base64_is_seen_as_it_is() -> None:
    """Somebody wrote the file by hand."""
    shown = shown_of(kinesis_record(1).record)
    shown["kinesis"]["data"] = "not base64!"
    assert view_of("kinesis", shown)["data"] == "not base64!"


@pytest.mark.parametrize("text", ["partitionKey", "", "=", "!=x"])
def test_a_condition_without_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(SelectionError, match="NAME=VALUE"):
        parse_condition(text)


def test_a_sequence_number_needs_its_shard() -> None:
    bound = Selection(since=Position.at_record("5"))
    with pytest.raises(SelectionError, match=r"--from 5: .*--shard"):
        bound.check(sharded=True)
    bound.check(sharded=False)  # events of tables do not say of which shard they are
    Selection(since=Position.at_record("5"), shards=frozenset({"s"})).check(sharded=True)
    Selection(since=Position.at(5.0)).check(sharded=True)


def test_what_is_looked_for_in_one_shard_bounds_what_is_read() -> None:
    narrowed = Selection(only=frozenset({"12", "9"}), shards=frozenset({"s"})).narrowed()
    assert (narrowed.since, narrowed.until) == (Position.at_record("9"), Position.at_record("12"))
    assert Selection(only=frozenset({"9"})).narrowed().since is None
    assert Selection(only=frozenset({"9"}), shards=frozenset({"s"}), since=Position.at(1.0)).narrowed().since == Position.at(1.0)


def test_each_record_is_counted_once() -> None:
    report = Report()
    odd = FilterCriteria.compile(['{"data": {"n": [1, 3, 5]}}'], data=STREAMS["kinesis"].filter_view)
    choosing = Choosing(Selection(only=frozenset("1246")), odd, report, source="kinesis")
    assert [choosing.takes(each, place="f:1") for each in [*RECORDS, message(1), message(2)]].count(True) == 1
    assert (report.read, report.left_out, report.filtered_out, report.chosen) == (8, 4, 3, 1)
    assert report.not_run == 1
    assert report.problems == [
        "f:1: of sqs, but what is replayed is of kinesis: such records are left out, give them a replay of their own"
    ]
