"""Judges a journal. Knows the rules and nothing of how the product follows them.

The laws, each with the name that a violation is told under:
lost         every record that the mapping must handle was invoked with success, sent to the destination, counted as dropped, or
             counted as gone from the stream; and the run came to its end
order        no record is invoked before each earlier record of its key has its fate; batches are ascending and of one shard
parent       no record of a child before everything in its ancestors has its fate
believer     only the life that took a lease last invokes, sends or writes; none takes a lease before the failover time is over
children     in a fleet the children of a shard have rows before it names them, and it names them all before it ends
checkpoint   checkpoints never go back and never pass a record without a fate; SHARD_END only at the end of a closed shard
discard      a discard has its reason, and one failure record or one counted drop; a drop only where nobody took the failure record
retry        no unchanged batch is tried more often than MaximumRetryAttempts allows; throttles are free
duplicate    no record comes again while its lease stays where it is; after that at most what was in flight, never below the checkpoint
limit        batch size, lanes, reserved concurrency, reads per second
window       a tumbling window's state is handed on and holds each record once (COM-90..98)
crash        the runner never raises
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Any, Final

from pollers.record import SHARD_END, PositionKind
from runtime.core.mapping import UNLIMITED
from tests.simulation import journal as told
from tests.simulation.journal import QUIET, Ending, Event, Journal
from tests.simulation.ledger import Entry, Ledger, ShardBook, open_ledger
from tests.simulation.scenario import FAILOVER, START, Scenario
from tests.simulation.windows import WindowChecker

_TINY: Final = 1e-6
_RETRIES: Final = "RetryAttemptsExhausted"
_AGE: Final = "RecordAgeExceeded"


def check(scenario: Scenario, journal: Journal) -> list[str]:
    """The violations, oldest first."""
    ledger = open_ledger(journal, start=scenario.settings.start, retention=scenario.retention)
    checker = _Checker(scenario, ledger)
    checker.found += [f"start: {problem}" for problem in ledger.problems]
    for event in journal.events:
        checker.judge(event)
    checker.judge_reads()
    return checker.found


@dataclass(slots=True)
class _Checker:
    scenario: Scenario
    ledger: Ledger
    found: list[str] = field(default_factory=list)
    calls: dict[int, tuple[told.Began, int]] = field(default_factory=dict)
    """In flight, with the epoch in which they began."""
    sends: dict[int, tuple[told.SendBegan, int]] = field(default_factory=dict)
    tries: Counter[tuple[str, int, tuple[str, ...]]] = field(default_factory=Counter)
    """Failures that count, by shard, epoch and batch."""
    refused: set[tuple[str, int, tuple[str, ...]]] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)
    fallen: str | None = None
    """The leader before this one, if it lost the lock."""
    dropped: int = 0
    delivered: int = 0
    reads: dict[tuple[str, str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    windows: WindowChecker = field(init=False)

    def __post_init__(self) -> None:
        self.windows = WindowChecker(self.scenario, self.ledger, self.blame)

    def blame(self, law: str, event: Event, text: str) -> None:
        self.found.append(f"{law}: at {event.at - START:.3f} {event.who}: {text}")

    def judge(self, event: Event) -> None:
        """What no law is about is passed over."""
        judges: dict[type[Event], Callable[[Any], None]] = {
            told.Began: self._judge_call,
            told.Ended: self._judge_answer,
            told.SendBegan: self._judge_send,
            told.SendEnded: self._judge_sent,
            told.Dropped: self._judge_drop,
            told.Expired: self._judge_expired,
            told.RowMade: self._judge_row,
            told.RowWritten: self._judge_write,
            told.Assigned: self._judge_assignment,
            told.LockTaken: self._note_leader,
            told.ChildrenNamed: self._judge_children,
            told.ReadAsked: self._count_read,
            told.Crashed: lambda event: self.blame("crash", event, event.error),
            told.Finished: self._judge_end,
        }
        if (judge := judges.get(type(event))) is not None:
            judge(event)

    # invocations

    def _judge_call(self, event: told.Began) -> None:
        book, at = self.ledger.shards[event.shard], event.at
        self._judge_holder(event, book, "invokes")
        self.windows.judge_call(event)
        entries = [self.ledger.entries[sequence] for sequence in event.sequences]
        if not entries and not event.final:
            self.blame("limit", event, f"call {event.call} has no records")
        if len(entries) > self.scenario.mapping.batch.records:
            self.blame("limit", event, f"call {event.call} has {len(entries)} records")
        numbers = [entry.sequence for entry in entries]
        if numbers != sorted(set(numbers)) or any(entry.shard is not book for entry in entries):
            self.blame("order", event, f"call {event.call} is not ascending, or not of one shard: {event.sequences}")
        for ancestor in book.ancestors:
            if (waiting := ancestor.front(at)) is not None:
                self.blame("parent", event, f"call {event.call} of {book.id} while {waiting.id} of {ancestor.id} waits")
        batch = set(event.sequences)
        for entry in entries:
            early = [each.id for each in self.ledger.keys[entry.key].waiting_before(entry, at) if each.id not in batch]
            if early:
                self.blame("order", event, f"{entry.id} is invoked before {early} of its key {entry.key}")
            self._judge_again(event, entry, book)
            if entry.forbidden:
                self.blame("start", event, f"{entry.id} is from before the starting position")
        self._judge_in_flight(event, batch)
        self.calls[event.call] = (event, book.epoch)

    def _judge_in_flight(self, event: told.Began, batch: set[str]) -> None:
        mine = [other for other, _ in self.calls.values() if other.who == event.who]
        here = [other for other in mine if other.shard == event.shard]
        if len(here) >= self.scenario.settings.lanes:
            self.blame("limit", event, f"{len(here) + 1} batches of {event.shard} in flight")
        if self.scenario.reserved is not None and len(mine) >= self.scenario.reserved:
            self.blame("limit", event, f"{len(mine) + 1} batches in flight, {self.scenario.reserved} are reserved")
        keys = {self.ledger.entries[sequence].key for sequence in batch}
        for other in here:
            if keys & {self.ledger.entries[sequence].key for sequence in other.sequences}:
                self.blame("order", event, f"calls {other.call} and {event.call} have records of one key in flight")

    def _judge_answer(self, event: told.Ended) -> None:
        began, epoch = self.calls.pop(event.call)
        entries = [self.ledger.entries[sequence] for sequence in began.sequences]
        for entry in entries[: event.done]:
            self._settle(entry, epoch, f"call {event.call}")
        self.windows.judge_answer(began, event)
        if event.ending is Ending.FAILURE and not began.final:
            batch = (began.shard, epoch, began.sequences)
            self.tries[batch] += 1
            attempts = self.scenario.policy.attempts
            if attempts != UNLIMITED and self.tries[batch] > attempts + 1:
                self.blame("retry", event, f"{began.sequences} failed {self.tries[batch]} times")

    def _settle(self, entry: Entry, epoch: int, group: str) -> None:
        entry.settled = True
        if epoch >= entry.epoch:  # who lost the lease may learn late how it ended
            entry.epoch, entry.group = epoch, group

    # discards

    def _judge_send(self, event: told.SendBegan) -> None:
        book = self.ledger.shards[event.shard]
        self._judge_holder(event, book, "sends")
        self._judge_discard(event, event.shard, event.sequences, event.condition)
        tries = self.tries[event.shard, book.epoch, event.sequences]
        if event.condition == _RETRIES and event.count != tries:
            self.blame("discard", event, f"approximateInvokeCount is {event.count} after {tries} failures of {event.sequences}")
        self.sends[event.send] = (event, book.epoch)

    def _judge_sent(self, event: told.SendEnded) -> None:
        began, epoch = self.sends.pop(event.send)
        if not event.taken:
            self.refused.add((began.shard, epoch, began.sequences))
            return
        self.delivered += len(began.sequences)
        for sequence in began.sequences:
            self._settle(self.ledger.entries[sequence], epoch, f"send {event.send}")

    def _judge_drop(self, event: told.Dropped) -> None:
        book = self.ledger.shards[event.shard]
        self._judge_holder(event, book, "drops")
        self._judge_discard(event, event.shard, event.sequences, event.condition)
        self.dropped += len(event.sequences)
        if self.scenario.block:
            self.blame("discard", event, f"{event.sequences} dropped although the mapping blocks")
        elif self.scenario.destination and (event.shard, book.epoch, event.sequences) not in self.refused:
            self.blame("discard", event, f"{event.sequences} dropped, and no destination refused them")
        for sequence in event.sequences:
            self._settle(self.ledger.entries[sequence], book.epoch, f"drop at {event.at}")

    def _judge_discard(self, event: Event, shard: str, sequences: tuple[str, ...], condition: str) -> None:
        book, policy = self.ledger.shards[shard], self.scenario.policy
        entries = [self.ledger.entries[sequence] for sequence in sequences]
        for entry in entries:
            self._judge_again(event, entry, book)
        match condition:
            case "RetryAttemptsExhausted":
                tries = self.tries[shard, book.epoch, sequences]
                if policy.attempts == UNLIMITED or tries != policy.attempts + 1:
                    self.blame("discard", event, f"{sequences} given up after {tries} failures; {policy}")
            case "RecordAgeExceeded":
                young = [entry.id for entry in entries if event.at - entry.arrived < policy.age - _TINY]
                if policy.age == UNLIMITED or young:
                    self.blame("discard", event, f"{young} given up for age; {policy}")
            case _:
                self.blame("discard", event, f"{sequences} given up for {condition}")

    def _judge_expired(self, event: told.Expired) -> None:
        for sequence in event.sequences:
            entry = self.ledger.entries[sequence]
            self.expired.add(sequence)
            if event.at < entry.gone_at - _TINY:
                self.blame("discard", event, f"{sequence} is still in the stream")
            self._settle(entry, entry.shard.epoch, f"expired at {event.at}")

    # leases

    def _judge_holder(self, event: Event, book: ShardBook, does: str) -> None:
        if book.holder != event.who:
            self.blame("believer", event, f"{does} for {book.id}, whose lease is {book.holder}'s")

    def _judge_again(self, event: Event, entry: Entry, book: ShardBook) -> None:
        if not entry.settled:
            return
        if entry.epoch == book.epoch:
            self.blame("duplicate", event, f"{entry.id} comes again; {entry.group} settled it under the same lease")
        elif book.floor is not None and (book.floor == SHARD_END or entry.sequence <= int(book.floor.sequence or 0)):
            self.blame("duplicate", event, f"{entry.id} comes again below {book.floor}; {entry.group} settled it")

    def _judge_row(self, event: told.RowMade) -> None:
        book = self.ledger.shards[event.shard]
        book.checkpoint, book.changed_at, book.row_made = event.position, event.at, True

    def _note_leader(self, event: told.LockTaken) -> None:
        self.fallen = event.before if event.before != event.owner else None

    def _judge_assignment(self, event: told.Assigned) -> None:
        """From whoever has been silent for long enough, or was the leader and has lost the lock."""
        book = self.ledger.shards[event.shard]
        stood = event.at - book.changed_at
        if event.owner is not None and stood < FAILOVER - _TINY and event.owner != self.fallen:
            self.blame("believer", event, f"gave {book.id} away, which {event.owner} had, after {stood:.3f} seconds")
        book.given = book.given or book.holder is not None
        book.holder = book.owner = None
        book.changed_at = event.at

    def _judge_children(self, event: told.ChildrenNamed) -> None:
        book = self.ledger.shards[event.shard]
        book.children = event.children
        missing = [child for child in event.children if not self.ledger.shards[child].row_made]
        if missing:
            self.blame("children", event, f"{book.id} names {missing}, which have no row")

    def _judge_write(self, event: told.RowWritten) -> None:
        book = self.ledger.shards[event.shard]
        match event.write:
            case "take":
                self._judge_take(event, book)
            case "checkpoint":
                self._judge_holder(event, book, "writes a checkpoint")
                self._judge_checkpoint(event, book)
            case "release":
                self._judge_holder(event, book, "releases")
                book.holder = None
            case _:
                self._judge_holder(event, book, "renews")
        book.changed_at, book.owner = event.at, event.owner

    def _judge_take(self, event: told.RowWritten, book: ShardBook) -> None:
        stood = event.at - book.changed_at
        if book.owner not in (None, event.owner) and stood < FAILOVER - _TINY:
            self.blame("believer", event, f"took {book.id} from {book.owner} after {stood:.3f} seconds")
        if self.scenario.settings.lanes == 1:
            after = inf if event.position == SHARD_END else int(event.position.sequence or 0)
            again = {e.group for e in book.entries if e.settled and e.epoch == book.epoch and e.sequence > after and e.required}
            released = book.holder is None and not book.given
            if len(again) > (0 if released and book.epoch else 1):
                how = "released" if released else "lost"
                self.blame("duplicate", event, f"{book.id} was {how} with its checkpoint at {event.position} before {again}")
        book.epoch += 1
        book.given = False
        book.holder, book.floor = event.who, event.position
        self.windows.judge_take(event)

    def _judge_checkpoint(self, event: told.RowWritten, book: ShardBook) -> None:
        before, after = book.checkpoint, event.position
        if before is not None and after.order < before.order:
            self.blame("checkpoint", event, f"{book.id} goes back from {before} to {after}")
        waiting = book.front(event.at)
        if after.kind is PositionKind.SHARD_END and book.closed_at > event.at:
            self.blame("checkpoint", event, f"{book.id} has not ended")
        ended = after.kind is PositionKind.SHARD_END
        if waiting and (ended or (after.sequence and int(after.sequence) >= waiting.sequence)):
            self.blame("checkpoint", event, f"{book.id} passes {waiting.id} at {after}")
        children = {
            shard.id for shard in self.ledger.shards.values() if book.id in shard.parents and not self._gone(shard, event)
        }
        if ended and self.scenario.fleet and not children <= {*book.children}:
            self.blame("children", event, f"{book.id} ends with the children {book.children} in its row, and has {children}")
        if after.sequence:
            book.first_moved = min(book.first_moved, event.at)
        book.checkpoint = after
        self.windows.judge_checkpoint(event)

    def _gone(self, book: ShardBook, event: Event) -> bool:
        """It may have left the stream."""
        return book.closed_at + self.scenario.retention <= event.at

    # the end

    def _count_read(self, event: told.ReadAsked) -> None:
        self.reads[event.who, event.shard, self.ledger.shards[event.shard].epoch].append(event.at)

    def judge_reads(self) -> None:
        """KIN-12: never more calls in any second than our share of what the service allows."""
        most = ceil(5 * self.scenario.settings.read_share)
        for (who, shard, _), times in self.reads.items():
            for first, last in zip(times, times[most:], strict=False):
                if last - first < 1 - _TINY:
                    self.found.append(
                        f"limit: at {last - START:.3f} {who}: {most + 1} reads of {shard} in {last - first:.3f} seconds"
                    )

    def _judge_end(self, event: told.Finished) -> None:
        if event.reason != QUIET:
            self.blame("lost", event, event.reason)
        for entry in self.ledger.entries.values():
            if entry.required and not entry.settled:
                if event.at < entry.gone_at:
                    self.blame("lost", event, f"{entry.id} of {entry.shard.id}, key {entry.key}, has no fate")
                elif not entry.lost_unseen(event.at):
                    self.blame("lost", event, f"{entry.id} of {entry.shard.id} left the stream and no gap was counted")
        if event.counters["esm_dropped_events_total"] != self.dropped:
            self.blame("discard", event, f"{self.dropped} records dropped, counted {event.counters['esm_dropped_events_total']}")
        if event.counters["esm_on_failure_destination_delivered_events_total"] > self.delivered:
            self.blame("discard", event, "more records counted as delivered to the destination than it took")
        self.windows.judge_end(event)
