"""How the records of a source stand before FilterCriteria: as the function would see them, with their data decoded (FLT-10).

A view is for matching only, and nobody changes it: it may share its parts with the record, which the function gets as it came.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pollers.record import Record

View = dict[str, Any]
_decode: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterView:
    """What a source says of the views of its records."""

    key: str
    """The key that the data has in a pattern."""
    plain_text: bool
    """Data that is no JSON object is a text that patterns may ask for (FLT-20); else there is no such thing (FLT-21)."""
    reader: Callable[[frozenset[str]], Callable[[Record], View]]
    """From the fields that patterns ask for (`body`, `dynamodb.NewImage`) to the view of a record, which has what those need."""
    of_event: Callable[[dict[str, Any]], View]
    """The whole view, from a record of a Lambda event: what recordings hold. Raises nothing, whatever it is given."""


def json_object(text: str | bytes) -> View | None:
    """None for everything that does not parse to a JSON object (FLT-25): scalars, lists, NaN, numbers that no double holds,
    half a surrogate pair, bytes that are not UTF-8, what is nested too deep.
    """
    try:
        value = _decode(text)
    except (ValueError, RecursionError):
        return None
    return value if type(value) is dict else None


def top_level(fields: frozenset[str]) -> set[str]:
    """The keys of a record among the fields."""
    return {field.partition(".")[0] for field in fields}
