"""Why an alternative of a pattern did not match, in words for whoever wrote it."""

from collections.abc import Sequence
from typing import Any, Final

from runtime.core.filters.arrays import Wanted, values_at
from runtime.core.filters.matching import Alternative
from runtime.core.filters.operators import shown

_MOST_VALUES: Final = 3
_MOST_FIELDS: Final = 3
_MOST_ALTERNATIVES: Final = 4


def why_not(alternatives: Sequence[Alternative], view: dict[str, Any]) -> str:
    """Of a view that none of them matches."""
    reasons = list(dict.fromkeys(_why_not(each, view) for each in alternatives))
    more = len(reasons) - _MOST_ALTERNATIVES
    if more > 0:
        reasons[_MOST_ALTERNATIVES:] = [f"{more} more reasons"]
    return "; or ".join(reasons) if len(reasons) > 1 else reasons[0]


def _why_not(alternative: Alternative, view: dict[str, Any]) -> str:
    if not alternative.fits_data(view):
        return _mismatch(alternative, view)
    missed = []
    for wanted in alternative.wanted:
        values = values_at(view, wanted.parts)
        if not any(wanted.field.test(value) for value in values) and (values or not wanted.field.absent):
            missed.append(_missed(wanted, values, view))
    if not missed:
        return f"{_paths(alternative)} match one by one, but not in the same member of a list"
    return ", and ".join(missed[:_MOST_FIELDS]) + (
        f", and {len(missed) - _MOST_FIELDS} more" if len(missed) > _MOST_FIELDS else ""
    )


def _mismatch(alternative: Alternative, view: dict[str, Any]) -> str:
    key = alternative.data_key
    if len(alternative.needs) > 1:
        return f"the pattern wants {key} to be a text and an object at once"
    if str in alternative.needs:
        return f"{key} is a JSON object, and the pattern wants a plain text there"
    return f"{key} is no JSON object, and the pattern wants fields of one" if key in view else f"{key} is not there as JSON"


def _missed(wanted: Wanted, values: Sequence[Any], view: dict[str, Any]) -> str:
    path = ".".join(wanted.parts)
    if values:
        found = ", ".join(map(shown, values[:_MOST_VALUES])) + (", ..." if len(values) > _MOST_VALUES else "")
        return f"{path} is {found}, wanted {wanted.field.words}"
    return f"{path} {_what_is_there(view, wanted.parts)}, wanted {wanted.field.words}"


def _what_is_there(view: dict[str, Any], parts: tuple[str, ...]) -> str:
    """At the path, where no value is. Only of plain ways: lists and dotted keys say enough by their values."""
    found: Any = view
    for part in parts:
        if type(found) is not dict or part not in found:
            return "is missing"
        found = found[part]
    return "is an empty list" if found == [] else "is an object" if type(found) is dict else "has no value"


def _paths(alternative: Alternative) -> str:
    return " and ".join(".".join(wanted.parts) for wanted in alternative.wanted)
