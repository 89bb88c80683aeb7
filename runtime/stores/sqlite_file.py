"""The state file: opening it, and saying what is wrong with it.

The law: what is there is used or refused, never deleted, renamed or begun anew. Only a file that is missing or empty is filled.
An empty one cannot be told from a new one, unless SQLite's log (`-wal`) still lies beside it: its file had rows.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from runtime.leases import StateError

APPLICATION_ID: Final = 0x65736D72
"""`esmr`: what tells our files from those of others."""
VERSION: Final = 1
BUSY_SECONDS: Final = 5.0
"""How long a call waits for other processes: half the failover time, so that a renewal gets a second try."""
_OLDEST: Final = (3, 37, 0)
"""STRICT tables."""
_WAL_PAUSE: Final = 0.02
_MASK: Final = 0xFF
_SMALLEST: Final = 512
"""Bytes of a page."""
_AWAY: Final = "or move it and its -wal and -shm away to begin anew at each mapping's StartingPosition"
_CREATE: Final = """
    CREATE TABLE leases (
        scope TEXT NOT NULL,
        shard TEXT NOT NULL,
        parents TEXT NOT NULL,
        checkpoint TEXT NOT NULL,
        owner TEXT,
        wanted_by TEXT,
        counter INTEGER NOT NULL,
        "window" TEXT,
        written REAL NOT NULL,
        PRIMARY KEY (scope, shard)
    ) STRICT
"""
_WRONG: Final = {
    sqlite3.SQLITE_BUSY: f"other processes have kept it locked for {BUSY_SECONDS:.0f} seconds: see who has it open",
    sqlite3.SQLITE_CANTOPEN: "it, or the -wal and -shm beside it, cannot be opened: the worker's user needs to read and write"
    " the file and its folder",
    sqlite3.SQLITE_CORRUPT: f"it is damaged: put back a copy of it, {_AWAY}",
    sqlite3.SQLITE_ERROR: f"it does not hold what it should: put back a copy of it, {_AWAY}",
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_IOERR: "the disk could not be read or written: see whether it is full, over its quota or failing",
    sqlite3.SQLITE_NOTADB: f"it is no SQLite file, or its beginning is damaged: name another file or put back a copy, {_AWAY}",
    sqlite3.SQLITE_READONLY: "it is read-only: the worker's user needs to write the file and its folder",
}


class Identity(NamedTuple):
    """Which file a path leads to."""

    device: int
    inode: int


def open_file(path: Path) -> tuple[sqlite3.Connection, Identity]:
    """A connection of this thread to a state file that is sound, ours and writable; makes it, and its folders, when missing.

    Raises StateError. The caller closes the connection.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        here, oldest = sqlite3.sqlite_version, ".".join(map(str, _OLDEST))
        raise StateError(f"state file {path}: this Python has SQLite {here}, but {oldest} is needed: use a newer Python")
    with told(path):
        _look_around(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            _prepare(connection, path)
            return connection, identify(path)
        except BaseException:
            connection.close()
            raise


def check_file(path: Path) -> None:
    """Raises StateError if the file cannot be used, or could not be made; makes nothing."""
    if path.exists():
        connection, _ = open_file(path)
        connection.close()
        return
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StateError(f"state file {path}: it cannot be made in {folder}: the worker's user needs to write there")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns what SQLite and the system raise into StateError."""
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(f"state file {path}: {_what(error)}") from error
    except OSError as error:
        message = f"{error.strerror} ({error.filename}): the worker's user needs to read and write the file and its folder"
        raise StateError(f"state file {path}: {message}, or name another file") from error


def identify(path: Path) -> Identity:
    """Raises StateError if there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise StateError(f"state file {path}: it is gone: put it back, or start the worker again to begin anew") from error
    return Identity(found.st_dev, found.st_ino)


def switch_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Let readers and the writer work beside each other, and no write wait for the disk. Raises StateError where it cannot be."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            ((mode,),) = connection.execute("PRAGMA journal_mode = WAL").fetchall()
            break
        except sqlite3.OperationalError as error:  # while others switch too, SQLite does not wait by itself
            if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_PAUSE)
    if mode != "wal":
        message = "its file system has no shared memory, as network file systems have none (SQLite: no WAL)"
        raise StateError(f"state file {path}: {message}: put it on a disk of this host")


def _look_around(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise StateError(f"state file {path}: it is a directory: name a file in it, as in {path / 'state.db'}")
    if path.exists() and not path.is_file():
        raise StateError(f"state file {path}: it is no regular file: name another")
    if 0 < _size(path) < _SMALLEST:  # SQLite takes a single byte for nothing, and writes over it
        raise StateError(f"state file {path}: {_WRONG[sqlite3.SQLITE_NOTADB]}")
    log = Path(f"{path}-wal")
    if _size(log) and not _size(path):  # SQLite would delete the log
        message = f"it is missing or empty, but its log {log} is there: put the file back, or move the log away to begin anew"
        raise StateError(f"state file {path}: {message}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if not _is_new(connection, path):
        ((finding,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
        if finding != "ok":
            raise StateError(f"state file {path}: {_WRONG[sqlite3.SQLITE_CORRUPT]} ({' '.join(finding.split())})")
        connection.execute("SELECT * FROM leases LIMIT 0")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _is_new(connection, path):  # asked again: another process may have been faster
            connection.execute(_CREATE)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")  # in an old file, too: it shows that the disk takes a write
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    switch_to_wal(connection, path)
    # The disk is waited for only when the log is moved into the file. A killed process loses nothing; a power loss may take what
    # was written since, so that the records behind it come again, and never damages the file.
    connection.execute("PRAGMA synchronous = NORMAL")


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether nothing is in it yet. Raises StateError if something of others is, or of a later version."""
    application, version, things = _contents(connection)
    if (application, version, things) == (0, 0, 0):
        return True
    if application != APPLICATION_ID:
        raise StateError(f"state file {path}: it is a SQLite file of another program: name a file of the worker's own")
    if version > VERSION:
        message = f"a later version of esm-runtime wrote it (format {version}, this one knows {VERSION}): update esm-runtime"
        raise StateError(f"state file {path}: {message}, or name another file")
    return False


def _contents(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Application, version, number of things in it: all at one moment, as another process may be making the file."""
    alone = not connection.in_transaction
    if alone:
        connection.execute("BEGIN")
    try:
        ((application,),) = connection.execute("PRAGMA application_id").fetchall()
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        ((things,),) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    finally:
        if alone:
            connection.rollback()
    return application, version, things


def _what(error: sqlite3.Error) -> str:
    said = f"{name}: {error}" if (name := getattr(error, "sqlite_errorname", None)) else str(error)
    known = _WRONG.get(_primary(error))
    return f"{known} ({said})" if known else said


def _primary(error: sqlite3.Error) -> int:
    """0 for what Python's module itself raises."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & _MASK


def resolved(path: Path) -> Path:
    """Where SQLite puts its other files: beside the file itself, not beside a link to it."""
    return Path(os.path.realpath(path))
