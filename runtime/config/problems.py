"""What is wrong with a configuration file, in the words that its author reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from handlers.invoker import FunctionSpec

_SHOWN: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong (or, among the warnings, without effect), and what to do about it."""

    file: str
    """The file's name as the user gave it."""
    line: int
    """Counted from 1."""
    message: str
    where: str = ""
    """The part of the file (`mapping orders`); empty for the file as a whole."""

    def __str__(self) -> str:
        """One printable line, whatever the file holds: names in it may have line breaks and terminal escapes."""
        place = f"{self.file}:{self.line}"
        return _printable(f"{self.where} ({place}): {self.message}" if self.where else f"{place}: {self.message}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What it takes to import the handlers of a file."""

    file: str
    functions: Mapping[str, FunctionSpec]
    lines: Mapping[str, int]
    """Name of a function -> where its `Handler` stands."""
    environment: Mapping[str, str]
    """To be set beforehand."""


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds everything that is wrong with it, by line; never empty."""

    def __init__(self, problems: Sequence[Problem], handlers: "Handlers | None" = None) -> None:
        """`handlers`: what can be imported all the same, to find what is wrong there too."""
        self.problems = tuple(problems)
        self.handlers = handlers
        super().__init__("\n".join(str(problem) for problem in self.problems))


def in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """By line, then as found; what was found twice (through an alias, say) is there once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.line))


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def shown(text: str) -> str:
    """A value of the file on one line, cut when it is long."""
    clean = _printable(text)
    return clean if len(clean) <= _SHOWN else f"{clean[:_SHOWN]}..."


def suggestion(word: str, known: Sequence[str]) -> str:
    """`did you mean X?` with a blank before it, or nothing. Case does not count: `batchSize` is close to `BatchSize`."""
    folded = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), folded, n=1)
    return f" did you mean {folded[near[0]]}?" if near else ""
