"""CloudFormation's functions, pseudo parameters, conditions and resource attributes: what they come to, or why not."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.importing.gaps import Gaps, variable_name
from runtime.importing.resolver import Given, Resolver
from runtime.importing.values import NO_VALUE, Block, Items, Place, Text, Value, located, stand_in
from runtime.importing.writing import scalar_text

HERE = Place(line=7, what="F.Key")
TEMPLATE: dict[str, Any] = {
    "Parameters": {
        "Stage": {"Type": "String", "Default": "dev"},
        "Size": {"Type": "Number", "Default": 5},
        "Names": {"Type": "CommaDelimitedList", "Default": "a, b,c"},
        "Bare": {"Type": "String"},
        "Secret": {"Type": "String", "NoEcho": True, "Default": "hush"},
        "Looked": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/a/b"},
        "Broken": 5,
    },
    "Mappings": {"Sizes": {"dev": {"Batch": 20}}},
    "Conditions": {
        "IsDev": {"Fn::Equals": [{"Ref": "Stage"}, "dev"]},
        "IsProd": {"Fn::Not": [{"Condition": "IsDev"}]},
        "Both": {"Fn::And": [{"Condition": "IsDev"}, {"Condition": "IsProd"}]},
        "Either": {"Fn::Or": [{"Condition": "Unknown"}, {"Condition": "IsDev"}]},
        "Unknown": {"Fn::Equals": [{"Ref": "Bare"}, "x"]},
        "NotUnknown": {"Fn::Not": [{"Condition": "Unknown"}]},
        "NeitherWay": {"Fn::And": [{"Condition": "Unknown"}, {"Condition": "IsDev"}]},
        "FalseAnyway": {"Fn::And": [{"Condition": "Unknown"}, {"Condition": "IsProd"}]},
        "Circular": {"Fn::Not": [{"Condition": "Circular"}]},
        "Nonsense": {"Fn::Equals": "x"},
    },
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": "orders-${Stage}"}}},
        "Made": {"Type": "AWS::SQS::Queue"},
        "Fifo": {"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": "true"}},
        "Stream": {"Type": "AWS::Kinesis::Stream", "Properties": {"Name": "clicks"}},
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "items"}},
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "news"}},
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "pail"}},
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "bus"}},
        "Consumer": {"Type": "AWS::Kinesis::StreamConsumer", "Properties": {"StreamARN": {"Fn::GetAtt": ["Stream", "Arn"]}}},
        "Api": {"Type": "AWS::ApiGateway::RestApi"},
        "Round": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": "${Trip.QueueName}-x"}}},
        "Trip": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::GetAtt": ["Round", "QueueName"]}}},
        "Odd": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": ["a", "list"]}},
        "Nothing": None,
    },
}
KNOWN = Given(region="eu-west-1", account="123456789012", stack="shop")
AT = "eu-west-1:123456789012"


def template() -> Block:
    value = located(TEMPLATE, 3)
    assert isinstance(value, Block)
    return value


def resolver(known: Given = KNOWN) -> Resolver:
    return Resolver(template=template(), given=known)


def resolve(value: Any, known: Given = KNOWN) -> Value:
    return resolver(known).resolve(located(value, 7), HERE)


def shown(value: Value) -> Any:
    """A text with gaps as `esm.yaml` writes it."""
    return scalar_text(value) if isinstance(value, Text) else value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "Stage"}, "dev"),
        ({"Ref": "Size"}, 5),
        ({"Ref": "Names"}, ["a", "b", "c"]),
        ({"Ref": "AWS::Region"}, "eu-west-1"),
        ({"Ref": "AWS::AccountId"}, "123456789012"),
        ({"Ref": "AWS::StackName"}, "shop"),
        ({"Ref": "AWS::Partition"}, "aws"),
        ({"Ref": "AWS::URLSuffix"}, "amazonaws.com"),
        ({"Ref": "Queue"}, "https://sqs.eu-west-1.amazonaws.com/123456789012/orders-dev"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, f"arn:aws:sqs:{AT}:orders-dev"),
        ({"Fn::GetAtt": "Queue.Arn"}, f"arn:aws:sqs:{AT}:orders-dev"),
        ({"Fn::GetAtt": ["Queue", "QueueName"]}, "orders-dev"),
        ({"Ref": "Stream"}, "clicks"),
        ({"Fn::GetAtt": ["Stream", "Arn"]}, f"arn:aws:kinesis:{AT}:stream/clicks"),
        ({"Ref": "Consumer"}, f"arn:aws:kinesis:{AT}:stream/clicks"),
        ({"Ref": "Table"}, "items"),
        ({"Fn::GetAtt": ["Table", "Arn"]}, f"arn:aws:dynamodb:{AT}:table/items"),
        ({"Ref": "Topic"}, f"arn:aws:sns:{AT}:news"),
        ({"Fn::GetAtt": ["Bucket", "Arn"]}, "arn:aws:s3:::pail"),
        ({"Fn::GetAtt": ["Bus", "Arn"]}, f"arn:aws:events:{AT}:event-bus/bus"),
        ({"Fn::Sub": "${Stage}/${Queue.QueueName}/${!Kept}/${Size}"}, "dev/orders-dev/${Kept}/5"),
        ({"Fn::Sub": ["${a}-${Stage}", {"a": {"Ref": "Size"}}]}, "5-dev"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Stage"}, 5, True]]}, "a-dev-5-true"),
        ({"Fn::Join": [",", {"Ref": "Names"}]}, "a,b,c"),
        ({"Fn::Split": [":", {"Fn::GetAtt": ["Queue", "Arn"]}]}, f"arn:aws:sqs:{AT}:orders-dev".split(":")),
        ({"Fn::Select": [1, {"Ref": "Names"}]}, "b"),
        ({"Fn::Select": ["5", {"Fn::Split": [":", {"Fn::GetAtt": ["Queue", "Arn"]}]}]}, "orders-dev"),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "Stage"}, "Batch"]}, 20),
        ({"Fn::FindInMap": ["Sizes", "x", "y", {"DefaultValue": {"Ref": "Size"}}]}, 5),
        ({"Fn::If": ["IsDev", 1, 2]}, 1),
        ({"Fn::If": ["IsProd", 1, {"Ref": "Size"}]}, 5),
        ({"Fn::If": ["FalseAnyway", 1, 2]}, 2),
        ({"a": {"Fn::If": ["IsProd", 1, {"Ref": "AWS::NoValue"}]}, "b": 2}, {"b": 2}),
        ([{"Ref": "AWS::NoValue"}, "x"], ["x"]),
        ({"Not::AFunction": 1}, {"Not::AFunction": 1}),
        ({"Ref": "Stage", "Other": 1}, {"Ref": "Stage", "Other": 1}),
    ],
)
def test_what_is_known_is_worked_out(value: Any, expected: Any) -> None:
    assert resolve(value) == expected


@pytest.mark.parametrize(
    ("value", "expected", "reason"),
    [
        ({"Ref": "Bare"}, "${BARE}", "parameter Bare has no default"),
        ({"Ref": "Secret"}, "${SECRET}", "has NoEcho"),
        ({"Ref": "Looked"}, "${LOOKED}", "is looked up in SSM (/a/b)"),
        ({"Ref": "Broken"}, "${BROKEN}", "has no default"),
        ({"Ref": "Nobody"}, "${NOBODY}", "neither a parameter nor a resource Nobody"),
        ({"Ref": "AWS::StackId"}, "${AWS_STACK_ID}", "known only to the deployed stack"),
        ({"Ref": "Made"}, "${MADE_URL}", "Made has no QueueName, so CloudFormation makes one: give its URL"),
        ({"Fn::GetAtt": ["Made", "Arn"]}, "${MADE_ARN}", "give its ARN"),
        ({"Fn::GetAtt": ["Table", "StreamArn"]}, "${TABLE_STREAM_ARN}", "--table-name items"),
        ({"Fn::GetAtt": ["Api", "RootResourceId"]}, "${API_ROOT_RESOURCE_ID}", "known only when it is deployed"),
        ({"Fn::GetAtt": ["Nobody", "Arn"]}, "${NOBODY_ARN}", "there is no resource Nobody"),
        ({"Fn::GetAtt": ["Nothing", "Arn"]}, "${NOTHING_ARN}", "known only when"),
        ({"Fn::GetAtt": ["Round", "QueueName"]}, "${TRIP_QUEUE_NAME}-x", "made of itself"),
        ({"Fn::GetAtt": ["Odd", "Arn"]}, "${F_KEY}", "a list or a block stands where a text is needed"),
        ({"Fn::GetAtt": "Made"}, "${F_KEY}", "Fn::GetAtt is not given 2 arguments"),
        ({"Fn::ImportValue": "shared-arn"}, "${SHARED_ARN}", "the export shared-arn is another stack's"),
        ({"Fn::ImportValue": {"Fn::Sub": "${Stage}-arn"}}, "${DEV_ARN}", "the export dev-arn"),
        ({"Fn::Sub": "x-${Bare}-y"}, "x-${BARE}-y", "has no default"),
        ({"Fn::Join": [":", ["a", {"Ref": "Bare"}]]}, "a:${BARE}", "has no default"),
        ({"Fn::Join": [":", {"Ref": "Bare"}]}, "${F_KEY}", "Fn::Join is not given"),
        ({"Fn::Select": [0, {"Fn::Split": [":", {"Ref": "Bare"}]}]}, "${F_KEY_2}", "parameter Bare has no default"),
        ({"Fn::Select": [9, ["a"]]}, "${F_KEY}", "does not name an item"),
        ({"Fn::Select": [-1, ["a"]]}, "${F_KEY}", "does not name an item"),
        ({"Fn::Split": ["", "a"]}, "${F_KEY}", "a text to cut at"),
        ({"Fn::If": ["Unknown", 1, 2]}, "${F_KEY}", "whether the condition Unknown holds is not known"),
        ({"Fn::If": ["Nowhere", 1, 2]}, "${F_KEY}", "whether the condition Nowhere holds"),
        ({"Fn::If": ["Circular", 1, 2]}, "${F_KEY}", "whether the condition Circular holds"),
        ({"Fn::If": 5}, "${F_KEY}", "Fn::If is not given 3 arguments"),
        ({"Fn::FindInMap": ["Sizes", "dev", "Nope"]}, "${F_KEY}", "the mapping Sizes has no dev.Nope"),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "Bare"}, "Batch"]}, "${F_KEY}", "parameter Bare has no default"),
        ({"Fn::Base64": "x"}, "${F_KEY}", "Fn::Base64 is not worked out here"),
        ({"Fn::Transform": {"Name": "x"}}, "${F_KEY}", "Fn::Transform is not worked out here"),
        ({"Ref": ["a"]}, "${F_KEY}", "Ref names nothing"),
        (
            "pw-{{resolve:secretsmanager:db:SecretString:password}}",
            "pw-${DB_SECRET_STRING_PASSWORD}",
            "looked up by CloudFormation",
        ),
        ({"Fn::Sub": "{{resolve:ssm:/shop/${Stage}}}"}, "${SHOP_DEV}", "looked up by CloudFormation"),
    ],
)
def test_what_is_not_known_is_a_gap_that_says_why(value: Any, expected: str, reason: str) -> None:
    found = resolve(value)
    assert shown(found) == expected
    assert isinstance(found, Text)
    assert reason in found.gaps[0].reason
    assert found.gaps[0].line in (3, 7)


def test_region_account_and_stack_are_gaps_until_they_are_given() -> None:
    found = resolve({"Fn::GetAtt": ["Queue", "Arn"]}, Given())
    assert shown(found) == "arn:aws:sqs:${AWS_REGION}:${AWS_ACCOUNT_ID}:orders-dev"
    assert stand_in(found) == "arn:aws:sqs:us-east-1:000000000000:orders-dev"
    assert shown(resolve({"Fn::Sub": "${AWS::StackName}-x"}, Given())) == "${AWS_STACK_NAME}-x"


def test_an_arn_with_gaps_can_be_cut_at_its_colons() -> None:
    pieces = {"Fn::Split": [":", {"Fn::GetAtt": ["Queue", "Arn"]}]}
    assert resolve({"Fn::Select": [5, pieces]}, Given()) == "orders-dev"
    assert shown(resolve({"Fn::Select": [3, pieces]}, Given())) == "${AWS_REGION}"


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
        ("us-isob-east-1", "aws-iso-b", "amazonaws.com"),
        (None, "aws", "amazonaws.com"),
    ],
)
def test_the_partition_is_that_of_the_region(region: str | None, partition: str, suffix: str) -> None:
    assert resolve({"Fn::Sub": "${AWS::Partition} ${AWS::URLSuffix}"}, Given(region=region)) == f"{partition} {suffix}"


def test_a_given_parameter_counts_more_than_its_default_and_also_for_those_that_are_looked_up() -> None:
    known = Given(parameters={"Stage": "prod", "Secret": "told", "Looked": "found", "Names": "x,y"})
    assert [resolve({"Ref": name}, known) for name in known.parameters] == ["prod", "told", "found", ["x", "y"]]
    assert resolve({"Fn::If": ["IsProd", 1, 2]}, known) == 1


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("IsDev", True),
        ("IsProd", False),
        ("Both", False),
        ("Either", True),
        ("Unknown", None),
        ("NotUnknown", None),
        ("NeitherWay", None),
        ("FalseAnyway", False),
        ("Circular", None),
        ("Nonsense", None),
        ("Nowhere", None),
    ],
)
def test_conditions_are_true_false_or_not_known(name: str, holds: bool | None) -> None:
    assert resolver().condition(name) is holds


def test_a_queue_without_a_name_has_a_stand_in_of_its_kind() -> None:
    assert stand_in(resolve({"Fn::GetAtt": ["Fifo", "Arn"]})) == f"arn:aws:sqs:{AT}:Fifo.fifo"


def test_names_that_double_at_every_step_end() -> None:
    names = {
        f"Q{n}": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": f"${{Q{n - 1}.QueueName}}" * 2}}}
        for n in range(1, 60)
    }
    block = located({"Resources": {"Q0": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "ab"}}, **names}}, 1)
    assert isinstance(block, Block)
    found = Resolver(template=block, given=KNOWN).resolve(located({"Fn::GetAtt": ["Q59", "Arn"]}, 1), HERE)
    assert len(shown(found)) < 100_000
    assert isinstance(found, Text)
    assert any("more than 65536 characters" in gap.reason for gap in found.gaps)


def test_two_things_never_share_a_variable_and_one_thing_has_one() -> None:
    gaps = Gaps()
    one = gaps.make("OrdersQueue.Arn", "OrdersQueue.Arn", "why", 1)
    other = gaps.make("OrdersQueueArn", "OrdersQueueArn", "why", 1)
    again = gaps.make("OrdersQueue.Arn", "OrdersQueue.Arn", "why", 9)
    assert [each.gaps[0].name for each in (one, other, again)] == ["ORDERS_QUEUE_ARN", "ORDERS_QUEUE_ARN_2", "ORDERS_QUEUE_ARN"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("OrdersQueue.Arn", "ORDERS_QUEUE_ARN"),
        ("SAMLQueue", "SAML_QUEUE"),
        ("2nd", "_2ND"),
        ("é", "VALUE"),
        ("a/b-c", "A_B_C"),
        ("", "VALUE"),
    ],
)
def test_variables_have_names_that_a_shell_takes(words: str, name: str) -> None:
    assert variable_name(words) == name


NAMES = st.sampled_from(
    [*TEMPLATE["Parameters"], *TEMPLATE["Resources"], *TEMPLATE["Conditions"], "AWS::Region", "AWS::NoValue", "x", "Arn"]
)
WORDS = "Ref Fn::GetAtt Fn::Sub Fn::Join Fn::Split Fn::Select Fn::If Fn::FindInMap Fn::ImportValue Fn::Equals Fn::Not Fn::And Condition Fn::X"
FUNCTIONS = st.sampled_from(WORDS.split())
LEAVES = st.one_of(
    NAMES,
    st.text(max_size=8),
    st.integers(-2, 9),
    st.booleans(),
    st.none(),
    st.sampled_from(["${Bare}", "${!x}", "${a.b}", "{{resolve:ssm:x}}", ":"]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(FUNCTIONS, st.text(max_size=4)), inner, max_size=2),
        st.builds(lambda name, argument: {name: argument}, FUNCTIONS, inner),
    ),
    max_leaves=12,
)


@given(TREES)
@settings(max_examples=400, deadline=None)
def test_whatever_stands_there_comes_to_a_value_without_functions(tree: Any) -> None:
    """And what is worked out is not changed by working it out again."""
    found = resolve(tree)
    assert found is NO_VALUE or isinstance(found, str | int | float | Text | Block | Items | None)
    for text in texts_in(found):
        assert all(gap.reason and gap.name.isidentifier() for gap in text.gaps)


@given(st.dictionaries(st.sampled_from(["A", "B", "C"]), TREES, max_size=3))
@settings(max_examples=200, deadline=None)
def test_conditions_of_any_shape_never_fail(conditions: dict[str, Any]) -> None:
    block = located({"Conditions": conditions, "Parameters": {"A": {"Default": "x"}}}, 1)
    assert isinstance(block, Block)
    made = Resolver(template=block, given=KNOWN)
    assert all(made.condition(name) in (True, False, None) for name in conditions)


def texts_in(value: Value) -> list[Text]:
    match value:
        case Text():
            return [value]
        case Block():
            return [text for each in value.values() for text in texts_in(each)]
        case Items():
            return [text for each in value for text in texts_in(each)]
        case _:
            return []
