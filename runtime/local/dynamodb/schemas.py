"""Key schemas and global secondary indexes as requests give them and descriptions show them. A new index is ACTIVE at once."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from runtime.local.dynamodb.indexes import Index, KeyAttribute
from runtime.local.dynamodb.refusals import invalid, not_found, unsupported
from runtime.local.dynamodb.tables import Table

_ROLES: Final = ("HASH", "RANGE")
_WRONG: Final = "One or more parameter values were invalid: "
_PROJECTIONS: Final = ("KEYS_ONLY", "ALL")
_INDEX: Final = frozenset({"IndexName", "KeySchema", "Projection", "ProvisionedThroughput"})


def read_keys(given: object, kinds: Mapping[str, str]) -> tuple[KeyAttribute, ...]:
    """A KeySchema. Raises Refused."""
    schema = given if isinstance(given, list) and all(isinstance(entry, dict) for entry in given) else []
    if not schema or tuple(entry.get("KeyType") for entry in schema) != _ROLES[: len(schema)]:
        raise invalid("Invalid KeySchema: it must have a HASH key, and may have a RANGE key after it")
    keys = []
    for entry in schema:
        name = entry.get("AttributeName")
        kind = kinds.get(str(name))
        if not isinstance(name, str) or kind not in ("S", "N", "B"):
            message = f"Some index key attributes are not defined in AttributeDefinitions as S, N or B. Keys: [{name}]"
            raise invalid(_WRONG + message)
        keys.append(KeyAttribute(name=name, kind=kind))
    if len({key.name for key in keys}) != len(keys):
        raise invalid("Invalid KeySchema: Both the Hash Key and the Range Key element in the KeySchema have the same name")
    return tuple(keys)


def read_index(given: Mapping[str, Any], kinds: Mapping[str, str]) -> Index:
    """Raises Refused."""
    for part in given:
        if part not in _INDEX:
            raise unsupported(f"{part} of a global secondary index")
    projection = given.get("Projection")
    kind = projection.get("ProjectionType") if isinstance(projection, dict) else None
    name = given.get("IndexName")
    if kind not in _PROJECTIONS or not isinstance(name, str):
        raise unsupported("a global secondary index without a name and a ProjectionType of KEYS_ONLY or ALL")
    return Index(name=name, keys=read_keys(given.get("KeySchema"), kinds), everything=kind == "ALL")


def check_all_used(kinds: Mapping[str, str], *keys: tuple[KeyAttribute, ...]) -> None:
    """Raises Refused for an attribute that was defined and is part of no key."""
    used = {key.name for each in keys for key in each}
    if kinds.keys() != used:
        message = "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions"
        raise invalid(_WRONG + message)


def change_indexes(table: Table, updates: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> None:
    """GlobalSecondaryIndexUpdates: one Create or Delete. Raises Refused."""
    if len(updates) > 1:
        raise unsupported("more than one index in one UpdateTable")
    for update in updates:
        if set(update) == {"Create"}:
            index = read_index(update["Create"], kinds)
            if index.name in table.indexes:
                raise invalid(f"{_WRONG}Attempting to create an index which already exists")
            table.indexes[index.name] = index
        elif set(update) == {"Delete"}:
            name = str(update["Delete"].get("IndexName"))
            if table.indexes.pop(name, None) is None:
                raise not_found(f": Index: {name} not found")
        else:
            raise unsupported(f"{', '.join(update)} of an index; it must be Create or Delete")


def key_schema(keys: tuple[KeyAttribute, ...]) -> list[dict[str, str]]:
    return [{"AttributeName": key.name, "KeyType": role} for key, role in zip(keys, _ROLES, strict=False)]


def definitions(table: Table) -> list[dict[str, str]]:
    """The attributes of its keys and its indexes' keys."""
    kinds = {key.name: key.kind for keys in (table.keys, *(index.keys for index in table.indexes.values())) for key in keys}
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()]


def description_of(table: Table, index: Index) -> dict[str, Any]:
    return {
        "IndexName": index.name,
        "KeySchema": key_schema(index.keys),
        "Projection": {"ProjectionType": "ALL" if index.everything else "KEYS_ONLY"},
        "IndexStatus": "ACTIVE",
        "IndexArn": f"{table.arn}/index/{index.name}",
    }
