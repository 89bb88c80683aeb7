"""The ARNs and names that a mapping is made of."""

import re
from dataclasses import dataclass
from typing import Final

_REGION: Final = r"(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-[0-9]"
"""A region, as Lambda's API model has it (API-11)."""
_SOURCE: Final = re.compile(r"arn:([^:]*):([^:]*):([^:]*):([^:]*):(.*)", re.DOTALL)
_QUEUE_URL: Final = re.compile(rf"https?://(?:sqs\.({_REGION})\.[^/]+|[^/]+)/([0-9]{{12}})/([A-Za-z0-9_.-]+)")
_QUEUE_NAME: Final = re.compile(r"(?=.{1,80}\Z)[A-Za-z0-9_-]+(?:\.fifo)?")
_PARTITIONS: Final = {
    "aws-cn": "cn-",
    "aws-us-gov": "us-gov-",
    "aws-iso": "us-iso-",
    "aws-iso-b": "us-isob-",
    "aws-iso-e": "eu-isoe-",
    "aws-iso-f": "us-isof-",
    "aws-eusc": "eusc-",
}
"""How the regions of every partition but `aws` begin."""
_NOT_YET: Final = {
    "kinesis": "Kinesis streams are",
    "dynamodb": "DynamoDB streams are",
    "kafka": "Amazon MSK (Kafka) is",
    "mq": "Amazon MQ is",
    "rds": "Amazon DocumentDB is",
}
_EXAMPLE: Final = "arn:aws:sqs:eu-west-1:123456789012:orders"

_FUNCTION: Final = re.compile(
    rf"(?:arn:(?P<partition>aws[a-z-]*):lambda:(?P<region>{_REGION}):(?P<owner>[0-9]{{12}}):function:"
    r"|(?P<account>[0-9]{12}):function:)?"
    r"(?P<name>[A-Za-z0-9_-]{1,64})(?P<qualifier>:(?:\$LATEST(?:\.PUBLISHED)?|[A-Za-z0-9_-]+))?"
)


class ArnError(ValueError):
    """The text says what is wrong with an ARN or a name, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueArn:
    """An SQS queue."""

    arn: str
    partition: str
    region: str
    account: str
    name: str
    """With `.fifo`, if it has it."""

    @property
    def fifo(self) -> bool:
        return self.name.endswith(".fifo")


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionReference:
    """A `FunctionName` taken apart (API-10)."""

    name: str
    qualifier: str
    """With its colon; empty when unqualified."""
    arn: str | None
    """As given, when it is a full ARN."""
    region: str | None
    account: str | None

    def arn_beside(self, queue: QueueArn) -> str:
        """The ARN to invoke (API-43): as given, or in the queue's region and, unless the name says otherwise, account."""
        account = self.account or queue.account
        return self.arn or f"arn:{queue.partition}:lambda:{queue.region}:{account}:function:{self.name}{self.qualifier}"


def parse_queue_arn(text: str) -> QueueArn:
    """Raises `ArnError`, also for the sources of Lambda that are not supported yet."""
    found = _SOURCE.fullmatch(text)
    if not found:
        raise ArnError(f"{text!r} is not an ARN{_arn_of_url(text)} (AWS: Unrecognized event source.)")
    partition, service, region, account, resource = found.groups()
    if partition not in _PARTITIONS and partition != "aws":
        raise ArnError(f"{text!r} has the partition {partition!r}: it must be aws or {' or '.join(_PARTITIONS)}")
    if service in _NOT_YET:
        raise ArnError(f"{_NOT_YET[service]} not supported yet: the source must be an SQS queue, as in {_EXAMPLE}")
    if service != "sqs":
        raise ArnError(f"{service!r} is no source: give an SQS queue, as in {_EXAMPLE} (AWS: Unrecognized event source.)")
    if not re.fullmatch(_REGION, region):
        raise ArnError(f"{text!r} has the region {region!r}: it must be one of AWS's, as in {_EXAMPLE}")
    home = next((name for name, prefix in _PARTITIONS.items() if region.startswith(prefix)), "aws")
    if home != partition:
        raise ArnError(f"{text!r} is in partition {partition}, but {region} belongs to {home}: write arn:{home}:")
    if not re.fullmatch("[0-9]{12}", account):
        raise ArnError(f"{text!r} has the account {account!r}: it must be 12 digits, as in {_EXAMPLE}")
    if not _QUEUE_NAME.fullmatch(resource):
        rule = "1 to 80 letters, digits, - and _, and may end in .fifo"
        raise ArnError(f"{text!r} has the queue name {resource!r}: it must be {rule}")
    return QueueArn(arn=text, partition=partition, region=region, account=account, name=resource)


def _arn_of_url(text: str) -> str:
    if url := _QUEUE_URL.fullmatch(text):
        region, account, name = url.groups()
        return f" but a queue URL: give the queue's ARN, arn:aws:sqs:{region or 'REGION'}:{account}:{name}"
    return f": give that of an SQS queue, as in {_EXAMPLE}"


def parse_function_name(text: str) -> FunctionReference:
    """Raises `ArnError`."""
    found = _FUNCTION.fullmatch(text)
    if not found:
        raise ArnError(
            f"{text!r} is neither a function's name (1 to 64 letters, digits, - and _) nor its full or partial ARN, "
            "each with an optional :qualifier, as in orders or 123456789012:function:orders:live"
        )
    return FunctionReference(
        name=found["name"],
        qualifier=found["qualifier"] or "",
        arn=text if found["partition"] else None,
        region=found["region"],
        account=found["owner"] or found["account"],
    )
