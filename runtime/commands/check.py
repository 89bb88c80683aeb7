"""`esm check`: everything that is wrong with a file, on stderr or as JSON."""

import argparse
import json
import sys

import anyio

from runtime.commands import ExitCode
from runtime.commands.configuration import configuration, name_of
from runtime.config import ConfigError, in_order
from runtime.logs import load_structlog


def check(arguments: argparse.Namespace) -> ExitCode:
    load_structlog(console=False)  # nothing is logged
    # The whole worker, as in `esm run`: handlers are to find the same libraries loaded.
    from runtime.check import check_online, check_state, load_functions  # noqa: PLC0415  # structlog comes with it

    try:
        config = configuration(arguments)
    except ConfigError as error:
        problems, warnings = list(error.problems), []
        if error.handlers is not None:
            problems += load_functions(error.handlers).problems
    else:
        loaded = load_functions(config.handlers, config.mappings)
        problems = [*loaded.problems, *check_state(config)]
        warnings = [*config.warnings, *loaded.one_at_a_time.values()]
        if arguments.online:
            online = anyio.run(check_online, config)
            problems += online.problems
            warnings += online.warnings
    _print_findings(arguments, list(map(str, in_order(problems))), list(map(str, in_order(warnings))))
    return ExitCode.FAILED if problems else ExitCode.OK


def _print_findings(arguments: argparse.Namespace, problems: list[str], warnings: list[str]) -> None:
    if arguments.json:
        print(json.dumps({"problems": problems, "warnings": warnings}, indent=1))
        return
    for problem in problems:
        print(problem, file=sys.stderr)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if not problems:
        print(f"{name_of(arguments)} is right" + (f", with {_counted(len(warnings), 'warning')}" if warnings else ""))
    else:
        print(f"{name_of(arguments)}: {_counted(len(problems), 'problem')}", file=sys.stderr)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
