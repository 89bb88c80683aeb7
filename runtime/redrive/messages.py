"""What a message of an on-failure destination says (`spec/destinations.md`, section 3), and what it is when it is none.

Around the failure record may be what brought it here: the envelope of an SNS topic, or of an EventBridge bus.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pollers.event_records import EventRecord, decode, read_event_record
from runtime.config.arns import ArnError, parse_source_arn

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
    carries: bool
    """It has the records themselves (S3): `payload_of` reads them."""

    @property
    def order(self) -> tuple[str, str, int]:
        return self.stream_arn, self.shard, int(self.first)


class Foreign(ValueError):
    """The text says why it is no failure record."""


class OtherKind(Foreign):
    """It is one, but not of a stream."""


def parse_failure(text: str) -> Pointed:
    """Raises Foreign."""
    return _read_failure(_document(text))


def payload_of(text: str, pointed: Pointed) -> list[EventRecord]:
    """The records that a message carries: text in S3 objects (DST-37), the event itself where a function was told.

    The event may have held more than was given up (DST-33). Raises Foreign.
    """
    document = _document(text)
    payload: Any = document.get("payload", document.get("requestPayload"))
    try:
        event = decode(payload.encode("utf-8", "surrogatepass")) if isinstance(payload, str) else payload
        records = [read_event_record(shown, shard=pointed.shard) for shown in event["Records"]]
        given_up = range(int(pointed.first), int(pointed.last) + 1)
        return [each for each in records if int(each.record.id) in given_up]
    except (ValueError, TypeError, KeyError) as error:
        raise Foreign(f"its payload cannot be read: {error}") from error


def _document(text: str) -> dict[str, Any]:
    try:
        document = decode(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        raise Foreign("it is not JSON") from None
    return _unwrapped(document)


def _read_failure(document: dict[str, Any]) -> Pointed:
    key = next((key for key in _INFOS if isinstance(document.get(key), dict)), None)
    if key is None and isinstance(document.get("requestContext"), dict):
        kind = "a Kafka source" if "KafkaBatchInfo" in document else "an asynchronous invocation"
        raise OtherKind(f"it is of {kind}, not of a stream: {_shown(document)}")
    if key is None:
        raise Foreign(f"it has neither {' nor '.join(_INFOS)}: {_shown(document)}")
    try:
        info, context = document[key], document["requestContext"]
        return Pointed(
            source=_INFOS[key],
            stream_arn=_stream_arn(info, _INFOS[key]),
            shard=_text(info, "shardId"),
            first=_number(info, "startSequenceNumber"),
            last=_number(info, "endSequenceNumber"),
            records=int(info["batchSize"]),
            arrived=_seconds(info.get("approximateArrivalOfFirstRecord")),
            function=_text(context, "functionArn").split(":")[6],
            condition=str(context.get("condition", "")),
            carries=document.get("payload", document.get("requestPayload")) is not None,
        )
    except Foreign:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
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


def _stream_arn(info: Mapping[str, Any], source: str) -> str:
    text = _text(info, "streamArn")
    try:
        service = parse_source_arn(text).service
    except ArnError as error:
        raise Foreign(f"its streamArn: {error}") from error
    if service != source:
        raise Foreign(f"its streamArn {text[:_LONGEST_TEXT]} is not of {source}")
    return text


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
