"""TransactWriteItems, of conditional Puts only: all, or none and a reason for each. What has a token is done once."""

from typing import Any, Final

from runtime.local.dynamodb.call import Answer, Call
from runtime.local.dynamodb.capacity import consumed, write_units
from runtime.local.dynamodb.conditions import Condition, read_condition
from runtime.local.dynamodb.refusals import invalid, not_found, unsupported
from runtime.local.dynamodb.tables import Table
from runtime.local.dynamodb.tokens import Placeholders
from runtime.local.dynamodb.values import Item, read_item
from runtime.local.errors import Refused

_MOST: Final = 100
_KNOWN: Final = {"TableName", "Item", "ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"}
_Put = tuple[Table, Item, Condition | None]


def transact_write_items(call: Call) -> Answer:
    call.check_parameters({"TransactItems", "ClientRequestToken", "ReturnConsumedCapacity"})
    given, token = call.parts("TransactItems"), call.maybe_text("ClientRequestToken")
    before = None if token is None else call.store.transacted(call.caller.account, token)
    if before is not None:
        if before != given:
            message = "The given idempotency token was used for a different request"
            raise Refused("IdempotentParameterMismatchException", message)
        return {}
    if not 1 <= len(given) <= _MOST:
        raise invalid(f"1 validation error detected: a transaction has 1 to {_MOST} items, not {len(given)}")
    puts = [_read(call, each) for each in given]
    if len({(table.arn, str(table.key_of(item))) for table, item, _ in puts}) != len(puts):
        raise invalid("Transaction request cannot include multiple operations on one item")
    reasons = [_reason(*put) for put in puts]
    if any(reason["Code"] != "None" for reason in reasons):
        codes = ", ".join(reason["Code"] for reason in reasons)
        message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
        raise Refused("TransactionCanceledException", message, more={"CancellationReasons": reasons})
    units: dict[str, tuple[Table, float]] = {}
    for table, item, _ in puts:
        old = table.put(item, None, call.store.clock())
        units[table.arn] = (table, units.get(table.arn, (table, 0.0))[1] + 2 * write_units(table, old, item))
    if token is not None:
        call.store.transact(call.caller.account, token, given)
    if call.choice("ReturnConsumedCapacity", ("NONE", "TOTAL"), "NONE") == "NONE":
        return {}
    return {"ConsumedCapacity": [consumed(table, each) for table, each in units.values()]}


def _read(call: Call, given: dict[str, Any]) -> _Put:
    put = given.get("Put")
    if set(given) != {"Put"} or not isinstance(put, dict):
        raise unsupported(f"{', '.join(given)} in {call.operation}; it must be one Put")
    for name in put:
        if name not in _KNOWN:
            raise unsupported(f"{name} in a Put of {call.operation}")
    table = call.store.find(str(put.get("TableName")), account=call.caller.account, region=call.caller.region)
    if table is None:
        raise not_found("")
    placeholders = Placeholders(put)
    condition = read_condition(put, placeholders)
    placeholders.check_all_used()
    item = read_item(put.get("Item"), "Item")
    table.check_item(item)
    return table, item, condition


def _reason(table: Table, item: Item, condition: Condition | None) -> dict[str, str]:
    old = table.get(table.key_of(item))
    if condition is None or condition(old or {}):
        return {"Code": "None"}
    return {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
