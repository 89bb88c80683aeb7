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
from runtime.config import Config, ConfigError, load_config, mapping_schema, schema
from tests.unit.test_config_case import FUNCTIONS, KINESIS, MAPPINGS, QUEUE, TABLE, load

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


def test_every_parameter_of_a_source_has_a_type_sqs_01_kin_01_ddb_01() -> None:
    properties = msgspec.json.schema(schema.File)["$defs"]["Mapping"]["properties"]
    assert properties.keys() == mapping_schema.PARAMETERS | mapping_schema.STREAM_KEYS | {"name", "KmsKeyArn"}
    assert frozenset().union(*(spec.parameters for spec in SPECS.values())) == mapping_schema.PARAMETERS
    assert not mapping_schema.PARAMETERS & mapping_schema.OTHER_SOURCES


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


WORDS = [
    *mapping_schema.PARAMETERS,
    *mapping_schema.OTHER_SOURCES,
    "functions",
    "mappings",
    "worker",
    "orders",
    "Handler",
    "a.b",
    QUEUE,
]
WORDS += [
    KINESIS,
    TABLE,
    "AT_TIMESTAMP",
    "LATEST",
    "OnFailure",
    "OnSuccess",
    "Destination",
    "read_share",
    "deaggregate",
    "2026-01-01T00:00:00+24:00",
    "0.5",
    "1e99",
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
SOURCES = (QUEUE, KINESIS, TABLE)
TEXTS = st.lists(st.sampled_from(WORDS + PIECES) | st.text(max_size=3), max_size=40).map("".join)


@SLOW_MACHINES
@given(
    text=TEXTS,
    head=st.sampled_from(
        ["", FUNCTIONS, FUNCTIONS + MAPPINGS, *(FUNCTIONS + MAPPINGS.replace(QUEUE, arn) + "    " for arn in SOURCES)]
    ),
)
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


def _complete(drawn: tuple[dict[str, Any], str]) -> dict[str, Any]:
    """A mapping that has a source mostly, so that the rules of its source are reached."""
    block, arn = drawn
    return {"EventSourceArn": arn, "FunctionName": "orders", **block} if len(block) % 2 else block


FILES = st.fixed_dictionaries(
    {
        "functions": ANYTHING | st.dictionaries(st.just("orders"), keyed(schema.Function)),
        "mappings": ANYTHING
        | st.lists(st.tuples(keyed(mapping_schema.Mapping), st.sampled_from(SOURCES)).map(_complete), max_size=3),
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
