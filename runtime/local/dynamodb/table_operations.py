"""The operations on tables as a whole. Everything takes effect at once: a table is ACTIVE when CreateTable answers."""

import re
from typing import Any, Final

from runtime.local.dynamodb.call import Answer, Call
from runtime.local.dynamodb.refusals import invalid, not_found, serialization, unsupported
from runtime.local.dynamodb.schemas import (
    change_indexes,
    check_all_used,
    definitions,
    description_of,
    key_schema,
    read_index,
    read_keys,
)
from runtime.local.dynamodb.streams import View
from runtime.local.dynamodb.tables import Table

_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_MOST_TABLES: Final = 100
_BILLING: Final = ("BillingMode", "ProvisionedThroughput")


def create_table(call: Call) -> Answer:
    call.check_parameters(
        {"TableName", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "StreamSpecification", *_BILLING}
    )
    name = call.text("TableName")
    if _NAME.fullmatch(name) is None:
        constraint = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+ and have 3 to 255 characters"
        raise invalid(f"1 validation error detected: Value '{name}' at 'tableName' failed to satisfy constraint: {constraint}")
    given, kinds, view = call.parts("GlobalSecondaryIndexes"), _kinds(call), _view(call)
    keys = read_keys(call.body.get("KeySchema"), kinds)
    indexes = [read_index(each, kinds) for each in given]
    check_all_used(kinds, keys, *(index.keys for index in indexes))
    billing = {parameter: call.body[parameter] for parameter in _BILLING if parameter in call.body}
    if billing.get("BillingMode", "PROVISIONED") == "PROVISIONED" and "ProvisionedThroughput" not in billing:
        message = "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"
        raise invalid(f"One or more parameter values were invalid: {message}")
    caller = call.caller
    table = call.store.create(name, account=caller.account, region=caller.region, keys=keys, billing=billing)
    table.indexes = {index.name: index for index in indexes}
    if view is not None:
        call.store.enable_stream(table, view)
    return {"TableDescription": _description(table)}


def update_table(call: Call) -> Answer:
    call.check_parameters({"TableName", "StreamSpecification", "AttributeDefinitions", "GlobalSecondaryIndexUpdates", *_BILLING})
    table = _known_table(call)
    change_indexes(table, call.parts("GlobalSecondaryIndexUpdates"), _kinds(call))
    if "StreamSpecification" in call.body:
        view = _view(call)
        if view is None:
            call.store.disable_stream(table)
        else:
            call.store.enable_stream(table, view)
    table.billing |= {parameter: call.body[parameter] for parameter in _BILLING if parameter in call.body}
    return {"TableDescription": _description(table)}


def describe_table(call: Call) -> Answer:
    call.check_parameters({"TableName"})
    return {"Table": _description(_known_table(call))}


def delete_table(call: Call) -> Answer:
    call.check_parameters({"TableName"})
    table = _known_table(call)
    call.store.delete(table)
    return {"TableDescription": {**_description(table), "TableStatus": "DELETING"}}


def list_tables(call: Call) -> Answer:
    call.check_parameters({"ExclusiveStartTableName", "Limit"})
    after, limit = call.maybe_text("ExclusiveStartTableName") or "", call.limit("Limit", _MOST_TABLES) or _MOST_TABLES
    tables = call.store.tables(account=call.caller.account, region=call.caller.region)
    found = [table.name for table in tables if table.name > after]
    more = {"LastEvaluatedTableName": found[limit - 1]} if len(found) > limit else {}
    return {"TableNames": found[:limit], **more}


def update_time_to_live(call: Call) -> Answer:
    """AWS takes one change an hour; here there is no such limit."""
    call.check_parameters({"TableName", "TimeToLiveSpecification"})
    table, given = _known_table(call), call.part("TimeToLiveSpecification")
    name, enabled = given.get("AttributeName"), given.get("Enabled")
    if not isinstance(name, str) or not name or not isinstance(enabled, bool):
        raise serialization("TimeToLiveSpecification must have an AttributeName and Enabled")
    if enabled is (table.ttl_attribute is not None):
        raise invalid(f"TimeToLive is already {'enabled' if enabled else 'disabled'}")
    if not enabled and table.ttl_attribute != name:
        raise invalid(f"TimeToLive is active on a different AttributeName: current AttributeName is {table.ttl_attribute}")
    table.enable_ttl(name if enabled else None)
    return {"TimeToLiveSpecification": {"AttributeName": name, "Enabled": enabled}}


def describe_time_to_live(call: Call) -> Answer:
    call.check_parameters({"TableName"})
    name = _known_table(call).ttl_attribute
    if name is None:
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": name}}


def _known_table(call: Call) -> Table:
    name = call.text("TableName")
    found = call.store.find(name, account=call.caller.account, region=call.caller.region)
    if found is None:
        raise not_found(f": Table: {name} not found")
    return found


def _kinds(call: Call) -> dict[str, str]:
    """AttributeDefinitions: the types of key attributes."""
    return {str(entry.get("AttributeName")): str(entry.get("AttributeType")) for entry in call.parts("AttributeDefinitions")}


def _view(call: Call) -> View | None:
    """What the stream is to show; None if there is to be none."""
    if "StreamSpecification" not in call.body:
        return None
    given = call.part("StreamSpecification")
    enabled, view = given.get("StreamEnabled"), given.get("StreamViewType")
    if not isinstance(enabled, bool):
        raise serialization("StreamSpecification must have StreamEnabled")
    if enabled is not (view is not None):
        message = "StreamViewType must be given if StreamEnabled is true, and only then"
        raise invalid(f"One or more parameter values were invalid: {message}")
    if view is not None and view not in set(View):
        raise unsupported(f"the StreamViewType {view}")
    return None if view is None else View(view)


def _description(table: Table) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "AttributeDefinitions": definitions(table),
        "TableName": table.name,
        "KeySchema": key_schema(table.keys),
        "TableStatus": "ACTIVE",
        "CreationDateTime": table.created,
        "ProvisionedThroughput": {
            "NumberOfDecreasesToday": 0,
            "ReadCapacityUnits": 0,
            "WriteCapacityUnits": 0,
            **table.billing.get("ProvisionedThroughput", {}),
        },
        "TableSizeBytes": table.size,
        "ItemCount": len(table),
        "TableArn": table.arn,
        "TableId": table.id,
    }
    if table.billing.get("BillingMode") == "PAY_PER_REQUEST":
        shown["BillingModeSummary"] = {"BillingMode": "PAY_PER_REQUEST"}
    if table.indexes:
        shown["GlobalSecondaryIndexes"] = [description_of(table, index) for index in table.indexes.values()]
    if table.stream is not None:
        shown |= {"LatestStreamLabel": table.stream.label, "LatestStreamArn": table.stream.arn}
        if table.stream.enabled:
            shown["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": table.stream.view.value}
    return shown
