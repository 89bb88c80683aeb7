"""The laws of tumbling windows, over every small arrangement of arrivals (COM-92, COM-93, COM-97)."""

import json
from itertools import product
from math import nextafter
from typing import Any, Final, NamedTuple

import pytest

from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.tumbling import QUIET, OpenWindow

LENGTH: Final = 10
ARRIVALS: Final = (0.0, 9.999, 10.0, 15.0, 19.5, 20.0, 40.0)


class Step(NamedTuple):
    window: OpenWindow
    records: tuple[Record, ...]
    """Nothing: the last invocation of the window."""


def batch(arrivals: tuple[float, ...], first: int = 0) -> Batch:
    records = tuple(Record(id=RecordId(str(n)), content={}, size=1, arrived=arrived) for n, arrived in enumerate(arrivals, first))
    return Batch(records, retries=1, throttles=2, received=7.0)


def play(batches: list[Batch]) -> list[Step]:
    """What is invoked, in which window: as long as anything is left, either records go or a window ends."""
    steps: list[Step] = []
    window: OpenWindow | None = None
    for whole in batches:
        rest: Batch | None = whole
        for _ in range(3 * len(whole.records)):
            if rest is None:
                break
            window = window or OpenWindow.of(rest.records[0].arrived, LENGTH)
            now, rest = window.split(rest)
            steps.append(Step(window, now.records if now else ()))
            if now is None:
                window = None
        assert rest is None, "it ends"
    return steps


def judge(records: tuple[Record, ...], steps: list[Step]) -> None:
    assert tuple(each for step in steps for each in step.records) == records, "conservation and order"
    latest = -1
    for place, (window, part) in enumerate(steps):
        assert window.start >= latest, "windows follow each other in time"
        assert window.end - window.start == LENGTH
        for each in part:
            own = int(each.arrived // LENGTH) * LENGTH
            assert window.start == max(own, latest), "its own window, or the one that was open when it came late"
            latest = max(latest, own)
        if not part:
            following = steps[place + 1]
            assert following.records, "a window ends because something comes behind it"
            assert following.records[0].arrived >= window.end, "and that is of a later window (COM-97)"


@pytest.mark.parametrize("count", range(1, 5))
def test_each_record_is_in_its_own_window_or_came_late(count: int) -> None:
    for arrivals in product(ARRIVALS, repeat=count):
        whole = batch(arrivals)
        steps = play([whole])
        judge(whole.records, steps)
        for cut in range(1, count):
            halves = [batch(arrivals[:cut]), batch(arrivals[cut:], cut)]
            judged = play(halves)
            judge(halves[0].records + halves[1].records, judged)
            assert {each.id: step.window for step in judged for each in step.records} == {
                each.id: step.window for step in steps for each in step.records
            }, "how records come in batches changes nothing"


@pytest.mark.parametrize("count", range(1, 6))
def test_a_split_conserves_orders_and_cuts_before_the_first_record_of_a_later_window(count: int) -> None:
    for arrivals, start in product(product(ARRIVALS, repeat=count), (0, 10)):
        whole, window = batch(arrivals), OpenWindow(start=start, end=start + LENGTH)
        now, rest = window.split(whole)
        assert (now.records if now else ()) + (rest.records if rest else ()) == whole.records
        assert now is None or all(each.arrived < window.end for each in now.records)
        assert rest is None or rest.records[0].arrived >= window.end
        for part in (now, rest):
            assert part is None or part.received == whole.received
            assert part is None or part is whole or (part.retries, part.throttles) == (0, 0)
        assert (now is None) or (rest is None) or (now is not whole and rest is not whole)
        assert (rest is None) is (now is whole)
        assert (now is None) is (rest is whole)


@pytest.mark.parametrize("first", [0, 1_545_084_000, 1_764_085_080, 4_102_444_800])
def test_com_93_every_length_begins_at_a_multiple_of_itself_since_the_epoch(first: int) -> None:
    for length in range(1, 901):
        border = first - first % length + length
        for arrived in (
            border - length,
            nextafter(border, 0),
            border - 0.001,
            border,
            border + 0.001,
            nextafter(border, 1e12),
            border + length / 2,
        ):
            window = OpenWindow.of(arrived, length)
            assert window.start % length == 0
            assert window.end - window.start == length
            assert window.start <= arrived < window.end
            assert window.state == {}


VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "é",
    "\ud83d",
    '"\\\n',
    [],
    [1, [2]],
    {},
    {"a": {"b": None}},
)


def test_a_window_is_what_its_text_says() -> None:
    for (one, two), start in product(product(VALUES, repeat=2), (0, 1_764_085_080)):
        for state in ({}, {"a": one}, {"a": one, "é\ud83d": two}):
            window = OpenWindow(start=start, end=start + LENGTH, state=state)
            assert OpenWindow.parse(window.text) == window
            assert OpenWindow.parse(json.dumps(json.loads(window.text), indent=1)) == window


def test_com_97_a_window_passes_when_its_time_is_over_and_the_shard_is_quiet() -> None:
    window = OpenWindow(start=10, end=20)
    for now, quiet in product((9.0, 10.0, 19.999, 20.0, 21.0, 1e9), (0.0, 1.0, QUIET - 0.001, QUIET, QUIET + 1, 1e9)):
        assert window.passed(now, quiet=quiet) is (now >= 20 and quiet >= 120)
