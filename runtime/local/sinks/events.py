"""EventBridge as a service of the server."""

from collections.abc import Mapping
from typing import Any, Final

from runtime.local.errors import Refused
from runtime.local.faults import Kind
from runtime.local.service import JSON_1_1, Answer, Asked, Service, json_service
from runtime.local.sinks.buses import Buses

_MOST_ENTRIES: Final = 10
_LARGEST: Final = 1024 * 1024
"""Bytes of a request's entries."""
_FAULTS: Final[dict[Kind, Refused]] = {
    Kind.THROTTLE: Refused("ThrottlingException", "Rate exceeded"),
    Kind.ERROR500: Refused("InternalException", "An internal error has occurred", status=500),
    Kind.ERROR503: Refused("ServiceUnavailable", "Service is unavailable", status=503),
    Kind.ACCESS_DENIED: Refused("AccessDeniedException", "User is not authorized to perform this operation on the resource"),
    Kind.EXPIRED_TOKEN: Refused("ExpiredTokenException", "The security token included in the request is expired"),
}


def events_service(buses: Buses) -> Service:
    async def create_event_bus(asked: Asked) -> Answer:
        name = asked.body.get("Name")
        if not isinstance(name, str) or not name:
            raise Refused("ValidationException", "1 validation error detected: Value null at 'name' must not be null")
        return {"EventBusArn": buses.create(name, account=asked.caller.account, region=asked.caller.region)}

    async def describe_event_bus(asked: Asked) -> Answer:
        return _describe(buses, asked)

    async def put_events(asked: Asked) -> Answer:
        """One entry that fails does not stop the others."""
        entries = asked.body.get("Entries")
        if not isinstance(entries, list) or not 1 <= len(entries) <= _MOST_ENTRIES:
            message = "Member must have length between 1 and 10"
            raise Refused(
                "ValidationException", f"1 validation error detected: 'entries' failed to satisfy constraint: {message}"
            )
        if not all(isinstance(entry, dict) for entry in entries):
            raise Refused("SerializationException", "Entries must be a list of structures")
        if len(asked.raw) > _LARGEST:
            raise Refused("ValidationException", "Total size of the entries in the request is over the limit.")
        results = [buses.put(entry, account=asked.caller.account, region=asked.caller.region) for entry in entries]
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    def received(_given: Mapping[str, Any]) -> Answer:
        return {
            "received": [event.as_json() for event in buses.received],
            "lost": [event.as_json() for event in buses.lost],
        }

    def inspect() -> Answer:
        """The buses that were created or have received something."""
        arns = sorted({*buses.buses(), *(event.bus for event in buses.received)})
        return {"buses": [{"arn": arn, "received": sum(event.bus == arn for event in buses.received)} for arn in arns]}

    return json_service(
        name="events",
        target="AWSEvents",
        content=JSON_1_1,
        operations={"CreateEventBus": create_event_bus, "DescribeEventBus": describe_event_bus, "PutEvents": put_events},
        about=_about,
        fault=lambda kind, _asked: _FAULTS.get(kind),
        reset=buses.reset,
        inspect=inspect,
        controls={"received": received},
    )


def _describe(buses: Buses, asked: Asked) -> Answer:
    """By name or ARN; `default` is there for everybody."""
    name = str(asked.body.get("Name") or "default").rpartition("/")[2]
    arn = f"arn:aws:events:{asked.caller.region}:{asked.caller.account}:event-bus/{name}"
    if name != "default" and arn not in buses.buses():
        raise Refused("ResourceNotFoundException", f"Event bus {name} does not exist.")
    return {"Arn": arn, "Name": name}


def _about(body: Mapping[str, Any]) -> dict[str, str]:
    """The bus of the first entry, by name."""
    entries = body.get("Entries")
    first = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
    name = body.get("Name") or first.get("EventBusName") or "default"
    return {"bus": name.rpartition("/")[2]} if isinstance(name, str) else {}
