"""What is sent when records of a stream are given up, who takes it, and how that can go wrong."""

from dataclasses import dataclass
from typing import Any, Protocol


class DestinationError(Exception):
    """A destination did not take a failure record. `code` is the service's own error code, or a word of ours in lower case.

    `lasting`: it stays so until somebody changes something (no such queue, access denied); else it may work the next time.
    """

    def __init__(self, message: str, *, code: str, lasting: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.lasting = lasting


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFinding:
    """Why a destination would not take failure records, as far as can be told without sending one."""

    message: str
    """Names the destination, what is wrong with it, and what to do."""
    unverified: bool
    """The question was not permitted, so nothing is known: it may well take them."""


class FailureDestination(Protocol):
    """Takes failure records. Safe for concurrent calls."""

    async def send(self, failure: FailureRecord) -> None:
        """One message. Tries a few times by itself; raises DestinationError when it was not taken.

        A try whose answer was lost may have been taken all the same: then there are two messages.
        """
        ...

    async def probe(self) -> ProbeFinding | None:
        """Ask whether it is there, writing nothing. None: nothing speaks against it. Raises nothing of its own."""
        ...
