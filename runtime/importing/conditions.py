"""Conditions of a template: true, false, or not known because they hang on what is not known."""

from runtime.importing.intrinsics import Resolving, Unresolvable, function_of, text_of
from runtime.importing.values import Block, Items, Place, Value


def holds(resolver: Resolving, value: Value, place: Place) -> bool | None:
    """None when it is not known, or makes no sense."""
    name = function_of(value) or ("Condition" if isinstance(value, Block) and len(value) == 1 else None)
    argument = value.get(name) if isinstance(value, Block) and name is not None else None
    if name == "Condition" and isinstance(argument, str):
        return resolver.condition(argument)
    if not isinstance(argument, Items):
        return None
    if name == "Fn::Equals":
        return _equal(resolver, argument, place)
    return _combined(name, [holds(resolver, each, place) for each in argument])


def _combined(name: str | None, inner: list[bool | None]) -> bool | None:
    match name:
        case "Fn::Not" if len(inner) == 1:
            return None if inner[0] is None else not inner[0]
        case "Fn::And":
            return False if False in inner else _known(inner, otherwise=True)
        case "Fn::Or":
            return True if True in inner else _known(inner, otherwise=False)
        case _:
            return None


def _known(inner: list[bool | None], *, otherwise: bool) -> bool | None:
    return None if None in inner else otherwise


def _equal(resolver: Resolving, argument: Items, place: Place) -> bool | None:
    if len(argument) != 2:  # noqa: PLR2004  # two sides
        return None
    try:
        one, other = (text_of(resolver.resolve(each, place)) for each in argument)
    except Unresolvable:
        return None
    return one == other if isinstance(one, str) and isinstance(other, str) else None
