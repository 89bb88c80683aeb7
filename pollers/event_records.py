"""Records as Lambda events show them, read back: what recordings, files of events and on-failure objects hold.

The content of such a record is its part of the event, as JSON text; `envelope` decodes it anew for each call.
"""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Struct

from pollers.record import Record, RecordId

_BOM: Final = b"\xef\xbb\xbf"
_END_OF_TIME: Final = 253_402_300_800
"""The year 10,000, in seconds since the epoch. Whoever writes milliseconds is told."""
_LONGEST_NUMBER: Final = 128
"""Digits of a sequence number (KIN-22); AWS's longest have 56."""


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

    What a function may do without (a receipt handle, a time of arrival) may be missing. Raises ValueError, which says what is
    wrong with it.
    """
    if not isinstance(shown, Mapping):
        raise ValueError(f"a record is {_kind(shown)}, not an object")  # noqa: TRY004  # the one error of this function
    source, read = _reader_of(shown)
    try:
        record, own_shard = read(shown)
        source_arn = _text(shown, "eventSourceARN")
    except KeyError as error:
        raise ValueError(f"a record of {shown['eventSource']} cannot be read: {error.args[0]} is missing") from error
    except RecursionError as error:
        raise ValueError(f"a record of {shown['eventSource']} is nested too deeply") from error
    if arrived is not None:
        record.arrived = arrived
    return EventRecord(source=source, source_arn=source_arn, shard=shard or own_shard, record=record)


def _reader_of(shown: Mapping[str, Any]) -> "tuple[str, _Read]":
    origin = shown.get("eventSource", shown.get("EventSource"))  # the latter is how SNS writes it
    if not isinstance(origin, str):
        raise ValueError("a record has no eventSource")  # noqa: TRY004  # as above
    if origin not in _READERS:
        raise ValueError(f"a record is of eventSource {origin!r}: only those of {', '.join(_READERS)} can be read")
    return _READERS[origin]


def _kinesis(shown: Mapping[str, Any]) -> tuple[Record, str]:
    inner = _object(shown, "kinesis")
    shard = _text(shown, "eventID", default="").partition(":")[0]
    try:
        b64decode(_text(inner, "data"))
    except ValueError as error:
        raise ValueError(f"data of a record is no base64 text: {error}") from error
    sequence = _number(inner, "sequenceNumber")
    place = inner.get("subSequenceNumber")  # a user record of an aggregate, which shares the number with others
    return _record(
        shown,
        id=sequence if type(place) is not int else RecordId(f"{sequence}:{place}"),
        arrived=read_seconds(inner, "approximateArrivalTimestamp"),
        group=_text(inner, "partitionKey"),
    ), shard


def _dynamodb(shown: Mapping[str, Any]) -> tuple[Record, str]:
    inner = _object(shown, "dynamodb")
    return _record(
        shown,
        id=_number(inner, "SequenceNumber"),
        arrived=read_seconds(inner, "ApproximateCreationDateTime"),
        group=encode(_object(inner, "Keys"), ordered=True).decode(),
    ), ""


def _sqs(shown: Mapping[str, Any]) -> tuple[Record, str]:
    attributes = _object(shown, "attributes", default={})
    fifo = _text(shown, "eventSourceARN").endswith(".fifo")
    _text(shown, "body")
    return _record(
        shown,
        id=_text(shown, "messageId"),
        arrived=_sent(attributes),
        group=_text(attributes, "MessageGroupId", default="") or None if fifo else None,
        handle=_text(shown, "receiptHandle", default=""),
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
READABLE: Final = frozenset(source for source, _ in _READERS.values())
"""Keys of `pollers.SPECS`."""


# what stands at a key


def _object(found: Mapping[str, Any], key: str, *, default: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """Raises KeyError without a default, as all of these do."""
    value = found[key] if default is None else found.get(key, default)
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} of a record is {_kind(value)}, not an object")  # noqa: TRY004  # as above
    return value


def _text(found: Mapping[str, Any], key: str, *, default: str | None = None) -> str:
    value = found[key] if default is None else found.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{key} of a record is {_kind(value)}, not text")  # noqa: TRY004  # as above
    return value


def _number(found: Mapping[str, Any], key: str) -> str:
    """A sequence number: they are compared as numbers (KIN-22)."""
    text = _text(found, key)
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
        raise ValueError(f"{key} of a record is {text[:_LONGEST_NUMBER]!r}, which is no sequence number")
    return text


def read_seconds(found: Mapping[str, Any], key: str) -> float:
    """Seconds since the epoch; 0 where it does not stand there. Raises ValueError."""
    value = found.get(key)
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _END_OF_TIME:
        raise ValueError(f"{key} of a record is {str(value)[:_LONGEST_NUMBER]}, which is no number of seconds since 1970")
    return float(value)


def _sent(attributes: Mapping[str, Any]) -> float:
    """A message tells it in milliseconds, as text."""
    text = _text(attributes, "SentTimestamp", default="0")
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(_END_OF_TIME * 1000)):
        raise ValueError(
            f"SentTimestamp of a record is {text[:_LONGEST_NUMBER]!r}, which is no number of milliseconds since 1970"
        )
    return int(text) / 1000


def _kind(value: Any) -> str:
    """What JSON calls it."""
    return _KINDS.get(type(value), "no JSON")


_KINDS: Final[dict[type, str]] = {
    dict: "an object", list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false", type(None): "null",
}  # fmt: skip


# JSON


def encode(value: Any, *, ordered: bool = False) -> bytes:
    """Compact JSON. Half a surrogate pair, which has no UTF-8, becomes an escape."""
    try:
        return msgspec.json.encode(value, order="sorted" if ordered else None)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), sort_keys=ordered).encode()


def decode(text: bytes) -> Any:
    """Raises ValueError. Takes half a surrogate pair, too, and a byte order mark; no numbers that JSON has not (NaN, 1e999)."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode_text(text.removeprefix(_BOM).decode("utf-8", "surrogatepass"))


def decode_text(text: str) -> Any:
    """Raises ValueError."""
    document, end = decode_first(text, 0)
    if text[end:].strip(" \t\r\n"):
        raise ValueError("something follows the document")
    return document


def decode_first(text: str, start: int) -> tuple[Any, int]:
    """The document that begins at `start`, or at the first character after it that is not blank; and where it ends.

    Raises ValueError: json.JSONDecodeError, where it can say at which place.
    """
    try:
        return _READER.raw_decode(text, blank_until(text, start))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def blank_until(text: str, start: int) -> int:
    """Where the next character stands that is not blank; behind the text if there is none."""
    found = _BLANK.match(text, start)
    return found.end() if found else start


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _float(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _refuse_number(text)


_READER: Final = json.JSONDecoder(parse_constant=_refuse_number, parse_float=_float)
_BLANK: Final = re.compile(r"[ \t\r\n]*")
