"""The types behind the file: a JSON Schema comes out of them, and no text whatsoever makes `load_config` raise anything else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pollers import SPECS
from runtime.config import Config, ConfigError, load_config, schema
from tests.unit.test_config_case import FUNCTIONS, MAPPINGS, QUEUE, load

SLOW_MACHINES = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_the_types_give_a_json_schema() -> None:
    document = msgspec.json.schema(schema.File)
    mapping = document["$defs"]["Mapping"]
    assert mapping["required"] == ["FunctionName", "EventSourceArn"]
    assert mapping["additionalProperties"] is False
    assert mapping["properties"]["BatchSize"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10_000,
        "description": mapping["properties"]["BatchSize"]["description"],
    }
    assert document["$defs"]["Log"]["properties"]["format"]["enum"] == ["auto", "console", "json"]
    json.dumps(document)


def test_every_parameter_of_an_sqs_mapping_has_a_type_sqs_01() -> None:
    properties = msgspec.json.schema(schema.File)["$defs"]["Mapping"]["properties"]
    assert properties.keys() == {*SPECS["sqs"].parameters, "name", "KmsKeyArn"}
    assert not SPECS["sqs"].parameters & schema.OTHER_SOURCES


def test_the_schema_accepts_what_the_loader_accepts(tmp_path: Path) -> None:
    text = FUNCTIONS + MAPPINGS + "    ScalingConfig: {MaximumConcurrency: 2}\nworker: {http: '[::1]:1', log: {level: error}}\n"
    load(tmp_path, text)
    file = msgspec.convert(yaml.safe_load(text), schema.File)
    assert file.mappings[0].event_source_arn == QUEUE


def result_of(folder: Path, content: bytes, environ: dict[str, str]) -> Config | ConfigError:
    file = folder / "esm.yaml"
    file.write_bytes(content)
    try:
        return load_config(file, environ)
    except ConfigError as fault:
        found = fault
    lines = content.count(b"\n") + content.count(b"\r") + len(content.decode(errors="replace").splitlines()) + 1
    assert found.problems
    for problem in found.problems:
        assert 1 <= problem.line <= lines
        assert len(str(problem).splitlines()) == 1
    return found


WORDS = [*SPECS["sqs"].parameters, *schema.OTHER_SOURCES, "functions", "mappings", "worker", "orders", "Handler", "a.b", QUEUE]
WORDS += [
    "CodeUri",
    "Timeout",
    "Environment",
    "Variables",
    "log",
    "http",
    "state",
    "Fn::If",
    "Ref",
    "<<",
    "name",
    "TABLE",
    ".",
    "12",
]
PIECES = [
    ": ",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "!x ",
    "!!int ",
    "? ",
    "|\n  ",
    "'",
    '"',
    "#",
    "\t",
]
PIECES += [
    "${A}",
    "${A:-b}",
    "${",
    "$${",
    "~",
    "0x1",
    "1:1",
    "---\n",
    "\\U99999999",
    "\\ud800",
    "%YAML 1.1\n",
    "\x85",
    "\u2028",
    "<<: ",
]
TEXTS = st.lists(st.sampled_from(WORDS + PIECES) | st.text(max_size=3), max_size=40).map("".join)


@SLOW_MACHINES
@given(text=TEXTS, head=st.sampled_from(["", FUNCTIONS, FUNCTIONS + MAPPINGS, FUNCTIONS + MAPPINGS + "    "]))
def test_no_text_raises_anything_but_a_config_error(tmp_path: Path, text: str, head: str) -> None:
    result_of(tmp_path, (head + text).encode(errors="surrogatepass"), {"A": "b"})


@SLOW_MACHINES
@given(content=st.binary(max_size=60))
def test_no_bytes_raise_anything_but_a_config_error(tmp_path: Path, content: bytes) -> None:
    result_of(tmp_path, content, {})


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.sampled_from(WORDS) | st.text(max_size=5)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def keyed(kind: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """Blocks with the keys of the type and anything for values."""
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    return st.dictionaries(st.sampled_from(names), ANYTHING, max_size=6)


FILES = st.fixed_dictionaries(
    {
        "functions": ANYTHING | st.dictionaries(st.just("orders"), keyed(schema.Function)),
        "mappings": ANYTHING | st.lists(keyed(schema.Mapping), max_size=3),
        "worker": ANYTHING | keyed(schema.Worker),
    }
)


@SLOW_MACHINES
@given(file=FILES)
def test_no_structure_raises_anything_but_a_config_error(tmp_path: Path, file: dict[str, Any]) -> None:
    result_of(tmp_path, yaml.safe_dump(file, allow_unicode=True).encode(errors="surrogatepass"), {})


def block_of(indent: str, values: dict[str, int]) -> Iterator[str]:
    for key, value in values.items():
        yield f"{indent}{key}: {value}\n"


@SLOW_MACHINES
@given(
    size=st.integers(-1, 12) | st.integers(9_990, 10_010),
    window=st.integers(-1, 2) | st.integers(299, 301),
    fifo=st.booleans(),
)
def test_batch_and_window_are_accepted_exactly_as_by_aws_sqs_02_sqs_03_sqs_04(
    tmp_path: Path, size: int, window: int, fifo: bool
) -> None:
    text = FUNCTIONS + MAPPINGS.replace(QUEUE, f"{QUEUE}.fifo" if fifo else QUEUE)
    text += "".join(block_of("    ", {"BatchSize": size, "MaximumBatchingWindowInSeconds": window}))
    found = result_of(tmp_path, text.encode(), {})
    allowed = (
        window == 0 and 1 <= size <= 10 if fifo else (1 <= size <= 10_000 and 0 <= window <= 300 and (size <= 10 or window >= 1))
    )
    assert isinstance(found, Config) is allowed
    if isinstance(found, Config):
        assert (found.mappings[0].batch.records, found.mappings[0].batch.window) == (size, window)
