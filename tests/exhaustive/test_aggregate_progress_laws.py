"""The law of `ShardProgress` with aggregates: each is passed when all of its user records are finished, and never before."""

from collections.abc import Sequence
from itertools import permutations, product

from pollers.record import Record, RecordId
from runtime.core.progress import ShardProgress


def ids(records: Sequence[Record]) -> list[RecordId]:
    return [record.id for record in records]


def stored(number: int, users: int) -> list[Record]:
    """One record of the shard: an aggregate of so many user records, or with none an ordinary one."""
    sequence = str(98 + number)  # their numbers grow by a digit on the way
    names = [sequence] if users == 0 else [f"{sequence}:{place}" for place in range(users)]
    return [Record(id=RecordId(name), content={}, size=1, arrived=0.0) for name in names]


def test_the_position_is_behind_the_longest_prefix_of_stored_records_that_are_finished_whatever_the_order() -> None:
    for shape in product((0, 1, 2, 3), repeat=3):
        read = [stored(number, users) for number, users in enumerate(shape)]
        flat = [(number, record) for number, records in enumerate(read) for record in records]
        if len(flat) > 6:
            continue
        for order in permutations(flat):
            progress, left = ShardProgress(), [len(records) for records in read]
            progress.begin(ids([record for _, record in flat]))
            for number, record in order:
                progress.finish([record])
                left[number] -= 1
                done = next((n for n, count in enumerate(left) if count), len(left))
                assert progress.committed == (str(98 + done - 1) if done else None)
                if progress.within:
                    assert 0 < left[done] < len(read[done])
            assert (len(progress), progress.within) == (0, False)


def test_batches_cut_anywhere_commit_whole_aggregates_and_know_when_they_are_within_one() -> None:
    for shape in product((0, 1, 2, 3), repeat=3):
        read = [stored(number, users) for number, users in enumerate(shape)]
        flat = [record for records in read for record in records]
        ends, total = [], 0
        for records in read:
            total += len(records)
            ends.append(total)
        for first in range(1, len(flat) + 1):
            for second in range(first, len(flat) + 1):
                progress = ShardProgress()
                progress.begin(ids(flat))
                done = 0
                for batch in (flat[:first], flat[first:second], flat[second:]):
                    progress.finish(batch)
                    done += len(batch)
                    whole = sum(end <= done for end in ends)
                    assert progress.committed == (str(98 + whole - 1) if whole else None)
                    assert progress.within is (done not in (0, *ends))
