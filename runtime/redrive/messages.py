"""What a message of an on-failure destination says (`spec/destinations.md`, section 3), and what it is when it is none.

Around the failure record may be what brought it here: the envelope of an SNS topic, or of an EventBridge bus.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pollers.event_records import EventRecord, decode, read_event_record

_INFOS: Final = {"KinesisBatchInfo": "kinesis", "DDBStreamBatchInfo": "dynamodb"}
"""What a failure record calls its part about the batch -> the kind of stream."""
_LONGEST_TEXT: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointed:
    """A failure record: it points at records of one shard."""

    source: str
    stream_arn: str
    shard: str
    first: str
    last: str
    """Sequence numbers, both included."""
    records: int
    arrived: float
    """Of the first record: seconds since the epoch; 0 where it does not say."""
    function: str
    """Its name."""
    condition: str
    payload: tuple[EventRecord, ...] | None
    """The records themselves, where the destination carries them (S3)."""

    @property
    def order(self) -> tuple[str, str, int]:
        return self.stream_arn, self.shard, int(self.first)


class Foreign(ValueError):
    """The text says why it is no failure record."""


def parse_failure(text: str) -> Pointed:
    """Raises Foreign."""
    try:
        document = decode(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        raise Foreign("it is not JSON") from None
    return read_failure(document)


def read_failure(document: Any) -> Pointed:
    """Raises Foreign."""
    document = _unwrapped(document)
    key = next((key for key in _INFOS if isinstance(document.get(key), dict)), None)
    if key is None:
        raise Foreign(f"it has neither {' nor '.join(_INFOS)}: {_shown(document)}")
    try:
        info, context = document[key], document["requestContext"]
        payload = document.get("payload", document.get("requestPayload"))
        return Pointed(
            source=_INFOS[key],
            stream_arn=_text(info, "streamArn"),
            shard=_text(info, "shardId"),
            first=_number(info, "startSequenceNumber"),
            last=_number(info, "endSequenceNumber"),
            records=int(info["batchSize"]),
            arrived=_seconds(info.get("approximateArrivalOfFirstRecord")),
            function=_text(context, "functionArn").split(":")[6],
            condition=str(context.get("condition", "")),
            payload=None if payload is None else _records(payload, shard=info["shardId"]),
        )
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise Foreign(f"its {key} or requestContext lacks something: {error}") from error


def _unwrapped(document: Any) -> dict[str, Any]:
    """Without the envelope of a topic or a bus."""
    if not isinstance(document, dict):
        raise Foreign(f"it is {type(document).__name__}, not an object")
    if document.get("Type") == "Notification" and isinstance(document.get("Message"), str):
        try:
            inner = decode(document["Message"].encode("utf-8", "surrogatepass"))
        except ValueError:
            raise Foreign("the message of the topic is not JSON") from None
        return _unwrapped(inner)
    if "detail-type" in document and isinstance(document.get("detail"), dict):
        return dict(document["detail"])
    return document


def _records(payload: Any, *, shard: str) -> tuple[EventRecord, ...]:
    """Text in S3 objects (DST-37), the event itself where a function was told."""
    try:
        event = decode(payload.encode("utf-8", "surrogatepass")) if isinstance(payload, str) else payload
        return tuple(read_event_record(shown, shard=shard) for shown in event["Records"])
    except ValueError as error:
        raise Foreign(f"its payload cannot be read: {error}") from error


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found[key]
    if not isinstance(value, str):
        raise Foreign(f"its {key} is {type(value).__name__}, not text")
    return value


def _number(found: Mapping[str, Any], key: str) -> str:
    text = _text(found, key)
    if not (text.isascii() and text.isdigit()):
        raise Foreign(f"its {key} is {text[:_LONGEST_TEXT]!r}, which is no sequence number")
    return text


def _seconds(text: Any) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return 0.0


def _shown(document: Mapping[str, Any]) -> str:
    keys = ", ".join(map(str, document))
    return f"its keys are {keys[:_LONGEST_TEXT]}" if keys else "it is empty"
