"""Whose rules hold, and what the command line makes of them; the function of -f."""

from pathlib import Path
from typing import Any

import pytest

from runtime.config import Config, load_config
from runtime.core.mapping import UNLIMITED
from runtime.core.tumbling import EVENT_ROOM
from runtime.errors import UserError
from runtime.replay.functions import choose_mapping, find_function, load
from runtime.replay.rules import Overrides, default_mapping, rules_of
from tests.fakes.replays import QUEUE, STREAM, message, queue_mapping, stream_mapping

CONFIG = """
functions:
  orders: {Handler: app.handler, Timeout: 7, ReservedConcurrentExecutions: 2}
  idle: {Handler: app.handler, ReservedConcurrentExecutions: 0}
mappings:
  - {name: a, FunctionName: orders, EventSourceArn: "arn:aws:kinesis:eu-west-1:123456789012:stream/a", StartingPosition: LATEST, BatchSize: 7}
  - {name: b, FunctionName: orders, EventSourceArn: "arn:aws:kinesis:eu-west-1:123456789012:stream/b", StartingPosition: LATEST}
  - {name: q, FunctionName: orders, EventSourceArn: "arn:aws:sqs:eu-west-1:123456789012:orders"}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "app.py").write_text("def handler(event, context): ...\ndef other(event, context): ...\n")
    (tmp_path / "esm.yaml").write_text(CONFIG)
    return load_config(tmp_path / "esm.yaml", {})


def choose(config: Config | None, source: str, arn: str, *, name: str | None = None) -> str:
    return choose_mapping(config, function="orders", source=source, source_arn=arn, name=name).mapping.name


def test_the_mapping_of_function_and_source_holds_else_the_only_one_of_its_kind(config: Config) -> None:
    assert choose(config, "kinesis", "arn:aws:kinesis:eu-west-1:123456789012:stream/b") == "b"
    assert choose(config, "sqs", "arn:aws:sqs:eu-west-1:123456789012:another") == "q"
    assert choose(config, "dynamodb", "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/1") == "replay-orders"
    assert choose(config, "kinesis", STREAM, name="a") == "a"
    assert choose(None, "kinesis", STREAM) == "replay-orders"


@pytest.mark.parametrize(
    ("source", "name", "told"),
    [("kinesis", None, r"several mappings of kinesis: .*\(a, b\)"), ("kinesis", "qq", "did you mean|there are a, b, q"), ("kinesis", "q", "is of sqs")],
)  # fmt: skip
def test_a_mapping_that_is_not_clear_is_an_error(config: Config, source: str, name: str | None, told: str) -> None:
    with pytest.raises(UserError, match=told):
        choose(config, source, STREAM, name=name)


def test_without_a_limit_records_are_tried_once(config: Config) -> None:
    rules = rules_of(config.mappings[0], Overrides())
    assert (rules.retry.attempts, rules.endless, rules.batch.records) == (0, True, 7)
    assert config.mappings[0].stream is not None
    assert config.mappings[0].stream.retry.attempts == UNLIMITED


def test_the_command_line_has_the_last_word() -> None:
    given: dict[str, Any] = {
        "batch_size": 3, "window": 9, "attempts": 5, "bisect": False, "report_item_failures": False, "lanes": 4,
    }  # fmt: skip
    rules = rules_of(stream_mapping(bisect=True, report=True, attempts=1), Overrides(**given))
    assert (rules.batch.records, rules.batch.window, rules.retry.attempts, rules.retry.bisect) == (3, 9, 5, False)
    assert (rules.report_item_failures, rules.lanes, rules.endless) == (False, 4, False)
    kept = rules_of(stream_mapping(bisect=True, report=True, attempts=1, lanes=2), Overrides())
    assert (kept.retry.bisect, kept.report_item_failures, kept.retry.attempts, kept.lanes) == (True, True, 1, 2)


def test_a_tumbling_window_leaves_room_for_its_state_and_has_one_lane() -> None:
    plain, tumbling = stream_mapping(), stream_mapping(tumbling=30)
    assert rules_of(plain, Overrides()).batch.size - rules_of(tumbling, Overrides()).batch.size == EVENT_ROOM
    with pytest.raises(UserError, match=r"--parallel 2: .*TumblingWindowInSeconds"):
        rules_of(tumbling, Overrides(lanes=2))


def test_batches_of_a_queue_are_not_split() -> None:
    with pytest.raises(UserError, match="--bisect is for streams"):
        rules_of(queue_mapping(), Overrides(bisect=True))
    assert not rules_of(queue_mapping(), Overrides(bisect=False)).retry.bisect


def test_an_absent_checksum_shows_as_a_worker_would_show_it() -> None:
    """SQS-26."""
    record = message(1).record
    unwindowed = rules_of(queue_mapping(), Overrides()).envelope([record])["Records"][0]
    windowed = rules_of(queue_mapping(), Overrides(window=1)).envelope([record])["Records"][0]
    assert "md5OfMessageAttributes" not in unwindowed
    assert windowed["md5OfMessageAttributes"] is None


def test_defaults_are_those_of_aws() -> None:
    mapping = default_mapping("kinesis", STREAM, function="f")
    assert mapping.function_arn == "arn:aws:lambda:eu-west-1:123456789012:function:f"
    assert mapping.batch.records == 100
    assert default_mapping("sqs", QUEUE, function="f").batch.records == 10
    assert default_mapping("sqs", "", function="f").function_arn == "arn:aws:lambda:::function:f"


def test_a_function_is_one_of_the_file_or_a_handler_by_its_place(config: Config, tmp_path: Path) -> None:
    def found(text: str, given: Config | None = config, timeout: int | None = None) -> tuple[str, str, Path, int]:
        spec = find_function(text, given, folder=tmp_path, timeout=timeout)
        return spec.name, spec.handler, spec.code_root, spec.timeout

    assert found("orders") == ("orders", "app.handler", tmp_path, 7)
    assert found("orders", timeout=30)[3] == 30
    assert found("app.other") == ("app", "app.other", tmp_path, 60)
    assert found("shop.orders.handler", None)[0] == "orders"
    assert found("my dir/app.v2.py:h") == ("app.v2", "my dir/app.v2.py:h", tmp_path, 60)
    assert found("/elsewhere/app.py:h") == ("app", "app.py:h", Path("/elsewhere"), 60)
    assert found("../other/app.py:h")[1:3] == ("app.py:h", (tmp_path / "../other").resolve())


@pytest.mark.parametrize(
    ("text", "told"), [("order", "orders"), ("app.py", "app.py:handler"), ("xyz", "the functions are orders, idle")]
)
def test_what_is_no_function_is_told_with_what_to_write(config: Config, tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        find_function(text, config, folder=tmp_path, timeout=None)


def test_reserved_concurrency_binds_but_none_at_all_stops_only_workers(config: Config, tmp_path: Path) -> None:
    for name, limit in (("orders", 2), ("idle", None)):
        spec = find_function(name, config, folder=tmp_path, timeout=None)
        assert load(spec, config, ()).concurrency == limit


def test_a_function_that_keeps_its_state_in_a_global_runs_once_at_a_time(config: Config, tmp_path: Path) -> None:
    """As the documented pattern of Powertools does."""
    text = (
        "from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType\nprocessor = BatchProcessor(EventType.SQS)\n"
    )
    (tmp_path / "shared.py").write_text(f"{text}def handler(event, context): return processor.response()\n")
    assert load(find_function("shared.handler", None, folder=tmp_path, timeout=None), config, ()).concurrency == 1


@pytest.mark.usefixtures("config")
def test_two_functions_of_one_module_are_two(tmp_path: Path) -> None:
    """They were loaded under one name, and a comparison compared the second with itself."""
    one, other = (
        load(find_function(each, None, folder=tmp_path, timeout=None), None, ()) for each in ("app.handler", "app.other")
    )
    assert one.invoker._handler is not other.invoker._handler  # type: ignore[attr-defined]


def test_a_handler_that_cannot_be_loaded_is_told_by_its_name(config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^handler nothere\.handler: Runtime.ImportModuleError"):
        load(find_function("nothere.handler", config, folder=tmp_path, timeout=None), config, ())
