"""A draft as the YAML nodes that its text would give, on the lines of the template: problems then point there."""

from typing import Final

import yaml

from runtime.config.document import PLAIN, QUOTED
from runtime.importing.findings import Draft
from runtime.importing.values import Block, Items, Text, Value
from runtime.importing.writing import scalar_text

_BLOCK: Final = "tag:yaml.org,2002:map"
_LIST: Final = "tag:yaml.org,2002:seq"


def node_of(draft: Draft) -> yaml.MappingNode:
    """The root of the file."""
    functions = [(each.key, each.properties, each.line) for each in draft.functions]
    mappings = [_node(each.properties, each.line) for each in draft.mappings]
    top = min([each.line for each in draft.mappings], default=1)
    return _pairs(
        [
            ("functions", _pairs([(key, _node(block, line), line) for key, block, line in functions], top), top),
            ("mappings", yaml.SequenceNode(_LIST, mappings, _mark(top), _mark(top)), top),
        ],
        top,
    )


def _node(value: Value, line: int) -> yaml.Node:
    mark = _mark(line)
    match value:
        case Block():
            lines = [(key, inner, value.line(key, line)) for key, inner in value.items()]
            return _pairs([(key, _node(inner, at), at) for key, inner, at in lines], line)
        case Items():
            inner_nodes = [_node(inner, value.line(index, line)) for index, inner in enumerate(value)]
            return yaml.SequenceNode(_LIST, inner_nodes, mark, mark)
        case str() | Text():
            return yaml.ScalarNode(QUOTED, scalar_text(value), mark, mark)
        case bool():
            return yaml.ScalarNode(PLAIN, "true" if value else "false", mark, mark)
        case int() | float():
            return yaml.ScalarNode(PLAIN, str(value), mark, mark)
        case _:
            return yaml.ScalarNode(PLAIN, "", mark, mark)


def _pairs(pairs: list[tuple[str, yaml.Node, int]], line: int) -> yaml.MappingNode:
    nodes = [(yaml.ScalarNode(QUOTED, key, _mark(at), _mark(at)), node) for key, node, at in pairs]
    return yaml.MappingNode(_BLOCK, nodes, _mark(line), _mark(line))


def _mark(line: int) -> yaml.Mark:
    return yaml.Mark("", 0, max(line, 1) - 1, 0, None, 0)
