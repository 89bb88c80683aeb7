"""Global secondary indexes, pure: which items one has, what it shows of them, in which order. Always up to date, unlike AWS's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.local.dynamodb.refusals import invalid
from runtime.local.dynamodb.values import Item, Value, order


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAttribute:
    """A part of a key; `kind` is S, N or B."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    name: str
    keys: tuple[KeyAttribute, ...]
    """The partition key, and the sort key if there is one."""
    everything: bool
    """The projection is ALL; else KEYS_ONLY."""

    def check(self, item: Mapping[str, Value]) -> None:
        """An item need not be in the index, but what it has of its key is of its type. Raises Refused."""
        for key in self.keys:
            for kind, content in item.get(key.name, {}).items():
                if kind != key.kind:
                    message = f"Type mismatch for Index Key {key.name} Expected: {key.kind} Actual: {kind} IndexName: {self.name}"
                    raise invalid(f"One or more parameter values were invalid: {message}")
                if content == "":
                    message = (
                        f"The AttributeValue for a key attribute cannot contain an empty string value. IndexName: {self.name}"
                    )
                    raise invalid(f"One or more parameter values are not valid. {message}, IndexKey: {key.name}")

    def entry(self, item: Item | None, table_keys: tuple[KeyAttribute, ...]) -> Item | None:
        """What it shows of an item; None for one that it has not."""
        if item is None or any(key.name not in item for key in self.keys):
            return None
        return item if self.everything else self.key_of(item, table_keys)

    def key_of(self, item: Item, table_keys: tuple[KeyAttribute, ...]) -> Item:
        """The place in it, as a page ends with it: several items may share the index's own key."""
        return {key.name: item[key.name] for key in (*self.keys, *table_keys)}

    def place(self, item: Item, table_keys: tuple[KeyAttribute, ...]) -> tuple[Any, ...]:
        return tuple(order(item[key.name]) for key in (*self.keys[1:], *table_keys))
