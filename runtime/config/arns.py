"""The ARNs and names that a mapping is made of."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_REGION: Final = r"(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-[0-9]"
"""A region, as Lambda's API model has it (API-11)."""
_ARN: Final = re.compile(r"arn:([^:]*):([^:]*):([^:]*):([^:]*):(.*)", re.DOTALL)
_QUEUE_URL: Final = re.compile(rf"https?://(?:sqs\.({_REGION})\.[^/]+|[^/]+)/([0-9]{{12}})/([A-Za-z0-9_.-]+)")
_QUEUE_NAME: Final = re.compile(r"(?=.{1,80}\Z)[A-Za-z0-9_-]+(?:\.fifo)?")
_STREAM: Final = re.compile(r"stream/(?P<name>[A-Za-z0-9_.-]{1,128})(?P<consumer>/consumer/(?P<called>[^/]*))?", re.DOTALL)
_CONSUMER: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}:[0-9]+")
_TABLE: Final = re.compile(
    r"table/(?P<name>[A-Za-z0-9_.-]{3,255})(?:/stream/(?P<label>[0-9A-Za-z:._-]+)|(?P<rest>/.*)?)", re.DOTALL
)
_BARE_NAME: Final = re.compile(r"(?:stream/|table/)?([A-Za-z0-9_.-]{1,255})")
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
    "kafka": "Amazon MSK (Kafka) is",
    "mq": "Amazon MQ is",
    "rds": "Amazon DocumentDB is",
}
_MISTAKEN: Final = {
    "kinesisvideo": "Kinesis Video Streams hold video, not records: the source must be a Kinesis data stream",
    "firehose": "a Firehose delivery stream cannot be read: give the Kinesis stream that feeds it",
    "kinesisanalytics": "a Kinesis Analytics application cannot be read: give the Kinesis stream that it writes to",
    "sns": "an SNS topic cannot be polled: subscribe an SQS queue to it and give that queue's ARN",
}
"""Services whose ARNs are given by mistake, and what to do."""
EXAMPLE: Final = "arn:aws:sqs:eu-west-1:123456789012:orders"
_STREAM_EXAMPLE: Final = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
_TABLE_EXAMPLE: Final = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-31T12:00:00.000"
_ADVICE: Final = f"give that of an SQS queue, as in {EXAMPLE}, a Kinesis stream, as in {_STREAM_EXAMPLE}, or a DynamoDB stream"

_FUNCTION: Final = re.compile(
    rf"(?:arn:(?P<partition>aws[a-z-]*):lambda:(?P<region>{_REGION}):(?P<owner>[0-9]{{12}}):function:"
    r"|(?P<account>[0-9]{12}):function:)?"
    r"(?P<name>[A-Za-z0-9_-]{1,64})(?P<qualifier>:(?:\$LATEST(?:\.PUBLISHED)?|[A-Za-z0-9_-]+))?"
)


class ArnError(ValueError):
    """The text says what is wrong with an ARN or a name, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceArn:
    """A queue or a stream."""

    arn: str
    partition: str
    service: str
    region: str
    account: str
    name: str
    """Of the queue (with `.fifo`, if it has it), the stream, or the table whose stream it is."""

    @property
    def fifo(self) -> bool:
        return self.service == "sqs" and self.name.endswith(".fifo")


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

    def arn_beside(self, source: SourceArn) -> str:
        """The ARN to invoke (API-43): as given, or in the source's region and, unless the name says otherwise, account."""
        account = self.account or source.account
        return self.arn or f"arn:{source.partition}:lambda:{source.region}:{account}:function:{self.name}{self.qualifier}"


def parse_source_arn(text: str) -> SourceArn:
    """Raises `ArnError`, also for the sources of Lambda that are not supported yet."""
    parts = split_arn(text)
    if parts is None:
        raise ArnError(f"{text!r} is not an ARN{_arn_of(text)} (AWS: Unrecognized event source.)")
    partition, service, region, account, resource = parts
    check_partition(text, partition)
    if service in _NOT_YET:
        raise ArnError(f"{_NOT_YET[service]} not supported yet: {_ADVICE}")
    if service not in _NAMES:
        said = _MISTAKEN.get(service, f"{service!r} is no source: {_ADVICE}")
        raise ArnError(f"{said} (AWS: Unrecognized event source.)")
    check_place(text, partition, region, account)
    name = _NAMES[service](text, resource)
    return SourceArn(arn=text, partition=partition, service=service, region=region, account=account, name=name)


def split_arn(text: str) -> tuple[str, str, str, str, str] | None:
    """Partition, service, region, account and resource, unchecked; None when the text is no ARN."""
    found = _ARN.fullmatch(text)
    return (found[1], found[2], found[3], found[4], found[5]) if found else None


def check_partition(text: str, partition: str) -> None:
    """Raises `ArnError`."""
    if partition not in _PARTITIONS and partition != "aws":
        raise ArnError(f"{text!r} has the partition {partition!r}: it must be aws or {' or '.join(_PARTITIONS)}")


def check_place(text: str, partition: str, region: str, account: str) -> None:
    """Region and account are such, and the region is of the partition. Raises `ArnError`."""
    if not re.fullmatch(_REGION, region):
        raise ArnError(f"{text!r} has the region {region!r}: it must be one of AWS's, as in eu-west-1")
    home = next((name for name, prefix in _PARTITIONS.items() if region.startswith(prefix)), "aws")
    if home != partition:
        raise ArnError(f"{text!r} is in partition {partition}, but {region} belongs to {home}: write arn:{home}:")
    if not re.fullmatch("[0-9]{12}", account):
        raise ArnError(f"{text!r} has the account {account!r}: it must be 12 digits, as in 123456789012")


def _queue_name(text: str, resource: str) -> str:
    if not _QUEUE_NAME.fullmatch(resource):
        rule = "1 to 80 letters, digits, - and _, and may end in .fifo"
        raise ArnError(f"{text!r} has the queue name {resource!r}: it must be {rule}")
    return resource


def _stream_name(text: str, resource: str) -> str:
    found = _STREAM.fullmatch(resource)
    if not found:
        rule = "stream/NAME, the name being 1 to 128 letters, digits, ., - and _"
        raise ArnError(f"{text!r} ends in {resource!r}, but the ARN of a Kinesis stream ends in {rule}, as in {_STREAM_EXAMPLE}")
    if found["consumer"] and not _CONSUMER.fullmatch(found["called"]):
        stream = text.removesuffix(found["consumer"])
        raise ArnError(
            f"{text!r} ends in {found['called']!r}, but the ARN of a consumer ends in NAME:TIME, the time being that of its "
            f"registration: give what `aws kinesis list-stream-consumers --stream-arn {stream}` shows as ConsumerARN, or the "
            f"stream's ARN, {stream}, which is read without enhanced fan-out"
        )
    return found["name"]


def _table_name(text: str, resource: str) -> str:
    found = _TABLE.fullmatch(resource)
    if not found:
        rule = "table/NAME/stream/LABEL, the name being 3 to 255 letters, digits, ., - and _"
        raise ArnError(f"{text!r} ends in {resource!r}, but the ARN of a DynamoDB stream ends in {rule}, as in {_TABLE_EXAMPLE}")
    if not found["label"]:
        what = "not the ARN of a table's stream" if found["rest"] else "the ARN of a table, not of its stream"
        raise ArnError(f"{text!r} is {what}: {_latest_stream(found['name'])}")
    return found["name"]


def _latest_stream(table: str) -> str:
    return f"give what `aws dynamodb describe-table --table-name {table}` shows as LatestStreamArn, as in {_TABLE_EXAMPLE}"


_NAMES: Final[dict[str, Callable[[str, str], str]]] = {"sqs": _queue_name, "kinesis": _stream_name, "dynamodb": _table_name}
"""Service of a source -> the name in the last part of its ARNs."""


def arn_of_queue_url(text: str) -> str | None:
    """The ARN of the queue at a URL, with REGION where the URL does not say it; None when it is no such URL."""
    url = _QUEUE_URL.fullmatch(text)
    return f"arn:aws:sqs:{url[1] or 'REGION'}:{url[2]}:{url[3]}" if url else None


def _arn_of(text: str) -> str:
    """What an ARN would look like for what was given in its place."""
    if queue := arn_of_queue_url(text):
        return f" but a queue URL: give the queue's ARN, {queue}"
    if bare := _BARE_NAME.fullmatch(text):
        place = "REGION:ACCOUNT"
        return (
            f" but a name: if it is a queue give arn:aws:sqs:{place}:{bare[1]}, if it is a Kinesis stream "
            f"arn:aws:kinesis:{place}:stream/{bare[1]}, and if it is a DynamoDB table {_latest_stream(bare[1])}"
        )
    return f": {_ADVICE}, as in {_TABLE_EXAMPLE}"


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
