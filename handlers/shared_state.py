"""State of a handler that two invocations at once would spoil.

Lambda never runs two invocations in one process, so handlers may keep the state of an invocation in a module global, and the
documented pattern of Powertools' batch processor does. Two batches at once would then answer with each other's failures, and a
record that failed could be deleted.
"""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

_PROCESSOR: Final = ("aws_lambda_powertools.utilities.batch.base", "BasePartialProcessor")
_DEPTH: Final = 8
_MOST_ITEMS: Final = 100
"""Containers with more are data."""

IsUsers = Callable[[ModuleType], bool]


def find_shared_state(handler: Callable[..., Any], is_users: IsUsers) -> str | None:
    """Where the handler keeps what two invocations must not share, for the log; None if nothing was found.

    Looks at what can be reached from the handler through the user's own modules and classes (`is_users` knows them), through
    closures, decorators and partials.
    """
    return next(_search(handler, "the handler", is_users, set(), _DEPTH), None)


def _search(value: Any, place: str, is_users: IsUsers, seen: set[int], depth: int) -> Iterator[str]:
    if depth == 0 or id(value) in seen:
        return
    seen.add(id(value))
    if any((kind.__module__, kind.__name__) == _PROCESSOR for kind in type(value).__mro__):
        yield f"a Powertools batch processor ({place})"
        return
    for name, part in _parts(value, is_users):
        yield from _search(part, name or place, is_users, seen, depth - 1)


def _parts(value: Any, is_users: IsUsers) -> Iterable[tuple[str | None, Any]]:  # noqa: PLR0911  # one row per kind of value
    """What hangs on a value, with a name for it where it has one of its own."""
    match value:
        case ModuleType() if is_users(value):
            return _named(value.__name__, vars(value))
        case FunctionType():
            return _parts_of_function(value, is_users)
        case MethodType():
            return [(None, value.__func__), (None, value.__self__)]
        case functools.partial():
            return [(None, part) for part in (value.func, *value.args, *value.keywords.values())]
        case type() if _is_from_users(value, is_users):
            return _named(f"{value.__module__}.{value.__qualname__}", vars(value))
        case dict() if len(value) <= _MOST_ITEMS:
            return [(None, part) for part in list(value.values())]
        case list() | tuple() if len(value) <= _MOST_ITEMS:
            return [(None, part) for part in value]
        case _ if _is_from_users(type(value), is_users) and hasattr(value, "__dict__"):
            return [(None, part) for part in list(vars(value).values())]
        case _:
            return []


def _parts_of_function(function: FunctionType, is_users: IsUsers) -> Iterator[tuple[str | None, Any]]:
    module = sys.modules.get(function.__globals__.get("__name__", ""))
    if module is not None and is_users(module):
        yield from _named(module.__name__, function.__globals__)
    yield None, getattr(function, "__wrapped__", None)
    for cell in function.__closure__ or ():
        try:
            yield None, cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _named(prefix: str, attributes: Any) -> list[tuple[str | None, Any]]:
    return [(f"{prefix}.{name}", part) for name, part in list(attributes.items()) if not name.startswith("__")]


def _is_from_users(kind: type, is_users: IsUsers) -> bool:
    module = sys.modules.get(kind.__module__)
    return module is not None and is_users(module)
