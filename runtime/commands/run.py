"""`esm run`: the order in which a worker is put together.

First the file, which says what is needed; then all of our own imports; the user's code last. Its folder stands in front of
`sys.path` from then on, and libraries that lie in it must not take the place of ours.
"""

import argparse

from runtime.commands import CommandError, ExitCode
from runtime.commands.configuration import configuration
from runtime.config import Config, ConfigError
from runtime.logs import configure_logs


def run(arguments: argparse.Namespace) -> ExitCode:
    config = _config(arguments)
    configure_logs(log_format=config.worker.log_format, level=config.worker.log_level)
    from runtime.commands.work import work  # noqa: PLC0415  # structlog comes with it: configure_logs says how much of it

    return work(config)


def _config(arguments: argparse.Namespace) -> Config:
    try:
        return configuration(arguments)
    except ConfigError as error:
        raise CommandError("\n".join(str(problem) for problem in error.problems)) from error
