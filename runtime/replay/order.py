"""What waits behind a failure, where order is strict."""

from dataclasses import dataclass, field

from pollers.record import Record


@dataclass(slots=True)
class Blocked:
    """Shards and message groups of which a record failed. Records of a standard queue have no order, and never wait."""

    _held: set[tuple[str, str]] = field(default_factory=set)

    def add(self, source_arn: str, shard: str, record: Record) -> None:
        if (name := shard or record.group) is not None:
            self._held.add((source_arn, name))

    def add_shard(self, source_arn: str, shard: str) -> None:
        self._held.add((source_arn, shard))

    def holds(self, source_arn: str, shard: str, record: Record) -> bool:
        return (source_arn, shard or record.group) in self._held

    def holds_shard(self, source_arn: str, shard: str) -> bool:
        return (source_arn, shard) in self._held
