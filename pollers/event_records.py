"""Records as Lambda events show them, read back: what recordings, files of events and on-failure objects hold.

The content of such a record is its part of the event, as JSON text; `envelope` decodes it anew for each call.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from pollers.record import Record, RecordId


class EventRecord(Struct, frozen=True, kw_only=True):
    """One record, and where it came from."""

    source: str
    """A key of `pollers.SPECS`."""
    source_arn: str
    shard: str
    """Empty for queues, and where the event does not say (DynamoDB)."""
    record: Record


def envelope(records: Sequence[Record]) -> dict[str, Any]:
    """The Lambda event; every call makes values of its own."""
    return {"Records": [shown_of(record) for record in records]}


def shown_of(record: Record) -> dict[str, Any]:
    """The record's part of an event."""
    shown: dict[str, Any] = decode(record.content)
    return shown


def read_event_record(shown: Mapping[str, Any], *, shard: str = "", arrived: float | None = None) -> EventRecord:
    """`shown`: one of the `Records` of an event. `shard`, `arrived` (seconds since the epoch): where more is known than it says.

    Raises ValueError, which says what is wrong with it.
    """
    if not isinstance(shown, Mapping):
        raise ValueError(f"a record is {type(shown).__name__}, not an object")  # noqa: TRY004  # the one error of this function
    origin = shown.get("eventSource")
    if origin is None:
        raise ValueError("a record has no eventSource")
    if origin not in _READERS:
        known = ", ".join(_READERS)
        raise ValueError(f"a record is of eventSource {origin!r}: only those of {known} can be read")
    source, read = _READERS[origin]
    try:
        record, own_shard = read(shown)
        source_arn = _text(shown, "eventSourceARN")
    except (KeyError, TypeError, AttributeError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else "it has not the shape of one"
        raise ValueError(f"a record of {origin} cannot be read: {what}") from error
    if arrived is not None:
        record.arrived = arrived
    return EventRecord(source=source, source_arn=source_arn, shard=shard or own_shard, record=record)


def _kinesis(shown: Mapping[str, Any]) -> tuple[Record, str]:
    inner = shown["kinesis"]
    shard, _, _ = _text(shown, "eventID").partition(":")
    _text(inner, "data")
    sequence = _number(inner, "sequenceNumber")
    place = inner.get("subSequenceNumber")  # a user record of an aggregate, which shares the number with others
    return _record(
        shown,
        id=sequence if type(place) is not int else RecordId(f"{sequence}:{place}"),
        arrived=float(inner["approximateArrivalTimestamp"]),
        group=_text(inner, "partitionKey"),
    ), shard


def _dynamodb(shown: Mapping[str, Any]) -> tuple[Record, str]:
    inner = shown["dynamodb"]
    return _record(
        shown,
        id=_number(inner, "SequenceNumber"),
        arrived=float(inner["ApproximateCreationDateTime"]),
        group=encode(inner["Keys"], ordered=True).decode(),
    ), ""


def _sqs(shown: Mapping[str, Any]) -> tuple[Record, str]:
    attributes = shown["attributes"]
    fifo = _text(shown, "eventSourceARN").endswith(".fifo")
    _text(shown, "body")
    return _record(
        shown,
        id=_text(shown, "messageId"),
        arrived=int(attributes.get("SentTimestamp", 0)) / 1000,
        group=attributes.get("MessageGroupId") if fifo else None,
        handle=_text(shown, "receiptHandle"),
    ), ""


def _record(shown: Mapping[str, Any], *, id: str, arrived: float, group: str | None, handle: str = "") -> Record:  # noqa: A002  # as the field is called
    content = encode(shown)
    return Record(id=RecordId(id), content=content, size=len(content), arrived=arrived, group=group, handle=handle)


_Read = Callable[[Mapping[str, Any]], tuple[Record, str]]
_READERS: Final[dict[str, tuple[str, _Read]]] = {
    "aws:sqs": ("sqs", _sqs),
    "aws:kinesis": ("kinesis", _kinesis),
    "aws:dynamodb": ("dynamodb", _dynamodb),
}
"""eventSource -> the word for the source, and how its records are read."""


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} of a record is {type(value).__name__}, not text")  # noqa: TRY004  # as above
    return value


def _number(found: Mapping[str, Any], key: str) -> str:
    """A sequence number: they are compared as numbers (KIN-22)."""
    text = _text(found, key)
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{key} of a record is {text!r}, which is no sequence number")
    return text


def encode(value: Any, *, ordered: bool = False) -> bytes:
    """Compact JSON. Half a surrogate pair, which has no UTF-8, becomes an escape."""
    try:
        return msgspec.json.encode(value, order="sorted" if ordered else None)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), sort_keys=ordered).encode()


def decode(text: bytes) -> Any:
    """Raises ValueError. Takes half a surrogate pair, too."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
