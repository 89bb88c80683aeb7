"""The rows beside the leases: which workers live, and which version of KCL the fleet runs; and all that one scan brings. Pure."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from runtime.stores.dynamodb import values
from runtime.stores.dynamodb.lock import ENTITY_LEADER, LockRow, parse_lock
from runtime.stores.dynamodb.rows import ENTITY, KEY, LeaseRow
from runtime.stores.dynamodb.values import BadRow, Item, Stored, Value

ENTITY_WORKER: Final = "WORKER_METRIC_STATS"
UPDATED: Final = "lut"
STATS: Final = "sts"
RANGES: Final = "opr"
CPU: Final = "C"
"""KCL's short name of the processor's load."""
CPU_RANGE: Final = 100
"""Percent that may be used: KCL's on every platform, unless it is told another."""
EVERY: Final = "esmEvery"
ENTITY_VERSION: Final = "CLIENT_VERSION_MIGRATION"
VERSION_KEY: Final = "Migration3.0"
CLIENT_VERSION: Final = "cv"
MODIFIED_BY: Final = "mb"
MODIFIED: Final = "mts"
HISTORY: Final = "h"
VERSION_INIT: Final = "CLIENT_VERSION_INIT"
VERSION_3: Final = "CLIENT_VERSION_3X"


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A sign of life of a worker."""

    worker: str
    updated: int
    """Seconds since the epoch, on its own clock."""
    every: float | None = None
    """Seconds after which it gives the next; only ours say that."""
    load: tuple[float, ...] = ()
    """Percent of the processor, the newest last."""
    failing: bool = False
    """The last sample of one of its metrics is -1: KCL gives it no lease."""

    def written(self) -> dict[str, Value]:
        """What is set of the row. A worker without metrics is balanced by the throughput that the leases say, among its like.

        Not `sup`: that is read as a promise to take part in moving tables.
        """
        return {
            ENTITY: values.text(ENTITY_WORKER),
            UPDATED: values.number(self.updated),
            STATS: {"M": {CPU: {"L": [values.number(value) for value in self.load]}} if self.load else {}},
            RANGES: {"M": {CPU: {"L": [values.number(CPU_RANGE)]}} if self.load else {}},
            **({EVERY: values.number(self.every)} if self.every is not None else {}),
        }


def parse_worker(item: Item) -> WorkerRow:
    """Raises BadRow."""
    updated = values.integer_of(item, UPDATED)
    if updated is None:
        raise BadRow(f"{UPDATED} is missing")
    found = item.get(STATS, {}).get("M", {})
    samples = {name: [float(each.get("N", 0)) for each in series.get("L", [])] for name, series in found.items()}
    return WorkerRow(
        worker=values.needed_text(item, KEY),
        updated=updated,
        every=values.number_of(item, EVERY),
        load=tuple(samples.get(CPU, ())),
        failing=any(each and each[-1] == -1 for each in samples.values()),
    )


class FleetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What `Migration3.0` says."""

    version: str
    by: str = ""

    @property
    def joinable(self) -> bool:
        """The whole fleet assigns leases as KCL 3 does, and there is no way back to 2."""
        return self.version == VERSION_3


def version_item(*, by: str, milliseconds: int) -> dict[str, Value]:
    """The row that a worker of KCL 3 writes into an empty table, with the step that it took there."""
    said = {MODIFIED_BY: values.text(by), MODIFIED: values.number(milliseconds)}
    return {
        KEY: values.text(VERSION_KEY),
        ENTITY: values.text(ENTITY_VERSION),
        CLIENT_VERSION: values.text(VERSION_3),
        HISTORY: {"L": [{"M": {CLIENT_VERSION: values.text(VERSION_INIT), **said}}]},
        **said,
    }


def parse_version(item: Item) -> FleetVersion:
    """Raises BadRow."""
    return FleetVersion(version=values.needed_text(item, CLIENT_VERSION), by=values.text_of(item, MODIFIED_BY) or "")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in a table, as a scan met it: the rows of one moment only as far as nobody wrote meanwhile."""

    leases: tuple[LeaseRow, ...]
    """By key."""
    workers: tuple[WorkerRow, ...] = ()
    lock: LockRow | None = None
    version: FleetVersion | None = None
    unreadable: tuple[str, ...] = ()
    """For each row that cannot be what it says it is, which one and why."""


def key_of(stored: Stored) -> str | None:
    """For messages."""
    try:
        return values.text_of(values.opened(stored), KEY)
    except BadRow:
        return None


def parse_table(stored: Iterable[Stored], read: Callable[[Stored], LeaseRow | None]) -> Snapshot:
    """Rows of entities that are not known here are passed over. Raises BadRow, which names the row, for the version alone.

    `read`: as `parse_lease`.
    """
    leases: list[LeaseRow] = []
    workers: list[WorkerRow] = []
    unreadable: list[str] = []
    lock, version = None, None
    for each in stored:
        entity: str | None = None
        try:
            lease = read(each)
            if lease is not None:
                leases.append(lease)
                continue
            item = values.opened(each)
            entity = values.text_of(item, ENTITY)
            if entity == ENTITY_WORKER:
                workers.append(parse_worker(item))
            elif entity == ENTITY_LEADER:
                lock = parse_lock(item)
            elif entity == ENTITY_VERSION:
                version = parse_version(item)
        except BadRow as error:
            told = f"row {key_of(each)!r}: {error}"
            if entity == ENTITY_VERSION:
                raise BadRow(told) from error
            unreadable.append(told)
    ordered = tuple(sorted(leases, key=lambda lease: lease.key))
    workers.sort(key=lambda row: row.worker)
    return Snapshot(leases=ordered, workers=tuple(workers), lock=lock, version=version, unreadable=tuple(unreadable))
