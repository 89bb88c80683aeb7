"""The operations on items."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from runtime.local.dynamodb.call import Answer, Call
from runtime.local.dynamodb.capacity import consumed, read_units, write_units
from runtime.local.dynamodb.conditions import KeyTest, read_condition, read_key_tests
from runtime.local.dynamodb.indexes import Index, KeyAttribute
from runtime.local.dynamodb.refusals import invalid, not_found, serialization
from runtime.local.dynamodb.tables import Page, Table
from runtime.local.dynamodb.tokens import Placeholders
from runtime.local.dynamodb.updates import Update, read_update
from runtime.local.dynamodb.values import Item, Value, read_item
from runtime.local.errors import Refused

_MOST_WRITES: Final = 25
_CONDITION: Final = (
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnConsumedCapacity",
    "ReturnValues",
    "ReturnValuesOnConditionCheckFailure",
)
_READ: Final = ("ConsistentRead", "ReturnConsumedCapacity")


def put_item(call: Call) -> Answer:
    call.check_parameters({"TableName", "Item", *_CONDITION})
    table, placeholders = call.table(), Placeholders(call.body)
    condition, returns = read_condition(call.body, placeholders), call.choice("ReturnValues", ("NONE", "ALL_OLD"), "NONE")
    placeholders.check_all_used()
    item = read_item(call.body.get("Item"), "Item")
    with _telling_the_item(call, table, item):
        old = table.put(item, condition, call.store.clock())
    return _written(call, table, old, item, old if returns == "ALL_OLD" else None)


def update_item(call: Call) -> Answer:
    call.check_parameters({"TableName", "Key", "UpdateExpression", *_CONDITION})
    table, placeholders = call.table(), Placeholders(call.body)
    text = call.maybe_text("UpdateExpression")
    update = Update() if text is None else read_update(text, placeholders)
    condition = read_condition(call.body, placeholders)
    returns = call.choice("ReturnValues", ("NONE", "ALL_OLD", "ALL_NEW"), "NONE")
    placeholders.check_all_used()
    key = _key(call, table)
    with _telling_the_item(call, table, key):
        old, new = table.update(key, update, condition, call.store.clock())
    return _written(call, table, old, new, {"NONE": None, "ALL_OLD": old, "ALL_NEW": new}[returns])


def delete_item(call: Call) -> Answer:
    call.check_parameters({"TableName", "Key", *_CONDITION})
    table, placeholders = call.table(), Placeholders(call.body)
    condition, returns = read_condition(call.body, placeholders), call.choice("ReturnValues", ("NONE", "ALL_OLD"), "NONE")
    placeholders.check_all_used()
    key = _key(call, table)
    with _telling_the_item(call, table, key):
        old = table.delete(key, condition, call.store.clock())
    return _written(call, table, old, None, old if returns == "ALL_OLD" else None)


@contextmanager
def _telling_the_item(call: Call, table: Table, item: Item) -> Iterator[None]:
    """A condition that fails shows the item that did not fulfil it, where that is asked for."""
    asked = call.choice("ReturnValuesOnConditionCheckFailure", ("NONE", "ALL_OLD"), "NONE") == "ALL_OLD"
    try:
        yield
    except Refused as refused:
        old = table.get(table.key_of(item)) if asked and refused.shape == "ConditionalCheckFailedException" else None
        if old is None:
            raise
        raise Refused(refused.shape, refused.message, more={"Item": old}) from None


def _written(call: Call, table: Table, old: Item | None, new: Item | None, returned: Item | None) -> Answer:
    answer: Answer = {} if returned is None else {"Attributes": returned}
    return answer | _capacity(call, table, write_units(table, old, new))


def _capacity(call: Call, table: Table, units: float) -> Answer:
    asked = call.choice("ReturnConsumedCapacity", ("NONE", "TOTAL"), "NONE") == "TOTAL"
    return {"ConsumedCapacity": consumed(table, units)} if asked else {}


def get_item(call: Call) -> Answer:
    call.check_parameters({"TableName", "Key", *_READ})
    table = call.table()
    found = table.get(_key(call, table))
    units = read_units([] if found is None else [found], consistent=call.flag("ConsistentRead", default=False))
    return ({} if found is None else {"Item": found}) | _capacity(call, table, units)


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
    call.check_parameters({"TableName", "Limit", "ExclusiveStartKey", "Select", *_READ})
    table = call.table()
    given = call.body.get("ExclusiveStartKey")
    after = None if given is None else table.check_key(read_item(given, "ExclusiveStartKey"))
    return _answer(call, table, table.scan(limit=call.limit("Limit"), after=after))


def query(call: Call) -> Answer:
    """The key condition compares: a partition key with `=`, a sort key with `=`, `<`, `<=`, `>` or `>=`."""
    parameters = {"TableName", "IndexName", "Limit", "ExclusiveStartKey", "Select", "ScanIndexForward", *_READ}
    call.check_parameters(parameters | {"KeyConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"})
    table, placeholders = call.table(), Placeholders(call.body)
    index = _index(call, table)
    tests = read_key_tests(call.text("KeyConditionExpression"), placeholders)
    placeholders.check_all_used()
    _check_tests(table.keys if index is None else index.keys, tests)
    forward, limit, given = call.flag("ScanIndexForward", default=True), call.limit("Limit"), call.body.get("ExclusiveStartKey")
    start = None if given is None else read_item(given, "ExclusiveStartKey")
    if index is None:
        after = None if start is None else table.check_key(start)
        return _answer(call, table, table.query(tests, limit=limit, after=after, forward=forward))
    if start is not None and start.keys() != {key.name for key in (*index.keys, *table.keys)}:
        raise invalid("The provided starting key is invalid")
    return _answer(call, table, table.query_index(index, tests, limit=limit, after=start, forward=forward))


def _index(call: Call, table: Table) -> Index | None:
    name = call.maybe_text("IndexName")
    if name is None:
        return None
    if name not in table.indexes:
        raise invalid(f"The table does not have the specified index: {name}")
    if call.flag("ConsistentRead", default=False):
        raise invalid("Consistent reads are not supported on global secondary indexes")
    return table.indexes[name]


def _check_tests(keys: tuple[KeyAttribute, ...], tests: list[KeyTest]) -> None:
    kinds = {key.name: key.kind for key in keys}
    names = [test.name for test in tests]
    if keys[0].name not in names:
        raise invalid(f"Query condition missed key schema element: {keys[0].name}")
    if len(set(names)) != len(names) or not set(names) <= kinds.keys():
        raise invalid("Query key condition not supported")
    for test in tests:
        if test.name == keys[0].name and test.sign != "=":
            raise invalid("Query key condition not supported")
        if kinds[test.name] not in test.value:
            raise invalid("One or more parameter values were invalid: Condition parameter type does not match schema type")


def _answer(call: Call, table: Table, page: Page) -> Answer:
    wanted = call.choice("Select", ("ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "COUNT"), "ALL_PROJECTED_ATTRIBUTES")
    answer: dict[str, Any] = {"Count": len(page.items), "ScannedCount": len(page.items)}
    if wanted != "COUNT":
        answer["Items"] = page.items
    if page.last is not None:
        answer["LastEvaluatedKey"] = page.last
    units = read_units(page.items, consistent=call.flag("ConsistentRead", default=False))
    return answer | _capacity(call, table, units)


def _key(call: Call, table: Table) -> dict[str, Value]:
    return table.check_key(read_item(call.body.get("Key"), "Key"))
