"""One alternative of a pattern as a test of views.

Records are walked once along a tree of the paths. Lists are walked too where nothing in them may be missing: then all that is
wanted below must be in one of their members. What is not so simple is left to `arrays`: fields that may be missing from a member,
lists in lists, keys with dots.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from runtime.core.filters.arrays import Wanted, match_across_lists
from runtime.core.filters.operators import Field
from runtime.core.filters.patterns import DataRule
from runtime.core.filters.value_tests import Test

Walk = Callable[[dict[str, Any]], bool | None]
"""Whether an object has what is wanted in it; None where `arrays` must look."""
_InList = Callable[[list[Any]], bool | None]
_MISSING: Final = object()


class Alternative(Struct, frozen=True):
    """All its fields must match together."""

    wanted: tuple[Wanted, ...]
    """In the order of their paths."""
    walk: Walk
    data_key: str = ""
    needs: frozenset[type] = frozenset()
    """What the data of the record must be: `dict` for a pattern that asks for fields of it, `str` for one that is a list."""

    def matches(self, view: dict[str, Any]) -> bool:
        if self.needs and not self.fits_data(view):
            return False
        answer = self.walk(view)
        return match_across_lists(view, self.wanted) if answer is None else answer

    def fits_data(self, view: dict[str, Any]) -> bool:
        """Whether data and pattern are of one format; if not, the record is dropped whatever is wanted (FLT-20, FLT-21)."""
        kind = type(view.get(self.data_key))
        for needed in self.needs:  # noqa: SIM110  # a generator for one or two would cost more than all else here
            if needed is not kind:
                return False
        return True


def build_alternative(fields: Mapping[str, Field], data: DataRule | None) -> Alternative:
    wanted = tuple(Wanted(tuple(path.split(".")), fields[path]) for path in sorted(fields))
    walk = _walker([(each.parts, each.field) for each in wanted])
    if data is None:
        return Alternative(wanted, walk)
    needs = frozenset(dict if len(each.parts) > 1 else str for each in wanted if each.parts[0] == data.key)
    return Alternative(wanted, walk, data.key, needs)


class _Step(Struct, frozen=True):
    """What is wanted at and below one key of an object."""

    key: str
    test: Test | None
    """Of a value at the path itself; None when the path only leads on."""
    no_value: bool
    """There need not be a value at the path itself."""
    below: Walk | None
    nothing_below: bool
    """There need not be anything below."""
    in_list: _InList | None
    """Whether a list at the path has what is wanted; None where only `arrays` can tell."""


def _walker(fields: Sequence[tuple[tuple[str, ...], Field]]) -> Walk:  # noqa: C901  # see below
    """For paths that begin in the object it is given. One loop on purpose: a call for each step would double the cost."""
    steps = [_step(key, fields) for key in dict.fromkeys(parts[0] for parts, _ in fields)]
    plain = tuple((step.key, step.test, step.no_value, step.below, step.nothing_below, step.in_list) for step in steps)
    dotted = tuple({".".join(parts[:count]) for parts, _ in fields for count in range(2, len(parts) + 1)})

    def walk(value: dict[str, Any]) -> bool | None:  # noqa: C901, PLR0911  # as above
        for key in dotted:
            if key in value:
                return None
        for key, test, no_value, below, nothing_below, in_list in plain:
            found = value.get(key, _MISSING)
            kind = type(found)
            if kind is dict:
                if not no_value:
                    return False
                if below is not None:
                    answer = below(found)
                    if answer is not True:
                        return answer
            elif kind is list:
                answer = in_list(found) if in_list is not None else None
                if answer is not True:
                    return answer
            elif found is _MISSING:
                if not (no_value and nothing_below):
                    return False
            elif (test is not None and not test(found)) or not nothing_below:
                return False
        return True

    return walk


def _step(key: str, fields: Sequence[tuple[tuple[str, ...], Field]]) -> _Step:
    here = next((field for parts, field in fields if parts == (key,)), None)
    below = [(parts[1:], field) for parts, field in fields if parts[0] == key and len(parts) > 1]
    walk = _walker(below) if below else None
    in_list = None
    if here is None and walk is not None and not any(field.absent for _, field in below):
        in_list = _any_object(walk)
    elif here is not None and not here.absent and walk is None:
        in_list = _any_value(here.test)
    return _Step(
        key=key,
        test=here.test if here else None,
        no_value=here is None or here.absent,
        below=walk,
        nothing_below=all(field.absent for _, field in below),
        in_list=in_list,
    )


def _any_object(below: Walk) -> _InList:
    def in_list(members: list[Any]) -> bool | None:
        answer: bool | None = False
        for member in members:
            kind = type(member)
            if kind is dict:
                found = below(member)
                if found:
                    return True
                if found is None:
                    answer = None
            elif kind is list:
                answer = None
        return answer

    return in_list


def _any_value(test: Test) -> _InList:
    def in_list(members: list[Any]) -> bool | None:
        for member in members:
            kind = type(member)
            if kind is list:
                return None
            if kind is not dict and test(member):
                return True
        return False

    return in_list
