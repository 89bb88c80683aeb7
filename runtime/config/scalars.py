"""What a scalar of the file means where a certain type is asked for.

The type decides, not YAML's guess. Where a number is asked for, plain decimal digits are one and nothing else is. Where text is
asked for, an unquoted word that YAML 1.1 or 1.2 takes for something else (`on`, `012345678901`, `12:30`) is refused with the
advice to quote it, unless an environment variable put it there: those are always text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml
from msgspec import inspect

from runtime.config.document import PLAIN, QUOTED
from runtime.config.expansion import ExpansionError, expand
from runtime.config.problems import shown, suggestion

_TAG: Final = "tag:yaml.org,2002:"
_YAML_1_1: Final = yaml.resolver.Resolver()
_READ_AS: Final = {"int": "a number", "float": "a number", "bool": "true or false", "null": "nothing", "timestamp": "a date"}
_TRUE: Final = frozenset({"true", "yes", "on"})
_FALSE: Final = frozenset({"false", "no", "off"})
_DIGITS: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
_FRACTION: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?")
_YAML_1_2_NUMBER: Final = re.compile(
    r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
)
"""PyYAML knows YAML 1.1, where `012345678901` and `1e3` are text; a file is to mean one thing to all readers."""
_UNUSABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""What YAML escapes can write but neither an environment variable nor a path can hold."""


class Wrong(Exception):
    """A value is not what its key asks for; the text is what the user reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A scalar as it stands in the file, references replaced."""

    text: str
    meaning: str
    """What YAML takes it for: `str` when quoted, else `str` or a key of `_READ_AS`."""
    quoted: bool = False
    expanded: bool = False
    """An environment variable (or its default) is in it."""


def read_scalar(node: yaml.Node, environ: Mapping[str, str], name: str) -> Scalar:
    """The scalar behind a node. Raises `Wrong`, with a message that never shows the value: it may be a secret."""
    if not isinstance(node, yaml.ScalarNode):
        raise Wrong(f"{name} is {shape_of(node)}, but it must be a single value")
    try:
        text = expand(node.value, environ)
    except ExpansionError as fault:
        raise Wrong(f"{name}: {fault}") from fault
    if _UNUSABLE.search(text):
        raise Wrong(f"{name} holds a NUL or half a surrogate pair: remove it")
    meaning = _meaning(node, text)
    if meaning is None:
        raise Wrong(f"{name} has the tag {shown(node.tag)}, which has no meaning here: remove it")
    expanded = text != node.value
    if meaning == "null" and not expanded:
        raise Wrong(f"{name} has no value: give it one, or remove the key")
    return Scalar(text=text, meaning=meaning, quoted=node.tag == QUOTED, expanded=expanded)


def read_key(node: yaml.Node) -> str:
    """The key behind a node. Raises `Wrong`."""
    if not isinstance(node, yaml.ScalarNode):
        raise Wrong(f"{shape_of(node)} stands as a key here, but a key must be text")
    text, meaning = shown(node.value), _meaning(node, node.value)
    if meaning is None:
        raise Wrong(f"the key {text} has the tag {shown(node.tag)}, which has no meaning here: remove it")
    if meaning in _READ_AS:
        raise Wrong(f'the key {text} is what YAML reads as {_READ_AS[meaning]}: put it in quotes, "{text}"')
    if _UNUSABLE.search(node.value):
        raise Wrong(f"the key {text} holds a NUL or half a surrogate pair: remove it")
    return str(node.value)


def is_nothing(node: yaml.Node) -> bool:
    """A key whose value is left out, or `null`."""
    return isinstance(node, yaml.ScalarNode) and _meaning(node, node.value) == "null"


def shape_of(node: yaml.Node) -> str:
    match node:
        case yaml.SequenceNode():
            return "a list"
        case yaml.MappingNode():
            return "a block of keys"
        case _:
            return "a single value"


def examples(extra: Mapping[str, Any]) -> str:
    """`, as in X or Y`, from the examples of a schema field; nothing when it has none."""
    found = extra.get("examples")
    return f", as in {' or '.join(found)}" if found else ""


def typed(scalar: Scalar, kind: inspect.Type, path: tuple[str, ...], extra: Mapping[str, Any]) -> Any:
    """The scalar as the type asks for it. `extra` is the description of the field. Raises `Wrong`."""
    name = ".".join(path)
    match kind:
        case inspect.IntType():
            return _integer(scalar, kind, path, extra)
        case inspect.FloatType():
            return _number(scalar, kind, name)
        case inspect.BoolType():
            return _boolean(scalar, name)
        case inspect.StrType():
            # The shape first: quotes are no good advice for what is wrong in quotes too.
            checked_text(scalar.text, kind, f"{name} is {shown(scalar.text)!r}, but it", name, extra)
            return _text(scalar, name)
        case inspect.LiteralType(values=values):
            return _literal(_text(scalar, name), [str(value) for value in values], name, extra)
        case inspect.UnionType():
            return scalar.text  # `Text` of the schema, and times: whatever stands there, as text
        case _:
            raise TypeError(f"the schema uses {kind}, which no file is checked against")


def checked_text(text: str, kind: inspect.StrType, subject: str, name: str, extra: Mapping[str, Any]) -> str:
    """The text, if its length and its shape are those of the type. Raises `Wrong`."""
    if text == "" and kind.min_length:
        raise Wrong(f"{name} is empty: give it a value{examples(extra)}")
    if kind.max_length is not None and len(text) > kind.max_length:
        raise Wrong(f"{name} is {len(text)} characters long, but {kind.max_length} is the most: shorten it")
    if kind.pattern is not None and not re.fullmatch(kind.pattern, text):
        raise Wrong(f"{subject} must {extra['must']}{examples(extra)}")
    return text


def _meaning(node: yaml.ScalarNode, text: str) -> str | None:
    """The last word of the tag; None when it is not one of YAML's own scalar tags."""
    if node.tag == QUOTED:
        return "str"
    if node.tag == PLAIN:
        if _YAML_1_2_NUMBER.fullmatch(text):
            return "int"
        tag = _YAML_1_1.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # untyped in the stubs
        word = str(tag).removeprefix(_TAG)
        return word if word in _READ_AS else "str"  # `=` and `<<` have words of their own
    word = str(node.tag).removeprefix(_TAG)
    return word if word == "str" or word in _READ_AS else None


def _text(scalar: Scalar, name: str) -> str:
    if scalar.meaning in _READ_AS and not scalar.expanded:
        text = shown(scalar.text)
        raise Wrong(f'{name} is {text}, which YAML reads as {_READ_AS[scalar.meaning]}: put it in quotes, "{text}"')
    return scalar.text


def _integer(scalar: Scalar, kind: inspect.IntType, path: tuple[str, ...], extra: Mapping[str, Any]) -> int:
    name = ".".join(path)
    if not _DIGITS.fullmatch(scalar.text):
        raise Wrong(f"{name} is {shown(scalar.text)!r}, but it must be a whole number in plain digits, as in 10")
    _unquoted(scalar, name)
    number, low, high = int(scalar.text), kind.ge, kind.le
    if low is not None and number < low:
        constraint = f"greater than or equal to {low}"
    elif high is not None and number > high:
        constraint = f"less than or equal to {high}"
    else:
        return number
    allowed = extra.get("range") or (f"at least {low}" if high is None else f"{low} to {high}")
    message = f"{name} is {number}, but it must be {allowed}"
    if "aws" in extra:
        message += f" (AWS: {extra['aws']})"
    elif path[0][:1].isupper():  # a key of AWS's, so with AWS's text (API-3A)
        member = ".".join(part[:1].lower() + part[1:] for part in path)
        message += (
            f" (AWS: 1 validation error detected: Value '{number}' at '{member}' failed to satisfy constraint: "
            f"Member must have value {constraint})"
        )
    raise Wrong(message)


def _number(scalar: Scalar, kind: inspect.FloatType, name: str) -> float:
    if not _FRACTION.fullmatch(scalar.text):
        raise Wrong(f"{name} is {shown(scalar.text)!r}, but it must be a number in plain digits, as in 0.5")
    _unquoted(scalar, name)
    number, above, low, high = float(scalar.text), kind.gt, kind.ge, kind.le
    if (above is not None and number <= above) or (low is not None and number < low) or (high is not None and number > high):
        allowed = f"more than {above:g} and at most {high:g}" if above is not None else f"{low:g} to {high:g}"
        raise Wrong(f"{name} is {scalar.text}, but it must be {allowed}")
    return number


def _unquoted(scalar: Scalar, name: str) -> None:
    if not scalar.expanded and (scalar.quoted or scalar.meaning == "str"):  # inside { } YAML wants quotes around ${NAME}
        raise Wrong(f'{name} is the text "{scalar.text}", but it must be a number: remove the quotes')


def _boolean(scalar: Scalar, name: str) -> bool:
    word = scalar.text.lower()
    if word not in _TRUE | _FALSE:
        raise Wrong(f"{name} is {shown(scalar.text)!r}, but it must be true or false")
    if scalar.quoted and not scalar.expanded:
        raise Wrong(f'{name} is the text "{scalar.text}", but it must be true or false: remove the quotes')
    return word in _TRUE


def _literal(text: str, values: list[str], name: str, extra: Mapping[str, Any]) -> str:
    if text in values:
        return text
    advice = suggestion(text, values) or f" it must be {' or '.join(values)}"
    said = f" (AWS: {extra['aws'].replace('{value}', shown(text))})" if "aws" in extra else ""
    raise Wrong(f"{name} is {shown(text)!r}:{advice}{said}")
