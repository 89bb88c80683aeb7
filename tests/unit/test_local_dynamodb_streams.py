"""The streams of the embedded DynamoDB: records, shards that roll over, split and vanish, iterators. Pure; time is a number."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from runtime.local.dynamodb import stream_operations
from runtime.local.dynamodb.call import Call
from runtime.local.dynamodb.controls import controls, inspect
from runtime.local.dynamodb.iterators import ShardIterator
from runtime.local.dynamodb.service import ITEMS, TABLES
from runtime.local.dynamodb.store import DynamoDB
from runtime.local.errors import Refused
from runtime.local.service import BadControl
from runtime.local.state import Caller

START = 1_800_000_000.75
DAY = 24 * 3600.0
ME = Caller("123456789012", "eu-west-1")
OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = (
    TABLES
    | ITEMS
    | {
        "ListStreams": stream_operations.list_streams,
        "DescribeStream": stream_operations.describe_stream,
        "GetShardIterator": stream_operations.get_shard_iterator,
        "GetRecords": lambda call: stream_operations.get_records(call, lambda _kind, _table, _shard: False),
    }
)
KEY = {"id": {"S": "a"}}


class Local:
    """A store with one table, its stream, and a clock that stands until a test moves it."""

    def __init__(self, *, view: str = "NEW_AND_OLD_IMAGES", shards: int = 1) -> None:
        self.now = START
        self.store = DynamoDB(seed=0, clock=lambda: self.now)
        self.store.new_stream_shards = shards
        table = self.ask(
            "CreateTable",
            TableName="tab",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        )["TableDescription"]
        self.arn: str = table["LatestStreamArn"]

    def ask(self, operation: str, **body: Any) -> dict[str, Any]:
        return OPERATIONS[operation](Call(store=self.store, caller=ME, operation=operation, body=body))

    def refused(self, operation: str, **body: Any) -> str:
        with pytest.raises(Refused) as refused:
            self.ask(operation, **body)
        return refused.value.shape

    def control(self, name: str, **given: Any) -> dict[str, Any]:
        return controls(self.store)[name](given)

    def put(self, key: str = "a", **attributes: Any) -> None:
        self.ask("PutItem", TableName="tab", Item={"id": {"S": key}, **attributes})

    def describe(self, **more: Any) -> dict[str, Any]:
        shown: dict[str, Any] = self.ask("DescribeStream", StreamArn=self.arn, **more)["StreamDescription"]
        return shown

    def shards(self) -> list[str]:
        return [shard["ShardId"] for shard in self.describe()["Shards"]]

    def iterator(self, shard: str | None = None, kind: str = "TRIM_HORIZON", **more: Any) -> str:
        shard_id = self.shards()[0] if shard is None else shard
        answer = self.ask("GetShardIterator", StreamArn=self.arn, ShardId=shard_id, ShardIteratorType=kind, **more)
        return str(answer["ShardIterator"])

    def read(self, iterator: str | None = None, **more: Any) -> tuple[list[dict[str, Any]], str | None]:
        answer = self.ask("GetRecords", ShardIterator=iterator or self.iterator(), **more)
        return answer["Records"], answer.get("NextShardIterator")

    def keys(self, shard: str) -> list[str]:
        """All a shard holds, read to its end for now."""
        records, _more = self.read(self.iterator(shard))
        return [record["dynamodb"]["Keys"]["id"]["S"] for record in records]


def number(record: Mapping[str, Any]) -> str:
    return str(record["dynamodb"]["SequenceNumber"])


# Records


def test_a_record_tells_what_was_done_to_an_item() -> None:
    """DDB-21, DDB-22, DDB-24."""
    local = Local()
    local.put(n={"N": "1"})
    local.put(n={"N": "2"})
    local.ask("DeleteItem", TableName="tab", Key=KEY)
    (insert, modify, remove), _more = local.read()
    assert list(insert) == ["eventID", "eventName", "eventVersion", "eventSource", "awsRegion", "dynamodb"]
    assert re.fullmatch("[0-9a-f]{32}", insert["eventID"])
    assert (insert["eventVersion"], insert["eventSource"], insert["awsRegion"]) == ("1.1", "aws:dynamodb", "eu-west-1")
    assert [record["eventName"] for record in (insert, modify, remove)] == ["INSERT", "MODIFY", "REMOVE"]
    assert insert["dynamodb"] == {
        "ApproximateCreationDateTime": 1_800_000_000,
        "Keys": KEY,
        "NewImage": {**KEY, "n": {"N": "1"}},
        "SequenceNumber": number(insert),
        "SizeBytes": 9,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    assert (modify["dynamodb"]["OldImage"]["n"], modify["dynamodb"]["NewImage"]["n"]) == ({"N": "1"}, {"N": "2"})
    assert modify["dynamodb"]["SizeBytes"] == 15
    assert ("NewImage" in remove["dynamodb"], remove["dynamodb"]["OldImage"]["n"]) == (False, {"N": "2"})
    assert len({record["eventID"] for record in (insert, modify, remove)}) == 3


@pytest.mark.parametrize(
    ("view", "images"),
    [
        ("KEYS_ONLY", []),
        ("NEW_IMAGE", ["NewImage"]),
        ("OLD_IMAGE", ["OldImage"]),
        ("NEW_AND_OLD_IMAGES", ["NewImage", "OldImage"]),
    ],
)
def test_the_view_decides_which_images_there_are(view: str, images: list[str]) -> None:
    """DDB-22."""
    local = Local(view=view)
    local.put()
    local.put(x={"S": "y"})
    (insert, modify), _more = local.read()
    assert [name for name in insert["dynamodb"] if name.endswith("Image")] == [it for it in images if it == "NewImage"]
    assert [name for name in modify["dynamodb"] if name.endswith("Image")] == images
    assert modify["dynamodb"]["StreamViewType"] == view


def test_a_write_that_changes_nothing_leaves_no_record() -> None:
    """DDB-17."""
    local = Local()
    local.put(tags={"SS": ["x", "y"]}, n={"N": "1"})
    local.put(tags={"SS": ["y", "x"]}, n={"N": "1.00"})
    local.ask("UpdateItem", TableName="tab", Key=KEY, UpdateExpression="REMOVE nothing")
    local.ask("DeleteItem", TableName="tab", Key={"id": {"S": "other"}})
    records, _more = local.read()
    assert [record["eventName"] for record in records] == ["INSERT"]


def test_a_delete_by_time_to_live_says_who_did_it() -> None:
    """DDB-27."""
    local = Local()
    local.ask("UpdateTimeToLive", TableName="tab", TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True})
    local.put("clock", ttl={"N": str(START + 10)})
    local.put("call", ttl={"N": str(START + DAY)})
    local.put("key")
    local.put("stays")
    local.now += 10
    assert local.control("expire", table="tab") == {"expired": 1}
    assert local.control("expire", table="tab", key={"id": {"S": "key"}}) == {"expired": 1}
    assert local.control("expire", table="tab", key={"id": {"S": "nobody"}}) == {"expired": 0}
    local.ask("DeleteItem", TableName="tab", Key={"id": {"S": "stays"}})
    records, _more = local.read()
    removed = {it["dynamodb"]["Keys"]["id"]["S"]: it.get("userIdentity") for it in records if it["eventName"] == "REMOVE"}
    ttl = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
    assert removed == {"clock": ttl, "call": ttl, "key": ttl, "stays": None}


def test_sequence_numbers_grow_as_numbers_and_not_as_text() -> None:
    """DDB-26: whoever compares them as text is found out after some forty records."""
    local = Local()
    for count in range(60):
        local.put(n={"N": str(count)})
    records, _more = local.read()
    numbers = [number(record) for record in records]
    assert sorted(numbers, key=int) == numbers
    assert sorted(numbers) != numbers
    assert all(21 <= len(text) <= 40 for text in numbers)


# Reading


def test_a_shard_is_read_page_by_page_and_goes_on_while_it_is_open() -> None:
    """DDB-11, DDB-13."""
    local = Local()
    for key in "abc":
        local.put(key)
    first, more = local.read(Limit=2)
    assert more is not None
    second, more = local.read(more)
    assert [record["dynamodb"]["Keys"]["id"]["S"] for record in first + second] == ["a", "b", "c"]
    nothing, more = local.read(more)
    assert (nothing, more is None) == ([], False)
    local.put("d")
    records, _more = local.read(more)
    assert [record["dynamodb"]["Keys"]["id"]["S"] for record in records] == ["d"]


def test_a_page_has_at_most_1000_records_or_a_mebibyte() -> None:
    """DDB-11."""
    local = Local(view="KEYS_ONLY")
    for count in range(1001):
        local.put(str(count))
    records, more = local.read()
    assert (len(records), len(local.read(more)[0])) == (1000, 1)
    assert local.refused("GetRecords", ShardIterator=more, Limit=1001) == "LimitExceededException"
    assert local.refused("GetRecords", ShardIterator=more, Limit=0) == "ValidationException"
    large = Local(view="NEW_IMAGE")
    for key in "abc":
        large.put(key, x={"S": "x" * 400_000})
    records, more = large.read()
    assert (len(records), len(large.read(more)[0])) == (2, 1)


def test_reading_begins_where_the_iterator_says() -> None:
    local = Local()
    for key in "abc":
        local.put(key)
        local.now += 1
    (first, second, third), _more = local.read()

    def begins(kind: str, **more: Any) -> list[str]:
        return [number(record) for record in local.read(local.iterator(kind=kind, **more))[0]]

    every = [number(first), number(second), number(third)]
    assert begins("TRIM_HORIZON") == every
    assert begins("AT_SEQUENCE_NUMBER", SequenceNumber=every[1]) == every[1:]
    assert begins("AFTER_SEQUENCE_NUMBER", SequenceNumber=every[1]) == every[2:]
    assert begins("AFTER_SEQUENCE_NUMBER", SequenceNumber=every[2]) == []
    # In whole seconds, as ApproximateCreationDateTime is: the second record came at .75 of its second.
    assert begins("AT_TIMESTAMP", Timestamp=1_800_000_001) == every[1:]
    assert begins("AT_TIMESTAMP", Timestamp=1_800_000_001.5) == every[2:]
    assert begins("AT_TIMESTAMP", Timestamp=START + 2.5) == []
    assert begins("AT_TIMESTAMP", Timestamp=0) == every
    latest = local.iterator(kind="LATEST")
    assert local.read(latest)[0] == []
    local.put("d")
    assert len(local.read(latest)[0]) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"ShardIteratorType": "SOMEWHERE"},
        {"ShardIteratorType": "LATEST", "SequenceNumber": "1" * 21},
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER"},
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": "x"},
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": "1" * 21},
        {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "9" * 30},
        {"ShardIteratorType": "AT_TIMESTAMP"},
        {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": START + 1},
        {"ShardIteratorType": "TRIM_HORIZON", "Colour": "red"},
    ],
)
def test_a_place_that_cannot_be_is_refused(given: dict[str, Any]) -> None:
    local = Local()
    refused = local.refused("GetShardIterator", StreamArn=local.arn, ShardId=local.shards()[0], **given)
    assert refused == "ValidationException"


def test_what_is_not_there_is_not_found() -> None:
    local = Local()
    arn, shard = local.arn, local.shards()[0]
    assert local.refused("DescribeStream", StreamArn=arn + "1") == "ResourceNotFoundException"
    kind = {"ShardIteratorType": "LATEST"}
    assert local.refused("GetShardIterator", StreamArn=arn, ShardId=shard[:-1], **kind) == "ResourceNotFoundException"
    assert local.refused("GetShardIterator", StreamArn=arn + "1", ShardId=shard, **kind) == "ResourceNotFoundException"
    for text in ("", "x", "eHh4eA==", "é", local.iterator()[:-4] + "AAAA"):
        assert local.refused("GetRecords", ShardIterator=text) == "ValidationException"


def test_an_iterator_lives_for_15_minutes_from_its_own_making() -> None:
    """DDB-11."""
    local = Local()
    iterator = local.iterator()
    local.now += 899.9
    _records, following = local.read(iterator)
    local.now += 0.1
    assert local.refused("GetRecords", ShardIterator=iterator) == "ExpiredIteratorException"
    assert local.read(following)[0] == []


# Trimming


def test_records_are_trimmed_after_a_day_and_older_positions_refused() -> None:
    """DDB-12."""
    local = Local()
    local.put("a")
    local.now += 10
    local.put("b")
    (first, second), _more = local.read()
    shard = local.shards()[0]
    local.now = START + DAY - 1
    waiting = local.iterator()
    local.now = START + DAY
    assert local.keys(shard) == ["b"]
    assert local.refused("GetRecords", ShardIterator=waiting) == "TrimmedDataAccessException"
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        where = {"StreamArn": local.arn, "ShardId": shard, "ShardIteratorType": kind, "SequenceNumber": number(first)}
        assert local.refused("GetShardIterator", **where) == "TrimmedDataAccessException"
    assert local.read(local.iterator(kind="AFTER_SEQUENCE_NUMBER", SequenceNumber=number(second)))[0] == []
    assert [number(record) for record in local.read(local.iterator(kind="AT_TIMESTAMP", Timestamp=START))[0]] == [number(second)]


def test_a_reader_that_is_at_the_end_loses_nothing_by_trimming() -> None:
    local = Local()
    local.put()
    _records, more = local.read()
    local.control("trim", table="tab")
    assert local.read(more)[0] == []
    local.put("b")
    assert len(local.read(more)[0]) == 1


# Shards


def test_a_shard_rolls_over_into_a_child_and_ends() -> None:
    """DDB-13."""
    local = Local()
    local.put("a")
    parent = local.shards()[0]
    latest = local.iterator(kind="LATEST")
    assert local.read(latest)[1] is not None
    (child,) = local.control("rollover", table="tab")["opened"]
    local.put("b")
    shards = {shard["ShardId"]: shard for shard in local.describe()["Shards"]}
    ended = shards[parent]["SequenceNumberRange"]
    assert int(ended["StartingSequenceNumber"]) < int(ended["EndingSequenceNumber"])
    assert shards[child]["ParentShardId"] == parent
    assert int(shards[child]["SequenceNumberRange"]["StartingSequenceNumber"]) > int(ended["EndingSequenceNumber"])
    assert "EndingSequenceNumber" not in shards[child]["SequenceNumberRange"]
    assert (local.keys(parent), local.keys(child)) == (["a"], ["b"])
    assert local.read(local.iterator(parent))[1] is None
    assert local.read(latest) == ([], None)
    assert local.read(local.iterator(child))[1] is not None


def test_the_last_page_of_a_closed_shard_has_no_next_iterator_and_those_before_have() -> None:
    """DDB-13."""
    local = Local()
    for key in "abc":
        local.put(key)
    shard = local.shards()[0]
    local.control("rollover", table="tab", shard=shard)
    first, more = local.read(local.iterator(shard), Limit=2)
    assert (len(first), more is None) == (2, False)
    last, more = local.read(more, Limit=1)
    assert (len(last), more) == (1, None)


def test_keys_are_spread_over_the_shards_and_a_key_stays_with_its_shard_and_the_children() -> None:
    """DDB-26: the records of a key come from one shard, then from its children."""
    local = Local(shards=4)
    before = local.shards()
    for count in range(100):
        local.put(str(count))
    spread = {shard: local.keys(shard) for shard in before}
    assert sum(map(len, spread.values())) == 100
    assert all(spread.values())
    (left, right) = local.control("split", table="tab", shard=before[0])["opened"]
    for count in range(100):
        local.put(str(count), again={"BOOL": True})
    halves = [local.keys(left), local.keys(right)]
    assert all(halves)
    assert sorted(halves[0] + halves[1]) == sorted(spread[before[0]])
    assert {shard: local.keys(shard) for shard in before[1:]} == {shard: spread[shard] * 2 for shard in before[1:]}
    children = local.describe(ShardFilter={"Type": "CHILD_SHARDS", "ShardId": before[0]})["Shards"]
    assert {shard["ShardId"] for shard in children} == {left, right}


def test_closed_shards_vanish_after_a_day_or_when_told_to() -> None:
    """DDB-13, DDB-15: a parent that has disappeared."""
    local = Local()
    first = local.shards()[0]
    waiting = local.iterator()
    (second,) = local.control("rollover", table="tab")["opened"]
    local.now += 60
    (third,) = local.control("rollover", table="tab")["opened"]
    local.now += DAY - 60
    assert local.shards() == sorted([second, third])
    assert local.describe()["Shards"][0]["ParentShardId"] == first
    where = {"StreamArn": local.arn, "ShardId": first, "ShardIteratorType": "TRIM_HORIZON"}
    assert local.refused("GetShardIterator", **where) == "ResourceNotFoundException"
    assert local.control("vanish", table="tab", shard=second) == {"vanished": [second]}
    assert local.shards() == [third]
    with pytest.raises(BadControl, match="no closed shard"):
        local.control("vanish", table="tab", shard=third)
    local.now -= DAY
    assert local.refused("GetRecords", ShardIterator=waiting) == "ResourceNotFoundException"


def test_shards_are_described_by_the_page() -> None:
    """DDB-14."""
    local = Local(shards=250)
    seen: list[str] = []
    pages: list[int] = []
    start: dict[str, str] = {}
    while True:
        page = local.describe(**start)
        seen += [shard["ShardId"] for shard in page["Shards"]]
        pages.append(len(page["Shards"]))
        if "LastEvaluatedShardId" not in page:
            break
        assert page["LastEvaluatedShardId"] == seen[-1]
        start = {"ExclusiveStartShardId": page["LastEvaluatedShardId"]}
    assert (pages, len(set(seen))) == ([100, 100, 50], 250)
    assert len(local.describe(Limit=3)["Shards"]) == 3
    for bad in ({"Limit": 101}, {"Limit": 0}, {"ShardFilter": {"Type": "OTHER", "ShardId": seen[0]}}):
        assert local.refused("DescribeStream", StreamArn=local.arn, **bad) == "ValidationException"
    assert all(re.fullmatch(r"shardId-\d{20}-[0-9a-f]{8}", shard) for shard in seen)


def test_a_disabled_stream_can_be_read_to_its_end_for_a_day() -> None:
    """DDB-06."""
    local = Local()
    local.put("a")
    local.ask("UpdateTable", TableName="tab", StreamSpecification={"StreamEnabled": False})
    local.put("b")
    assert local.describe()["StreamStatus"] == "DISABLED"
    records, more = local.read()
    assert (len(records), more) == (1, None)
    on = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    arn = local.ask("UpdateTable", TableName="tab", StreamSpecification=on)["TableDescription"]["LatestStreamArn"]
    assert arn != local.arn
    page = local.ask("ListStreams", TableName="tab", Limit=1)
    assert [stream["StreamArn"] for stream in page["Streams"]] == [local.arn]
    rest = local.ask("ListStreams", ExclusiveStartStreamArn=page["LastEvaluatedStreamArn"])
    assert [stream["StreamArn"] for stream in rest["Streams"]] == [arn]
    assert local.ask("ListStreams", TableName="other") == {"Streams": []}
    local.ask("DeleteTable", TableName="tab")
    assert len(local.ask("ListStreams")["Streams"]) == 2
    local.now += DAY
    assert local.ask("ListStreams") == {"Streams": []}


# Control calls


@pytest.mark.parametrize(
    ("call", "given", "names"),
    [
        ("rollover", {}, "table None: there is none"),
        ("rollover", {"table": "tab", "shard": "x"}, "no open shard 'x'"),
        ("rollover", {"table": "tab", "shard": 1}, "shard 1 is not a string"),
        ("rollover", {"table": "tab", "colour": "red"}, "unknown field 'colour'"),
        ("split", {"table": "arn:aws:dynamodb:eu-west-1:123456789012:table/tab/stream/x"}, "not found"),
        ("trim", {"table": "tab", "shard": "x"}, "no shard 'x'"),
        ("configure", {"newStreamShards": 0}, "newStreamShards 0"),
        ("expire", {"table": "tab", "key": {}}, "key: The provided key"),
    ],
)
def test_a_control_call_that_makes_no_sense_says_why(call: str, given: dict[str, Any], names: str) -> None:
    with pytest.raises(BadControl) as bad:
        Local().control(call, **given)
    assert names in str(bad.value)


def test_a_table_is_meant_by_name_or_arn_and_must_be_only_one() -> None:
    local = Local()
    table = local.store.table("tab", account=ME.account, region=ME.region)
    for name in ("tab", table.arn, local.arn):
        assert len(local.control("rollover", table=name)["opened"]) == 1
    local.store.create("tab", account="0" * 12, region=ME.region, keys=table.keys, billing={})
    with pytest.raises(BadControl, match="several"):
        local.control("rollover", table="tab")
    with pytest.raises(BadControl, match="has no stream"):
        local.control("rollover", table=f"arn:aws:dynamodb:{ME.region}:{'0' * 12}:table/tab")


def test_the_state_can_be_looked_into_and_reset() -> None:
    local = Local()
    assert local.control("configure", newStreamShards=3) == {"newStreamShards": 3}
    local.put()
    (shown,) = inspect(local.store)["tables"]
    (shard,) = shown["stream"].pop("shards")
    assert (shown["name"], shown["items"], shown["stream"]["arn"]) == ("tab", 1, local.arn)
    assert (shard["closed"], shard["parent"], shard["records"]) == (False, None, 1)
    local.store.reset()
    assert (inspect(local.store), local.store.new_stream_shards) == ({"tables": []}, 1)


def test_equal_seeds_give_equal_records() -> None:
    def story() -> list[dict[str, Any]]:
        local = Local()
        local.put()
        return local.read()[0]

    assert story() == story()


def test_an_iterator_is_read_as_it_was_written() -> None:
    iterator = ShardIterator(stream="arn:x/stream/y", shard="shardId-1", sequence=10**22, made=START)
    assert ShardIterator.parse(str(iterator)) == iterator
