"""Several processes on one state file, and what is left when one of them is killed. Counted in calls, not in time."""

import multiprocessing
import resource
import sqlite3
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from pollers.record import TRIM_HORIZON, Position
from runtime.leases import Lease, LeaseStore, StateError
from runtime.stores.sqlite import SqliteStore

SPAWN = multiprocessing.get_context("spawn")
NEW = Lease(scope="m arn", shard="s", checkpoint=TRIM_HORIZON)
CALLS = 400
"""Of each process."""


def start(work: Callable[[Path, Connection, str], None], path: Path, name: str) -> tuple[SpawnProcess, Connection]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=work, args=(path, theirs, name), daemon=True)
    process.start()
    theirs.close()
    return process, ours


async def take_it(store: LeaseStore, name: str) -> Lease:
    await store.create([NEW])
    (seen,) = await store.load(NEW.scope)
    held = await store.take(seen, name)
    assert held is not None
    return held


def next_position(lease: Lease) -> Position:
    return Position.after(str(lease.checkpoint.order[1] + 1))


def hammer(path: Path, pipe: Connection, name: str) -> None:
    """Take, renew and checkpoint; tells each success as (counter after it, position that it wrote)."""

    async def run() -> list[tuple[int, str]]:
        done = []
        pipe.send("ready")
        pipe.recv()  # both open the file that is not there yet at the same time
        async with SqliteStore.open(path) as store:
            await store.create([NEW])
            (seen,) = await store.load(NEW.scope)
            for number in range(CALLS):
                moves = seen.owner == name and number % 2 == 0
                if moves:
                    written = await store.checkpoint(seen, next_position(seen))
                elif seen.owner == name and number % 10 != 5:
                    (written,) = await store.renew([seen])
                else:
                    written = await store.take(seen, name)
                if written:
                    done.append((written.counter, str(written.checkpoint) if moves else ""))
                    seen = written
                else:
                    (seen,) = await store.load(NEW.scope)
        return done

    pipe.send(anyio.run(run))


async def test_processes_that_fight_for_a_lease_never_both_succeed_on_one_counter(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    workers = [start(hammer, path, name) for name in ("a", "b")]
    assert [pipe.recv() for _, pipe in workers] == ["ready", "ready"]
    for _, pipe in workers:
        pipe.send("go")
    mine, yours = [pipe.recv() for _, pipe in workers]
    for process, pipe in workers:
        process.join()
        pipe.close()
        assert process.exitcode == 0
    successes = sorted(mine + yours)
    async with SqliteStore.open(path) as store:
        (row,) = await store.load(NEW.scope)
    assert [counter for counter, _ in successes] == list(range(1, row.counter + 1)), "one success for each value of the counter"
    positions = [position for _, position in successes if position]
    assert positions == [str(number) for number in range(1, len(positions) + 1)], "each moved on from the one before"
    assert str(row.checkpoint) == positions[-1]
    assert mine
    assert yours


def write_on(path: Path, pipe: Connection, name: str) -> None:
    """Checkpoint until killed; tells each position once it is confirmed."""

    async def run() -> None:
        async with SqliteStore.open(path) as store:
            held = await take_it(store, name)
            while True:
                position = next_position(held)
                moved = await store.checkpoint(held, position, window="w" * (int(position.sequence) % 5000))
                assert moved is not None
                held = moved
                pipe.send(int(position.sequence))

    anyio.run(run)


async def test_a_killed_process_leaves_the_last_confirmed_checkpoint(tmp_path: Path) -> None:
    """`kill -9` in the middle of writes: what was confirmed is there, and at most the one write that was under way."""
    path = tmp_path / "state.db"
    for kill in range(3):
        process, pipe = start(write_on, path, f"worker {kill}")
        confirmed = [pipe.recv() for _ in range(100 + 37 * kill)]
        process.kill()
        process.join()
        confirmed += rest_of(pipe)
        async with SqliteStore.open(path) as store:
            (row,) = await store.load(NEW.scope)
        assert row.owner == f"worker {kill}"
        assert row.checkpoint.order[1] in (confirmed[-1], confirmed[-1] + 1)
        assert len(row.window or "") == row.checkpoint.order[1] % 5000


def rest_of(pipe: Connection) -> list[int]:
    """What the killed one has told before, to the end; a word cut off is none."""
    found = []
    try:
        while True:
            found.append(pipe.recv())
    except EOFError:
        pipe.close()
    return found


async def test_a_process_killed_in_a_transaction_has_written_nothing_and_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with SqliteStore.open(path) as store:
        held = await take_it(store, "me")
        process, pipe = start(stop_halfway, path, "other")
        assert pipe.recv() == "halfway"
        process.kill()
        process.join()
        pipe.close()
        assert await store.load(NEW.scope) == [held]
        assert await store.renew([held]) == [replace(held, counter=2)]


def stop_halfway(path: Path, pipe: Connection, name: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # what is changed goes to the log before it is committed
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE leases SET owner = ?, counter = 77", (name,))
        rows = [(NEW.scope, str(number), "[]", "LATEST", name, None, 0, "w" * 1000, 0.0) for number in range(500)]
        connection.executemany("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        pipe.send("halfway")
        pipe.recv()


async def test_a_disk_that_takes_no_write_is_refused_at_start(tmp_path: Path) -> None:
    """Also where the file is there and could be read. A process of its own, as the limit is for all of its files."""
    path = tmp_path / "state.db"
    async with SqliteStore.open(path) as store:
        await store.create([NEW])
    process, pipe = start(open_without_room, path, "")
    process.join()
    pipe.close()
    assert process.exitcode == 0


def open_without_room(path: Path, _pipe: Connection, _name: str) -> None:
    async def run() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        with pytest.raises(StateError, match="the disk could not be read or written"):
            async with SqliteStore.open(path):
                pass
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        async with SqliteStore.open(path) as store:
            assert await store.load(NEW.scope) == [NEW]

    anyio.run(run)
