"""Where a mapping of a stream may send what it gives up: the ARNs of on-failure destinations (DST-03, DST-04).

SQS, SNS and S3 are AWS's; a Lambda function and an EventBridge bus go beyond them.
"""

import re
from typing import Final

from runtime.config.arns import ArnError, arn_of_queue_url, check_partition, check_place, split_arn

_TEXT: Final = r"[A-Za-z0-9_-]"
_QUEUE: Final = re.compile(rf"(?=.{{1,80}}\Z){_TEXT}+(?:\.fifo)?")
_TOPIC: Final = re.compile(rf"(?=.{{1,256}}\Z){_TEXT}+(?:\.fifo)?")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FUNCTION: Final = re.compile(rf"function:{_TEXT}{{1,64}}(?::(?:\$LATEST|{_TEXT}{{1,128}}))?")
_BUS: Final = re.compile(r"event-bus/[/._A-Za-z0-9-]{1,256}")
_SHAPES: Final[dict[str, tuple[re.Pattern[str], str]]] = {
    "sqs": (_QUEUE, "a queue's name: 1 to 80 letters, digits, - and _"),
    "sns": (_TOPIC, "a topic's name: 1 to 256 letters, digits, - and _"),
    "lambda": (_FUNCTION, "function:NAME, with an optional :qualifier"),
    "events": (_BUS, "event-bus/NAME"),
}
"""Service -> the last part of its ARNs, and that in words."""
_ALLOWED: Final = (
    "the ARN of an SQS queue, an SNS topic, an S3 bucket (arn:aws:s3:::bucket), a Lambda function or an EventBridge bus "
    "(arn:aws:events:REGION:ACCOUNT:event-bus/NAME)"
)


def check_destination(text: str) -> None:
    """Raises `ArnError` when nothing can be sent there."""
    parts = split_arn(text)
    if parts is None:
        raise ArnError(f"{text!r} is not an ARN: {_remedy(text)}")
    partition, service, region, account, resource = parts
    check_partition(text, partition)
    if service == "s3":
        _check_bucket(text, region, account, resource)
        return
    if service not in _SHAPES:
        raise ArnError(f"{text!r} is of {service or 'no service'}, and nothing can be sent there: give {_ALLOWED}")
    check_place(text, partition, region, account)
    shape, words = _SHAPES[service]
    if not shape.fullmatch(resource):
        raise ArnError(f"{text!r} ends in {resource!r}, but it must end in {words}")


def is_fifo(destination: str) -> bool:
    """A FIFO queue or topic: AWS takes it, and no delivery to it works (DST-03)."""
    return destination.endswith(".fifo") and destination.split(":")[2] in ("sqs", "sns")


def _check_bucket(text: str, region: str, account: str, resource: str) -> None:
    if region or account or not _BUCKET.fullmatch(resource):
        rule = "3 to 63 lower-case letters, digits, . and -, without a path behind it"
        raise ArnError(f"{text!r} is not the ARN of a bucket: it must be arn:aws:s3:::NAME, the name being {rule}")


def _remedy(text: str) -> str:
    if text.startswith("kafka://"):
        return f"a Kafka topic is a destination for Kafka sources alone, and this is a stream: give {_ALLOWED}"
    if queue := arn_of_queue_url(text):
        return f"it is a queue URL: give the queue's ARN, {queue}"
    if text.startswith("s3://"):
        return f"give the bucket's ARN, arn:aws:s3:::{text.removeprefix('s3://').partition('/')[0]}"
    if re.fullmatch(r"[A-Za-z0-9_.-]+", text):
        place = "REGION:ACCOUNT"
        return (
            f"if {text} is a queue give arn:aws:sqs:{place}:{text}, if it is a topic arn:aws:sns:{place}:{text}; else {_ALLOWED}"
        )
    return f"give {_ALLOWED}"
