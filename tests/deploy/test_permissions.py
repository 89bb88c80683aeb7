"""The IAM policies allow what the program asks AWS for, read from its own source, on one resource, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from pollers.aws import hot as hot_requests
from pollers.aws.hot import HotKind
from tests.deploy.shipped import DEPLOY, ROOT

IAM: Final = DEPLOY / "iam"
POLICIES: Final = sorted(IAM.glob("*.json"))
READERS: Final = {
    "queue-policy": ("sqs", "sqs.py"),
    "encrypted-queue-policy": ("sqs", "sqs.py"),
    "kinesis-policy": ("kinesis", "kinesis.py"),
    "encrypted-kinesis-policy": ("kinesis", "kinesis.py"),
    "dynamodb-stream-policy": ("dynamodb", "dynamodb_streams.py"),
}
"""Policy -> prefix of its actions, and the module that makes the requests."""
CONSUMER: Final = "kinesis-consumer-policy"
DESTINATIONS: Final = {
    "destination-sqs-policy": ["sqs:SendMessage", "sqs:GetQueueAttributes"],
    "destination-sns-policy": ["sns:Publish", "sns:GetTopicAttributes"],
    "destination-s3-policy": ["s3:PutObject", "s3:ListBucket"],
    "destination-lambda-policy": ["lambda:InvokeFunction", "lambda:GetFunctionConfiguration"],
    "destination-eventbridge-policy": ["events:PutEvents", "events:DescribeEventBus"],
}
"""Policy -> what sends, and what `esm check --online` asks."""
STATE: Final = "state-dynamodb-policy"


def statements(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((IAM / f"{name}.json").read_text())["Statement"]
    return loaded


def requests_of(module: str) -> set[str]:
    """The operations that a poller calls on its client, and the hot ones; IAM has one action for a request and its batch."""
    source = (ROOT / "pollers" / module).read_text()
    hot = {
        kind.name for word, kind in vars(hot_requests).items() if isinstance(kind, HotKind) and re.search(rf"\b{word}\b", source)
    }
    assert hot, f"{module} makes hot requests"
    return {name.removesuffix("Batch") for name in called_in(module) | hot}


def called_in(module: str) -> set[str]:
    source = (ROOT / "pollers" / module).read_text()
    return {"".join(word.title() for word in name.split("_")) for name in re.findall(r"\bclient\.([a-z_]+)\(", source)}


def test_every_policy_is_known_here() -> None:
    assert {path.stem for path in POLICIES} == {*READERS, *DESTINATIONS, CONSUMER, STATE}


def test_the_policy_of_the_state_allows_what_its_store_asks_for_and_nothing_else() -> None:
    """A transaction of conditional puts is PutItem to IAM."""
    folder = ROOT / "runtime" / "stores" / "dynamodb"
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    asked = set(re.findall(r'\bself\.(?:_calls\.call|calls\.call|_do|_pages)\(\s*"(\w+)"', source))
    asked |= set(re.findall(r'\b_?legacy\.call\(\s*"(\w+)"', source))
    known = set(re.findall(r'^\s+"(\w+)": "\w+",$', (folder / "calls.py").read_text(), re.MULTILINE))
    assert asked == known, "every operation that the client is asked for is here, and the other way round"
    allowed = {action for statement in statements(STATE) for action in _listed(statement["Action"])}
    assert allowed == {f"dynamodb:{operation}" for operation in asked if operation != "TransactWriteItems"}


def test_without_making_the_table_the_state_needs_all_but_one_statement() -> None:
    (making,) = [statement for statement in statements(STATE) if statement["Sid"] == "MakeTheTable"]
    assert making["Action"] == ["dynamodb:CreateTable", "dynamodb:UpdateTable"]


def _listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions


@pytest.mark.parametrize("name", READERS)
def test_a_readers_policy_allows_what_its_poller_asks_for_and_nothing_else(name: str) -> None:
    """SQS-11 with ChangeMessageVisibility; KIN-09 and DDB-04 without what only Lambda's console and fan-out need."""
    prefix, module = READERS[name]
    assert set(statements(name)[0]["Action"]) == {f"{prefix}:{operation}" for operation in requests_of(module)}
    assert [statement["Action"] for statement in statements(name)[1:]] == ["kms:Decrypt"] * name.startswith("encrypted-")


def test_the_policy_of_a_consumer_adds_what_is_asked_of_it_to_that_of_its_stream() -> None:
    """KIN-11: what is polled while subscriptions fail is the stream."""
    stream, consumer = statements(CONSUMER)
    assert [stream] == statements("kinesis-policy")
    assert set(consumer["Action"]) == {f"kinesis:{name}" for name in called_in("kinesis_fan_out.py")}
    assert consumer["Resource"].startswith(f"{stream['Resource']}/consumer/")


@pytest.mark.parametrize("name", DESTINATIONS)
def test_a_destinations_policy_allows_one_action_to_send_and_one_to_check(name: str) -> None:
    """DST-05, and as much for the destinations beyond Lambda's."""
    assert [statement["Action"] for statement in statements(name)] == DESTINATIONS[name]
    assert [statement["Sid"] for statement in statements(name)] == ["SendFailures", "CheckOnline"]


def test_the_destinations_policies_are_what_the_program_itself_says_it_needs() -> None:
    """What an error of a destination names as missing is what the policy has."""
    source = (ROOT / "handlers" / "destinations" / "aws.py").read_text()
    assert set(re.findall(r'permission="([^"]+)"', source)) == {each for both in DESTINATIONS.values() for each in both}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_a_policy_is_about_one_resource(path: Path) -> None:
    """The one wildcard is for the objects of one mapping in a bucket."""
    for statement in statements(path.stem):
        assert statement["Effect"] == "Allow"
        assert isinstance(statement["Resource"], str)
        resource = statement["Resource"].removesuffix("/aws/lambda/clicks/*")
        assert not set("*?") & set(resource + "".join(statement["Action"]))
        assert (resource != statement["Resource"]) == (statement["Action"] == "s3:PutObject")


@pytest.mark.parametrize(("name", "service"), [("queue", "sqs"), ("kinesis", "kinesis")])
def test_the_policy_of_an_encrypted_source_adds_its_key_through_its_service_alone(name: str, service: str) -> None:
    plain, encrypted = statements(f"{name}-policy"), statements(f"encrypted-{name}-policy")
    assert encrypted[:1] == plain
    assert encrypted[1]["Condition"] == {"StringEquals": {"kms:ViaService": f"{service}.eu-west-1.amazonaws.com"}}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_the_readme_explains_every_policy_and_action(path: Path) -> None:
    readme = (DEPLOY / "README.md").read_text()
    assert f"iam/{path.name}" in readme
    for statement in statements(path.stem):
        actions = statement["Action"]
        for action in _listed(actions):
            assert f"`{action}`" in readme, action
