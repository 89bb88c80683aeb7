"""Rows of leases, read with a memory.

A renewal changes the counter, the token and the throughput of a row and nothing else, and rows are read eight hundred times a
second by a leader that holds a thousand. So a row that comes as text is compared with what it was, but for these three values.
The law: what is read is what `parse_lease` makes of it.
"""

from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from runtime.stores.dynamodb.rows import COUNTER, KEY, THROUGHPUT, WRITE, LeaseRow, parse_lease
from runtime.stores.dynamodb.values import Stored, opened

_MOST: Final = 10_000
"""Rows that are remembered, of some 2 kB each; then it begins anew."""
_KEY: Final = f'"{KEY}":{{"S":"'.encode()
_COUNTER: Final = f'"{COUNTER}":{{"N":"'.encode()
_WRITE: Final = f'"{WRITE}":{{"S":"'.encode()
_THROUGHPUT: Final = f'"{THROUGHPUT}":{{"N":"'.encode()
"""What is in front of a value, as DynamoDB writes it. Where it is written in another way it stays in the rest."""
_ONCE: Final = tuple(f'"{name}"'.encode() for name in (COUNTER, WRITE, THROUGHPUT))
_NESTED: Final = b'"M"'


class RowReader:
    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._known: dict[bytes, tuple[bytes, LeaseRow]] = {}
        """By key: the text of the row as it was last, without the values that change, and what was made of it."""

    def __len__(self) -> int:
        """Rows that are remembered."""
        return len(self._known)

    def read(self, stored: Stored) -> LeaseRow | None:
        """As `parse_lease`. Raises BadRow."""
        if not isinstance(stored, Raw):
            return parse_lease(stored)
        text = bytes(stored)
        start = text.find(_KEY) + len(_KEY)
        key = text[start : text.find(b'"', start)]
        rest, counter = _cut(text, _COUNTER)
        rest, write = _cut(rest, _WRITE)
        rest, throughput = _cut(rest, _THROUGHPUT)
        known = self._known.get(key)
        if known is not None and known[0] == rest:
            row = _changed(known[1], counter, write, throughput)
            if row is not None:
                return row
        row = parse_lease(opened(stored))
        if row is not None and _is_plain(rest):
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[key] = rest, row
        return row


def _cut(text: bytes, before: bytes) -> tuple[bytes, bytes | None]:
    """The text without the value behind `before`, and that value; None: it is not there."""
    start = text.find(before)
    if start < 0:
        return text, None
    start += len(before)
    end = text.find(b'"', start)
    return text[:start] + text[end:], text[start:end]


def _changed(row: LeaseRow, counter: bytes | None, write: bytes | None, throughput: bytes | None) -> LeaseRow | None:
    """With the values that were cut out. None: they are to be read as a whole."""
    if write is not None and b"\\" in write:
        return None
    try:
        return replace(
            row,
            counter=row.counter if counter is None else int(counter),
            write=row.write if write is None else write.decode(),
            throughput=row.throughput if throughput is None else float(throughput),
        )
    except ValueError:
        return None


def _is_plain(rest: bytes) -> bool:
    """What was cut out were values of the row itself: nothing is nested in it, and nothing is there twice."""
    return _NESTED not in rest and all(rest.count(name) <= 1 for name in _ONCE)
