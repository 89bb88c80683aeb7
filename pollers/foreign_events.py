"""The records in documents of others: Lambda events, lists of them, and on-failure records that carry the event (DST-37)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pollers.event_records import EventRecord, decode, read_event_record
from pollers.recorded import MARK

_BATCH_INFO = ("KinesisBatchInfo", "DDBStreamBatchInfo")


def records_in(document: Any, *, shard: str = "") -> Iterator[EventRecord]:
    """Those before a flaw are given. `shard`: where the event does not say it. Raises ValueError."""
    match document:
        case list():
            for number, each in enumerate(document, 1):
                if not isinstance(each, Mapping):
                    raise ValueError(f"item {number} of the list is no Lambda event")  # noqa: TRY004  # the one error of this module
                yield from _records_of(each, shard)
        case dict():
            yield from _records_of(document, shard)
        case _:
            raise ValueError("this is no Lambda event, but text or a number that stands alone")


def _records_of(document: Mapping[str, Any], shard: str) -> Iterator[EventRecord]:
    if MARK in document:
        raise ValueError("a recording begins inside a file of events: give them as two files")
    if "eventSource" in document:
        yield read_event_record(document, shard=shard)
    elif "Records" in document:
        yield from _event(document["Records"], shard)
    elif "requestContext" in document:
        yield from _on_failure(document)
    else:
        raise ValueError('this is no Lambda event of a queue or stream: it has no "Records"')


def _event(records: Any, shard: str) -> Iterator[EventRecord]:
    if not isinstance(records, list):
        raise ValueError('"Records" of the event is no list')  # noqa: TRY004  # as above
    for number, shown in enumerate(records, 1):
        try:
            yield read_event_record(shown, shard=shard)
        except ValueError as error:
            raise ValueError(f"{error} (number {number} of {len(records)} in the event)") from error


def _on_failure(failure: Mapping[str, Any]) -> Iterator[EventRecord]:
    """The payload is text in S3 objects (DST-37), and the event itself where Lambda tells of an asynchronous call."""
    context = failure["requestContext"]
    if not isinstance(context, Mapping) or "functionArn" not in context:
        raise ValueError("this is an event of an HTTP API, not of a queue or stream")
    payload = failure.get("payload", failure.get("requestPayload"))
    if payload is None:
        raise ValueError(
            "this is an on-failure record without payload: those of queues and topics only say where the records are. "
            "`esm redrive` fetches them from the stream"
        )
    if isinstance(payload, str):
        try:
            payload = decode(payload.encode("utf-8", "surrogatepass"))
        except ValueError as error:
            raise ValueError("the payload of the on-failure record is not JSON") from error
    if not isinstance(payload, dict) or "Records" not in payload:
        raise ValueError('the payload of the on-failure record is no Lambda event of a queue or stream: it has no "Records"')
    yield from _event(payload["Records"], _shard_of(failure))


def _shard_of(failure: Mapping[str, Any]) -> str:
    """DST-21."""
    for key in _BATCH_INFO:
        info = failure.get(key)
        if isinstance(info, Mapping) and isinstance(shard := info.get("shardId"), str):
            return shard
    return ""
