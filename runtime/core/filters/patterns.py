"""A pattern as alternatives: each a set of paths with what is wanted there, all of which must match together.

`$or` makes alternatives, everything around it belongs to each of them (FLT-50). Paths are keys joined with "." (FLT-58). Keys are
taken in the order of the text: objects under one key merge, and of one path given twice the last counts (FLT-59).
"""

from collections.abc import Mapping
from typing import Final, Protocol

from runtime.core.filters.errors import FilterError
from runtime.core.filters.operators import OPERATORS, Field, read_field, shown
from runtime.core.filters.pattern_text import MAX_DEPTH, Items, Member, Members, read_pattern_text

MAX_LENGTH: Final = 4096
"""Characters of a pattern (FLT-01)."""
MAX_ALTERNATIVES: Final = 1000
"""That the `$or` of a pattern make together; as in EventBridge."""
_OR: Final = "$or"
_RESERVED: Final = frozenset({*OPERATORS, "exactly", "regex", "=", "<", "<=", ">", ">="})

Fields = Mapping[str, Field]
"""By path."""


class DataRule(Protocol):
    """What the patterns of a source may ask of the data of its records (FLT-10, FLT-20, FLT-21)."""

    @property
    def key(self) -> str:
        """The key that the data has in a pattern: `body`, `data`, `dynamodb`."""
        ...

    @property
    def plain_text(self) -> bool:
        """The data may be a plain text, and a pattern a list of what that may be."""
        ...


def read_pattern(text: str, data: DataRule | None) -> tuple[Fields, ...]:
    """Its alternatives. Raises FilterError."""
    if len(text) > MAX_LENGTH:
        raise FilterError(f"it has {len(text)} characters, but {MAX_LENGTH} are the most", pattern=text, offset=MAX_LENGTH)
    node = read_pattern_text(text)
    if not isinstance(node, Members):
        explanation = 'a pattern is a JSON object, as in {"body": {"kind": ["order"]}}'
        raise FilterError(explanation, pattern=text, offset=node.at)
    return tuple(_Reading(text, data).alternatives(node))


class _Reading:
    def __init__(self, text: str, data: DataRule | None) -> None:
        self._text = text
        self._data = data
        self._found: list[dict[str, Field]] = [{}]

    def alternatives(self, node: Members) -> list[dict[str, Field]]:
        self._object(node, (), inside_or=False)
        return self._found

    def _object(self, node: Members, path: tuple[str, ...], *, inside_or: bool) -> None:
        if not node.members:
            raise self._fault(node.at, "an empty object, which AWS refuses: name a field in it, or remove it", path)
        for member in node.members:
            inner = (*path, member.key)
            if member.key == _OR:
                self._or(member, path)
            elif inside_or and member.key in _RESERVED:
                raise self._fault(
                    member.at, f"{member.key} is the name of an operator, and no field inside $or may be called so", inner
                )
            else:
                self._member(member, inner, inside_or=inside_or)

    def _member(self, member: Member, path: tuple[str, ...], *, inside_or: bool) -> None:
        match member.node:
            case Members():
                self._object(member.node, path, inside_or=inside_or)
            case Items():
                self._leaf(member.node, path)
            case _:
                advice = f"the values that a field may have stand in a list, as in [{shown(member.node.value)}]"
                raise self._fault(member.node.at, advice, path)

    def _leaf(self, node: Items, path: tuple[str, ...]) -> None:
        joined = ".".join(path)
        if not node.items:
            raise self._fault(node.at, "an empty list, which nothing could match: put the values into it", path)
        if joined.count(".") >= MAX_DEPTH:
            raise self._fault(node.at, f"the path has more than {MAX_DEPTH} parts", path)
        if self._data and joined == self._data.key and not self._data.plain_text:
            advice = f'an object with its fields is needed here, as in {{"{joined}": {{"kind": ["order"]}}}}'
            raise self._fault(node.at, f"the records of this source hold JSON, and no plain text: {advice}", path)
        field = read_field(node, pattern=self._text, path=joined)
        for fields in self._found:
            fields[joined] = field

    def _or(self, member: Member, path: tuple[str, ...]) -> None:
        shape = "$or takes a list of at least two objects, of which one must match"
        if not isinstance(member.node, Items) or len(member.node.items) < 2:  # noqa: PLR2004  # the rule's own number
            raise self._fault(member.node.at, shape, (*path, _OR))
        before, ways = self._found, []
        for item in member.node.items:
            if not isinstance(item, Members):
                raise self._fault(item.at, shape, (*path, _OR))
            self._found = [dict(fields) for fields in before]
            self._object(item, path, inside_or=True)
            ways += self._found
            if len(ways) > MAX_ALTERNATIVES:
                raise self._fault(
                    member.at, f"the $or of this pattern make more than {MAX_ALTERNATIVES} alternatives together", path
                )
        self._found = ways

    def _fault(self, at: int, explanation: str, path: tuple[str, ...]) -> FilterError:
        return FilterError(explanation, pattern=self._text, offset=at, path=".".join(path))
