"""Where the records of a stream go that were given up: on-failure destinations (`spec/destinations.md`)."""

from dataclasses import dataclass
from typing import Any, Protocol


class DestinationError(Exception):
    """A destination did not take a failure record. `code` is the service's own error code, or a word of ours in lower case."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRecord:
    """What is told of one group of discarded records."""

    body: dict[str, Any]
    """The JSON document (DST-21..33), without `payload`."""
    event: dict[str, Any]
    """The event that was, or was to be, sent to the function; S3 keeps it beside the body as text (DST-37)."""
    mapping: str
    """The mapping's UUID, for the key of an S3 object (DST-36)."""
    shard: str


class FailureDestination(Protocol):
    """Takes failure records. Safe for concurrent calls."""

    async def send(self, failure: FailureRecord) -> None:
        """One message. Tries a few times by itself; raises DestinationError when it was not taken."""
        ...
