"""`functions`: what SAM and CloudFormation say of a function, as far as it means something here (COM-50, API-10)."""

from pathlib import Path

import pytest

from handlers.invoker import FunctionSpec
from runtime.config import schema
from tests.unit.test_config_case import FUNCTIONS, MAPPINGS, check, load, problems_of


def test_a_function_gets_lambdas_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, FUNCTIONS + MAPPINGS)
    assert config.functions == {"orders": FunctionSpec(name="orders", handler="shop.orders.handler", code_root=tmp_path)}
    assert config.handlers.environment == {}
    assert config.warnings == ()


def test_a_function_is_as_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    text = (
        FUNCTIONS + "    CodeUri: ./src/../src/\n    Timeout: 900\n    MemorySize: 10240\n    ReservedConcurrentExecutions: 0\n"
        "    Environment: {Variables: {TABLE: orders}}\n"
    )
    config = load(tmp_path, text + MAPPINGS)
    assert config.functions["orders"] == FunctionSpec(
        name="orders",
        handler="shop.orders.handler",
        code_root=tmp_path / "src",
        timeout=900,
        memory_size=10240,
        reserved_concurrency=0,
    )
    assert config.handlers.environment == {"TABLE": "orders"}


def test_code_uri_starts_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config = load(Path("project"), FUNCTIONS + "    CodeUri: src\n" + MAPPINGS)
    assert config.functions["orders"].code_root == folder / "src"
    assert load(Path("project"), FUNCTIONS + f"    CodeUri: {folder}\n" + MAPPINGS).functions["orders"].code_root == folder


@pytest.mark.parametrize(
    "line",
    [
        "Timeout: 0  #! 1 to 900",
        "Timeout: 901  #! Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
        "MemorySize: 127  #! Value '127' at 'memorySize'",
        "MemorySize: 10241  #! 128 to 10240",
        "ReservedConcurrentExecutions: -1  #! at least 0",
        "CodeUri: s3://bucket/code.zip  #! only read from a folder: fetch it",
        "CodeUri: https://example.com/code  #! only read from a folder: fetch it",
        "CodeUri: build/code.ZIP  #! only read from a folder: unpack it",
        "CodeUri: {Bucket: b, Key: k}  #! CodeUri is a block of keys",
        "CodeUri: esm.yaml  #! which is a file",
        "CodeUri: nowhere  #! there is no folder",
        "CodeUri: ''  #! CodeUri is empty",
        "CodeUri: " + "a" * 5000 + "  #! there is no folder",
        "timeout: 3  #! unknown key timeout: did you mean Timeout?",
        "Timout: 3  #! did you mean Timeout?",
        "Something: 3  #! the keys here are Handler, CodeUri, Timeout",
        "Runtime: python3.13  #! Runtime has no meaning here and can be removed",
        "Role: arn:aws:iam::123456789012:role/x  #! Role has no meaning here and can be removed",
        "Events: {E: {Type: SQS}}  #! Events has no meaning here",
        "Policies: !Ref P  #! Policies has no meaning here",
        "FunctionName: x  #! the function's name is the key of its block",
        "Properties: {Handler: a.b}  #! move the keys below it up",
        "Type: AWS::Serverless::Function  #! below Properties",
        "Code: {S3Bucket: b}  #! CodeUri",
        "ImageUri: x  #! not supported",
        "InlineCode: x  #! not supported",
        "Environment: {TABLE: x}  #! unknown key Environment.TABLE",
        "Environment: {Variables: [a]}  #! Environment.Variables is a list",
        "Environment: {Variables: {A1: }}  #! Environment.Variables.A1 has no value",
        "Environment: {Variables: {A1: [x]}}  #! Environment.Variables.A1 is a list",
        "Environment: {Variables: {A1: !Ref Table}}  #! Environment.Variables.A1 uses !Ref",
        "Environment: {Variables: {A: x}}  #! the name 'A' in Environment.Variables must start with a letter",
        "Environment: {Variables: {_HANDLER: x}}  #! must start with a letter  #! Reserved keys",
        "Environment: {Variables: {AWS_REGION: x}}  #! Reserved keys used in this request: AWS_REGION",
        "Environment: {Variables: {LAMBDA_TASK_ROOT: x}}  #! Reserved keys used in this request: LAMBDA_TASK_ROOT",
    ],
)
def test_what_is_wrong_with_a_function_is_a_problem(tmp_path: Path, line: str) -> None:
    text = FUNCTIONS + f"    {line}\n" + MAPPINGS
    check(tmp_path, text)
    assert {problem.where for problem in problems_of(tmp_path, text)} == {"function orders"}


@pytest.mark.parametrize("name", sorted(schema.FUNCTION_STRANGERS))
def test_what_people_paste_along_is_not_called_unknown(tmp_path: Path, name: str) -> None:
    (problem,) = problems_of(tmp_path, FUNCTIONS + f"    {name}: x\n" + MAPPINGS)
    assert problem.line == 4
    assert problem.message.startswith(f"{name} ")
    assert "unknown" not in problem.message


@pytest.mark.parametrize(
    "handler", ["app.handler", "a.b.c.handler", "src/app.handler", "my-app.handler", "app.py:handler", "./src/app.py:x"]
)
def test_handlers_have_one_of_two_shapes(tmp_path: Path, handler: str) -> None:
    text = f"functions:\n  orders:\n    Handler: {handler}\n" + MAPPINGS
    assert load(tmp_path, text).functions["orders"].handler == handler


@pytest.mark.parametrize("handler", ["handler", "a b.py:c", "app.", ".handler", "app:handler", "'app.py:'", "app..handler", "app.1", "a" * 128 + ".b", "''", '"app.handler\\n"'])  # fmt: skip
def test_anything_else_is_no_handler(tmp_path: Path, handler: str) -> None:
    (problem,) = problems_of(tmp_path, f"functions:\n  orders:\n    Handler: {handler}\n" + MAPPINGS)
    assert (problem.line, problem.where) == (3, "function orders")
    assert problem.message.startswith("Handler is")


@pytest.mark.parametrize("name", ["a b", "a.b", "ä", "a" * 65, "''"])
def test_a_function_name_has_lambdas_charset_and_length(tmp_path: Path, name: str) -> None:
    (problem,) = problems_of(tmp_path, FUNCTIONS + f"  {name}: {{Handler: a.b}}\n" + MAPPINGS)
    assert problem.line == 4
    assert "in functions" in problem.message


@pytest.mark.parametrize("text", ["functions: {}  #! functions is empty\n", "functions:  #! functions is empty\n", "functions: [a]  #! functions is a list\n"])  # fmt: skip
def test_there_must_be_a_function(tmp_path: Path, text: str) -> None:
    check(tmp_path, text + "mappings: []  #! mappings is empty\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [("8080", "8080"), ("007", "007"), ("true", "true"), ("yes", "yes"), ("1.50", "1.50"), ("2024-01-02", "2024-01-02"), ("''", ""), ("'8'", "8"), ("a b", "a b")],
)  # fmt: skip
def test_numbers_and_booleans_become_the_text_of_a_variable_as_it_stands(tmp_path: Path, value: str, text: str) -> None:
    config = load(tmp_path, FUNCTIONS + f"    Environment:\n      Variables:\n        NAME: {value}\n" + MAPPINGS)
    assert config.handlers.environment == {"NAME": text}


def test_a_function_has_4_kb_of_variables_com_50(tmp_path: Path) -> None:
    def text(size: int) -> str:
        overhead = len('{"NAME":""}')
        return FUNCTIONS + "    Environment:\n      Variables:\n        NAME: " + "x" * (size - overhead) + "\n" + MAPPINGS

    load(tmp_path, text(4096))
    (problem,) = problems_of(tmp_path, text(4097))
    assert problem.line == 5
    assert "Environment.Variables takes 4097 bytes" in problem.message
    assert "xxx" not in problem.message


def test_two_functions_cannot_give_one_variable_two_values(tmp_path: Path) -> None:
    text = (
        FUNCTIONS + "    Environment:\n      Variables:\n        SAME: 1\n        MODE: hush-a\n"
        "  other:\n    Handler: a.b\n    Environment:\n      Variables:\n        SAME: '1'\n"
        "        MODE: hush-b  #! gives MODE another value than function orders does on line 7\n"
    )
    check(tmp_path, text + MAPPINGS)
    (problem,) = problems_of(tmp_path, text + MAPPINGS)
    assert problem.where == "function other"
    assert "hush" not in problem.message
    agreed = text.replace("hush-b", "hush-a") + MAPPINGS
    assert load(tmp_path, agreed).handlers.environment == {"SAME": "1", "MODE": "hush-a"}
