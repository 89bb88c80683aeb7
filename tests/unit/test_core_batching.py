"""When a batch is released (COM-10..16)."""

import json
from typing import Any

import pytest

from pollers.record import Record, RecordId
from runtime.core.batching import ENVELOPE_BYTES, Batch, BatchWindow
from runtime.core.mapping import MAX_EVENT_BYTES, BatchLimits


def record(name: str, size: int = 10, event: dict[str, Any] | None = None) -> Record:
    return Record(id=RecordId(name), content=event or {}, size=size, arrived=0.0)


def names(batch: Batch) -> list[str]:
    return [each.id for each in batch.records]


def test_com_10a_a_batch_is_due_at_its_record_count() -> None:
    window = BatchWindow(BatchLimits(records=2, window=300))
    window.add([record("a")], 5.0)
    assert (window.missing, window.remaining(5.0)) == (1, 300)
    window.add([record("b")], 6.0)
    assert (window.missing, window.remaining(6.0)) == (0, 0)


def test_com_10b_a_batch_is_due_at_the_end_of_its_window() -> None:
    window = BatchWindow(BatchLimits(records=100, window=2))
    window.add([record("a")], 5.0)
    window.add([record("b")], 6.5)
    assert window.remaining(6.5) == 0.5
    assert window.remaining(7.0) == 0
    assert window.remaining(70.0) == 0


def test_com_10c_a_batch_is_due_at_its_bytes() -> None:
    window = BatchWindow(BatchLimits(records=100, window=300, size=ENVELOPE_BYTES + 21))
    window.add([record("a")], 5.0)
    assert window.remaining(5.0) == 300
    window.add([record("b")], 5.0)
    assert (window.missing, window.room, window.remaining(5.0)) == (0, 0, 0)


def test_com_11_bytes_are_those_of_the_whole_event_with_its_envelope_and_commas() -> None:
    events: list[dict[str, Any]] = [{"body": "ü" * n, "n": n} for n in range(5)]
    sizes = [len(json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()) for event in events]
    batch = Batch(tuple(record(str(n), size, event) for n, (event, size) in enumerate(zip(events, sizes, strict=True))))
    assert batch.size == len(json.dumps({"Records": events}, separators=(",", ":"), ensure_ascii=False).encode())


def test_com_12_the_limit_is_six_mebibytes_and_what_does_not_fit_is_carried_over() -> None:
    assert BatchLimits(records=1).size == MAX_EVENT_BYTES == 6_291_456
    window = BatchWindow(BatchLimits(records=10_000, window=300))
    mebibyte = 1024 * 1024
    for name in "abcdefg":
        window.add([record(name, mebibyte)], 1.0)
    batch = window.take()
    assert names(batch) == ["a", "b", "c", "d", "e"], "the envelope and five commas take what a sixth would need"
    assert batch.size <= MAX_EVENT_BYTES
    assert names(window.take()) == ["f", "g"]


def test_com_12_a_record_that_alone_is_over_the_bytes_travels_alone() -> None:
    window = BatchWindow(BatchLimits(records=10, size=100))
    for name, size in (("a", 10), ("big", 500), ("b", 10)):
        window.add([record(name, size)], 1.0)
    assert [names(window.take()) for _ in range(4)] == [["a"], ["big"], ["b"], []]


def test_com_15_nothing_is_due_while_there_is_no_record() -> None:
    window = BatchWindow(BatchLimits(records=10, window=0))
    assert window.remaining(1e9) is None
    assert window.take() == Batch(())


def test_com_15_what_was_carried_over_keeps_the_age_it_has() -> None:
    window = BatchWindow(BatchLimits(records=1, window=5))
    window.add([record("a")], 10.0)
    window.add([record("b")], 12.0)
    assert window.take().received == 10.0
    rest = window.take()
    assert (names(rest), rest.received) == (["b"], 12.0)


def test_com_16_without_a_window_what_one_poll_returned_is_due_at_once() -> None:
    window = BatchWindow(BatchLimits(records=10))
    for name in "abc":
        window.add([record(name)], 4.0)
    assert window.remaining(4.0) == 0
    assert names(window.take()) == ["a", "b", "c"]


@pytest.mark.parametrize("taken", [0, 1])
def test_a_dropped_window_is_as_good_as_new(taken: int) -> None:
    window = BatchWindow(BatchLimits(records=1, window=5))
    for name in "abc":
        window.add([record(name)], 1.0)
    for _ in range(taken):
        window.take()
    assert [each.id for each in window.drop()] == list("abc")[taken:]
    assert (len(window), window.missing, window.remaining(9.0)) == (0, 1, None)
    assert window.room == BatchWindow(BatchLimits(records=1)).room


def test_what_stays_in_a_window_keeps_its_age() -> None:
    window = BatchWindow(BatchLimits(records=1, window=10))
    window.add([record("a"), record("b")], 1.0)
    window.add([record("c"), record("d")], 5.0)
    assert [(window.take().received, window.remaining(6.0) is not None) for _ in range(4)] == [
        (1.0, True), (1.0, True), (5.0, True), (5.0, False),
    ]  # fmt: skip
    window = BatchWindow(BatchLimits(records=3, window=10))
    window.add([record("a"), record("b")], 1.0)
    window.add([record("c"), record("d")], 5.0)
    assert [window.take().received for _ in range(2)] == [1.0, 5.0]
