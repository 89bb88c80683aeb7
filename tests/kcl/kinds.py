"""What a request of KCL is for, told by its form; and the form itself, for comparing what two programs write."""

from typing import Any

from tests.kcl.recording import Call

_TYPES = frozenset({"S", "N", "B", "SS", "NS", "BS", "BOOL", "NULL", "L", "M"})


def form_of(value: Any) -> Any:
    """JSON with each value of DynamoDB replaced by its type; a map by the types in it, the rest as it is."""
    if isinstance(value, dict):
        if len(value) == 1 and (kind := next(iter(value))) in _TYPES:
            return {"M": form_of(value["M"])} if kind == "M" and value["M"] and _is_item(value["M"]) else kind
        return {name: form_of(each) for name, each in sorted(value.items())}
    if isinstance(value, list):
        return [form_of(each) for each in value]
    return value


def _is_item(value: dict[str, Any]) -> bool:
    return all(isinstance(each, dict) and len(each) == 1 for each in value.values())


def kind_of(call: Call) -> str:  # noqa: PLR0911 - a return for each kind
    """A name for what it does, the same for every request of the same form; `other` with the operation's name if it is unknown."""
    match call.operation:
        case "UpdateItem" if "AttributeUpdates" in call.request:
            return _kind_of_lease_update(call)
        case "UpdateItem" | "PutItem" | "DeleteItem":
            return _kind_of_write(call)
        case "Query" | "Scan" | "GetItem":
            return _kind_of_read(call)
        case "UpdateTable" if "GlobalSecondaryIndexUpdates" in call.request:
            return "create-index"
        case "CreateTable":
            return "create-table"
        case "DescribeTable":
            return "describe-table" if call.ok else "describe-missing-table"
        case other:
            return f"other-{other}"


def _kind_of_lease_update(call: Call) -> str:  # noqa: PLR0911 - a return for each kind
    updates: dict[str, Any] = call.request["AttributeUpdates"]
    expected: dict[str, Any] = call.request["Expected"]
    handed_over = "Value" in expected.get("checkpointOwner", {})
    match sorted(updates):
        case ["leaseCounter"] | ["leaseCounter", "throughputKBps"]:
            name = "renew" if "throughputKBps" in updates else "renew-without-throughput"
            if "checkpointOwner" not in expected:
                name += "-in-handoff"
            return name if call.ok else f"{name}-refused"
        case ["checkpointOwner", "leaseOwner"]:
            return "start-handoff" if call.ok else "start-handoff-refused"
        case ["childShardIds"]:
            return "name-children"
        case ["endingHashKey", "startingHashKey"]:
            return "fill-in-hash-range"
        case names if "checkpoint" in names:
            end = updates["checkpoint"]["Value"]["S"] == "SHARD_END"
            return ("end-shard" if end else "checkpoint") + ("" if call.ok else "-refused")
        case names if "leaseOwner" in names and updates["leaseOwner"]["Action"] == "PUT":
            name = "finish-handoff" if handed_over else "assign-owned" if "Value" in expected["leaseOwner"] else "assign"
            return name if call.ok else f"{name}-refused"
        case _:
            return "other-update-of-lease"


def _kind_of_write(call: Call) -> str:  # noqa: PLR0911 - a return for each kind
    about = str(call.request)
    entity = call.request.get("Item", {}).get("entityType", {}).get("S")
    if call.key == "Leader":
        verb = {"PutItem": "acquire", "UpdateItem": "heartbeat", "DeleteItem": "release"}[call.operation]
        again = call.operation == "PutItem" and "recordVersionNumber" in call.request.get("ExpressionAttributeNames", {}).values()
        return f"{verb}-lock" + ("-again" if again else "") + ("" if call.ok else "-refused")
    if call.key == "Migration3.0":
        return "write-client-version" if call.operation == "PutItem" else "update-client-version"
    if call.key.startswith("TableMigration"):
        return "write-table-migration" if call.operation == "PutItem" else "update-table-migration"
    if "AMZN_MAPPED_" in about and "lut" in about:
        return "report-metrics" if call.operation == "UpdateItem" else "delete-metrics"
    if entity == "STREAM":
        return "write-stream-info"
    if call.operation == "PutItem" and "checkpoint" in call.request["Item"]:
        parents = call.request["Item"].get("parentShardId", {"SS": []})["SS"]
        name = ("create-lease", "create-child-lease", "create-child-lease-of-merge")[len(parents)]
        return name if call.ok else f"{name}-refused"
    if call.operation == "DeleteItem" and "shardId-" in call.key:
        return "delete-lease"
    return f"other-{call.operation}"


def _kind_of_read(call: Call) -> str:
    if call.operation == "Query":
        return "discover-leases"
    if call.operation == "Scan":
        return (
            "scan"
            + ("-segment" if "Segment" in call.request else "")
            + ("-filtered" if "FilterExpression" in call.request else "")
        )
    about = {"Leader": "leader", "Migration3.0": "client-version"}.get(call.key, "lease" if "shardId-" in call.key else "other")
    about = "table-migration" if call.key.startswith("TableMigration") else about
    return f"get-{about}" + ("-consistently" if call.request.get("ConsistentRead") else "")
