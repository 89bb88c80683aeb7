"""FilterCriteria by rule of `spec/filtering.md`."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from runtime.core.filtering import FilterCriteria, FilterError


@dataclass(frozen=True)
class Data:
    key: str
    plain_text: bool


BODY = Data("body", plain_text=True)
STREAM_DATA = Data("data", plain_text=False)
IMAGES = Data("dynamodb", plain_text=False)
MISSING: dict[str, Any] = {}


def matches(pattern: str, event: dict[str, Any], data: Data | None = None) -> bool:
    return FilterCriteria.compile([pattern], data=data).matches(event)


def refused(pattern: str, data: Data | None = None) -> FilterError:
    with pytest.raises(FilterError) as caught:
        FilterCriteria.compile([pattern], data=data)
    return caught.value


ROSES = '{"d":{"h":{"S":[{"anything-but":["roses"]},{"exists":false}]}}}'
EITHER = '{"d":{"$or":[{"c":[{"numeric":[">",0]}]},{"d":[{"numeric":["<",10]}]}]}}'


class TestVectors:
    """Section 6, word for word."""

    @pytest.mark.parametrize(
        ("pattern", "event", "expected"),
        [
            ('{"s":[""]}', {"s": ""}, True),
            ('{"r":[null]}', {"r": None}, True),
            ('{"r":[null]}', {"r": "null"}, False),
            ('{"r":[null]}', {"r": []}, False),
            ('{"b":[false]}', {"b": False}, True),
            ('{"b":[false]}', {"b": True}, False),
            ('{"n":[300]}', {"n": 300.0}, True),
            ('{"n":[{"numeric":[">",100]}]}', {"n": 101.0}, True),
            ('{"n":[{"numeric":[">",100]}]}', {"n": "300"}, False),
            ('{"n":[{"numeric":[">",100]}]}', {"n": None}, False),
            ('{"c":[{"numeric":[">",0,"<=",5]}]}', {"c": 3}, True),
            ('{"c":[{"numeric":[">",0,"<=",5]}]}', {"c": 42}, False),
            ('{"s":[{"anything-but":"a"}]}', {"s": "b"}, True),
            ('{"s":[{"anything-but":"a"}]}', {"s": "a"}, False),
            ('{"s":[{"anything-but":"a"}]}', {"s": None}, True),
            ('{"s":[{"anything-but":"a"}]}', MISSING, False),
            ('{"x":[{"anything-but":[100,200]}]}', {"x": 999}, True),
            ('{"x":[{"anything-but":[100,200]}]}', {"x": 100}, False),
            ('{"s":[{"prefix":""}]}', {"s": "any string"}, True),
            ('{"f":[{"suffix":".PNG"}]}', {"f": "image.png"}, False),
            ('{"t":[{"equals-ignore-case":"ab"}]}', {"t": ["AB"]}, True),
            ('{"d":{"k":[{"exists":true}]}}', {"d": {"k": {"S": "v"}}}, False),
            ('{"d":{"k":{"S":[{"exists":true}]}}}', {"d": {"k": {"S": "v"}}}, True),
            (ROSES, {"d": {"h": {"S": "ABCD"}}}, True),
            (ROSES, {"d": {}}, True),
            (ROSES, {"d": {"h": {}}}, True),
            (ROSES, {"d": {"h": {"S": "roses"}}}, False),
            ('{"d":{"automations":{"id":[{"exists":true}]}}}', {"d": {"automations": [{"a": 1}, {"id": "x"}]}}, True),
            (EITHER, {"d": {"c": 0, "d": 0}}, True),
            (EITHER, {"d": {"c": 0, "d": 10}}, False),
            ('{"d":{"l":[{"prefix":"us-"}],"l":[{"anything-but":"us-east"}]}}', {"d": {"l": "eu-central-1"}}, True),
        ],
    )
    def test_a_valid_pattern_matches_as_recorded(self, pattern: str, event: dict[str, Any], expected: bool) -> None:
        assert matches(pattern, event) is expected

    @pytest.mark.parametrize(
        "pattern",
        [
            '{"c":[{"numeric":10}]}',
            '{"c":[{"numeric":[">",0,">",0]}]}',
            '{"c":[{"numeric":[">",0,"<"]}]}',
            '{"s":[{"anything-but":null}]}',
            '{"s":[{"anything-but":["a",null]}]}',
            '{"s":[{"prefix":123}]}',
            '{"s":[{"prefix":["a"]}]}',
            '{"s":[{"suffix":123}]}',
            '{"k":"v"}',
            '{"k":[]}',
            '{"k":[{"EXISTS":true}]}',
        ],
    )
    def test_an_invalid_pattern_is_refused_with_the_text_of_aws(self, pattern: str) -> None:
        assert str(refused(pattern)).startswith("Invalid filter pattern definition. ")


class TestGrammar:
    @pytest.mark.parametrize(
        ("rule", "pattern", "path", "line", "column"),
        [
            ("FLT-04", "null", "", 1, 1),
            ("FLT-04", "simple string", "", 1, 1),
            ("FLT-04", '{"eventSource":"aws:sqs"}', "eventSource", 1, 16),
            ("FLT-04", '{"eventSource":[]}', "eventSource", 1, 16),
            ("FLT-04", '{"eventSource":["aws:sqs"]', "", 1, 27),
            ("FLT-01", "", "", 1, 1),
            ("FLT-01", " \n ", "", 1, 1),
            ("FLT-30", "[]", "", 1, 1),
            ("FLT-30", "{}", "", 1, 1),
            ("FLT-30", '{"a":{}}', "a", 1, 6),
            ("FLT-30", '{"a":1}', "a", 1, 6),
            ("FLT-30", '{\n  "a": {\n    "b": true}}', "a.b", 3, 10),
            ("FLT-31", '{"a":["x",["y"]]}', "a[1]", 1, 11),
            ("FLT-31", '{"a":[{"prefix":"x","suffix":"y"}]}', "a[0]", 1, 7),
            ("FLT-31", '{"a":[{}]}', "a[0]", 1, 7),
            ("FLT-32", '{"a":[{"NUMERIC":["=",1]}]}', "a[0]", 1, 7),
            ("FLT-43", '{"a":[{"prefix":null}]}', "a[0].prefix", 1, 17),
            ("FLT-45", '{"a":[{"equals-ignore-case":["x"]}]}', "a[0].equals-ignore-case", 1, 29),
            ("FLT-45", '{"a":[{"equals-ignore-case":{"prefix":"x"}}]}', "a[0].equals-ignore-case", 1, 29),
            ("FLT-46", '{"a":[{"anything-but":[]}]}', "a[0].anything-but", 1, 23),
            ("FLT-46", '{"a":[{"anything-but":["a",1]}]}', "a[0].anything-but", 1, 23),
            ("FLT-46", '{"a":[{"anything-but":true}]}', "a[0].anything-but", 1, 23),
            ("FLT-46", '{"a":[{"anything-but":[1,true]}]}', "a[0].anything-but", 1, 23),
            ("FLT-46", '{"a":[{"anything-but":[["a"]]}]}', "a[0].anything-but", 1, 23),
            ("FLT-47", '{"a":[{"numeric":[]}]}', "a[0].numeric", 1, 18),
            ("FLT-47", '{"a":[{"numeric":["<",0,">",5]}]}', "a[0].numeric", 1, 18),
            ("FLT-47", '{"a":[{"numeric":["!=",0]}]}', "a[0].numeric", 1, 19),
            ("FLT-47", '{"a":[{"numeric":[1,0]}]}', "a[0].numeric", 1, 19),
            ("FLT-47", '{"a":[{"numeric":["=","0"]}]}', "a[0].numeric", 1, 23),
            ("FLT-47", '{"a":[{"numeric":["=",true]}]}', "a[0].numeric", 1, 23),
            ("FLT-47", '{"a":[{"numeric":[">",5,"<",5]}]}', "a[0].numeric", 1, 18),
            ("FLT-47", '{"a":[{"numeric":[[],0]}]}', "a[0].numeric", 1, 19),
            ("FLT-48", '{"a":[{"exists":"true"}]}', "a[0].exists", 1, 17),
            ("FLT-48", '{"a":[{"exists":[true]}]}', "a[0].exists", 1, 17),
            ("FLT-50", '{"$or":{"a":["x"]}}', "$or", 1, 8),
            ("FLT-50", '{"$or":[{"a":["x"]}]}', "$or", 1, 8),
            ("FLT-50", '{"$or":[{"a":["x"]},"b"]}', "$or", 1, 21),
            ("FLT-50", '{"$or":[{"a":["x"]},{"c":{"prefix":["x"]}}]}', "c.prefix", 1, 27),
            ("FLT-50", '{"$or":[{"a":["x"]},{}]}', "", 1, 21),
            ("FLT-51", '{"a":[{"prefix":{"suffix":"x"}}]}', "a[0].prefix", 1, 17),
            ("FLT-51", '{"a":[{"anything-but":{"prefix":""}}]}', "a[0].anything-but.prefix", 1, 33),
            ("FLT-51", '{"a":[{"anything-but":{"suffix":["x",""]}}]}', "a[0].anything-but.suffix", 1, 33),
            ("FLT-51", '{"a":[{"anything-but":{"prefix":1}}]}', "a[0].anything-but.prefix", 1, 33),
            ("FLT-51", '{"a":[{"anything-but":{"prefix":["x",1]}}]}', "a[0].anything-but.prefix", 1, 33),
            ("FLT-51", '{"a":[{"anything-but":{"prefix":{"equals-ignore-case":"x"}}}]}', "a[0].anything-but.prefix", 1, 33),
            ("FLT-51", '{"a":[{"anything-but":{"exists":true}}]}', "a[0].anything-but", 1, 23),
            ("FLT-51", '{"a":[{"wildcard":"a**b"}]}', "a[0].wildcard", 1, 19),
            ("FLT-51", '{"a":[{"wildcard":"a\\\\b"}]}', "a[0].wildcard", 1, 19),
            ("FLT-51", '{"a":[{"wildcard":"a\\\\"}]}', "a[0].wildcard", 1, 19),
            ("FLT-51", '{"a":[{"cidr":"10.0.0.0"}]}', "a[0].cidr", 1, 15),
            ("FLT-51", '{"a":[{"cidr":"10.0.0.0/32"}]}', "a[0].cidr", 1, 15),
            ("FLT-51", '{"a":[{"cidr":"x/8"}]}', "a[0].cidr", 1, 15),
            ("JSON", '{"a":["x"],}', "", 1, 12),
            ("JSON", '{"a":["x",]}', "", 1, 11),
            ("JSON", '{"a" ["x"]}', "", 1, 6),
            ("JSON", '{"a":["x" "y"]}', "", 1, 11),
            ("JSON", "{'a':['x']}", "", 1, 2),
            ("JSON", '{"a":["x"]} {}', "", 1, 13),
            ("JSON", '{"a":[NaN]}', "", 1, 7),
            ("JSON", '{"a":[1e999]}', "", 1, 7),
            ("JSON", '{"a":[01]}', "", 1, 8),
            ("JSON", '{"a":["\n"]}', "", 1, 8),
            ("JSON", '{"a":', "", 1, 6),
        ],
    )
    def test_what_is_wrong_is_told_with_its_place(self, rule: str, pattern: str, path: str, line: int, column: int) -> None:
        error = refused(pattern)
        assert (error.path, error.line, error.column) == (path, line, column), (rule, str(error))
        assert f"line {line}, column {column} of the pattern" in str(error)

    def test_flt_01_a_pattern_has_at_most_4096_characters(self) -> None:
        begin, end = '{"a":["', '"]}'
        longest = begin + "x" * (4096 - len(begin + end)) + end
        assert matches(longest, {"a": "x" * 4086})
        assert "4097 characters" in str(refused(longest.replace('"x', '"xx')))

    @pytest.mark.parametrize(
        "pattern",
        [
            '{"a":' * 101 + '["x"]' + "}" * 101,
            '{"' + ".".join(["a"] * 102) + '":["x"]}',
            '{"a":' + "[" * 2000,
        ],
    )
    def test_what_is_nested_too_deep_is_refused_and_not_a_crash(self, pattern: str) -> None:
        assert "100" in str(refused(pattern))

    def test_the_deepest_pattern_works(self) -> None:
        event: Any = "x"
        for _ in range(100):
            event = {"a": event}
        assert matches('{"a":' * 100 + '["x"]' + "}" * 100, event)
        assert matches('{"' + ".".join(["a"] * 100) + '":["x"]}', event)

    def test_or_makes_at_most_a_thousand_alternatives(self) -> None:
        either = '"$or":[{"a":[1]},{"b":[1]}]'
        assert matches("{" + ",".join([either] * 9) + "}", {"a": 1, "b": 1})
        assert "1000 alternatives" in str(refused("{" + ",".join([either] * 10) + "}"))

    def test_flt_33_field_names_are_case_sensitive(self) -> None:
        assert not matches('{"Kind":["x"]}', {"kind": "x"})

    def test_without_filters_there_are_no_criteria(self) -> None:
        with pytest.raises(ValueError, match="no filters"):
            FilterCriteria.compile([], data=None)


class TestOperators:
    @pytest.mark.parametrize(
        ("wanted", "yes", "no"),
        [
            ('["text"]', ["text"], ["Text", "text ", "", None, 0, True]),
            ('[""]', [""], [None, "x", 0, False]),
            ('["\\u00e9", "\\ud83d\\ude00"]', ["é", "😀"], ["e\u0301", "?"]),
            ("[true]", [True], ["true", 1, 1.0, False, None]),
            ("[null]", [None], ["null", "", 0, False]),
            ("[1]", [1, 1.0], [True, "1", None, 2]),
            ("[3.0e2]", [300, 300.0], ["3.0e2", "300"]),
            ("[0]", [0, 0.0, -0.0], [False, None, ""]),
            ("[9007199254740993]", [9007199254740993], [9007199254740992]),
            ('[1, "x", null, true]', [1, "x", None, True], [2, "y", False, 0]),
            ('[{"prefix":"ab"}]', ["ab", "abc"], ["Abc", "xab", None, 1]),
            ('[{"prefix":""}]', ["", "x"], [None, 0, True]),
            ('[{"suffix":"ab"}]', ["ab", "xab"], ["xaB", "abx", None, 1]),
            ('[{"equals-ignore-case":"Straße 1"}]', ["STRASSE 1", "straße 1", "STRAßE 1"], ["strase 1", "Straße 12", None]),
            ('[{"equals-ignore-case":""}]', [""], ["x", None]),
            ('[{"equals-ignore-case":"a.c"}]', ["A.C"], ["abc", "a.c\n"]),
            ('[{"anything-but":"a"}]', ["b", "A", "", None, 1, True], ["a"]),
            ('[{"anything-but":["a","b"]}]', ["c", None, 1], ["a", "b"]),
            ('[{"anything-but":1}]', [2, "1", True, None], [1, 1.0]),
            ('[{"anything-but":[1,0]}]', [2, "1", True, False, None], [1, 0.0]),
            ('[{"numeric":["=",3.5]}]', [3.5], ["3.5", 3, None, True]),
            ('[{"numeric":["=",1]}]', [1, 1.0], [True, "1"]),
            ('[{"numeric":["<",1]}]', [0.99, -5], [1, False, "0", None]),
            ('[{"numeric":["<=",1]}]', [1, 1.0, -5], [1.01, True, "0", None]),
            ('[{"numeric":[">",0]}]', [0.01], [0, True, "1", None]),
            ('[{"numeric":[">=",0]}]', [0, 5e30], [-1, True, "1", None]),
            ('[{"numeric":[">=",0,"<",5]}]', [0, 4.99], [5, -0.1, True]),
            ('[{"exists":true}]', ["", None, 0, False], []),
            ('[{"exists":true},{"prefix":"x"}]', ["y"], []),
            ('[{"prefix":{"equals-ignore-case":"aB"}}]', ["ABc", "ab"], ["xab", None]),
            ('[{"suffix":{"equals-ignore-case":"aB"}}]', ["cAB", "ab"], ["abx", "ab\n", None]),
            ('[{"suffix":{"equals-ignore-case":""}}]', ["x", ""], [None]),
            ('[{"anything-but":{"prefix":"ab"}}]', ["xab", None, 1], ["abc"]),
            ('[{"anything-but":{"prefix":["a","b"]}}]', ["c", None], ["a1", "b1"]),
            ('[{"anything-but":{"suffix":"ab"}}]', ["abx", None], ["xab"]),
            ('[{"anything-but":{"equals-ignore-case":["ab","x"]}}]', ["abc", None], ["AB", "X"]),
            ('[{"anything-but":{"wildcard":"*.jar"}}]', ["a.war", None], ["a.jar"]),
            ('[{"wildcard":"a*b"}]', ["ab", "axxb", "a\nb"], ["abc", "xab", "a", None, 1]),
            ('[{"wildcard":"*a*b*"}]', ["ab", "xaxbx"], ["ba", "a"]),
            ('[{"wildcard":"aa*aa"}]', ["aaaa", "aaxaa"], ["aaa"]),
            ('[{"wildcard":"x*ab*ab*y"}]', ["xababy", "xab-ab-y"], ["xaby", "xabay"]),
            ('[{"wildcard":"a\\\\*\\\\\\\\"}]', ["a*\\"], ["axx", "a*"]),
            ('[{"wildcard":"*"}]', ["", "x"], [None]),
            ('[{"cidr":"10.0.0.0/8"}]', ["10.1.2.3"], ["11.0.0.1", "x", "10.1.2", 167772161, None, "::1"]),
            ('[{"cidr":"2001:db8::/32"}]', ["2001:db8::1"], ["2001:db9::1", "2001:db8::1%eth0", "10.0.0.1"]),
        ],
    )
    def test_flt_40_to_51_an_operator_takes_what_it_says(self, wanted: str, yes: list[Any], no: list[Any]) -> None:
        criteria = FilterCriteria.compile([f'{{"f":{wanted}}}'], data=None)
        assert [value for value in yes if not criteria.matches({"f": value})] == []
        assert [value for value in no if criteria.matches({"f": value})] == []
        assert [value for value in yes if not criteria.matches({"f": ["other", {}, value]})] == []  # FLT-52

    @pytest.mark.parametrize("wanted", ['{"exists":true}', '{"anything-but":"x"}', '{"prefix":""}', "null", '""'])
    @pytest.mark.parametrize("event", [{}, {"f": {}}, {"f": {"g": 1}}, {"f": []}, {"f": [[]]}, {"f": [{}]}])
    def test_flt_48_and_54_where_no_leaf_is_only_absence_matches(self, wanted: str, event: dict[str, Any]) -> None:
        assert not matches(f'{{"f":[{wanted}]}}', event)
        assert matches(f'{{"f":[{wanted},{{"exists":false}}]}}', event)

    def test_flt_51_the_operators_that_lambda_does_not_list_are_named(self) -> None:
        lambdas = '{"a":["x",1,{"prefix":"x"},{"suffix":"x"},{"equals-ignore-case":"x"},{"anything-but":"x"},{"exists":true}]}'
        assert FilterCriteria.compile([lambdas], data=None).foreign == ()
        more = (
            '{"a":[{"wildcard":"*"},{"cidr":"10.0.0.0/8"},{"anything-but":{"suffix":"x"}},{"prefix":{"equals-ignore-case":"x"}}]}'
        )
        expected = ("wildcard", "cidr", "anything-but with suffix", "prefix with equals-ignore-case")
        assert FilterCriteria.compile([more, more], data=None).foreign == expected


class TestMatching:
    def test_flt_03_filters_are_ored_and_fields_are_anded(self) -> None:
        criteria = FilterCriteria.compile(['{"a":["x"],"b":["y"]}', '{"c":["z"]}'], data=None)
        assert criteria.matches({"a": "x", "b": "y"})
        assert criteria.matches({"c": "z"})
        assert not criteria.matches({"a": "x", "b": "z"})

    @pytest.mark.parametrize(
        ("pattern", "event", "expected"),
        [
            ('{"a":{"b":[1],"c":[2]}}', {"a": [{"b": 1, "c": 2}]}, True),
            ('{"a":{"b":[1],"c":[2]}}', {"a": [{"b": 1, "c": 3}, {"b": 3, "c": 2}]}, False),
            ('{"a":{"b":[1],"c":[2]}}', {"a": [{"b": 1}, {"c": 2}]}, False),
            ('{"a":{"b":[1]},"d":{"c":[2]}}', {"a": [{}, {"b": 1}], "d": [{"c": 2}]}, True),
            ('{"a":{"b":{"c":[1],"d":[2]}}}', {"a": [{"b": [{"c": 1}, {"d": 2}]}, {"b": [{"c": 1, "d": 2}]}]}, True),
            ('{"a":{"b":{"c":[1]},"d":[2]}}', {"a": [{"b": [{"c": 1}]}, {"d": 2}]}, False),
            ('{"a":{"b":[1]}}', {"a": [[{"b": 2}], [{"b": 1}]]}, True),
            ('{"a":[1,2]}', {"a": [[3], [2]]}, True),
            ('{"a":{"b":[{"exists":false}]}}', {"a": [{"c": 1}, {"b": 1}]}, False),
            ('{"a":{"b":[1],"c":[{"exists":false}]}}', {"a": [{"b": 2, "c": 1}, {"b": 1}]}, True),
            ('{"a":{"b":[1],"c":[{"exists":false}]}}', {"a": [{"b": 1, "c": 1}, {"b": 2}]}, False),
            ('{"a":{"b":[{"exists":false}],"c":[1]}}', {"a": [{"c": 1}, {"b": 1}]}, False),
        ],
    )
    def test_flt_53_fields_of_one_list_match_in_one_member(self, pattern: str, event: dict[str, Any], expected: bool) -> None:
        assert matches(pattern, event) is expected

    @pytest.mark.parametrize(
        ("pattern", "event", "expected"),
        [
            ('{"state.status":["on"]}', {"state": {"status": "on"}}, True),
            ('{"state":{"status":["on"]}}', {"state.status": "on"}, True),
            ('{"a.b":{"c":["on"]}}', {"a": {"b.c": "on"}}, True),
            ('{"a":{"b":{"c":["on"]}}}', {"a.b.c": "off", "a.b": {"c": "on"}}, True),
            ('{"state.status":{"status":["on"]}}', {"state": {"status": "on"}}, False),
            ('{"a":{"b":[{"exists":false}]}}', {"a": {}, "a.b": 1}, False),
            ('{"a.b":[1],"a":{"b":[2]}}', {"a": {"b": 2}}, True),
            ('{"a..b":[1]}', {"a": {"": {"b": 1}}}, True),
        ],
    )
    def test_flt_58_paths_are_compared_joined_with_dots(self, pattern: str, event: dict[str, Any], expected: bool) -> None:
        assert matches(pattern, event) is expected

    def test_flt_59_objects_under_one_key_merge(self) -> None:
        pattern = '{"dynamodb":{"NewImage":{"s":{"S":["a"]}}},"dynamodb":{"OldImage":{"s":{"S":["b"]}}}}'
        new, old = {"NewImage": {"s": {"S": "a"}}}, {"OldImage": {"s": {"S": "b"}}}
        assert matches(pattern, {"dynamodb": {**new, **old}}, IMAGES)
        assert not matches(pattern, {"dynamodb": new}, IMAGES)
        assert not matches(pattern, {"dynamodb": old}, IMAGES)

    @pytest.mark.parametrize(
        ("pattern", "event", "expected"),
        [
            ('{"s":["x"],"$or":[{"a":[1]},{"b":[2]}]}', {"s": "x", "b": 2}, True),
            ('{"$or":[{"a":[1]},{"b":[2]}],"s":["x"]}', {"s": "y", "b": 2}, False),
            ('{"$or":[{"a":[1],"c":[3]},{"b":[2]}]}', {"a": 1}, False),
            ('{"$or":[{"a":[1]},{"b":[2],"$or":[{"c":[3]},{"d":[4]}]}]}', {"b": 2, "d": 4}, True),
            ('{"$or":[{"a":[1]},{"b":[2],"$or":[{"c":[3]},{"d":[4]}]}]}', {"b": 2}, False),
            ('{"$or":[{"a":[1]},{"b":[2]}],"x":{"$or":[{"c":[3]},{"d":[4]}]}}', {"a": 1, "x": {"d": 4}}, True),
            ('{"$or":[{"a":[1]},{"b":[2]}],"x":{"$or":[{"c":[3]},{"d":[4]}]}}', {"x": {"d": 4}}, False),
            ('{"a":{"$or":[{"b":[1]},{"c":[2]}],"d":[3]}}', {"a": [{"b": 1}, {"d": 3}]}, False),
            ('{"a":[1],"$or":[{"a":[2]},{"b":[3]}]}', {"a": 2}, True),
        ],
    )
    def test_flt_50_or_stands_anywhere_beside_others(self, pattern: str, event: dict[str, Any], expected: bool) -> None:
        assert matches(pattern, event) is expected

    def test_flt_5a_json_inside_a_text_is_text(self) -> None:
        assert not matches('{"a":{"b":[1]}}', {"a": '{"b":1}'})

    @pytest.mark.parametrize("more", ["", ',"zz":[{"exists":false}]'])
    def test_long_lists_cost_what_their_length_is_and_not_its_square(self, more: str) -> None:
        """Each of these would take hours if every member were held against every other; also where one may miss a field."""
        members = 20_000
        both = f'{{"x":[1],"y":[2]{more}}}'
        halves = [{"x": 1, "y": 0}] * members + [{"x": 0, "y": 2}] * members
        assert not matches(f'{{"a":{both}}}', {"a": halves})
        lists = {"a": [{"x": 1}] * members, "b": [{"x": 1}] * members, "c": [{"x": 1, "y": 0}, {"x": 0, "y": 2}]}
        assert not matches(f'{{"a":{{"x":[1]{more}}},"b":{{"x":[1]{more}}},"c":{both}}}', lists)
        nested = {"a": [{"b": [{"x": 1, "y": 0}] * 100 + [{"x": 0, "y": 2}] * 100, "z": 3} for _ in range(100)]}
        assert not matches(f'{{"a":{{"b":{both},"z":[3]}}}}', nested)

    def test_deep_lists_are_no_crash(self) -> None:
        deep: Any = 1
        for _ in range(50_000):
            deep = [deep]
        assert matches('{"a":[1]}', {"a": deep})


class TestData:
    """The tables of formats."""

    @pytest.mark.parametrize(
        ("body", "pattern", "expected"),
        [
            ("hello", '{"body":["hello"]}', True),
            ("hello", '{"body":[{"prefix":"x"}]}', False),
            ("hello", '{"messageId":["m"]}', True),
            ("hello", '{"body":{"a":[1]}}', False),
            ("hello", '{"body":{"a":[{"exists":false}]}}', False),
            ("hello", '{"body":{"a":[{"anything-but":"x"}]}}', False),
            ({"a": 1}, '{"body":["hello"]}', False),
            ({"a": 1}, '{"body":[{"anything-but":"hello"}]}', False),
            ({"a": 1}, '{"body":[{"exists":false}]}', False),
            ({"a": 1}, '{"body":[{"exists":true}]}', False),
            ({"a": 1}, '{"messageId":["m"]}', True),
            ({"a": 1}, '{"body":{"a":[1]}}', True),
            ({"a": 1}, '{"body":{"b":[{"exists":false}]}}', True),
            ({"a": 1}, '{"body":{"a":[2]}}', False),
            ("hello", '{"$or":[{"body":{"a":[{"exists":false}]}},{"messageId":["m"]}]}', True),
            ("hello", '{"$or":[{"body":{"a":[{"exists":false}]}},{"messageId":["n"]}]}', False),
            ("hello", '{"body":{"$or":[{"a":[{"exists":false}]},{"b":[1]}]}}', False),
            ({"a": 1}, '{"$or":[{"body":["hello"]},{"body":{"a":[1]}}]}', True),
            ("hello", '{"$or":[{"body":["hello"]},{"body":{"a":[1]}}]}', True),
            ("hello", '{"body":["hello"],"body.a":[{"exists":false}]}', False),
            ({"a": 1}, '{"body":[{"exists":false}],"body.a":[1]}', False),
        ],
    )
    def test_flt_20_of_a_queue(self, body: Any, pattern: str, expected: bool) -> None:
        assert matches(pattern, {"messageId": "m", "body": body}, BODY) is expected

    @pytest.mark.parametrize(
        ("view", "pattern", "expected"),
        [
            ({"data": {"a": 1}}, '{"data":{"a":[1]}}', True),
            ({"data": {"a": 1}}, '{"data":{"a":[2]}}', False),
            ({"data": {"a": 1}, "eventName": "x"}, '{"eventName":["x"]}', True),
            ({"eventName": "x"}, '{"eventName":["x"]}', True),
            ({"eventName": "x"}, '{"data":{"a":[1]}}', False),
            ({"eventName": "x"}, '{"data":{"a":[{"exists":false}]}}', False),
            ({"eventName": "x"}, '{"eventName":["x"],"data":{"a":[{"exists":false}]}}', False),
        ],
    )
    def test_flt_21_of_a_stream(self, view: dict[str, Any], pattern: str, expected: bool) -> None:
        assert matches(pattern, view, STREAM_DATA) is expected

    @pytest.mark.parametrize("pattern", ['{"data":["x"]}', '{"data":[{"exists":false}]}', '{"$or":[{"data":["x"]},{"a":[1]}]}'])
    def test_flt_21_a_plain_pattern_for_the_data_of_a_stream_is_refused(self, pattern: str) -> None:
        error = refused(pattern, STREAM_DATA)
        assert error.path == "data"
        assert "no plain text" in str(error)

    def test_flt_26_one_filter_with_a_mismatch_does_not_spoil_the_others(self) -> None:
        criteria = FilterCriteria.compile(['{"body":{"a":[1]}}', '{"body":["hello"]}'], data=BODY)
        assert criteria.matches({"body": "hello"})
        assert criteria.matches({"body": {"a": 1}})

    def test_flt_15_and_16_numbers_of_dynamodb_are_texts_below_their_type(self) -> None:
        view = {"dynamodb": {"NewImage": {"n": {"N": "101"}, "k": {"S": "v"}}}, "eventName": "INSERT"}
        assert not matches('{"dynamodb":{"NewImage":{"n":{"N":[{"numeric":[">",100]}]}}}}', view, IMAGES)
        assert matches('{"dynamodb":{"NewImage":{"n":{"N":["101"]}}}}', view, IMAGES)
        assert not matches('{"dynamodb":{"NewImage":{"k":["v"]}}}', view, IMAGES)
        assert matches('{"eventName":["INSERT","MODIFY"]}', view, IMAGES)

    def test_the_fields_that_views_must_have_are_known(self) -> None:
        criteria = FilterCriteria.compile(['{"dynamodb":{"NewImage":{"k":{"S":["v"]}}},"eventName":["INSERT"]}'], data=IMAGES)
        assert criteria.fields == {"dynamodb", "dynamodb.NewImage", "eventName"}
        assert FilterCriteria.compile(['{"body.a.b":[1]}'], data=BODY).fields == {"body", "body.a"}


class TestExplaining:
    @pytest.mark.parametrize(
        ("pattern", "view", "expected"),
        [
            ('{"body":{"kind":["order"]}}', {"body": {"kind": "refund"}}, 'body.kind is "refund", wanted "order"'),
            ('{"body":{"kind":["order"]}}', {"body": {}}, 'body.kind is missing, wanted "order"'),
            ('{"body":{"kind":["order"]}}', {"body": {"kind": {}}}, 'body.kind is an object, wanted "order"'),
            ('{"body":{"kind":["order"]}}', {"body": {"kind": []}}, 'body.kind is an empty list, wanted "order"'),
            ('{"body":{"kind":["order"]}}', {"body": {"kind": [{}]}}, 'body.kind has no value, wanted "order"'),
            ('{"body":{"kind":["order"]}}', {"body": "x"}, "body is no JSON object, and the pattern wants fields of one"),
            ('{"body":{"kind":["order"]}}', {}, "body is not there as JSON"),
            ('{"body":["x"]}', {"body": {}}, "body is a JSON object, and the pattern wants a plain text there"),
            ('{"body":["x"],"body.a":[1]}', {"body": {}}, "the pattern wants body to be a text and an object at once"),
            ('{"a":[{"exists":false}]}', {"a": None}, "a is null, wanted no value at all"),
            ('{"a":["x",{"numeric":[">",1,"<=",5]}]}', {"a": [0, 9]}, 'a is 0, 9, wanted "x" or a number > 1 and <= 5'),
            ('{"a":[1]}', {"a": [2, 3, 4, 5]}, "a is 2, 3, 4, ..., wanted 1"),
            ('{"a":["x"]}', {"a": "y" * 100}, f'a is "{"y" * 59}..., wanted "x"'),
            ('{"a":[1],"b":[2],"c":[3],"d":[4]}', {"a": 1}, "b is missing, wanted 2, and c is missing, wanted 3, and d is missing, wanted 4"),
            ('{"a":[1],"b":[2],"c":[3],"d":[4]}', {}, "a is missing, wanted 1, and b is missing, wanted 2, and c is missing, wanted 3, and 1 more"),
            ('{"a":{"b":[1],"c":[2]}}', {"a": [{"b": 1}, {"c": 2}]}, "a.b and a.c match one by one, but not in the same member of a list"),
            ('{"$or":[{"a":[1]},{"b":[2]}]}', {"b": 3}, "a is missing, wanted 1; or b is 3, wanted 2"),
            ('{"$or":[{"a":[1]},{"b":[2]},{"c":[2]},{"d":[2]},{"e":[2]},{"f":[2]}]}', {}, "a is missing, wanted 1; or b is missing, wanted 2; or c is missing, wanted 2; or d is missing, wanted 2; or 2 more reasons"),
        ],
    )  # fmt: skip
    def test_a_line_says_what_stood_there_and_what_was_wanted(self, pattern: str, view: dict[str, Any], expected: str) -> None:
        assert FilterCriteria.compile([pattern], data=BODY).explain(view) == (f"filter 1: {expected}",)

    def test_only_filters_that_did_not_match_have_a_line(self) -> None:
        criteria = FilterCriteria.compile(['{"a":[1]}', '{"a":[2]}', '{"a":[3]}'], data=None)
        assert criteria.explain({"a": 2}) == ("filter 1: a is 2, wanted 1", "filter 3: a is 2, wanted 3")

    def test_criteria_are_equal_when_their_patterns_are(self) -> None:
        one, same, other = (FilterCriteria.compile([json.dumps({"a": [n]})], data=None) for n in (1, 1, 2))
        assert one == same
        assert one != other
        assert one.patterns == ('{"a": [1]}',)
