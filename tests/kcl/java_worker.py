"""Java KCL workers as processes, and what they say of themselves.

    fleet = Fleet(application="orders", stream=stream.name, kinesis=kinesis_server.endpoint_url, dynamodb=dynamodb_server.endpoint_url)
    async with java_worker(tmp_path, "java-1", fleet) as worker:
        await worker.wait("record", count=10)
        await worker.stop()

The process is always gone when the block is left, ended by its own id. `README.md` has the settings and the events.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio

from tests.servers.catalogue import KCL
from tests.servers.install import home_of, is_installed
from tests.servers.selection import missing_commands
from tests.servers.spec import ACCOUNT, REGION, Program, ServerError

QUICK: Final = {
    "KCL_EAGER": "on",
    "KCL_FIRST_SYNC_PAUSE_MS": "0",
    "KCL_FAILOVER_MS": "3000",
    "KCL_ASSIGNMENT_MS": "2000",
    "KCL_LEADER_DURATION_MS": "6000",
    "KCL_LEADER_HEARTBEAT_MS": "1500",
    "KCL_WORKER_METRICS_MS": "2000",
    "KCL_HOLE_SYNC_MS": "5000",
    "KCL_PARENT_POLL_MS": "1000",
    "KCL_IDLE_MS": "200",
    "KCL_BALANCE_EVERY": "1",
}
"""Settings with which a fleet does within seconds what takes minutes by default."""

PATIENCE: Final = 60.0
"""Seconds a test waits for what it expects, on a machine that does much else."""
_LOOK_EVERY: Final = 0.05
_INHERITED: Final = ("PATH", "LANG", "JAVA_HOME")
# A small program with a short life; the last keeps it inside its folder.
_JAVA: Final = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_LOG: Final = ("-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What the workers of one application have in common."""

    application: str
    """The name of its table, too."""
    stream: str
    """A name or an ARN; names with commas between are multi-stream mode, also one with a comma behind it."""
    kinesis: str
    """An endpoint URL, as the next."""
    dynamodb: str
    settings: Mapping[str, str] = field(default_factory=lambda: QUICK)
    program: Program = KCL


class JavaWorkerMissing(ServerError):
    """The worker is not built, or this machine cannot run it. The message says what to do."""


def require(program: Program = KCL) -> Path:
    """The folder with the worker's jars. Raises `JavaWorkerMissing`."""
    missing = missing_commands(program)
    if missing:
        raise JavaWorkerMissing(
            f"the Java KCL worker needs {' and '.join(missing)}: apt-get install openjdk-17-jre-headless maven, or leave out --kcl"
        )
    if not is_installed(program):
        raise JavaWorkerMissing(
            f"the Java KCL worker {program.version} is not built from today's sources: run python -m tests.servers install {program.name}"
        )
    return home_of(program) / "lib"


class JavaWorker:
    """A running worker. Its events go to `<name>.jsonl`, its log to `<name>.log`, in the folder that it was given."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        self.name = name
        self.started = time.time()
        self._process = process
        self._events_file = folder / f"{name}.jsonl"
        self._log_file = folder / f"{name}.log"

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def events(self, event: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """The lines so far, of one event, with these fields; `at` is in milliseconds of the wall clock."""
        text = self._events_file.read_text()
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in lines if event in (None, line["event"]) and fields.items() <= line.items()]

    async def wait(self, event: str, *, count: int = 1, seconds: float = PATIENCE, **fields: Any) -> list[dict[str, Any]]:
        """Until there are so many; fails with the end of the log after `seconds`, or when the process has ended without."""
        deadline = anyio.current_time() + seconds
        while True:
            ended = not self.alive
            found = self.events(event, **fields)
            if len(found) >= count:
                return found
            what = f"{self.name}: {len(found)} of {count} times {event} {fields or ''}"
            assert not ended, f"{what}, and it has ended with {self._process.returncode}\n{self.log_tail()}"
            assert anyio.current_time() < deadline, f"{what} after {seconds:g} s\n{self.log_tail()}"
            await anyio.sleep(_LOOK_EVERY)

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-lines:])

    def pause(self) -> None:
        """SIGSTOP: its heartbeats stand still until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL: it gives nothing back."""
        self._process.kill()
        await self._gone(PATIENCE)

    async def stop(self, *, seconds: float = PATIENCE) -> int:
        """SIGTERM, KCL's graceful shutdown. 143 is the exit status of a Java program that ended so."""
        self._process.terminate()
        return await self._gone(seconds)

    async def _gone(self, seconds: float) -> int:
        deadline = anyio.current_time() + seconds
        while self.alive:
            assert anyio.current_time() < deadline, f"{self.name} is still there after {seconds:g} s\n{self.log_tail()}"
            await anyio.sleep(_LOOK_EVERY)
        return self._process.returncode


@asynccontextmanager
async def java_worker(folder: Path, name: str, fleet: Fleet) -> AsyncIterator[JavaWorker]:
    """Raises `JavaWorkerMissing`. One name at a time in a folder; a second run of it begins its files anew."""
    jars = require(fleet.program)
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
        "HOME": str(folder),
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_EC2_METADATA_DISABLED": "true",
        "KCL_APPLICATION": fleet.application,
        "KCL_WORKER": name,
        "KCL_STREAM": fleet.stream,
        "KCL_KINESIS_ENDPOINT": fleet.kinesis,
        "KCL_DYNAMODB_ENDPOINT": fleet.dynamodb,
        **fleet.settings,
    }
    with (folder / f"{name}.jsonl").open("wb") as events, (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - it comes back at once
            ("java", *_JAVA, *_LOG, f"-Djava.io.tmpdir={folder}", "-cp", f"{jars}/*", "kcl.Main"),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=events,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the tests, which end the worker themselves
        )
    try:
        yield JavaWorker(name, process, folder)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
