"""One lease as KCL 3.5 writes it (DynamoDBLeaseSerializer): parsed tolerantly, written attribute by attribute.

Attributes that begin with `esm` are ours; Java reads by name and passes them over. What is not known here is kept, because a row
that exists is only ever changed by the attribute (`changes.py`).
"""

from base64 import b64decode
from typing import Final

import msgspec

from runtime.stores.dynamodb import values
from runtime.stores.dynamodb.values import BadRow, Item, Value

KEY: Final = "leaseKey"
OWNER: Final = "leaseOwner"
CHECKPOINT_OWNER: Final = "checkpointOwner"
COUNTER: Final = "leaseCounter"
SWITCHES: Final = "ownerSwitchesSinceCheckpoint"
CHECKPOINT: Final = "checkpoint"
SUB_SEQUENCE: Final = "checkpointSubSequenceNumber"
PENDING: Final = "pendingCheckpoint"
PENDING_SUB_SEQUENCE: Final = "pendingCheckpointSubSequenceNumber"
PENDING_STATE: Final = "pendingCheckpointState"
PARENTS: Final = "parentShardId"
CHILDREN: Final = "childShardIds"
FIRST_HASH: Final = "startingHashKey"
LAST_HASH: Final = "endingHashKey"
THROUGHPUT: Final = "throughputKBps"
ENTITY: Final = "entityType"
STREAM: Final = "streamName"
SHARD: Final = "shardId"
LEASE: Final = "LEASE"

SOURCE: Final = "esmSource"
"""The ARN of the stream. KCL has no such thing in a table of one stream, where all streams have a shardId-000000000000."""
START: Final = "esmStart"
"""Seconds since the epoch: what AT_TIMESTAMP means, or what LATEST meant when the shard was opened first."""
WINDOW: Final = "esmWindow"
"""The open tumbling window."""
UNCLAIMED: Final = "esmUnclaimed"
"""The counter at which the row was assigned to its leaseOwner, who has not claimed it yet. The next write of anyone ends that."""
WRITE: Final = "esmWrite"
"""A token of our last write, by which a write whose answer was lost is known again."""

LARGEST_HASH: Final = 2**128 - 1


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a row says. Fields are named after its attributes."""

    key: str
    owner: str | None = None
    """During a hand-off the next one."""
    checkpoint_owner: str | None = None
    """Only during a hand-off: the one that holds it, and is to stop."""
    counter: int = 0
    owner_switches: int = 0
    checkpoint: str
    """Digits, or one of KCL's words."""
    sub_sequence: int = 0
    """Of the last finished record within the aggregated one of that number (KPL)."""
    pending_checkpoint: str | None = None
    pending_sub_sequence: int | None = None
    pending_state: bytes | None = None
    """As far as it is readable: one way of Java's writes a number in its place."""
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    hash_range: tuple[int, int] | None = None
    """The first and the last hash key."""
    throughput: float | None = None
    """KB per second."""
    stream: str | None = None
    """`account:name:epoch`, in a table of several streams."""
    shard_id: str | None = None
    """In a table of several streams, where the key is `account:name:epoch:shard`."""
    source: str | None = None
    start: float | None = None
    window: str | None = None
    unclaimed: int | None = None
    write: str | None = None

    @property
    def shard(self) -> str:
        return self.shard_id or self.key

    @property
    def holder(self) -> str | None:
        """KCL's "actual owner": who may write checkpoints."""
        return self.checkpoint_owner or self.owner


def parse_lease(item: Item) -> LeaseRow | None:
    """None for a row of another entity. A missing `entityType` means a lease (KCL before 3.5). Raises BadRow."""
    if values.text_of(item, ENTITY) not in (None, LEASE):
        return None
    start = values.text_of(item, START)
    state = item.get(PENDING_STATE, {}).get("B")
    if isinstance(state, str):
        state = b64decode(state)
    return LeaseRow(
        key=values.needed_text(item, KEY),
        owner=values.text_of(item, OWNER) or None,
        checkpoint_owner=values.text_of(item, CHECKPOINT_OWNER) or None,
        counter=values.integer_of(item, COUNTER) or 0,
        owner_switches=values.integer_of(item, SWITCHES) or 0,
        checkpoint=values.needed_text(item, CHECKPOINT),
        sub_sequence=values.integer_of(item, SUB_SEQUENCE) or 0,
        pending_checkpoint=values.text_of(item, PENDING) or None,
        pending_sub_sequence=values.integer_of(item, PENDING_SUB_SEQUENCE),
        pending_state=bytes(state) if state is not None else None,
        parents=values.texts_of(item, PARENTS),
        children=values.texts_of(item, CHILDREN),
        hash_range=_hash_range(item),
        throughput=values.number_of(item, THROUGHPUT),
        stream=values.text_of(item, STREAM),
        shard_id=values.text_of(item, SHARD),
        source=values.text_of(item, SOURCE),
        start=_seconds(start),
        window=values.text_of(item, WINDOW),
        unclaimed=values.integer_of(item, UNCLAIMED),
        write=values.text_of(item, WRITE),
    )


def item_of(row: LeaseRow) -> dict[str, Value]:
    """A new row, whole. Raises BadRow for what Java would misread.

    `pending*` are left out: a lease that is new has none, and Java's own way of creating one writes the state wrongly.
    """
    if row.counter < 0 or row.owner_switches < 0 or row.sub_sequence < 0:
        raise BadRow(f"{row.key}: a counter is below zero")
    if row.checkpoint_owner and not row.owner:
        raise BadRow(f"{row.key}: {CHECKPOINT_OWNER} without {OWNER}")
    item: dict[str, Value] = {
        KEY: values.text(row.key),
        COUNTER: values.number(row.counter),
        SWITCHES: values.number(row.owner_switches),
        CHECKPOINT: values.text(row.checkpoint),
        SUB_SEQUENCE: values.number(row.sub_sequence),
        ENTITY: values.text(LEASE),
    }
    texts = {
        OWNER: row.owner,
        CHECKPOINT_OWNER: row.checkpoint_owner,
        STREAM: row.stream,
        SHARD: row.shard_id,
        SOURCE: row.source,
        START: None if row.start is None else repr(row.start),
        WINDOW: row.window,
    }
    item |= {name: values.text(found) for name, found in texts.items() if found is not None}
    item |= meta_of(children=row.children, hash_range=row.hash_range)
    if row.parents:
        item[PARENTS] = {"SS": sorted(row.parents)}
    if row.throughput is not None:
        item[THROUGHPUT] = throughput_of(row.throughput)
    if row.unclaimed is not None:
        item[UNCLAIMED] = values.number(row.unclaimed)
    return item


def meta_of(*, children: tuple[str, ...] = (), hash_range: tuple[int, int] | None = None) -> dict[str, Value]:
    """The attributes that KCL writes without a look at the counter. Raises BadRow."""
    item: dict[str, Value] = {}
    if children:
        item[CHILDREN] = {"SS": sorted(children)}
    if hash_range is not None:
        first, last = hash_range
        if not 0 <= first <= last <= LARGEST_HASH:
            raise BadRow(f"{first} to {last} is no range of hash keys")
        item |= {FIRST_HASH: values.text(str(first)), LAST_HASH: values.text(str(last))}
    return item


def throughput_of(kilobytes: float) -> Value:
    """With six decimals, as KCL rounds it."""
    return values.number(round(kilobytes, 6))


def multi_stream_key(stream: str, shard: str) -> str:
    """The key in a table of several streams; `stream` is `account:name:epoch`."""
    return f"{stream}:{shard}"


def _hash_range(item: Item) -> tuple[int, int] | None:
    first, last = values.text_of(item, FIRST_HASH), values.text_of(item, LAST_HASH)
    if not first or not last:
        return None
    if not (first.isdecimal() and last.isdecimal()):
        raise BadRow(f"{first!r} to {last!r} is no range of hash keys")
    return int(first), int(last)


def _seconds(start: str | None) -> float | None:
    if start is None:
        return None
    try:
        return float(start)
    except ValueError:
        raise BadRow(f"{START} is {start!r}, not a number of seconds") from None
