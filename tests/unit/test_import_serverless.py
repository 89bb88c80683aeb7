"""serverless.yml: its variables, and what the framework makes of an event."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.importing.findings import Draft, Findings
from runtime.importing.resolver import Given
from runtime.importing.templates import import_template
from runtime.importing.values import Block, Place, Text, located
from runtime.importing.variables import Variables
from runtime.importing.writing import scalar_text

HERE = Place(line=7, what="orders.key")
ROOT: dict[str, Any] = {
    "service": "shop",
    "custom": {
        "name": "${self:service}-${sls:stage}",
        "sizes": {"dev": 5, "prod": 50},
        "list": ["a", "b"],
        "round": "${self:custom.trip}",
        "trip": "${self:custom.round}",
        "block": {"x": "${self:service}"},
    },
    "provider": {"name": "aws", "stage": "${opt:stage, 'dev'}", "region": "eu-west-1"},
    "params": {"default": {"size": 1, "only": "d"}, "prod": {"size": 2}},
    "stages": {"prod": {"params": {"late": "l"}}},
}


def resolve(text: Any, known: Given | None = None) -> Any:
    root = located(ROOT, 3)
    assert isinstance(root, Block)
    found = Variables(root=root, given=known or Given()).resolve(located(text, 7), HERE)
    return scalar_text(found) if isinstance(found, Text) else found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${self:service}", "shop"),
        ("${self:custom.name}-x", "shop-dev-x"),
        ("${self:custom.sizes.${sls:stage}}", 5),
        ("${self:custom.list.1}", "b"),
        ("${self:custom.block}", {"x": "shop"}),
        ("${self:custom.nothing, 'other'}", "other"),
        ("${self:custom.nothing, self:service}", "shop"),
        ("${self:custom.nothing, ${self:service}}", "shop"),
        ('${self:custom.nothing, "a, b"}', "a, b"),
        ("${self:custom.nothing, 5}", 5),
        ("${self:custom.nothing, true}", True),
        ("${self:custom.nothing, null}", None),
        ("${opt:stage, 'x'}", "x"),
        ("${sls:stage}", "dev"),
        ("${self:provider.stage}", "dev"),
        ("${param:size}", 1),
        ("${param:only}", "d"),
        ("${env:TOKEN}", "${TOKEN}"),
        ("${env:TOKEN, 'none'}", "${TOKEN:-none}"),
        ("${env:SIZE, 5}", "${SIZE:-5}"),
        ("x-${env:TOKEN}-y", "x-${TOKEN}-y"),
        ("${ssm:/shop/token}", "${TOKEN}"),
        ("${cf:other.QueueArn}", "${OTHER_QUEUE_ARN}"),
        ("${file(./x.yml):a}", "${A}"),
        ("${aws:accountId}", "${AWS_ACCOUNT_ID}"),
        ("${self:custom.nothing}", "${ORDERS_KEY}"),
        ("${self:custom.round}", "${ORDERS_KEY}"),
        ("a-${self:custom.list}", "${ORDERS_KEY}"),
        ("no variable ${x} $ {self:service}", "no variable ${x} $ {self:service}".replace("${x}", "$${x}")),
        ("${self:service", "$${self:service"),
    ],
)
def test_variables(text: str, expected: Any) -> None:
    found = resolve(text)
    assert (
        scalar_text(found) if (isinstance(found, str) and "${x}" in found) or found == "${self:service" else found
    ) == expected


def test_options_count_more_than_what_the_file_says() -> None:
    known = Given(stage="prod", region="us-east-1", account="123456789012", parameters={"only": "told"})
    asked = [
        "${sls:stage}",
        "${self:custom.sizes.${opt:stage}}",
        "${param:size}",
        "${param:late}",
        "${param:only}",
        "${opt:region}",
        "${aws:accountId}",
    ]
    assert [resolve(text, known) for text in asked] == ["prod", 50, 2, "l", "told", "us-east-1", "123456789012"]


def test_pseudo_parameters_and_functions_are_left_to_cloudformation() -> None:
    assert resolve("arn:${AWS::Region}:${self:service}") == {"Fn::Sub": "arn:${AWS::Region}:shop"}
    assert resolve({"Fn::Sub": "${Table}-${AWS::Region}-${self:service}"}) == {"Fn::Sub": "${Table}-${AWS::Region}-shop"}


PIECES = st.lists(
    st.sampled_from(["${", "}", "self:", "custom", ".", "env:", "opt:", "sls:stage", ",", " ", "'", '"', "a", "5", "(", ")", "::", "AWS::Region", "service", "custom.round", "$", "param:", "ssm:"]),
    max_size=12,
).map("".join)  # fmt: skip


@given(PIECES)
@settings(max_examples=500, deadline=None)
def test_variables_of_any_shape_never_fail(text: str) -> None:
    resolve(text)


def imported(
    folder: Path, functions: str, *, provider: str = "", known: Given | None = None, more: str = ""
) -> tuple[Draft, Findings]:
    (folder / "serverless.yml").write_text(
        f"service: shop\nprovider: {{name: aws, runtime: python3.12, region: eu-west-1{provider}}}\nfunctions:\n{functions}{more}"
    )
    return import_template(folder / "serverless.yml", known or Given(account="123456789012"), into=folder)


ARN = "arn:aws:sqs:eu-west-1:123456789012:q"
STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"


def one(folder: Path, event: str) -> tuple[dict[str, Any], Findings]:
    draft, findings = imported(folder, f"  f: {{handler: a.b, events: [{event}]}}\n")
    (mapping,) = draft.mappings
    assert mapping.properties.pop("FunctionName") == "f"
    return dict(mapping.properties), findings


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (f"{{sqs: '{ARN}'}}", {"EventSourceArn": ARN, "BatchSize": 10}),
        (f"{{sqs: {{arn: '{ARN}', batchSize: 7, enabled: false}}}}", {"EventSourceArn": ARN, "BatchSize": 7, "Enabled": False}),
        (f"{{sqs: {{arn: '{ARN}', maximumBatchingWindow: 5}}}}", {"EventSourceArn": ARN, "BatchSize": 10, "MaximumBatchingWindowInSeconds": 5}),
        (f"{{sqs: {{arn: '{ARN}', functionResponseType: ReportBatchItemFailures}}}}", {"EventSourceArn": ARN, "BatchSize": 10, "FunctionResponseTypes": ["ReportBatchItemFailures"]}),
        (f"{{sqs: {{arn: '{ARN}', maximumConcurrency: 5}}}}", {"EventSourceArn": ARN, "BatchSize": 10, "ScalingConfig": {"MaximumConcurrency": 5}}),
        (f"{{sqs: {{arn: '{ARN}', filterPatterns: [{{a: [1, null, true]}}, {{b: [x]}}]}}}}", {"EventSourceArn": ARN, "BatchSize": 10, "FilterCriteria": {"Filters": [{"Pattern": '{"a":[1,null,true]}'}, {"Pattern": '{"b":["x"]}'}]}}),
        ("{sqs: !Sub 'arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:q'}", {"EventSourceArn": ARN, "BatchSize": 10}),
        ("{sqs: 'arn:aws:sqs:${aws:region}:${aws:accountId}:q'}", {"EventSourceArn": ARN, "BatchSize": 10}),
        (f"{{stream: '{STREAM}'}}", {"EventSourceArn": STREAM, "BatchSize": 10, "StartingPosition": "TRIM_HORIZON"}),
        (
            (f"{{stream: {{type: kinesis, arn: '{STREAM}', batchSize: 50, batchWindow: 1, startingPosition: AT_TIMESTAMP, startingPositionTimestamp: 1000, "
            "parallelizationFactor: 2, maximumRetryAttempts: 3, maximumRecordAgeInSeconds: 60, bisectBatchOnFunctionError: true, tumblingWindowInSeconds: 0}}"),
            {"EventSourceArn": STREAM, "BatchSize": 50, "MaximumBatchingWindowInSeconds": 1, "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1000,
             "ParallelizationFactor": 2, "MaximumRetryAttempts": 3, "MaximumRecordAgeInSeconds": 60, "BisectBatchOnFunctionError": True, "TumblingWindowInSeconds": 0},
        ),
        (f"{{stream: {{arn: '{STREAM}', destinations: {{onFailure: '{ARN}'}}}}}}", {"EventSourceArn": STREAM, "BatchSize": 10, "StartingPosition": "TRIM_HORIZON", "DestinationConfig": {"OnFailure": {"Destination": ARN}}}),
        (f"{{stream: {{arn: '{STREAM}', destinations: {{onFailure: {{arn: '{ARN}', type: sqs}}}}}}}}", {"EventSourceArn": STREAM, "BatchSize": 10, "StartingPosition": "TRIM_HORIZON", "DestinationConfig": {"OnFailure": {"Destination": ARN}}}),
    ],
)  # fmt: skip
def test_an_event_becomes_the_mapping_that_the_framework_makes(event: str, expected: dict[str, Any], tmp_path: Path) -> None:
    found, findings = one(tmp_path, event)
    assert found == expected
    assert not findings.left_out


def test_a_consumer_is_read_as_its_stream_with_a_word(tmp_path: Path) -> None:
    found, findings = one(tmp_path, f"{{stream: {{arn: '{STREAM}', consumer: true}}}}")
    assert found["EventSourceArn"] == STREAM
    assert "enhanced fan-out" in findings.notes[0].message


def test_keys_that_mean_nothing_are_told(tmp_path: Path) -> None:
    _, findings = one(tmp_path, f"{{sqs: {{arn: '{ARN}', batchsize: 5}}}}")
    assert [str(each) for each in findings.left_out] == [
        f"functions.f.events.sqs.batchsize ({tmp_path}/serverless.yml:4): it has no meaning for this kind of event"
    ]


@pytest.mark.parametrize(
    "event", ["{http: {path: /, method: get}}", "{schedule: rate(1 day)}", "{msk: {}}", "{rabbitmq: {}}", "s3", "5", "{}"]
)
def test_other_events_are_left_out(event: str, tmp_path: Path) -> None:
    draft, findings = imported(tmp_path, f"  f: {{handler: a.b, events: [{event}]}}\n")
    assert not draft.mappings
    assert [each.line for each in findings.left_out] == [4]


def test_what_the_framework_sets_itself_is_written(tmp_path: Path) -> None:
    draft, _ = imported(tmp_path, f"  f: {{handler: a.b, events: [{{sqs: '{ARN}'}}]}}\n")
    assert draft.functions[0].properties == {"Handler": "a.b", "Timeout": 6, "MemorySize": 1024}


def test_the_function_counts_more_than_the_provider(tmp_path: Path) -> None:
    functions = f"  f: {{handler: a.b, timeout: 9, reservedConcurrency: 2, module: mod, environment: {{B: '3'}}, events: [{{sqs: '{ARN}'}}]}}\n"
    draft, _ = imported(tmp_path, functions, provider=", timeout: 8, memorySize: 512, environment: {A: '1', B: '2'}")
    assert draft.functions[0].properties == {
        "Handler": "a.b",
        "CodeUri": "./mod",
        "Timeout": 9,
        "MemorySize": 512,
        "ReservedConcurrentExecutions": 2,
        "Environment": {"Variables": {"A": "1", "B": "3"}},
    }


def test_without_a_word_of_the_runtime_it_is_not_python(tmp_path: Path) -> None:
    (tmp_path / "serverless.yml").write_text(
        f"service: s\nprovider: {{name: aws}}\nfunctions:\n  f: {{handler: a.b, events: [{{sqs: '{ARN}'}}]}}\n"
    )
    draft, findings = import_template(tmp_path / "serverless.yml", Given(), into=tmp_path)
    assert not draft.mappings
    assert "runs on nodejs" in findings.left_out[0].message


def test_arns_come_from_resources_also_from_a_list_of_them(tmp_path: Path) -> None:
    more = "resources:\n  - Resources: {Q: {Type: AWS::SQS::Queue, Properties: {QueueName: '${self:service}-${sls:stage}'}}}\n  - Resources: {R: {Type: AWS::SQS::Queue}}\n"
    draft, _ = imported(tmp_path, "  f: {handler: a.b, events: [{sqs: !GetAtt Q.Arn}, {sqs: {arn: !GetAtt R.Arn}}]}\n", more=more)
    sources = [each.properties["EventSourceArn"] for each in draft.mappings]
    assert sources[0] == "arn:aws:sqs:eu-west-1:123456789012:shop-dev"
    assert [gap.name for gap in draft.gaps] == ["R_ARN"]


def test_functions_may_be_a_list_and_those_of_other_files_are_told(tmp_path: Path) -> None:
    functions = f"  - ${{file(other.yml)}}\n  - f: {{handler: a.b, events: [{{sqs: '{ARN}'}}]}}\n"
    draft, findings = imported(tmp_path, functions)
    assert [each.key for each in draft.functions] == ["f"]
    assert [(each.line, each.where) for each in findings.left_out] == [(4, "functions")]
    assert "another file is not read" in findings.left_out[0].message
