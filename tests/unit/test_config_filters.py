"""`FilterCriteria` in `esm.yaml` (FLT-01..FLT-05)."""

from pathlib import Path

import pytest

from runtime.core.mapping import EventSourceMapping, MappingState
from runtime.status import MappingStatus
from tests.unit.test_config_case import FUNCTIONS, KINESIS, MAPPINGS, QUEUE, TABLE, check, load, problems_of

ORDER = '{"body": {"kind": ["order"]}}'


def text(filters: str, source: str = QUEUE) -> str:
    start = "" if source == QUEUE else "    StartingPosition: LATEST\n    MaximumRetryAttempts: 1\n"
    return FUNCTIONS + MAPPINGS.replace(QUEUE, source) + start + f"    FilterCriteria:\n      Filters:\n{filters}"


def mapping_of(folder: Path, filters: str, source: str = QUEUE) -> EventSourceMapping:
    (mapping,) = load(folder, text(filters, source)).mappings
    return mapping


def warnings_of(folder: Path, filters: str) -> list[str]:
    return [str(warning) for warning in load(folder, text(filters)).warnings]


def test_flt_01_patterns_are_read_and_compiled_in_their_order(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, f"""        - Pattern: '{ORDER}'\n        - {{Pattern: '{{"body": ["go"]}}'}}\n""")
    assert mapping.criteria is not None
    assert mapping.criteria.patterns == (ORDER, '{"body": ["go"]}')
    assert mapping.criteria.matches({"body": "go"})
    assert not mapping.criteria.matches({"body": "stop"})


def test_a_pattern_may_stand_in_lines_of_its_own(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, '        - Pattern: |\n            {"body":\n              {"kind": ["order"]}}\n')
    assert mapping.criteria is not None
    assert mapping.criteria.matches({"body": {"kind": "order"}})


@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        (KINESIS, '{"data": {"kind": ["order"]}}'),
        (TABLE, '{"eventName": ["INSERT"], "dynamodb": {"Keys": {"id": {"S": ["1"]}}}}'),
    ],
)
def test_flt_10_every_source_takes_patterns_for_its_own_data(tmp_path: Path, source: str, pattern: str) -> None:
    mapping = mapping_of(tmp_path, f"        - Pattern: '{pattern}'\n", source)
    assert mapping.criteria is not None
    assert mapping.criteria.patterns == (pattern,)


@pytest.mark.parametrize("block", ["{}", "{Filters: []}", ""])
def test_flt_05_no_filters_are_no_criteria(tmp_path: Path, block: str) -> None:
    (mapping,) = load(tmp_path, FUNCTIONS + MAPPINGS + f"    FilterCriteria: {block}\n").mappings
    assert mapping.criteria is None


@pytest.mark.parametrize(
    ("rule", "filters"),
    [
        (
            "FLT-04",
            ("""        - Pattern: '{"body": {"kind": "order"}}'  #! FilterCriteria.Filters.0.Pattern: body.kind (line 1, column 19 of the """
            """pattern): the values that a field may have stand in a list, as in ["order"] (AWS: Invalid filter pattern definition.)\n"""),
        ),
        ("FLT-04", f"""        - Pattern: '{ORDER}'\n        - Pattern: 'null'  #! FilterCriteria.Filters.1.Pattern: line 1, column 1\n"""),
        ("FLT-04", """        - Pattern: '[]'  #! a pattern is a JSON object\n        - Pattern: '{}'  #! an empty object\n"""),
        ("FLT-01", "        - Pattern: ''  #! it is empty, but a pattern is a JSON object\n"),
        ("FLT-01", """        - {}  #! FilterCriteria.Filters.0.Pattern is missing: give it a value, as in '{"body"\n"""),
        ("FLT-01", f"""        - Pattern: '{{"a":["{"x" * 4096}"]}}'  #! is 4106 characters long, but 4096 is the most\n"""),
        ("FLT-01", f"""        - pattern: '{ORDER}'  #! did you mean Pattern?  #! Pattern is missing\n"""),
        (
            "FLT-01",
            ("""        - Pattern: {"body": {"kind": ["order"]}}  #! FilterCriteria.Filters.0.Pattern is a block of keys, but it must be """
            """the text of a JSON object: put it in quotes, as in '{"body": {"kind": ["order"]}}'\n"""),
        ),
        ("FLT-01", "        - Pattern:  #! must be the text of a JSON object: put it in quotes\n            - body\n"),
        ("FLT-01", "        - Pattern:  #! FilterCriteria.Filters.0.Pattern has no value\n"),
        ("FLT-01", "        - Pattern: !Sub '{}'  #! only CloudFormation can resolve\n"),
        ("FLT-21", None),
    ],
)  # fmt: skip
def test_a_wrong_pattern_is_a_problem_with_its_line_and_its_place(tmp_path: Path, rule: str, filters: str | None) -> None:
    assert rule
    if filters is None:
        check(
            tmp_path,
            text(
                """        - Pattern: '{"data": ["x"]}'  #! data (line 1, column 10 of the pattern): the records of\n""", KINESIS
            ),
        )
        check(tmp_path, text("""        - Pattern: '{"dynamodb": ["x"]}'  #! as in {"dynamodb": {"kind"\n""", TABLE))
    else:
        check(tmp_path, text(filters))


def test_flt_02_ten_filters_are_the_most_and_above_five_a_warning_says_what_aws_takes(tmp_path: Path) -> None:
    one = f"        - Pattern: '{ORDER}'\n"
    assert warnings_of(tmp_path, one * 5) == []
    (warning,) = warnings_of(tmp_path, one * 6)
    assert "esm.yaml:8): FilterCriteria.Filters holds 6 filters: AWS takes 5 unless" in warning
    assert len(load(tmp_path, text(one * 10)).mappings) == 1
    (problem,) = problems_of(tmp_path, text(one * 11))
    assert "FilterCriteria.Filters holds 11 items, but 10 is the most" in str(problem)


def test_flt_51_operators_that_lambda_does_not_document_are_a_warning(tmp_path: Path) -> None:
    (warning,) = warnings_of(tmp_path, """        - Pattern: '{"body": {"file": [{"wildcard": "*.jar"}]}}'\n""")
    assert "FilterCriteria.Filters.0.Pattern uses wildcard, which EventBridge has and Lambda does not document" in warning


@pytest.mark.parametrize("key", ["KMSKeyArn", "KmsKeyArn"])
def test_api_29_a_key_for_encrypting_filters_has_no_effect_and_a_warning(tmp_path: Path, key: str) -> None:
    config = load(tmp_path, FUNCTIONS + MAPPINGS + f"    {key}: arn:aws:kms:eu-west-1:123456789012:key/x\n")
    (warning,) = config.warnings
    assert f"{key} has no effect here, all it encrypts in AWS is FilterCriteria, and those stand in this file" in str(warning)
    assert load(tmp_path, FUNCTIONS + MAPPINGS + f"    {key}: ''\n").warnings == ()


def test_mappings_shows_the_filters_where_there_are_some(tmp_path: Path) -> None:
    def shown(mapping: EventSourceMapping) -> dict[str, object]:
        return MappingStatus(mapping=mapping, state=MappingState.ENABLED).shown(0.0, 0.0)

    with_filters = mapping_of(tmp_path, f"        - Pattern: '{ORDER}'\n")
    assert shown(with_filters)["FilterCriteria"] == {"Filters": [{"Pattern": ORDER}]}
    (without,) = load(tmp_path, FUNCTIONS + MAPPINGS).mappings
    assert "FilterCriteria" not in shown(without)
