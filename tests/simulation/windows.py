"""The laws of tumbling windows (COM-90..98).

The simulated handler keeps in a window's state what it has seen of it. So the state that is handed over must be what the last
successful invocation of the window gave back, or what was kept with the checkpoint; and in the end each record that the handler
took must be in the last state of exactly one window.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.simulation.journal import Began, Ended, Ending, Event, Finished, RowWritten
from tests.simulation.ledger import Ledger
from tests.simulation.scenario import Scenario

Seen = tuple[str, ...]


@dataclass(slots=True)
class WindowChecker:
    scenario: Scenario
    ledger: Ledger
    blame: Callable[[str, Event, str], None]
    states: dict[str, dict[str, Seen]] = field(default_factory=dict)
    """By shard: the window that is open as the holder knows it, and its state. At most one each."""
    finals: dict[tuple[str, str], Seen] = field(default_factory=dict)
    """The last state of each window that was closed."""

    def judge_take(self, event: RowWritten) -> None:
        kept = _kept(event.window)
        self.states[event.shard] = {} if kept is None else {kept[0]: kept[1]}

    def judge_call(self, event: Began) -> None:
        if event.window is None:
            if self.scenario.settings.tumbling_window:
                self.blame("window", event, f"call {event.call} has no window")
            return
        state = self.states.setdefault(event.shard, {})
        if state and event.window not in state and event.sequences:
            self.blame("window", event, f"call {event.call} is of {event.window} while {list(state)} is open")
        if event.seen != state.get(event.window, ()):
            self.blame("window", event, f"call {event.call} was given {event.seen}, not {state.get(event.window)}")
        start = datetime.fromisoformat(event.window).timestamp()
        end = start + self.scenario.settings.tumbling_window
        late = [sequence for sequence in event.sequences if self.ledger.entries[sequence].arrived >= end]
        if late:
            self.blame("window", event, f"{late} came after the window {event.window}")

    def judge_answer(self, began: Began, event: Ended) -> None:
        if began.window is None:
            return
        state = self.states[began.shard]
        if self.ledger.shards[began.shard].holder != began.who:
            return  # nobody hears of it
        if began.final and event.ending is Ending.SUCCESS:
            state.clear()
            if len(set(began.seen)) != len(began.seen):
                self.blame("window", event, f"the state of {began.window} has a record twice: {began.seen}")
            self.finals[began.shard, began.window] = began.seen
        elif event.done:
            state.clear()
            state[began.window] = (*began.seen, *began.sequences[: event.done])

    def judge_checkpoint(self, event: RowWritten) -> None:
        if not self.scenario.settings.tumbling_window:
            return
        kept = _kept(event.window)
        known = self.states.get(event.shard, {})
        if {window: seen for window, seen in [*([kept] if kept else [])] if seen} != {
            w: seen for w, seen in known.items() if seen
        }:
            self.blame("window", event, f"{event.shard} keeps {kept} beside {event.position}; the handler knows {known}")

    def judge_end(self, event: Finished) -> None:
        if not self.scenario.settings.tumbling_window:
            return
        closed = [sequence for seen in self.finals.values() for sequence in seen]
        taken = [entry for entry in self.ledger.entries.values() if entry.taken]
        forgivable = {entry.id for entry in taken if entry.lost_unseen(event.at)}  # gone before it could be tried again
        missing = {entry.id for entry in taken} - set(closed) - forgivable
        wrong = set(closed) - {entry.id for entry in taken}
        twice = {sequence for sequence in closed if closed.count(sequence) > 1}
        if missing or wrong or twice:
            self.blame("window", event, f"in no closed window: {missing}; in two: {twice}; not the handler's: {wrong}")


def _kept(text: str | None) -> tuple[str, Seen] | None:
    """What a row keeps of a window: its start as handlers see it, and the state."""
    if text is None:
        return None
    found = json.loads(text)
    start = datetime.fromtimestamp(found["start"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return start, tuple(found["state"].get("seen", ()))
