"""A record of an event as filters see it (`spec/filtering.md`, section 2): its data decoded, where it is a JSON object."""

from base64 import b64decode
from typing import Any

from pollers.event_records import decode


def view_of(source: str, shown: dict[str, Any]) -> dict[str, Any]:
    match source:
        case "sqs":
            return {**shown, "body": _parsed(shown["body"].encode("utf-8", "surrogatepass"), shown["body"])}
        case "kinesis":
            data = b64decode(shown["kinesis"]["data"])
            return {**shown, "data": _parsed(data, data.decode("utf-8", "replace"))}
        case _:
            return shown


def _parsed(data: bytes, otherwise: str) -> Any:
    try:
        parsed = decode(data)
    except ValueError:
        return otherwise
    return parsed if isinstance(parsed, dict) else otherwise
