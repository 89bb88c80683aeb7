"""The laws of `split_held_groups`, over every assignment of few groups to few records."""

from collections.abc import Iterator
from itertools import product
from typing import Final

from pollers.record import Record, RecordId
from runtime.core.decisions import split_held_groups

GROUPS: Final = (None, "", "g", "h")


def every_row(longest: int, name: str) -> Iterator[tuple[Record, ...]]:
    for length in range(longest + 1):
        for groups in product(GROUPS, repeat=length):
            yield tuple(
                Record(id=RecordId(f"{name}{n}"), content={}, size=1, arrived=0.0, group=group) for n, group in enumerate(groups)
            )


def test_a_record_waits_exactly_when_its_group_failed_before_it() -> None:
    """SQS-45, SQS-48: nothing overtakes an earlier failure of its group; other groups, and records without one, go on."""
    for returned in every_row(3, "r"):
        failed = [record.group for record in returned if record.group is not None]
        for waiting in every_row(4, "w"):
            free, held = split_held_groups(returned, waiting)
            assert held == tuple(record for record in waiting if record.group is not None and record.group in failed)
            assert free == tuple(record for record in waiting if record not in held)
