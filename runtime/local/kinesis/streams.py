"""Streams: which shards there are, how they split and merge, what has aged out; and all streams of all accounts and regions."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any, Final

from runtime.local.kinesis.refusals import in_use, invalid, no_shard, no_stream, not_found
from runtime.local.kinesis.shards import LocalShard, Range, StoredRecord
from runtime.local.state import Caller, Clock

HASH_KEYS: Final = 1 << 128
HOUR: Final = 3_600_000
"""Milliseconds."""
_DAY: Final = 24
_SECOND: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConsumer:
    """A registered consumer. Times in milliseconds since the epoch."""

    name: str
    arn: str
    created: int
    active: int
    """When it is no longer CREATING."""
    subscribed: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Shard -> when it was last subscribed to, and the serial number of that subscription."""

    def status(self, now: int) -> str:
        return "CREATING" if now < self.active else "ACTIVE"


class LocalStream:
    """One stream. Times in milliseconds since the epoch, retention in hours."""

    def __init__(
        self,
        *,
        name: str,
        account: str,
        region: str,
        number: int,
        shards: int,
        mode: str,
        largest: int,
        now: int,
        settles: int,
        follows: int = -1,
    ) -> None:
        """`follows`: the second in which the last shard of a stream before it under this name was made."""
        self.name = name
        self.account = account
        self.region = region
        self.number = number
        self.mode = mode
        self.largest = largest
        """Bytes of one record with its key."""
        self.created = now
        self.retention = _DAY
        self.shards: dict[str, LocalShard] = {}
        """By id, in the order of their making. Those that aged out are gone."""
        self.consumers: dict[str, LocalConsumer] = {}
        """By name."""
        self.expired_below = 0
        """Iterators with a lower serial have expired, whatever their age."""
        self._made = 0
        self._settles = settles
        self._settling = "CREATING"
        self._follows = follows
        for keys in even_ranges(shards):
            self._open(keys, now=now)

    @property
    def arn(self) -> str:
        return f"arn:aws:kinesis:{self.region}:{self.account}:stream/{self.name}"

    def status(self, now: int) -> str:
        return self._settling if now < self._settles else "ACTIVE"

    def settle(self, until: int) -> None:
        """It is UPDATING until then."""
        self._settling, self._settles = "UPDATING", until

    @property
    def open_shards(self) -> list[LocalShard]:
        """By their hash keys."""
        return sorted((shard for shard in self.shards.values() if shard.closed is None), key=lambda shard: shard.keys)

    def shard(self, shard_id: str) -> LocalShard:
        """Raises ResourceNotFoundException."""
        found = self.shards.get(shard_id)
        if found is None:
            raise no_shard(shard_id, self.name, self.account)
        return found

    def advance(self, now: int) -> None:
        """Forgets the records that are older than the retention, and closed shards that can hold nothing younger."""
        horizon = now - self.retention * HOUR
        for shard in list(self.shards.values()):
            shard.trim(shard.older_than(horizon))
            if shard.closed is not None and shard.closed < horizon and not shard.records:
                del self.shards[shard.id]

    def put(self, hash_key: int, *, key: str, data: str, size: int, now: int) -> tuple[LocalShard, StoredRecord]:
        shards = self.open_shards
        shard = shards[bisect_left(shards, hash_key, key=lambda shard: shard.keys.end)]
        return shard, shard.put(key=key, data=data, size=size, now=now)

    def register(self, name: str, now: int, *, active: int) -> LocalConsumer:
        arn = f"{self.arn}/consumer/{name}:{now // _SECOND}"
        self.consumers[name] = consumer = LocalConsumer(name=name, arn=arn, created=now, active=active)
        return consumer

    def split(self, shard_id: str, middle: int, now: int) -> None:
        """Raises ResourceNotFoundException, InvalidArgumentException, ResourceInUseException."""
        self._check_active(now)
        shard = self._open_shard(shard_id)
        if not shard.keys.start + 1 < middle < shard.keys.end:
            raise invalid(
                f"NewStartingHashKey {middle} used in SplitShard() on shard {shard_id} in stream {self.name} under account "
                f"{self.account} is not both greater than one plus the shard's StartingHashKey {shard.keys.start} and less "
                f"than the shard's EndingHashKey {shard.keys.end}."
            )
        self._split(shard, middle, now)

    def merge(self, shard_id: str, adjacent_id: str, now: int) -> None:
        """Raises ResourceNotFoundException, InvalidArgumentException, ResourceInUseException."""
        self._check_active(now)
        shard, adjacent = self._open_shard(shard_id), self._open_shard(adjacent_id)
        if shard.keys.end + 1 != adjacent.keys.start and adjacent.keys.end + 1 != shard.keys.start:
            raise invalid(
                f"Shards {shard_id} and {adjacent_id} in stream {self.name} under account {self.account} are not an adjacent "
                "pair of shards eligible for merging"
            )
        self._merge(shard, adjacent, now)

    def scale(self, target: int, now: int) -> None:
        """To so many even shards, by splits and merges. Raises InvalidArgumentException, ResourceInUseException."""
        self._check_active(now)
        count = len(self.open_shards)
        if not count <= 2 * target or not target <= 2 * count:
            raise invalid(
                f"UpdateShardCount cannot scale stream {self.name} from {count} open shards to {target}: "
                "at most to double that number, at least to half of it."
            )
        for keys in even_ranges(target):
            for border in (keys.start, keys.end + 1):
                for shard in self.open_shards:
                    if shard.keys.start < border <= shard.keys.end:
                        self._split(shard, border, now)
            first, *others = [shard for shard in self.open_shards if keys.start <= shard.keys.start <= keys.end]
            for other in others:
                first = self._merge(first, other, now)

    def _check_active(self, now: int) -> None:
        status = self.status(now)
        if status != "ACTIVE":
            raise in_use(f"Stream {self.name} under account {self.account} not ACTIVE, instead in state {status}")

    def _open_shard(self, shard_id: str) -> LocalShard:
        shard = self.shards.get(shard_id)
        if shard is None:
            raise not_found(f"Could not find shard {shard_id} in stream {self.name} under account {self.account}.")
        if shard.closed is not None:
            raise invalid(
                f"Shard {shard_id} in stream {self.name} under account {self.account} has already been merged or split, "
                "and thus is not eligible for merging or splitting."
            )
        return shard

    def _split(self, shard: LocalShard, middle: int, now: int) -> None:
        ranges = Range(shard.keys.start, middle - 1), Range(middle, shard.keys.end)
        shard.close(now, [self._open(keys, now=now, parents=(shard,)) for keys in ranges])

    def _merge(self, shard: LocalShard, adjacent: LocalShard, now: int) -> LocalShard:
        keys = Range(min(shard.keys.start, adjacent.keys.start), max(shard.keys.end, adjacent.keys.end))
        child = self._open(keys, now=now, parents=(shard, adjacent))
        shard.close(now, [child])
        adjacent.close(now, [child])
        return child

    def _open(self, keys: Range, *, now: int, parents: tuple[LocalShard, ...] = ()) -> LocalShard:
        made = max([now // _SECOND, self._follows + 1, *(parent.made + 1 for parent in parents)])
        shard = LocalShard(self._made, keys, now=now, made=made, parents=tuple(parent.id for parent in parents))
        self.shards[shard.id] = shard
        self._made += 1
        return shard

    def inspect(self, now: int) -> dict[str, Any]:
        return {
            "account": self.account,
            "region": self.region,
            "name": self.name,
            "arn": self.arn,
            "status": self.status(now),
            "retentionHours": self.retention,
            "consumers": [
                {"name": it.name, "arn": it.arn, "status": it.status(now), "subscribed": sorted(it.subscribed)}
                for it in self.consumers.values()
            ],
            "shards": [
                {
                    "id": shard.id,
                    "parents": list(shard.parents),
                    "open": shard.closed is None,
                    "records": len(shard.records),
                    "trimmed": shard.trimmed,
                    "last": str(shard.records[-1].sequence) if shard.records else None,
                }
                for shard in self.shards.values()
            ],
        }


class Streams:
    """All streams of one endpoint. Equal calls at equal times give equal sequence numbers.

    `delay`: seconds for which a stream is CREATING or UPDATING. `reads_per_second`: GetRecords that a shard allows; None: any.
    `stuck_positions`: a place whose records were trimmed never moves on but stays a whole retention behind, as has been seen on
    AWS (https://github.com/harlow/kinesis-consumer/issues/125); else it goes on at the trim horizon. `subscription`: seconds for
    which one lasts, `subscribe_every` those after which it may be taken anew, `keep_alive` those between its events.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._streams: dict[tuple[str, str, str], LocalStream] = {}
        self._set_defaults()
        self._deleted: dict[tuple[str, str, str], int] = {}
        """The second in which the last shard of a stream that is gone was made: one of its name has no sequence number of it."""
        self._made = 0
        self._issued = 0

    def reset(self) -> None:
        """Back to the first moment, but that no iterator and no sequence number of an old stream fits a new one."""
        for stream in list(self._streams.values()):
            self.delete(stream)
        self._set_defaults()

    def _set_defaults(self) -> None:
        self.delay = 0.0
        self.reads_per_second: float | None = None
        self.stuck_positions = False
        self.subscription = 300.0
        self.subscribe_every = 5.0
        self.keep_alive = 5.0

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._clock() * _SECOND)

    def settled(self, now: int) -> int:
        """When a change that is made now has taken place."""
        return now + int(self.delay * _SECOND)

    def next_serial(self) -> int:
        """Of an iterator."""
        self._issued += 1
        return self._issued

    def create(self, caller: Caller, name: str, *, shards: int, mode: str, largest: int) -> LocalStream:
        """Raises ResourceInUseException."""
        key = (caller.account, caller.region, name)
        if key in self._streams:
            raise in_use(f"Stream {name} under account {caller.account} already exists.")
        now = self.now()
        self._made += 1
        stream = LocalStream(
            name=name,
            account=caller.account,
            region=caller.region,
            number=self._made,
            shards=shards,
            mode=mode,
            largest=largest,
            now=now,
            settles=self.settled(now),
            follows=self._deleted.get(key, -1),
        )
        self._streams[key] = stream
        return stream

    def delete(self, stream: LocalStream) -> None:
        key = stream.account, stream.region, stream.name
        del self._streams[key]
        self._deleted[key] = max([self._deleted.get(key, -1), *(shard.made for shard in stream.shards.values())])

    def stream(self, name: str, *, account: str = "000000000000", region: str = "us-east-1") -> LocalStream:
        """With everything that aged out by now gone. Raises ResourceNotFoundException."""
        found = self._streams.get((account, region, name))
        if found is None:
            raise no_stream(name, account)
        found.advance(self.now())
        return found

    def owned_by(self, caller: Caller) -> list[LocalStream]:
        """The caller's streams by name."""
        found = (stream for stream in self.every() if (stream.account, stream.region) == (caller.account, caller.region))
        return sorted(found, key=lambda stream: stream.name)

    def every(self) -> list[LocalStream]:
        """All streams, with everything that aged out by now gone."""
        for stream in self._streams.values():
            stream.advance(self.now())
        return list(self._streams.values())

    def expire_iterators(self, stream: LocalStream) -> None:
        """All that were given out so far."""
        stream.expired_below = self._issued + 1


def even_ranges(count: int) -> list[Range]:
    """The hash keys cut into ranges of one size, the last one taking what is left."""
    size = HASH_KEYS // count
    starts = [number * size for number in range(count)]
    return [Range(start, end - 1) for start, end in zip(starts, [*starts[1:], HASH_KEYS], strict=True)]
