"""What the golden rows say of the form of a row: which attributes it has, which it may have, and their types."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.kcl.kinds import form_of

GOLDEN: Final = Path(__file__).parent / "golden"
_OTHERS: Final = ("old-", "streams-", "table-", "tables-")
"""How the names of rows begin that are of another layout: three tables, several streams, streams of tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowForm:
    """The attributes of all rows of one entity, with their types."""

    always: frozenset[str]
    types: dict[str, frozenset[str]]

    def objections(self, row: dict[str, Any]) -> list[str]:
        """What is wrong with a row; nothing if it could be one of the golden ones."""
        found = [f"{name} is missing" for name in sorted(self.always - row.keys())]
        for name, value in row.items():
            form = json.dumps(form_of(value))
            if form not in self.types.get(name, frozenset()):
                found.append(f"{name} is {form}, not {' or '.join(sorted(self.types.get(name, frozenset()))) or 'there'}")
        return found


def golden_row(name: str) -> dict[str, Any]:
    """A row by the name of its file."""
    row: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return row


def golden_request(kind: str) -> dict[str, Any]:
    """`operation`, `request`, `status` and `answer`."""
    request: dict[str, Any] = json.loads((GOLDEN / "requests" / f"{kind}.json").read_text())
    return request


def golden_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in GOLDEN.glob("*.json")))


def request_kinds() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (GOLDEN / "requests").glob("*.json")))


@cache
def row_forms() -> dict[str, RowForm]:
    """By `entityType`, of single-stream applications that began with 3.5: one table, an `entityType` in every row."""
    rows = [golden_row(name) for name in golden_names() if not name.startswith(_OTHERS)]
    return {
        entity: _form(row for row in rows if row["entityType"]["S"] == entity)
        for entity in {row["entityType"]["S"] for row in rows}
    }


def _form(rows: Iterable[dict[str, Any]]) -> RowForm:
    rows = list(rows)
    names = {name for row in rows for name in row}
    return RowForm(
        always=frozenset(name for name in names if all(name in row for row in rows)),
        types={name: frozenset(json.dumps(form_of(row[name])) for row in rows if name in row) for name in names},
    )
