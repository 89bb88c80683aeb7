"""A message of SQS: decoded in one step, and shown as Lambda's event shows it (`spec/sqs.md`)."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType, to_builtins

from pollers.aws.lean.connection import Content
from pollers.filter_view import View, json_object, top_level
from pollers.record import Record, RecordId


class Attributes(Struct, gc=False, forbid_unknown_fields=True):
    """What SQS says of a message, in the order in which Lambda shows it (SQS-22, SQS-23), by AWS's names."""

    ApproximateReceiveCount: str | UnsetType = UNSET
    AWSTraceHeader: str | UnsetType = UNSET
    SentTimestamp: str | UnsetType = UNSET
    """Milliseconds since the epoch."""
    SequenceNumber: str | UnsetType = UNSET
    MessageGroupId: str | UnsetType = UNSET
    SenderId: str | UnsetType = UNSET
    MessageDeduplicationId: str | UnsetType = UNSET
    ApproximateFirstReceiveTimestamp: str | UnsetType = UNSET
    DeadLetterQueueSourceArn: str | UnsetType = UNSET


NO_ATTRIBUTES: Final = Attributes()
_KNOWN: Final = Attributes.__struct_fields__


class _Attribute(Struct, gc=False):
    """As it came: binary values are base64 text."""

    DataType: str
    StringValue: str | None = None
    BinaryValue: str | UnsetType = UNSET


class Origin(Struct, frozen=True, gc=False):
    """What all records of a mapping have in common."""

    arn: str
    region: str
    windowed: bool
    """The mapping has a batching window."""


_AS_SENT: Final = {
    "id": "MessageId", "handle": "ReceiptHandle", "body": "Body", "checksum": "MD5OfBody", "attributes": "Attributes",
    "custom": "MessageAttributes", "custom_checksum": "MD5OfMessageAttributes", "others": "$others", "content": "$content",
    "size": "$size", "arrived": "$arrived", "group": "$group",
}  # fmt: skip
"""AWS's names of what it sends, and names that it has not for what is filled in."""


class SqsRecord(Record, kw_only=True, gc=False, rename=_AS_SENT):
    """A message, decoded in one step; `content` is its origin. Filled in here, and changed by nobody else.

    A large batch lies in memory for a while: its parts of the event are made when its handler is called, and not before.
    """

    id: RecordId
    handle: str
    body: str = ""
    checksum: str = ""
    attributes: Attributes | None = None
    others: dict[str, str] | None = None
    """Attributes that we do not know, as they came."""
    custom: dict[str, _Attribute] | None = None
    """The attributes that its sender gave it."""
    custom_checksum: str | None = None
    content: Origin | None = None
    size: int = 0
    arrived: float = 0.0


def envelope(records: Sequence[Record]) -> dict[str, Any]:
    """The Lambda event (SQS-20), made anew for each call."""
    return {"Records": [shown(record) for record in records]}


def shown(record: Any) -> dict[str, Any]:
    """Keys in Lambda's order (SQS-21..26); the body is the message's own text (SQS-27)."""
    origin, attributes, custom = record.content, record.attributes, record.custom
    event = {
        "messageId": record.id,
        "receiptHandle": record.handle,
        "body": record.body,
        "attributes": to_builtins(attributes) if attributes is not None else {},
        "messageAttributes": {each: _attribute(value) for each, value in custom.items()} if custom else {},
        "md5OfMessageAttributes": record.custom_checksum,
        "md5OfBody": record.checksum,
        "eventSource": "aws:sqs",
        "eventSourceARN": origin.arn,
        "awsRegion": origin.region,
    }
    if record.others:
        event["attributes"] |= record.others
    if not (custom or origin.windowed):
        del event["md5OfMessageAttributes"]
    return event


def _attribute(value: _Attribute) -> dict[str, Any]:
    """A message attribute as Lambda shows it (SQS-24)."""
    given: dict[str, Any] = (
        {"stringValue": value.StringValue} if value.BinaryValue is UNSET else {"binaryValue": value.BinaryValue}
    )
    return {**given, "stringListValues": [], "binaryListValues": [], "dataType": value.DataType}


def event_view(event: dict[str, Any]) -> View:
    """A record of the event with its body parsed, if that is a JSON object (FLT-10, FLT-25)."""
    body = event.get("body")
    parsed = json_object(body) if isinstance(body, str) else None
    return event if parsed is None else {**event, "body": parsed}


def view_reader(fields: frozenset[str]) -> Callable[[Record], View]:
    asked = top_level(fields)
    if "body" not in asked:
        return shown
    if asked == {"body"}:
        return _body_alone
    return lambda record: event_view(shown(record))


def _body_alone(record: Any) -> View:
    parsed = json_object(record.body)
    return {"body": record.body if parsed is None else parsed}


class _Received(Struct):
    Messages: list[SqsRecord] | None = None


class _Loosely(Struct):
    Messages: list[dict[str, Any]] | None = None


_RECEIVED: Final = msgspec.json.Decoder(_Received)


def read_messages(content: Content) -> list[SqsRecord] | None:
    """Of the answer to a receive; None when it names none. Raises ValueError.

    Half a surrogate pair, which only Python's own reader takes, or attributes that we do not know cost a second reading.
    """
    try:
        return _RECEIVED.decode(content).Messages
    except (msgspec.DecodeError, UnicodeDecodeError):
        messages = msgspec.convert(json.loads(bytes(content)), _Loosely).Messages
    for message in messages or ():
        attributes = message.get("Attributes")
        if isinstance(attributes, dict):
            message["Attributes"] = {name: attributes.pop(name) for name in _KNOWN if name in attributes}
            message["$others"] = attributes
    return msgspec.convert(messages, list[SqsRecord] | None)


def json_size(event: dict[str, Any]) -> int:
    try:
        return len(msgspec.json.encode(event))
    except UnicodeEncodeError:  # a lone surrogate in the text: six bytes as an escape
        return len(json.dumps(event, separators=(",", ":")))
