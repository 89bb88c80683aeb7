"""What happened in a simulation, in the order in which it happened. Times are seconds since the epoch by the one true clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from pollers.record import Position

E = TypeVar("E", bound="Event")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. `who` is one life of a worker (`a.2` is the second life of worker `a`), or the world."""

    at: float
    who: str = "world"

    def __str__(self) -> str:
        told = ((each.name, getattr(self, each.name)) for each in fields(self) if each.name not in {"at", "who"})
        return f"{self.who:6} {type(self).__name__:13} " + " ".join(f"{name}={_short(value)}" for name, value in told)


def _short(value: object) -> str:
    if isinstance(value, tuple) and len(value) > 1 and all(isinstance(each, str) and each.isdigit() for each in value):
        return f"[{' '.join(value)}]"
    return str(value).replace("shardId-000000000", "")


# the stream


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardMade(Event):
    shard: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardClosed(Event):
    shard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Put(Event):
    shard: str
    sequence: str
    key: str
    arrived: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed(Event):
    shard: str
    sequences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Event):
    shard: str
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAsked(Event):
    shard: str


# the function


class Ending(StrEnum):
    """What the handler did, as the rules see it."""

    SUCCESS = "success"
    PARTIAL = "partial"
    """The records before the lowest reported one are done."""
    FAILURE = "failure"
    THROTTLED = "throttled"
    CUT = "cut"
    """Cancelled: nobody learnt how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Began(Event):
    call: int
    shard: str
    sequences: tuple[str, ...]
    window: str | None = None
    """When the tumbling window starts, as told to the handler."""
    seen: tuple[str, ...] = ()
    """The state that was handed over: what the handler saw in this window so far."""
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Event):
    call: int
    ending: Ending
    done: int = 0
    """So many records of the front were done."""


# the destination and the counters


@dataclass(frozen=True, slots=True, kw_only=True)
class SendBegan(Event):
    send: int
    shard: str
    sequences: tuple[str, ...]
    condition: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendEnded(Event):
    send: int
    taken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped(Event):
    shard: str
    sequences: tuple[str, ...]
    condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(Event):
    """Counted as having left the stream while they were retried (COM-85)."""

    shard: str
    sequences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap(Event):
    """Counted: records after a position were gone."""

    shard: str


# the leases


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMade(Event):
    shard: str
    parents: tuple[str, ...]
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWritten(Event):
    """A conditional write that went through, and what the row was before."""

    write: str
    """take, renew, checkpoint, release."""
    shard: str
    owner_before: str | None
    owner: str | None
    before: Position
    position: Position
    window: str | None
    counter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRefused(Event):
    write: str
    shard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsForgotten(Event):
    shards: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Event):
    """The leader of a fleet wants a lease to be handed over."""

    shard: str
    owner: str | None
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned(Event):
    """The leader of a fleet gave a lease away."""

    shard: str
    owner: str | None
    """Who had it."""
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildrenNamed(Event):
    """Written into the row of their parent."""

    shard: str
    children: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTaken(Event):
    owner: str
    before: str | None
    """Whose lock it was."""


# the workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived(Event):
    what: str
    """started, draining, ended, killed, paused, resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed(Event):
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said(Event):
    """A log line of the product; nothing is judged by it."""

    name: str
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The end: why the run stopped, and what the counters of all lives together say."""

    reason: str
    counters: Mapping[str, float]


QUIET = "quiet"
"""Everything that was put has passed; the good end."""


@dataclass(slots=True)
class Journal:
    """Whoever has something to tell appends it. Closed, it takes no more: what happens at the clean-up is nobody's business."""

    events: list[Event] = field(default_factory=list)
    closed: bool = False

    def add(self, event: Event) -> None:
        if not self.closed:
            self.events.append(event)

    def of(self, kind: type[E]) -> Iterator[E]:
        return (event for event in self.events if isinstance(event, kind))

    def text(self) -> str:
        """One line per event, times since the first."""
        if not self.events:
            return ""
        start = self.events[0].at
        return "\n".join(f"{event.at - start:9.3f} {event}" for event in self.events)
