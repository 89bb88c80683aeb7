"""Conditions: attribute_exists, attribute_not_exists, comparisons, AND, OR, NOT and brackets; anything else is refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from runtime.local.dynamodb.tokens import Path, Placeholders, Reader, look_up
from runtime.local.dynamodb.values import Item, Value, identity, order

Condition = Callable[[Mapping[str, Value]], bool]
"""Whether an item (an empty one: there is none) fulfils it."""

_COMPARISONS: Final = ("=", "<>", "<", "<=", ">", ">=")
_ORDERED: Final = frozenset({"S", "N", "B"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTest:
    """One comparison of a KeyConditionExpression."""

    name: str
    sign: str
    value: Value

    def holds(self, item: Item) -> bool:
        return compare(item.get(self.name), self.sign, self.value)


def read_condition(request: Mapping[str, Any], placeholders: Placeholders) -> Condition | None:
    """The ConditionExpression of a request, None if it has none. Raises Refused."""
    text = request.get("ConditionExpression")
    if text is None:
        return None
    reader = Reader(str(text), "ConditionExpression", placeholders)
    condition = _any_of(reader)
    if reader.peek():
        raise reader.error()
    return condition


def read_key_tests(text: str, placeholders: Placeholders) -> list[KeyTest]:
    """A KeyConditionExpression: `name sign :value`, one or two of them with AND between. Raises Refused."""
    reader = Reader(text, "KeyConditionExpression", placeholders)
    tests: list[KeyTest] = []
    while not tests or reader.take_if("AND"):
        path = reader.path()
        sign = reader.take_if("=", "<", "<=", ">", ">=")
        if not sign or len(path) > 1:
            raise reader.error()
        tests.append(KeyTest(name=str(path[0]), sign=sign, value=reader.value()))
    if reader.peek():
        raise reader.error()
    return tests


def _any_of(reader: Reader) -> Condition:
    parts = [_all_of(reader)]
    while reader.take_if("OR"):
        parts.append(_all_of(reader))
    return lambda item: any(part(item) for part in parts)


def _all_of(reader: Reader) -> Condition:
    parts = [_one(reader)]
    while reader.take_if("AND"):
        parts.append(_one(reader))
    return lambda item: all(part(item) for part in parts)


def _one(reader: Reader) -> Condition:
    if reader.take_if("NOT"):
        negated = _one(reader)
        return lambda item: not negated(item)
    if reader.take_if("("):
        inner = _any_of(reader)
        reader.expect(")")
        return inner
    if reader.peek_second() == "(":
        return _function(reader)
    left = _operand(reader)
    sign = reader.take_if(*_COMPARISONS)
    if not sign:
        raise reader.error()
    right = _operand(reader)
    return lambda item: compare(left(item), sign, right(item))


def _function(reader: Reader) -> Condition:
    name = reader.peek()
    if name not in ("attribute_exists", "attribute_not_exists"):
        raise reader.invalid(f"This endpoint does not support the function {name}")
    reader.take()
    reader.expect("(")
    path: Path = reader.path()
    reader.expect(")")
    wanted = name == "attribute_exists"
    return lambda item: (look_up(item, path) is not None) is wanted


def _operand(reader: Reader) -> Callable[[Mapping[str, Value]], Value | None]:
    if reader.is_value():
        value = reader.value()
        return lambda _item: value
    path = reader.path()
    return lambda item: look_up(item, path)


def compare(left: Value | None, sign: str, right: Value | None) -> bool:
    """What is missing is equal to nothing and neither above nor below; so are values of two types."""
    if sign in ("=", "<>"):
        same = left is not None and right is not None and identity(left) == identity(right)
        return same is (sign == "=")
    if left is None or right is None or left.keys() != right.keys() or not left.keys() <= _ORDERED:
        return False
    low, high = order(left), order(right)
    return bool({"<": low < high, "<=": low <= high, ">": low > high, ">=": low >= high}[sign])
