"""A template's file: YAML and JSON, short forms, aliases, and what cannot be read."""

from pathlib import Path
from typing import Any

import pytest

from runtime.config import ConfigError
from runtime.importing.reading import Source, read_source


def read(folder: Path, content: str | bytes, name: str = "template.yaml") -> Source:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_source(file)


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(ConfigError) as raised:
        read(folder, content)
    return "; ".join(f"{each.line}: {each.message}" for each in raised.value.problems)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!Ref x", {"Ref": "x"}),
        ("!GetAtt a.b", {"Fn::GetAtt": ["a", "b"]}),
        ("!GetAtt a.Outputs.b", {"Fn::GetAtt": ["a", "Outputs.b"]}),
        ("!GetAtt [a, b]", {"Fn::GetAtt": ["a", "b"]}),
        ("!Sub '${x}'", {"Fn::Sub": "${x}"}),
        ("!Join [':', [a, !Ref b]]", {"Fn::Join": [":", ["a", {"Ref": "b"}]]}),
        ("!Condition x", {"Condition": "x"}),
        ("!If [a, !Ref 'AWS::NoValue', 1]", {"Fn::If": ["a", {"Ref": "AWS::NoValue"}, 1]}),
        ("012345678901", "012345678901"),
        ("2010-09-09", "2010-09-09"),
        ("12:30", "12:30"),
        ("1e3", "1e3"),
        ("5", 5),
        ("-1", -1),
        ("0.5", 0.5),
        ("true", True),
        ("yes", "yes"),
        ("'5'", "5"),
        ("~", None),
        ("", None),
    ],
)
def test_values_are_what_cloudformation_takes_them_for(text: str, expected: Any, tmp_path: Path) -> None:
    found = read(tmp_path, f"a: {text}\n").root["a"]
    assert found == expected
    assert type(found) in (bool, int, float, str, type(None)) or found.lines  # type: ignore[union-attr]  # containers have lines


def test_lines_are_those_of_keys_and_items(tmp_path: Path) -> None:
    root = read(tmp_path, "a:\n  b:\n    - x\n    - y\n  c: 1\n").root
    assert root.line("a", 0) == 1
    assert root.block("a").line("c", 0) == 5
    items = root.block("a")["b"]
    assert items.lines == (3, 4)  # type: ignore[union-attr]  # a list


def test_merge_keys_are_followed_and_keep_the_lines_of_their_origin(tmp_path: Path) -> None:
    root = read(tmp_path, "a: &a {x: 1, y: 2}\nb: &b\n  y: 3\nc:\n  <<: [*b, *a]\n  z: 4\n").root
    assert root["c"] == {"x": 1, "y": 3, "z": 4}
    assert [root.block("c").line(key, 0) for key in "xyz"] == [1, 3, 6]


def test_a_key_that_is_given_twice_is_told(tmp_path: Path) -> None:
    source = read(tmp_path, "a: 1\nb: 2\na: 3\n")
    assert source.root["a"] == 3
    assert [str(each) for each in source.notes] == [
        f"{tmp_path}/template.yaml:3: the key a is given twice, first on line 1: this one counts"
    ]


def test_json_may_have_tabs_and_characters_in_two_halves(tmp_path: Path) -> None:
    source = read(tmp_path, '{\n\t"a": "\\ud83d\\ude00 \\u00e9 \\/ \\\\ud83d",\n\t"b": [1, true, null]\n}', "template.json")
    assert source.root == {"a": "\U0001f600 é / \\ud83d", "b": [1, True, None]}
    assert source.root.line("b", 0) == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "1: the file is empty: it needs `Resources`"),
        ("- a\n- b\n", "1: the file is no block of keys and values"),
        ("just text\n", "1: the file is no block"),
        ("a: [1\n", "this is not YAML"),
        ("a:\n\tb: 1\n", "2: a tab"),
        ("a: *nowhere\n", "1: this is not YAML: found undefined alias"),
        (b"a: \xff\n", "1: the file is not UTF-8"),
        (b"a: \x01\n", "is not allowed"),
        ("? [a, b]\n: c\n", "1: a list or a block stands as a key"),
        ("a:\n  <<: 5\n", "2: << must name a block"),
        ("a: &a [*a]\n", "1: the file is nested too deeply to be read, or an alias names what it stands in"),
        ("a: &a\n  <<: *a\n", "1: the file is nested too deeply to be read, or an alias names what it stands in"),
        ("[" * 100_000, "nested too deeply"),
        ("a: " + "[" * 400 + "]" * 400, "nested too deeply"),
        ("".join(" " * n + "a:\n" for n in range(1500)), "nested too deeply"),
        ("- " * 5000, "nested too deeply"),
        ("a: 1\n---\nb: 2\n", "3: a second document starts here"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(content: str | bytes, said: str, tmp_path: Path) -> None:
    assert said in refusal(tmp_path, content)


def test_aliases_of_aliases_end(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 50))]
    assert "more than 2,000,000 values" in refusal(tmp_path, "\n".join(lines))


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file: name a template"):
        read_source(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="this is a folder, not a file"):
        read_source(tmp_path)
