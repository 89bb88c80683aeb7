"""The embedded DynamoDB: tables, items, time to live. Pure; the clock is a number. Streams: `test_local_dynamodb_streams.py`."""

from typing import Any

import pytest

from runtime.local.dynamodb.call import Call
from runtime.local.dynamodb.service import ITEMS, TABLES
from runtime.local.dynamodb.store import DynamoDB
from runtime.local.errors import Refused
from runtime.local.state import Caller

START = 1_800_000_000.0
ME = Caller("123456789012", "eu-west-1")
YEAR = 365 * 24 * 3600


def description(name: str, *, sort_key: bool = False) -> dict[str, Any]:
    """What CreateTable is given."""
    keys = [("id", "S", "HASH"), ("at", "N", "RANGE")][: 2 if sort_key else 1]
    return {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key, kind, _role in keys],
        "KeySchema": [{"AttributeName": key, "KeyType": role} for key, _kind, role in keys],
        "BillingMode": "PAY_PER_REQUEST",
    }


class Local:
    """A store with a clock that stands until a test moves it."""

    def __init__(self, *, table: str | None = "tab", sort_key: bool = False) -> None:
        self.now = START
        self.store = DynamoDB(seed=0, clock=lambda: self.now)
        if table is not None:
            self.create(table, sort_key=sort_key)

    def ask(self, operation: str, *, caller: Caller = ME, **body: Any) -> dict[str, Any]:
        call = Call(store=self.store, caller=caller, operation=operation, body=body)
        return (TABLES | ITEMS)[operation](call)

    def refused(self, operation: str, **body: Any) -> tuple[str, str]:
        with pytest.raises(Refused) as refused:
            self.ask(operation, **body)
        return refused.value.shape, refused.value.message

    def create(self, name: str, *, sort_key: bool = False) -> None:
        self.ask("CreateTable", **description(name, sort_key=sort_key))

    def put(self, key: str = "a", **attributes: Any) -> dict[str, Any]:
        return self.ask("PutItem", TableName="tab", Item={"id": {"S": key}, **attributes})


# Tables


def test_a_table_is_made_described_listed_and_deleted() -> None:
    local = Local()
    shown = local.ask("DescribeTable", TableName="tab")["Table"]
    assert (shown["TableStatus"], shown["ItemCount"]) == ("ACTIVE", 0)
    assert shown["TableArn"] == "arn:aws:dynamodb:eu-west-1:123456789012:table/tab"
    assert shown["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert shown["BillingModeSummary"] == {"BillingMode": "PAY_PER_REQUEST"}
    assert "LatestStreamArn" not in shown
    assert local.ask("DescribeTable", TableName=shown["TableArn"])["Table"] == shown
    assert local.ask("ListTables") == {"TableNames": ["tab"]}
    assert local.ask("ListTables", caller=Caller("123456789012", "us-east-1")) == {"TableNames": []}
    assert local.ask("DeleteTable", TableName="tab")["TableDescription"]["TableStatus"] == "DELETING"
    assert local.refused("DescribeTable", TableName="tab") == (
        "ResourceNotFoundException",
        "Requested resource not found: Table: tab not found",
    )
    assert local.refused("PutItem", TableName="tab", Item={}) == ("ResourceNotFoundException", "Requested resource not found")


def test_tables_are_listed_by_the_page() -> None:
    local = Local(table=None)
    for name in ("ccc", "aaa", "bbb"):
        local.create(name)
    page = local.ask("ListTables", Limit=2)
    assert page == {"TableNames": ["aaa", "bbb"], "LastEvaluatedTableName": "bbb"}
    assert local.ask("ListTables", ExclusiveStartTableName="bbb") == {"TableNames": ["ccc"]}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"TableName": "ab"}, "3 to 255 characters"),
        ({"KeySchema": []}, "Invalid KeySchema"),
        ({"KeySchema": [{"AttributeName": "id", "KeyType": "RANGE"}]}, "Invalid KeySchema"),
        ({"KeySchema": [{"AttributeName": "other", "KeyType": "HASH"}]}, "Keys: [other]"),
        ({"AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "BOOL"}]}, "Keys: [id]"),
        (
            {"AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("id", "x")]},
            "Number of attributes",
        ),
        ({"BillingMode": "PROVISIONED"}, "ReadCapacityUnits"),
        ({"StreamSpecification": {"StreamEnabled": True}}, "StreamViewType must be given"),
        ({"StreamSpecification": {"StreamEnabled": False, "StreamViewType": "KEYS_ONLY"}}, "StreamViewType must be given"),
        ({"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "ALL"}}, "the StreamViewType ALL"),
        ({"LocalSecondaryIndexes": []}, "does not support LocalSecondaryIndexes in CreateTable"),
    ],
)
def test_a_table_that_cannot_be_made_is_refused_and_says_why(change: dict[str, Any], names: str) -> None:
    local = Local(table=None)
    with pytest.raises(Refused) as refused:
        local.ask("CreateTable", **(description("tab") | change))
    assert refused.value.shape == "ValidationException"
    assert names in refused.value.message


def test_a_table_is_made_once() -> None:
    local = Local(table="orders")
    with pytest.raises(Refused) as refused:
        local.create("orders")
    assert (refused.value.shape, refused.value.message) == ("ResourceInUseException", "Table already exists: orders")


def test_a_stream_is_enabled_once_and_disabled_once_and_each_time_has_another_arn() -> None:
    """DDB-06."""
    local = Local()
    on = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    assert local.refused("UpdateTable", TableName="tab", StreamSpecification={"StreamEnabled": False})[0] == "ValidationException"
    first = local.ask("UpdateTable", TableName="tab", StreamSpecification=on)["TableDescription"]
    assert first["StreamSpecification"] == on
    assert first["LatestStreamArn"] == f"{first['TableArn']}/stream/2027-01-15T08:00:00.000"
    assert local.refused("UpdateTable", TableName="tab", StreamSpecification=on)[0] == "ValidationException"
    off = local.ask("UpdateTable", TableName="tab", StreamSpecification={"StreamEnabled": False})["TableDescription"]
    assert (off["LatestStreamArn"], "StreamSpecification" in off) == (first["LatestStreamArn"], False)
    second = local.ask("UpdateTable", TableName="tab", StreamSpecification=on)["TableDescription"]
    assert second["LatestStreamLabel"] == "2027-01-15T08:00:00.001"


# Items


def test_an_item_is_put_read_changed_and_deleted() -> None:
    local = Local()
    key = {"id": {"S": "a"}}
    assert local.put(n={"N": "1.0"}) == {}
    assert local.ask("GetItem", TableName="tab", Key=key) == {"Item": {**key, "n": {"N": "1"}}}
    change: dict[str, Any] = {"UpdateExpression": "SET n = n + :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
    changed = local.ask("UpdateItem", TableName="tab", Key=key, ReturnValues="ALL_NEW", **change)
    assert changed == {"Attributes": {**key, "n": {"N": "2"}}}
    assert local.ask("UpdateItem", TableName="tab", Key=key, ReturnValues="ALL_OLD", **change) == changed
    replaced = local.ask("PutItem", TableName="tab", Item=key, ReturnValues="ALL_OLD")
    assert replaced == {"Attributes": {**key, "n": {"N": "3"}}}
    assert local.ask("DeleteItem", TableName="tab", Key=key, ReturnValues="ALL_OLD") == {"Attributes": key}
    assert local.ask("DeleteItem", TableName="tab", Key=key, ReturnValues="ALL_OLD") == {}
    assert local.ask("GetItem", TableName="tab", Key=key) == {}


def test_an_update_makes_an_item_that_is_not_there() -> None:
    local = Local()
    assert local.ask("UpdateItem", TableName="tab", Key={"id": {"S": "a"}}, ReturnValues="ALL_NEW") == {
        "Attributes": {"id": {"S": "a"}}
    }


def test_a_condition_that_does_not_hold_refuses_the_write() -> None:
    local = Local()
    absent: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(id)"}
    item = {"id": {"S": "a"}}
    local.ask("PutItem", TableName="tab", Item=item, **absent)
    failed = ("ConditionalCheckFailedException", "The conditional request failed")
    assert local.refused("PutItem", TableName="tab", Item={**item, "x": {"S": "y"}}, **absent) == failed
    assert local.refused("UpdateItem", TableName="tab", Key=item, **absent) == failed
    assert local.refused("DeleteItem", TableName="tab", Key=item, **absent) == failed
    assert local.ask("GetItem", TableName="tab", Key=item) == {"Item": item}


@pytest.mark.parametrize(
    ("operation", "body", "names"),
    [
        ("PutItem", {"Item": {}}, "Missing the key id in the item"),
        ("PutItem", {"Item": {"id": {"N": "1"}}}, "Type mismatch for key id expected: S actual: N"),
        ("PutItem", {"Item": {"id": {"S": ""}}}, "empty string value. Key: id"),
        ("PutItem", {"Item": {"id": {"S": "a"}, "x": {"S": "x" * 409_600}}}, "maximum allowed size"),
        ("PutItem", {"Item": {"id": {"S": "a"}}, "Expected": {}}, "does not support Expected in PutItem"),
        ("PutItem", {"Item": {"id": {"S": "a"}}, "ReturnValues": "ALL_NEW"}, "the value ALL_NEW for ReturnValues"),
        (
            "PutItem",
            {"Item": {"id": {"S": "a"}}, "ReturnConsumedCapacity": "INDEXES"},
            "does not support the value INDEXES for ReturnConsumedCapacity",
        ),
        ("GetItem", {"Key": {"id": {"S": "a"}, "x": {"S": "a"}}}, "does not match the schema"),
        ("GetItem", {"Key": {}}, "does not match the schema"),
        ("GetItem", {"Key": {"id": {"S": "a"}}, "ProjectionExpression": "x"}, "does not support ProjectionExpression"),
        ("UpdateItem", {"Key": {"id": {"S": "a"}}, "UpdateExpression": "REMOVE id"}, "Cannot update attribute id"),
        ("UpdateItem", {"Key": {"id": {"S": "a"}}, "AttributeUpdates": {}}, "does not support AttributeUpdates"),
        ("Scan", {"FilterExpression": "x"}, "does not support FilterExpression"),
        ("Scan", {"Limit": 0}, "greater than or equal to 1"),
        ("Query", {}, "Value null at 'keyConditionExpression'"),
    ],
)
def test_what_cannot_be_done_or_is_not_supported_is_refused_and_never_ignored(
    operation: str, body: dict[str, Any], names: str
) -> None:
    shape, message = Local().refused(operation, TableName="tab", **body)
    assert shape == "ValidationException"
    assert names in message


def test_parameters_that_ask_for_nothing_are_taken() -> None:
    local = Local()
    local.ask(
        "PutItem", TableName="tab", Item={"id": {"S": "a"}}, ReturnConsumedCapacity="NONE", ReturnItemCollectionMetrics="NONE"
    )
    local.ask("GetItem", TableName="tab", Key={"id": {"S": "a"}}, ConsistentRead=True)


def test_a_batch_puts_and_deletes_or_does_nothing_at_all() -> None:
    local = Local()
    local.put("old")
    put = [{"PutRequest": {"Item": {"id": {"S": key}}}} for key in ("a", "b")]
    delete = {"DeleteRequest": {"Key": {"id": {"S": "old"}}}}
    assert local.ask("BatchWriteItem", RequestItems={"tab": [*put, delete]}) == {"UnprocessedItems": {}}
    assert [item["id"]["S"] for item in local.ask("Scan", TableName="tab")["Items"]] == ["a", "b"]
    bad: list[tuple[Any, str]] = [
        ([{"DeleteRequest": {"Key": {"id": {"S": "a"}}}}, {"PutRequest": {"Item": {"x": {"S": "y"}}}}], "Missing the key id"),
        ([{"DeleteRequest": {"Key": {"id": {"S": "a"}}}}, {"Other": {}}], "exactly one of"),
        ([put[0], put[0]], "contains duplicates"),
        ([], "1 to 25 requests"),
        ([{"PutRequest": {"Item": {"id": {"S": str(number)}}}} for number in range(26)], "not 26"),
    ]
    for requests, names in bad:
        shape, message = local.refused("BatchWriteItem", RequestItems={"tab": requests})
        assert (shape, names in message) == ("ValidationException", True), message
    assert local.ask("Scan", TableName="tab")["Count"] == 2


# Scan and Query


def test_a_scan_goes_page_by_page_and_survives_a_deleted_key() -> None:
    local = Local()
    for key in "abcde":
        local.put(key)
    seen: list[str] = []
    start: dict[str, Any] = {}
    while True:
        page = local.ask("Scan", TableName="tab", Limit=2, **start)
        seen += [item["id"]["S"] for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        local.ask("DeleteItem", TableName="tab", Key=page["LastEvaluatedKey"])
    assert seen == list("abcde")
    assert local.ask("Scan", TableName="tab", Select="COUNT") == {"Count": 3, "ScannedCount": 3}


def test_a_page_of_items_has_at_most_a_mebibyte() -> None:
    local = Local()
    for key in "abcd":
        local.put(key, x={"S": "x" * 400_000})
    page = local.ask("Scan", TableName="tab")
    assert (page["Count"], page["LastEvaluatedKey"]) == (3, {"id": {"S": "c"}})


def test_a_query_finds_the_items_of_a_key_in_order() -> None:
    local = Local(sort_key=True)
    for at in (10, 9, -1):
        local.put(at={"N": str(at)})
    local.put("other", at={"N": "5"})
    query: dict[str, Any] = {
        "TableName": "tab",
        "KeyConditionExpression": "id = :a AND #at >= :low",
        "ExpressionAttributeNames": {"#at": "at"},
    }
    values = {":a": {"S": "a"}, ":low": {"N": "-1"}}

    def found(**more: Any) -> list[str]:
        return [item["at"]["N"] for item in local.ask("Query", ExpressionAttributeValues=values, **(query | more))["Items"]]

    assert found() == ["-1", "9", "10"]
    assert found(ScanIndexForward=False) == ["10", "9", "-1"]
    assert found(Limit=1) == ["-1"]
    assert found(ExclusiveStartKey={"id": {"S": "a"}, "at": {"N": "9"}}) == ["10"]
    assert found(ExclusiveStartKey={"id": {"S": "a"}, "at": {"N": "9"}}, ScanIndexForward=False) == ["-1"]
    values[":low"] = {"N": "10"}
    assert found() == ["10"]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("#at = :n", "missed key schema element: id"),
        ("id > :s AND #at = :n", "not supported"),
        ("id = :s AND other = :n", "not supported"),
        ("id = :n", "does not match schema type"),
    ],
)
def test_a_query_needs_the_partition_key(expression: str, names: str) -> None:
    used = {name: value for name, value in {":n": {"N": "1"}, ":s": {"S": "a"}}.items() if name in expression}
    more = {"ExpressionAttributeNames": {"#at": "at"}} if "#at" in expression else {}
    shape, message = Local(sort_key=True).refused(
        "Query", TableName="tab", KeyConditionExpression=expression, ExpressionAttributeValues=used, **more
    )
    assert (shape, names in message) == ("ValidationException", True), message


# Time to live


def enable_ttl(local: Local, *, enabled: bool = True, name: str = "ttl") -> dict[str, Any]:
    return local.ask("UpdateTimeToLive", TableName="tab", TimeToLiveSpecification={"AttributeName": name, "Enabled": enabled})


def keys(local: Local) -> list[str]:
    return [item["id"]["S"] for item in local.ask("Scan", TableName="tab")["Items"]]


def test_items_go_when_their_time_has_come() -> None:
    local = Local()
    local.put("before", ttl={"N": str(START + 5)})
    assert enable_ttl(local) == {"TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True}}
    local.put("later", ttl={"N": str(START + 10)})
    local.put("never", ttl={"S": "5"})
    local.put("long ago", ttl={"N": str(START - 6 * YEAR)})
    local.now = START + 4.9
    assert keys(local) == ["before", "later", "long ago", "never"]
    local.now = START + 5
    assert keys(local) == ["later", "long ago", "never"]
    local.put("later", ttl={"N": str(START + 20)})
    local.now = START + 10
    assert keys(local) == ["later", "long ago", "never"]
    local.now = START + 20
    assert keys(local) == ["long ago", "never"]


def test_time_to_live_is_described_and_switched_off() -> None:
    local = Local()
    assert local.ask("DescribeTimeToLive", TableName="tab") == {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    enable_ttl(local)
    shown = local.ask("DescribeTimeToLive", TableName="tab")["TimeToLiveDescription"]
    assert shown == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    with pytest.raises(Refused, match="already enabled"):
        enable_ttl(local)
    with pytest.raises(Refused, match="active on a different AttributeName"):
        enable_ttl(local, enabled=False, name="other")
    local.put(ttl={"N": str(START + 1)})
    enable_ttl(local, enabled=False)
    local.now = START + 2
    assert keys(local) == ["a"]
    with pytest.raises(Refused, match="already disabled"):
        enable_ttl(local, enabled=False)
