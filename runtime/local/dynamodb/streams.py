"""The stream of one table, pure: its shards, which of them takes which key, how they roll over and split.

Sequence numbers of all shards of a stream come from one counter, so that a child's are above its parent's. The counter begins
shortly before it gets one digit more, because a client that compares the numbers as text is to be found out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import md5
from itertools import pairwise
from random import Random
from typing import Any, Final

from runtime.local.dynamodb.shards import RETENTION, Shard, StreamRecord
from runtime.local.dynamodb.values import Item, size_of

_HASHES: Final = 2**32
_FIRST_SEQUENCE: Final = 10**21
_BEFORE: Final = 4000
_STEP: Final = 97
TTL_IDENTITY: Final = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
"""Who deletes what has expired (DDB-27)."""


class View(StrEnum):
    """What a stream shows of a change (DDB-22)."""

    KEYS_ONLY = "KEYS_ONLY"
    NEW_IMAGE = "NEW_IMAGE"
    OLD_IMAGE = "OLD_IMAGE"
    NEW_AND_OLD_IMAGES = "NEW_AND_OLD_IMAGES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write to a table: the item before and after, None where there is none."""

    keys: Item
    old: Item | None
    new: Item | None
    by_ttl: bool = False

    @property
    def name(self) -> str:
        if self.old is None:
            return "INSERT"
        return "REMOVE" if self.new is None else "MODIFY"


class NoSuchShard(Exception):
    """There is no shard of that name, or none that this can be done with. The text says which."""


class Stream:
    """`now` of every call: seconds since the epoch. `label` is the moment of its making, in the last part of its ARN."""

    def __init__(
        self, *, table_arn: str, table: str, view: View, key_schema: list[Any], shards: int, now: float, rng: Random
    ) -> None:
        self.table = table
        self.region = table_arn.split(":")[3]
        self.view = view
        self.key_schema = key_schema
        self.created = now
        self.label = datetime.fromtimestamp(now, tz=UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        self.arn = f"{table_arn}/stream/{self.label}"
        self.disabled_at: float | None = None
        self._rng = rng
        self._sequence = _FIRST_SEQUENCE - _BEFORE - rng.randrange(_STEP)
        self._shards: dict[str, Shard] = {}
        bounds = [_HASHES * number // shards for number in range(shards + 1)]
        for low, high in pairwise(bounds):
            self._open(None, low, high, now)

    @property
    def enabled(self) -> bool:
        return self.disabled_at is None

    def shards(self, now: float) -> list[Shard]:
        """Those that can be read, by id."""
        self._forget(shard.id for shard in list(self._shards.values()) if shard.has_vanished(now))
        return sorted(self._shards.values(), key=lambda shard: shard.id)

    def open_shards(self) -> list[Shard]:
        return [shard for shard in self._shards.values() if not shard.closed]

    def shard(self, shard_id: str, now: float) -> Shard:
        """Trimmed as of now. Raises NoSuchShard."""
        found = self._shards.get(shard_id)
        if found is None or found.has_vanished(now):
            raise NoSuchShard(f"there is no shard {shard_id!r} in {self.arn}")
        found.trim(now - RETENTION)
        return found

    def latest(self) -> int:
        """The sequence number after which everything that comes now will be."""
        return self._sequence + 1

    def append(self, change: Change, now: float) -> None:
        """Writes the record of a change, which must change something; a disabled stream takes none."""
        if not self.enabled:
            return
        hashed = key_hash(change.keys, str(self.key_schema[0]["AttributeName"]))
        shard = next(shard for shard in self.open_shards() if shard.low <= hashed < shard.high)
        shard.records.append(self._record(change, now))

    # Shards

    def roll_over(self, now: float, shard_id: str | None = None) -> list[Shard]:
        """Closes an open shard, or all of them, and opens a child for each; gives the children. Raises NoSuchShard."""
        return [self._open(shard.id, shard.low, shard.high, now) for shard in self._closed(shard_id, now)]

    def split(self, now: float, shard_id: str | None = None) -> list[Shard]:
        """Closes an open shard, or all of them, and opens two children for each, who share its keys. Raises NoSuchShard."""
        children = []
        for shard in self._closed(shard_id, now):
            middle = (shard.low + shard.high) // 2
            children += [self._open(shard.id, low, high, now) for low, high in ((shard.low, middle), (middle, shard.high))]
        return children

    def vanish(self, shard_id: str | None = None) -> list[str]:
        """Forgets a closed shard, or all of them, as 24 hours would; gives their ids. Raises NoSuchShard."""
        closed = [shard.id for shard in self._shards.values() if shard.closed and shard_id in (None, shard.id)]
        if shard_id is not None and not closed:
            raise NoSuchShard(f"there is no closed shard {shard_id!r} in {self.arn}")
        self._forget(closed)
        return closed

    def trim(self, now: float, shard_id: str | None = None) -> None:
        """Drops every record there is in a shard, or in all of them, as 24 hours would. Raises NoSuchShard."""
        for shard in self.shards(now) if shard_id is None else [self.shard(shard_id, now)]:
            shard.trim(now)

    def disable(self, now: float) -> None:
        """No more records; what there is can be read until it is trimmed."""
        self._closed(None, now)
        self.disabled_at = now

    def _closed(self, shard_id: str | None, now: float) -> list[Shard]:
        closing = [shard for shard in self.open_shards() if shard_id in (None, shard.id)]
        if shard_id is not None and not closing:
            raise NoSuchShard(f"there is no open shard {shard_id!r} in {self.arn}")
        for shard in closing:
            shard.close(end=self._next_sequence(), now=now)
        return closing

    def _open(self, parent: str | None, low: int, high: int, now: float) -> Shard:
        shard_id = f"shardId-{int(now * 1000):020d}-{self._rng.getrandbits(32):08x}"
        shard = Shard(shard_id=shard_id, parent=parent, low=low, high=high, start=self._next_sequence())
        self._shards[shard_id] = shard
        return shard

    def _forget(self, shard_ids: Iterable[str]) -> None:
        for shard_id in shard_ids:
            del self._shards[shard_id]

    # Records

    def _next_sequence(self) -> int:
        self._sequence += _STEP
        return self._sequence

    def _record(self, change: Change, now: float) -> StreamRecord:
        sequence = self._next_sequence()
        images: dict[str, Any] = {}
        if change.new is not None and self.view in (View.NEW_IMAGE, View.NEW_AND_OLD_IMAGES):
            images["NewImage"] = change.new
        if change.old is not None and self.view in (View.OLD_IMAGE, View.NEW_AND_OLD_IMAGES):
            images["OldImage"] = change.old
        size = size_of(change.keys) + sum(map(size_of, images.values()))
        body = {
            "eventID": f"{self._rng.getrandbits(128):032x}",
            "eventName": change.name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": self.region,
            "dynamodb": {
                "ApproximateCreationDateTime": int(now),
                "Keys": change.keys,
                **images,
                "SequenceNumber": str(sequence),
                "SizeBytes": size,
                "StreamViewType": self.view.value,
            },
        }
        if change.by_ttl:
            body["userIdentity"] = dict(TTL_IDENTITY)
        return StreamRecord(sequence=sequence, created=now, size=size, body=body)


def key_hash(keys: Item, hash_key: str) -> int:
    """Where an item belongs: 0 to 2**32 - 1, by its partition key alone, so that it stays in one shard and its children."""
    ((kind, content),) = keys[hash_key].items()
    return int.from_bytes(md5(f"{kind} {content}".encode(), usedforsecurity=False).digest()[:4], "big")
