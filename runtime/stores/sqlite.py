"""Leases in a SQLite file, shared by the worker processes of one host.

The law: every write is part of a transaction that begins with the write lock, so what a condition saw is what the write changes,
and who dies on the way has written nothing. Writes that wait at one moment share a transaction, and are told when it is durable.
"""

import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeAlias, TypeVar

import anyio
import msgspec
import msgspec.structs

from pollers.record import Position
from runtime.leases import Lease, StateError
from runtime.stores.file_thread import FileThread
from runtime.stores.sqlite_file import Identity, identify, open_file, resolved, told

T = TypeVar("T")

_Row: TypeAlias = tuple[str, str, str, str, str | None, str | None, int, str | None, float]
"""In the order of the columns; the last is when the owner last wrote the row, by the clock that all processes of a host share."""
_LOAD: Final = "SELECT * FROM leases WHERE scope = ? ORDER BY shard"
_LAST_WORD: Final = 5.0
_SILENCE: Final = "SELECT shard, written FROM leases WHERE scope = ?"
_CREATE: Final = "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_TAKE: Final = """
    UPDATE leases SET written = ?, owner = ?, wanted_by = NULL, counter = counter + 1
    WHERE scope = ? AND shard = ? AND counter = ? RETURNING *
"""
_RENEW: Final = """
    UPDATE leases SET written = ?, counter = counter + 1 WHERE scope = ? AND shard = ? AND owner IS ? AND counter = ? RETURNING *
"""
_CHECKPOINT: Final = """
    UPDATE leases SET written = ?, checkpoint = ?, "window" = ?, counter = counter + 1
    WHERE scope = ? AND shard = ? AND owner IS ? AND counter = ? RETURNING wanted_by
"""
_RELEASE: Final = """
    UPDATE leases SET written = ?, owner = NULL, counter = counter + 1
    WHERE scope = ? AND shard = ? AND owner IS ? AND counter = ?
"""
_WANT: Final = "UPDATE leases SET wanted_by = ? WHERE scope = ? AND shard = ? AND owner IS ? AND wanted_by IS NULL"
_DELETE: Final = "DELETE FROM leases WHERE scope = ? AND shard = ? AND counter = ?"


class SqliteStore:
    """A LeaseStore. Calls run one after the other in a thread of its own, which alone touches the connection.

    A call that has begun is not cut off by cancellation: it ends first, and its caller has the answer.
    """

    def __init__(self, path: Path, thread: FileThread, connection: sqlite3.Connection, identity: Identity) -> None:
        """For `open`."""
        self._path = path
        self._thread = thread
        self._connection = connection
        self._identity = identity

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        """Open the file, or make it and its folders when missing. Raises StateError if it cannot be used."""
        path = resolved(path)
        thread = FileThread(f"state {path.name}")
        try:
            connection, identity = await thread.run(partial(open_file, path))
            try:
                yield cls(path, thread, connection, identity)
            finally:
                with anyio.move_on_after(_LAST_WORD, shield=True), suppress(StateError):
                    await thread.run(connection.close)
        finally:
            thread.end()

    async def load(self, scope: str) -> list[Lease]:
        """By shard. Raises StateError if a row cannot be read, too, and names it."""

        def read(connection: sqlite3.Connection) -> list[Lease]:
            return [self._lease(row) for row in connection.execute(_LOAD, (scope,)).fetchall()]

        leases: list[Lease] = await self._thread.run(partial(self._checked, read))
        return leases

    async def create(self, leases: Sequence[Lease]) -> None:
        rows = [_row(lease) for lease in leases]
        await self._write(lambda connection: connection.executemany(_CREATE, rows))

    async def silence(self, scope: str) -> Mapping[str, float]:
        """A row from before the host was started last, whose clock is ahead of ours, has been silent for ever."""

        def read(connection: sqlite3.Connection) -> dict[str, float]:
            now = time.monotonic()
            rows = connection.execute(_SILENCE, (scope,)).fetchall()
            return {shard: now - written if written <= now else math.inf for shard, written in rows}

        silence: dict[str, float] = await self._thread.run(partial(self._checked, read))
        return silence

    async def take(self, lease: Lease, owner: str) -> Lease | None:
        return await self._write(partial(self._update, _TAKE, (time.monotonic(), owner, lease.scope, lease.shard, lease.counter)))

    async def renew(self, leases: Sequence[Lease]) -> list[Lease | None]:
        def renew_each(connection: sqlite3.Connection) -> list[Lease | None]:
            return [self._update(_RENEW, (time.monotonic(), *_seen(lease)), connection) for lease in leases]

        return await self._write(renew_each)

    async def checkpoint(self, lease: Lease, position: Position, *, window: str | None = None) -> Lease | None:
        """Raises ValueError if the position lies before the lease's: a bug of the caller."""
        if position.order < lease.checkpoint.order:
            raise ValueError(f"the checkpoint of {lease.shard} would go back from {lease.checkpoint} to {position}")

        def write(connection: sqlite3.Connection) -> Lease | None:
            values = (time.monotonic(), str(position), window, *_seen(lease))
            rows = connection.execute(_CHECKPOINT, values).fetchall()
            if not rows:
                return None
            return msgspec.structs.replace(
                lease, checkpoint=position, window=window, counter=lease.counter + 1, wanted_by=rows[0][0]
            )

        return await self._write(write)

    async def release(self, lease: Lease) -> bool:
        values = (time.monotonic(), *_seen(lease))
        return await self._write(lambda connection: connection.execute(_RELEASE, values).rowcount > 0)

    async def want(self, lease: Lease, worker: str) -> bool:
        values = (worker, lease.scope, lease.shard, lease.owner)
        return await self._write(lambda connection: connection.execute(_WANT, values).rowcount > 0)

    async def delete(self, leases: Sequence[Lease]) -> None:
        rows = [(lease.scope, lease.shard, lease.counter) for lease in leases]
        await self._write(lambda connection: connection.executemany(_DELETE, rows))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        value: T = await self._thread.run(work, together=self._write_together)
        return value

    def _write_together(self, works: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        """In the thread: all of them or none, in order, each after those before it. It costs what a single one costs."""
        return self._checked(partial(_in_transaction, lambda connection: [work(connection) for work in works]))

    def _checked(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In the thread."""
        with told(self._path):
            if identify(self._path) != self._identity:  # SQLite goes on with the old one, and nobody would ever read it
                raise StateError(f"state file {self._path}: it was replaced while in use: start the worker again")
            try:
                return work(self._connection)
            except sqlite3.Error:
                self._connection.execute("PRAGMA shrink_memory")  # a page that was read damaged is read again the next time
                raise

    def _update(
        self, statement: str, values: tuple[str | int | float | None, ...], connection: sqlite3.Connection
    ) -> Lease | None:
        rows: list[_Row] = connection.execute(statement, values).fetchall()
        return self._lease(rows[0]) if rows else None

    def _lease(self, row: _Row) -> Lease:
        scope, shard, parents, checkpoint, owner, wanted_by, counter, window, _ = row
        try:
            return Lease(
                scope=scope,
                shard=shard,
                parents=msgspec.json.decode(parents, type=tuple[str, ...]),
                checkpoint=Position.parse(checkpoint),
                window=window,
                owner=owner,
                wanted_by=wanted_by,
                counter=counter,
            )
        except (ValueError, msgspec.DecodeError) as error:
            message = f"the row of shard {shard} of {scope} cannot be read (checkpoint {checkpoint!r}, parents {parents!r})"
            raise StateError(f"state file {self._path}: {message}: correct it, or delete it to begin that shard anew") from error


def _in_transaction(work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        value = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return value


def _seen(lease: Lease) -> tuple[str, str, str | None, int]:
    return lease.scope, lease.shard, lease.owner, lease.counter


def _row(lease: Lease) -> _Row:
    parents = msgspec.json.encode(lease.parents).decode()
    checkpoint = str(lease.checkpoint)
    seen = (lease.owner, lease.wanted_by, lease.counter, lease.window)
    return lease.scope, lease.shard, parents, checkpoint, *seen, time.monotonic()
