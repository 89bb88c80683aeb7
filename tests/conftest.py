"""How tests get servers. Nothing starts, and nothing is installed, unless a test that runs asks for it (`servers/README.md`)."""

import os
from collections.abc import Iterator

import pytest

from tests.servers.catalogue import SERVERS
from tests.servers.install import install
from tests.servers.running import RunningServers, Server
from tests.servers.selection import VARIABLE, select_servers, servers_with
from tests.servers.spec import ServerError, ServerSpec

_SELECTED = pytest.StashKey[tuple[ServerSpec, ...]]()
_INSTALL_ERRORS = pytest.StashKey[dict[str, ServerError]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = f"the servers that tests talk to: all, or names with commas between, of {', '.join(SERVERS)} (or set {VARIABLE}; default: local,ministack)"
    parser.addoption("--servers", default=None, metavar="NAMES", help=text)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "like_aws(*behaviours): run only on servers that behave like AWS in these respects (tests/servers/spec.py, Behaviour)",
    )
    try:
        config.stash[_SELECTED] = select_servers(config.getoption("--servers"), os.environ)
    except ServerError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_INSTALL_ERRORS] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per selected server that is fit for it; a server with a known bug in the way makes no test at all."""
    if "sqs_server" not in metafunc.fixturenames:
        return
    flags = [flag for mark in metafunc.definition.iter_markers("like_aws") for flag in mark.args]
    selected = metafunc.config.stash[_SELECTED]
    parameters = [
        pytest.param(spec.name, id=spec.name, marks=() if spec.installs_on_first_use else pytest.mark.servers)
        for spec in servers_with(selected, flags)
    ]
    if not parameters:
        parameters.append(pytest.param(None, id="no-server"))  # goes out again in `pytest_collection_modifyitems`
    metafunc.parametrize("sqs_server", parameters, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Takes out the tests for which no selected server is fit: pytest would skip them, and a skip asks to be looked into."""
    unfit = [item for item in items if _server_of(item, default="") is None]
    if unfit:
        config.hook.pytest_deselected(items=unfit)
        items[:] = [item for item in items if item not in unfit]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Installs what is small and needed, here, where no test's time runs. What goes wrong shows in the tests that need it."""
    if session.config.option.collectonly:
        return
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    needed = {_server_of(item, default=None) for item in session.items} - {None}
    for spec in session.config.stash[_SELECTED]:
        if spec.name in needed and spec.installs_on_first_use:
            try:
                install(spec, say=terminal.write_line if terminal else lambda _line: None)
            except ServerError as error:
                session.config.stash[_INSTALL_ERRORS][spec.name] = error


def _server_of(item: pytest.Item, *, default: str | None) -> str | None:
    """The server that the test is for: None if none is fit, `default` if it needs none."""
    callspec = getattr(item, "callspec", None)
    name: str | None = default if callspec is None else callspec.params.get("sqs_server", default)
    return name


@pytest.fixture(scope="session")
def running_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServers]:
    with RunningServers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="session")
def sqs_server(request: pytest.FixtureRequest, running_servers: RunningServers) -> Server:
    """A running SQS server: the test runs once for each that is selected and fit. A server that cannot be had is an error."""
    failed = request.config.stash[_INSTALL_ERRORS].get(request.param)
    if failed is not None:
        raise failed
    return running_servers.get(request.param)
