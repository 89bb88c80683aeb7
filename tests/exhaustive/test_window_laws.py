"""The law of `BatchWindow`, over every short story: what goes in comes out once, in order, never over count, bytes or age."""

import json
from itertools import product
from typing import Any, Final

import pytest

from pollers.record import Record, RecordId
from runtime.core.batching import ENVELOPE_BYTES, Batch, BatchWindow
from runtime.core.mapping import BatchLimits

STEPS: Final = ("small", "large", "wait", "take")
LONGEST_STORY: Final = 6


def event_of_size(name: str, size: int) -> dict[str, Any]:
    return {"n": name + "x" * (size - len(json.dumps({"n": name}, separators=(",", ":"))))}


def record(name: str, size: int) -> Record:
    return Record(id=RecordId(name), content=event_of_size(name, size), size=size, arrived=0.0)


def envelope_bytes(records: tuple[Record, ...]) -> int:
    return len(json.dumps({"Records": [each.content for each in records]}, separators=(",", ":")).encode())


class Story:
    """A window, and beside it the plain list that it has to agree with."""

    def __init__(self, limits: BatchLimits, large: int) -> None:
        self.limits = limits
        self.window = BatchWindow(limits)
        self.sizes = {"small": 10, "large": large}
        self.held: list[tuple[Record, float]] = []
        self.now = 100.0
        self.added = 0

    def play(self, step: str) -> None:
        match step:
            case "wait":
                self.now += 1
            case "take":
                self.judge(self.window.take())
            case kind:
                each = record(str(self.added), self.sizes[kind])
                self.added += 1
                self.held.append((each, self.now))
                self.window.add([each], self.now)
        self.agree()

    def judge(self, batch: Batch) -> None:
        """Once and in order; not over the limits, and as much as fits in them."""
        taken = len(batch.records)
        assert batch.records == tuple(each for each, _ in self.held[:taken])
        assert bool(taken) == bool(self.held)
        assert taken <= self.limits.records
        assert batch.size == envelope_bytes(batch.records) or not taken
        assert taken <= 1 or batch.size <= self.limits.size
        if taken:
            assert batch.received == self.held[0][1]
            assert (batch.retries, batch.throttles) == (0, 0)
        del self.held[:taken]
        if self.held and taken < self.limits.records:
            assert envelope_bytes((*batch.records, self.held[0][0])) > self.limits.size, "one more would have fitted"

    def agree(self) -> None:
        records = tuple(each for each, _ in self.held)
        size = envelope_bytes(records) if records else ENVELOPE_BYTES - 1
        full = len(records) >= self.limits.records or size >= self.limits.size
        assert len(self.window) == len(records)
        assert self.window.held() == records
        assert self.window.room == max(0, self.limits.size - size)
        assert self.window.missing == (0 if full else self.limits.records - len(records))
        remaining = self.window.remaining(self.now)
        if not records:
            assert remaining is None
        elif full:
            assert remaining == 0
        else:
            assert remaining == max(0.0, self.held[0][1] + self.limits.window - self.now)


@pytest.mark.parametrize(
    ("count", "size", "seconds"),
    list(product((1, 2, 3), (ENVELOPE_BYTES + 9, ENVELOPE_BYTES + 10, ENVELOPE_BYTES + 21, ENVELOPE_BYTES + 32, 1000), (0, 2))),
)
def test_every_short_story_keeps_the_law(count: int, size: int, seconds: int) -> None:
    limits = BatchLimits(records=count, size=size, window=seconds)
    for steps in product(STEPS, repeat=LONGEST_STORY - 1):
        story = Story(limits, large=22)
        for step in steps:
            story.play(step)
        while story.held:
            story.play("take")
        assert story.window.take() == Batch(())


def test_every_short_story_leaves_an_empty_window_after_a_drop() -> None:
    limits = BatchLimits(records=2, size=ENVELOPE_BYTES + 21, window=1)
    for steps in product(STEPS, repeat=LONGEST_STORY - 1):
        story = Story(limits, large=22)
        for step in steps:
            story.play(step)
        assert story.window.drop() == tuple(each for each, _ in story.held)
        story.held.clear()
        story.agree()
        story.play("small")
        story.play("take")
