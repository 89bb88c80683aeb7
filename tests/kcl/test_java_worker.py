"""The harness, with a `java` that plays a worker. Needs no Java."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kcl import java_worker as harness
from tests.kcl.java_worker import Fleet, JavaWorkerMissing, java_worker, require
from tests.servers.catalogue import KCL

FLEET = Fleet(application="a", stream="s", kinesis="http://127.0.0.1:1", dynamodb="http://127.0.0.1:2")

PLAYS = """\
#!{python}
import os, sys, time
print('{{"event": "initialized", "shard": "one"}}', flush=True)
print('{{"event": "record", "data": "' + os.environ["KCL_STREAM"] + os.environ["KCL_FAILOVER_MS"] + '"}}', flush=True)
print('{{"event": "half', end="", flush=True)
print("the log", file=sys.stderr, flush=True)
{then}
"""


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a `java` that says two lines and half a one, and then does what it is told."""
    monkeypatch.setattr(harness, "is_installed", lambda _program: True)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def make(then: str) -> None:
        for command in KCL.needs:
            (tmp_path / command).write_text(PLAYS.format(python=sys.executable, then=then))
            (tmp_path / command).chmod(0o755)

    return make


async def test_events_are_whole_lines_and_found_by_their_fields(java: Callable[[str], None], tmp_path: Path) -> None:
    java("time.sleep(60)")
    async with java_worker(tmp_path, "j", FLEET) as worker:
        assert await worker.wait("record") == [{"event": "record", "data": "s3000"}]
        assert worker.events("initialized", shard="one") == [{"event": "initialized", "shard": "one"}]
        assert worker.events("initialized", shard="two") == []
        assert len(worker.events()) == 2
        assert worker.alive
    assert not worker.alive


async def test_a_wait_in_vain_shows_what_was_waited_for_and_the_log(java: Callable[[str], None], tmp_path: Path) -> None:
    java("time.sleep(60)")
    async with java_worker(tmp_path, "j", FLEET) as worker:
        await worker.wait("record")
        with pytest.raises(AssertionError, match=r"(?s)j: 1 of 2 times record .* after 0\.2 s.*the log"):
            await worker.wait("record", count=2, seconds=0.2)


async def test_a_worker_that_ended_is_not_waited_for(java: Callable[[str], None], tmp_path: Path) -> None:
    java("sys.exit(2)")
    async with java_worker(tmp_path, "j", FLEET) as worker:
        with pytest.raises(AssertionError, match=r"(?s)it has ended with 2.*the log"):
            await worker.wait("leader")


async def test_a_stop_is_graceful_and_gives_the_status_back(java: Callable[[str], None], tmp_path: Path) -> None:
    java("import signal; signal.signal(15, lambda *_: sys.exit(143)); print('\"}', flush=True); time.sleep(60)")
    async with java_worker(tmp_path, "j", replace(FLEET, settings={"KCL_FAILOVER_MS": "1"})) as worker:
        await worker.wait("record", data="s1")
        await worker.wait("half")  # whole now, and it listens to the signal
        assert await worker.stop() == 143


def test_a_worker_that_is_not_built_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "missing_commands", lambda _program: ())
    monkeypatch.setattr(harness, "is_installed", lambda _program: False)
    with pytest.raises(JavaWorkerMissing, match=r"python -m tests\.servers install kcl$"):
        require()


def test_a_machine_without_java_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaWorkerMissing, match="needs java and mvn: apt-get install openjdk-17-jre-headless maven"):
        require()
