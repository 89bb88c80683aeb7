"""FilterCriteria against a second matcher that tries every combination of values (`tests/fakes/naive_filter.py`)."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.core.filtering import FilterCriteria, FilterError
from tests.fakes.naive_filter import naive_match

KEYS = st.sampled_from(["a", "b", "c", "a.b", "b.c", ""])
SCALARS = st.sampled_from(["", "x", "X", "xy", "yx", 0, 1, 1.0, 2.5, True, False, None])
EVENTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)
TEXTS = st.sampled_from(["", "x", "X", "xy"])
NUMBERS = st.sampled_from([0, 1, 2.5])
WANTED = st.one_of(
    SCALARS,
    st.fixed_dictionaries({"prefix": TEXTS}),
    st.fixed_dictionaries({"suffix": TEXTS}),
    st.fixed_dictionaries({"equals-ignore-case": TEXTS}),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries(
        {"anything-but": st.one_of(TEXTS, NUMBERS, st.lists(TEXTS, min_size=1), st.lists(NUMBERS, min_size=1))}
    ),
    st.fixed_dictionaries({"numeric": st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), NUMBERS)}),
    st.just({"numeric": [">=", 0, "<", 2]}),
)
FIELDS = st.lists(WANTED, min_size=1, max_size=3).map(json.dumps)


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects as text, in which a key may be there twice (FLT-59)."""
    pairs = st.lists(st.tuples(KEYS.filter(bool), values), min_size=1, max_size=3)
    return pairs.map(lambda found: "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in found) + "}")


def with_or(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def joined(found: tuple[str, list[str], bool]) -> str:
        around, ways, first = found
        either = f'"$or":[{",".join(ways)}]'
        return f"{{{either},{around[1:]}" if first else f"{around[:-1]},{either}}}"

    plain = objects(FIELDS | inner)
    return plain | st.tuples(plain, st.lists(inner, min_size=2, max_size=3), st.booleans()).map(joined)


PATTERNS = st.recursive(objects(FIELDS), with_or, max_leaves=6)


@settings(max_examples=500, deadline=None)
@given(pattern=PATTERNS, event=EVENTS)
@example(pattern='{"a":{"b":[1],"c":[2]}}', event={"a": [{"b": 1}, {"c": 2}]})
@example(pattern='{"a":{"b":[{"exists":false}],"c":[2]}}', event={"a": [{"b": 1}, {"c": 2}]})
@example(pattern='{"a":{"b":[2],"c":[{"exists":false}]}}', event={"a": [{"c": 1}, {"b": 2}]})
@example(pattern='{"a":{"b":[1]},"a.c":[2]}', event={"a.c": 2, "a": [{"b": 1, "c": 3}]})
def test_every_pattern_matches_what_the_naive_matcher_matches(pattern: str, event: dict[str, Any]) -> None:
    criteria = FilterCriteria.compile([pattern], data=None)
    expected = naive_match(pattern, event)
    assert criteria.matches(event) is expected
    assert bool(criteria.explain(event)) is not expected


NESTED = st.recursive(
    st.sampled_from([1, 2]), lambda inner: st.dictionaries(st.sampled_from("bc"), inner) | st.lists(inner), max_leaves=14
)
CONSISTENT = st.lists(
    st.tuples(st.sampled_from(["a.b", "a.c", "a.b.c", "a.b.b", "a.c.b"]), st.sampled_from(["[1]", "[2]", '[{"exists":false}]'])),
    min_size=2,
    max_size=4,
    unique_by=lambda field: field[0],
).map(lambda fields: "{" + ",".join(f'"{path}":{wanted}' for path, wanted in fields) + "}")


@settings(max_examples=500, deadline=None)
@given(pattern=CONSISTENT, inner=st.lists(NESTED, max_size=4))
def test_flt_53_lists_in_lists_are_consistent_as_in_the_naive_matcher(pattern: str, inner: list[Any]) -> None:
    event = {"a": inner}
    assert FilterCriteria.compile([pattern], data=None).matches(event) is naive_match(pattern, event)


JUNK = st.text(alphabet='{}[]":,.$ab01-eE\\utrfn', max_size=40)


@settings(max_examples=400, deadline=None)
@given(text=JUNK | PATTERNS.flatmap(lambda text: st.integers(0, len(text)).map(lambda cut: text[:cut])))
def test_whatever_the_text_of_a_pattern_is_it_compiles_or_is_refused_at_a_place_in_it(text: str) -> None:
    try:
        FilterCriteria.compile([text], data=None)
    except FilterError as error:
        place = error.offset
    else:
        assert isinstance(json.loads(text), dict)
        return
    assert 0 <= place <= len(text)
