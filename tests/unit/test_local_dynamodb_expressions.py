"""Attribute values, conditions and updates of the embedded DynamoDB."""

from decimal import Decimal
from typing import Any

import pytest

from runtime.local.dynamodb.conditions import read_condition, read_key_tests
from runtime.local.dynamodb.tokens import Placeholders
from runtime.local.dynamodb.updates import read_update
from runtime.local.dynamodb.values import Item, is_same, number_text, order, read_item, read_value, size_of
from runtime.local.errors import Refused


def updated(item: Item, expression: str, names: dict[str, str] | None = None, values: Item | None = None) -> Item:
    placeholders = given(names, values)
    update = read_update(expression, placeholders)
    placeholders.check_all_used()
    return update.apply(item)


def holds(item: Item, expression: str, values: Item | None = None, names: dict[str, str] | None = None) -> bool:
    request: dict[str, Any] = {"ConditionExpression": expression}
    condition = read_condition(request, given(names, values))
    assert condition is not None
    return condition(item)


def given(names: dict[str, str] | None, values: Item | None) -> Placeholders:
    request: dict[str, Any] = {}
    if names is not None:
        request["ExpressionAttributeNames"] = names
    if values is not None:
        request["ExpressionAttributeValues"] = values
    return Placeholders(request)


# Values


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("101", "101"),
        ("1.50", "1.5"),
        ("-0", "0"),
        ("1e3", "1000"),
        ("007", "7"),
        ("1" * 38, "1" * 38),
        ("1E-130", f"0.{'0' * 129}1"),
    ],
)
def test_a_number_is_kept_as_dynamodb_gives_it_back(text: str, kept: str) -> None:
    """DDB-23: a number is a string."""
    assert read_value({"N": text}) == {"N": kept}


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({}, "exactly one"),
        ({"S": "a", "N": "1"}, "exactly one"),
        ({"X": "a"}, "unknown datatype X"),
        ({"N": "one"}, "numeric value: one"),
        ({"N": "NaN"}, "numeric value: NaN"),
        ({"N": "1" * 39}, "38 significant digits"),
        ({"N": "1E126"}, "Number overflow"),
        ({"N": 1}, "datatype N"),
        ({"S": 1}, "datatype S"),
        ({"B": "?"}, "not base64"),
        ({"NULL": False}, "must have the value of true"),
        ({"SS": []}, "string set may not be empty"),
        ({"NS": ["1", "1.0"]}, "contains duplicates"),
        ({"BOOL": "true"}, "datatype BOOL"),
        ("a", "map with one type"),
    ],
)
def test_what_is_no_value_is_refused(value: object, names: str) -> None:
    with pytest.raises(Refused, match=names):
        read_value(value)


def test_nesting_has_an_end() -> None:
    value: Any = {"S": "x"}
    for _ in range(32):
        value = {"L": [value]}
    assert read_value(value) == value
    with pytest.raises(Refused, match="Nesting Levels"):
        read_value({"L": [value]})


def test_sets_are_the_same_in_any_order_and_lists_are_not() -> None:
    """DDB-17: what counts as no change."""
    assert is_same({"a": {"SS": ["x", "y"]}}, {"a": {"SS": ["y", "x"]}})
    assert not is_same({"a": {"L": [{"S": "x"}, {"S": "y"}]}}, {"a": {"L": [{"S": "y"}, {"S": "x"}]}})
    assert is_same({"a": {"M": {"x": {"N": "1"}, "y": {"NULL": True}}}}, {"a": {"M": {"y": {"NULL": True}, "x": {"N": "1"}}}})
    assert not is_same({"a": {"S": "1"}}, {"a": {"N": "1"}})
    assert not is_same({}, None)
    assert is_same(None, None)


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"Id": {"N": "101"}}, 5),
        ({"Id": {"N": "101"}, "Message": {"S": "New item!"}}, 21),
        ({"Id": {"N": "101"}, "Message": {"S": "This item has changed"}}, 33),
        ({"n": {"N": "-12.5"}}, 1 + 2 + 1 + 1),
        ({"z": {"N": "0"}}, 2),
        ({"b": {"B": "Zm9vYmFy"}}, 7),
        ({"s": {"SS": ["ab", "é"]}}, 5),
        ({"l": {"L": [{"BOOL": True}, {"NULL": True}]}}, 1 + 3 + 2 + 2),
        ({"m": {"M": {"k": {"S": "v"}}}}, 1 + 3 + 1 + 2),
    ],
)
def test_the_size_of_an_item_is_counted_as_the_developer_guide_does(item: Item, size: int) -> None:
    assert size_of(item) == size


def test_values_of_a_key_have_an_order() -> None:
    assert sorted([{"N": "10"}, {"N": "-1"}, {"N": "9"}], key=order) == [{"N": "-1"}, {"N": "9"}, {"N": "10"}]
    assert order({"B": "/w=="}) > order({"B": "AA=="})
    assert order({"S": "é"}) > order({"S": "z"})


def test_an_item_is_a_map_with_names() -> None:
    with pytest.raises(Refused, match="Item must be a map"):
        read_item([], "Item")
    with pytest.raises(Refused, match="attribute name must not be empty"):
        read_item({"": {"S": "x"}}, "Item")
    assert number_text(Decimal("1E+2")) == "100"


# Updates

ITEM: Item = {
    "id": {"S": "a"},
    "n": {"N": "1"},
    "list": {"L": [{"S": "0"}, {"S": "1"}, {"S": "2"}]},
    "map": {"M": {"k": {"S": "v"}}},
}


@pytest.mark.parametrize(
    ("expression", "name", "value"),
    [
        ("SET n = :one", "n", {"N": "1"}),
        ("set n = n + :one", "n", {"N": "2"}),
        ("SET n = n - :one", "n", {"N": "0"}),
        ("SET fresh = if_not_exists(fresh, :one)", "fresh", {"N": "1"}),
        ("SET fresh = if_not_exists(n, :one) + :one", "fresh", {"N": "2"}),
        ("SET map.k = :one", "map", {"M": {"k": {"N": "1"}}}),
        ("SET list[1] = :one", "list", {"L": [{"S": "0"}, {"N": "1"}, {"S": "2"}]}),
        ("SET list[9] = :one", "list", {"L": [{"S": "0"}, {"S": "1"}, {"S": "2"}, {"N": "1"}]}),
        ("ADD n :one", "n", {"N": "2"}),
        ("ADD fresh :one", "fresh", {"N": "1"}),
        ("REMOVE list[0], list[1] SET n = :one", "list", {"L": [{"S": "2"}]}),
        ("REMOVE map.k SET n = :one", "map", {"M": {}}),
        ("REMOVE map, nothing SET n = :one", "map", None),
        ("SET list = list_append(list, list), n = :one", "list", {"L": [*ITEM["list"]["L"], *ITEM["list"]["L"]]}),
    ],
)
def test_an_update_does_what_it_says_and_leaves_the_old_item_alone(expression: str, name: str, value: Any) -> None:
    before = read_item(ITEM, "Item")
    assert updated(ITEM, expression, values={":one": {"N": "1"}}).get(name) == value
    assert before == ITEM


def test_operands_are_read_before_anything_is_set() -> None:
    item = updated(ITEM, "SET n = n + :one, was = n", values={":one": {"N": "1"}})
    assert (item["n"], item["was"]) == ({"N": "2"}, {"N": "1"})


def test_sums_keep_38_digits() -> None:
    large = "1" * 38
    item = updated({"n": {"N": large}}, "SET n = n + :one", values={":one": {"N": "1"}})
    assert item["n"] == {"N": "1" * 37 + "2"}


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("", "can not be empty"),
        ("SET", "ends too early"),
        ("SET n", "ends too early"),
        ("SET n = :two", "attribute value: :two"),
        ("SET #n = :one", "attribute name: #n"),
        ("SET n = size(n)", "does not support the function size"),
        ("SET n = nothing", "does not exist in the item"),
        ("SET id.x = :one", "document path provided"),
        ("REMOVE id[0]", "document path provided"),
        ("SET n = id + :one", "incorrect data type"),
        ("SET n = list_append(n, list)", "incorrect data type"),
        ("DELETE tags :one", 'token: "DELETE"'),
        ("ADD n id", 'token: "id"'),
        ("ADD n :text", "does not support ADD"),
        ("SET n = :one SET m = :one", "only be used once"),
        ("SET map = :one, map.k = :one", "overlap"),
        ("SET n = :one; DROP", 'token: ";"'),
        ("SET list[x] = :one", 'token: "x"'),
        ("SET 1n = :one", 'token: "1n"'),
    ],
)
def test_an_update_that_cannot_be_done_is_refused_and_says_why(expression: str, names: str) -> None:
    with pytest.raises(Refused) as refused:
        read_update(expression, given(None, {":one": {"N": "1"}, ":text": {"S": "x"}})).apply(ITEM)
    assert refused.value.shape == "ValidationException"
    assert names in refused.value.message


def test_placeholders_must_be_used_and_must_not_be_empty() -> None:
    with pytest.raises(Refused, match=r"unused in expressions: keys: \{:two\}"):
        updated(ITEM, "SET n = :one", values={":one": {"N": "1"}, ":two": {"N": "2"}})
    with pytest.raises(Refused, match="ExpressionAttributeNames unused"):
        updated(ITEM, "REMOVE n", names={"#n": "n"})
    with pytest.raises(Refused, match="must not be empty"):
        given({}, None)
    with pytest.raises(Refused, match="must be a map"):
        Placeholders({"ExpressionAttributeValues": []})


# Conditions


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("attribute_exists(n)", True),
        ("attribute_not_exists(n)", False),
        ("attribute_not_exists(map.x) AND attribute_exists(list[2])", True),
        ("attribute_exists(list[3])", False),
        ("#n = :one", True),
        ("#n <> :one", False),
        ("nothing = :one", False),
        ("nothing <> :one", True),
        ("nothing < :one", False),
        ("n >= :one AND n <= :one AND NOT n > :one", True),
        ("n < :one OR id = :a", True),
        ("NOT (n = :one OR id = :a)", False),
        ("id < :one", False),
    ],
)
def test_a_condition_holds_or_does_not(expression: str, result: bool) -> None:
    assert holds(ITEM, expression, {":one": {"N": "1"}, ":a": {"S": "a"}}, {"#n": "n"}) is result


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("begins_with(id, :one)", "does not support the function begins_with"),
        ("n BETWEEN :one AND :one", 'token: "BETWEEN"'),
        ("n", "ends too early"),
        ("(n = :one", "ends too early"),
        ("n = :one n", 'token: "n"'),
    ],
)
def test_a_condition_that_is_not_supported_is_refused(expression: str, names: str) -> None:
    with pytest.raises(Refused, match="Invalid ConditionExpression") as refused:
        holds(ITEM, expression, {":one": {"N": "1"}})
    assert names in refused.value.message


def test_a_request_without_a_condition_has_none() -> None:
    assert read_condition({}, given(None, None)) is None


def test_a_key_condition_compares_top_level_attributes_with_values() -> None:
    tests = read_key_tests("id = :a and #s > :one", given({"#s": "sort"}, {":a": {"S": "a"}, ":one": {"N": "1"}}))
    assert [(test.name, test.sign) for test in tests] == [("id", "="), ("sort", ">")]
    assert [test.holds({"id": {"S": "a"}, "sort": {"N": "2"}}) for test in tests] == [True, True]
    for expression in ("begins_with(id, :a)", "id.x = :a", "id = id", "id = :a x"):
        with pytest.raises(Refused, match="Invalid KeyConditionExpression"):
            read_key_tests(expression, given(None, {":a": {"S": "a"}}))
