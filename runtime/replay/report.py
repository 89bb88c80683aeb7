"""What became of replayed records. The law: read = not selected + filtered out + succeeded + failed + not run."""

import heapq
import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from handlers.invoker import FunctionError
from pollers.record import Record
from pollers.recording import Flaw

_SLOWEST: Final = 5
_MOST_FAILURES: Final = 10_000
"""Failing records that are told one by one; all are counted."""
_LONGEST_TEXT: Final = 300
_MOST_GROUPS: Final = 1000
"""Kinds of error that are told apart by their message; the others only by their type."""
_REQUEST: Final = re.compile(r"RequestId: [0-9a-f-]{36} (Error: )?")
"""What Lambda puts before the text of a time limit: another one in each invocation."""
REPORTED: Final = "ReportedAsFailed"
"""Our word for a record that the handler named in its answer."""
NOT_ALONE: Final = "GivenUpWithItsBatch"
"""Our word for a record that no handler named, and that was given up beside one that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why an invocation, or one record of it, counts as failed."""

    type: str
    message: str

    @classmethod
    def of(cls, error: FunctionError) -> "Trouble":
        return cls(type=error.error_type or "Error", message=_REQUEST.sub("", error.message)[:_LONGEST_TEXT])


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One record that failed in the end."""

    source_arn: str
    shard: str
    position: str
    """Its sequence number or message id."""
    trouble: Trouble
    condition: str
    attempts: int
    """Invocations of its last batch."""
    place: str
    """File and line, where it came from a file."""
    batch: int
    """Records of that batch."""


@dataclass(slots=True, kw_only=True)
class ErrorGroup:
    """Invocations that failed alike."""

    trouble: Trouble
    invocations: int = 0
    records: int = 0
    """In those invocations; a record that was tried again counts each time."""
    first: str = ""
    """Position of the first record of the first of them."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SlowBatch:
    seconds: float
    order: int
    records: int
    shard: str
    first: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A batch that would be invoked."""

    shard: str
    records: int
    size: int
    first: str
    last: str


@dataclass(slots=True, kw_only=True)
class Report:
    """Filled while records are replayed."""

    read: int = 0
    left_out: int = 0
    """By --where, --from, --to, --only."""
    filtered_out: int = 0
    succeeded: int = 0
    failed: int = 0
    chosen: int = 0
    """For the handler."""
    batches: int = 0
    invocations: int = 0
    throttles: int = 0
    overdue: int = 0
    """Handlers that ran on past their time limit, beside what came next."""
    size: int = 0
    """Bytes of the records that were handed over."""
    durations: list[float] = field(default_factory=list)
    """Seconds of each invocation."""
    failures: list[Failure] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What else went wrong."""
    stopped: bool = False
    """It was ended before all was done."""
    first_arrived: float = 0.0
    last_arrived: float = 0.0
    _errors: dict[Trouble, ErrorGroup] = field(default_factory=dict)
    _slowest: list[SlowBatch] = field(default_factory=list)
    _numbers: Any = field(default_factory=count)

    @property
    def not_run(self) -> int:
        return self.read - self.left_out - self.filtered_out - self.succeeded - self.failed

    @property
    def right(self) -> bool:
        """Nothing failed, and all was done."""
        return not (self.failed or self.flaws or self.problems or self.not_run or self.stopped)

    @property
    def errors(self) -> list[ErrorGroup]:
        """The most frequent first."""
        return sorted(self._errors.values(), key=lambda group: -group.invocations)

    @property
    def slowest(self) -> list[SlowBatch]:
        return sorted(self._slowest, reverse=True)

    def take(self, record: Record) -> None:
        self.size += record.size
        if record.arrived:
            self.first_arrived = min(self.first_arrived or record.arrived, record.arrived)
            self.last_arrived = max(self.last_arrived, record.arrived)

    def invoked(self, shard: str, records: tuple[Record, ...], seconds: float, trouble: Trouble | None) -> None:
        self.invocations += 1
        self.durations.append(seconds)
        first, last = (records[0].id, records[-1].id) if records else ("", "")
        slow = SlowBatch(seconds=seconds, order=next(self._numbers), records=len(records), shard=shard, first=first, last=last)
        if len(self._slowest) < _SLOWEST:
            heapq.heappush(self._slowest, slow)
        else:
            heapq.heappushpop(self._slowest, slow)
        if trouble is not None:
            if trouble not in self._errors and len(self._errors) >= _MOST_GROUPS:
                trouble = Trouble(type=trouble.type, message="(other messages)")
            group = self._errors.setdefault(trouble, ErrorGroup(trouble=trouble, first=first))
            group.invocations += 1
            group.records += len(records)

    def fail(self, failure: Failure) -> None:
        self.failed += 1
        if len(self.failures) < _MOST_FAILURES:
            self.failures.append(failure)
