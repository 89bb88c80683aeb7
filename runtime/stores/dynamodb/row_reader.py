"""Rows of leases, read with a memory.

A renewal changes the counter, the token and the throughput of a row and nothing else, and rows are read eight hundred times a
second by a leader that holds a thousand. The law: what is read is what `parse_lease` makes of it.
"""

from typing import Final

from msgspec.structs import replace

from runtime.stores.dynamodb import values
from runtime.stores.dynamodb.rows import COUNTER, KEY, THROUGHPUT, WRITE, LeaseRow, parse_lease
from runtime.stores.dynamodb.values import Item, Value

_MOST: Final = 10_000
"""Rows that are remembered, of some 2 kB each; then it begins anew."""


class RowReader:
    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._known: dict[str, tuple[dict[str, Value], LeaseRow]] = {}
        """By key: the rest of its attributes as they were last, and what was made of them."""

    def __len__(self) -> int:
        """Rows that are remembered."""
        return len(self._known)

    def read(self, item: Item) -> LeaseRow | None:
        """As `parse_lease`. Raises BadRow."""
        rest = dict(item)
        rest.pop(COUNTER, None)
        rest.pop(WRITE, None)
        rest.pop(THROUGHPUT, None)
        key = item.get(KEY, {}).get("S")
        known = self._known.get(key) if isinstance(key, str) else None
        if known is not None and known[0] == rest:
            counter, token = values.integer_of(item, COUNTER) or 0, values.text_of(item, WRITE)
            return replace(known[1], counter=counter, write=token, throughput=values.number_of(item, THROUGHPUT))
        row = parse_lease(item)
        if row is not None:
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[row.key] = rest, row
        return row
