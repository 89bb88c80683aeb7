"""Messages: what may be sent, how big it is, its digests, and what the queue knows of it afterwards.

Rules: SQS API reference (SendMessage, MessageAttributeValue) and developer guide ("message metadata"); texts as recorded from
AWS.
"""

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import Enum, auto
from hashlib import md5
from typing import Any, Final, NamedTuple

from runtime.local.errors import Refused, invalid, invalid_value, missing

_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ILLEGAL_TEXT: Final = (
    "Invalid characters found. Valid unicode characters are "
    "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
)
_ATTRIBUTE_NAME: Final = re.compile(r"[\w.-]+")
_ATTRIBUTE_TYPE: Final = re.compile(r"(String|Number|Binary)(\..+)?", re.DOTALL)
_FIFO_ID: Final = re.compile(r"[!-~]{1,128}")
_LONGEST_NAME: Final = 256
_MOST_ATTRIBUTES: Final = 10


class State(Enum):
    """Where a message of a queue is."""

    DELAYED = auto()
    READY = auto()
    TAKEN = auto()
    """Only within one receive: picked for it, not yet hidden."""
    IN_FLIGHT = auto()
    GONE = auto()


class Attribute(NamedTuple):
    """A message attribute: its type as sent, its value as bytes, and whether it travels as binary."""

    type: str
    value: bytes
    binary: bool

    def as_json(self, raw: str) -> dict[str, str]:
        return {("BinaryValue" if self.binary else "StringValue"): raw, "DataType": self.type}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message as it was sent, checked."""

    body: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    raw_values: Mapping[str, str] = field(default_factory=dict)
    """The attributes' values as they stood in the request: what goes out again."""
    system: Mapping[str, Attribute] = field(default_factory=dict)
    group: str | None = None
    dedup: str | None = None
    delay: int | None = None
    size: int


@dataclass(slots=True, kw_only=True, eq=False)
class Message:
    """A message in a queue. The only mutable value of the model; only its queue changes it."""

    number: int
    """Its place in its queue: rises with every message."""
    id: str
    draft: Draft
    sender: str
    sent: float
    """Seconds since the epoch. What `SentTimestamp` shows."""
    expires_from: float
    """From when retention counts: `sent`, but for a FIFO dead-letter queue the moment of the move."""
    sequence: str | None = None
    dedup: str | None = None
    source_arn: str | None = None
    """The queue that moved it here, for one in a dead-letter queue."""
    state: State = State.READY
    version: int = 0
    """Rises whenever a timer of the message becomes void."""
    due: float = 0.0
    """When it becomes visible, while delayed or in flight."""
    receives: int = 0
    """In all queues: what `ApproximateReceiveCount` shows."""
    receives_here: int = 0
    """In this queue: what a redrive policy counts."""
    first_received: float = 0.0
    received: float = 0.0
    handles: tuple[int, ...] = ()
    """The marks of the receipt handles that are good: the last one, and those of copies handed out by a fault."""


def digest(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()


def attributes_digest(attributes: Mapping[str, Attribute]) -> str:
    """MD5 as in the developer guide: sorted by name; length-prefixed name, type and value, one byte for the way of transport."""
    hashed = md5(usedforsecurity=False)
    for name in sorted(attributes):
        kind, value, binary = attributes[name]
        for part in (name.encode(), kind.encode()):
            hashed.update(len(part).to_bytes(4, "big") + part)
        hashed.update((b"\x02" if binary else b"\x01") + len(value).to_bytes(4, "big") + value)
    return hashed.hexdigest()


def draft(request: Mapping[str, Any]) -> Draft:
    """Checks one message of a send; raises MissingParameter, InvalidMessageContents, InvalidParameterValue."""
    body = request.get("MessageBody")
    if not body:
        raise missing("MessageBody")
    if not isinstance(body, str):
        raise _serialization("MessageBody", "a string")
    if _ILLEGAL.search(body) is not None:
        raise Refused("InvalidMessageContents", _ILLEGAL_TEXT)
    given = mapping(request, "MessageAttributes")
    if len(given) > _MOST_ATTRIBUTES:
        raise invalid(f"Number of message attributes [{len(given)}] exceeds the allowed maximum [10].")
    attributes = {name: _attribute(name, value, "user") for name, value in given.items()}
    system = {name: _system(name, value) for name, value in mapping(request, "MessageSystemAttributes").items()}
    return Draft(
        body=body,
        attributes=attributes,
        raw_values={name: given[name]["BinaryValue" if found.binary else "StringValue"] for name, found in attributes.items()},
        system=system,
        group=_fifo_id(request, "MessageGroupId"),
        dedup=_fifo_id(request, "MessageDeduplicationId"),
        delay=_delay(request),
        size=size_of(body, attributes),
    )


def size_of(body: str, attributes: Mapping[str, Attribute]) -> int:
    """Bytes that count against the limits; system attributes do not count."""
    total = len(body) if body.isascii() else len(body.encode())
    return total + sum(len(name.encode()) + len(kind.encode()) + len(value) for name, (kind, value, _) in attributes.items())


def matching(attributes: Mapping[str, Attribute], wanted: Iterable[str]) -> dict[str, Attribute]:
    """The attributes that MessageAttributeNames asks for: `All`, `.*` and (recorded) `*`; `prefix.*`; or a name."""
    names, prefixes = set(), []
    for name in wanted:
        if name in ("All", ".*", "*"):
            return dict(attributes)
        if name.endswith(".*"):
            prefixes.append(name[:-2])
        names.add(name)
    starts = tuple(prefixes)
    return {name: found for name, found in attributes.items() if name in names or (starts and name.startswith(starts))}


def mapping(request: Mapping[str, Any], parameter: str) -> dict[str, Any]:
    """A parameter that is a map of names; empty if not given."""
    found = request.get(parameter)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _serialization(parameter, "a map")
    return found


def _serialization(parameter: str, wanted: str) -> Refused:
    return Refused("SerializationException", f"{parameter} must be {wanted}")


def _delay(request: Mapping[str, Any]) -> int | None:
    delay = request.get("DelaySeconds")
    if delay is None:
        return None
    if type(delay) is not int:
        raise _serialization("DelaySeconds", "an integer")
    if not 0 <= delay <= 900:  # noqa: PLR2004 - SendMessage: at most 15 minutes
        raise invalid_value(delay, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
    return delay


def _fifo_id(request: Mapping[str, Any], parameter: str) -> str | None:
    value = request.get(parameter)
    if value is None:
        return None
    if not isinstance(value, str) or _FIFO_ID.fullmatch(value) is None:
        reason = f"{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        raise invalid_value(value, parameter, reason)
    return value


def _system(name: str, value: object) -> Attribute:
    if name != "AWSTraceHeader":
        raise invalid(f"Message system attribute name '{name}' is invalid.")
    found = _attribute(name, value, "system")
    if found.type != "String":
        raise invalid("Message system attribute 'AWSTraceHeader' must be of type 'String'.")
    return found


def _attribute(name: str, value: object, kind: str) -> Attribute:
    _check_attribute_name(name)
    if not isinstance(value, dict):
        raise _serialization(name, "a map")
    if value.get("StringListValues") or value.get("BinaryListValues"):
        raise invalid("Message attribute list values in SendMessage operation are not supported.")
    data_type = value.get("DataType")
    if not isinstance(data_type, str) or not data_type:
        raise invalid(f"The message attribute '{name}' must contain non-empty message attribute type.")
    found = _ATTRIBUTE_TYPE.fullmatch(data_type)
    if found is None or len(data_type) > _LONGEST_NAME:
        raise invalid(
            f"The type of message ({kind}) attribute '{name}' is invalid. You must use only the following supported type "
            "prefixes: Binary, Number, String."
        )
    return Attribute(data_type, _attribute_value(name, value, found[1], kind), found[1] == "Binary")


def _check_attribute_name(name: str) -> None:
    if len(name) > _LONGEST_NAME:
        raise invalid("Message (user) attribute names must be shorter than 256 Bytes")
    if _ATTRIBUTE_NAME.fullmatch(name) is None:
        raise invalid("Message (user) attributes name can only contain letters, digits, periods, hyphens and underscores.")
    reserved = name != "AWSTraceHeader" and name.lower().startswith(("aws.", "amazon."))
    if reserved or name.startswith(".") or name.endswith("."):
        raise invalid(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. "
            "These strings are reserved for internal use. Additionally, they cannot start or end with '.'."
        )


def _attribute_value(name: str, value: Mapping[str, Any], base: str, kind: str) -> bytes:
    key = "BinaryValue" if base == "Binary" else "StringValue"
    raw = value.get(key)
    if not isinstance(raw, str) or not raw:
        raise invalid(f"Message ({kind}) attribute '{name}' must contain a non-empty value of type '{base}'.")
    if base == "Binary":
        try:
            return b64decode(raw, validate=True)
        except ValueError:
            raise _serialization(name, "base64") from None
    if _ILLEGAL.search(raw) is not None:
        raise invalid(_ILLEGAL_TEXT)
    if base == "Number":
        try:
            is_number = Decimal(raw).is_finite()
        except InvalidOperation:
            is_number = False
        if not is_number:
            raise invalid(f"Can't cast the value of message ({kind}) attribute '{name}' to a number.")
    return raw.encode()
