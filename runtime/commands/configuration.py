"""`esm.yaml` for commands that can do without it."""

import os
from pathlib import Path

from runtime.commands import CommandError
from runtime.config import Config, ConfigError, load_config

DEFAULT: str = "esm.yaml"


def read_config(given: str | None) -> Config | None:
    """The file that was named; else the one that lies here; None without one. Raises CommandError."""
    path = Path(given or DEFAULT)
    if given is None and not path.exists():
        return None
    try:
        return load_config(path, os.environ)
    except ConfigError as error:
        raise CommandError("\n".join(str(problem) for problem in error.problems)) from error
