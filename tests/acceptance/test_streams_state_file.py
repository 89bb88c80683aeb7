"""A state file that cannot be used: a clear error at the start, never a fresh start; and a report while running."""

import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import anyio

from tests.acceptance.local_aws import LocalAws, local_aws
from tests.acceptance.stream_site import rows, seen, stream_function, stream_mapping, stream_site
from tests.acceptance.worker_process import Page, Site, WorkerProcess, process_on

WORKS = {"f": stream_function("works")}
BOUND: Final = (
    "import ctypes, os, sys; os.geteuid() or ctypes.CDLL(None).prctl(24, 1, 0, 0, 0); "
    "os.execv(sys.executable, [sys.executable, '-m', 'runtime', *sys.argv[1:]])"
)
"""Nothing is read-only to root, unless it gives up CAP_DAC_OVERRIDE (PR_CAPBSET_DROP)."""


SMALL_DISK: Final = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
    "os.execv(sys.executable, [sys.executable, '-m', 'runtime', *sys.argv[1:]])"
)
"""No file grows any more after a few positions."""


async def make_state(aws: LocalAws, site: Site) -> None:
    """A sound state file with a position in it."""
    async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
        await worker.wait(lambda: len(seen(site)) == 3, "the stream is read")
        assert await worker.stop() == 0


def _spoil_beginning(path: Path) -> None:
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])


def _spoil_middle(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * 512 + whole[4608:])


def _other_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
        connection.commit()


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


async def test_a_state_file_that_cannot_be_used_is_one_clear_line_and_stays_as_it_is(tmp_path: Path) -> None:
    spoilt: dict[str, tuple[Callable[[Path], None], str]] = {
        "beginning": (_spoil_beginning, "it is no SQLite file, or its beginning is damaged"),
        "middle": (_spoil_middle, "it is damaged: put back a copy of it"),
        "other": (_other_program, "it is a SQLite file of another program: name a file of the worker's own"),
        "directory": (_directory, "it is a directory: name a file in it"),
    }
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await aws.put("clicks", *"abc", key="k")
        site = stream_site(tmp_path, WORKS, [stream_mapping("m", arn)])
        await make_state(aws, site)
        path = tmp_path / "state.db"
        sound = path.read_bytes()
        for name, (spoil, told) in spoilt.items():
            spoil(path)
            before = None if path.is_dir() else path.read_bytes()
            async with process_on(site, aws.endpoint.url, WORKER="two") as worker:
                assert await worker.wait_exit() == 1, name
                line = only_line(worker)
            assert line.startswith(f"state file {path}: {told}"), (name, line)
            assert (None if path.is_dir() else path.read_bytes()) == before, name
            if path.is_dir():
                path.rmdir()
            path.write_bytes(sound)
        assert len(seen(site)) == 3
        await aws.put("clicks", "d", key="k")
        async with process_on(site, aws.endpoint.url, WORKER="two") as worker:  # the copy that was put back goes on
            await worker.wait(lambda: len(seen(site)) == 4, "it goes on")
            assert [each.text for each in seen(site)] == list("abcd")
            assert await worker.stop() == 0


def only_line(worker: WorkerProcess) -> str:
    """Of what is no log line."""
    lines = [line for line in worker.log_text().splitlines() if not line.startswith("{")]
    assert len(lines) == 1, worker.log_text()
    return lines[0]


async def test_a_read_only_state_file_is_one_clear_line_and_stays_as_it_is(tmp_path: Path) -> None:
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await aws.put("clicks", *"abc", key="k")
        site = stream_site(tmp_path, WORKS, [stream_mapping("m", arn)])
        await make_state(aws, site)
        path = tmp_path / "state.db"
        before = path.read_bytes()
        path.chmod(0o444)
        command = (sys.executable, "-c", BOUND)
        async with process_on(site, aws.endpoint.url, WORKER="two", command=command) as worker:
            assert await worker.wait_exit() == 1, worker.log_text()
            line = only_line(worker)
        assert line.startswith(f"state file {path}: it is read-only: the worker's user needs to write the file and its folder")
        assert path.read_bytes() == before
        assert len(seen(site)) == 3


async def wait_unready(worker: WorkerProcess, *, saying: str = "") -> Page:
    async def unready() -> bool:
        page = await worker.page("/readyz")
        return page.status == 503 and saying in str(page.json["waiting"])

    await worker.wait(unready, "the worker is not ready", seconds=10)
    return await worker.page("/readyz")


async def test_a_disk_that_takes_no_more_writes_is_told_though_it_can_be_read(tmp_path: Path) -> None:
    """What can be read is no sign that positions are kept: the mapping is not ready, and stays so, and says why."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        site = stream_site(tmp_path, WORKS, [stream_mapping("m", arn, BatchSize=1)])
        command = (sys.executable, "-c", SMALL_DISK)
        async with process_on(site, aws.endpoint.url, WORKER="one", command=command) as worker:
            await worker.wait_ready()
            await aws.put("clicks", *(f"{n}" for n in range(30)), key="k")
            told = await worker.wait_log("state_failed")
            assert told["error"].startswith(f"state file {tmp_path / 'state.db'}: the disk ")
            await wait_unready(worker, saying="the disk ")  # for a moment it says that it has lost the lease, and to whom
            done = len(seen(site))
            for _ in range(20):
                await anyio.sleep(0.1)
                assert (await worker.page("/readyz")).status == 503
                assert "the disk " in (await worker.mapping("m"))["why"]
            assert len(worker.log("state_failed")) < 5
            assert len(worker.log("state_answered")) <= len(worker.log("state_failed"))
            assert done <= len(seen(site)) <= done + 1  # nothing is invoked whose position could not be kept
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait_exit(seconds=10) == 0
        sequences = [str(record.sequence) for record in aws.stream("clicks").open_shards[0].records]
        done = len({each.id for each in seen(site)})
        (row,) = rows(site)
        assert row.checkpoint in sequences[max(0, done - 2) : done]


async def test_a_state_file_that_goes_away_while_running_is_told_and_the_worker_goes_on_when_it_is_back(tmp_path: Path) -> None:
    """Without it no lease can be renewed, so nothing is invoked any more after the failover time; nothing is lost or repeated."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        site = stream_site(tmp_path, WORKS, [stream_mapping("m", arn)])
        path, away = tmp_path / "state.db", tmp_path / "away.db"
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await aws.put("clicks", "a", key="k")
            await worker.wait(lambda: len(seen(site)) == 1, "the stream is read")
            await worker.wait(lambda: rows(site)[0].checkpoint != "TRIM_HORIZON", "its checkpoint is written")
            path.rename(away)
            told = await worker.wait_log("state_failed")
            assert f"state file {path}: it is gone: put it back" in told["error"]
            page = await wait_unready(worker)
            assert "it is gone: put it back" in page.json["waiting"]["m"]
            assert "it is gone: put it back" in (await worker.mapping("m"))["why"]
            await worker.wait_log("lease_lost")
            await aws.put("clicks", "b", key="k")
            away.rename(path)
            await worker.wait(lambda: len(seen(site)) == 2, "it goes on")
            await worker.wait_ready()
            assert len(worker.log("state_failed")) == 1
            await worker.wait_log("state_answered")
            assert (await worker.mapping("m"))["restarts"] == 0
            assert await worker.stop() == 0
        assert [each.text for each in seen(site)] == ["a", "b"]
