"""Attribute values in DynamoDB JSON: what is allowed, when two are the same, how large one is, how two are ordered.

Numbers are kept as DynamoDB gives them back: without an exponent and without needless zeros, 38 digits at most. Sizes follow the
developer guide ("DynamoDB item sizes and formats"), which agrees with the SizeBytes of its recorded stream records.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Hashable, Mapping
from decimal import Context, Decimal, DecimalException
from typing import Any, Final

from runtime.local.dynamodb.refusals import invalid, serialization

Value = dict[str, Any]
"""One key, the type, and what it holds: `{"S": "x"}`."""
Item = dict[str, Value]

LARGEST_ITEM: Final = 400 * 1024
_DEEPEST: Final = 32
EXACT: Final = Context(prec=38)
"""How DynamoDB reckons."""
_LARGEST_NUMBER: Final = 125
"""Numbers lie between 1E-130 and 9.99...E+125."""
_SMALLEST_NUMBER: Final = -130
_INVALID: Final = "One or more parameter values were invalid: "


def read_item(given: object, parameter: str) -> Item:
    """A copy of an item or a key, with its numbers normalized. Raises Refused."""
    if not isinstance(given, dict):
        raise serialization(f"{parameter} must be a map of attribute values")
    for name in given:
        if not name:
            raise invalid(_INVALID + "An attribute name must not be empty")
    return {name: read_value(value) for name, value in given.items()}


def read_value(given: object, depth: int = 0) -> Value:
    if not isinstance(given, dict):
        raise serialization(f"an attribute value is a map with one type, not {given!r}")
    if len(given) != 1:
        raise invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    if depth > _DEEPEST:
        raise invalid("Nesting Levels have exceeded supported limits")
    ((kind, content),) = given.items()
    if kind == "L":
        return {"L": [read_value(part, depth + 1) for part in _typed(content, list, kind)]}
    if kind == "M":
        return {"M": {name: read_value(part, depth + 1) for name, part in _typed(content, dict, kind).items()}}
    if kind in _SCALARS:
        return {kind: _SCALARS[kind](content)}
    if kind in _SETS:
        return {kind: _members(kind, _typed(content, list, kind))}
    raise invalid(f"Supplied AttributeValue has the unknown datatype {kind}")


def _members(kind: str, content: list[Any]) -> list[str]:
    members = [_SCALARS[kind[0]](member) for member in content]
    if not members:
        raise invalid(_INVALID + f"An {_SETS[kind]} set may not be empty")
    if len(set(members)) != len(members):
        raise invalid(_INVALID + f"Input collection {members} contains duplicates.")
    return members


def _typed(content: object, kind: type, name: str) -> Any:
    if type(content) is not kind:
        raise serialization(f"{content!r} is no value of the datatype {name}")
    return content


def _number(content: object) -> str:
    try:
        number = EXACT.create_decimal(_typed(content, str, "N"))
        if not number.is_finite():
            raise invalid(f"The parameter cannot be converted to a numeric value: {content}")
    except DecimalException:
        raise invalid(f"The parameter cannot be converted to a numeric value: {content}") from None
    if len(Decimal(str(content)).normalize(Context(prec=1000)).as_tuple().digits) > EXACT.prec:
        raise invalid("Attempting to store more than 38 significant digits in a Number")
    if number and not _SMALLEST_NUMBER <= number.adjusted() <= _LARGEST_NUMBER:
        raise invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
    return number_text(number)


def number_text(number: Decimal) -> str:
    """As DynamoDB writes it, rounded to 38 digits."""
    return format(number.normalize(EXACT), "f") if number else "0"


def _binary(content: object) -> str:
    try:
        return b64encode(b64decode(_typed(content, str, "B"), validate=True)).decode()
    except ValueError:
        raise serialization(f"{content!r} is not base64") from None


def _null(content: object) -> bool:
    if content is not True:
        raise invalid(_INVALID + "Null attribute value types must have the value of true")
    return True


_SCALARS: Final[dict[str, Callable[[object], Any]]] = {
    "S": lambda content: _typed(content, str, "S"),
    "N": _number,
    "B": _binary,
    "BOOL": lambda content: _typed(content, bool, "BOOL"),
    "NULL": _null,
}
_SETS: Final = {"SS": "string", "NS": "number", "BS": "binary"}


def identity(value: Value) -> Hashable:
    """Equal for values that DynamoDB takes for the same: the order in a set does not count."""
    ((kind, content),) = value.items()
    if kind in _SETS:
        return kind, frozenset(content)
    if kind == "L":
        return kind, tuple(identity(part) for part in content)
    if kind == "M":
        return kind, frozenset((name, identity(part)) for name, part in content.items())
    return kind, content


def is_same(one: Mapping[str, Value] | None, other: Mapping[str, Value] | None) -> bool:
    """Whether two items (None: there is none) are the same."""
    if one is None or other is None:
        return one is other
    return identity({"M": dict(one)}) == identity({"M": dict(other)})


def order(value: Value) -> Any:
    """What values of one type, S, N or B, are sorted by."""
    ((kind, content),) = value.items()
    if kind == "N":
        return Decimal(content)
    return content.encode() if kind == "S" else b64decode(content)


def size_of(item: Mapping[str, Value]) -> int:
    """Bytes of names and values."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Value) -> int:
    ((kind, content),) = value.items()
    if kind in _SETS:
        return sum(_size({kind[0]: member}) for member in content)
    if kind == "L":
        return 3 + sum(1 + _size(part) for part in content)
    if kind == "M":
        return 3 + len(content) + size_of(content)
    if kind == "S":
        return len(content.encode())
    if kind == "B":
        return len(b64decode(content))
    return _number_size(Decimal(content)) if kind == "N" else 1


def _number_size(number: Decimal) -> int:
    """A byte for two digits, one more, and one for a minus sign."""
    digits = len(number.normalize().as_tuple().digits) if number else 0
    return (digits + 1) // 2 + 1 + (number < 0)
