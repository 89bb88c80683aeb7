"""The file as YAML: what cannot be read, keys, merge keys, references to the environment, and what a scalar means."""

from pathlib import Path

import pytest

from runtime.config import ConfigError, load_config
from tests.unit.test_config_case import FUNCTIONS, MAPPINGS, QUEUE, check, load, problems_of


def problem_of_bytes(folder: Path, content: bytes) -> str:
    (folder / "esm.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load_config(folder / "esm.yaml", {})
    (problem,) = raised.value.problems
    return f"{problem.line}: {problem.message}"


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml:1: there is no such file"):
        load_config(tmp_path / "nowhere.yaml", {})


def test_a_folder_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is a folder, not a file"):
        load_config(tmp_path, {})


def test_a_path_that_cannot_be_is_a_problem() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Path("a\0b"), {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Path("a" * 5000), {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "1: the file is empty"),
        (b"# nothing yet\n", "1: the file is empty"),
        (b"---\n", "1: the file is empty"),
        (b"functions:\n  a: \xff\n", "2: the file is not UTF-8 text"),
        ("functions:\n".encode("utf-16"), "1: the file is not UTF-8 text"),
        (b"functions:\n\tone: 1\n", "2: a tab"),
        (b"functions:\n  one:\n\t  Handler: a.b\n", "3: a tab"),
        (b"functions:\n  a: @x\n", "2: this is not YAML: while scanning for the next token, found character '@'"),
        (b"functions: [\n", "1: this is not YAML"),
        (b"functions:\n  a: *b\n", "2: this is not YAML: found undefined alias 'b'"),
        (b"functions:\n  a: {Timeout: ${N:-3}}\n", "2: this is not YAML: while parsing a flow mapping"),
        (b"a: 1\nb: \x01\n", "2: the character '\\x01' is not allowed"),
        (b'a: "\\UFFFFFFFF"\n', "1: the file holds an escape or a number that YAML cannot read"),
        (b"[" * 3000, "1: the file is nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_one_problem(tmp_path: Path, content: bytes, said: str) -> None:
    assert problem_of_bytes(tmp_path, content).startswith(said)


def test_a_reference_that_yaml_cannot_take_gets_a_hint(tmp_path: Path) -> None:
    assert "${NAME} needs quotes" in problem_of_bytes(tmp_path, b"functions:\n  a: {Timeout: ${N:-3}}\n")


def test_an_ipv6_address_without_quotes_gets_a_hint(tmp_path: Path) -> None:
    assert '"[::1]:9090"' in problem_of_bytes(tmp_path, b"worker:\n  http: [::1]:9090\n")


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    check(tmp_path, "\ufeff" + FUNCTIONS + MAPPINGS)


def test_a_second_document_is_a_problem_beside_those_of_the_first(tmp_path: Path) -> None:
    check(tmp_path, "functions: 1  #! must be a block  #! mappings is missing\n---\na: 1  #! a second document\n")
    check(tmp_path, "---\n" + FUNCTIONS + MAPPINGS + "...\n")


@pytest.mark.parametrize(("text", "shape"), [("- a\n", "a list"), ("a\n", "a single value"), ("!!set {a}\n", "the tag")])
def test_a_file_that_is_no_block_is_a_problem(tmp_path: Path, text: str, shape: str) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert problem.line == 1
    assert shape in problem.message


def test_a_key_given_twice_is_a_problem_that_names_both_lines(tmp_path: Path) -> None:
    check(tmp_path, FUNCTIONS + MAPPINGS + "    BatchSize: 1\n    BatchSize: 2  #! BatchSize is given twice, first on line 7\n")
    check(tmp_path, FUNCTIONS + "  orders: {Handler: a.b}  #! orders is given twice, first on line 2\n" + MAPPINGS)
    check(tmp_path, FUNCTIONS + MAPPINGS + "mappings: []  #! mappings is given twice, first on line 4\n")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("on", "what YAML reads as true or false"),
        ("012345678901", "what YAML reads as a number"),
        ("12:30", "what YAML reads as a number"),
        ("2024-01-02", "what YAML reads as a date"),
        ("~", "what YAML reads as nothing"),
        ("? [a]\n  ", "a list stands as a key"),
        ("!!binary YQ==", "has the tag"),
        ('"a\\0"', "holds a NUL"),
    ],
)
def test_a_key_that_is_no_text_is_a_problem(tmp_path: Path, key: str, said: str) -> None:
    (problem,) = problems_of(tmp_path, FUNCTIONS + f"  {key}: {{Handler: a.b}}\n" + MAPPINGS)
    assert problem.line == 4
    assert said in problem.message


def test_a_quoted_number_is_a_name(tmp_path: Path) -> None:
    text = f'functions:\n  "12": {{Handler: a.b}}\nmappings:\n  - {{FunctionName: "12", EventSourceArn: "{QUEUE}"}}\n'
    assert load(tmp_path, text).functions["12"].name == "12"


def test_anchors_and_merge_keys_bring_in_what_a_block_does_not_have(tmp_path: Path) -> None:
    text = (
        "functions:\n"
        "  a: &a {Handler: m.a, Timeout: 10, MemorySize: 256}\n"
        "  b: &b {<<: *a, Handler: m.b, Timeout: 20}\n"
        "  c:\n"
        "    Handler: m.c\n"
        "    <<: [*b, *a]\n"
        f"mappings: [{{FunctionName: a, EventSourceArn: '{QUEUE}'}}]\n"
    )
    functions = load(tmp_path, text).functions
    assert {name: (one.handler, one.timeout, one.memory_size) for name, one in functions.items()} == {
        "a": ("m.a", 10, 256),
        "b": ("m.b", 20, 256),
        "c": ("m.c", 20, 256),
    }


def test_a_quoted_merge_key_is_an_ordinary_key(tmp_path: Path) -> None:
    check(tmp_path, FUNCTIONS + "    '<<': {}  #! unknown key <<\n" + MAPPINGS)


def test_merge_keys_that_name_each_other_a_billion_times_end(tmp_path: Path) -> None:
    lines = ["functions:", "  f0: &f0 {Handler: a.b}"]
    lines += [f"  f{n}: &f{n} {{<<: [*f{n - 1}, *f{n - 1}]}}" for n in range(1, 60)]
    text = "\n".join([*lines, f"mappings: [{{FunctionName: f0, EventSourceArn: '{QUEUE}'}}]", ""])
    assert load(tmp_path, text).functions["f59"].handler == "a.b"


def test_a_merge_key_that_names_no_block_is_a_problem(tmp_path: Path) -> None:
    check(tmp_path, FUNCTIONS + "    <<: 3  #! << must name a block\n" + MAPPINGS)
    check(tmp_path, FUNCTIONS + "  b: &b\n    Handler: a.b\n    <<: *b  #! << names the block it stands in\n" + MAPPINGS)


def test_a_block_that_holds_itself_ends(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "functions: &a\n  f: *a\nmappings: *a\n")
    assert {problem.line for problem in problems} == {2, 3}


def test_an_empty_block_is_one_whose_lines_are_commented_out(tmp_path: Path) -> None:
    config = load(tmp_path, FUNCTIONS + MAPPINGS + "    ScalingConfig:\nworker:\n  log:\n")
    assert config.worker.grace == 25
    assert config.mappings[0].maximum_concurrency is None


# --- references to the environment ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "environ", "handler"),
    [
        ("${H}", {"H": "a.b"}, "a.b"),
        ("${H:-c.d}", {}, "c.d"),
        ("${H:-c.d}", {"H": ""}, "c.d"),
        ("${H:-c.d}", {"H": "a.b"}, "a.b"),
        ("pre.${H}${I}", {"H": "a.", "I": "b"}, "pre.a.b"),
        ("'${H}'", {"H": "a.b"}, "a.b"),
        ("${H}", {"H": "${H}.b"}, "${H}.b"),
        ("$${H}.b", {"H": "x"}, "${H}.b"),
        ("$H.b", {"H": "x"}, "$H.b"),
    ],
)
def test_references_are_replaced_once(tmp_path: Path, reference: str, environ: dict[str, str], handler: str) -> None:
    text = f"functions:\n  orders:\n    Handler: {reference}\n" + MAPPINGS
    assert load(tmp_path, text, **environ).functions["orders"].handler == handler


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("${H}", "the environment variable H is not set"),
        ("${H", "is not closed"),
        ("${}", "names no environment variable"),
        ("${AWS::Region}", "names no environment variable"),
        ("${H:-${I}}", "cannot be nested"),
    ],
)
def test_a_reference_that_cannot_be_replaced_is_a_problem(tmp_path: Path, reference: str, said: str) -> None:
    check(tmp_path, f"functions:\n  orders:\n    Handler: '{reference}'  #! {said}\n" + MAPPINGS)


def test_references_are_replaced_before_a_plain_scalar_gets_its_type(tmp_path: Path) -> None:
    mapping = load(tmp_path, FUNCTIONS + MAPPINGS + "    BatchSize: ${N:-7}\n    Enabled: ${E}\n", E="false").mappings[0]
    assert (mapping.batch.records, mapping.enabled) == (7, False)
    quoted = load(tmp_path, FUNCTIONS + MAPPINGS + "    BatchSize: '${N:-7}'\n    Enabled: '${E}'\n", E="false").mappings[0]
    assert (quoted.batch.records, quoted.enabled) == (7, False)  # inside { } YAML wants the quotes
    check(tmp_path, FUNCTIONS + MAPPINGS + "    BatchSize: '7'  #! remove the quotes\n")
    check(tmp_path, FUNCTIONS + MAPPINGS + "    BatchSize: ${N}  #! BatchSize is 'many'\n", N="many")
    check(tmp_path, FUNCTIONS + MAPPINGS + "    BatchSize: ${N}  #! whole number\n", N="")


def test_references_in_keys_stay(tmp_path: Path) -> None:
    check(tmp_path, FUNCTIONS + MAPPINGS + "    ${K}: 1  #! unknown key ${K}\n", K="BatchSize")


def test_what_an_environment_variable_gives_is_text_where_text_is_asked_for(tmp_path: Path) -> None:
    assert load(tmp_path, FUNCTIONS + MAPPINGS + "worker: {id: '${H}'}\n", H="1e10").worker.id == "1e10"
    assert load(tmp_path, FUNCTIONS + MAPPINGS + "worker:\n  id: ${H}\n", H="123456789012").worker.id == "123456789012"


def test_what_the_environment_holds_is_not_shown_where_it_may_be_a_secret(tmp_path: Path) -> None:
    text = FUNCTIONS + "    Environment: {Variables: {TOKEN: '${T}', X: '${T}'}}\n" + MAPPINGS
    assert "s3cret" not in "".join(map(str, problems_of(tmp_path, text, T="s3cret\0")))


# --- what a scalar means ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1_0", "plain digits"),
        ("010", "plain digits"),
        ("0x10", "plain digits"),
        ("1:30", "plain digits"),
        ("5.0", "plain digits"),
        ("5s", "plain digits"),
        ("true", "plain digits"),
        ("9" * 5000, "plain digits"),
        ('"5"', "remove the quotes"),
        ("!!str 5", "remove the quotes"),
        ("", "has no value"),
        ("null", "has no value"),
        ("[5]", "is a list, but it must be a single value"),
        ("{a: 5}", "is a block of keys, but it must be a single value"),
        ("!Ref Size", "only CloudFormation can resolve"),
        ("{Ref: Size}", "only CloudFormation can resolve"),
        ("{'Fn::If': [a, 1, 2]}", "only CloudFormation can resolve"),
        ("!!binary NQ==", "has the tag"),
        ("!!python/name:os.system ''", "has the tag"),
    ],
)
def test_where_a_number_is_asked_for_only_plain_digits_are_one(tmp_path: Path, value: str, said: str) -> None:
    check(tmp_path, FUNCTIONS + MAPPINGS + f"    BatchSize: {value}  #! {said}\n")


@pytest.mark.parametrize(("word", "enabled"), [("true", True), ("True", True), ("yes", True), ("on", True), ("FALSE", False), ("no", False), ("off", False), ("!!bool no", False)])  # fmt: skip
def test_booleans_are_those_of_yaml_as_in_cloudformation(tmp_path: Path, word: str, enabled: bool) -> None:
    assert load(tmp_path, FUNCTIONS + MAPPINGS + f"    Enabled: {word}\n").mappings[0].enabled is enabled


@pytest.mark.parametrize(("word", "said"), [("1", "must be true or false"), ("'true'", "remove the quotes"), ("maybe", "must be true or false")])  # fmt: skip
def test_nothing_else_is_a_boolean(tmp_path: Path, word: str, said: str) -> None:
    check(tmp_path, FUNCTIONS + MAPPINGS + f"    Enabled: {word}  #! {said}\n")


@pytest.mark.parametrize(
    ("word", "read_as"),
    [
        ("12", "a number"),
        ("012345678901", "a number"),
        ("012", "a number"),
        ("1_000", "a number"),
        ("1e3", "a number"),
        ("no", "true or false"),
        ("2024-01-02", "a date"),
    ],
)
def test_a_name_that_yaml_takes_for_something_else_must_be_quoted(tmp_path: Path, word: str, read_as: str) -> None:
    said = f'which YAML reads as {read_as}: put it in quotes, "{word}"'
    check(tmp_path, FUNCTIONS + f"mappings:\n  - EventSourceArn: {QUEUE}\n    FunctionName: {word}  #! {said}\n")


def test_signs_that_only_yaml_knows_are_text(tmp_path: Path) -> None:
    text = FUNCTIONS + "    Environment:\n      Variables:\n        SIGN: =\n        MERGE: <<\n" + MAPPINGS
    assert load(tmp_path, text).handlers.environment == {"SIGN": "=", "MERGE": "<<"}


def test_a_handler_that_yaml_takes_for_a_boolean_is_told_what_a_handler_is(tmp_path: Path) -> None:
    check(tmp_path, "functions:\n  orders:\n    Handler: on  #! module.attribute\n" + MAPPINGS)


def test_half_a_surrogate_pair_is_a_problem(tmp_path: Path) -> None:
    check(tmp_path, FUNCTIONS + '    CodeUri: "\\uD800"  #! half a surrogate pair\n' + MAPPINGS)
