"""Capacity units as the developer guide reckons them ("Read and write operations"): a read unit is 4 KB, a write unit 1 KB."""

from collections.abc import Iterable
from math import ceil
from typing import Any, Final

from runtime.local.dynamodb.tables import Table
from runtime.local.dynamodb.values import Item, size_of

_READ: Final = 4096
_WRITE: Final = 1024


def read_units(items: Iterable[Item], *, consistent: bool) -> float:
    """Of one answer: its items count together; an answer without any counts as one small item."""
    units = max(1, ceil(sum(map(size_of, items)) / _READ))
    return units if consistent else units / 2


def write_units(table: Table, old: Item | None, new: Item | None) -> float:
    """The larger of before and after; and one for each entry of an index that goes, comes or changes."""
    units = max(1, ceil(max(size_of(old or {}), size_of(new or {})) / _WRITE))
    for index in table.indexes.values():
        before, after = index.entry(old, table.keys), index.entry(new, table.keys)
        if before == after:
            continue
        moved = before is not None and after is not None and index.key_of(before, table.keys) != index.key_of(after, table.keys)
        units += 2 if moved else 1
    return float(units)


def consumed(table: Table, units: float) -> dict[str, Any]:
    return {"TableName": table.name, "CapacityUnits": units}
