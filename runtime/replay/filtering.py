"""The mapping's FilterCriteria in a replay, and records as filters see them (`spec/filtering.md`, section 2)."""

from base64 import b64decode
from typing import Any, Protocol

from pollers.event_records import EventRecord, decode, shown_of
from runtime.core.mapping import EventSourceMapping


class FilterCriteria(Protocol):
    """Compiled once."""

    def matches(self, view: dict[str, Any]) -> bool: ...


def criteria_of(mapping: EventSourceMapping) -> FilterCriteria | None:  # noqa: ARG001  # mappings have none yet
    """None: everything passes."""
    return None


def passes(criteria: FilterCriteria | None, record: EventRecord) -> bool:
    """Whether a worker would hand it to the function."""
    return criteria is None or criteria.matches(view_of(record.source, shown_of(record.record)))


def view_of(source: str, shown: dict[str, Any]) -> dict[str, Any]:
    """`shown`: the record's part of an event. Its data is decoded, where it is a JSON object."""
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
