"""What a handler is to the rest of the program: something that takes an event and ends in one of three ways.

The rules know exactly three outcomes. Success carries what the handler returned. A function error costs a retry where retries are
counted. Not invoked (throttled, unreachable) costs nothing, because the handler never saw the records (COM-20..25).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from msgspec import Struct


class NotJson:
    """The handler returned bytes that are no JSON document (COM-31 passes bytes through unencoded)."""

    def __repr__(self) -> str:
        return "NOT_JSON"


NOT_JSON: Final = NotJson()


class Succeeded(Struct, frozen=True, kw_only=True):
    """The handler returned. `response` is its answer as decoded JSON, or NOT_JSON."""

    response: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionError:
    """The handler was reached and failed."""

    error_type: str
    message: str
    document: dict[str, Any]
    """The error document exactly as Lambda gives it (COM-33, COM-36, COM-37), keys in its order."""
    timed_out: bool = False
    still_running: Callable[[], Awaitable[None]] | None = None
    """Set when the handler could not be stopped (a thread past its time limit): await it to learn when it really returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotInvoked:
    """The handler never saw the records. `reason` is AWS's word where there is one (COM-24), else why it could not be called."""

    reason: str


Outcome = Succeeded | FunctionError | NotInvoked


MakeEvent = Callable[[], dict[str, Any]]
"""An event is thousands of values: it is made when its handler begins, for this one call, and is gone with it."""


class Invoker(Protocol):
    """Calls one function. Safe for concurrent calls."""

    async def invoke(self, make_event: MakeEvent, *, request_id: str, function_arn: str) -> Outcome:
        """Call the handler once and say how it ended. Raises nothing but the caller's own cancellation.

        `function_arn` is the ARN as invoked, with the qualifier if the mapping names one (COM-44).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """A function as `esm.yaml` describes it, with defaults filled in."""

    name: str
    handler: str
    """`module.attribute` or `path/to/file.py:attribute`."""
    code_root: Path
    """Absolute folder in which modules and paths are looked up (CodeUri)."""
    timeout: int = 3
    """Seconds, 1-900."""
    memory_size: int = 128
    """MiB; only told to the handler's context."""
    reserved_concurrency: int | None = None
    """Most invocations at once in this worker; None means no limit, 0 means none at all."""
