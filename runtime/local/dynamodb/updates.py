"""UpdateExpression: SET (with `+`, `-`, if_not_exists and list_append), REMOVE, and ADD of numbers; anything else is refused.

Every operand is read from the item as it was before the update, as DynamoDB does.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal

from runtime.local.dynamodb.refusals import invalid
from runtime.local.dynamodb.tokens import Path, Placeholders, Reader, look_up
from runtime.local.dynamodb.values import EXACT, Item, Value, number_text

_Operand = Callable[[Mapping[str, Value]], Value]
_INVALID_PATH = "The document path provided in the update expression is invalid for update"


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What an UpdateExpression does."""

    sets: tuple[tuple[Path, _Operand], ...] = ()
    removals: tuple[Path, ...] = ()

    @property
    def attributes(self) -> frozenset[str]:
        """The top-level attributes that it touches."""
        return frozenset(str(path[0]) for path in (*(path for path, _operand in self.sets), *self.removals))

    def apply(self, item: Item) -> Item:
        """The item afterwards; `item` stays as it is. Raises Refused."""
        changed = deepcopy(item)
        for path, operand in self.sets:
            _put(changed, path, deepcopy(operand(item)))
        for path in sorted(self.removals, key=_last_index_first, reverse=True):
            _remove(changed, path)
        return changed


def read_update(text: str, placeholders: Placeholders) -> Update:
    """Raises Refused."""
    reader = Reader(text, "UpdateExpression", placeholders)
    sets: list[tuple[Path, _Operand]] = []
    removals: list[Path] = []
    seen: set[str] = set()
    while reader.peek():
        section = reader.take_if("SET", "REMOVE", "ADD").upper()
        if not section:
            raise reader.error()
        if section in seen:
            raise reader.invalid(f'The "{section}" section can only be used once in an update expression;')
        seen.add(section)
        while True:
            path = reader.path()
            if section == "REMOVE":
                removals.append(path)
            elif section == "SET":
                reader.expect("=")
                sets.append((path, _sum(reader)))
            else:
                sets.append((path, _addition(path, reader.value())))
            if not reader.take_if(","):
                break
    _check_apart([*(path for path, _operand in sets), *removals], reader)
    return Update(sets=tuple(sets), removals=tuple(removals))


def _check_apart(paths: list[Path], reader: Reader) -> None:
    for number, one in enumerate(paths):
        for other in paths[:number]:
            common = min(len(one), len(other))
            if one[:common] == other[:common]:
                raise reader.invalid("Two document paths overlap with each other; must remove or rewrite one of these paths;")


def _sum(reader: Reader) -> _Operand:
    left = _operand(reader)
    sign = reader.take_if("+", "-")
    if not sign:
        return left
    right = _operand(reader)
    reckon = EXACT.add if sign == "+" else EXACT.subtract
    return lambda item: _added(left(item), right(item), reckon)


def _operand(reader: Reader) -> _Operand:
    if reader.is_value():
        value = reader.value()
        return lambda _item: value
    if reader.peek_second() != "(":
        path = reader.path()
        return lambda item: _present(item, path)
    name = reader.peek()
    if name not in ("if_not_exists", "list_append"):
        raise reader.invalid(f"This endpoint does not support the function {name}")
    reader.take()
    reader.expect("(")
    if name == "list_append":
        first = _operand(reader)
        reader.expect(",")
        second = _operand(reader)
        operand: _Operand = lambda item: {"L": _list(first(item)) + _list(second(item))}  # noqa: E731 - one of two closures
    else:
        path = reader.path()
        reader.expect(",")
        default = _operand(reader)
        operand = lambda item: look_up(item, path) or default(item)  # noqa: E731 - see above
    reader.expect(")")
    return operand


def _addition(path: Path, value: Value) -> _Operand:
    if "N" not in value:
        raise invalid("Invalid UpdateExpression: This endpoint does not support ADD of anything but a number")
    return lambda item: _added(look_up(item, path) or {"N": "0"}, value, EXACT.add)


def _added(left: Value, right: Value, reckon: Callable[[Decimal, Decimal], Decimal]) -> Value:
    if "N" not in left or "N" not in right:
        raise invalid("An operand in the update expression has an incorrect data type")
    return {"N": number_text(reckon(Decimal(left["N"]), Decimal(right["N"])))}


def _list(value: Value) -> list[Value]:
    if "L" not in value:
        raise invalid("An operand in the update expression has an incorrect data type")
    return list(value["L"])


def _present(item: Mapping[str, Value], path: Path) -> Value:
    found = look_up(item, path)
    if found is None:
        raise invalid("The provided expression refers to an attribute that does not exist in the item")
    return found


def _last_index_first(path: Path) -> tuple[tuple[int, str], ...]:
    """Taking out a later element of a list first leaves the earlier ones where they are."""
    return tuple((step, "") if isinstance(step, int) else (-1, step) for step in path)


def _put(item: Item, path: Path, value: Value) -> None:
    if len(path) == 1:
        item[str(path[0])] = value
        return
    step, holder = path[-1], look_up(item, path[:-1]) or {}
    if isinstance(step, int) and "L" in holder:
        holder["L"][step : step + 1] = [value]
    elif isinstance(step, str) and "M" in holder:
        holder["M"][step] = value
    else:
        raise invalid(_INVALID_PATH)


def _remove(item: Item, path: Path) -> None:
    if len(path) == 1:
        item.pop(str(path[0]), None)
        return
    step, holder = path[-1], look_up(item, path[:-1]) or {}
    if isinstance(step, int) and "L" in holder:
        del holder["L"][step : step + 1]
    elif isinstance(step, str) and "M" in holder:
        holder["M"].pop(step, None)
    else:
        raise invalid(_INVALID_PATH)
