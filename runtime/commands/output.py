"""The end of commands that run handlers: what those print goes to stderr, and the result alone to stdout."""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import TextIOWrapper

from handlers.python_function import left_behind
from runtime.commands import ExitCode
from runtime.commands.event_loop import run_async


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The result of a command."""

    lines: Sequence[str]
    code: ExitCode


def shows_bar(arguments: argparse.Namespace) -> bool:
    """Whether somebody looks on who is no machine."""
    return sys.stderr.isatty() and not arguments.json


def run_beside_handlers(work: Callable[[], Awaitable[Ended]]) -> ExitCode:
    """Run `work` on a loop, and print its result.

    A coroutine of the user's that will not stop keeps the loop from closing; then this ends the process itself.
    """
    results: list[Ended] = []
    with ExitStack() as stack:
        stack.enter_context(_handlers_print_to_stderr())

        async def run() -> ExitCode:
            ended = await work()
            results.append(ended)
            if left_behind():
                stack.close()
                _print(ended.lines)
                sys.stderr.flush()
                os._exit(ended.code)
            return ended.code

        run_async(run)
    (ended,) = results
    _print(ended.lines)
    return ended.code


@contextmanager
def _handlers_print_to_stderr() -> Iterator[None]:
    """Whatever they do it with: also a process that they start, or a logger that has kept stdout."""
    try:
        kept = os.dup(1)
    except OSError:  # there is no stdout
        yield
        return
    sys.stdout.flush()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _print(lines: Sequence[str]) -> None:
    try:
        print("\n".join(lines))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
