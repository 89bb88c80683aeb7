"""Where messages lie: a queue, the objects of a bucket, a folder, a file. Only `remove` deletes anything."""

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from pollers.record import Record

LARGEST: Final = 64 * 1024 * 1024
"""Bytes; an on-failure object has an event of 6 MB, escaped, and little else."""


class Message(Struct, frozen=True, kw_only=True):
    """One message as it lies there."""

    name: str
    """What the user knows it by: the id, key, or file and line."""
    record: Record | None = None
    """Of a queue."""


class Unreadable(Exception):
    """A message whose text cannot be had; says why."""


class Place(Protocol):
    """Holds messages."""

    partial: str
    """Why one `fetch` may not show all that is there; empty: it does."""

    async def fetch(self, limit: int) -> list[Message]:
        """Messages that were not fetched before; none when nothing more can be had. Raises UserError or SourceError."""
        ...

    async def read(self, message: Message) -> str:
        """Its text. Raises Unreadable."""
        ...

    async def keep(self) -> None:
        """Runs beside the work until it is cancelled: what was fetched stays ours."""
        ...

    async def remove(self, messages: Sequence[Message]) -> list[str]:
        """Delete messages whose records succeeded; gives what went wrong."""
        ...

    async def close(self) -> list[str]:
        """Let go of what was not removed; gives what went wrong."""
        ...
