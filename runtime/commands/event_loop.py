"""The event loop of a command."""

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

import anyio

from runtime.commands import ExitCode

_Arguments = TypeVarTuple("_Arguments")


def run_async(function: Callable[[*_Arguments], Awaitable[ExitCode]], *arguments: *_Arguments) -> ExitCode:
    """Run on uvloop where it exists: it costs a tenth less per request."""
    return anyio.run(function, *arguments, backend_options={"use_uvloop": sys.platform == "linux"})
