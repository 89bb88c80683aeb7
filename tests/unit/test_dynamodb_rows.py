"""Rows as real Java workers of KCL 3.5.1 left them (`kcl_rows.json`, captured on the wire): read, and written byte for byte."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pollers.record import LATEST, SHARD_END, TRIM_HORIZON, Position
from runtime.core.lease import Lease
from runtime.stores.dynamodb import fleet, lock
from runtime.stores.dynamodb.leases import lease_of, row_of
from runtime.stores.dynamodb.row_reader import RowReader
from runtime.stores.dynamodb.rows import LeaseRow, item_of, multi_stream_key, parse_lease
from runtime.stores.dynamodb.values import BadRow
from tests.kcl.golden_rows import golden_row

JAVA: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "kcl_rows.json").read_text())
LEASES = [name for name, row in JAVA.items() if row["entityType"]["S"] == "LEASE"]
SCOPE = "orders arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
ROW = {"leaseKey": {"S": "shard-1"}, "checkpoint": {"S": "5"}, "leaseCounter": {"N": "7"}, "entityType": {"S": "LEASE"}}


def parsed(item: dict[str, Any]) -> LeaseRow:
    row = parse_lease(item)
    assert row is not None
    return row


def sorted_sets(item: dict[str, Any]) -> dict[str, Any]:
    return {name: {"SS": sorted(value["SS"])} if "SS" in value else value for name, value in item.items()}


@pytest.mark.parametrize("name", LEASES)
def test_every_lease_of_java_is_written_as_java_wrote_it(name: str) -> None:
    assert item_of(parsed(JAVA[name])) == sorted_sets(JAVA[name])


def test_a_row_in_a_hand_off_is_understood_field_by_field() -> None:
    assert parsed(JAVA["start-handoff"]) == LeaseRow(
        key="shardId-000000000000",
        owner="java-2",
        checkpoint_owner="java-1",
        counter=29,
        checkpoint="49680575991384873754257253155024833708489927782085689346",
        hash_range=(0, 85070591730234615865843651857942052862),
        throughput=0.037221,
    )
    assert parsed(JAVA["end-shard"]).children == ("shardId-000000000004", "shardId-000000000005")
    assert parsed(JAVA["create-child-lease"]).parents == ("shardId-000000000000",)


def test_what_is_missing_and_what_is_odd_is_borne() -> None:
    """Rows from before 3.5 have no entity type; Java's create path writes a number where the bytes of an application belong."""
    old = {name: value for name, value in ROW.items() if name != "entityType"}
    assert parsed(old) == LeaseRow(key="shard-1", checkpoint="5", counter=7)
    pending = {"pendingCheckpoint": {"S": "6"}, "pendingCheckpointSubSequenceNumber": {"N": "1"}}
    number = parsed({**ROW, **pending, "pendingCheckpointState": {"N": "0"}})
    assert (number.pending_checkpoint, number.pending_sub_sequence, number.pending_state) == ("6", 1, None)
    assert parsed({**ROW, "pendingCheckpointState": {"B": b"\x00x"}}).pending_state == b"\x00x"
    assert parsed({**ROW, "somethingNew": {"M": {}}}) == parsed(ROW)


def test_a_lease_in_a_table_of_several_streams_has_the_shard_beside_its_key() -> None:
    stream = "123456789012:orders:1500000000"
    key = multi_stream_key(stream, "shardId-000000000001")
    row = parsed({**ROW, "leaseKey": {"S": key}, "streamName": {"S": stream}, "shardId": {"S": "shardId-000000000001"}})
    assert (row.key, row.shard, row.stream) == (f"{stream}:shardId-000000000001", "shardId-000000000001", stream)
    lease = lease_of(row, SCOPE, start=None)
    assert lease.shard == "shardId-000000000001"
    written = item_of(row_of(lease, source="arn", key=key, stream=stream))
    assert (written["leaseKey"], written["streamName"], written["shardId"]) == (
        {"S": key},
        {"S": stream},
        {"S": "shardId-000000000001"},
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"leaseKey": {"N": "1"}}, "leaseKey is N '1', not a string"),
        ({"leaseCounter": {"S": "7"}}, "leaseCounter is S '7', not a whole number"),
        ({"checkpoint": {"S": ""}}, "checkpoint is missing"),
        ({"parentShardId": {"S": "x"}}, "parentShardId is S 'x', not a set of strings"),
        ({"startingHashKey": {"S": "0"}, "endingHashKey": {"S": "z"}}, "'0' to 'z' is no range of hash keys"),
        ({"throughputKBps": {"N": "much"}}, "throughputKBps is N 'much', not a number"),
        ({"esmStart": {"S": "noon"}}, "esmStart is 'noon', not a number of seconds"),
    ],
)
def test_what_cannot_be_a_lease_is_a_bad_row_that_says_why(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadRow, match=problem):
        parse_lease({**ROW, **change})


@pytest.mark.parametrize(
    "row",
    [
        LeaseRow(key="", checkpoint="5"),
        LeaseRow(key="s", checkpoint=""),
        LeaseRow(key="s", checkpoint="5", owner=""),
        LeaseRow(key="s", checkpoint="5", checkpoint_owner="a"),
        LeaseRow(key="s", checkpoint="5", counter=-1),
        LeaseRow(key="s", checkpoint="5", sub_sequence=-1),
        LeaseRow(key="s", checkpoint="5", hash_range=(5, 4)),
        LeaseRow(key="s", checkpoint="5", hash_range=(0, 2**128)),
    ],
)
def test_nothing_is_written_that_java_would_misread(row: LeaseRow) -> None:
    with pytest.raises(BadRow):
        item_of(row)


OWNERS = (None, "a", "b")
POSITIONS = (TRIM_HORIZON, LATEST, SHARD_END, Position.at(1545084650.987), Position.after("00012"), Position.after("9" * 56))


@pytest.mark.parametrize(
    ("owner", "wanted_by", "position", "window"), list(product(OWNERS, OWNERS, POSITIONS, (None, '{"start": "ü"}')))
)
def test_every_lease_is_read_as_it_was_written(
    owner: str | None, wanted_by: str | None, position: Position, window: str | None
) -> None:
    lease = Lease(
        scope=SCOPE,
        shard="s",
        parents=("p", "q"),
        checkpoint=position,
        window=window,
        owner=owner,
        wanted_by=wanted_by,
        counter=7,
    )
    item = item_of(row_of(lease, source="arn"))
    assert lease_of(parsed(item), SCOPE, start=None) == lease
    assert item.get("leaseOwner", {}).get("S") == (wanted_by or owner), "Java's next owner, or its owner"
    assert item.get("checkpointOwner", {}).get("S") == (owner if wanted_by else None)


def test_what_is_assigned_and_not_claimed_is_so_until_anybody_writes_the_row() -> None:
    row = row_of(Lease(scope=SCOPE, shard="s", checkpoint=LATEST, wanted_by="java-1", counter=7), source="arn")
    assert lease_of(replace(row, counter=8), SCOPE, start=None).owner == "java-1", (
        "Java has renewed, and knows nothing of the mark"
    )


def test_an_aggregated_record_that_java_left_in_its_middle_is_read_again_as_a_whole() -> None:
    row = LeaseRow(key="s", checkpoint="5", sub_sequence=3)
    assert lease_of(row, SCOPE, start=None).checkpoint == Position.at_record("5")
    assert lease_of(replace(row, sub_sequence=0), SCOPE, start=None).checkpoint == Position.after("5")


def test_at_timestamp_of_java_is_the_time_in_the_mappings_settings() -> None:
    row = parsed(JAVA["timestamp-create-lease"])
    assert lease_of(row, SCOPE, start=5.5).checkpoint == Position.at(5.5)
    with pytest.raises(BadRow, match="the mapping has no StartingPositionTimestamp"):
        lease_of(row, SCOPE, start=None)


def test_a_checkpoint_that_kcl_does_not_know_is_a_bad_row() -> None:
    with pytest.raises(BadRow, match="'SOMEWHERE' is none that KCL writes"):
        lease_of(LeaseRow(key="s", checkpoint="SOMEWHERE"), SCOPE, start=None)


# Rows beside the leases


def test_a_table_is_read_with_all_its_rows_and_unknown_ones_are_passed_over() -> None:
    unknown = [{"leaseKey": {"S": "x"}, "entityType": {"S": kind}} for kind in ("STREAM", "TABLE_MIGRATION", "SOMETHING_NEW")]
    rows = [JAVA[name] for name in ("renew", "report-metrics", "heartbeat-lock", "write-client-version", "create-lease")]
    found = fleet.parse_table([*unknown, *rows], RowReader().read)
    assert [row.key for row in found.leases] == ["shardId-000000000000", "shardId-000000000002"]
    assert found.workers == (fleet.WorkerRow(worker="java-1", updated=1795676221),)
    assert found.lock == lock.LockRow(owner="java-1", version="ec619bb7-5724-41f3-8e24-2129440fce33", lasts=6.0)
    assert found.version == fleet.FleetVersion(version="CLIENT_VERSION_3X", by="java-1")
    assert found.version.joinable


def test_a_row_that_cannot_be_read_is_named_and_the_others_are_read() -> None:
    odd = {"leaseKey": {"S": "w"}, "entityType": {"S": "WORKER_METRIC_STATS"}}
    found = fleet.parse_table([{**ROW, "leaseCounter": {"S": "x"}}, odd, {**ROW, "leaseKey": {"S": "shard-2"}}], RowReader().read)
    assert found.unreadable == ("row 'shard-1': leaseCounter is S 'x', not a whole number", "row 'w': lut is missing")
    assert [row.key for row in found.leases] == ["shard-2"]


def test_a_version_that_cannot_be_read_is_no_version_to_go_by() -> None:
    with pytest.raises(BadRow, match=r"row 'Migration3.0': cv is missing"):
        fleet.parse_table(
            [ROW, {"leaseKey": {"S": "Migration3.0"}, "entityType": {"S": "CLIENT_VERSION_MIGRATION"}}], RowReader().read
        )


def test_the_version_row_is_javas_own() -> None:
    java = JAVA["write-client-version"]
    ours = fleet.version_item(by="java-1", milliseconds=1795676218927)
    assert ours == {**java, "h": {"L": [{"M": {**java["h"]["L"][0]["M"], "mts": {"N": "1795676218927"}}}]}}


@pytest.mark.parametrize(
    "version", ["CLIENT_VERSION_2X", "CLIENT_VERSION_UPGRADE_FROM_2X", "CLIENT_VERSION_3X_WITH_ROLLBACK", ""]
)
def test_only_a_fleet_of_version_3_without_a_way_back_is_joined(version: str) -> None:
    assert not fleet.FleetVersion(version=version).joinable


def test_a_workers_row_is_javas_own_but_for_the_promise_to_move_tables() -> None:
    java = {name: value for name, value in JAVA["report-metrics"].items() if name not in ("leaseKey", "sup", "slu")}
    assert fleet.WorkerRow(worker="java-1", updated=1795676221).written() == java


def test_a_worker_that_tells_its_load_does_so_as_java_does_on_ec2() -> None:
    java = golden_row("cpu-report-metrics")
    read = fleet.parse_worker(java)
    assert read.load == (100.0,) * 6 + (99.748744,) + (100.0,) * 3
    written = read.written()
    assert written.keys() == java.keys() - {"leaseKey", "sup", "slu"}
    assert [float(value["N"]) for value in written["sts"]["M"]["C"]["L"]] == list(read.load)
    assert written["opr"] == {"M": {"C": {"L": [{"N": "100"}]}}}, "KCL's own, but for one that was set"


def test_a_new_lease_is_javas_own_with_the_hash_keys_of_its_shard() -> None:
    java = golden_row("create-lease")
    keys = (0, 85070591730234615865843651857942052862)
    ours = item_of(row_of(Lease(scope=SCOPE, shard=java["leaseKey"]["S"], checkpoint=TRIM_HORIZON, keys=keys), source="arn"))
    assert ours == java | {"esmSource": {"S": "arn"}}


def test_a_new_lease_of_a_tables_stream_is_its_adapters_own() -> None:
    """Every lease has the hash range from 0 to 1 there."""
    java = golden_row("table-create-lease")
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2026"
    ours = item_of(row_of(Lease(scope=f"m {arn}", shard=java["leaseKey"]["S"], checkpoint=TRIM_HORIZON), source=arn))
    assert ours == java | {"esmSource": {"S": arn}, "entityType": {"S": "LEASE"}}, "the adapter is of the time before entityType"


def test_a_worker_whose_last_sample_is_minus_one_is_failing() -> None:
    samples = {"M": {"C": {"L": [{"N": "5.0"}, {"N": "-1.0"}]}, "M": {"L": []}}}
    assert fleet.parse_worker({**JAVA["report-metrics"], "sts": samples}).failing
    assert not fleet.parse_worker({**JAVA["report-metrics"], "sts": {"M": {"C": {"L": [{"N": "-1"}, {"N": "5"}]}}}}).failing


def test_the_lock_row_is_javas_own() -> None:
    java = JAVA["acquire-lock"]
    row = lock.LockRow(owner="java-1", version="250ae838-7589-42b8-b5c4-f8971932408d", lasts=6.0)
    assert {"leaseKey": {"S": "Leader"}, **row.written()} == java
    assert lock.parse_lock(java) == row
    assert lock.parse_lock({**java, "isReleased": {"S": "1"}}).released
