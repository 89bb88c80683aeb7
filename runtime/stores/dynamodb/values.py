"""Attribute values as the client takes and gives them (`{"S": "x"}`, binary as bytes), read tolerantly and written strictly."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from pollers.aws.answers import read_content

Value: TypeAlias = Mapping[str, Any]
Item: TypeAlias = Mapping[str, Value]
Stored: TypeAlias = Item | msgspec.Raw
"""A row as an answer has it: taken apart, or still its JSON."""
_ITEMS: Final = msgspec.json.Decoder(dict[str, dict[str, Any]])


class BadRow(ValueError):
    """A row that cannot be what it says it is; the text names the attribute."""


def opened(stored: Stored) -> Item:
    """Raises BadRow."""
    if not isinstance(stored, msgspec.Raw):
        return stored
    try:
        return read_content(memoryview(stored), _ITEMS)
    except ValueError as error:
        raise BadRow(f"it cannot be read: {error}") from error


def text_of(item: Item, name: str) -> str | None:
    """None if it is missing. Raises BadRow for another type, as KCL would."""
    value = item.get(name)
    if value is None:
        return None
    found = value.get("S")
    if not isinstance(found, str):
        raise BadRow(f"{name} is {shown(value)}, not a string")
    return found


def needed_text(item: Item, name: str) -> str:
    found = text_of(item, name)
    if not found:
        raise BadRow(f"{name} is missing")
    return found


def integer_of(item: Item, name: str) -> int | None:
    value = item.get(name)
    if value is None:
        return None
    try:
        return int(value["N"])
    except (KeyError, ValueError):
        raise BadRow(f"{name} is {shown(value)}, not a whole number") from None


def number_of(item: Item, name: str) -> float | None:
    value = item.get(name)
    if value is None:
        return None
    try:
        return float(value["N"])
    except (KeyError, ValueError):
        raise BadRow(f"{name} is {shown(value)}, not a number") from None


def texts_of(item: Item, name: str) -> tuple[str, ...]:
    """A set of strings, sorted; empty if it is missing."""
    value = item.get(name)
    if value is None:
        return ()
    if "SS" not in value:
        raise BadRow(f"{name} is {shown(value)}, not a set of strings")
    return tuple(sorted(value["SS"]))


def text(value: str) -> Value:
    """Raises BadRow for an empty one: KCL writes none, and takes what is missing for nothing."""
    if not value:
        raise BadRow("an empty string must not be written")
    return {"S": value}


def number(value: float) -> Value:
    return {"N": str(value)}


def shown(value: Value) -> str:
    return ", ".join(f"{kind} {content!r}" for kind, content in value.items())
