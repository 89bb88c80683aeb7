"""Where one listens to what a mapping receives and what becomes of it (`esm tail`).

The law: the worker never waits for a listener. Whoever has something to tell asks `listening` first, so that a mapping to which
nobody listens pays for one attribute and makes nothing; a listener that reads too slowly loses lines and is told how many.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, assert_never

from handlers.invoker import FunctionError, NotInvoked, Outcome, Succeeded
from pollers.record import Record
from pollers.source import Refusal
from runtime.core.batching import Batch
from runtime.core.decisions import Decision
from runtime.listener import Listener
from runtime.tap_events import (
    LONGEST_TEXT,
    DeleteRefused,
    Detail,
    Fate,
    FilteredOut,
    GivenBack,
    GivenUp,
    InvocationEnded,
    Invoked,
    Received,
    Traffic,
)
from runtime.tap_events import Outcome as Word

MOST_LISTENERS: Final = 16
"""Of one mapping."""
_MOST_RUNNING: Final = 10_000
"""Invocations of which the beginning is kept; more are some that were cancelled."""

Why = Callable[[Record], tuple[str, ...]]
"""Explains a record that no filter matched: a line for each filter."""


def _unexplained(_: Record) -> tuple[str, ...]:
    return ()


class TooManyListenersError(Exception):
    """The mapping has MOST_LISTENERS already."""


class Tap:
    """Of one mapping; used on its event loop only."""

    __slots__ = ("_began", "_clock", "_detailed", "_listeners", "_stopwatch", "listening")

    def __init__(self, clock: Callable[[], float] = time.time, stopwatch: Callable[[], float] = time.perf_counter) -> None:
        """`clock`: the wall clock, epoch seconds. `stopwatch`: monotonic, and finer than that of the loop."""
        self.listening = False
        """To be asked before anything else is called."""
        self._clock = clock
        self._stopwatch = stopwatch
        self._detailed = False
        """Somebody wants to know of each record."""
        self._listeners: list[Listener] = []
        self._began: dict[str, float] = {}
        """When invocations began, by request id, on the stopwatch."""

    @contextmanager
    def listen(self, *, records: bool) -> Iterator[Listener]:
        """A listener for as long as the body runs. Raises TooManyListenersError."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise TooManyListenersError
        listener = Listener(records=records, clock=self._clock)
        self._listeners.append(listener)
        self._notice()
        try:
            yield listener
        finally:
            self._listeners.remove(listener)
            self._notice()

    def close(self, reason: str) -> None:
        """Nothing more will be told."""
        for listener in self._listeners:
            listener.close(reason)

    # what can be told, each only while `listening`

    def received(self, records: Sequence[Record], *, shard: str = "", waiting: int = 0, due: float | None = None) -> None:
        """`waiting`, `due`: of the batches that these records joined (`Received`)."""
        if not records:
            return
        at = self._clock()
        oldest = min([record.arrived for record in records if record.arrived > 0], default=None)
        self._publish(
            Received(
                at=at,
                shard=shard,
                records=len(records),
                bytes=_bytes(records),
                age=None if oldest is None else round(max(0.0, at - oldest), 3),
                waiting=waiting,
                due=None if due is None else round(due, 3),
                details=self._details(records),
            )
        )

    def filtered(self, records: Sequence[Record], *, shard: str = "", why: Why = _unexplained) -> None:
        """No filter matched. `why` is asked only for whoever wants records, and must not give away what is in them."""
        if not records:
            return
        details: list[Detail] = []
        if self._detailed:
            details = [Detail(id=record.id, bytes=record.size, why=why(record)) for record in records]
        self._publish(
            FilteredOut(at=self._clock(), shard=shard, records=len(records), bytes=_bytes(records), details=tuple(details))
        )

    def invoked(self, batch: Batch, request_id: str, *, shard: str = "", lane: int = 0) -> None:
        """An invocation begins."""
        if len(self._began) >= _MOST_RUNNING:
            self._began.clear()
        self._began[request_id] = self._stopwatch()
        first, last = _ends(batch.records)
        self._publish(
            Invoked(
                at=self._clock(),
                request_id=request_id,
                shard=shard,
                lane=lane,
                records=len(batch.records),
                bytes=batch.size,
                first=first,
                last=last,
                attempt=batch.retries + 1,
            )
        )

    def ended(
        self, outcome: Outcome, decision: Decision, batch: Batch, request_id: str, *, shard: str = "", lane: int = 0
    ) -> None:
        """An invocation of `batch`, and the fate of its records."""
        began = self._began.pop(request_id, None)
        first, last = _ends(batch.records)
        word, error_type, message = _described(outcome, decision)
        self._publish(
            InvocationEnded(
                at=self._clock(),
                request_id=request_id,
                shard=shard,
                lane=lane,
                records=len(batch.records),
                bytes=batch.size,
                first=first,
                last=last,
                outcome=word,
                duration=None if began is None else round(self._stopwatch() - began, 6),
                attempt=batch.retries + 1,
                throttles=batch.throttles,
                done=len(decision.settled),
                returned=len(decision.returned),
                given_up=len(decision.discarded),
                condition=decision.condition,
                again=tuple([len(each.records) for each in decision.pending]),
                error_type=error_type,
                message=_cut(message),
                details=_fates(decision) if self._detailed else (),
            )
        )

    def given_up(
        self, decision: Decision, *, shard: str, fate: Fate, destination: str | None = None, message: str | None = None
    ) -> None:
        """What the decision discards (`GivenUp`)."""
        records = decision.discarded
        first, last = _ends(records)
        self._publish(
            GivenUp(
                at=self._clock(),
                shard=shard,
                records=len(records),
                bytes=_bytes(records),
                first=first,
                last=last,
                fate=fate,
                condition=decision.condition or "",
                destination=destination,
                message=_cut(message),
                details=self._details(records),
            )
        )

    def given_back(self, records: Sequence[Record], *, reason: str) -> None:
        """To the queue, without an invocation that counts."""
        if records:
            size, details = _bytes(records), self._details(records)
            self._publish(GivenBack(at=self._clock(), records=len(records), bytes=size, reason=reason, details=details))

    def delete_refused(self, refused: Sequence[Refusal]) -> None:
        records = [refusal.record for refusal in refused]
        if records:
            size, details, code = _bytes(records), self._details(records), refused[0].code
            self._publish(DeleteRefused(at=self._clock(), records=len(records), bytes=size, code=code, details=details))

    def _publish(self, event: Traffic) -> None:
        for listener in self._listeners:
            listener.put(event)

    def _notice(self) -> None:
        self.listening = bool(self._listeners)
        self._detailed = any(listener.records for listener in self._listeners)
        if not self.listening:
            self._began.clear()

    def _details(self, records: Sequence[Record]) -> tuple[Detail, ...]:
        return tuple([Detail(id=record.id, bytes=record.size) for record in records]) if self._detailed else ()


def _bytes(records: Sequence[Record]) -> int:
    return sum([record.size for record in records])


def _ends(records: Sequence[Record]) -> tuple[str, str]:
    return (records[0].id, records[-1].id) if records else ("", "")


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:LONGEST_TEXT]


def _described(outcome: Outcome, decision: Decision) -> tuple[Word, str | None, str | None]:
    """The word for it, the type of an error, and its text."""
    match outcome:
        case Succeeded():
            return "succeeded", None, decision.problem
        case FunctionError():
            return "timed_out" if outcome.timed_out else "failed", outcome.error_type, outcome.message
        case NotInvoked(reason=reason):
            return "throttled", None, reason
        case _:
            assert_never(outcome)


def _fates(decision: Decision) -> tuple[Detail, ...]:
    """In the order of the batch, for a stream; of a queue those that return stand last."""
    parts = (
        ("done", decision.settled),
        ("returned", decision.returned),
        ("given_up", decision.discarded),
        *(("again", batch.records) for batch in decision.pending),
    )
    return tuple([Detail(id=record.id, bytes=record.size, fate=fate) for fate, records in parts for record in records])
