"""Values of a template that know their lines. The short forms of functions (`!Ref x`) stand there in their long form.

A `Text` is text of which parts are not known; what is missing is a `Gap`, which has the name of an environment variable.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias


class NoValue(Enum):
    """The value of `AWS::NoValue`: the key that has it is not there."""

    NO_VALUE = "AWS::NoValue"


NO_VALUE: Final = NoValue.NO_VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A value, or a part of one, that only its user knows."""

    name: str
    """Of the environment variable that is to hold it."""
    reason: str
    """Why it is not known, and what to give."""
    line: int
    stand_in: str = ""
    """Something of that kind, with which the rest can be judged; empty when nothing is like it."""
    word: bool = False
    """It holds none of the signs at which texts are cut (`:`, `/`)."""
    default: str | None = None
    """What holds when it is not given; then nobody need give it."""

    @property
    def reference(self) -> str:
        """As `esm.yaml` writes it."""
        return f"${{{self.name}}}" if self.default is None else f"${{{self.name}:-{self.default}}}"


@dataclass(frozen=True, slots=True)
class Text:
    """Literal parts and gaps; one gap at least."""

    parts: tuple[str | Gap, ...]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return tuple(part for part in self.parts if isinstance(part, Gap))


Value: TypeAlias = "bool | int | float | str | Text | NoValue | Items | Block | None"


class Items(list[Value]):
    """A list of the template."""

    def __init__(self, values: "Iterable[Value]" = (), lines: tuple[int, ...] = ()) -> None:
        super().__init__(values)
        self.lines = lines

    def line(self, index: int, otherwise: int) -> int:
        return self.lines[index] if index < len(self.lines) else otherwise


class Block(dict[str, Value]):
    """Keys and values of the template."""

    def __init__(self, values: dict[str, Value] | None = None, lines: dict[str, int] | None = None) -> None:
        super().__init__(values or {})
        self.lines = lines or {}

    def line(self, key: str, otherwise: int) -> int:
        """The line where a key stands, counted from 1; `otherwise` when it came from elsewhere."""
        return self.lines.get(key, otherwise)

    def block(self, key: str) -> "Block":
        """The block below a key; an empty one when there is none."""
        found = self.get(key)
        return found if isinstance(found, Block) else Block()

    def put(self, key: str, value: Value, line: int) -> None:
        self[key] = value
        self.lines[key] = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value stands, for findings and for the names of gaps."""

    line: int
    what: str
    """`OrdersFunction.Timeout`."""

    def inner(self, key: str, line: int) -> "Place":
        return Place(line=line, what=f"{self.what}.{key}")


def located(value: object, line: int) -> Value:
    """A plain value (JSON) as one of a template, all on one line. What is located already is kept as it is."""
    match value:
        case Block() | Items() | Text() | NoValue():
            return value
        case dict():
            return Block({str(key): located(each, line) for key, each in value.items()}, {str(key): line for key in value})
        case list() | tuple():
            return Items([located(each, line) for each in value], (line,) * len(value))
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def joined(parts: Iterable[str | Gap]) -> str | Text:
    """Text without seams; a plain one when there is no gap."""
    merged: list[str | Gap] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    if any(isinstance(part, Gap) for part in merged):
        return Text(tuple(merged))
    return "".join(part for part in merged if isinstance(part, str))


def parts_of(value: str | Text) -> tuple[str | Gap, ...]:
    return value.parts if isinstance(value, Text) else (value,)


def stand_in(value: Value) -> str:
    """Text with every gap filled by something of its kind; empty for what is no text, or where nothing is like it."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Text) or not all(gap.stand_in for gap in value.gaps):
        return ""
    return "".join(part.stand_in if isinstance(part, Gap) else part for part in value.parts)
