"""Whole templates as people write them, and what comes of each: the file, and everything that is said of it."""

from pathlib import Path

import pytest

from runtime.config import ConfigError, load_text
from runtime.importing.resolver import Given
from runtime.importing.templates import import_template
from runtime.importing.values import stand_in
from runtime.importing.writing import written

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "import"
REGION = Given(region="eu-west-1")
CASES = {
    "sam.yaml": REGION,
    "cloudformation.yaml": Given(),
    "cdk.json": Given(account="123456789012", region="eu-west-1"),
    "serverless.yml": Given(stage="prod"),
}


@pytest.fixture(autouse=True)
def _in_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are named as a user names them."""
    monkeypatch.chdir(GOLDEN)


@pytest.mark.parametrize("name", CASES)
def test_a_template_comes_to_its_file_and_findings(name: str) -> None:
    draft, findings = import_template(Path(name), CASES[name], into=GOLDEN)
    said = [f"left out: {each}" for each in findings.left_out] + [f"look at: {each}" for each in findings.notes]
    text = written(draft) + "".join(f"# {line}\n" for line in said)
    assert text == (GOLDEN / f"{name}.esm.yaml").read_text()


@pytest.mark.parametrize("name", CASES)
def test_the_check_of_the_file_finds_only_what_is_missing_here(name: str, tmp_path: Path) -> None:
    """Folders of code, filters (which are not built yet), and gaps that nothing can stand in for."""
    draft, _ = import_template(Path(name), CASES[name], into=tmp_path)
    environ = {gap.name: gap.stand_in or ("app.handler" if gap.name.endswith("_HANDLER") else "") for gap in draft.gaps}
    environ |= {
        name: "arn:aws:sqs:eu-west-1:123456789012:given" for name in ("RETURNS_QUEUE_ARN", "SHARED_QUEUE_ARN") if name in environ
    }
    environ |= {"CIRCULAR_QUEUE_QUEUE_NAME": "round"}
    try:
        load_text(written(draft), environ, file=tmp_path / "esm.yaml")
    except ConfigError as error:
        messages = [each.message for each in error.problems]
        expected = ("there is no folder", "FilterCriteria is not supported yet", "DestinationConfig is not for SQS queues")
        assert [each for each in messages if not any(part in each for part in expected)] == []


def test_every_gap_of_a_source_has_something_that_stands_in_for_it_where_the_kind_is_known() -> None:
    draft, _ = import_template(Path("sam.yaml"), REGION, into=GOLDEN)
    arns = [stand_in(each.properties["EventSourceArn"]) for each in draft.mappings]
    assert arns == [
        "arn:aws:sqs:eu-west-1:000000000000:orders-dev",
        "",  # a parameter may be anything
        "arn:aws:sqs:eu-west-1:000000000000:payments.fifo",
        "arn:aws:sqs:eu-west-1:000000000000:OrdersFunctionNoticesQueue",
        "arn:aws:kinesis:eu-west-1:000000000000:stream/clicks-dev",
        "arn:aws:dynamodb:eu-west-1:000000000000:table/table/stream/2026-01-31T12:00:00.000",
        "arn:aws:sqs:eu-west-1:000000000000:orders-dev",
    ]
