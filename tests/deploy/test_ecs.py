"""The ECS files fit each other, the image, the example configuration and the policies; `.ci/check-deploy` has cfn-lint look at the template."""

import json
import re
from typing import Any, Final

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

from runtime.config import load_config
from runtime.config.worker import DynamodbState
from tests.deploy.shipped import DEPLOY, ROOT

FOLDER: Final = DEPLOY / "ecs"
ACCOUNT: Final = "123456789012"
REGION: Final = "eu-west-1"


class Template(yaml.SafeLoader):
    """CloudFormation's short forms, as the functions that they are short for."""


def _function(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    match node:
        case yaml.ScalarNode():
            value: Any = loader.construct_scalar(node)
        case yaml.SequenceNode():
            value = loader.construct_sequence(node)
        case yaml.MappingNode():
            value = loader.construct_mapping(node)
    return {tag: value}


Template.add_multi_constructor("!", _function)


def template() -> dict[str, Any]:
    text = (FOLDER / "service.yaml").read_text()
    loaded: dict[str, Any] = yaml.load(text, Loader=Template)  # noqa: S506  # a SafeLoader
    return loaded


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = template()["Resources"][name]["Properties"]
    return found


def resolved(value: Any) -> Any:
    """`!Sub` and `!Ref` with the defaults of the parameters."""
    match value:
        case {"Sub": text}:
            pseudo = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::StackName": "esm"}
            defaults = {name: each.get("Default") for name, each in template()["Parameters"].items()}
            return re.sub(r"\$\{([^}]+)\}", lambda found: str((pseudo | defaults)[found[1]]), text)
        case dict():
            return {key: resolved(each) for key, each in value.items()}
        case list():
            return [resolved(each) for each in value]
    return value


def task_definition() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "task-definition.json").read_text())
    return loaded


def container() -> dict[str, Any]:
    (only,) = task_definition()["containerDefinitions"]
    return dict(only)


def report(given: dict[str, Any]) -> str:
    model = botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition")
    said: str = ParamValidator().validate(given, model.input_shape).generate_report()
    return said


def test_the_task_definition_is_one_that_register_task_definition_takes() -> None:
    assert report(task_definition()) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"containerDefinition": []}, 'Unknown parameter in input: "containerDefinition"'),
        ({"cpu": 1024}, "Invalid type for parameter cpu"),
        ({"family": None}, "Invalid type for parameter family"),
    ],
)
def test_a_wrong_task_definition_is_found_out(change: dict[str, Any], said: str) -> None:
    assert said in report({**task_definition(), **change})


def lower(value: Any) -> Any:
    """CloudFormation's names as the API has them."""
    match value:
        case dict():
            return {key if "-" in key else key[:1].lower() + key[1:]: lower(each) for key, each in value.items()}
        case list():
            return [lower(each) for each in value]
    return value


def test_the_template_makes_the_same_container_as_the_task_definition() -> None:
    (made,) = properties("TaskDefinition")["ContainerDefinitions"]
    made, given = lower(made), container()
    own = {"image", "environment", "logConfiguration"}
    assert {key: made[key] for key in made if key not in own} == {key: given[key] for key in given if key not in own}
    assert made["logConfiguration"].keys() == given["logConfiguration"].keys()
    assert made["logConfiguration"]["options"].keys() == given["logConfiguration"]["options"].keys()
    both = ("cpu", "memory", "networkMode", "requiresCompatibilities", "runtimePlatform")
    whole = lower(properties("TaskDefinition"))
    assert [whole[key] for key in both] == [task_definition()[key] for key in both]


def test_the_container_is_that_of_the_image() -> None:
    """User, port and health check as the Dockerfile has them."""
    image = (ROOT / "Dockerfile").read_text()
    (user,) = re.findall(r"^USER (\S+)$", image, re.MULTILINE)
    (port,) = re.findall(r"^EXPOSE (\d+)$", image, re.MULTILINE)
    (command,) = re.findall(r"^HEALTHCHECK .* CMD (.*)$", image, re.MULTILINE)
    assert container()["user"] == user
    assert [each["containerPort"] for each in container()["portMappings"]] == [int(port)]
    assert container()["healthCheck"]["command"] == ["CMD", *json.loads(command)]
    assert container()["readonlyRootFilesystem"] is True
    assert container()["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    (ingress,) = properties("SecurityGroup")["SecurityGroupIngress"]
    assert (ingress["FromPort"], ingress["ToPort"]) == (int(port), int(port))
    assert "SourceSecurityGroupId" in ingress


def test_what_the_environment_says_is_what_the_example_configuration_asks_for() -> None:
    (made,) = properties("TaskDefinition")["ContainerDefinitions"]
    environ = {each["Name"]: resolved(each["Value"]) for each in made["Environment"]}
    example = DEPLOY / "esm.yaml"
    assert set(re.findall(r"\$\{(\w+)", example.read_text())) == {*environ, "ESM_HTTP"}
    loaded = load_config(example, environ, new_id=lambda: "w")
    assert isinstance(loaded.worker.state, DynamodbState)
    assert loaded.worker.http_port == container()["portMappings"][0]["containerPort"]
    assert {mapping.source_arn for mapping in loaded.mappings} == {environ["QUEUE_ARN"], environ["STREAM_ARN"]}


def test_a_task_has_more_time_to_stop_than_its_worker_and_no_more_than_fargate_gives() -> None:
    grace = load_config(DEPLOY / "esm.yaml", {}, new_id=lambda: "w").worker.grace
    assert grace + 15 <= container()["stopTimeout"] <= 120


@pytest.mark.parametrize("name", ["queue", "kinesis", "destination-sqs", "state-dynamodb"])
def test_the_tasks_role_has_the_shipped_policy(name: str) -> None:
    (document,) = [each["PolicyDocument"] for each in properties("TaskRole")["Policies"] if each["PolicyName"] == name]
    assert resolved(document) == json.loads((DEPLOY / "iam" / f"{name}-policy.json").read_text())


def test_the_tasks_role_has_no_other_policy() -> None:
    assert [each["PolicyName"] for each in properties("TaskRole")["Policies"]] == [
        "queue",
        "kinesis",
        "destination-sqs",
        "state-dynamodb",
    ]
    assert "ManagedPolicyArns" not in properties("TaskRole")


def test_autoscaling_keeps_the_count_of_tasks_to_itself() -> None:
    assert "DesiredCount" not in properties("Service")
    policies = {name: each for name, each in template()["Resources"].items() if each["Type"].endswith("::ScalingPolicy")}
    assert {each["Properties"]["ScalingTargetId"]["Ref"] for each in policies.values()} == {"ScalableTarget"}
    tracking = [policies[name]["Properties"]["TargetTrackingScalingPolicyConfiguration"] for name in ("TrackCpu", "TrackBacklog")]
    assert all(each["ScaleOutCooldown"] < each["ScaleInCooldown"] for each in tracking)
    (step,) = policies["AddForLag"]["Properties"]["StepScalingPolicyConfiguration"]["StepAdjustments"]
    assert step["ScalingAdjustment"] > 0, "lag alone takes no task away"


def test_the_metrics_are_about_the_queue_and_the_stream_that_are_read() -> None:
    backlog = properties("TrackBacklog")["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]["Metrics"]
    asked = [each["MetricStat"]["Metric"] for each in [*backlog, *properties("Lagging")["Metrics"]] if "MetricStat" in each]
    named = {each["MetricName"]: each["Dimensions"] for each in asked}
    assert named["ApproximateNumberOfMessagesVisible"] == [{"Name": "QueueName", "Value": {"Ref": "QueueName"}}]
    assert named["GetRecords.IteratorAgeMilliseconds"] == [{"Name": "StreamName", "Value": {"Ref": "StreamName"}}]
    for expression, metrics in (
        (backlog[0], backlog[1:]),
        (properties("Lagging")["Metrics"][0], properties("Lagging")["Metrics"][1:]),
    ):
        assert set(re.findall(r"\b[a-z]+\b", expression["Expression"])) == {each["Id"] for each in metrics}
