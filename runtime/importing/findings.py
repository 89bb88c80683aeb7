"""What came of an import: what was carried over, what was not, what is to be looked at, and what is to be given."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from runtime.config.problems import Problem
from runtime.importing.values import Block, Gap, Items, Text, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionDraft:
    """A block of `functions`."""

    key: str
    line: int
    """Where it was found; 0 when it is of no file."""
    properties: Block
    origin: str = ""
    """What it was there; empty when the key says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingDraft:
    """A block of `mappings`."""

    line: int
    """Where it was found; 0 when it is of no file."""
    properties: Block
    origin: str
    """What it was there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What `esm.yaml` is to hold."""

    file: str
    """Where it comes from, in words."""
    functions: tuple[FunctionDraft, ...]
    mappings: tuple[MappingDraft, ...]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What is to be given, in the order of the file; each variable once."""
        found: dict[str, Gap] = {}
        for block in [each.properties for each in self.functions] + [each.properties for each in self.mappings]:
            for gap in _gaps(block):
                if gap.default is None:
                    found.setdefault(gap.name, gap)
        return tuple(found.values())


@dataclass(slots=True, kw_only=True)
class Findings:
    """Gathers what is found in one source."""

    file: str
    left_out: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    """What was carried over and deserves a look."""

    def leave_out(self, line: int, where: str, message: str) -> None:
        self.left_out.append(Problem(file=self.file, line=line, message=message, where=where))

    def note(self, line: int, where: str, message: str) -> None:
        self.notes.append(Problem(file=self.file, line=line, message=message, where=where))


def _gaps(value: Value) -> Iterator[Gap]:
    match value:
        case Text():
            yield from value.gaps
        case Block():
            for each in value.values():
                yield from _gaps(each)
        case Items():
            for each in value:
                yield from _gaps(each)
