"""Leases in a SQLite file, shared by the worker processes of one host.

The law: every write is one transaction that begins with the write lock, so what a condition saw is what the write changes, and
who dies on the way has written nothing.
"""

import asyncio
import math
import queue
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

import anyio
import anyio.lowlevel
import msgspec

from pollers.record import Position
from runtime.leases import Lease, StateError
from runtime.stores.sqlite_file import Identity, identify, open_file, resolved, told

T = TypeVar("T")

_Row: TypeAlias = tuple[str, str, str, str, str | None, str | None, int, str | None, float]
"""In the order of the columns; the last is when the owner last wrote the row, by the clock that all processes of a host share."""
_LOAD: Final = "SELECT * FROM leases WHERE scope = ? ORDER BY shard"
_LONGEST_CALL: Final = 15.0
"""Seconds: three times as long as a call waits for other processes. Then it may or may not have been carried out."""
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
    WHERE scope = ? AND shard = ? AND owner IS ? AND counter = ? RETURNING *
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

    def __init__(self, path: Path, thread: "_FileThread", connection: sqlite3.Connection, identity: Identity) -> None:
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
        thread = _FileThread(f"state {path.name}")
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

        return await self._thread.run(partial(self._checked, read))

    async def create(self, leases: Sequence[Lease]) -> None:
        rows = [_row(lease) for lease in leases]
        await self._write(lambda connection: connection.executemany(_CREATE, rows))

    async def silence(self, scope: str) -> Mapping[str, float]:
        """A row from before the host was started last, whose clock is ahead of ours, has been silent for ever."""

        def read(connection: sqlite3.Connection) -> dict[str, float]:
            now = time.monotonic()
            rows = connection.execute(_SILENCE, (scope,)).fetchall()
            return {shard: now - written if written <= now else math.inf for shard, written in rows}

        return await self._thread.run(partial(self._checked, read))

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
        return await self._write(partial(self._update, _CHECKPOINT, (time.monotonic(), str(position), window, *_seen(lease))))

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
        return await self._thread.run(partial(self._checked, partial(_in_transaction, work)))

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


class _Call(Generic[T]):
    """One piece of work on its way through the thread."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[T] = self._loop.create_future()

    async def wait(self) -> T:
        with anyio.move_on_after(_LONGEST_CALL, shield=True):
            return await self._answer
        raise StateError(f"the state file has not answered for {_LONGEST_CALL:.0f} seconds: see to its disk")

    def run(self) -> None:
        """In the thread."""
        tell: Callable[[], None]
        try:
            tell = partial(self._answer.set_result, self._work())
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the caller's
            tell = partial(self._answer.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._finish, tell)

    def _finish(self, tell: Callable[[], None]) -> None:
        if not self._answer.done():
            tell()


class _FileThread:
    """A thread that does one thing after the other.

    Of our own because it costs half of what a thread of anyio's pool costs for each call, and keeps the order even if a caller is
    torn away. A daemon: a disk that hangs must not keep the process from ending, and a transaction cut off is none.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    async def run(self, work: Callable[[], T]) -> T:
        await anyio.lowlevel.checkpoint_if_cancelled()
        call = _Call(work)
        self._calls.put(call)
        return await call.wait()

    def end(self) -> None:
        """Let the thread end after what it was given; does not wait for it."""
        self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
