"""EventBridge buses that keep the events put on them. Pure.

An event for a bus that does not exist is answered with an EventId and lost, as AWS does (field reports, aws-cli issue 9186): it
stands in `lost`. Every account has a bus `default`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final
from uuid import UUID

import msgspec

from runtime.local.errors import Refused

_DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; `at` is in seconds since the epoch."""

    id: str
    bus: str
    """The bus' ARN."""
    at: float
    source: str
    detail_type: str
    detail: str
    """JSON, as it was sent."""
    resources: list[str]
    time: Any = None
    """As it was sent."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Buses:
    """`clock` gives seconds since the epoch."""

    def __init__(self, *, seed: int, clock: Callable[[], float]) -> None:
        self.received: list[Event] = []
        self.lost: list[Event] = []
        """Events for buses that do not exist."""
        self._clock = clock
        self._rng = Random(f"events {seed}")  # noqa: S311 - ids that repeat by seed, not secrets
        self._buses: set[str] = set()

    def reset(self) -> None:
        self.received.clear()
        self.lost.clear()
        self._buses.clear()

    def buses(self) -> list[str]:
        """ARNs of the buses that were created."""
        return sorted(self._buses)

    def create(self, name: str, *, account: str, region: str) -> str:
        """Gives the ARN. Raises Refused."""
        arn = _arn(name, account, region)
        if name == _DEFAULT or arn in self._buses:
            raise Refused("ResourceAlreadyExistsException", f"Event bus {name} already exists.")
        self._buses.add(arn)
        return arn

    def put(self, entry: Mapping[str, Any], *, account: str, region: str) -> dict[str, Any]:
        """Puts one event; gives its part of the answer."""
        for parameter in ("Source", "DetailType", "Detail"):
            if not isinstance(entry.get(parameter), str) or not entry[parameter]:
                reason = f"Parameter {parameter} is not valid. Reason: {parameter} is a required argument."
                return {"ErrorCode": "InvalidArgument", "ErrorMessage": reason}
        if not _is_json_object(entry["Detail"]):
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        name = str(entry.get("EventBusName") or _DEFAULT)
        event = Event(
            id=str(UUID(int=self._rng.getrandbits(128), version=4)),
            bus=name if name.startswith("arn:") else _arn(name, account, region),
            at=self._clock(),
            source=entry["Source"],
            detail_type=entry["DetailType"],
            detail=entry["Detail"],
            resources=list(entry.get("Resources") or []),
            time=entry.get("Time"),
        )
        exists = event.bus in self._buses or event.bus.endswith(f"event-bus/{_DEFAULT}")
        (self.received if exists else self.lost).append(event)
        return {"EventId": event.id}


def _arn(name: str, account: str, region: str) -> str:
    return f"arn:aws:events:{region}:{account}:event-bus/{name}"


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except msgspec.DecodeError:
        return False
