"""Matching where lists are on the way: what is wanted of one list must be found in one and the same member of it (FLT-53).

A value that is found has a chain: the lists that were entered on the way to it, each with the member that was taken. Two values
go together when no list is in both chains with different members. Fields are taken in the order of their paths. One that may be
missing counts as missing when no value of it goes together with what was taken before it: that is how Event Ruler has it, so
`{"exists": false}` alone looks through the whole list, and behind a sibling that matched only at that sibling's member.

Members of lists that stand directly in lists are members of the outer one here: all that differs is a pattern that wants values
and objects at one and the same path.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from runtime.core.filters.operators import Field

Chain = tuple[tuple[int, int], ...]
"""Lists by number, and the members taken of them, from the outside in."""
Taken = dict[int, int]
"""The same for all values taken so far."""


class Wanted(Struct, frozen=True):
    """A field by the parts of its path."""

    parts: tuple[str, ...]
    field: Field


class _Found:
    """Places of values, to be walked along with what was taken: only those are met that go together with it."""

    __slots__ = ("here", "lists")

    def __init__(self) -> None:
        self.here = False
        self.lists: dict[int, dict[int, _Found]] = {}

    def add(self, chain: Chain) -> None:
        node = self
        for number, member in chain:
            node = node.lists.setdefault(number, {}).setdefault(member, _Found())
        node.here = True

    def beside(self, taken: Taken) -> Iterator[Taken]:
        """All that is taken after each value that goes together with `taken`."""
        open_places: list[tuple[_Found, Taken]] = [(self, taken)]
        while open_places:
            place, so_far = open_places.pop()
            if place.here:
                yield so_far
            for number, members in place.lists.items():
                if number not in so_far:
                    open_places += [(found, {**so_far, number: member}) for member, found in members.items()]
                elif (same := members.get(so_far[number])) is not None:
                    open_places.append((same, so_far))

    def numbers(self) -> set[int]:
        """Of all lists on the way to its values."""
        numbers: set[int] = set()
        open_places = [self]
        while open_places:
            for number, members in open_places.pop().lists.items():
                numbers.add(number)
                open_places += members.values()
        return numbers


class _Candidates(Struct):
    matching: _Found
    present: _Found
    absent: bool
    """It may be missing."""


def match_across_lists(view: dict[str, Any], wanted: Sequence[Wanted]) -> bool:
    """`wanted` in the order of the paths. Exact for every view; slower than what `matching` does where there are no lists."""
    collector = _Collector()
    candidates: list[_Candidates] = []
    for each in wanted:
        found = _Candidates(matching=_Found(), present=_Found(), absent=each.field.absent)
        some = False
        for value, chain in collector.values(view, each.parts):
            found.present.add(chain)
            if each.field.test(value):
                found.matching.add(chain)
                some = True
        if not some and not found.absent:
            return False
        candidates.append(found)
    return _Search(candidates).succeeds()


def values_at(view: dict[str, Any], parts: tuple[str, ...]) -> list[Any]:
    """Every value at the path, those in lists too."""
    return [value for value, _ in _Collector().values(view, parts)]


class _Collector:
    """Finds values by path; gives each list of the view a number."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def values(self, value: Any, parts: tuple[str, ...], chain: Chain = ()) -> Iterator[tuple[Any, Chain]]:
        """Keys in the view may hold dots too: they are joined like those of the pattern (FLT-58)."""
        if type(value) is list:
            yield from self._in_list(value, parts, chain)
        elif type(value) is dict:
            for count in range(1, len(parts) + 1):
                key = ".".join(parts[:count])
                if key in value:
                    yield from self.values(value[key], parts[count:], chain)
        elif not parts:
            yield value, chain

    def _in_list(self, values: list[Any], parts: tuple[str, ...], chain: Chain) -> Iterator[tuple[Any, Chain]]:
        number = self._numbers.setdefault(id(values), len(self._numbers))
        for index, member in enumerate(_flat(values)):
            if type(member) is dict:
                if parts:
                    yield from self.values(member, parts, (*chain, (number, index)))
            elif not parts:
                yield member, chain


def _flat(values: list[Any]) -> Iterator[Any]:
    """Without recursion: the data may be nested as deep as its decoder lets it."""
    open_lists = [iter(values)]
    while open_lists:
        for member in open_lists[-1]:
            if type(member) is list:
                open_lists.append(iter(member))
                break
            yield member
        else:
            open_lists.pop()


class _Search:
    """Takes one value for each field, or its absence; what failed once for the same lists is not tried again."""

    def __init__(self, candidates: Sequence[_Candidates]) -> None:
        self._candidates = candidates
        self._failed: set[tuple[int, frozenset[tuple[int, int]]]] = set()
        self._relevant: list[set[int]] = [set()]
        for each in reversed(candidates):
            self._relevant.append(self._relevant[-1] | each.present.numbers())
        self._relevant.reverse()

    def succeeds(self) -> bool:
        """By hand and not by recursion: a pattern has up to five hundred fields."""
        ways = [self._ways(0, {})]
        states: list[tuple[int, frozenset[tuple[int, int]]]] = [(0, frozenset())]
        while ways:
            taken = next(ways[-1], None)
            if taken is None:
                ways.pop()
                self._failed.add(states.pop())
                continue
            following = len(ways)
            if following == len(self._candidates):
                return True
            relevant = self._relevant[following]
            state = (following, frozenset([item for item in taken.items() if item[0] in relevant]))
            if state not in self._failed:
                ways.append(self._ways(following, taken))
                states.append(state)
        return False

    def _ways(self, number: int, taken: Taken) -> Iterator[Taken]:
        candidate = self._candidates[number]
        yield from candidate.matching.beside(taken)
        if candidate.absent and next(candidate.present.beside(taken), None) is None:
            yield taken
