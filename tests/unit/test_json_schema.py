"""`esm schema` says what the loader says, wherever one key alone decides."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from msgspec import Struct, inspect

from runtime.config import ConfigError, load_config, schema
from runtime.config.document import read_document
from runtime.config.json_schema import json_schema
from runtime.config.mapping_schema import Mapping
from runtime.config.nodes import Entry, Report
from runtime.config.reading import read_block

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = json_schema("0.1.0")
FUNCTIONS: dict[str, Any] = {"f": {"Handler": "app.handler"}}
QUEUE = {"FunctionName": "f", "EventSourceArn": "arn:aws:sqs:eu-west-1:123456789012:orders"}
STREAM = {
    "FunctionName": "f",
    "EventSourceArn": "arn:aws:kinesis:eu-west-1:123456789012:stream/orders",
    "StartingPosition": "TRIM_HORIZON",
}
WHATEVER: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    7.5,
    100_000_000,
    "",
    "some text",
    "a",
    "${NAME}",
    "${NAME:-x}",
    "x" * 5000,
    [],
    ["x"],
    {},
]
REQUIRED: dict[type[Struct], dict[str, Any]] = {
    schema.Function: {"Handler": "app.handler"},
    Mapping: QUEUE,
    schema.Worker: {},
    schema.Log: {},
    schema.Environment: {},
}


@cache
def judge(part: str = "File") -> Draft202012Validator:
    return Draft202012Validator({**DOCUMENT, "$ref": f"#/$defs/{part}"})


def right(document: Any, part: str = "File") -> bool:
    return bool(judge(part).is_valid(document))


def read(folder: Path, block: Any, kind: type[Struct]) -> list[str]:
    """What the loader finds in one block while it reads it: the reasons that lie in single keys."""
    file = folder / "block.yaml"
    file.write_text(json.dumps(block))
    root, problems = read_document(file)
    assert root is not None
    assert not problems
    report = Report(file="block.yaml", environ={"NAME": "stands for anything"})
    read_block(report, Entry(node=root, line=1), kind, name="this")
    return [problem.message for problem in report.problems]


def values_for(asked: dict[str, Any]) -> list[Any]:
    """Whatever there is, and the values on both sides of each limit."""
    limits = [asked[key] for key in ("minimum", "maximum", "exclusiveMinimum") if key in asked]
    found: list[Any] = [*WHATEVER, *limits, *(limit - 1 for limit in limits), *(limit + 1 for limit in limits)]
    found += asked.get("enum", [])
    if "maxLength" in asked:
        found += ["a" * asked["maxLength"], "a" * (asked["maxLength"] + 1)]
    return found


def cases() -> list[tuple[type[Struct], str, Any]]:
    found = []
    for kind in REQUIRED:
        for key, said in DOCUMENT["$defs"][kind.__name__]["properties"].items():
            asked = said.get("anyOf", [said])[0]
            # Of a time the loader reads any scalar, and judges it where it knows the source.
            found += [(kind, key, value) for value in values_for(asked) if key != "StartingPositionTimestamp"]
    return found


def test_it_is_a_json_schema_2020_12() -> None:
    Draft202012Validator.check_schema(DOCUMENT)
    assert DOCUMENT["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "0.1.0" in DOCUMENT["$id"]
    json.dumps(DOCUMENT)


def test_schema_and_loader_judge_every_single_key_alike(tmp_path: Path) -> None:
    """A reference is right for the schema, and for the loader it is what the variable holds."""
    found = cases()
    assert len(found) > 600
    differ = []
    for kind, key, value in found:
        block = {**REQUIRED[kind], key: value}
        if isinstance(value, str) and value.startswith("${"):
            scalar = "anyOf" in DOCUMENT["$defs"][kind.__name__]["properties"][key] and key != "Tags"
            if scalar and not right(block, kind.__name__):
                differ.append((kind.__name__, key, value, "a reference is called wrong"))
            continue
        problems = read(tmp_path, block, kind)
        if right(block, kind.__name__) is bool(problems):
            differ.append((kind.__name__, key, str(value)[:40], "; ".join(problems)))
    assert differ == []


@pytest.mark.parametrize("kind", [each for each in REQUIRED if each not in (schema.Environment, schema.Log)])
def test_an_unknown_key_is_wrong_for_both(kind: type[Struct], tmp_path: Path) -> None:
    block = {**REQUIRED[kind], "Stranger": 1}
    assert read(tmp_path, block, kind)
    assert not right(block, kind.__name__)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"functions": FUNCTIONS},
        {"functions": {}, "mappings": [QUEUE]},
        {"functions": FUNCTIONS, "mappings": []},
        {"functions": {"a b": {"Handler": "app.handler"}}, "mappings": [QUEUE]},
        {"functions": {"f": {}}, "mappings": [QUEUE]},
        {"functions": FUNCTIONS, "mappings": [QUEUE], "wrker": {}},
        {"functions": FUNCTIONS, "mappings": [{**QUEUE, "ScalingConfig": {"MaximumConcurrency": 1}}]},
        {"functions": FUNCTIONS, "mappings": [{**QUEUE, "ScalingConfig": {"Maximum": 2}}]},
        {"functions": FUNCTIONS, "mappings": [{**QUEUE, "FunctionResponseTypes": ["ReportBatchItemFailure"]}]},
        {"functions": FUNCTIONS, "mappings": [{"FunctionName": "f"}]},
        {"functions": FUNCTIONS, "mappings": [{**STREAM, "DestinationConfig": {"OnFailure": {"Destination": "x" * 351}}}]},
        {"functions": {"f": {"Handler": "app.handler", "Environment": {"Variables": {"1A": "x"}}}}, "mappings": [QUEUE]},
        {"functions": FUNCTIONS, "mappings": [QUEUE], "worker": {"log": {"level": "loud"}}},
        {"functions": FUNCTIONS, "mappings": [QUEUE], "worker": {"http": "9090"}},
    ],
    ids=lambda each: re.sub(r"\W+", "_", json.dumps(each))[-60:],
)
def test_what_the_loader_refuses_is_refused(document: Any, tmp_path: Path) -> None:
    file = tmp_path / "esm.yaml"
    file.write_text(json.dumps(document))
    with pytest.raises(ConfigError):
        load_config(file, {})
    assert not right(document)


@pytest.mark.parametrize(
    "document",
    [
        {"functions": FUNCTIONS, "mappings": [QUEUE]},
        {"functions": FUNCTIONS, "mappings": [STREAM], "worker": None},
        {"functions": FUNCTIONS, "mappings": [{**QUEUE, "BatchSize": "${SIZE:-5}", "Enabled": "${ON:-yes}"}]},
        {"functions": FUNCTIONS, "mappings": [{**STREAM, "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1.5}]},
        {"functions": {"f": {**FUNCTIONS["f"], "Environment": {"Variables": {"AB": 1, "CD": True}}}}, "mappings": [QUEUE]},
        {"functions": FUNCTIONS, "mappings": [{**QUEUE, "Tags": {"a": 1}}]},
        {"functions": FUNCTIONS, "mappings": [{**QUEUE, "Tags": [{"Key": "a", "Value": "b"}]}]},
    ],
)
def test_what_the_loader_takes_is_right(document: Any, tmp_path: Path) -> None:
    file = tmp_path / "esm.yaml"
    file.write_text(json.dumps(document))
    load_config(file, {})
    assert list(judge().iter_errors(document)) == []


def yaml_examples() -> list[Any]:
    """Every complete `esm.yaml` of the documentation and of `deploy/`."""
    texts = [(ROOT / "deploy/esm.yaml").read_text()]
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        texts += re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    loaded = [yaml.safe_load(text) for text in texts if "Resources:" not in text]  # a template has tags of its own
    return [each for each in loaded if isinstance(each, dict) and {"functions", "mappings"} <= each.keys()]


def test_the_examples_of_the_documentation_are_right() -> None:
    found = yaml_examples()
    assert len(found) >= 2
    for example in found:
        assert list(judge().iter_errors(example)) == []


def test_every_key_that_is_no_block_has_a_description_or_a_choice() -> None:
    """An editor shows it."""
    info = inspect.type_info(Mapping)
    assert isinstance(info, inspect.StructType)
    for item in info.fields:
        said = DOCUMENT["$defs"]["Mapping"]["properties"][item.encode_name]
        assert "$ref" in said or said.get("description"), item.encode_name
