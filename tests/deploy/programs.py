"""What the live check is made of: child processes that end with a block, and a Prometheus that can be asked."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from tests.deploy.shipped import ROOT

ACCOUNT: Final = "000000000000"


_Found = TypeVar("_Found")


class CheckError(Exception):
    """What is wrong; the message is for the reader of the CI's log."""


@dataclass(frozen=True, slots=True)
class Program:
    """A child process and what it has printed."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path

    def printed(self, pattern: str) -> str:
        """What the pattern's group matches, once it does; raises CheckError when the program ends first or says nothing."""

        def look() -> str | None:
            if self.process.poll() is not None:
                raise CheckError(f"{self.name} ended with {self.process.returncode}:\n{self.output.read_text()}")
            found = re.search(pattern, self.output.read_text())
            return found[1] if found else None

        return wait_for(f"{self.name} to print {pattern}", look, seconds=30)

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that does not end it within 40 seconds; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The HTTP API of a running server."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        answer = json.loads(fetch(f"{self.url}/api/v1/{path}{query}"))
        if answer["status"] != "success":
            raise CheckError(f"{path} {parameters}: {answer}")
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        return [float(series["value"][1]) for series in self.ask("query", query=expression)["result"]]

    def total(self, expression: str) -> float:
        return sum(self.values(expression))


def wait_for(what: str, look: Callable[[], _Found | None], *, seconds: float) -> _Found:
    """The first thing that `look` gives that is neither None nor False; raises CheckError when it gives none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None and found is not False:
            return found
        time.sleep(0.2)
    raise CheckError(f"waited {seconds:.0f} s in vain for {what}")


def fetch(url: str, body: Any = None) -> str:
    """The page; with a body, a POST of it as JSON. An error answer of Prometheus tells what is wrong with a query: it is read."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310  # loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            text: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
    return text


class Stage:
    """Where the programs run; leaving the block stops them, last first."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path()

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="esm-check-deploy-")))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, name: str, *command: str | Path, **environ: str) -> Program:
        return self._stack.enter_context(self._running(name, command, environment(**environ)))

    @contextmanager
    def _running(self, name: str, command: Sequence[str | Path], environ: Mapping[str, str]) -> Iterator[Program]:
        output = self.folder / f"{name}.log"
        with output.open("wb") as file:
            process = subprocess.Popen(command, cwd=self.folder, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        program = Program(name, process, output)
        try:
            yield program
        finally:
            if process.poll() is None:
                program.stop()


def promtool(*arguments: str | Path, given: str | None = None) -> None:
    """Raises CheckError with what promtool says, if it says anything against it."""
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, check=False, timeout=60)
    said = (done.stdout + done.stderr).strip()
    if done.returncode != 0 or (given is not None and said):
        raise CheckError(f"promtool {' '.join(map(str, arguments[:2]))}: {said}")


def environment(**more: str) -> dict[str, str]:
    """Nothing of the machine's own AWS settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    aws = {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "local", "AWS_EC2_METADATA_DISABLED": "true"}
    files = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    # One attempt, so that the faults reach the worker and are not repeated away by the SDK.
    return kept | aws | files | {"AWS_MAX_ATTEMPTS": "1", "PYTHONPATH": str(ROOT)} | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
