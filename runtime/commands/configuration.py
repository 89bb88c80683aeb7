"""The configuration of `esm run` and `esm check`: a file, or a template in its place.

A template says nothing of the worker: `-c FILE` beside `--template` gives its `worker` part; without it there are the defaults.
"""

import argparse
import os
from pathlib import Path
from typing import Final

from runtime.commands import CommandError
from runtime.config import Config, ConfigError, Problem, load_config, load_nodes

_DEFAULT: Final = "esm.yaml"


def name_of(arguments: argparse.Namespace) -> str:
    """The file that is read, as the user named it."""
    return str(arguments.template or arguments.config or _DEFAULT)


def configuration(arguments: argparse.Namespace) -> Config:
    """Raises `ConfigError`."""
    if arguments.template is None:
        return load_config(Path(arguments.config or _DEFAULT), os.environ)
    # Beside a file of ours, none of it is wanted; like all of our own imports it comes before the user's code.
    from runtime.commands.given import given_by  # noqa: PLC0415  # as said
    from runtime.importing.nodes import node_of  # noqa: PLC0415  # as said
    from runtime.importing.templates import import_template  # noqa: PLC0415  # as said

    path = Path(arguments.template)
    draft, findings = import_template(path, given_by(arguments), into=path.absolute().parent)
    if not draft.mappings:
        nothing = Problem(file=str(path), line=1, message="there is no event source mapping here that could be run")
        raise ConfigError([nothing, *findings.left_out])
    reasons = {gap.name: gap.reason for gap in draft.gaps if gap.name not in os.environ}
    worker = Path(arguments.config) if arguments.config else None
    try:
        config = load_nodes(node_of(draft), os.environ, file=path, worker=worker, warnings=[*findings.left_out, *findings.notes])
    except ConfigError as error:
        raise ConfigError([_explained(each, reasons) for each in error.problems], error.handlers) from error
    return config


def read_config(given: str | None) -> Config | None:
    """For commands that can do without: the file that was named; else the one that lies here; None without one.

    Raises CommandError.
    """
    path = Path(given or _DEFAULT)
    if given is None and not path.exists():
        return None
    try:
        return load_config(path, os.environ)
    except ConfigError as error:
        raise CommandError("\n".join(str(problem) for problem in error.problems)) from error


def _explained(problem: Problem, reasons: dict[str, str]) -> Problem:
    """Why a variable is asked for that the template does not name."""
    for name, reason in reasons.items():
        if f"environment variable {name} is not set" in problem.message:
            key = problem.message.partition(": ")[0]
            message = f"{key}: {reason}, as the environment variable {name}"
            return Problem(file=problem.file, line=problem.line, where=problem.where, message=message)
    return problem
