"""Lambda functions that keep what they are invoked with. Pure. A function must be declared, by name."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from runtime.local.errors import Refused

_ID: Final = re.compile(r"(?:arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?(?:\d{12}:function:)?([A-Za-z0-9_-]+)(?::([A-Za-z0-9$_-]+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One invocation; `at` is in seconds since the epoch."""

    function: str
    qualifier: str | None
    at: float
    kind: str
    """Event or RequestResponse."""
    payload: str
    """JSON, as it was sent."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Functions:
    """`clock` gives seconds since the epoch."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self.received: list[Invocation] = []
        self._clock = clock
        self._functions: dict[str, str | None] = {}

    def reset(self) -> None:
        self.received.clear()
        self._functions.clear()

    def functions(self) -> list[str]:
        return sorted(self._functions)

    def declare(self, name: str, *, error: str | None = None) -> None:
        """From now on there is this function. `error`: it fails, with this message, each time it is waited for."""
        self._functions[name] = error

    def error_of(self, name: str) -> str | None:
        return self._functions[name]

    def invoke(self, name: str, qualifier: str | None, *, kind: str, payload: str, arn: str) -> Invocation:
        """Raises Refused for a function that was not declared; `arn` is what the message calls it."""
        if name not in self._functions:
            raise Refused("ResourceNotFoundException", f"Function not found: {arn}", status=404)
        invocation = Invocation(function=name, qualifier=qualifier, at=self._clock(), kind=kind, payload=payload)
        self.received.append(invocation)
        return invocation


def parse_id(text: str) -> tuple[str, str | None] | None:
    """Name and qualifier, from a name, a partial or a whole ARN, each with or without a qualifier; None if it is none."""
    found = _ID.fullmatch(text)
    return None if found is None else (found[1], found[2])
