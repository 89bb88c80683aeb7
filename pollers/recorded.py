"""What a recording holds (`docs/recordings.md`): one JSON object a line.

    {"esm_recording": 1, "source": "kinesis", "source_arn": "arn:...", "began": 1767225600.0, "by": "esm-runtime 0.1.0"}
    {"shard": "shardId-000000000001", "parents": ["shardId-000000000000"]}
    {"shard": "...", "position": "4960...", "arrived": 1767225599.5, "received": 1767225600.2, "record": {part of a Lambda event}}
    {"ended": 1767225700.0, "records": 1}

Keys that a reader does not know are passed over; another kind of line makes another version.
"""

from typing import Final

from msgspec import Struct

from pollers.event_records import EventRecord

VERSION: Final = 1
MARK: Final = "esm_recording"
"""The key of the first line."""


class Recorded(Struct, frozen=True, kw_only=True):
    """One record of a recording."""

    of: EventRecord
    line: int = 0
    """Where it stands in its file."""
    file: str = ""


class Lineage(Struct, frozen=True, kw_only=True):
    """A shard begins; its records come after those of its parents."""

    source_arn: str
    shard: str
    parents: tuple[str, ...] = ()


class Flaw(Struct, frozen=True, kw_only=True):
    """What is wrong with a file. Nothing of it follows, but for recordings that stand behind the one it is about."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


Item = Recorded | Lineage | Flaw
