"""Names and ARNs of what a template makes: known where it gives a name, and else made by CloudFormation when it is deployed."""

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of resource. `{name}`, `{region}`, `{account}`, `{partition}` and `{suffix}` (of hosts) are filled in."""

    name: str
    """The property that names it."""
    ref: str = "{name}"
    attributes: dict[str, str] = field(default_factory=dict)


_QUEUE_URL: Final = "https://sqs.{region}.{suffix}/{account}/{name}"
_TABLE_ARN: Final = "arn:{partition}:dynamodb:{region}:{account}:table/{name}"
_TABLE: Final = Kind(name="TableName", attributes={"Arn": _TABLE_ARN})
_TOPIC_ARN: Final = "arn:{partition}:sns:{region}:{account}:{name}"
_FUNCTION: Final = Kind(name="FunctionName", attributes={"Arn": "arn:{partition}:lambda:{region}:{account}:function:{name}"})
_BUS_ARN: Final = "arn:{partition}:events:{region}:{account}:event-bus/{name}"

KINDS: Final[dict[str, Kind]] = {
    "AWS::SQS::Queue": Kind(
        name="QueueName",
        ref=_QUEUE_URL,
        attributes={"Arn": "arn:{partition}:sqs:{region}:{account}:{name}", "QueueName": "{name}", "QueueUrl": _QUEUE_URL},
    ),
    "AWS::Kinesis::Stream": Kind(name="Name", attributes={"Arn": "arn:{partition}:kinesis:{region}:{account}:stream/{name}"}),
    "AWS::DynamoDB::Table": _TABLE,
    "AWS::DynamoDB::GlobalTable": _TABLE,
    "AWS::Serverless::SimpleTable": _TABLE,
    "AWS::SNS::Topic": Kind(name="TopicName", ref=_TOPIC_ARN, attributes={"TopicArn": _TOPIC_ARN, "TopicName": "{name}"}),
    "AWS::S3::Bucket": Kind(name="BucketName", attributes={"Arn": "arn:{partition}:s3:::{name}"}),
    "AWS::Events::EventBus": Kind(name="Name", attributes={"Arn": _BUS_ARN, "Name": "{name}"}),
    "AWS::Lambda::Function": _FUNCTION,
    "AWS::Serverless::Function": _FUNCTION,
}

STREAM_ARN: Final = "StreamArn"
"""Of a table: it ends in the moment at which the stream was switched on."""
A_LABEL: Final = "/stream/2026-01-31T12:00:00.000"
CONSUMER: Final = "AWS::Kinesis::StreamConsumer"

_PARTITIONS: Final = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
    "eusc-": "aws-eusc",
}
_SUFFIXES: Final = {"aws-cn": "amazonaws.com.cn"}


def partition_of(region: str | None) -> str:
    """Where the region is not known it is that of all public regions but China's."""
    return next((name for prefix, name in _PARTITIONS.items() if region and region.startswith(prefix)), "aws")


def suffix_of(region: str | None) -> str:
    """What the names of hosts end in."""
    return _SUFFIXES.get(partition_of(region), "amazonaws.com")
