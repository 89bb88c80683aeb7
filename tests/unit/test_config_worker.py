"""`worker`: the keys that are ours."""

from pathlib import Path

import pytest

from runtime.config import DynamodbState, MemoryState, SqliteState, WorkerConfig, new_worker_id
from tests.unit.test_config_case import FUNCTIONS, KINESIS, MAPPINGS, TABLE, check, load, problems_of


def test_a_worker_has_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, FUNCTIONS + MAPPINGS).worker == WorkerConfig(
        id="host-1",
        state=SqliteState(path=Path("./.esm/state.db")),
        http_host="127.0.0.1",
        http_port=9090,
        client="lean",
        grace=25,
        on_destination_failure="drop",
        failover=10.0,
        watchdog=300,
        log_format="auto",
        log_level="info",
    )


def test_a_worker_is_as_the_file_says(tmp_path: Path) -> None:
    text = "worker:\n  id: w1\n  state: memory://\n  http: 0.0.0.0:0\n  grace: 3600\n  log: {format: json, level: debug}\n"
    text += "  client: sdk\n  on_destination_failure: block\n  failover: 2.5\n  watchdog: 86400\n"
    assert load(tmp_path, FUNCTIONS + MAPPINGS + text).worker == WorkerConfig(
        id="w1",
        state=MemoryState(),
        http_host="0.0.0.0",  # noqa: S104  # what a container listens on
        http_port=0,
        client="sdk",
        grace=3600,
        on_destination_failure="block",
        failover=2.5,
        watchdog=86_400,
        log_format="json",
        log_level="debug",
    )


@pytest.mark.parametrize(("line", "seconds"), [("failover: 1", 1.0), ("failover: 300", 300.0), ("failover: ${A:-7.25}", 7.25)])
def test_failover_is_a_number_of_seconds(tmp_path: Path, line: str, seconds: float) -> None:
    assert load(tmp_path, FUNCTIONS + MAPPINGS + f"worker:\n  {line}\n").worker.failover == seconds


@pytest.mark.parametrize("line", ["id: ''", "id: ${HOSTNAME:-}", "id: '${HOSTNAME:-}'"])
def test_an_empty_id_means_the_default(tmp_path: Path, line: str) -> None:
    assert load(tmp_path, FUNCTIONS + MAPPINGS + f"worker:\n  {line}\n").worker.id == "host-1"


def test_no_two_workers_share_an_id() -> None:
    assert new_worker_id() != new_worker_id()


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ("sqlite:///var/lib/esm/state.db", "/var/lib/esm/state.db"),
        ("sqlite:////var/lib/esm/state.db", "/var/lib/esm/state.db"),
        ("sqlite:///./.esm/state.db", ".esm/state.db"),
        ("sqlite:///../state.db", "../state.db"),
    ],
)
def test_a_state_path_begins_at_the_root_unless_it_begins_with_dots(tmp_path: Path, state: str, path: str) -> None:
    assert load(tmp_path, FUNCTIONS + MAPPINGS + f"worker: {{state: '{state}'}}\n").worker.state == SqliteState(path=Path(path))


@pytest.mark.parametrize(("http", "host", "port"), [("localhost:80", "localhost", 80), ("'[::1]:65535'", "::1", 65535), ("a.b-c:1", "a.b-c", 1)])  # fmt: skip
def test_http_is_host_and_port(tmp_path: Path, http: str, host: str, port: int) -> None:
    worker = load(tmp_path, FUNCTIONS + MAPPINGS + f"worker:\n  http: {http}\n").worker
    assert (worker.http_host, worker.http_port) == (host, port)


@pytest.mark.parametrize(
    "line",
    [
        "id: a b  #! visible ASCII characters",
        "id: 12  #! put it in quotes",
        f"id: {'a' * 129}  #! 128 is the most",
        "state: dynamodb://  #! a table's name has 3 to 255 letters, digits, dots, dashes and underscores",
        "state: dynamodb://a b  #! a table's name has 3 to 255 letters",
        "state: dynamodb://esm/orders  #! a table's name has 3 to 255 letters",
        "state: 'dynamodb://esm-{name}'  #! a table's name has 3 to 255 letters",
        "state: dynamodb://esm?create=no  #! state has create=no, but it must be true or false",
        "state: dynamodb://esm?crate=false  #! state has the option 'crate', but there are create and region",
        "state: dynamodb://esm?region=Ireland  #! state has region=Ireland, but it must be a region, as eu-west-1",
        "state: postgres://x  #! must be memory://, sqlite:///PATH or dynamodb://TABLE",
        "state: sqlite://state.db  #! must be memory://, sqlite:///PATH or dynamodb://TABLE",
        "state: sqlite:///  #! must be memory://, sqlite:///PATH or dynamodb://TABLE",
        "state: sqlite:///var/  #! must be memory://, sqlite:///PATH or dynamodb://TABLE",
        "state: memory://x  #! must be memory://, sqlite:///PATH or dynamodb://TABLE",
        "state: ''  #! must be memory://, sqlite:///PATH or dynamodb://TABLE",
        "http: 9090  #! must be HOST:PORT",
        "http: ':9090'  #! must be HOST:PORT",
        "http: 127.0.0.1  #! must be HOST:PORT",
        "http: localhost:http  #! must be HOST:PORT",
        "http: localhost:65536  #! 65535 is the highest",
        "http: '::1:9090'  #! must be HOST:PORT",
        "http: '[1.2.3.4]:9090'  #! brackets are for IPv6",
        "http: http://localhost:9090  #! must be HOST:PORT",
        "client: boto  #! it must be lean or sdk",
        "client: slim  #! it must be lean or sdk",
        "grace: -1  #! grace is -1, but it must be 0 to 3600",
        "grace: 3601  #! 0 to 3600",
        "grace: 25s  #! whole number",
        "on_destination_failure: retry  #! it must be block or drop",
        "on_destination_failure: blok  #! did you mean block?",
        "failover: 0.9  #! failover is 0.9, but it must be 1 to 300",
        "failover: 300.1  #! 1 to 300",
        "failover: 10s  #! must be a number in plain digits",
        "failover: '10'  #! remove the quotes",
        "watchdog: 29  #! watchdog is 29, but it must be 30 to 86400",
        "watchdog: 86401  #! 30 to 86400",
        "watchdog: 30.5  #! whole number",
        "failOver: 1  #! did you mean failover?",
        "log: {format: text}  #! it must be auto or console or json",
        "log: {level: INFO}  #! did you mean info?",
        "log: {levle: info}  #! did you mean level?",
        "log: json  #! log is a single value",
        "shards: {}  #! unknown key shards",
        "Grace: 1  #! did you mean grace?",
    ],
)
def test_what_is_wrong_with_the_worker_is_a_problem(tmp_path: Path, line: str) -> None:
    text = FUNCTIONS + MAPPINGS + f"worker:\n  {line}\n"
    check(tmp_path, text)
    (problem,) = problems_of(tmp_path, text)
    assert problem.where == "worker"
    assert "AWS" not in problem.message


def test_a_worker_that_is_no_block_is_a_problem(tmp_path: Path) -> None:
    check(tmp_path, FUNCTIONS + MAPPINGS + "worker: [a]  #! worker is a list\n")


def streams(*names: str, arns: tuple[str, ...] = (KINESIS, TABLE), more: str = "") -> str:
    """Mappings of streams."""
    text = FUNCTIONS + "mappings:\n"
    for name, arn in zip(names, arns, strict=False):
        text += f"  - {{name: {name}, FunctionName: orders, EventSourceArn: '{arn}', StartingPosition: LATEST{more}}}\n"
    return text


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("dynamodb://esm", DynamodbState(table="esm")),
        ("dynamodb://esm?create=true", DynamodbState(table="esm")),
        ("dynamodb://esm.a_b-{mapping}?create=false", DynamodbState(table="esm.a_b-{mapping}", create=False)),
        ("dynamodb://esm?region=us-gov-west-1&create=false", DynamodbState(table="esm", create=False, region="us-gov-west-1")),
    ],
)
def test_a_state_may_be_a_table_with_options(tmp_path: Path, state: str, expected: DynamodbState) -> None:
    assert load(tmp_path, streams("a") + f"worker: {{state: '{state}'}}\n").worker.state == expected


def test_each_mapping_has_a_table_of_its_own(tmp_path: Path) -> None:
    state = load(tmp_path, streams("a", "b") + "worker: {state: 'dynamodb://esm-{mapping}'}\n").worker.state
    assert isinstance(state, DynamodbState)
    assert [state.table_of("a"), state.table_of("b")] == ["esm-a", "esm-b"]


def test_a_table_for_two_mappings_is_a_problem_that_shows_the_way_out(tmp_path: Path) -> None:
    """Shard ids are the same in every stream, and KCL has one table for each application."""
    text = streams("a", "b") + "worker:\n  state: dynamodb://esm  #! put the mapping into its name, as dynamodb://esm-{mapping}\n"
    check(tmp_path, text)
    assert "one table for the mappings a, b" in str(problems_of(tmp_path, text)[0])
    check(tmp_path, streams("a", "b", more=", Enabled: false") + "worker: {state: dynamodb://esm}\n")


def test_a_mapping_whose_name_is_none_for_a_table_is_a_problem(tmp_path: Path) -> None:
    text = (
        streams("a" * 64)
        + f"worker:\n  state: dynamodb://{'x' * 200}-{{mapping}}  #! for mapping {'a' * 64}, but a table's name\n"
    )
    check(tmp_path, text)


def test_queues_need_no_table(tmp_path: Path) -> None:
    assert load(tmp_path, FUNCTIONS + MAPPINGS + "worker: {state: dynamodb://esm}\n").worker.state == DynamodbState(table="esm")
