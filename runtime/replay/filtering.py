"""The mapping's FilterCriteria in a replay, and records as `--where` sees them."""

from base64 import b64decode
from typing import Any

from pollers import event_view
from pollers.event_records import EventRecord, decode, shown_of
from runtime.core.filtering import FilterCriteria


def passes(criteria: FilterCriteria | None, record: EventRecord) -> bool:
    """Whether a worker would hand it to the function."""
    return criteria is None or criteria.matches(event_view(record.source, shown_of(record.record)))


def view_of(source: str, shown: dict[str, Any]) -> dict[str, Any]:
    """`shown`: the record's part of an event. Its data is decoded: a JSON object, or the text that it is else."""
    match source:
        case "sqs":
            return {**shown, "body": _parsed(shown["body"].encode("utf-8", "surrogatepass"), shown["body"])}
        case "kinesis":
            data = _decoded(shown["kinesis"]["data"])
            return {**shown, "data": _parsed(data, data.decode("utf-8", "replace"))}
        case _:
            return shown


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text)
    except ValueError:  # somebody wrote it by hand
        return text.encode("utf-8", "surrogatepass")


def _parsed(data: bytes, otherwise: str) -> Any:
    try:
        parsed = decode(data)
    except ValueError:
        return otherwise
    return parsed if isinstance(parsed, dict) else otherwise
