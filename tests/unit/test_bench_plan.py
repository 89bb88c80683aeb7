"""What runs for which arguments, and within which time; what happens without Node; how the stub's shards end."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.node_client import NoNodeClient, prepare_node_client
from benchmarks.plan import plan_from
from benchmarks.scenarios import SCENARIOS, rows_of, scenario_of, yardstick
from benchmarks.stub_streams import KINESIS_ARN, Filling, StubStreams, kinesis_shard
from benchmarks.stub_tables import StubTables, TableRefused


def test_a_full_run_stays_under_25_minutes_and_a_quick_one_under_4() -> None:
    assert plan_from([]).estimate() < 25 * 60
    assert plan_from(["--quick"]).estimate() < 4 * 60


def test_the_estimate_counts_every_round_of_every_row() -> None:
    plan = plan_from(["--speed"])
    assert replace(plan, rounds=10).estimate() == pytest.approx(2 * plan.estimate())
    assert replace(plan, rows=()).estimate() == 0


def test_keys_are_unique_and_every_worker_row_has_a_plain_loop_to_compare_with() -> None:
    rows = rows_of(SCENARIOS)
    keys = {row.key for row in rows}
    assert len(keys) == len(rows)
    assert {yardstick(row, "plain") for row in rows} <= keys


def test_both_clients_of_the_worker_are_measured() -> None:
    assert {row.client for row in plan_from([]).rows} == {"plain", "sqs-consumer", "sdk", "lean"}


def test_parts_choose_their_rows() -> None:
    assert {row.scenario.source for row in plan_from(["--speed"]).rows} == {"sqs"}
    assert {row.scenario.source for row in plan_from(["--streams"]).rows} == {"kinesis", "dynamodb"}
    assert plan_from(["--start"]).rows == ()
    assert plan_from(["--start"]).idle_queues == ()
    assert plan_from(["--start"]).filter_seconds == 0
    assert plan_from(["--filters"]).filter_seconds == 1
    assert plan_from(["--filters"]).rows == ()
    assert plan_from(["--start"]).upkeep == ()
    assert plan_from(["--upkeep"]).upkeep == ("lean", "sdk")
    assert plan_from(["--upkeep"]).rows == ()
    assert plan_from(["--idle"]).idle_queues == (20, 200)
    assert ("sdk", 1000) in plan_from(["--shards"]).idle_shards


def test_only_chooses_rows_and_nothing_else() -> None:
    plan = plan_from(["--only", "sqs-10/"])
    assert [row.key for row in plan.rows] == ["sqs-10/sqs-consumer", "sqs-10/sdk", "sqs-10/plain", "sqs-10/lean"]
    assert (plan.idle_queues, plan.starts, plan.complete) == ((), (), False)


@pytest.mark.parametrize("arguments", [["--quick"], ["--only", "sqs-10/"], ["--speed"], ["--start"]])
def test_a_baseline_needs_every_row_in_full(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plan_from([*arguments, "--save-baseline"])
    assert "--save-baseline needs every row in full" in capsys.readouterr().err


def test_a_baseline_may_be_made_of_the_speed_rows_alone() -> None:
    assert plan_from(["--speed", "--streams", "--save-baseline"]).save_baseline


def test_a_mistyped_row_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plan_from(["--only", "sqs-11"])
    assert "no row is named so" in capsys.readouterr().err


def test_a_window_is_measured_for_longer_than_it_lasts() -> None:
    scenario = scenario_of("sqs-10000-window")
    assert scenario.seconds(1.0) > scenario.window


def test_without_node_the_reason_is_one_line(tmp_path: Path) -> None:
    assert prepare_node_client(tmp_path, path=str(tmp_path)) == NoNodeClient(why="node is not installed")


def test_without_npm_the_reason_is_one_line(tmp_path: Path) -> None:
    _script(tmp_path / "node", "echo v22.0.0")
    assert prepare_node_client(tmp_path / "installed", path=str(tmp_path)) == NoNodeClient(why="npm is not installed")


def test_an_old_node_is_not_used(tmp_path: Path) -> None:
    _script(tmp_path / "node", "echo v16.20.0")
    _script(tmp_path / "npm", "exit 0")
    assert prepare_node_client(tmp_path / "installed", path=str(tmp_path)) == NoNodeClient(why="Node v16.20.0 is older than 18")


def test_a_failed_install_is_told_in_one_line_and_tried_again(tmp_path: Path) -> None:
    _script(tmp_path / "node", "echo v22.0.0")
    _script(tmp_path / "npm", "printf 'npm error\\nno network\\n' >&2; exit 1")
    folder = tmp_path / "installed"
    for _ in range(2):
        assert prepare_node_client(folder, path=str(tmp_path)) == NoNodeClient(why="npm error no network")


def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    _script(tmp_path / "node", "echo v22.0.0")
    _script(tmp_path / "npm", "exit 0")
    first = prepare_node_client(tmp_path / "installed", path=str(tmp_path))
    _script(tmp_path / "npm", "exit 1")
    second = prepare_node_client(tmp_path / "installed", path=str(tmp_path))
    assert not isinstance(first, NoNodeClient)
    assert first == second
    assert first.script.exists()
    assert "Node v22.0.0" in first.versions


def _script(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


class Reader:
    """Reads one shard of the stub."""

    def __init__(self, streams: StubStreams, shard: str) -> None:
        self._streams = streams
        opened = {"StreamARN": KINESIS_ARN, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
        answer = streams.answer("kinesis.GetShardIterator", json.dumps(opened).encode())
        self.iterator: str | None = json.loads(answer)["ShardIterator"]

    def read(self) -> int:
        asked = {"ShardIterator": self.iterator, "Limit": 100}
        answer = json.loads(self._streams.answer("kinesis.GetRecords", json.dumps(asked).encode()))
        self.iterator = answer.get("NextShardIterator")
        return len(answer["Records"])


def test_shards_of_the_stub_end_where_they_were_read_up_to() -> None:
    streams = StubStreams()
    streams.reset(Filling(shards=2, records=10**9, page=100))
    far, near = Reader(streams, kinesis_shard(0)), Reader(streams, kinesis_shard(0))
    assert [far.read(), far.read(), near.read()] == [100, 100, 100]
    streams.end_shards()
    assert streams.stats()["distinct"] == 200
    assert (far.read(), far.iterator) == (0, None)
    assert (near.read(), near.iterator) == (100, None)
    unread = Reader(streams, kinesis_shard(1))
    assert (unread.read(), unread.iterator) == (0, None)
    assert (streams.stats()["given"], streams.stats()["distinct"]) == (400, 200)


def test_tables_of_the_stub_refuse_as_dynamodb_does() -> None:
    tables = StubTables()
    key, names = {"leaseKey": {"S": "a"}}, {"#c": "leaseCounter"}
    keys = {"KeySchema": [{"AttributeName": "leaseKey", "KeyType": "HASH"}], "BillingMode": "PAY_PER_REQUEST"}
    made = {"TableName": "esm", **keys, "AttributeDefinitions": [{"AttributeName": "leaseKey", "AttributeType": "S"}]}
    tables.answer("CreateTable", json.dumps(made).encode())
    put = {"TableName": "esm", "Item": {**key, "leaseCounter": {"N": "7"}}, "ReturnConsumedCapacity": "TOTAL"}
    assert json.loads(tables.answer("PutItem", json.dumps(put).encode()))["ConsumedCapacity"]["CapacityUnits"] == 1
    condition = {"ConditionExpression": "#c = :six", "ExpressionAttributeValues": {":six": {"N": "6"}}}
    shown = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    refused = {"TableName": "esm", "Key": key, **condition, "ExpressionAttributeNames": names, **shown}
    with pytest.raises(TableRefused) as told:
        tables.answer("DeleteItem", json.dumps(refused).encode())
    assert json.loads(told.value.body)["__type"].endswith("#ConditionalCheckFailedException")
    assert json.loads(told.value.body)["Item"] == put["Item"]
    assert tables.stats() == {"CreateTable": 1, "PutItem": 1, "DeleteItem": 1}


def test_a_reset_opens_the_shards_again() -> None:
    streams = StubStreams()
    streams.reset(Filling(shards=1, records=10**9, page=100))
    streams.end_shards()
    streams.reset(Filling(shards=1))
    empty = Reader(streams, kinesis_shard(0))
    assert (empty.read(), empty.iterator is None) == (0, False)
    streams.end_shards()
    assert (empty.read(), empty.iterator is None) == (0, True)
