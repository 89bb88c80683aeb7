"""A draft as text and as nodes: both mean the same to whoever reads the file, whatever stands in it."""

from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.config.document import compose
from runtime.config.expansion import expand
from runtime.config.nodes import Entry, Report, read_entries
from runtime.config.scalars import read_key, read_scalar
from runtime.importing.findings import Draft, FunctionDraft, MappingDraft
from runtime.importing.nodes import node_of
from runtime.importing.values import Block, Gap, Items, Text, located
from runtime.importing.writing import written

VALUE = "what the variable holds"
GAP = Gap(name="A_GAP", reason="why", line=4)
DEFAULTED = Gap(name="OTHER", reason="why", line=4, default="x")


def draft(properties: Any) -> Draft:
    block = located(properties, 12)
    assert isinstance(block, Block)
    function = FunctionDraft(key="f", line=3, properties=block)
    return Draft(file="t.yaml", functions=(function,), mappings=(MappingDraft(line=9, properties=block, origin="M"),))


def meaning(node: yaml.Node) -> Any:
    """What our loader takes a node for: texts with their references replaced."""
    match node:
        case yaml.MappingNode():
            return {read_key(key): meaning(value) for key, value in node.value}
        case yaml.SequenceNode():
            return [meaning(each) for each in node.value]
        case _ if node.value == "" and node.tag == "plain":
            return None
        case _:
            scalar = read_scalar(node, {"A_GAP": VALUE}, "it")
            if scalar.meaning == "str":
                return scalar.text
            return yaml.safe_load(scalar.text)


def as_read(properties: Any) -> Any:
    """Through the text, and through the nodes; both at once, for they must not differ."""
    made = draft(properties)
    root, problems = compose(written(made), "esm.yaml")
    assert root is not None, problems
    assert not problems
    by_text, by_nodes = meaning(root), meaning(node_of(made))
    assert by_text == by_nodes
    return by_text["functions"]["f"]


TEXTS = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    st.sampled_from(["yes", "null", "~", "012", "1e3", "12:30", "2020-01-01", "${X}", "$${", "a: b", "- a", "#", "a #b", "*a", "&a", "!a", "=", "<<", ".", ".5", "a:", "@", "`", "\x85", "\u2028", "\ufeff", "'", '"', "\\", "{{", "%", "\ufffe", "\x7f", "0x1F", "0o7", "1_000", "+1", "-", "--- a"]),
)  # fmt: skip
SCALARS = st.one_of(TEXTS, st.booleans(), st.integers(-(10**15), 10**15))
KEYS = TEXTS.filter(bool)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=3))
@example({"a": ".5e3", ".5e3": "b"})
@settings(max_examples=500, deadline=None)
def test_whatever_is_written_is_read_again(properties: dict[str, Any]) -> None:
    assert as_read(properties) == properties


def test_gaps_are_references_and_nothing_else_is() -> None:
    block = Block({"a": Text(("x-", GAP, "-${A_GAP}")), "b": Text((DEFAULTED,)), "c": "${A_GAP}"}, {"a": 1})
    assert as_read(block) == {"a": f"x-{VALUE}-${{A_GAP}}", "b": "x", "c": "${A_GAP}"}


def test_only_what_must_be_given_is_listed() -> None:
    block = Block({"a": Items([Text((GAP,)), Text((DEFAULTED,)), Text((GAP,))])})
    made = draft(block)
    assert [gap.name for gap in made.gaps] == ["A_GAP"]
    assert written(made).startswith("# To be given, as environment variables:\n# - A_GAP: why\nfunctions:\n  # t.yaml:3\n  f:\n")


def test_comments_cannot_be_left_by_what_stands_in_a_template() -> None:
    made = Draft(file="a\nfunctions: {}\x1b[2J", functions=(), mappings=())
    assert written(made, header=("x\ny: 1",)).splitlines() == ["# x?y: 1", "functions: {}", "mappings: []"]
    function = FunctionDraft(key="f", line=3, properties=Block({"a": 1}), origin="o\nb: 2")
    root, _ = compose(written(Draft(file="t\nc: 3", functions=(function,), mappings=())), "esm.yaml")
    assert meaning(root) == {"functions": {"f": {"a": 1}}, "mappings": []}  # type: ignore[arg-type]  # it is there


def test_nodes_have_the_lines_of_the_template() -> None:
    block = Block({"a": 1, "b": Block({"c": 2}, {"c": 30})}, {"a": 10, "b": 20})
    report = Report(file="t.yaml", environ={})
    entries = read_entries(report, Entry(node=node_of(draft(block)), line=1), "the file")
    assert entries is not None
    functions = read_entries(report, entries["functions"], "functions") or {}
    keys = read_entries(report, functions["f"], "f") or {}
    inner = read_entries(report, keys["b"], "b") or {}
    assert (functions["f"].line, keys["a"].line, keys["b"].line, inner["c"].line) == (3, 10, 20, 30)


def test_the_escape_of_a_literal_reference_is_the_loaders_own() -> None:
    assert expand("$${X}", {}) == "${X}"
