"""What is right, but will hurt whoever runs a stream with it (COM-70, COM-72, DDB-30)."""

from pathlib import Path

import pytest

from tests.unit.test_config_case import QUEUE, load
from tests.unit.test_config_streams import FAILED, SAFE, START, text_of, warnings_of

BLOCKS = "neither MaximumRetryAttempts nor MaximumRecordAgeInSeconds limits retries"
DROPS = "is set without DestinationConfig.OnFailure.Destination"
TO_QUEUE = f"DestinationConfig: {{OnFailure: {{Destination: '{FAILED}'}}}}"


@pytest.mark.parametrize(
    ("lines", "line", "said"),
    [
        ([], 5, f"{BLOCKS}, so a record that always fails blocks its shard until it expires from the stream, as in AWS: set one of them, with BisectBatchOnFunctionError: true and DestinationConfig.OnFailure.Destination"),
        (["BisectBatchOnFunctionError: true"], 5, "set one of them, with DestinationConfig.OnFailure.Destination"),
        ([TO_QUEUE], 5, "as in AWS, and nothing ever goes to the on-failure destination: set one of them, with BisectBatchOnFunctionError: true"),
        (["MaximumRetryAttempts: -1", "BisectBatchOnFunctionError: true", TO_QUEUE], 8, "nothing ever goes to the on-failure destination: set one of them"),
        (["MaximumRetryAttempts: 0"], 8, f"MaximumRetryAttempts {DROPS}"),
        (["MaximumRecordAgeInSeconds: 60"], 8, f"MaximumRecordAgeInSeconds {DROPS}, so what is given up leaves nothing but a log line"),
        (["MaximumRetryAttempts: 5", TO_QUEUE], None, ""),
        (["MaximumRecordAgeInSeconds: 60", TO_QUEUE], None, ""),
    ],
)  # fmt: skip
def test_what_a_failing_record_will_do_is_warned_about_com_70_ddb_30(
    tmp_path: Path, lines: list[str], line: int | None, said: str
) -> None:
    found = warnings_of(tmp_path, START, *lines)
    if line is None:
        assert found == []
        return
    (warning,) = found
    assert warning.startswith(f"{line})")
    assert said in warning


def test_positions_that_end_with_the_process_are_warned_about(tmp_path: Path) -> None:
    state = "worker:\n  state: memory://\n"
    (warning,) = load(tmp_path, text_of(START, *SAFE) + state).warnings
    assert (warning.line, warning.where) == (11, "worker")
    assert warning.message.startswith("state is memory://, so the positions of stream mappings end with the process")
    assert load(tmp_path, text_of(START, *SAFE) + "worker:\n  state: sqlite:///x.db\n").warnings == ()
    assert load(tmp_path, text_of(source=QUEUE) + state).warnings == ()


def test_what_has_no_effect_is_a_warning_for_streams_too(tmp_path: Path) -> None:
    found = warnings_of(tmp_path, START, *SAFE, "Tags: {a: b}", "MetricsConfig: {Metrics: [EventCount]}")
    assert [text.split(",")[0] for text in found] == ["10): Tags has no effect here", "11): MetricsConfig has no effect here"]
