"""The attributes of a queue: which there are, their limits, how they are read and shown.

Limits: SQS API reference, CreateQueue and SetQueueAttributes. Attributes that change nothing here (encryption, access policies)
are kept and shown, so that a template made for AWS can be applied unchanged.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from runtime.local.errors import Refused, invalid, invalid_value

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FIFO_NAME: Final = re.compile(r"(?=.{6,80}\Z)[A-Za-z0-9_-]+\.fifo")
_ARN: Final = re.compile(r"arn:[a-z-]+:sqs:([a-z0-9-]+):(\d{12}):([A-Za-z0-9_-]+(?:\.fifo)?)")
_MAX_RECEIVES: Final = 1000

_RANGES: Final[dict[str, tuple[str, int, int]]] = {
    "DelaySeconds": ("delay", 0, 900),
    "MaximumMessageSize": ("max_size", 1024, 1_048_576),
    "MessageRetentionPeriod": ("retention", 60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": ("wait", 0, 20),
    "VisibilityTimeout": ("visibility", 0, 43_200),
}
_CHOICES: Final[dict[str, tuple[str, tuple[str, str]]]] = {
    "DeduplicationScope": ("dedup_scope", ("queue", "messageGroup")),
    "FifoThroughputLimit": ("throughput", ("perQueue", "perMessageGroupId")),
}
_KEPT: Final = frozenset(
    {"Policy", "RedriveAllowPolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"}
)
COUNTS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
READABLE: Final = frozenset(
    {*_RANGES, *_CHOICES, *_KEPT, *COUNTS, "All", "RedrivePolicy", "FifoQueue", "ContentBasedDeduplication"}
    | {"QueueArn", "CreatedTimestamp", "LastModifiedTimestamp"}
)


@dataclass(frozen=True, slots=True)
class Redrive:
    """Where messages go that were received too often."""

    target: str
    """ARN of the dead-letter queue."""
    max_receives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a queue is set to; times in seconds, sizes in bytes."""

    fifo: bool = False
    delay: int = 0
    max_size: int = 1_048_576
    retention: int = 345_600
    wait: int = 0
    visibility: int = 30
    content_dedup: bool = False
    dedup_scope: str = "queue"
    throughput: str = "perQueue"
    redrive: Redrive | None = None
    kept: Mapping[str, str] = field(default_factory=dict)


def check_name(name: str, *, fifo: bool) -> None:
    """Raises InvalidParameterValue for a name that a queue of this kind cannot have."""
    if fifo and _FIFO_NAME.fullmatch(name) is None:
        raise invalid(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
            "must end with .fifo suffix and be 1 to 80 in length."
        )
    if not fifo and _NAME.fullmatch(name) is None:
        raise invalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")


def parse_arn(arn: str) -> tuple[str, str, str] | None:
    """Region, account and name of a queue's ARN."""
    found = _ARN.fullmatch(arn)
    return None if found is None else (found[1], found[2], found[3])


def wants_fifo(given: Mapping[str, str]) -> bool:
    """Whether the attributes of a CreateQueue ask for a FIFO queue. `FifoQueue: false` is unknown to AWS (recorded)."""
    if "FifoQueue" not in given:
        return False
    if not _truth("FifoQueue", given["FifoQueue"]):
        raise _unknown("FifoQueue")
    return True


def apply(settings: Settings, given: Mapping[str, str], *, check_target: Callable[[Redrive], None]) -> Settings:
    """The settings with the given attributes changed; raises InvalidAttributeName, InvalidAttributeValue, InvalidParameterValue.

    `check_target` raises if a redrive policy names a queue that cannot be its target.
    """
    changes: dict[str, Any] = {}
    kept = dict(settings.kept)
    for name, value in given.items():
        if name in _RANGES:
            attribute, low, high = _RANGES[name]
            changes[attribute] = _number(name, value, low, high)
        elif name == "RedrivePolicy":
            changes["redrive"] = redrive = _redrive(value)
            if redrive is not None:
                check_target(redrive)
        elif name in _KEPT:
            kept[name] = value
        else:
            changes.update(_fifo_only(settings, name, value))
    return replace(settings, kept=kept, **changes)


def _fifo_only(settings: Settings, name: str, value: str) -> dict[str, Any]:
    """The attributes that only a FIFO queue has."""
    if name == "FifoQueue" and settings.fifo:
        if not _truth(name, value):
            raise _bad_value(name, "Modifying queue type is not supported.")
        return {}
    if name == "ContentBasedDeduplication" and settings.fifo:
        return {"content_dedup": _truth(name, value)}
    if name in _CHOICES:
        if not settings.fifo:
            raise Refused("InvalidAttributeName", f"You can specify the {name} only when FifoQueue is set to true.")
        attribute, choices = _CHOICES[name]
        if value not in choices:
            raise _bad_value(name)
        return {attribute: value}
    raise _unknown(name)


def first_difference(settings: Settings, given: Mapping[str, str]) -> str | None:
    """The first given attribute that the settings do not have, for a CreateQueue of a queue that exists."""
    wanted = apply(settings, given, check_target=lambda _redrive: None)
    shown, wanted_shown = show(settings), show(wanted)
    return next((name for name in given if shown.get(name) != wanted_shown.get(name)), None)


def show(settings: Settings) -> dict[str, str]:
    """The attributes as GetQueueAttributes gives them: all strings; none that is not set."""
    shown = {name: str(getattr(settings, attribute)) for name, (attribute, _low, _high) in _RANGES.items()}
    shown.update(settings.kept)
    shown.setdefault("SqsManagedSseEnabled", "true")
    if settings.redrive is not None:
        policy = {"deadLetterTargetArn": settings.redrive.target, "maxReceiveCount": settings.redrive.max_receives}
        shown["RedrivePolicy"] = json.dumps(policy, separators=(",", ":"))
    if settings.fifo:
        shown["FifoQueue"] = "true"
        shown["ContentBasedDeduplication"] = str(settings.content_dedup).lower()
        shown["DeduplicationScope"] = settings.dedup_scope
        shown["FifoThroughputLimit"] = settings.throughput
    return shown


def _number(name: str, value: str, low: int, high: int) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise _bad_value(name)
    return int(value)


def _truth(name: str, value: str) -> bool:
    lowered = value.lower()
    if lowered not in ("true", "false"):
        raise _bad_value(name)
    return lowered == "true"


def _redrive(value: str) -> Redrive | None:
    """An empty policy takes the policy away (recorded)."""
    if value == "":
        return None
    try:
        policy = json.loads(value)
    except ValueError:
        raise invalid_value(value, "RedrivePolicy", "Redrive policy is not a valid JSON map.") from None
    if not isinstance(policy, dict):
        raise invalid_value(value, "RedrivePolicy", "Redrive policy is not a valid JSON map.")
    for required in ("deadLetterTargetArn", "maxReceiveCount"):
        if required not in policy:
            raise invalid_value(value, "RedrivePolicy", f"Redrive policy does not contain mandatory attribute: {required}.")
    count = str(policy["maxReceiveCount"])
    if not count.isascii() or not count.isdigit() or not 1 <= int(count) <= _MAX_RECEIVES:
        reason = f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive."
        raise invalid_value(value, "RedrivePolicy", reason)
    target = str(policy["deadLetterTargetArn"])
    if parse_arn(target) is None:
        raise invalid_value(value, "RedrivePolicy", "Invalid value for deadLetterTargetArn.")
    return Redrive(target, int(count))


def _unknown(name: str) -> Refused:
    return Refused("InvalidAttributeName", f"Unknown Attribute {name}.")


def _bad_value(name: str, reason: str = "") -> Refused:
    tail = f" Reason: {reason}" if reason else ""
    return Refused("InvalidAttributeValue", f"Invalid value for the parameter {name}.{tail}")
