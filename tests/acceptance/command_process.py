"""An `esm` command as a process of its own, run to its end or told to end by a signal."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from tests.acceptance.worker_process import Site, wait_until

_PATIENCE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str


class Command:
    def __init__(self, process: "subprocess.Popen[bytes]", out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    async def wait_told(self, text: str) -> None:
        """On stderr."""
        await wait_until(lambda: text in self.err or self.process.poll() is not None, f"{text!r} on stderr: {self.err}")
        assert text in self.err, self.err

    async def ended(self, number: signal.Signals | None = None) -> Ended:
        """By itself, or after a signal."""
        if number is not None:
            self.process.send_signal(number)
        await wait_until(lambda: self.process.poll() is not None, f"the command ends: {self.err}", seconds=_PATIENCE)
        return Ended(code=self.process.returncode, out=self.out, err=self.err)


@asynccontextmanager
async def command(
    folder: Path, endpoint_url: str, *arguments: str, before: Callable[[], None] | None = None
) -> AsyncIterator[Command]:
    """The process is gone when the block is left. `before`: done in it before the command begins."""
    site = Site(folder)
    out, err = folder / "stdout.txt", folder / "stderr.txt"
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(  # noqa: ASYNC220 - it comes back at once
            [sys.executable, "-m", "runtime", *arguments],
            cwd=folder,
            env=site.environment(endpoint_url, {}),
            stdin=subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file,
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 - no thread of the tests holds a lock then
        )
    try:
        yield Command(process, out, err)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


async def esm(folder: Path, endpoint_url: str, *arguments: str, before: Callable[[], None] | None = None) -> Ended:
    """Runs a command to its end."""
    async with command(folder, endpoint_url, *arguments, before=before) as running:
        with anyio.fail_after(_PATIENCE):
            return await running.ended()
