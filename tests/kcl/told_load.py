"""`esm run` on a machine whose processor is as busy as the file LOAD says (like /proc/stat). Java has KCL_CPU_STAT for it."""

import os
from pathlib import Path

from runtime import app
from runtime.cli import main


def told(path: str) -> str | None:
    return Path(os.environ["LOAD"]).read_text() if path == "/proc/stat" else None


app._text_of = told
main()
