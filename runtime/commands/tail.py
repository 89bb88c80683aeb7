"""`esm tail`: of a mapping's name, what a running worker does with it; of an ARN, what the source holds."""

import argparse
import math
import os
import sys

from runtime.commands import CommandError, ExitCode
from runtime.commands.event_loop import run_async
from runtime.commands.tail_mapping import tail_mapping
from runtime.commands.tail_source import tail_source
from runtime.tail.screen import Screen


def tail(arguments: argparse.Namespace) -> ExitCode:
    for option, value in (("--seconds", arguments.seconds), ("--batches", arguments.batches)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise CommandError(f"{option} {value}: give a number above 0")
    if not arguments.target:
        raise CommandError("give the name of a mapping of a running worker, or the ARN of a source")
    of_source = any(sign in arguments.target for sign in ":/")  # no name of a mapping has one
    _check_options(arguments, of_source=of_source)
    screen = Screen(as_json=arguments.json)
    try:
        return run_async(tail_source if of_source else tail_mapping, arguments, screen)
    except* BrokenPipeError:  # whoever read has seen enough, as `| head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.OK


def _check_options(arguments: argparse.Namespace, *, of_source: bool) -> None:
    """Each goes with one of the two."""
    given = {"--from": arguments.start is not None, "--peek": arguments.peek, "--worker": arguments.worker is not None}
    what = "the ARN of a source" if of_source else "the name of a mapping"
    for option in ("--worker",) if of_source else ("--from", "--peek"):
        if given[option]:
            other = "the name of a mapping of a running worker" if of_source else "the ARN of a source"
            raise CommandError(f"{option} goes with {other}, and {arguments.target} is taken for {what}")
