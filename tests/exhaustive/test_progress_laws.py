"""The law of `ShardProgress`, over every order in which the lanes of a shard can finish its records (COM-63)."""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise, product
from typing import Final

import pytest

from pollers.record import Record, RecordId
from runtime.core.progress import ShardProgress

MOST_RECORDS: Final = 6


def record(number: int) -> Record:
    return Record(id=RecordId(str(number)), content={}, size=1, arrived=0.0)


RECORDS: Final = tuple(record(number) for number in range(98, 98 + MOST_RECORDS))
"""Their numbers grow by a digit on the way: nothing may compare them as text (KIN-22)."""


def ids(records: Sequence[Record]) -> list[RecordId]:
    return [record.id for record in records]


def every_order(lanes: tuple[tuple[int, ...], ...]) -> Iterator[tuple[int, ...]]:
    """Every order in which the records of all lanes can finish; each lane goes in its own."""
    if not any(lanes):
        yield ()
    for lane, waiting in enumerate(lanes):
        if waiting:
            rest = (*lanes[:lane], waiting[1:], *lanes[lane + 1 :])
            for order in every_order(rest):
                yield waiting[0], *order


def every_grouping(count: int) -> Iterator[tuple[slice, ...]]:
    """Every way to cut a row of so many into pieces."""
    for cuts in range(count):
        for places in combinations(range(1, count), cuts):
            edges = (0, *places, count)
            yield tuple(slice(start, end) for start, end in pairwise(edges))


def expected(read: int, finished: set[int]) -> tuple[RecordId | None, int]:
    """The position and how many records it has not passed, the plain way."""
    prefix = next((number for number in range(read) if number not in finished), read)
    return (RECORDS[prefix - 1].id if prefix else None), read - prefix


def assert_is(progress: ShardProgress, read: int, finished: set[int]) -> None:
    assert (progress.committed, len(progress)) == expected(read, finished)


@pytest.mark.parametrize("count", range(1, MOST_RECORDS + 1))
def test_the_position_is_the_end_of_the_finished_prefix_whichever_lane_is_faster(count: int) -> None:
    orders = {
        order
        for assignment in product(range(3), repeat=count)
        for order in every_order(tuple(tuple(n for n in range(count) if assignment[n] == lane) for lane in range(3)))
    }
    for order in orders:
        progress = ShardProgress()
        progress.begin(ids(RECORDS[:count]))
        finished: set[int] = set()
        before = -1
        for number in order:
            progress.finish([RECORDS[number]])
            finished.add(number)
            assert_is(progress, count, finished)
            position = -1 if progress.committed is None else int(progress.committed)
            assert position >= before, "it never goes back"
            before = position
        assert (progress.committed, len(progress)) == (RECORDS[count - 1].id, 0)


@pytest.mark.parametrize("count", range(1, 5))
def test_the_position_is_the_same_whatever_pages_are_read_and_batches_finish(count: int) -> None:
    """Reading goes on between batches: a page begins as soon as the first record of it finishes."""
    for pages, batches in product(every_grouping(count), every_grouping(count)):
        for order in every_order(tuple((number,) for number in range(count))):
            progress = ShardProgress()
            waiting, read, finished = list(pages), 0, set[int]()
            for batch in batches:
                while read <= max(order[batch]):
                    progress.begin(ids(RECORDS[waiting[0]]))
                    read = waiting.pop(0).stop
                progress.finish([RECORDS[number] for number in order[batch]])
                finished.update(order[batch])
                assert_is(progress, read, finished)


def test_nothing_read_and_nothing_finished_is_no_progress() -> None:
    progress = ShardProgress()
    progress.begin(())
    progress.finish(())
    assert_is(progress, 0, set())
    progress.begin(ids(RECORDS[:2]))
    progress.finish(())
    assert_is(progress, 2, set())
