"""From a file to YAML nodes, which know their lines. What YAML itself refuses becomes a `Problem` here.

PyYAML composes but does not construct: it would read `on` as true, `012` as ten and `12:30` as 750 (YAML 1.1). Scalars keep
their text, and `scalars` gives it the meaning that the key asks for.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import yaml

from runtime.config.problems import Problem, shown

PLAIN: Final = "plain"
"""The tag of a scalar without quotes and without a tag of its own."""
QUOTED: Final = "quoted"


def _kept(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What kind of file is read, for the words of problems and the way to read it."""

    needs: str
    """What must be in it."""
    missing: str
    """What to do when there is no such file."""
    example: str
    """A name for one."""
    prepare: Callable[[str], str] = _kept
    """Told the text beforehand."""
    large: bool = False
    """It may have a hundred thousand lines: read by libyaml where it is there, at a quarter of the time."""


ESM: Final = Dialect(needs="`functions` and `mappings`", missing="create it, or name another with -c", example="esm.yaml")


class _Marking:
    """Marks how a scalar was written instead of guessing its type. Tags that the file gives stay."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return PLAIN if implicit[0] else QUOTED
        return str(super().resolve(kind, value, implicit))  # type: ignore[misc]  # that of the loader beside it


class _Composer(_Marking, yaml.SafeLoader):
    """PyYAML's own, whose texts for what is wrong the problems of `esm.yaml` hold."""


_LargeComposer: Final[Any] = type("_LargeComposer", (_Marking, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), {})


def read_document(path: Path, dialect: Dialect = ESM) -> tuple[yaml.Node | None, list[Problem]]:
    """The one document of the file, or None with the problem that says why there is none. Raises nothing."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the path
        return None, [Problem(file=str(path), line=1, message=_unreadable(path, fault, dialect))]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        return None, [Problem(file=str(path), line=line, message="the file is not UTF-8 text: save it as UTF-8")]
    return compose(dialect.prepare(text), str(path), dialect)


def _unreadable(path: Path, fault: OSError | ValueError, dialect: Dialect) -> str:
    match fault:
        case FileNotFoundError():
            return f"there is no such file: {dialect.missing}"
        case IsADirectoryError():
            return f"this is a folder, not a file: name the file in it, as in {path / dialect.example}"
        case OSError():
            return f"the file cannot be read: {fault.strerror or fault}"
        case _:
            return f"the file cannot be read: {fault}"


def compose(text: str, file: str, dialect: Dialect = ESM) -> tuple[yaml.Node | None, list[Problem]]:
    """The same for a text."""
    try:
        return _single_document(text, file, dialect)
    except yaml.MarkedYAMLError as fault:
        problem = _syntax_problem(fault, text, file)
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, fault.position) + 1
        sign = fault.character if isinstance(fault.character, int) else ord(fault.character[:1] or "?")
        message = f"the character {chr(sign)!a} is not allowed in YAML: remove it"
        problem = Problem(file=file, line=line, message=message)
    except RecursionError:
        problem = Problem(file=file, line=1, message="the file is nested too deeply to be read")
    except (ValueError, OverflowError) as fault:
        # The scanner lets the errors of chr() and int() out, for an escape like "\UFFFFFFFF" or a long version in %YAML.
        problem = Problem(file=file, line=1, message=f"the file holds an escape or a number that YAML cannot read: {fault}")
    return None, [problem]


def _single_document(text: str, file: str, dialect: Dialect) -> tuple[yaml.Node | None, list[Problem]]:
    composer = _LargeComposer(text) if dialect.large and not _deep(text) else _Composer(text)
    root = composer.get_node() if composer.check_node() else None
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == PLAIN and root.value == ""):
        return None, [Problem(file=file, line=1, message=f"the file is empty: it needs {dialect.needs}")]
    if not composer.check_node():
        return root, []
    second = composer.get_node()
    line = _line_of(second) if second else 1
    message = "a second document starts here: a file holds one configuration, so put it into a file of its own"
    return root, [Problem(file=file, line=line, message=message)]


_DEEPEST: Final = 200
"""libyaml's reader has no bound of its own, and ends the process where its stack does."""
_BRACKETS: Final = re.compile(r"[\[\]{}]")
_INDENT: Final = re.compile(rf"^(?:[ ]{{{_DEEPEST},}}|[ ]*(?:[-?:][ \t]+){{50,}})", re.MULTILINE)


def _deep(text: str) -> bool:
    """Whether the text may be nested deeply. Brackets inside of texts count too: those files are read the slow way."""
    steps = (1 if sign in "[{" else -1 for sign in _BRACKETS.findall(text))
    lowest = highest = 0
    for depth in accumulate(steps):
        lowest = min(lowest, depth)
        highest = max(highest, depth - lowest)
    return highest > _DEEPEST or _INDENT.search(text) is not None


def _line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax_problem(fault: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = fault.problem_mark or fault.context_mark
    lines = text.splitlines()
    number = min(mark.line + 1 if mark else 1, max(len(lines), 1))
    line = lines[number - 1] if lines else ""
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent or "'\\t'" in (fault.problem or ""):
        message = "a tab stands where YAML allows only blanks: indent with blanks"
    else:
        said = ", ".join(part for part in (fault.context, fault.problem) if part)
        message = f"this is not YAML: {shown(said)}"
        if "${" in line:
            message += " (inside { } and [ ] a ${NAME} needs quotes, or the block needs lines of its own)"
        elif line.lstrip().startswith("http:"):
            message += ' (an IPv6 address needs quotes: "[::1]:9090")'
    return Problem(file=file, line=number, message=message)
