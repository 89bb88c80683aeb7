"""FilterCriteria once more, without any thought of speed: what `runtime.core.filtering` is judged against.

An event is flattened into all its values, each with the members of lists it lies in. A pattern matches when one of all combinations
of one value per path (or its absence) holds together.
"""

import itertools
import json
from collections.abc import Iterator
from typing import Any

Place = dict[int, int]
"""List -> member."""
Leaf = tuple[str, Any, Place]
"""Path, value, place."""
ABSENT = object()


def naive_match(pattern: str, event: dict[str, Any]) -> bool:
    pairs = json.loads(pattern, object_pairs_hook=lambda found: ("object", found))
    leaves = list(_flatten(event, [], {}, itertools.count()))
    return any(_holds(way, leaves) for way in _ways([{}], pairs, []))


def _flatten(value: Any, keys: list[str], place: Place, numbers: Iterator[int]) -> Iterator[Leaf]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(inner, [*keys, key], place, numbers)
    elif isinstance(value, list):
        number = next(numbers)
        for index, member in enumerate(_members(value)):
            if isinstance(member, dict):
                yield from _flatten(member, keys, {**place, number: index}, numbers)
            else:
                yield ".".join(keys), member, place
    else:
        yield ".".join(keys), value, place


def _members(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _members(value)
        else:
            yield value


def _ways(ways: list[dict[str, Any]], node: Any, keys: list[str]) -> list[dict[str, Any]]:
    for key, value in node[1]:
        if key == "$or":
            ways = [way for branch in value for way in _ways([dict(before) for before in ways], branch, keys)]
        elif isinstance(value, tuple):
            ways = _ways(ways, value, [*keys, key])
        else:
            for way in ways:
                way[".".join([*keys, key])] = value
    return ways


def _holds(way: dict[str, Any], leaves: list[Leaf]) -> bool:
    paths = sorted(way)
    choices = []
    for path in paths:
        found: list[Any] = [place for name, value, place in leaves if name == path and _wanted(value, way[path])]
        if ("object", [("exists", False)]) in way[path]:
            found.append(ABSENT)
        choices.append(found)
    return any(_together(paths, combination, leaves) for combination in itertools.product(*choices))


def _together(paths: list[str], combination: tuple[Any, ...], leaves: list[Leaf]) -> bool:
    taken: Place = {}
    for path, choice in zip(paths, combination, strict=True):
        if choice is ABSENT:
            if any(name == path and _agree(place, taken) for name, _, place in leaves):
                return False
        elif not _agree(choice, taken):
            return False
        else:
            taken |= choice
    return True


def _agree(place: Place, taken: Place) -> bool:
    return all(taken.get(number, member) == member for number, member in place.items())


def _wanted(value: Any, wanted: list[Any]) -> bool:
    return any(_is_wanted(value, each) for each in wanted)


def _is_wanted(value: Any, wanted: Any) -> bool:  # noqa: PLR0911  # one for each operator
    if not isinstance(wanted, tuple):
        return _same(value, wanted)
    ((name, argument),) = wanted[1]
    match name:
        case "exists":
            return bool(argument)
        case "prefix":
            return isinstance(value, str) and value[: len(argument)] == argument
        case "suffix":
            return isinstance(value, str) and value[len(value) - len(argument) :] == argument and len(value) >= len(argument)
        case "equals-ignore-case":
            return isinstance(value, str) and value.upper() == argument.upper()
        case "anything-but":
            return not any(_same(value, each) for each in (argument if isinstance(argument, list) else [argument]))
        case "numeric":
            return _is_number(value) and all(_compares(value, *argument[at : at + 2]) for at in range(0, len(argument), 2))
    raise NotImplementedError(name)


def _same(value: Any, wanted: Any) -> bool:
    if _is_number(value) and _is_number(wanted):
        return float(value) == float(wanted)
    return type(value) is type(wanted) and bool(value == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compares(value: float, sign: str, number: float) -> bool:
    order = (value > number) - (value < number)
    return order in {"=": (0,), "<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (1, 0)}[sign]
