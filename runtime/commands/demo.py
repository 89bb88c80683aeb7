"""`esm demo`."""

import argparse
import math
import sys

from runtime.commands import CommandError, ExitCode
from runtime.commands.event_loop import run_async
from runtime.demo import run_demo


def demo(arguments: argparse.Namespace) -> ExitCode:
    if arguments.seconds is not None and not (arguments.seconds > 0 and math.isfinite(arguments.seconds)):
        msg = f"--seconds {arguments.seconds}: give a number above 0"
        raise CommandError(msg)
    seconds = arguments.seconds or (None if sys.stdout.isatty() else 20.0)

    async def show() -> ExitCode:
        return ExitCode.OK if await run_demo(arguments.source, seconds, arguments.json) else ExitCode.FAILED

    return run_async(show)
