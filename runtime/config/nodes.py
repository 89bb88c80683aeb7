"""Blocks and lists of the file: keys with their lines, merge keys followed, and the report that gathers what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import yaml

from runtime.config.document import PLAIN
from runtime.config.problems import Problem, shown
from runtime.config.scalars import Wrong, is_nothing, read_key, shape_of

_BLOCK_TAG: Final = "tag:yaml.org,2002:map"
_LIST_TAG: Final = "tag:yaml.org,2002:seq"


@dataclass(slots=True, kw_only=True)
class Report:
    """Gathers what is found in one file."""

    file: str
    environ: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def problem(self, line: int, message: str, where: str = "") -> None:
        self.problems.append(Problem(file=self.file, line=line, message=message, where=where))

    def warning(self, line: int, message: str, where: str = "") -> None:
        self.warnings.append(Problem(file=self.file, line=line, message=message, where=where))

    def part(self) -> "Report":
        """An empty report on the same file, for a part that gets its name while it is read."""
        return Report(file=self.file, environ=self.environ)

    def take(self, part: "Report", where: str) -> None:
        """Take over the problems of a part whose name is known now."""
        self.problems.extend(replace(problem, where=where) for problem in part.problems)

    def take_warnings(self, part: "Report", where: str) -> None:
        """The same for its warnings."""
        self.warnings.extend(replace(warning, where=where) for warning in part.warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value and the line where a reader looks for it: that of its key, or of the item of a list."""

    node: yaml.Node
    line: int


def line_of(node: yaml.Node) -> int:
    """Counted from 1."""
    return int(node.start_mark.line) + 1


def read_entries(report: Report, entry: Entry, name: str, where: str = "") -> dict[str, Entry] | None:
    """Keys and values of a block; None, with a problem, when it is none.

    A value that is left out stands for an empty block: one whose lines are all commented out.
    """
    if is_nothing(entry.node):
        return {}
    if not isinstance(entry.node, yaml.MappingNode):
        message = f"{name} is {shape_of(entry.node)}, but it must be a block of keys and values"
    elif entry.node.tag != _BLOCK_TAG:
        message = f"{name} has the tag {shown(entry.node.tag)}, which has no meaning here: remove it"
    else:
        return _Merge(report=report, where=where).block(entry.node, ())
    report.problem(entry.line, message, where)
    return None


def read_items(report: Report, entry: Entry, name: str, where: str = "") -> list[Entry] | None:
    """Items of a list; None, with a problem, when it is none."""
    node = entry.node
    if isinstance(node, yaml.SequenceNode) and node.tag == _LIST_TAG:
        return [Entry(node=item, line=line_of(item)) for item in node.value]
    advice = f": write [{shown(node.value)}]" if isinstance(node, yaml.ScalarNode) and node.value else ""
    report.problem(entry.line, f"{name} must be a list{advice}", where)
    return None


def intrinsic_of(node: yaml.Node) -> str | None:
    """The word of a CloudFormation function (`!GetAtt x`, `Fn::GetAtt: [x, y]`), if the node is one."""
    if str(node.tag).startswith("!"):
        return str(node.tag)
    if isinstance(node, yaml.MappingNode) and len(node.value) == 1:
        key = node.value[0][0].value
        if isinstance(key, str) and (key.startswith("Fn::") or key == "Ref"):
            return key
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merge:
    """Follows the merge keys of one block. Each block is read once: a few lines of aliases can name one a billion times."""

    report: Report
    where: str
    done: dict[yaml.Node, dict[str, Entry]] = field(default_factory=dict)

    def block(self, node: yaml.MappingNode, around: tuple[yaml.Node, ...]) -> dict[str, Entry]:
        if node in self.done:
            return self.done[node]
        own: dict[str, Entry] = {}
        inherited: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            here = Entry(node=value_node, line=line_of(key_node))
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == "<<" and key_node.tag == PLAIN:
                inherited = {**self.inherited(here, (*around, node)), **inherited}
                continue
            try:
                key = read_key(key_node)
            except Wrong as fault:
                self.wrong(here, str(fault))
                continue
            if key in own:
                self.wrong(here, f"the key {shown(key)} is given twice, first on line {own[key].line}: remove one of them")
            else:
                own[key] = here
        self.done[node] = {**inherited, **own}
        return self.done[node]

    def inherited(self, entry: Entry, around: tuple[yaml.Node, ...]) -> dict[str, Entry]:
        """What a merge key brings in. Of several blocks, the first that has a key gives it."""
        blocks = entry.node.value if isinstance(entry.node, yaml.SequenceNode) else [entry.node]
        found: dict[str, Entry] = {}
        for block in blocks:
            if not isinstance(block, yaml.MappingNode):
                self.wrong(entry, "<< must name a block of keys and values, as in <<: *defaults")
            elif block in around:
                self.wrong(entry, "<< names the block it stands in: remove it")
            else:
                found = {**self.block(block, around), **found}
        return found

    def wrong(self, entry: Entry, message: str) -> None:
        self.report.problem(entry.line, message, self.where)
