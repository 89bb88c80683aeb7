"""Which servers a test session talks to."""

import shutil
from collections.abc import Callable, Iterable, Mapping

from tests.servers.behaviour import Service, flag_names
from tests.servers.catalogue import PROGRAMS, SERVERS
from tests.servers.spec import Installable, Program, ServerError, ServerSpec, behaves

VARIABLE = "ESM_TEST_SERVERS"


class UnknownServer(ServerError):
    """A name that is not in the catalogue."""


def select_servers(
    option: str | None, environment: Mapping[str, str], *, find: Callable[[str], object] = shutil.which
) -> tuple[ServerSpec, ...]:
    """The option `--servers`, else `ESM_TEST_SERVERS`, else those that a laptop can have within seconds (`quick_servers`).

    Both are `all` or names with commas between. Raises `UnknownServer`.
    """
    text = option or environment.get(VARIABLE)
    if not text:
        return tuple(spec for spec in quick_servers() if not missing_commands(spec, find=find))
    return named_servers([] if text.strip() == "all" else [name.strip() for name in text.split(",")])


def quick_servers() -> tuple[ServerSpec, ...]:
    """Those that install on first use. Some of them need Node.js, and belong to a run without a word only where it is."""
    return tuple(spec for spec in SERVERS.values() if spec.installs_on_first_use)


def missing_commands(spec: ServerSpec | Program, *, find: Callable[[str], object] = shutil.which) -> tuple[str, ...]:
    """What the server needs and this machine has not."""
    return tuple(command for command in spec.needs if not find(command))


def named_servers(names: Iterable[str]) -> tuple[ServerSpec, ...]:
    """The servers of these names, in the order of the catalogue; all of them for no name. Raises `UnknownServer`."""
    wanted = set(names)
    unknown = sorted(wanted - SERVERS.keys())
    if unknown:
        raise UnknownServer(f"no server is called {', '.join(map(repr, unknown))}: there are {', '.join(SERVERS)}")
    return tuple(spec for spec in SERVERS.values() if not wanted or spec.name in wanted)


def named_installables(names: Iterable[str]) -> tuple[Installable, ...]:
    """The servers and other programs of these names; all of them for no name. Raises `UnknownServer`."""
    wanted = set(names)
    servers = named_servers(wanted - PROGRAMS.keys()) if wanted - PROGRAMS.keys() or not wanted else ()
    return (*servers, *(program for name, program in PROGRAMS.items() if not wanted or name in wanted))


def servers_with(specs: Iterable[ServerSpec], service: Service, flags: Iterable[str]) -> tuple[ServerSpec, ...]:
    """Those that speak the service, and behave like AWS in every one of the named respects of it. Names of other services count for nothing."""
    own = set(flags) & flag_names(service)
    return tuple(spec for spec in specs if service in spec.speaks and all(behaves(spec, service, flag) for flag in own))


def check_flags(flags: Iterable[str], services: Iterable[Service]) -> None:
    """Raises `ValueError` for a name that is no behaviour of these services: the test would ask for nothing."""
    known = {flag for service in services for flag in flag_names(service)}
    unknown = sorted(set(flags) - known)
    if unknown:
        raise ValueError(f"no behaviour is called {', '.join(unknown)}: there are {', '.join(sorted(known))}")
