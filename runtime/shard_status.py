"""What a mapping says of one shard: where it stands, and why it is not moving."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any

from pollers.errors import SourceError
from runtime.clock import now as monotonic


class ShardState(StrEnum):
    WAITING = "waiting"
    """For its parents to end."""
    FREE = "free"
    """Nobody works on it yet."""
    ELSEWHERE = "elsewhere"
    """Another worker holds its lease."""
    READING = "reading"
    BLOCKED = "blocked"
    """Something must succeed, or be given up, before it goes on."""
    ENDED = "ended"


@dataclass(slots=True, kw_only=True)
class Block:
    """What a lane of a shard waits for."""

    reason: str
    since: float
    """Epoch seconds."""
    attempt: int = 0
    """Of the next invocation, where one is tried again."""
    detail: str = ""

    def __str__(self) -> str:
        since = f"since {datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M:%S} UTC"
        when = f"attempt {self.attempt} {since}" if self.attempt else since
        return f"{self.reason} ({when})" + (f": {self.detail}" if self.detail else "")


@dataclass(slots=True, kw_only=True)
class ShardStatus:
    """Written by the tasks of a shard and the mapping's rounds, read by the HTTP server. Monotonic seconds unless named."""

    shard: str
    owner: str | None = None
    checkpoint: str = ""
    namesake: bool = False
    """The owner, another worker, has our name."""
    owner_silent: float = 0.0
    """Seconds since the owner, another worker, has shown life."""
    takeover: float = 0.0
    """Seconds of silence after which a lease is taken over."""
    ended: bool = False
    waiting_for: tuple[str, ...] = ()
    """Parents that must end first."""
    running: bool = False
    """This worker works on it."""
    error: SourceError | None = None
    """What the source said to the last read, if it was not an answer."""
    blocks: dict[int, Block] = field(default_factory=dict)
    """By lane."""
    behind: float | None = None
    """Seconds that the last read was behind the newest record."""
    in_flight: dict[int, float] = field(default_factory=dict)
    """By lane, when the last record of its batch arrived in the stream: epoch seconds."""
    unfinished: int = 0
    """Records read and not covered by the checkpoint."""
    last_read: float | None = None
    last_advance: float | None = None
    alive: float = 0.0
    """The last sign of life of its tasks."""
    expected: dict[object, float] = field(default_factory=dict)
    """Until when they need not give one, because of what they do now."""
    overdue: dict[int, float] = field(default_factory=dict)
    """By lane, since when a handler runs on past its time limit."""
    working_since: float | None = None
    """Since when it has had records in hand without a break."""
    problem: str | None = None
    """What is wrong with it although it has ended."""
    restarts: int = 0
    clock: Callable[[], float] = field(default=monotonic, repr=False)
    in_vain: int = 0
    """How often the watchdog restarted it since it last read or advanced."""

    def iterator_age(self, wall: float) -> float:
        """MET-35, and growing for as long as the batch is not done; `wall` is epoch seconds."""
        return max((wall - arrived for arrived in self.in_flight.values()), default=0.0)

    def lag(self, now: float, wall: float) -> float:
        """Seconds that the oldest record which is not done has waited, as far as is known.

        Of what was not read yet only Kinesis tells; it gets older while it is not read.
        """
        unread = self.behind + now - self.last_read if self.behind and self.last_read is not None else 0.0
        return max(self.iterator_age(wall), unread)

    @property
    def overdue_since(self) -> float | None:
        return min(self.overdue.values(), default=None)

    def standing_still(self, now: float) -> float:
        """Seconds for which it has had records in hand and did not advance."""
        if not self.unfinished or self.working_since is None:
            return 0.0
        return now - max(self.working_since, self.last_advance or 0.0)

    @property
    def stuck(self) -> bool:
        return self.in_vain > 1

    @property
    def state(self) -> ShardState:
        if self.ended:
            return ShardState.ENDED
        if self.running:
            return ShardState.BLOCKED if self.blocks or self.error else ShardState.READING
        if self.waiting_for:
            return ShardState.WAITING
        return ShardState.ELSEWHERE if self.owner else ShardState.FREE

    @property
    def why_not_moving(self) -> str | None:
        match self.state:
            case ShardState.WAITING:
                return f"waiting for its parent {' and '.join(self.waiting_for)}"
            case ShardState.ELSEWHERE:
                return self._why_elsewhere()
            case ShardState.FREE:
                return "no worker has taken its lease yet"
            case ShardState.BLOCKED:
                return "; ".join(map(str, [*self.blocks.values(), *([self.error] if self.error else [])]))
            case ShardState.ENDED:
                return self.problem
            case _:
                return None

    @property
    def owner_gone(self) -> bool:
        """Nobody works on it, as far as can be seen."""
        return self.state is ShardState.FREE or (self.state is ShardState.ELSEWHERE and self.owner_silent > self.takeover / 2)

    def _why_elsewhere(self) -> str:
        held = f"lease held by worker {self.owner}"
        if self.namesake:
            held = f"lease held under our own id {self.owner}, by another process (every worker needs an id of its own)"
        if not self.owner_gone:
            return held
        return f"{held}, silent for {self.owner_silent:.0f} s: taken over after {self.takeover:.0f} s of silence"

    def busy(self, seconds: float) -> AbstractContextManager[None]:
        """What the body does may take so long without any other sign of life."""
        return _Busy(self, seconds)

    def silent(self, now: float) -> float:
        """Seconds since its tasks have shown no sign of life, what they may take for what they do now not counted."""
        if not self.running or self.overdue:
            return 0.0
        return max(0.0, now - max([self.alive, *self.expected.values()]))

    def shown(self, now: float, wall: float) -> dict[str, Any]:
        """The JSON of one shard; `now` is monotonic, `wall` epoch seconds."""
        return {
            "shard": self.shard,
            "state": self.state.value,
            "owner": self.owner,
            "checkpoint": self.checkpoint,
            "lag_seconds": self.behind,
            "iterator_age_seconds": round(self.iterator_age(wall), 3),
            "unfinished": self.unfinished,
            "seconds_since_read": _since(self.last_read, now),
            "seconds_since_advance": _since(self.last_advance, now),
            "restarts": self.restarts,
            "why": self.why_not_moving,
        }


class _Busy(AbstractContextManager[None]):
    """A third of what a generator costs, several times for every page."""

    __slots__ = ("_seconds", "_status")

    def __init__(self, status: ShardStatus, seconds: float) -> None:
        self._status = status
        self._seconds = seconds

    def __enter__(self) -> None:
        self._status.expected[self] = self._status.clock() + self._seconds

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._status.expected[self]
        self._status.alive = self._status.clock()


def _since(then: float | None, now: float) -> float | None:
    return None if then is None else round(now - then, 3)
