"""Tumbling windows: which records belong together, and the state that is handed from batch to batch (COM-90..98).

A window starts at a multiple of its length since the epoch (COM-93). A record that comes late, after a later window was opened,
belongs to the window that is open: the order of the shard comes first.
"""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from pollers.record import Record
from runtime.core.batching import Batch

MAX_STATE_BYTES: Final = 1024 * 1024
"""Of the state as compact JSON; a window whose state is larger is ended early (COM-95)."""
EVENT_ROOM: Final = MAX_STATE_BYTES + 1024
"""Bytes of an event that are left free beside the records of a batch, for what `keys` gives."""
QUIET: Final = 120.0
"""Seconds without a new record after which a window that has passed is over (COM-97)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWindow:
    """The window that a shard is in. Times in seconds since the epoch."""

    start: int
    end: int
    state: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, arrived: float, length: int) -> Self:
        start = int(arrived // length * length)
        return cls(start=start, end=start + length)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reverse of `text`. Raises ValueError."""
        try:
            found = json.loads(text)
            window = cls(start=int(found["start"]), end=int(found["end"]), state=dict(found["state"]))
            _iso(window.start), _iso(window.end)
        except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
            msg = f"what is kept beside the checkpoint is no tumbling window: {type(error).__name__}"  # the state is the user's
            raise ValueError(msg) from error
        return window

    @property
    def text(self) -> str:
        """What is kept beside the checkpoint."""
        return json.dumps({"start": self.start, "end": self.end, "state": self.state}, separators=(",", ":"))

    @property
    def state_too_large(self) -> bool:
        return len(json.dumps(self.state, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")) > MAX_STATE_BYTES

    def with_state(self, state: dict[str, Any]) -> Self:
        return replace(self, state=state)

    def passed(self, now: float, *, quiet: float) -> bool:
        """Whether it is over without a later record: its time has passed and nothing came for a while (COM-97)."""
        return now >= self.end and quiet >= QUIET

    def split(self, batch: Batch) -> tuple[Batch | None, Batch | None]:
        """What belongs to this window, and what comes after it; the second begins with a record of a later window."""
        records = batch.records
        cut = next((n for n, record in enumerate(records) if record.arrived >= self.end), len(records))
        return _batch(records[:cut], batch), _batch(records[cut:], batch)

    def keys(self, *, shard: str, source_arn: str, final: bool = False, early: bool = False) -> dict[str, Any]:
        """What the event has beside `Records`, in AWS's order (COM-91)."""
        return {
            "window": {"start": _iso(self.start), "end": _iso(self.end)},
            "state": json.loads(json.dumps(self.state)),  # the handler may change what it is given
            "shardId": shard,
            "eventSourceARN": source_arn,
            "isFinalInvokeForWindow": final,
            "isWindowTerminatedEarly": early,
        }


def _batch(records: tuple[Record, ...], whole: Batch) -> Batch | None:
    if len(records) == len(whole.records):
        return whole
    return Batch(records, received=whole.received) if records else None


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
