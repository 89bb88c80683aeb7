"""`python -m tests.servers install [name ...]` and `python -m tests.servers list`."""

import argparse
import sys
import time

from tests.servers.install import home_of, install, is_installed
from tests.servers.selection import named_installables
from tests.servers.spec import ServerError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers",
        description="The servers of the integration tests, and programs that tests start beside ours.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is, and what is installed")
    command = commands.add_parser("install", help="install what is not there yet")
    command.add_argument("names", nargs="*", metavar="name", help="default: all")
    given = parser.parse_args(arguments)
    try:
        return _list() if given.command == "list" else _install(given.names)
    except ServerError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _list() -> int:
    for spec in named_installables([]):
        where = str(home_of(spec)) if is_installed(spec) else "not installed"
        sys.stdout.write(f"{spec.name:<12} {spec.version or '-':<8} {where}\n")
    return 0


def _install(names: list[str]) -> int:
    """Goes on after a failure, so that one server out of reach does not hide the others."""
    failed = 0
    for spec in named_installables(names):
        started = time.monotonic()
        try:
            done = install(spec, say=_say)
        except ServerError as error:
            sys.stderr.write(f"{spec.name} {spec.version}: {error}\n")
            failed = 1
        else:
            _say(f"{spec.name}: installed in {time.monotonic() - started:.0f} s" if done else f"{spec.name}: there")
    return failed


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
