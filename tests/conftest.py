"""How tests get servers. Nothing starts, and nothing is installed, unless a test that runs asks for it (`servers/README.md`)."""

import os
from collections.abc import Iterator

import pytest
import structlog

from tests.fakes.roads import CLIENTS, chosen_client
from tests.fakes.roads import VARIABLE as VARIABLE_OF_CLIENT
from tests.servers.behaviour import Service
from tests.servers.catalogue import SERVERS
from tests.servers.install import install
from tests.servers.running import RunningServers, Server
from tests.servers.selection import (
    VARIABLE,
    check_flags,
    missing_commands,
    named_servers,
    quick_servers,
    select_servers,
    servers_with,
)
from tests.servers.spec import ServerError, ServerSpec

_SELECTED = pytest.StashKey[tuple[ServerSpec, ...]]()
_INSTALL_ERRORS = pytest.StashKey[dict[str, ServerError]]()

_FIXTURES = {
    "sqs_server": (Service.SQS,),
    "kinesis_server": (Service.KINESIS,),
    "dynamodb_server": (Service.DYNAMODB,),
    "stream_server": (Service.KINESIS, Service.DYNAMODB),
}
"""The fixtures that are parametrized with servers, and what these must speak: a test runs once for each service and server."""

Wanted = tuple[Service, str]
"""What a fixture is asked for: a service, and a server by name."""


@pytest.fixture
def no_log() -> Iterator[None]:
    """For tests that do so much that telling of it takes most of the time."""
    configured = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**configured)


def pytest_addoption(parser: pytest.Parser) -> None:
    default = ",".join(spec.name for spec in quick_servers())
    text = f"the servers that tests talk to: all, or names with commas between, of {', '.join(SERVERS)} (or set {VARIABLE}; default: {default})"
    parser.addoption("--servers", default=None, metavar="NAMES", help=text)
    parser.addoption("--kcl", action="store_true", help="run also the tests with real Java KCL workers (tests/kcl/README.md)")
    parser.addoption("--client", default=chosen_client(), choices=CLIENTS, help="the road of hot requests (default: %(default)s)")


def pytest_configure(config: pytest.Config) -> None:
    os.environ[VARIABLE_OF_CLIENT] = config.getoption("--client")
    config.addinivalue_line(
        "markers",
        "like_aws(*behaviours): run only on servers that behave like AWS in these respects (tests/servers/behaviour.py)",
    )
    config.addinivalue_line(
        "markers",
        "on_servers(*names): run only on these, because no other server has what the test is about",
    )
    try:
        config.stash[_SELECTED] = select_servers(config.getoption("--servers"), os.environ)
    except ServerError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_INSTALL_ERRORS] = {}


def pytest_report_header(config: pytest.Config) -> str:
    """Says what a run without a word leaves out, and why: that it is green then proves less."""
    selected = config.stash[_SELECTED]
    left_out = [spec for spec in quick_servers() if spec not in selected and missing_commands(spec)]
    text = "".join(f"; not {spec.name}, for want of {' and '.join(missing_commands(spec))}" for spec in left_out)
    text += "; with Java KCL workers" if config.getoption("--kcl") else ""
    return f"client: {chosen_client()}; servers: {', '.join(spec.name for spec in selected)}{text}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per selected server that is fit for it; a server with a known bug in the way makes no test at all."""
    asked = [fixture for fixture in _FIXTURES if fixture in metafunc.fixturenames]
    flags = [flag for mark in metafunc.definition.iter_markers("like_aws") for flag in mark.args]
    selected = _restrict(metafunc.config.stash[_SELECTED], metafunc.definition)
    check_flags(flags, {service for fixture in asked for service in _FIXTURES[fixture]})
    for fixture in asked:
        services = _FIXTURES[fixture]
        parameters = [
            pytest.param(
                (service, spec.name),
                id=spec.name if len(services) == 1 else f"{service}-on-{spec.name}",
                marks=() if spec.installs_on_first_use else pytest.mark.servers,
            )
            for service in services
            for spec in servers_with(selected, service, flags)
        ]
        if not parameters:
            parameters.append(pytest.param(None, id="no-server"))  # goes out again in `pytest_collection_modifyitems`
        metafunc.parametrize(fixture, parameters, indirect=True, scope="session")


def _restrict(selected: tuple[ServerSpec, ...], item: pytest.Item) -> tuple[ServerSpec, ...]:
    names = {spec.name for mark in item.iter_markers("on_servers") for spec in named_servers(mark.args)}
    return tuple(spec for spec in selected if not names or spec.name in names)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Takes out the tests for which no selected server is fit, and those with Java workers unless these are asked for.

    pytest would skip them, and a skip asks to be looked into.
    """
    without_java = not config.getoption("--kcl")
    unfit = [item for item in items if None in _wanted_by(item) or (without_java and item.get_closest_marker("kcl"))]
    if unfit:
        config.hook.pytest_deselected(items=unfit)
        items[:] = [item for item in items if item not in unfit]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Installs what is small and needed, here, where no test's time runs. What goes wrong shows in the tests that need it."""
    if session.config.option.collectonly:
        return
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    needed = {wanted[1] for item in session.items for wanted in _wanted_by(item) if wanted is not None}
    for spec in session.config.stash[_SELECTED]:
        if spec.name in needed and spec.installs_on_first_use:
            try:
                install(spec, say=terminal.write_line if terminal else lambda _line: None)
            except ServerError as error:
                session.config.stash[_INSTALL_ERRORS][spec.name] = error


def _wanted_by(item: pytest.Item) -> list[Wanted | None]:
    """The servers that the test is for, none for most tests; None among them where none is fit."""
    callspec = getattr(item, "callspec", None)
    return [] if callspec is None else [callspec.params[fixture] for fixture in _FIXTURES if fixture in callspec.params]


@pytest.fixture(scope="session")
def running_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServers]:
    with RunningServers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="session")
def sqs_server(request: pytest.FixtureRequest, running_servers: RunningServers) -> Server:
    """A running SQS server: the test runs once for each that is selected and fit. A server that cannot be had is an error."""
    return _running(request, running_servers)[1]


@pytest.fixture(scope="session")
def kinesis_server(request: pytest.FixtureRequest, running_servers: RunningServers) -> Server:
    """A running server that speaks Kinesis, as `sqs_server`."""
    return _running(request, running_servers)[1]


@pytest.fixture(scope="session")
def dynamodb_server(request: pytest.FixtureRequest, running_servers: RunningServers) -> Server:
    """A running server that speaks DynamoDB and its streams, as `sqs_server`."""
    return _running(request, running_servers)[1]


@pytest.fixture(scope="session")
def stream_server(request: pytest.FixtureRequest, running_servers: RunningServers) -> tuple[Service, Server]:
    """Every kind of stream on every server that speaks it: the test runs once for each pair."""
    return _running(request, running_servers)


def _running(request: pytest.FixtureRequest, servers: RunningServers) -> tuple[Service, Server]:
    service, name = request.param
    failed = request.config.stash[_INSTALL_ERRORS].get(name)
    if failed is not None:
        raise failed
    return service, servers.get(name)
