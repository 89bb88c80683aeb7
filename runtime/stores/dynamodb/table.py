"""The operations on one table. A conditional write gives the row as it is now, or `Refused` with the row that was in its way.

A write whose answer was lost and that the client sent again fails its own condition: the token in the row that comes back tells
that it was ours, and it counts as done. KCL guesses the same from owner and counter.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Final, TypeVar

import msgspec
from botocore.exceptions import ClientError

from runtime.clock import now
from runtime.leases import StateError
from runtime.stores.dynamodb import changes
from runtime.stores.dynamodb.calls import TableCalls
from runtime.stores.dynamodb.changes import Change, Expressions
from runtime.stores.dynamodb.errors import TRANSACTION_CANCELED, RowUnreadable, StateRejected, code_of, reasons_of, row_of
from runtime.stores.dynamodb.fleet import ENTITY_WORKER, Snapshot, WorkerRow, parse_table, parse_worker
from runtime.stores.dynamodb.lock import LEADER, LockRow, parse_lock
from runtime.stores.dynamodb.row_reader import RowReader
from runtime.stores.dynamodb.rows import ENTITY, KEY, OWNER, LeaseRow, item_of
from runtime.stores.dynamodb.schema import INDEX
from runtime.stores.dynamodb.values import BadRow, Item, Stored, Value, opened

T = TypeVar("T")

MOST_TOGETHER: Final = 100
"""Items of one transaction."""
_RETURNED: Final = {"ReturnValues": "ALL_NEW", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
_TRIES: Final = 5
"""Of a transaction: each time fewer rows are missing, or another worker was in the way."""
_EXISTS: Final = "ConditionalCheckFailed"
_NO_INDEX: Final = 60.0
"""Seconds until an index is looked for again."""


class Refused(msgspec.Struct, frozen=True):
    """The condition did not hold; nothing was written."""

    row: LeaseRow | None
    """As it is; None: it is not there."""


class LeaseTable:
    def __init__(self, calls: TableCalls, *, tokens: Callable[[], str]) -> None:
        """`tokens` gives texts, none twice."""
        self.calls = calls
        self.tokens = tokens
        self._rows = RowReader()
        self._index_at = -inf
        """When to ask the index again that could not be asked."""

    # reading; all raise StateError, also for a row that cannot be read, and name it

    async def scan(self, *, consistent: bool = False) -> Snapshot:
        """Everything: leases, workers, the lock, the version."""
        items = await self._pages("Scan", {"ConsistentRead": consistent})
        return self.understood(lambda: parse_table(items, self._rows.read))

    async def keys_of(self, worker: str) -> list[str]:
        """The leases that name `worker` as their owner, or their next one, by the index, which lags behind a little.

        Where there is none, or it is still being filled (which may take many minutes), by reading the whole table.
        """
        if now() >= self._index_at:
            try:
                return await self._indexed_keys(worker)
            except ClientError:
                self._index_at = now() + _NO_INDEX
        return [row.key for row in (await self.scan()).leases if row.owner == worker]

    async def _indexed_keys(self, worker: str) -> list[str]:
        request = {
            "IndexName": INDEX,
            "KeyConditionExpression": "#owner = :owner",
            "ExpressionAttributeNames": {"#owner": OWNER},
            "ExpressionAttributeValues": {":owner": {"S": worker}},
        }
        items = await self._pages("Query", request, expected=frozenset({"ValidationException"}))
        return [str(opened(item)[KEY]["S"]) for item in items]

    async def get(self, key: str) -> LeaseRow | None:
        item = await self._item(key)
        return None if item is None else self.understood(lambda: self._rows.read(item), row=key)

    async def lock(self) -> LockRow | None:
        item = await self._item(LEADER)
        return None if item is None else self.understood(lambda: parse_lock(item), row=LEADER)

    async def worker(self, name: str) -> WorkerRow | None:
        """Not consistently: at half the price, and it is written all the time."""
        item = await self._item(name, consistent=False)
        is_worker = item is not None and item.get(ENTITY) == {"S": ENTITY_WORKER}
        return self.understood(lambda: parse_worker(item)) if item is not None and is_worker else None

    # leases; `key` is the row's

    async def create(self, new: Sequence[LeaseRow]) -> None:
        """Those that do not exist. Up to a hundred at once are all or nothing."""
        for start in range(0, len(new), MOST_TOGETHER):
            await self._create_together(new[start : start + MOST_TOGETHER])

    async def write(self, key: str, change: Expressions, *, token: str, counter: int | None) -> LeaseRow | Refused:
        """`token` and `counter`: what `change` leaves in the row; without a counter the token alone tells that it is ours."""
        try:
            answer = await self.calls.call("UpdateItem", {"Key": _key(key), **change.expressions(), **_RETURNED})
        except ClientError as error:
            item = row_of(error)
            row = None if item is None else self.understood(lambda: self._rows.read(item), row=key)
            ours = row is not None and row.write == token and counter in (None, row.counter)
            return row if row is not None and ours else Refused(row)
        written = self.understood(lambda: self._rows.read(answer["Attributes"]), row=key)
        if written is None:
            raise self.unreadable(f"row {key!r} has become another entity")
        return written

    async def name_children(self, key: str, children: tuple[str, ...]) -> bool:
        """False: the row is not there."""
        return await self._do("UpdateItem", key, changes.name_children(children))

    async def delete(self, key: str, change: Change) -> bool:
        """False: it is not as it was seen."""
        return await self._do("DeleteItem", key, change)

    # the leader's lock; False: somebody else was faster

    async def acquire_lock(self, seen: LockRow | None, mine: LockRow) -> bool:
        return await self._do_lock(changes.acquire_lock(seen, mine), lambda lock: lock.version == mine.version)

    async def beat_lock(self, mine: LockRow, *, version: str) -> LockRow | None:
        """The lock with its new version; None: it is not as we left it."""
        done = await self._do_lock(changes.beat_lock(mine, version), lambda lock: lock.version == version)
        return msgspec.structs.replace(mine, version=version) if done else None

    async def release_lock(self, mine: LockRow) -> bool:
        """Who may not delete says in the row that it is free: else it would stay a leader that does not want to lead."""
        try:
            return await self._do("DeleteItem", LEADER, changes.release_lock(mine))
        except StateRejected:
            return await self._do("UpdateItem", LEADER, changes.mark_lock_released(mine))

    # workers

    async def report_worker(self, row: WorkerRow) -> None:
        """Raises StateRejected if something else has a row of that name."""
        if not await self._do("UpdateItem", row.worker, changes.report_worker(row)):
            where = f"state table {self.calls.table} in {self.calls.region}"
            raise StateRejected(f"{where}: the worker {row.worker} is called like another row: give it another id")

    async def forget_worker(self, row: WorkerRow) -> bool:
        return await self._do("DeleteItem", row.worker, changes.forget_worker(row))

    # parts

    async def _pages(self, operation: str, request: Mapping[str, Any], *, expected: frozenset[str] = frozenset()) -> list[Stored]:
        items: list[Stored] = []
        start: dict[str, Any] = {}
        while True:
            answer = await self.calls.call(operation, {**request, **start}, expected=expected)
            items += answer.get("Items", ())
            if not answer.get("LastEvaluatedKey"):
                return items
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def _item(self, key: str, *, consistent: bool = True) -> Item | None:
        answer = await self.calls.call("GetItem", {"Key": _key(key), "ConsistentRead": consistent})
        item: Item | None = answer.get("Item")
        return item or None

    async def _create_together(self, new: Sequence[LeaseRow]) -> None:
        """A transaction is refused as a whole when one of its rows exists, or is being written: then again without those."""
        missing = list(new)
        for _ in range(_TRIES):
            puts = [{"Put": {"TableName": self.calls.table, **_put(row)}} for row in missing]
            try:
                await self.calls.call("TransactWriteItems", {"TransactItems": puts})
            except ClientError as error:
                if code_of(error) != TRANSACTION_CANCELED:
                    raise
                reasons = reasons_of(error)
                missing = [row for row, reason in zip(missing, reasons, strict=True) if reason != _EXISTS]
                if not missing:
                    return
            else:
                return
        where = f"state table {self.calls.table} in {self.calls.region}"
        raise StateError(f"{where}: TransactWriteItems: other workers write the same rows; it is tried again")

    async def _do(self, operation: str, key: str, change: Change) -> bool:
        try:
            await self.calls.call(operation, {"Key": _key(key), **change.expressions()})
        except ClientError:
            return False
        return True

    async def _do_lock(self, change: Change, is_ours: Callable[[LockRow], bool]) -> bool:
        try:
            await self.calls.call("UpdateItem", {"Key": _key(LEADER), **change.expressions(), **_RETURNED})
        except ClientError as error:
            item = row_of(error)
            return item is not None and is_ours(self.understood(lambda: parse_lock(item), row=LEADER))
        return True

    def understood(self, read: Callable[[], T], *, row: str | None = None) -> T:
        """Raises RowUnreadable, which says where it is. `row`: its key, where `read` does not name it."""
        try:
            return read()
        except BadRow as error:
            raise self.unreadable(f"row {row!r}: {error}" if row else str(error)) from error

    def unreadable(self, what: str) -> RowUnreadable:
        where = f"state table {self.calls.table} in {self.calls.region}"
        return RowUnreadable(f"{where}: {what}: correct it, or delete it to begin that shard anew")


def _key(key: str) -> dict[str, Value]:
    return {KEY: {"S": key}}


def _put(row: LeaseRow) -> dict[str, Any]:
    names = {"ConditionExpression": "attribute_not_exists(#key)", "ExpressionAttributeNames": {"#key": KEY}}
    return {"Item": item_of(row), **names}
