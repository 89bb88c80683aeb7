"""The operations on items."""

from typing import Any, Final

from runtime.local.dynamodb.call import Answer, Call
from runtime.local.dynamodb.conditions import KeyTest, read_condition, read_key_tests
from runtime.local.dynamodb.refusals import invalid, not_found, serialization
from runtime.local.dynamodb.tables import Page, Table
from runtime.local.dynamodb.tokens import Placeholders
from runtime.local.dynamodb.updates import Update, read_update
from runtime.local.dynamodb.values import Item, Value, read_item

_MOST_WRITES: Final = 25
_CONDITION: Final = ("ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues", "ReturnValues")


def put_item(call: Call) -> Answer:
    call.check_parameters({"TableName", "Item", *_CONDITION})
    table, placeholders = call.table(), Placeholders(call.body)
    condition, returns = read_condition(call.body, placeholders), call.choice("ReturnValues", ("NONE", "ALL_OLD"), "NONE")
    placeholders.check_all_used()
    old = table.put(read_item(call.body.get("Item"), "Item"), condition, call.store.clock())
    return {"Attributes": old} if returns == "ALL_OLD" and old is not None else {}


def update_item(call: Call) -> Answer:
    call.check_parameters({"TableName", "Key", "UpdateExpression", *_CONDITION})
    table, placeholders = call.table(), Placeholders(call.body)
    text = call.maybe_text("UpdateExpression")
    update = Update() if text is None else read_update(text, placeholders)
    condition = read_condition(call.body, placeholders)
    returns = call.choice("ReturnValues", ("NONE", "ALL_OLD", "ALL_NEW"), "NONE")
    placeholders.check_all_used()
    old, new = table.update(_key(call, table), update, condition, call.store.clock())
    returned = {"NONE": None, "ALL_OLD": old, "ALL_NEW": new}[returns]
    return {} if returned is None else {"Attributes": returned}


def delete_item(call: Call) -> Answer:
    call.check_parameters({"TableName", "Key", *_CONDITION})
    table, placeholders = call.table(), Placeholders(call.body)
    condition, returns = read_condition(call.body, placeholders), call.choice("ReturnValues", ("NONE", "ALL_OLD"), "NONE")
    placeholders.check_all_used()
    old = table.delete(_key(call, table), condition, call.store.clock())
    return {"Attributes": old} if returns == "ALL_OLD" and old is not None else {}


def get_item(call: Call) -> Answer:
    call.check_parameters({"TableName", "Key", "ConsistentRead"})
    table = call.table()
    found = table.get(_key(call, table))
    return {} if found is None else {"Item": found}


def batch_write_item(call: Call) -> Answer:
    """All requests are checked before the first is carried out."""
    call.check_parameters({"RequestItems"})
    writes: list[tuple[Table, Item | None, Item]] = []
    for name, requests in call.part("RequestItems").items():
        table = call.store.find(name, account=call.caller.account, region=call.caller.region)
        if table is None:
            raise not_found("")
        if not isinstance(requests, list):
            raise serialization("RequestItems must be a map of lists")
        writes += [_write(table, request) for request in requests]
    if not 1 <= len(writes) <= _MOST_WRITES:
        raise invalid(f"1 validation error detected: a batch has 1 to {_MOST_WRITES} requests, not {len(writes)}")
    if len({(table.arn, str(key)) for table, _item, key in writes}) != len(writes):
        raise invalid("Provided list of item keys contains duplicates")
    for table, item, key in writes:
        if item is None:
            table.delete(key, None, call.store.clock())
        else:
            table.put(item, None, call.store.clock())
    return {"UnprocessedItems": {}}


def _write(table: Table, request: object) -> tuple[Table, Item | None, Item]:
    """A table, the item to put (None: to delete), and the key."""
    if not isinstance(request, dict) or len(request) != 1:
        raise invalid("Supplied WriteRequest must have exactly one of PutRequest and DeleteRequest")
    ((kind, content),) = request.items()
    if kind == "PutRequest" and isinstance(content, dict):
        item = read_item(content.get("Item"), "Item")
        table.check_item(item)
        return table, item, table.key_of(item)
    if kind == "DeleteRequest" and isinstance(content, dict):
        return table, None, table.check_key(read_item(content.get("Key"), "Key"))
    raise invalid("Supplied WriteRequest must have exactly one of PutRequest and DeleteRequest")


def scan(call: Call) -> Answer:
    call.check_parameters({"TableName", "Limit", "ExclusiveStartKey", "ConsistentRead", "Select"})
    table = call.table()
    return _answer(call, table.scan(limit=call.limit("Limit"), after=_start(call, table)))


def query(call: Call) -> Answer:
    """The key condition compares: a partition key with `=`, a sort key with `=`, `<`, `<=`, `>` or `>=`."""
    parameters = {"TableName", "Limit", "ExclusiveStartKey", "ConsistentRead", "Select", "ScanIndexForward"}
    call.check_parameters(parameters | {"KeyConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"})
    table, placeholders = call.table(), Placeholders(call.body)
    tests = read_key_tests(call.text("KeyConditionExpression"), placeholders)
    placeholders.check_all_used()
    _check_tests(table, tests)
    forward = call.flag("ScanIndexForward", default=True)
    return _answer(call, table.query(tests, limit=call.limit("Limit"), after=_start(call, table), forward=forward))


def _check_tests(table: Table, tests: list[KeyTest]) -> None:
    kinds = {key.name: key.kind for key in table.keys}
    names = [test.name for test in tests]
    if table.keys[0].name not in names:
        raise invalid(f"Query condition missed key schema element: {table.keys[0].name}")
    if len(set(names)) != len(names) or not set(names) <= kinds.keys():
        raise invalid("Query key condition not supported")
    for test in tests:
        if test.name == table.keys[0].name and test.sign != "=":
            raise invalid("Query key condition not supported")
        if kinds[test.name] not in test.value:
            raise invalid("One or more parameter values were invalid: Condition parameter type does not match schema type")


def _start(call: Call, table: Table) -> Item | None:
    given = call.body.get("ExclusiveStartKey")
    return None if given is None else table.check_key(read_item(given, "ExclusiveStartKey"))


def _answer(call: Call, page: Page) -> Answer:
    wanted = call.choice("Select", ("ALL_ATTRIBUTES", "COUNT"), "ALL_ATTRIBUTES")
    answer: dict[str, Any] = {"Count": len(page.items), "ScannedCount": len(page.items)}
    if wanted == "ALL_ATTRIBUTES":
        answer["Items"] = page.items
    if page.last is not None:
        answer["LastEvaluatedKey"] = page.last
    return answer


def _key(call: Call, table: Table) -> dict[str, Value]:
    return table.check_key(read_item(call.body.get("Key"), "Key"))
