"""Rules of the one road: which functions and mappings come over, under which keys, and what is said of the rest."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.config import ConfigError
from runtime.importing.cloudformation import draft_of
from runtime.importing.code import Folders
from runtime.importing.findings import Draft, Findings
from runtime.importing.resolver import Given, Resolver
from runtime.importing.sam import Translated, expanded
from runtime.importing.templates import import_template
from runtime.importing.translating import translate
from runtime.importing.values import Block, located

KNOWN = Given(region="eu-west-1", account="123456789012")
ARN = "arn:aws:sqs:eu-west-1:123456789012:orders"
STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
FUNCTION = {"Type": "AWS::Lambda::Function", "Properties": {"Handler": "app.handler", "Runtime": "python3.12", "Code": "./src"}}


def mapping(**properties: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {"FunctionName": {"Ref": "F"}, "EventSourceArn": ARN, **properties},
    }


def imported(template: dict[str, Any], known: Given = KNOWN) -> tuple[Draft, Findings]:
    block = located(template, 5)
    assert isinstance(block, Block)
    findings = Findings(file="t.yaml")
    return draft_of(block, Resolver(template=block, given=known), findings, Folders(template="/a/app", esm="/a/deploy")), findings


def one(template: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The one mapping, and what was said."""
    draft, findings = imported(template)
    (found,) = draft.mappings
    return dict(found.properties), [each.message for each in (*findings.left_out, *findings.notes)]


def resources(**given: Any) -> dict[str, Any]:
    return {"Resources": {"F": FUNCTION, **given}}


# functions


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ({"Ref": "F"}, "F"),
        ({"Fn::GetAtt": ["F", "Arn"]}, "F"),
        ({"Fn::GetAtt": "F.Arn"}, "F"),
        ({"Fn::Sub": "${F}"}, "F"),
        ({"Fn::Sub": "${F.Arn}"}, "F"),
        ({"Ref": "Live"}, "F:live"),
        ({"Ref": "Version"}, "F"),
        ("named", "named"),
        ({"Fn::Sub": "arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:function:named"}, "named"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:named:blue", "named:blue"),
    ],
)
def test_a_function_is_found_however_it_is_named(name: Any, expected: str) -> None:
    template = resources(
        Named={**FUNCTION, "Properties": {**FUNCTION["Properties"], "FunctionName": "named"}},  # type: ignore[dict-item]
        Live={"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "Version"}, "Name": "live"}},
        Version={"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "F"}}},
        M=mapping(FunctionName=name),
    )
    draft, findings = imported(template)
    assert draft.mappings[0].properties["FunctionName"] == expected
    assert [each.key for each in draft.functions] == [expected.partition(":")[0]]
    assert not findings.left_out


def test_a_function_of_elsewhere_gets_a_block_whose_handler_is_to_be_given() -> None:
    draft, findings = imported(resources(M=mapping(FunctionName="elsewhere")))
    assert [gap.name for gap in draft.gaps] == ["ELSEWHERE_HANDLER"]
    assert draft.functions[0].key == "elsewhere"
    assert "it is not in the template" in findings.notes[0].message


def test_an_alias_of_itself_ends() -> None:
    alias = {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "A"}, "Name": "x"}}
    draft, _ = imported(resources(A=alias, M=mapping(FunctionName={"Ref": "A"})))
    assert draft.functions[0].key == "M"


def test_functions_of_one_name_get_keys_of_their_own() -> None:
    named = {**FUNCTION, "Properties": {**FUNCTION["Properties"], "FunctionName": "same"}}  # type: ignore[dict-item]
    template = {
        "Resources": {"A": named, "B": named, "M": mapping(FunctionName={"Ref": "A"}), "N": mapping(FunctionName={"Ref": "B"})}
    }
    draft, _ = imported(template)
    assert [each.key for each in draft.functions] == ["same", "B"]


@pytest.mark.parametrize("runtime", ["nodejs22.x", "java21", "provided.al2023"])
def test_what_is_not_python_is_left_out(runtime: str) -> None:
    function = {**FUNCTION, "Properties": {**FUNCTION["Properties"], "Runtime": runtime}}  # type: ignore[dict-item]
    draft, findings = imported({"Resources": {"F": function, "M": mapping()}})
    assert not draft.mappings
    assert not draft.functions
    assert f"F runs on {runtime}" in findings.left_out[0].message
    assert findings.left_out[0].where == "M"


@pytest.mark.parametrize(
    ("properties", "metadata", "expected", "said"),
    [
        ({"CodeUri": "src/"}, {}, "../app/src", None),
        ({"CodeUri": "../deploy"}, {}, None, None),
        ({"CodeUri": "../deploy/in"}, {}, "./in", None),
        ({"CodeUri": "/opt/code"}, {}, "/opt/code", None),
        ({"Code": "./src"}, {}, "../app/src", None),
        ({"Code": {"S3Bucket": "b", "S3Key": "k"}}, {"aws:asset:path": "asset.1"}, "../app/asset.1", None),
        ({"Code": {"S3Bucket": "b", "S3Key": "k"}}, {}, None, "its code lies in S3"),
        ({"CodeUri": "s3://b/k"}, {}, None, "its code lies in S3"),
        ({"CodeUri": {"Ref": "Nobody"}}, {}, None, "its code lies in S3"),
        ({"Code": {"ZipFile": "x"}}, {}, None, "its code stands in the template"),
        ({"InlineCode": "x"}, {}, None, "its code stands in the template"),
        ({}, {}, None, "does not say where its code lies"),
    ],
)
def test_code_is_looked_for_from_where_the_file_will_lie(
    properties: dict[str, Any], metadata: dict[str, Any], expected: str | None, said: str | None
) -> None:
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Handler": "a.b", **properties}, "Metadata": metadata}
    draft, findings = imported({"Resources": {"F": function, "M": mapping()}})
    assert draft.functions[0].properties.get("CodeUri") == expected
    assert [said in each.message for each in findings.left_out if said] == ([True] if said else [])


def test_functions_that_nothing_runs_are_not_written() -> None:
    draft, _ = imported(resources(G=FUNCTION, M=mapping()))
    assert [each.key for each in draft.functions] == ["F"]


# mappings


def test_numbers_and_booleans_may_be_texts_and_come_over_as_what_they_are() -> None:
    found, said = one(resources(M=mapping(BatchSize="50", Enabled="false", ScalingConfig={"MaximumConcurrency": "5"})))
    assert (found["BatchSize"], found["Enabled"], found["ScalingConfig"]) == (50, False, {"MaximumConcurrency": 5})
    assert not said


def test_what_does_not_fit_comes_over_as_it_is_for_the_check_to_name() -> None:
    found, _ = one(resources(M=mapping(BatchSize="many", BatchSzie=5, FunctionResponseTypes="ReportBatchItemFailures")))
    assert (found["BatchSize"], found["BatchSzie"], found["FunctionResponseTypes"]) == ("many", 5, "ReportBatchItemFailures")


def test_filter_criteria_come_over_unchanged() -> None:
    criteria = {"Filters": [{"Pattern": '{"body": {"a": [{"numeric": [">", 5]}, "${x}"]}}'}]}
    assert one(resources(M=mapping(FilterCriteria=criteria)))[0]["FilterCriteria"] == criteria


def test_keys_come_in_one_order() -> None:
    found, _ = one(resources(M=mapping(ScalingConfig={"MaximumConcurrency": 5}, Unknown=1, BatchSize=5, Enabled=True)))
    assert list(found) == ["FunctionName", "EventSourceArn", "Enabled", "BatchSize", "ScalingConfig", "Unknown"]


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"KmsKeyArn": "arn:aws:kms:x"}, "all that it encrypts is FilterCriteria"),
        ({"ProvisionedPollerConfig": {"MinimumPollers": 2}}, "provisioned pollers are AWS's"),
        ({"DestinationConfig": {"OnFailure": {"Destination": ARN}}}, "a queue has no on-failure destination"),
        ({"SourceAccessConfigurations": [{"Type": "x"}]}, "is for other kinds of sources"),
        ({"ScalingConfig": {"Ref": "Nobody"}}, "and it is no single value: add it by hand"),
    ],
)
def test_what_a_queue_here_does_not_take_is_left_out_and_told(properties: dict[str, Any], said: str) -> None:
    found, messages = one(resources(M=mapping(**properties)))
    assert found.keys() == {"FunctionName", "EventSourceArn"}
    assert [said in each for each in messages] == [True]


@pytest.mark.parametrize(
    "properties", [{"Tags": [{"Key": "a", "Value": "b"}]}, {"MetricsConfig": {"Metrics": ["EventCount"]}}, {"KmsKeyArn": ""}]
)
def test_what_has_no_effect_goes_without_a_word(properties: dict[str, Any]) -> None:
    assert not one(resources(M=mapping(**properties)))[1]


def test_a_stream_keeps_its_destination() -> None:
    wanted = {"OnFailure": {"Destination": ARN}}
    found, said = one(resources(M=mapping(EventSourceArn=STREAM, StartingPosition="LATEST", DestinationConfig=wanted)))
    assert found["DestinationConfig"] == wanted
    assert not said


def test_a_consumer_is_read_as_its_stream_with_a_word() -> None:
    found, said = one(resources(M=mapping(EventSourceArn=f"{STREAM}/consumer/reader:1", StartingPosition="LATEST")))
    assert found["EventSourceArn"] == STREAM
    assert "enhanced fan-out is not supported yet" in said[0]


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"EventSourceArn": "arn:aws:kafka:eu-west-1:123456789012:cluster/c/u"}, "Amazon MSK (Kafka) is not supported yet"),
        ({"EventSourceArn": "arn:aws:mq:eu-west-1:123456789012:broker:b"}, "Amazon MQ is not supported yet"),
        ({"EventSourceArn": "arn:aws:rds:eu-west-1:123456789012:cluster:c"}, "Amazon DocumentDB is not supported yet"),
        ({"EventSourceArn": None}, "the ARN of its source is not given"),
        ({"EventSourceArn": None, "SelfManagedEventSource": {}}, "self-managed Apache Kafka"),
        ({"EventSourceArn": ["x"]}, "the ARN of its source is not given"),
    ],
)
def test_other_sources_are_left_out(properties: dict[str, Any], said: str) -> None:
    draft, findings = imported(resources(M=mapping(**properties)))
    assert draft.mappings == ()
    assert [said in each.message for each in findings.left_out] == [True]
    assert findings.left_out[0].line == 5


@pytest.mark.parametrize(
    ("condition", "kept", "said"),
    [
        ("Yes", True, None),
        ("No", False, "its condition No does not hold"),
        ("Maybe", True, "whether its condition Maybe holds is not known"),
    ],
)
def test_conditions_decide_where_they_are_known(condition: str, kept: bool, said: str | None) -> None:
    template = {
        **resources(M={**mapping(), "Condition": condition}),
        "Parameters": {"P": {"Type": "String"}},
        "Conditions": {
            "Yes": {"Fn::Equals": ["a", "a"]},
            "No": {"Fn::Equals": ["a", "b"]},
            "Maybe": {"Fn::Equals": [{"Ref": "P"}, "a"]},
        },
    }
    draft, findings = imported(template)
    assert bool(draft.mappings) is kept
    messages = [each.message for each in (*findings.left_out, *findings.notes)]
    assert [said in each for each in messages] == ([True] if said else []) if said else not messages


@pytest.mark.parametrize("kind", ["AWS::CloudFormation::Stack", "AWS::Serverless::Application"])
def test_a_stack_in_the_stack_is_told(kind: str) -> None:
    draft, findings = imported(resources(M=mapping(), Inner={"Type": kind, "Properties": {}}))
    assert len(draft.mappings) == 1
    assert ["is a stack of its own" in each.message for each in findings.left_out] == [True]


# SAM


def sam(events: dict[str, Any], defaults: dict[str, Any] | None = None, **properties: Any) -> Block:
    function = {
        "Type": "AWS::Serverless::Function",
        "Properties": {"Handler": "a.b", "Runtime": "python3.12", "CodeUri": "src", **properties, "Events": events},
    }
    block = located({"Globals": {"Function": defaults or {}}, "Resources": {"F": function}}, 5)
    assert isinstance(block, Block)
    return block


def test_globals_are_merged_as_sam_does_it() -> None:
    defaults = {"Timeout": 10, "MemorySize": 512, "Environment": {"Variables": {"A": "1", "B": "2"}}}
    block = sam(
        {"Q": {"Type": "SQS", "Properties": {"Queue": ARN}}},
        defaults,
        Timeout=20,
        Environment={"Variables": {"B": "3"}},
    )
    function = block.block("Resources").block("F")
    function["IgnoreGlobals"] = located(["MemorySize"], 5)
    made = expanded(block, Findings(file="t.yaml"), translate).block("Resources").block("F").block("Properties")
    assert (made["Timeout"], made["Environment"], made["CodeUri"]) == (20, {"Variables": {"A": "1", "B": "3"}}, "src")
    assert "MemorySize" not in made


@pytest.mark.parametrize("kind", ["Api", "HttpApi", "Schedule", "S3", "SNS", "EventBridgeRule", "CloudWatchLogs", "Nonsense"])
def test_events_that_are_pushed_are_left_out(kind: str) -> None:
    findings = Findings(file="t.yaml")
    expanded(sam({"E": {"Type": kind, "Properties": {}}}), findings, lambda documents: [Translated() for _ in documents])
    assert [str(each) for each in findings.left_out] == [
        f"F.Events.E (t.yaml:5): an event of type {kind} is not polled for, so nothing here runs it"
    ]


@pytest.mark.parametrize(("events", "where"), [(5, "F.Events"), ({"E": 5}, "F.Events.E"), ({"E": [1]}, "F.Events.E")])
def test_events_of_a_wrong_shape_are_told(events: Any, where: str) -> None:
    findings = Findings(file="t.yaml")
    expanded(sam(events), findings, translate)
    assert [each.where for each in findings.left_out] == [where]


def test_one_event_that_the_translator_refuses_costs_no_other() -> None:
    findings = Findings(file="t.yaml")
    bad = {"Type": "SQS", "Properties": {"Queue": ARN, "BatchSize": "many"}}
    made = expanded(sam({"Bad": bad, "Good": {"Type": "SQS", "Properties": {"Queue": ARN}}}), findings, translate)
    assert [name for name in made.block("Resources") if "Events" in name] == ["F.Events.Good"]
    assert ["SAM's translator refuses it" in each.message for each in findings.left_out] == [True]


def test_the_translator_survives_values_of_every_type() -> None:
    """Garbage in each place of a function and its event, all in one process."""
    pick = random.Random(7)  # noqa: S311  # the same garbage every time
    garbage: list[Any] = [None, True, 5, -1.5, "", "x", [], [1], {}, {"a": 1}, {"Ref": "X"}, {"Fn::If": [1]}, [[{}]]]
    keys = ["Handler", "Runtime", "Timeout", "Environment", "FunctionName", "Condition"]
    documents = []
    for number in range(300):
        event = {
            "Type": "SQS",
            "Properties": {
                "Queue": pick.choice(garbage),
                pick.choice(["BatchSize", "FilterCriteria", "DestinationConfig"]): pick.choice(garbage),
            },
        }
        block = sam({f"E{number}": event}, {pick.choice(keys): pick.choice(garbage)}, **{pick.choice(keys): pick.choice(garbage)})
        found: list[Any] = []

        def keep(given: Any, found: list[Any] = found) -> list[Translated]:
            found += given
            return [Translated() for _ in given]

        expanded(block, Findings(file="t.yaml"), keep)
        documents += found
    answers = translate(documents)
    assert len(answers) == len(documents) == 300
    assert all(bool(each.resources) != bool(each.refusal) for each in answers)
    assert any(each.refusal for each in answers)


# whole files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: 1\n", "there are no `Resources` here, nor the `provider` and `functions`"),
        ("Resources: 5\n", "there are no `Resources` here"),
        ("functions: {}\n", "there are no `Resources` here"),
        (
            "Parameters: {Stage: {Type: String}}\nResources: {}\n",
            "--parameter Stge: the template has no such parameter: did you mean Stage?",
        ),
    ],
)
def test_files_of_other_kinds_are_refused(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(content)
    with pytest.raises(ConfigError) as raised:
        import_template(tmp_path / "t.yaml", Given(parameters={"Stge": "x"}), into=tmp_path)
    assert said in str(raised.value)


def test_functions_nested_too_deeply_to_be_worked_out_are_an_error(tmp_path: Path) -> None:
    value: Any = "x"
    for _ in range(95):
        value = {"Fn::Join": ["", [value]]}
    template = resources(M=mapping(BatchSize=value, EventSourceArn=value))
    (tmp_path / "t.json").write_text(json.dumps(template))
    try:
        draft, _ = import_template(tmp_path / "t.json", KNOWN, into=tmp_path)
    except ConfigError as error:
        assert "nested too deeply" in str(error)  # noqa: PT017  # either is right: how deep is too deep is Python's business
    else:
        assert draft.mappings


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 3),
    st.text(max_size=4),
    st.sampled_from([ARN, "F", "M", "python3.12", "app.handler"]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Ref", "Fn::GetAtt", "Fn::Sub", "Type", "Properties", "OnFailure", "Filters", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["FunctionName", "EventSourceArn", "BatchSize", "Enabled", "FilterCriteria", "DestinationConfig", "Tags", "Handler", "Runtime", "Code", "CodeUri", "Environment", "PackageType", "Layers", "StreamARN"]
)  # fmt: skip
RESOURCE = st.fixed_dictionaries(
    {
        "Type": st.sampled_from(
            [
                "AWS::Lambda::EventSourceMapping",
                "AWS::Lambda::Function",
                "AWS::Lambda::Alias",
                "AWS::SQS::Queue",
                "AWS::Kinesis::StreamConsumer",
            ]
        )
    },
    optional={"Properties": st.dictionaries(KEYS, TREES, max_size=4) | TREES, "Condition": TREES, "Metadata": TREES},
)


@given(st.dictionaries(st.sampled_from("FGMN"), RESOURCE | TREES, max_size=4))
@settings(max_examples=400, deadline=None)
def test_templates_of_any_shape_come_to_a_draft(given_resources: dict[str, Any]) -> None:
    draft, _ = imported({"Resources": given_resources})
    keys = {each.key for each in draft.functions}
    assert all(str(each.properties["FunctionName"]).partition(":")[0] in keys for each in draft.mappings)
    assert all("Handler" in each.properties for each in draft.functions)
