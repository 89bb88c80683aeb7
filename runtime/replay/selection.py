"""Which records are replayed: `--where NAME=VALUE`, `--from` and `--to` as a time or a position, `--only POSITION`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from pollers.event_records import encode
from pollers.record import LATEST, TRIM_HORIZON, Position, PositionKind, Record

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DATE: Final = 8
"""Digits of a date without dashes."""
_LONGEST_TIME: Final = 12
"""Digits; seconds have 10 until the year 2286, and sequence numbers more than 20."""
_MILLISECONDS: Final = 13
_CONDITION: Final = re.compile(r"([^=!]+?)\s*(!?=)\s*(.*)", re.DOTALL)
_SHORT: Final[dict[str, tuple[str, ...]]] = {
    "partitionKey": ("kinesis.partitionKey",),
    "sequenceNumber": ("kinesis.sequenceNumber", "dynamodb.SequenceNumber"),
    "data": ("data", "body"),
    "messageGroupId": ("attributes.MessageGroupId",),
    "receiveCount": ("attributes.ApproximateReceiveCount",),
}
"""Names that need no path."""


class SelectionError(ValueError):
    """What is wrong with an argument, and what to do."""


def parse_bound(text: str, *, name: str, now: float) -> Position:
    """A bound of what is read: a time, a sequence number, or TRIM_HORIZON, LATEST, now.

    Times: ISO 8601 (one without a zone is UTC), seconds since the epoch, or how long ago (`90s`, `15m`, `2h`, `1d`).
    Raises SelectionError.
    """
    if text in ("now", PositionKind.LATEST):
        return Position.at(now) if text == "now" else LATEST
    if text == PositionKind.TRIM_HORIZON:
        return TRIM_HORIZON
    if ago := _DURATION.fullmatch(text):
        return Position.at(now - float(ago[1]) * _UNITS[ago[2]])
    if text.isascii() and text.replace(".", "", 1).isdigit():
        digits = len(text.partition(".")[0])
        if digits == _DATE == len(text) and text[:2] in ("19", "20"):
            raise SelectionError(f"{name} {text}: is that a date? Then write {text[:4]}-{text[4:6]}-{text[6:]}")
        if digits <= _LONGEST_TIME:
            return Position.at(float(text))
        if digits == _MILLISECONDS:
            raise SelectionError(f"{name} {text} looks like milliseconds: give seconds, {int(text[:13]) / 1000}")
        if text.isdigit():
            return Position.at_record(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise SelectionError(
            f"{name} {text!r} is neither a time (2026-01-31T12:00:00Z, 1767225600, 2h for two hours ago) nor a sequence number"
        ) from None
    return Position.at((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`NAME=VALUE` or `NAME!=VALUE`; a `*` at the end of the value stands for anything."""

    name: str
    value: str
    wanted: bool
    """False for `!=`."""

    def holds(self, view: dict[str, Any], shard: str) -> bool:
        if self.name == "shard":
            return self._is(shard) is self.wanted
        found = [each for path in _SHORT.get(self.name, (self.name,)) for each in _at(view, path.split("."))]
        return any(map(self._is, found)) is self.wanted

    def _is(self, found: Any) -> bool:
        text = found if isinstance(found, str) else _as_json(found)
        return text.startswith(self.value[:-1]) if self.value.endswith("*") else text == self.value


def parse_condition(text: str) -> Condition:
    """Raises SelectionError."""
    parts = _CONDITION.fullmatch(text)
    if parts is None:
        raise SelectionError(f"--where {text!r} is not NAME=VALUE or NAME!=VALUE, as in partitionKey=abc or body.kind!=test*")
    return Condition(name=parts[1].strip(), value=parts[3], wanted=parts[2] == "=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A record is taken when all of it holds."""

    since: Position | None = None
    until: Position | None = None
    """A position is the last one that is taken; a time is not taken any more."""
    conditions: Sequence[Condition] = ()
    only: frozenset[str] = field(default_factory=frozenset)
    """Positions; empty: any."""
    shards: frozenset[str] = field(default_factory=frozenset)
    """Empty: any."""

    def check(self, *, sharded: bool) -> None:
        """Raises SelectionError for bounds that mean nothing here. `sharded`: the records say of which shard they are."""
        for bound, name in ((self.since, "--from"), (self.until, "--to")):
            if bound is not None and bound.kind is PositionKind.AT_SEQUENCE_NUMBER and sharded and len(self.shards) != 1:
                raise SelectionError(f"{name} {bound.sequence}: a sequence number is of one shard: say of which, with --shard")

    def narrowed(self) -> Self:
        """With bounds around the positions of `only`, where they are of one shard: nothing else need be read."""
        if not self.only or len(self.shards) != 1 or not all(each.isascii() and each.isdigit() for each in self.only):
            return self
        first, last = min(self.only, key=int), max(self.only, key=int)
        return replace(self, since=self.since or Position.at_record(first), until=self.until or Position.at_record(last))

    def takes(self, record: Record, view: Callable[[], dict[str, Any]], shard: str) -> bool:
        """`view`: the record as filters see it; made only when it is needed."""
        if (self.only and record.id not in self.only) or (self.shards and shard not in self.shards):
            return False
        if self.since is not None and _order(record, self.since) < 0:
            return False
        if self.until is not None and past(record, self.until):
            return False
        if not self.conditions:
            return True
        seen = view()
        return all(condition.holds(seen, shard) for condition in self.conditions)


def past(record: Record, until: Position) -> bool:
    """Whether it lies behind the upper bound, and with it all that follow in its shard."""
    order = _order(record, until)
    return order > 0 or (order == 0 and until.kind is PositionKind.AT_TIMESTAMP)


def _order(record: Record, bound: Position) -> float:
    match bound.kind:
        case PositionKind.AT_TIMESTAMP:
            return record.arrived - bound.timestamp
        case PositionKind.AT_SEQUENCE_NUMBER:
            return (int(record.id) > int(bound.sequence)) - (int(record.id) < int(bound.sequence)) if record.id.isdigit() else 0
        case _:
            return 0


def _at(value: Any, path: list[str]) -> list[Any]:
    """What stands at a path; of a list, in any of its items. Keys may have dots themselves."""
    if not path:
        return value if isinstance(value, list) else [value]
    if isinstance(value, list):
        return [found for each in value for found in _at(each, path)]
    if not isinstance(value, dict):
        return []
    for length in range(len(path), 0, -1):
        key = ".".join(path[:length])
        if key in value:
            return _at(value[key], path[length:])
    return []


def _as_json(value: Any) -> str:
    return encode(value).decode()
