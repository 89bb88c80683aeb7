"""Which servers a test session talks to."""

from collections.abc import Iterable, Mapping

from tests.servers.catalogue import LOCAL, MINISTACK, SERVERS
from tests.servers.spec import ServerError, ServerSpec, flag_names

VARIABLE = "ESM_TEST_SERVERS"


class UnknownServer(ServerError):
    """A name that is not in the catalogue."""


def select_servers(option: str | None, environment: Mapping[str, str]) -> tuple[ServerSpec, ...]:
    """The option `--servers`, else `ESM_TEST_SERVERS`, else the two that a laptop can have within seconds.

    Both are `all` or names with commas between. Raises `UnknownServer`.
    """
    text = option or environment.get(VARIABLE)
    if not text:
        return (LOCAL, MINISTACK)
    return named_servers([] if text.strip() == "all" else [name.strip() for name in text.split(",")])


def named_servers(names: Iterable[str]) -> tuple[ServerSpec, ...]:
    """The servers of these names, in the order of the catalogue; all of them for no name. Raises `UnknownServer`."""
    wanted = set(names)
    unknown = sorted(wanted - SERVERS.keys())
    if unknown:
        raise UnknownServer(f"no server is called {', '.join(map(repr, unknown))}: there are {', '.join(SERVERS)}")
    return tuple(spec for spec in SERVERS.values() if not wanted or spec.name in wanted)


def servers_with(specs: Iterable[ServerSpec], flags: Iterable[str]) -> tuple[ServerSpec, ...]:
    """Those that behave like AWS in every one of the named respects (fields of `Behaviour`). Raises `ValueError` for a name that is none."""
    flags = tuple(flags)
    unknown = sorted(set(flags) - flag_names())
    if unknown:
        raise ValueError(f"no behaviour is called {', '.join(unknown)}: there are {', '.join(sorted(flag_names()))}")
    return tuple(spec for spec in specs if all(getattr(spec.behaviour, flag) for flag in flags))
