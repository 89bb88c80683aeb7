"""A lease: who works on a shard, and how far it is done."""

from typing import Final

import msgspec

from pollers.record import Position, PositionKind

_ENDED: Final = PositionKind.SHARD_END


class Lease(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row."""

    scope: str
    """Whose shard it is: the mapping's name and the ARN of its source, with a blank between."""
    shard: str
    parents: tuple[str, ...] = ()
    checkpoint: Position
    """How far the shard is done; where reading begins if nothing is done yet."""
    children: tuple[str, ...] = ()
    """Where the state knows them: of a shard that was read to its end, by a worker of a fleet."""
    window: str | None = None
    """The open tumbling window as of the checkpoint, as JSON."""
    owner: str | None = None
    """The worker that holds it."""
    wanted_by: str | None = None
    """A worker that asks the owner to hand it over."""
    counter: int = 0
    keys: tuple[int, int] | None = None
    """The first and the last hash key of the shard, where its source says; not every state keeps them, nor the next."""
    throughput: float | None = None
    """KB of data that were read of it in a second lately, for others to know; None: nobody has said."""

    @property
    def ended(self) -> bool:
        """The shard was read to its end, and everything in it is done."""
        return self.checkpoint.kind is _ENDED
