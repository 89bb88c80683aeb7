"""The words of DynamoDB's expressions, and a reader that puts in what `#name` and `:value` stand for.

The reader knows which placeholders were used: DynamoDB refuses a request that gives others.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from runtime.local.dynamodb.refusals import invalid, serialization
from runtime.local.dynamodb.values import Value, read_value

Path = tuple[str | int, ...]
"""An attribute, and where in it: names of map members, indexes of lists."""

_TOKEN: Final = re.compile(r"\s*(<=|>=|<>|[=<>+\-(),.\[\]]|[#:]?[A-Za-z0-9_]+)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Placeholders:
    """ExpressionAttributeNames and ExpressionAttributeValues of one request."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._names: dict[str, Any] = _given(request, "ExpressionAttributeNames")
        self._values = {name: read_value(value) for name, value in _given(request, "ExpressionAttributeValues").items()}
        self._used: set[str] = set()

    def name(self, placeholder: str, kind: str) -> str:
        found = self._names.get(placeholder)
        if not isinstance(found, str) or not found:
            message = f"An expression attribute name used in the document path is not defined; attribute name: {placeholder}"
            raise invalid(f"Invalid {kind}: {message}")
        self._used.add(placeholder)
        return found

    def value(self, placeholder: str, kind: str) -> Value:
        if placeholder not in self._values:
            message = f"An expression attribute value used in expression is not defined; attribute value: {placeholder}"
            raise invalid(f"Invalid {kind}: {message}")
        self._used.add(placeholder)
        return self._values[placeholder]

    def check_all_used(self) -> None:
        """Call it after the last expression was read."""
        for parameter, given in (("ExpressionAttributeNames", self._names), ("ExpressionAttributeValues", self._values)):
            unused = [name for name in given if name not in self._used]
            if unused:
                raise invalid(f"Value provided in {parameter} unused in expressions: keys: {{{', '.join(unused)}}}")


class Reader:
    """Reads one expression from its start to its end. `kind` is its parameter, for messages."""

    def __init__(self, text: str, kind: str, placeholders: Placeholders) -> None:
        self._tokens = _tokens(text, kind)
        self._at = 0
        self._kind = kind
        self._placeholders = placeholders

    def peek(self) -> str:
        """The next token, "" at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def peek_second(self) -> str:
        return self._tokens[self._at + 1] if self._at + 1 < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def take_if(self, *words: str) -> str:
        """The next token if it is one of these, in any case; else ""."""
        return self.take() if self.peek().upper() in words else ""

    def expect(self, token: str) -> None:
        if self.take_if(token) == "":
            raise self.error()

    def error(self) -> Exception:
        """For a token that cannot stand where it stands."""
        token = self.peek()
        shown = f'Syntax error; token: "{token}"' if token else "Syntax error; the expression ends too early"
        return invalid(f"Invalid {self._kind}: {shown} (or something that this endpoint does not support)")

    def invalid(self, message: str) -> Exception:
        return invalid(f"Invalid {self._kind}: {message}")

    def is_value(self) -> bool:
        return self.peek().startswith(":")

    def value(self) -> Value:
        if not self.is_value():
            raise self.error()
        return self._placeholders.value(self.take(), self._kind)

    def path(self) -> Path:
        steps: list[str | int] = [self._name()]
        while self.peek() in (".", "["):
            if self.take() == ".":
                steps.append(self._name())
                continue
            if not self.peek().isdecimal():
                raise self.error()
            steps.append(int(self.take()))
            self.expect("]")
        return tuple(steps)

    def _name(self) -> str:
        token = self.peek()
        if token.startswith("#"):
            return self._placeholders.name(self.take(), self._kind)
        if _NAME.fullmatch(token) is None:
            raise self.error()
        return self.take()


def _tokens(text: str, kind: str) -> list[str]:
    if not text.strip():
        raise invalid(f"Invalid {kind}: The expression can not be empty;")
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None:
            raise invalid(f'Invalid {kind}: Syntax error; token: "{text[at:].strip()[0]}"')
        found.append(token[1])
        at = token.end()
    return found


def _given(request: Mapping[str, Any], parameter: str) -> dict[str, Any]:
    found = request.get(parameter)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise serialization(f"{parameter} must be a map")
    if not found:
        raise invalid(f"{parameter} must not be empty")
    return found


def look_up(item: Mapping[str, Value], path: Path) -> Value | None:
    """What stands at a path of an item; None if there is nothing."""
    found: Value | None = item.get(str(path[0]))
    for step in path[1:]:
        if found is None:
            return None
        if isinstance(step, int):
            parts = found.get("L", [])
            found = parts[step] if step < len(parts) else None
        else:
            found = found.get("M", {}).get(step)
    return found
