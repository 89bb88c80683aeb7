"""What becomes of the messages of a redrive."""

from dataclasses import dataclass
from enum import StrEnum

from pollers import event_record
from pollers.event_records import EventRecord, read_event_record
from runtime.redrive.messages import Foreign, OtherKind, Pointed, parse_failure
from runtime.redrive.places import Message, Place, Unreadable


class Fate(StrEnum):
    """Of a message."""

    DONE = "done"
    """All of its records succeeded; it was deleted, unless nothing is to be."""
    FAILED = "failed"
    KEPT = "kept"
    """Not run, or not all of it: `why` says why."""
    LISTED = "listed"
    """Not run, because nothing was to be run."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One message, and what became of it."""

    message: Message
    pointed: Pointed | None = None
    record: EventRecord | None = None
    """Of a plain dead-letter queue: the message is the record."""
    foreign: bool = False
    """It is no failure record."""
    fate: Fate = Fate.KEPT
    why: str = ""
    left: float | None = None
    """Seconds for which its records are still kept in the stream, about; None: it carries them, or nobody can tell."""
    records: int = 0

    @property
    def order(self) -> tuple[str, str, int]:
        """By shard, which are numbered in the order in which they came to be, and by sequence number."""
        return self.pointed.order if self.pointed is not None else ("", "", 0)

    def take_as_record(self) -> None:
        """It is a dead letter: the event is as the function would have got it, from the queue where it was first."""
        if self.message.record is None:
            return
        shown = event_record("sqs", self.message.record)
        attributes = dict(shown["attributes"])
        origin = attributes.pop(_ORIGIN, shown["eventSourceARN"])
        self.record = read_event_record({**shown, "attributes": attributes, "eventSourceARN": origin})
        self.foreign, self.records, self.why = False, 1, ""


_ORIGIN = "DeadLetterQueueSourceArn"
"""The attribute of a message that its queue's redrive policy moved."""


async def read_entry(message: Message, place: Place, *, function: str | None) -> Entry:
    """`function`: only messages of this one are run; None: of any."""
    try:
        pointed = parse_failure(await place.read(message))
    except Unreadable as fault:
        return Entry(message=message, why=str(fault))
    except Foreign as fault:
        dead_letter = message.record is not None and _ORIGIN in event_record("sqs", message.record)["attributes"]
        foreign = dead_letter or not isinstance(fault, OtherKind)
        return Entry(message=message, foreign=foreign, why=f"it is no on-failure message of a stream: {fault}")
    if function is not None and pointed.function != function:
        text = f"it is of function {pointed.function}, not {function} (--any-function runs it all the same)"
        return Entry(message=message, why=text)
    return Entry(message=message, pointed=pointed, records=pointed.records)
