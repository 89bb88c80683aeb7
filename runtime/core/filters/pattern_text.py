"""The JSON text of a pattern, read with the place of everything in it, and with keys that are given twice (FLT-59).

Only objects and lists are taken apart here; texts, numbers and words are read by `json`.
"""

import json
import re
from typing import Final, NoReturn

from msgspec import Struct

from runtime.core.filters.errors import FilterError

MAX_DEPTH: Final = 100
"""Objects and lists inside each other, and parts of a path. AWS names no limit; nothing that is meant comes near."""
_BLANKS: Final = re.compile(r"[ \t\n\r]*")
_EMPTY_PATTERN: Final = 'it is empty, but a pattern is a JSON object, as in {"body": {"kind": ["order"]}}'


class Literal(Struct, frozen=True):
    """A text, a number, `true`, `false` or `null`."""

    at: int
    """Characters from the beginning of the text."""
    value: str | float | bool | None


class Items(Struct, frozen=True):
    """A list."""

    at: int
    items: tuple["Node", ...]


class Member(Struct, frozen=True):
    """A key of an object, and its value."""

    at: int
    key: str
    node: "Node"


class Members(Struct, frozen=True):
    """An object; a key may be there several times."""

    at: int
    members: tuple[Member, ...]


Node = Literal | Items | Members


def read_pattern_text(text: str) -> Node:
    """Raises FilterError where the text is not JSON, with the place where it ceases to be."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._scalars = json.JSONDecoder(parse_constant=self._no_number)

    def read(self) -> Node:
        self._skip_blanks()
        if self._at == len(self._text):
            self._wrong(_EMPTY_PATTERN, 0)
        node = self._node(0)
        if self._at < len(self._text):
            self._wrong("something follows the end of the pattern: remove it")
        return node

    def _node(self, depth: int) -> Node:
        at, sign = self._at, self._text[self._at : self._at + 1]
        if depth > MAX_DEPTH and sign in ("{", "["):
            self._wrong(f"it is nested more than {MAX_DEPTH} deep")
        if sign == "{":
            node: Node = Members(at, self._members(depth))
        elif sign == "[":
            node = Items(at, self._items(depth))
        else:
            node = Literal(at, self._scalar())
        self._skip_blanks()
        return node

    def _members(self, depth: int) -> tuple[Member, ...]:
        members: list[Member] = []
        while self._goes_on("}", first=not members):
            at = self._at
            if self._text[at : at + 1] != '"':
                self._wrong('a key is expected here, in double quotes, as in "kind"')
            key = str(self._scalar())
            self._skip_blanks()
            if self._text[self._at : self._at + 1] != ":":
                self._wrong(f"a colon is expected after the key {key!r}")
            self._step()
            members.append(Member(at, key, self._node(depth + 1)))
        return tuple(members)

    def _items(self, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while self._goes_on("]", first=not items):
            items.append(self._node(depth + 1))
        return tuple(items)

    def _goes_on(self, end: str, *, first: bool) -> bool:
        """Step over the bracket or comma before the next item, or over the bracket that ends them."""
        sign = self._text[self._at : self._at + 1]
        if not first and sign == end:
            self._at += 1
            return False
        if not first and sign != ",":
            self._wrong(f"a comma or {end} is expected here")
        self._step()
        if first and self._text[self._at : self._at + 1] == end:
            self._at += 1
            return False
        return True

    def _scalar(self) -> str | float | bool | None:
        begin = self._at
        value: str | float | bool | None
        try:
            value, self._at = self._scalars.raw_decode(self._text, begin)
        except json.JSONDecodeError as error:
            if self._at == len(self._text):
                self._wrong("it ends too early: a bracket is not closed, or a value is missing")
            self._wrong(f"it is not JSON here ({error.msg})", error.pos)
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            self._wrong("the number is larger than any that can be compared", begin)
        return value

    def _no_number(self, word: str) -> NoReturn:
        self._wrong(f"{word} is no JSON")

    def _step(self) -> None:
        self._at += 1
        self._skip_blanks()

    def _skip_blanks(self) -> None:
        found = _BLANKS.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _wrong(self, explanation: str, at: int | None = None) -> NoReturn:
        raise FilterError(explanation, pattern=self._text, offset=self._at if at is None else at)
