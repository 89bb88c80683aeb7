"""From a template's file, YAML or JSON, to values that know their lines.

Numbers and booleans are what CloudFormation takes for them, and every other word is the text that stands there: account
`012345678901` keeps its zero, a version `2010-09-09` is no date.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from runtime.config.document import PLAIN, QUOTED, Dialect, read_document
from runtime.config.nodes import line_of
from runtime.config.problems import ConfigError, Problem, shown
from runtime.importing.values import Block, Items, Value

_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
_FRACTION: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,15})\.[0-9]{1,15}")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
_LARGEST: Final = 2_000_000
"""Values, aliases followed: a few lines of them can name a billion."""
_PAIR: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
"""How JSON writes a character beyond 16 bits, which libyaml does not take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that was read."""

    file: str
    """As the user named it."""
    root: Block
    notes: tuple[Problem, ...]
    """What is odd about it, but can be read."""


def read_source(path: Path) -> Source:
    """Read a template. Raises `ConfigError` when it cannot be read, or when it is no block of keys."""
    root, problems = read_document(path, _TEMPLATE)
    if root is None or problems:
        raise ConfigError(problems)
    loading = _Loading(file=str(path))
    try:
        value = loading.value(root)
    except RecursionError:
        loading.fail(line_of(root), "the file is nested too deeply to be read, or an alias names what it stands in")
        raise ConfigError(loading.problems) from None
    if loading.size(root) > _LARGEST:
        loading.fail(1, f"with its aliases the file holds more than {_LARGEST:,} values: write fewer")
    if not isinstance(value, Block):
        loading.fail(line_of(root), "the file is no block of keys and values, so it is no template")
    if loading.problems or not isinstance(value, Block):
        raise ConfigError(loading.problems)
    return Source(file=str(path), root=value, notes=tuple(loading.notes))


def _yaml_of_json(text: str) -> str:
    """JSON is YAML but for two things: it may be indented with tabs, and writes some characters as two escapes."""
    if not text.lstrip().startswith("{") or not ("\t" in text or _PAIR.search(text)):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _PAIR.sub(_joined, text.replace("\t", " "))  # inside of JSON's texts there are no tabs


def _joined(found: re.Match[str]) -> str:
    units = b"".join(int(unit, 16).to_bytes(2, "big") for unit in (found[2], found[3]))
    return found[1] + units.decode("utf-16-be")


_TEMPLATE: Final = Dialect(
    needs="`Resources`, or the `functions` of a serverless.yml",
    missing="name a template",
    example="template.yaml",
    prepare=_yaml_of_json,
    large=True,
)


@dataclass(slots=True, kw_only=True)
class _Loading:
    file: str
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    done: dict[yaml.Node, Value] = field(default_factory=dict)
    """Each node is read once, however many aliases name it."""
    sizes: dict[yaml.Node, int] = field(default_factory=dict)

    def fail(self, line: int, message: str) -> None:
        self.problems.append(Problem(file=self.file, line=line, message=message))

    def size(self, node: yaml.Node) -> int:
        """How many values there are below a node when every alias is followed."""
        if node not in self.sizes:
            inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
            self.sizes[node] = 1 + (0 if isinstance(node, yaml.ScalarNode) else sum(self.size(each) for each in inner))
        return self.sizes[node]

    def value(self, node: yaml.Node) -> Value:
        if node not in self.done:
            bare = self.bare(node)
            self.done[node] = self.function(node, bare) if node.tag.startswith("!") else bare
        return self.done[node]

    def bare(self, node: yaml.Node) -> Value:
        match node:
            case yaml.MappingNode():
                return self.block(node)
            case yaml.SequenceNode():
                return Items([self.value(each) for each in node.value], tuple(line_of(each) for each in node.value))
            case _:
                return _scalar(node)

    def block(self, node: yaml.MappingNode) -> Block:
        own, inherited = Block(), Block()
        for key_node, value_node in node.value:
            line = line_of(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.fail(line, "a list or a block stands as a key here, but a key must be text")
            elif key_node.value == "<<" and key_node.tag == PLAIN:
                self.merge(value_node, line, inherited)
            else:
                if key_node.value in own:
                    text = f"the key {shown(key_node.value)} is given twice, first on line {own.lines[key_node.value]}"
                    self.notes.append(Problem(file=self.file, line=line, message=f"{text}: this one counts"))
                own[key_node.value] = self.value(value_node)
                own.lines[key_node.value] = line
        return Block({**inherited, **own}, {**inherited.lines, **own.lines})

    def merge(self, node: yaml.Node, line: int, inherited: Block) -> None:
        """Of several blocks, the first that has a key gives it."""
        value = self.value(node)
        for each in value if isinstance(value, Items) else [value]:
            if not isinstance(each, Block):
                self.fail(line, "<< must name a block of keys and values, as in <<: *defaults")
                continue
            for key, inner in each.items():
                if key not in inherited:
                    inherited[key] = inner
                    inherited.lines[key] = each.line(key, line)

    def function(self, node: yaml.Node, argument: Value) -> Value:
        """`!Ref x` and its like in their long form."""
        name = node.tag.removeprefix("!")
        if name == "GetAtt" and isinstance(argument, str):
            logical, _, attribute = argument.partition(".")
            argument = Items([logical, attribute], (line_of(node),) * 2)
        long = name if name in ("Ref", "Condition") else f"Fn::{name}"
        return Block({long: argument}, {long: line_of(node)})


def _scalar(node: yaml.Node) -> Value:
    text = str(node.value)
    if node.tag != PLAIN or node.tag == QUOTED:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FRACTION.fullmatch(text) else text
