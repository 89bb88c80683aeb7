"""A KCL row <-> our Lease. Pure. The law: every Lease is written as a row that is read as that Lease again.

| ours                      | leaseOwner | checkpointOwner | what KCL sees |
|---------------------------|------------|-----------------|---------------|
| no owner                  | absent     | absent          | to be assigned |
| owner A                   | A          | absent          | A works on it |
| owner A, wanted by B      | B          | A               | a graceful hand-off |
| no owner, wanted by B     | B          | absent          | assigned to B, who finds it by itself |

In the last one `esmUnclaimed` has the counter of that assignment, so that B is known not to work on it yet.
"""

from functools import lru_cache
from typing import Final

from pollers.record import SHARD_END, Position, PositionKind
from runtime.core.lease import Lease
from runtime.stores.dynamodb.rows import LeaseRow
from runtime.stores.dynamodb.values import BadRow

_OF_TABLES: Final = (0, 1)
"""The hash range that KCL's adapter writes for every shard of the stream of a table."""
_POSITIONS: Final = 4096
"""Rows are read again and again while their positions stand still."""
_WORDS: Final = {kind.value: kind for kind in (PositionKind.TRIM_HORIZON, PositionKind.LATEST, PositionKind.SHARD_END)}


def lease_of(row: LeaseRow, scope: str, *, start: float | None) -> Lease:
    """`start`: what AT_TIMESTAMP means in a row that does not say. Raises BadRow."""
    owner, wanted_by = row.owner, None
    if row.checkpoint_owner is not None:
        owner, wanted_by = row.checkpoint_owner, row.owner
    elif row.unclaimed == row.counter:
        owner, wanted_by = None, row.owner
    return Lease(
        scope=scope,
        shard=row.shard,
        parents=row.parents,
        children=row.children,
        checkpoint=position_of(row, start=start),
        window=row.window,
        owner=owner,
        wanted_by=wanted_by,
        counter=row.counter,
        keys=row.hash_range,
        throughput=row.throughput,
    )


def row_of(lease: Lease, *, source: str, key: str | None = None, stream: str | None = None) -> LeaseRow:
    """A new row. `key` and `stream` are for a table of several streams."""
    word, start = checkpoint_of(lease.checkpoint, before=None)
    unclaimed = lease.counter if lease.owner is None and lease.wanted_by is not None else None
    return LeaseRow(
        key=key or lease.shard,
        owner=lease.wanted_by or lease.owner,
        checkpoint_owner=lease.owner if lease.wanted_by else None,
        counter=lease.counter,
        checkpoint=word,
        parents=lease.parents,
        stream=stream,
        shard_id=lease.shard if stream else None,
        source=source,
        start=start,
        window=lease.window,
        unclaimed=unclaimed,
        hash_range=lease.keys or (_OF_TABLES if ":dynamodb:" in source else None),
        throughput=lease.throughput,
    )


def position_of(row: LeaseRow, *, start: float | None) -> Position:
    """Raises BadRow."""
    if row.checkpoint.isascii() and row.checkpoint.isdigit():
        return _position_at(row.checkpoint, row.sub_sequence > 0)
    if row.checkpoint == PositionKind.AT_TIMESTAMP:
        seconds = start if row.start is None else row.start
        if seconds is None:
            raise BadRow(f"row {row.key!r}: its checkpoint is AT_TIMESTAMP, but the mapping has no StartingPositionTimestamp")
        return Position.at(seconds)
    if row.checkpoint == PositionKind.LATEST and row.start is not None:
        return Position.at(row.start)
    if row.checkpoint not in _WORDS:
        raise BadRow(f"row {row.key!r}: the checkpoint {row.checkpoint!r} is none that KCL writes")
    return Position(kind=_WORDS[row.checkpoint])


@lru_cache(maxsize=_POSITIONS)
def _position_at(digits: str, within: bool) -> Position:
    """Of an aggregated record that was left in its middle the whole is read again: we do not cut them."""
    return Position.at_record(digits) if within else Position.after(digits)


def checkpoint_of(position: Position, *, before: Position | None) -> tuple[str, float | None]:
    """KCL's word or digits, and what `esmStart` has to say.

    Where LATEST is pinned to a time, Java goes on to see LATEST: AT_TIMESTAMP would send it to the time in its own settings.
    """
    if position.kind is not PositionKind.AT_TIMESTAMP:
        return (str(position) if position != SHARD_END else SHARD_END.kind.value), None
    latest = before is not None and before.kind is PositionKind.LATEST
    return (PositionKind.LATEST if latest else PositionKind.AT_TIMESTAMP).value, position.timestamp
