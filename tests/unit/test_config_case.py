"""What `load_config` promises of any file: all problems at once, each with its line; and the notation of the other config tests.

A test file marks the line where a problem is due with `#!` and a part of its text:

    BatchSize: 0  #! 1 to 10000

Several problems of one line stand behind one another. No mark, no problem.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from runtime.config import Config, ConfigError, Problem, load_config

NOW = 1_767_225_600.0
"""What the clock says in all config tests: 2026-01-01T00:00:00Z."""
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
KINESIS = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2025-12-31T12:00:00.000"
FUNCTIONS = "functions:\n  orders:\n    Handler: shop.orders.handler\n"
MAPPINGS = f"mappings:\n  - FunctionName: orders\n    EventSourceArn: {QUEUE}\n"


def load(folder: Path, text: str, **environ: str) -> Config:
    file = folder / "esm.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, environ, new_id=lambda: "host-1", clock=lambda: NOW)


def problems_of(folder: Path, text: str, **environ: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as raised:
        load(folder, text, **environ)
    return raised.value.problems


def check(folder: Path, text: str, **environ: str) -> None:
    """The problems of the file are those that it marks."""
    marks = [
        (number, mark.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        for mark in re.split(r"#!", line)[1:]
    ]  # fmt: skip
    found = problems_of(folder, text, **environ) if marks else ()
    if not marks:
        load(folder, text, **environ)
    assert Counter(problem.line for problem in found) == Counter(line for line, _ in marks), "\n".join(map(str, found))
    for line, mark in marks:
        texts = [str(problem) for problem in found if problem.line == line]
        assert any(mark in text for text in texts), (mark, texts)


def test_a_problem_names_the_thing_the_place_and_the_remedy(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, FUNCTIONS + MAPPINGS + "    name: orders\n    BatchSize: 20\n")
    assert str(problem).startswith(
        f"mapping orders ({tmp_path}/esm.yaml:8): BatchSize is 20, so MaximumBatchingWindowInSeconds must be at least 1"
    )


def test_a_problem_of_the_whole_file_has_no_part_before_its_place() -> None:
    assert str(Problem(file="esm.yaml", line=3, message="odd")) == "esm.yaml:3: odd"


def test_a_problem_is_one_printable_line() -> None:
    problem = Problem(file="esm.yaml", line=3, message="a\nb \x1b[31m ä", where="mapping \u2028")
    assert str(problem) == "mapping \\u2028 (esm.yaml:3): a\\nb \\x1b[31m ä"


def test_all_problems_come_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = (
        "worker: {grace: -1}  #! 0 to 3600\n"
        "mappings:\n"
        "  - FunctionName: ordres  #! Function does not exist\n"
        f"    EventSourceArn: {QUEUE}\n"
        "    BatchSize: ten  #! whole number\n"
        "  - FunctionName: orders\n"
        "    EventSourceArn: orders  #! Unrecognized event source.\n"
        "functions:\n"
        "  orders: {Timeout: 0}  #! Handler is missing  #! 1 to 900\n"
        "other: 1  #! unknown key other\n"
    )
    check(tmp_path, text)
    lines = [problem.line for problem in problems_of(tmp_path, text)]
    assert lines == sorted(lines)


def test_the_error_as_text_is_all_its_problems(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, "functions: {}\n")
    assert str(raised.value) == "\n".join(str(problem) for problem in raised.value.problems)
    assert len(raised.value.problems) > 1


def test_the_file_is_called_what_the_user_called_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "esm.yaml").write_text("functions: {}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        load_config(Path("esm.yaml"), {})
    assert {problem.file for problem in raised.value.problems} == {"esm.yaml"}


def test_what_an_alias_repeats_is_reported_once_for_each_block_that_has_it(tmp_path: Path) -> None:
    text = (
        "functions:\n"
        "  a: &same\n"
        "    Handler: nothing\n"
        "  b: *same\n"
        "mappings:\n"
        f"  - {{FunctionName: a, EventSourceArn: '{QUEUE}'}}\n"
    )  # fmt: skip
    assert [(problem.line, problem.where) for problem in problems_of(tmp_path, text)] == [
        (3, "function a"),
        (3, "function b"),
    ]
