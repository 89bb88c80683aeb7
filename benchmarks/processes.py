"""Child processes, watched from outside: started on a core, their CPU time and memory read, and always ended by their pid."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parent.parent
"""Children start here, where `python -m` finds the project whether or not it is installed."""
STOP_SECONDS: Final = 40.0
"""How long a child has to end after SIGTERM: the worker's default grace of 25 s and something on top."""


class RunFailed(Exception):
    """A child did not do what a measurement needs; the message says what and shows the end of its output."""


def cores() -> tuple[int, int] | None:
    """One core for the stub and one for the client; None where processes cannot be pinned or there is only one core."""
    usable: list[int] = []
    if sys.platform == "linux":
        usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def sleep_beside(child: "Child", seconds: float) -> None:
    """Raises RunFailed if the child ends meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
        child.check_alive()


def pin(pid: int, core: int | None) -> None:
    """Keep a process (0: this one) and the threads that it starts from now on on one core; None leaves it free."""
    if core is not None and sys.platform == "linux":
        os.sched_setaffinity(pid, {core})


class Child:
    """A running process; use `started`, which ends it."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], output: Path, began: float) -> None:
        self.name = name
        self.began = began
        """Monotonic seconds, just before the process was made."""
        self.output = output
        """What it wrote to stdout and stderr."""
        self.metrics_port: int | None = None
        """Of a worker."""
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def check_alive(self) -> None:
        """Raises RunFailed if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise RunFailed(f"{self.name} ended with exit code {code}\n{self.tail()}")

    def tail(self, lines: int = 12) -> str:
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])

    def cpu(self) -> float:
        """User and system seconds of all its threads, those that have ended included.

        Linux gives them in nanoseconds, through the clock id that clock_getcpuclockid(3) makes of a pid; elsewhere `ps` does,
        in hundredths.
        """
        if sys.platform == "linux":
            seconds = time.clock_gettime((~self.pid << 3) | 2)
        else:
            seconds = _seconds(_ps("time", self.pid))
        return seconds

    def memory(self) -> int:
        """Resident bytes."""
        if sys.platform == "linux":
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            size = pages * os.sysconf("SC_PAGE_SIZE")
        else:
            size = int(_ps("rss", self.pid)) * 1024
        return size

    def peak_memory(self) -> int:
        """Resident bytes at most so far; where the system does not keep that, now."""
        status = Path(f"/proc/{self.pid}/status")
        if sys.platform == "linux":
            peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
            size = int(peak.split()[1]) * 1024
        else:
            size = self.memory()
        return size

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after STOP_SECONDS. Raises RunFailed if it needed that, or did not exit with 0."""
        self.check_alive()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RunFailed(f"{self.name} did not end within {STOP_SECONDS:.0f} s of SIGTERM\n{self.tail()}") from None
        if code != 0:
            raise RunFailed(f"{self.name} ended with exit code {code} after SIGTERM\n{self.tail()}")

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextmanager
def started(
    name: str, command: Sequence[str], *, folder: Path, core: int | None, environment: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """Run `command` with its output in a file of `folder`; whatever happens, it has ended when the block is left."""
    output = folder / f"{name.replace(' ', '-')}.log"
    with output.open("wb") as file:
        began = time.monotonic()
        process = _spawn(command, file, environment)
    child = Child(name, process, output, began)
    try:
        pin(process.pid, core)
        yield child
    finally:
        child.kill()


def _spawn(command: Sequence[str], output: IO[bytes], environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches only the harness, which then ends its children one by one.
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def _ps(keyword: str, pid: int) -> str:
    command = [shutil.which("ps") or "/bin/ps", "-o", f"{keyword}=", "-p", str(pid)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _seconds(text: str) -> float:
    """`[[days-]hours:]minutes:seconds` as ps prints it."""
    days, _, clock = text.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total + 86_400 * int(days or "0")
