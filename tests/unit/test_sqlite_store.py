"""What only a file can do wrong: it is said at once, where it is and what to do, and the file stays as it is."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup
from msgspec.structs import replace

from pollers.record import TRIM_HORIZON, Position
from runtime.leases import Lease, StateError
from runtime.stores import sqlite_file
from runtime.stores.sqlite import SqliteStore
from runtime.stores.sqlite_file import APPLICATION_ID, VERSION, switch_to_wal

NEW = Lease(scope="m arn", shard="s", checkpoint=TRIM_HORIZON)
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@contextmanager
def sql(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


async def make(path: Path, leases: int = 1) -> None:
    async with SqliteStore.open(path) as store:
        await store.create([replace(NEW, shard=f"s{number}" if number else "s") for number in range(leases)])


async def refusal(path: Path) -> str:
    """What is said of a file that cannot be used; nothing beside it came or went, and it holds what it held."""
    before = contents(path)
    with pytest.raises(StateError) as caught:
        async with SqliteStore.open(path):
            pass
    assert contents(path) == before
    said = str(caught.value)
    assert said.startswith(f"state file {path}: ")
    return said


def contents(path: Path) -> dict[str, bytes]:
    """Of every file beside it. The -shm holds nothing, and neither does a log that SQLite left empty."""
    files = {each.name: each.read_bytes() for each in path.parent.glob("*") if each.is_file()}
    return {name: held for name, held in files.items() if not name.endswith("-shm") and (held or not name.endswith("-wal"))}


def write_from_outside(path: Path, at: int, content: bytes) -> None:
    """By another process: one that holds locks on a file loses them when it closes the file a second time."""
    program = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(int(sys.argv[2])); f.write(bytes.fromhex(sys.argv[3])); f.close()"
    subprocess.run([sys.executable, "-c", program, path, str(at), content.hex()], check=True)


@contextmanager
def no_superuser() -> Iterator[Path]:
    """A folder of an ordinary user, and that user's rights: nothing is read-only to root."""
    folder = Path(tempfile.mkdtemp(prefix="lease-store-"))
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


async def test_a_missing_file_and_its_folders_are_made_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "state.db"
    await make(path)
    async with SqliteStore.open(path) as store:
        assert await store.load(NEW.scope) == [NEW]
    with sql(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchall() == [(APPLICATION_ID,)]
        assert connection.execute("PRAGMA user_version").fetchall() == [(VERSION,)]
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    assert [each.name for each in path.parent.iterdir()] == ["state.db"]


async def test_a_new_file_that_another_worker_makes_in_the_meantime_is_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = sqlite_file._is_new

    def be_slow(connection: sqlite3.Connection, path: Path) -> bool:
        found = asked(connection, path)
        monkeypatch.undo()
        sqlite_file.open_file(path)[0].close()
        return found

    monkeypatch.setattr(sqlite_file, "_is_new", be_slow)
    await make(path)


async def test_an_empty_file_is_a_new_one(path: Path) -> None:
    await anyio.Path(path).touch()
    await make(path)


@pytest.mark.parametrize("emptied", [True, False])
async def test_an_empty_or_missing_file_beside_its_log_is_refused(path: Path, *, emptied: bool) -> None:
    """SQLite itself would delete the log, and what it holds with it."""
    await anyio.Path(f"{path}-wal").write_bytes(b"frames")
    if emptied:
        await anyio.Path(path).touch()
    assert "missing or empty, but its log" in await refusal(path)


async def test_a_directory_is_refused(path: Path) -> None:
    await anyio.Path(path).mkdir()
    assert "is a directory: name a file in it, as in" in await refusal(path)


async def test_a_pipe_is_refused_and_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    assert "is no regular file" in await refusal(path)


async def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"({tmp_path / 'file'}): the worker's user needs" in await refusal(tmp_path / "file" / "state.db")


@pytest.mark.parametrize("content", [b"x", b"not a database\n" * 1000], ids=["short", "long"])
async def test_what_is_no_sqlite_file_is_refused(path: Path, content: bytes) -> None:
    await anyio.Path(path).write_bytes(content)
    assert "is no SQLite file" in await refusal(path)


@pytest.mark.parametrize("statement", ["CREATE TABLE leases (a)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"])
async def test_a_file_of_another_program_is_refused(path: Path, statement: str) -> None:
    with sql(path) as connection:
        connection.execute(statement)
    assert "is a SQLite file of another program" in await refusal(path)


async def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    await make(path)
    with sql(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    assert f"(format {VERSION + 1}, this one knows {VERSION}): update esm-runtime" in await refusal(path)


async def test_a_file_without_its_table_is_refused(path: Path) -> None:
    await make(path)
    with sql(path) as connection:
        connection.execute("DROP TABLE leases")
    assert "does not hold what it should" in await refusal(path)


@pytest.mark.parametrize("damage", ["first page", "any page", "cut off"])
async def test_a_damaged_file_is_refused(path: Path, damage: str) -> None:
    await make(path, leases=500)
    with path.open("r+b") as file:
        match damage:
            case "first page":
                file.write(b"\xff" * 100)
            case "any page":
                file.seek(5 * 4096)
                file.write(b"\xff" * 4096)
            case _:
                file.truncate(3 * 4096)
    said = await refusal(path)
    assert "damaged: " in said
    assert "put back a copy" in said


async def test_a_file_that_is_read_only_is_refused() -> None:
    with no_superuser() as folder:
        await make(folder / "state.db")
        (folder / "state.db").chmod(0o400)
        assert "is read-only: the worker's user needs to write the file and its folder" in await refusal(folder / "state.db")


@pytest.mark.parametrize("exists", [True, False])
async def test_a_folder_that_is_read_only_is_refused(*, exists: bool) -> None:
    with no_superuser() as folder:
        if exists:
            await make(folder / "state.db")
        folder.chmod(0o500)
        assert "the worker's user needs to" in await refusal(folder / "state.db")
        assert "Permission denied" in await refusal(folder / "deeper" / "state.db")


def test_a_file_system_without_shared_memory_is_refused(path: Path) -> None:
    """As network file systems are; here by a way into the file system that has none."""
    with closing(sqlite3.connect(f"file:{path}?vfs=unix-dotfile", uri=True, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE leases (a)")
        with pytest.raises(StateError, match=r"state\.db: its file system has no shared memory.+: put it on a disk of this host"):
            switch_to_wal(connection, path)


async def test_a_sqlite_that_is_too_old_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_OLDEST", (99, 0, 0))
    assert "but 99.0.0 is needed: use a newer Python" in await refusal(path)


async def test_a_full_disk_fails_the_call_and_the_next_may_work(path: Path) -> None:
    async with SqliteStore.open(path) as store:
        await store.create([NEW])
        await limit_pages(store, 4)
        with pytest.raises(StateError, match="the disk is full: make room"):
            await store.create([replace(NEW, shard=f"s{number}") for number in range(1000)])
        await limit_pages(store, 1_000_000)
        assert await store.load(NEW.scope) == [NEW], "all or nothing"
        assert await store.take(NEW, "me") is not None


async def limit_pages(store: SqliteStore, pages: int) -> None:
    await store._thread.run(lambda: store._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def test_a_page_that_is_damaged_later_fails_the_call_and_the_next_may_work(path: Path) -> None:
    await make(path, leases=500)
    whole = await anyio.Path(path).read_bytes()
    async with SqliteStore.open(path) as store:
        await store._thread.run(lambda: store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        write_from_outside(path, 4096, b"\xff" * (len(whole) - 4096))
        await store._thread.run(lambda: store._connection.execute("PRAGMA shrink_memory").fetchall())
        for call in (store.load(NEW.scope), store.take(NEW, "me")):
            with pytest.raises(StateError, match=r"state\.db: it is damaged: put back a copy"):
                await call
        write_from_outside(path, 4096, whole[4096:])
        assert len(await store.load(NEW.scope)) == 500
        assert await store.take(NEW, "me") is not None


@pytest.mark.parametrize(("column", "text"), [("checkpoint", "soon"), ("checkpoint", "AT_TIMESTAMP"), ("parents", "s0")])
async def test_a_row_that_cannot_be_read_is_named_and_stays(path: Path, column: str, text: str) -> None:
    async with SqliteStore.open(path) as store:
        await store.create([NEW, replace(NEW, scope="other")])
        with sql(path) as connection:
            connection.execute(f"UPDATE leases SET {column} = ? WHERE scope = ?", (text, NEW.scope))  # noqa: S608
        for call in (store.load(NEW.scope), store.take(NEW, "me")):
            with pytest.raises(StateError, match=rf"the row of shard s of m arn cannot be read \(.*{column} '{text}'"):
                await call
        assert await store.load("other") == [replace(NEW, scope="other")]
        with sql(path) as connection:
            assert connection.execute("SELECT counter FROM leases").fetchall() == [(0,), (0,)]


async def test_a_file_that_was_removed_or_replaced_takes_no_writes_that_nobody_would_find(path: Path, tmp_path: Path) -> None:
    async with SqliteStore.open(path) as store:
        await store.create([NEW])
        await anyio.Path(path).rename(tmp_path / "away")
        with pytest.raises(StateError, match="it is gone: put it back"):
            await store.take(NEW, "me")
        await anyio.Path(path).touch()
        with pytest.raises(StateError, match="it was replaced while in use: start the worker again"):
            await store.load(NEW.scope)
        await anyio.Path(tmp_path / "away").rename(path)
        assert await store.take(NEW, "me") is not None


async def test_a_file_that_is_locked_fails_the_call_and_the_next_may_work(path: Path) -> None:
    async with SqliteStore.open(path) as store:
        await store.create([NEW])
        await store._thread.run(lambda: store._connection.execute("PRAGMA busy_timeout = 1").fetchall())
        with sql(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StateError, match="other processes have kept it locked for 5 seconds"):
                await store.take(NEW, "me")
            assert await store.load(NEW.scope) == [NEW], "who reads waits for nobody"
        assert await store.take(NEW, "me") is not None


async def test_a_cancelled_call_that_has_begun_ends_and_gives_its_answer(path: Path) -> None:
    async with SqliteStore.open(path) as store:
        await store.create([NEW])
        held: list[Lease | None] = []

        async def take() -> None:
            held.append(await store.take(NEW, "me"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take, name="taker")
            for _ in range(2):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert held == await store.load(NEW.scope)
        assert held[0] is not None
        assert await store.release(held[0]), "no transaction is open"


@asynccontextmanager
async def together(store: SqliteStore) -> AsyncIterator[tuple[TaskGroup, list[str]]]:
    """What is started in the body waits while the file's thread is busy. Gives the statements that then run, too."""
    statements: list[str] = []
    going_on = threading.Event()

    def be_busy() -> None:
        going_on.wait()
        store._connection.set_trace_callback(statements.append)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store._thread.run, be_busy)
        await anyio.lowlevel.checkpoint()
        yield tasks, statements
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        going_on.set()


async def test_writes_that_wait_together_share_a_transaction_and_each_has_its_answer(path: Path) -> None:
    leases = [replace(NEW, shard=f"s{number}") for number in range(20)]
    async with SqliteStore.open(path) as store:
        await store.create(leases)
        taken = [await store.take(lease, "me") for lease in leases]
        answers: dict[str, Lease | None] = {}

        async def move(lease: Lease) -> None:
            answers[lease.shard] = await store.checkpoint(lease, Position.after("7"), window="w")

        async with together(store) as (tasks, statements):
            for lease in taken[1:]:
                assert lease is not None
                tasks.start_soon(move, lease)
            tasks.start_soon(move, leases[0])  # not ours: its counter is that of before it was taken
        assert [statement for statement in statements if statement in ("BEGIN IMMEDIATE", "COMMIT")] == [
            "BEGIN IMMEDIATE",
            "COMMIT",
        ]
        assert answers.pop("s0") is None
        rows = {row.shard: row for row in await store.load(NEW.scope)}
        assert rows.pop("s0") == taken[0]
        assert answers == rows
        assert {row.checkpoint for row in rows.values()} == {Position.after("7")}


async def test_a_write_that_fails_among_others_fails_alone(path: Path) -> None:
    leases = [replace(NEW, shard=f"s{number}") for number in range(5)]
    async with SqliteStore.open(path) as store:
        await store.create(leases)
        failures: list[BaseException] = []

        def fail(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM leases")
            raise LookupError("a bug of the caller")

        async def fail_once() -> None:
            try:
                await store._write(fail)
            except LookupError as error:
                failures.append(error)

        async def take(lease: Lease) -> None:
            assert await store.take(lease, "me") is not None

        async with together(store) as (tasks, _):
            for number, lease in enumerate(leases):
                tasks.start_soon(take, lease)
                if number == 2:
                    tasks.start_soon(fail_once)
        assert len(failures) == 1
        assert [row.owner for row in await store.load(NEW.scope)] == ["me"] * 5
