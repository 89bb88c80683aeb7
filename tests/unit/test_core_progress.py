"""How far a shard is done when its lanes finish in another order than it was read (COM-61, COM-63)."""

from pollers.record import Record, RecordId
from runtime.core.progress import ShardProgress


def records(*numbers: int) -> list[Record]:
    return [Record(id=RecordId(str(number)), content={}, size=1, arrived=0.0) for number in numbers]


def test_com_63_the_position_waits_for_the_slowest_lane() -> None:
    progress = ShardProgress()
    progress.begin([each.id for each in records(1, 2, 3, 4)])
    progress.finish(records(2, 4))
    assert (progress.committed, len(progress)) == (None, 4)
    progress.finish(records(1))
    assert (progress.committed, len(progress)) == ("2", 2)
    progress.finish(records(3))
    assert (progress.committed, len(progress)) == ("4", 0)


def test_com_63_what_is_read_later_is_not_done_by_what_was_finished_before() -> None:
    progress = ShardProgress()
    progress.begin([RecordId("1")])
    progress.finish(records(1))
    progress.begin([RecordId("2"), RecordId("3")])
    assert (progress.committed, len(progress)) == ("1", 2)
    progress.finish(records(3))
    assert (progress.committed, len(progress)) == ("1", 2)
    progress.finish(records(2))
    assert progress.committed == "3"


def test_a_shard_that_runs_for_a_year_keeps_nothing_of_what_is_done() -> None:
    progress = ShardProgress()
    for number in range(0, 3000, 3):
        progress.begin([each.id for each in records(number, number + 1, number + 2)])
        progress.finish(records(number + 2, number + 1))
        progress.finish(records(number))
    assert (len(progress), len(progress._open), len(progress._finished)) == (0, 0, 0)
