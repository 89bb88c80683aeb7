"""The golden rows and requests are what their names say. Needs no Java."""

import re
from typing import Any

import pytest

from tests.kcl.golden_rows import golden_request, golden_row, request_kinds, row_forms
from tests.kcl.kinds import form_of, kind_of
from tests.kcl.recording import Call

_PREFIXES = ("old-tables-", "old-", "streams-", "latest-", "timestamp-", "cpu-", "table-", "tables-")


@pytest.mark.parametrize("kind", [kind for kind in request_kinds() if not kind.startswith("tables-of")])
def test_a_golden_request_is_of_the_kind_that_it_is_called_after(kind: str) -> None:
    found = golden_request(kind)
    call = Call(
        at=0, operation=found["operation"], request=found["request"], status=found["status"], answer=found["answer"], after=None
    )
    assert kind_of(call) == re.sub("^(" + "|".join(_PREFIXES) + ")", "", kind)


def test_the_entities_of_a_table_are_those_that_a_reader_must_tell_apart() -> None:
    assert row_forms().keys() == {"LEASE", "LEADER", "CLIENT_VERSION_MIGRATION", "WORKER_METRIC_STATS"}


def test_a_row_is_valid_if_it_could_be_a_golden_one() -> None:
    lease = row_forms()["LEASE"]
    assert all(not lease.objections(golden_row(name)) for name in ("create-lease", "start-handoff", "end-shard", "after-stop"))


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({"leaseCounter": {"S": "1"}}, 'leaseCounter is "S", not "N"'),
        ({"leaseOwner": {"NULL": True}}, 'leaseOwner is "NULL", not "S"'),
        ({"parentShardId": {"L": [{"S": "shardId-000000000000"}]}}, 'parentShardId is "L", not "SS"'),
        ({"owner": {"S": "x"}}, 'owner is "S", not there'),
    ],
)
def test_a_row_of_another_form_is_told_with_the_reason(change: dict[str, Any], objection: str) -> None:
    assert row_forms()["LEASE"].objections(golden_row("create-lease") | change) == [objection]


def test_a_row_without_its_checkpoint_is_none() -> None:
    row = golden_row("assign")
    del row["checkpoint"]
    assert row_forms()["LEASE"].objections(row) == ["checkpoint is missing"]


def test_a_form_keeps_types_and_drops_values() -> None:
    assert form_of({"a": {"S": "x"}, "m": {"M": {"C": {"L": [{"N": "1"}]}}}, "e": {"M": {}}, "Action": "PUT"}) == {
        "a": "S",
        "m": {"M": {"C": "L"}},
        "e": "M",
        "Action": "PUT",
    }
