"""Shard iterators: opaque to clients, readable without remembering any. One lives for 15 minutes (DDB-11)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from runtime.local.dynamodb.refusals import invalid

LIFE: Final = 15 * 60.0
_FIELDS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardIterator:
    """The next record to read has this sequence number or a higher one."""

    stream: str
    shard: str
    sequence: int
    made: float

    def __str__(self) -> str:
        """What clients are given."""
        text = f"{self.stream} {self.shard} {self.sequence} {self.made!r}".encode()
        return urlsafe_b64encode(crc32(text).to_bytes(4, "big") + text).decode()

    @classmethod
    def parse(cls, text: str) -> "ShardIterator":
        """Raises Refused for what was never given out."""
        refused = invalid("Invalid ShardIterator")
        try:
            raw = urlsafe_b64decode(text.encode())
        except ValueError:
            raise refused from None
        fields = raw[4:].decode(errors="replace").split(" ")
        if crc32(raw[4:]).to_bytes(4, "big") != raw[:4] or len(fields) != _FIELDS:
            raise refused
        stream, shard, sequence, made = fields
        return cls(stream=stream, shard=shard, sequence=int(sequence), made=float(made))

    def has_expired(self, now: float) -> bool:
        return self.made + LIFE <= now
