"""What becomes of the rows of ended shards under a leader of Java, which takes each of them for work that somebody has.

KCL's worker deletes such a row when all of its children have begun and those of its parents are gone
(LeaseCleanupManager.cleanupLeaseForCompletedShard); until then the leader gives it to one worker after the other. Where a leader
of ours plans, they are in nobody's way, and stay until the shard has left the stream.
"""

from collections.abc import Collection
from typing import Final

from pollers.record import PositionKind
from runtime.core.lease import Lease
from runtime.fleet_rows import FleetRows

_NOT_BEGUN: Final = (PositionKind.TRIM_HORIZON, PositionKind.AT_TIMESTAMP)


async def clean_up(rows: FleetRows, ended: Collection[Lease]) -> None:
    """Deletes those of the rows that are not needed any more. Raises StateError."""
    for lease in ended:
        if not lease.children or await rows.find(lease.parents):
            continue
        children = await rows.find(lease.children)
        begun = [child for child in children if child.checkpoint.kind not in _NOT_BEGUN]
        if len(begun) == len(lease.children):
            await rows.delete(lease)
