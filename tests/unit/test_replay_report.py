"""What is told of a replay, to people and to machines."""

import json
import shlex
from typing import Any

import pytest

from handlers.invoker import FunctionError
from pollers.recording import Flaw
from runtime.replay import report as module
from runtime.replay import show
from runtime.replay.report import NOT_ALONE, Failure, Planned, Report, Trouble
from tests.fakes.replays import STREAM, kinesis_record


def failure(position: str, *, kind: str = "ValueError", text: str = "no", batch: int = 1, **more: Any) -> Failure:
    trouble = Trouble(type=kind, message=text)
    given = {"source_arn": STREAM, "shard": "s", "condition": "RetryAttemptsExhausted", "attempts": 1, "place": "f.jsonl:3"}
    return Failure(position=position, trouble=trouble, batch=batch, **{**given, **more})


def failed(*failures: Failure, read: int = 10) -> Report:
    report = Report(read=read)
    report.succeeded = read - len(failures)
    for each in failures:
        report.fail(each)
    return report


def timed_out(request: str) -> FunctionError:
    text = f"RequestId: {request} Error: Task timed out after 3.00 seconds"
    return FunctionError(error_type="Sandbox.Timedout", message=text, document={})


def test_time_limits_are_one_kind_of_error_whatever_their_request_ids() -> None:
    one, other = timed_out("0b8d2a0e-2f6f-4f0f-8f0b-0c5a3f0d9a11"), timed_out("ffffffff-2f6f-4f0f-8f0b-0c5a3f0d9a11")
    assert Trouble.of(one) == Trouble.of(other) == Trouble(type="Sandbox.Timedout", message="Task timed out after 3.00 seconds")


def test_errors_are_grouped_and_the_most_frequent_come_first() -> None:
    report = Report()
    records = (kinesis_record(5).record, kinesis_record(6).record)
    for text in ("a", "b", "b"):
        report.invoked("s", records, 0.1, Trouble(type="E", message=text))
    assert [(group.trouble.message, group.invocations, group.records, group.first) for group in report.errors] == [
        ("b", 2, 4, "5"),
        ("a", 1, 2, "5"),
    ]


def test_messages_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_GROUPS", 3)
    report = Report()
    for number in range(10):
        report.invoked("s", (), 0.1, Trouble(type="E", message=str(number)))
    assert sum(group.invocations for group in report.errors) == 10
    assert (report.errors[0].trouble.message, report.errors[0].invocations) == ("(other messages)", 7)


def test_the_slowest_are_kept_and_no_others() -> None:
    report = Report()
    for number in range(20):
        report.invoked("s", (kinesis_record(number).record,), (number * 7) % 20, None)
    assert [slow.seconds for slow in report.slowest] == [19, 18, 17, 16, 15]


def test_a_large_batch_does_not_hide_the_other_errors() -> None:
    many = [failure(str(n), text="the same", batch=100) for n in range(100)]
    lines = show.summary(failed(*many, failure("500", text="another"), read=200), took=1.0, command=None)
    assert any("500" in line and "another" in line for line in lines)
    assert sum("f.jsonl:3" in line for line in lines) == 20
    assert any("and 81 more records" in line for line in lines)
    assert any("100 of them failed with their whole batch: --bisect" in line for line in lines)
    of_queue = show.summary(failed(failure("1", batch=2, shard=""), read=2), took=1.0, command=None)
    assert any("whole batch: --batch-size 1 tells" in line for line in of_queue)


def test_records_that_the_handler_named_get_no_advice_to_bisect() -> None:
    lines = show.summary(failed(failure("1", kind=NOT_ALONE, batch=5)), took=1.0, command=None)
    assert not any("--bisect" in line for line in lines)


def test_the_account_says_what_became_of_every_record() -> None:
    report = failed(failure("1"), read=10)
    report.read, report.left_out, report.filtered_out, report.stopped = 20, 3, 4, True
    lines = show.summary(report, took=1.0, command=None)
    assert lines[0] == "20 records = 9 succeeded + 1 failed + 4 filtered out + 3 not selected + 3 not run"
    assert lines[-1] == "stopped before the end"


def test_text_of_a_handler_cannot_command_the_terminal() -> None:
    report = failed(failure("1", text="\x1b[2J\nnext line"))
    report.problems.append("\x1b[31m")
    assert not any("\x1b" in line or "\n" in line for line in show.summary(report, took=1.0, command=None))


def test_the_command_for_one_record_survives_a_shell() -> None:
    command = show.command_for(["esm", "replay", 'my "file".jsonl', "-f", "it's.py:h"], from_stream=False)(failure("49"))
    assert shlex.split(command) == ["esm", "replay", 'my "file".jsonl', "-f", "it's.py:h", "--only", "49"]


def test_the_command_for_one_record_of_a_stream_names_its_shard() -> None:
    command = show.command_for(["esm", "replay", STREAM], from_stream=True)(failure("49"))
    assert shlex.split(command)[3:] == ["--shard", "s", "--only", "49"]


def test_machines_get_everything() -> None:
    report = failed(failure("1"), read=2)
    report.flaws.append(Flaw(file="f", line=7, message="cut off"))
    report.overdue = 1
    document = json.loads(json.dumps(show.as_json(report, took=1.5, command=lambda each: f"again {each.position}")))
    assert document["right"] is False
    assert document["records"] == {"read": 2, "succeeded": 1, "failed": 1, "filteredOut": 0, "notSelected": 0, "notRun": 0}
    assert document["failures"][0] | {"command": "again 1", "place": "f.jsonl:3", "type": "ValueError"} == document["failures"][0]
    assert document["problems"][0] == "f:7: cut off"
    assert "ran on past the time limit" in document["problems"][1]


def test_a_plan_claims_no_success() -> None:
    report = Report(read=5, succeeded=5)
    document = show.planned_json(report, [Planned(shard="s", records=5, size=100, first="1", last="5")])
    assert document["records"]["wouldRun"] == 5
    assert "succeeded" not in document["records"]
    assert (
        show.planned(report, [Planned(shard="s", records=5, size=100, first="1", last="5")])[0]
        == "1 batch of 5 records would be invoked"
    )


@pytest.mark.parametrize(("values", "expected"), [([], (0.0, 0.0)), ([0.5], (0.5, 0.5)), (list(range(101)), (50.0, 99.0))])
def test_percentiles(values: list[float], expected: tuple[float, float]) -> None:
    assert show.percentiles(values) == expected
