"""Commands as a user types them, to their end or until a test ends them."""

import base64
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from pollers.recording_writer import RecordingFile, RecordingWriter
from tests.acceptance.worker_process import CODE, Site, wait_until

HEARD = 1.0
"""Seconds after which a signal was heard; nothing tells it from outside."""
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Command:
    """One that runs."""

    process: "subprocess.Popen[bytes]"
    files: tuple[Path, Path]

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    async def wait(self, *, seconds: float = 30.0) -> Ended:
        await wait_until(
            lambda: self.process.poll() is not None, f"the command ends: {self.files[1].read_text()}", seconds=seconds
        )
        out, err = (file.read_text() for file in self.files)
        return Ended(code=self.process.returncode, out=out, err=err)


@asynccontextmanager
async def running(site: Site, *arguments: str, endpoint_url: str = NOWHERE, **environment: str) -> AsyncIterator[Command]:
    """It is gone when the block is left."""
    number = len(list(site.folder.glob("out-*")))
    files = site.folder / f"out-{number}", site.folder / f"err-{number}"
    with files[0].open("wb") as out, files[1].open("wb") as err:
        process = subprocess.Popen(  # noqa: ASYNC220 - it comes back at once
            [sys.executable, "-m", "runtime", *arguments],
            cwd=site.folder,
            env=site.environment(endpoint_url, environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield Command(process, files)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


async def esm(site: Site, *arguments: str, endpoint_url: str = NOWHERE, seconds: float = 60.0, **environment: str) -> Ended:
    """To its end."""
    async with running(site, *arguments, endpoint_url=endpoint_url, **environment) as command:
        return await command.wait(seconds=seconds)


async def shell(site: Site, line: str, *, endpoint_url: str = NOWHERE) -> Ended:
    """As a line that was copied from the output into a shell."""
    environment = site.environment(endpoint_url, {})
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with anyio.fail_after(60):
        done = await anyio.run_process(["/bin/sh", "-c", line], cwd=site.folder, env=environment, check=False)
    return Ended(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


def acts(handler: str, **parameters: Any) -> dict[str, Any]:
    """A function of `functions/replay_acts.py`."""
    return {"Handler": f"replay_acts.{handler}", "CodeUri": str(CODE), "Timeout": 30, **parameters}


def journal(site: Site, what: str = "ended") -> list[list[str]]:
    """The texts of each invocation."""
    with contextlib.suppress(FileNotFoundError):
        lines = [json.loads(line) for line in site.journal_file.read_text().splitlines()]
        return [line["texts"] for line in lines if line["what"] == what]
    return []


def seen(site: Site, what: str = "ended") -> list[str]:
    return [text for texts in journal(site, what) for text in texts]


async def wait_began(site: Site, count: int = 1) -> None:
    await wait_until(lambda: len(journal(site, "began")) >= count, "the handler began")


def write_recording(path: Path, texts: Sequence[str], *, shards: int = 1, seconds: float = 1.0, arn: str) -> None:
    """Of a Kinesis stream; the records come `seconds` apart, and the key of each is its text."""
    file = RecordingFile.create(path, overwrite=True)
    writer = RecordingWriter(file)
    writer.begin(source="kinesis", source_arn=arn, at=0.0, by="a test")
    for number in range(shards):
        writer.begin_shard(f"shardId-{number:012}", ())
    for number, text in enumerate(texts):
        shard, sequence, at = f"shardId-{number % shards:012}", str(1000 + number), 1_763_700_000 + number * seconds
        shown = {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": text,
                "sequenceNumber": sequence,
                "data": base64.b64encode(text.encode()).decode(),
                "approximateArrivalTimestamp": at,
            },
            "eventSource": "aws:kinesis",
            "eventID": f"{shard}:{sequence}",
            "eventSourceARN": arn,
        }
        writer.add(shown, shard=shard, position=sequence, arrived=at, received=at)
    writer.end(at=0.0)
    file.close()
