"""What a tap tells of a mapping: one frozen value for each thing that can happen, one JSON line of `/mappings/NAME/tail` each.

Nothing of a record goes out but what these have a field for: ids, positions, sizes, times and fates. Keys, groups and payloads
stay in the worker; the text of an error is the handler's own, and cut.
"""

from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

LONGEST_TEXT: Final = 200
"""Characters of an error's text."""


Outcome: TypeAlias = Literal["succeeded", "failed", "timed_out", "throttled"]
"""Of an invocation; throttled: the handler did not see the records."""
Fate: TypeAlias = Literal["sent", "refused", "dropped", "expired"]
"""Of records that are given up: sent to the destination, refused by it (to be tried again), dropped, or gone from the stream."""


class Detail(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One record, for whoever asked for records."""

    id: str
    """The message id, or the sequence number."""
    bytes: int
    fate: str = ""
    """Of an ended invocation: done, returned (to the queue), again (retried here), or given_up."""
    why: tuple[str, ...] = ()
    """Of a filtered record: a line for each filter, which names paths and no values."""


class _Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    at: float
    """Epoch seconds."""


class _Records(_Event, frozen=True, kw_only=True):
    records: int
    bytes: int = 0
    shard: str = ""
    """Empty for queues."""
    details: tuple[Detail, ...] = ()


class Watching(_Event, frozen=True, kw_only=True, tag="watching"):
    """The first line: what is watched."""

    mapping: str
    source: str
    arn: str
    function: str
    worker: str
    batch_size: int
    window: int = 0
    """Seconds."""
    lanes: int = 1


class Received(_Records, frozen=True, kw_only=True, tag="received"):
    """Records came. What comes from one place before it is sent out is one line."""

    reads: int = 1
    age: float | None = None
    """Seconds since the oldest of them entered the source."""
    waiting: int = 0
    """Records that now wait for their batch."""
    due: float | None = None
    """Seconds until that batch goes at the latest; 0: at once, or as soon as its turn comes."""


class FilteredOut(_Records, frozen=True, kw_only=True, tag="filtered_out"):
    """No filter matched."""


class Invoked(_Records, frozen=True, kw_only=True, tag="invoked"):
    """The handler is about to be called with a batch."""

    request_id: str
    lane: int = 0
    first: str = ""
    last: str = ""
    attempt: int = 1
    """Streams: one more than the retries that this batch has used."""


class InvocationEnded(_Records, frozen=True, kw_only=True, tag="invocation_ended"):
    """What became of a batch."""

    request_id: str
    outcome: Outcome
    duration: float | None = None
    """Seconds; None when nobody listened as it began."""
    lane: int = 0
    first: str = ""
    last: str = ""
    attempt: int = 1
    throttles: int = 0
    """Times in a row before this one that the batch was throttled."""
    done: int = 0
    returned: int = 0
    """To the queue, which delivers them again."""
    given_up: int = 0
    condition: str | None = None
    """Why they are given up."""
    again: tuple[int, ...] = ()
    """Sizes of the batches that are invoked (again) next: two after a bisect."""
    error_type: str | None = None
    message: str | None = None
    """The error's text, the reason of a throttle, or what is wrong with the handler's answer."""


class GivenUp(_Records, frozen=True, kw_only=True, tag="given_up"):
    """Streams: how giving up ended."""

    condition: str
    fate: Fate
    first: str = ""
    last: str = ""
    destination: str | None = None
    message: str | None = None


class GivenBack(_Records, frozen=True, kw_only=True, tag="given_back"):
    """Queues: records that go back without an invocation that counts."""

    reason: str


class DeleteRefused(_Records, frozen=True, kw_only=True, tag="delete_refused"):
    """Queues: done, and not deleted: expect them again."""

    code: str


class Standing(_Event, frozen=True, kw_only=True, tag="standing"):
    """How the mapping stands; told at the beginning and when it changes."""

    state: str
    why: tuple[str, ...] = ()
    """What keeps it from moving."""
    shards: dict[str, str] = {}
    """The state of each shard."""


class LinesLost(_Event, frozen=True, kw_only=True, tag="lines_lost"):
    """The reader was slower than the mapping."""

    lines: int


class Alive(_Event, frozen=True, kw_only=True, tag="alive"):
    """Nothing happened for a while."""


class Closed(_Event, frozen=True, kw_only=True, tag="closed"):
    """The last line."""

    reason: str


Traffic: TypeAlias = Received | FilteredOut | Invoked | InvocationEnded | GivenUp | GivenBack | DeleteRefused
"""What a tap is told by the mapping."""
Told: TypeAlias = Watching | Traffic | Standing | LinesLost | Alive | Closed
"""All that stands on the page."""

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final[msgspec.json.Decoder[Told]] = msgspec.json.Decoder(Told)


def to_line(event: Told) -> bytes:
    return _ENCODER.encode(event) + b"\n"


def from_line(line: bytes) -> Told:
    """Raises `msgspec.ValidationError` for a line of another program, or of a later version."""
    return _DECODER.decode(line)
