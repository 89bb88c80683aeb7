"""What was put into the stream, and which of it the mapping must handle. Read from the journal alone, before anything is judged."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Final

from pollers.record import Position, PositionKind
from tests.simulation.journal import Gap, Journal, Lived, Opened, Put, RowMade, RowWritten, ShardClosed, ShardMade, Trimmed

NEVER: Final = inf


@dataclass(slots=True, eq=False)
class Entry:
    """One record."""

    id: str
    shard: "ShardBook"
    key: str
    arrived: float
    place: int
    """Its place among all records: also its place among those of its key."""
    gone_at: float = NEVER
    required: bool = True
    forbidden: bool = False
    """It is from before the starting position."""
    settled: bool = False
    epoch: int = 0
    """In which it was settled last."""
    group: str = ""
    """What settled it last: records of one group share an invocation or a failure record."""

    @property
    def taken(self) -> bool:
        """By the handler, and not given up after that."""
        return self.group.startswith("call")

    @property
    def sequence(self) -> int:
        return int(self.id)

    def lost_unseen(self, at: float) -> bool:
        """It left the stream, and that was counted, or nobody could have noticed: no position stood before it."""
        return self.gone_at <= at and (self.shard.gaps or self.shard.first_moved >= self.gone_at)

    def needed(self, at: float) -> bool:
        """It still waits for its fate."""
        return self.required and not self.settled and at < self.gone_at


@dataclass(slots=True, eq=False)
class ShardBook:
    """One shard and what is known of its row."""

    id: str
    parents: tuple[str, ...]
    made_at: float
    closed_at: float = NEVER
    entries: list[Entry] = field(default_factory=list)
    ancestors: tuple["ShardBook", ...] = ()
    checkpoint: Position | None = None
    first_moved: float = NEVER
    """When the checkpoint became that of a record."""
    owner: str | None = None
    holder: str | None = None
    """The life that took it last and has not released it."""
    epoch: int = 0
    """Grows with each taking."""
    given: bool = False
    """It was taken away from its holder since."""
    row_made: bool = False
    children: tuple[str, ...] = ()
    """As its row names them."""
    floor: Position | None = None
    """The checkpoint at the last taking: nothing before it may come again."""
    changed_at: float = NEVER
    """The last write to the row that its counter shows."""
    gaps: bool = False
    _front: int = 0

    def front(self, at: float) -> Entry | None:
        """The first record that still waits for its fate."""
        while self._front < len(self.entries) and not self.entries[self._front].needed(at):
            self._front += 1
        return self.entries[self._front] if self._front < len(self.entries) else None


@dataclass(slots=True)
class KeyBook:
    """The records of one key, in the order in which they were put, whatever shard they went into."""

    entries: list[Entry] = field(default_factory=list)
    _front: int = 0

    def waiting_before(self, entry: Entry, at: float) -> Iterator[Entry]:
        while self._front < len(self.entries) and not self.entries[self._front].needed(at):
            self._front += 1
        for earlier in self.entries[self._front :]:
            if earlier.place >= entry.place:
                return
            if earlier.needed(at):
                yield earlier


@dataclass(slots=True)
class Ledger:
    entries: dict[str, Entry] = field(default_factory=dict)
    shards: dict[str, ShardBook] = field(default_factory=dict)
    keys: dict[str, KeyBook] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def open_ledger(journal: Journal, *, start: Position, retention: float) -> Ledger:
    ledger = Ledger()
    for event in journal.events:
        match event:
            case ShardMade():
                ledger.shards[event.shard] = ShardBook(event.shard, event.parents, event.at)
            case ShardClosed():
                ledger.shards[event.shard].closed_at = event.at
            case Put():
                shard = ledger.shards[event.shard]
                entry = Entry(event.sequence, shard, event.key, event.arrived, len(ledger.entries), event.arrived + retention)
                ledger.entries[entry.id] = entry
                shard.entries.append(entry)
                ledger.keys.setdefault(entry.key, KeyBook()).entries.append(entry)
            case Trimmed():
                for sequence in event.sequences:
                    entry = ledger.entries[sequence]
                    entry.gone_at = min(entry.gone_at, event.at)
            case Gap():
                ledger.shards[event.shard].gaps = True
            case _:
                pass
    for shard in ledger.shards.values():
        shard.ancestors = tuple(_ancestors(shard, ledger))
    _apply_start(ledger, journal, start)
    return ledger


def _ancestors(shard: ShardBook, ledger: Ledger) -> list[ShardBook]:
    found: dict[str, ShardBook] = {}
    left = list(shard.parents)
    while left:
        parent = ledger.shards[left.pop()]
        if parent.id not in found:
            found[parent.id] = parent
            left += parent.parents
    return list(found.values())


def _apply_start(ledger: Ledger, journal: Journal, start: Position) -> None:
    """Says of each record whether the starting position lets it be missed, or even forbids it (COM-64, COM-69, KIN-42)."""
    rows: dict[str, RowMade] = {}
    for row in journal.of(RowMade):
        rows.setdefault(row.shard, row)
    first_row = min((row.at for row in rows.values()), default=NEVER)
    first_start = next((event.at for event in journal.of(Lived)), NEVER)
    for row in rows.values():
        shard = ledger.shards[row.shard]
        if row.position.kind is PositionKind.TRIM_HORIZON and shard.made_at > first_start:
            continue
        if shard.made_at > first_row:
            text = f"shard {shard.id} came after the mapping's first run and begins at {row.position}, not at TRIM_HORIZON"
            ledger.problems.append(text)
        if row.position != start and not (row.position.kind is PositionKind.SHARD_END and shard.closed_at <= row.at):
            ledger.problems.append(f"shard {shard.id} begins at {row.position}; the mapping says {start}")
        since = _since(row, journal, start, closed_at=shard.closed_at)
        for entry in shard.entries:
            entry.required = entry.arrived >= since if start.kind is PositionKind.AT_TIMESTAMP else entry.arrived > since
            if row.position.kind is PositionKind.TRIM_HORIZON:
                entry.required = True
            elif start.kind is PositionKind.AT_TIMESTAMP:
                entry.forbidden = not entry.required
            else:
                entry.forbidden = entry.arrived < first_start


def _since(row: RowMade, journal: Journal, start: Position, *, closed_at: float) -> float:
    """From when on the records of a shard are for the mapping. LATEST is when the shard was opened and that was written down."""
    if row.position.kind is PositionKind.SHARD_END:
        return closed_at
    if start.kind is not PositionKind.LATEST:
        return start.timestamp
    opened: dict[str, float] = {}
    for event in journal.events:
        if isinstance(event, Opened) and event.shard == row.shard and event.position.kind is PositionKind.LATEST:
            opened[event.who] = event.at
        moves = isinstance(event, RowWritten) and event.shard == row.shard and event.write == "checkpoint"
        if moves and event.who in opened:
            return opened[event.who]
    return NEVER
