"""CloudFormation's functions: each takes its argument apart, and asks a `Resolving` for the values in it."""

import re
from collections.abc import Callable
from typing import Final, Protocol

from runtime.importing.gaps import Gaps
from runtime.importing.values import Block, Gap, Items, NoValue, Place, Text, Value, joined, parts_of

_LONGEST: Final = 65_536
_IN_SUB: Final = re.compile(r"\$\{(?P<literal>!?)(?P<name>[^}]*)\}")


class Unresolvable(Exception):
    """A function cannot be worked out; the text says why."""


class Resolving(Protocol):
    """What the functions ask: see `resolver.Resolver`."""

    @property
    def template(self) -> Block: ...
    @property
    def gaps(self) -> Gaps: ...
    def resolve(self, value: Value, place: Place) -> Value: ...
    def reference(self, name: str, place: Place) -> Value: ...
    def attribute(self, logical: str, attribute: str, place: Place) -> str | Text: ...
    def condition(self, name: str) -> bool | None: ...


def text_of(value: Value) -> str | Text:
    """A single value as CloudFormation puts it into a text. Raises `Unresolvable`."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value}"
        case str() | Text():
            return value
        case NoValue():
            return ""
        case _:
            raise Unresolvable("a list or a block stands where a text is needed")


def function_of(value: Value) -> str | None:
    """The name of the function that a block is, if it is one."""
    if isinstance(value, Block) and len(value) == 1:
        (key,) = value
        if key == "Ref" or key.startswith("Fn::"):
            return key
    return None


def bounded(value: str | Text) -> str | Text:
    if sum(len(part) for part in parts_of(value) if isinstance(part, str)) > _LONGEST or len(parts_of(value)) > _LONGEST:
        raise Unresolvable(f"it comes to more than {_LONGEST} characters")
    return value


def _arguments(value: Value, *, name: str, number: int) -> Items:
    if not isinstance(value, Items) or len(value) < number:
        raise Unresolvable(f"{name} is not given {number} arguments")
    return value


def _ref(resolver: Resolving, value: Value, place: Place) -> Value:
    if not isinstance(value, str):
        raise Unresolvable("Ref names nothing")
    return resolver.reference(value, place)


def _get_att(resolver: Resolving, value: Value, place: Place) -> Value:
    if isinstance(value, str):
        value = Items(value.split(".", 1))
    arguments = [resolver.resolve(each, place) for each in _arguments(value, name="Fn::GetAtt", number=2)]
    if not all(isinstance(each, str) for each in arguments):
        raise Unresolvable("Fn::GetAtt names nothing")
    return resolver.attribute(str(arguments[0]), ".".join(str(each) for each in arguments[1:]), place)


def _sub(resolver: Resolving, value: Value, place: Place) -> Value:
    text, variables = (value[0], value[1]) if isinstance(value, Items) and len(value) > 1 else (value, None)
    more = variables if isinstance(variables, Block) else Block()
    if not isinstance(text, str | Text):
        raise Unresolvable("Fn::Sub is not given a text")
    parts: list[str | Gap] = []
    for part in parts_of(text):
        parts += [part] if isinstance(part, Gap) else _filled(resolver, part, more, place)
    again = joined(parts)
    return resolver.resolve(again, place) if isinstance(again, str) and "{{resolve:" in again else again


def _filled(resolver: Resolving, text: str, more: Block, place: Place) -> list[str | Gap]:
    parts: list[str | Gap] = []
    end = 0
    for found in _IN_SUB.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        name = found["name"].strip()
        logical, dot, attribute = name.partition(".")
        if found["literal"]:
            parts.append(f"${{{found['name']}}}")
        elif name in more:
            parts += parts_of(text_of(resolver.resolve(more[name], place)))
        elif dot:
            parts += parts_of(resolver.attribute(logical, attribute, place))
        else:
            parts += parts_of(text_of(resolver.reference(name, place)))
    return [*parts, text[end:]]


def _join(resolver: Resolving, value: Value, place: Place) -> Value:
    arguments = _arguments(value, name="Fn::Join", number=2)
    delimiter = arguments[0]
    items = resolver.resolve(arguments[1], place)
    if not isinstance(delimiter, str) or not isinstance(items, Items):
        raise Unresolvable("Fn::Join is not given a text and a list that is known")
    parts: list[str | Gap] = []
    for number, each in enumerate(items):
        parts += ([delimiter] if number else []) + list(parts_of(text_of(each)))
    return joined(parts)


def _split(resolver: Resolving, value: Value, place: Place) -> Value:
    arguments = _arguments(value, name="Fn::Split", number=2)
    delimiter = arguments[0]
    text = text_of(resolver.resolve(arguments[1], place))
    if not isinstance(delimiter, str) or not delimiter:
        raise Unresolvable("Fn::Split is not given a text to cut at")
    pieces: list[list[str | Gap]] = [[]]
    for part in parts_of(text):
        if isinstance(part, Gap):
            if not part.word:
                raise Unresolvable(part.reason.partition(":")[0])
            pieces[-1].append(part)
            continue
        first, *others = part.split(delimiter)
        pieces[-1].append(first)
        pieces += [[other] for other in others]
    return Items([joined(piece) for piece in pieces])


def _select(resolver: Resolving, value: Value, place: Place) -> Value:
    arguments = _arguments(value, name="Fn::Select", number=2)
    index = str(resolver.resolve(arguments[0], place))
    items = resolver.resolve(arguments[1], place)
    if isinstance(items, Text):
        raise Unresolvable(items.gaps[0].reason.partition(":")[0])
    if not isinstance(items, Items) or not re.fullmatch("[0-9]{1,5}", index) or int(index) >= len(items):
        raise Unresolvable("Fn::Select does not name an item of a list that is known")
    return items[int(index)]


def _if(resolver: Resolving, value: Value, place: Place) -> Value:
    arguments = _arguments(value, name="Fn::If", number=3)
    holds = resolver.condition(arguments[0]) if isinstance(arguments[0], str) else None
    if holds is None:
        raise Unresolvable(f"whether the condition {arguments[0]} holds is not known")
    return resolver.resolve(arguments[1] if holds else arguments[2], place)


def _find_in_map(resolver: Resolving, value: Value, place: Place) -> Value:
    arguments = _arguments(value, name="Fn::FindInMap", number=3)
    names = [resolver.resolve(each, place) for each in arguments[:3]]
    if unknown := next((each for each in names if isinstance(each, Text)), None):
        raise Unresolvable(unknown.gaps[0].reason.partition(":")[0])
    first, second, third = (str(each) for each in names)
    found = resolver.template.block("Mappings").block(first).block(second).get(third)
    if found is None and len(arguments) > 3 and isinstance(more := arguments[3], Block):  # noqa: PLR2004  # a fourth
        return resolver.resolve(more.get("DefaultValue"), place)
    if found is None:
        raise Unresolvable(f"the mapping {first} has no {second}.{third}")
    return found


def _import_value(resolver: Resolving, value: Value, place: Place) -> Value:
    name = text_of(resolver.resolve(value, place))
    shown = "".join(part.reference if isinstance(part, Gap) else part for part in parts_of(name))
    reason = f"the export {shown} is another stack's: give its value, as `aws cloudformation list-exports` shows it"
    return resolver.gaps.make(f"export {shown}", shown, reason, place.line)


FUNCTIONS: Final[dict[str, Callable[[Resolving, Value, Place], Value]]] = {
    "Ref": _ref,
    "Fn::GetAtt": _get_att,
    "Fn::Sub": _sub,
    "Fn::Join": _join,
    "Fn::Split": _split,
    "Fn::Select": _select,
    "Fn::If": _if,
    "Fn::FindInMap": _find_in_map,
    "Fn::ImportValue": _import_value,
}
