"""What the `esm` commands do, each in a module of its own: whoever wants `esm --help` need not wait for what a worker takes."""

from enum import IntEnum

from runtime.errors import UserError


class ExitCode(IntEnum):
    """How a command ends (INTERFACE: Commands); argparse itself ends with 2 for wrong usage."""

    OK = 0
    FAILED = 1
    ABANDONED = 3
    """Work was abandoned at the end of the grace period."""


class CommandError(UserError):
    """A command failed."""
