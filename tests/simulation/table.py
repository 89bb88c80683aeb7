"""The lease table of a fleet, as each life reaches it: the real conditions, answers that are slow, wrong or lost; reads that lag.

What is journalled is read off the rows before and after a request, and off its expressions, in the step that carries it out. The
product's words for it are not asked, except for positions.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import anyio
from botocore.exceptions import ClientError, ReadTimeoutError

from runtime.config.worker import DynamodbState
from runtime.core.lease import Lease
from runtime.local.dynamodb.store import DynamoDB
from runtime.stores.dynamodb.leases import position_of
from runtime.stores.dynamodb.opening import dynamodb_store
from runtime.stores.dynamodb.rows import parse_lease
from runtime.stores.dynamodb.store import DynamodbStore
from tests.fakes.dynamodb_table import FakeDynamodb, as_text
from tests.simulation.journal import (
    Asked,
    Assigned,
    ChildrenNamed,
    LockTaken,
    RowMade,
    RowRefused,
    RowsForgotten,
    RowWritten,
)
from tests.simulation.scenario import SLOW_ANSWER
from tests.simulation.world import World, now

TABLE: Final = "esm-m"
_KEPT: Final = 8.0
"""Seconds of the past that late reads may show."""
_READS: Final = frozenset({"GetItem", "Scan", "Query", "DescribeTable"})
Item = Mapping[str, Any]
Rows = dict[str, dict[str, Any]]


@dataclass
class LeaseRows:
    """The table itself, with its past."""

    client: FakeDynamodb = field(default_factory=lambda: FakeDynamodb(DynamoDB(seed=0, clock=lambda: 0.0)))
    past: "deque[tuple[float, Rows]]" = field(default_factory=deque)
    """As it was from each moment on."""

    def items(self) -> Rows:
        return self.client.items(TABLE) if self.past else {}

    def remember(self) -> None:
        self.past.append((now(), self.client.items(TABLE)))
        while len(self.past) > 1 and self.past[1][0] < now() - _KEPT:
            self.past.popleft()

    def before(self, lag: float) -> Rows:
        """As it was so many seconds ago."""
        found: Rows = {}
        for since, rows in self.past:
            if since <= now() - lag or not found:
                found = rows
        return found

    def leases(self, start: float | None) -> dict[str, Lease]:
        rows = [parse_lease(item) for item in self.items().values()]
        return {
            row.shard: Lease(scope="", shard=row.shard, checkpoint=position_of(row, start=start), window=row.window)
            for row in rows
            if row is not None
        }


class SimTable:
    """A client of one life."""

    def __init__(self, world: World, table: LeaseRows, who: str) -> None:
        self._world = world
        self._table = table
        self._who = who

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        operation = "".join(word.title() for word in method.split("_"))

        async def call(**request: Any) -> Any:
            world, chances = self._world, self._world.scenario.chances
            await anyio.sleep(world.time("store", chances.store_time))
            if world.closed or world.out("store", self._who) or world.happens("store", chances.store_error):
                raise ClientError({"Error": {"Code": "InternalServerError", "Message": "the store does not answer"}}, operation)
            error: ClientError | None = None
            try:
                answer = self._read_late(operation, request) or self._do(operation, request)
            except ClientError as refused:
                error, answer = refused, {}
            if world.happens("store", chances.store_lost_answer):
                raise ReadTimeoutError(endpoint_url="http://dynamodb")
            slow = operation not in _READS and world.out("slow", self._who)
            await anyio.sleep(SLOW_ANSWER if slow else world.time("store", chances.store_time))
            if error is not None:
                raise error
            return as_text(operation, answer)

        return call

    # reads that show the past

    def _read_late(self, operation: str, request: Mapping[str, Any]) -> Any:
        lag = self._world.time("lag", self._world.scenario.lag)
        if not lag or request.get("ConsistentRead") or operation not in ("Scan", "Query") or "Limit" in request:
            return None
        rows = self._table.before(lag)
        if operation == "Scan":
            return {"Items": list(rows.values())}
        owner = request["ExpressionAttributeValues"][":owner"]
        return {"Items": [{"leaseKey": row["leaseKey"]} for row in rows.values() if row.get("leaseOwner") == owner]}

    # what is done, and told

    def _do(self, operation: str, request: Mapping[str, Any]) -> Any:
        """Without giving way: nobody comes in between a write and its line in the journal."""
        if operation in _READS:
            return self._table.client.carry_out(operation, request)
        before = self._table.items()
        try:
            answer = self._table.client.carry_out(operation, request)
        except ClientError:
            key = request.get("Key", {}).get("leaseKey", {}).get("S", "")
            if key.startswith("shardId"):
                self._world.journal.add(RowRefused(at=now(), who=self._who, write=operation, shard=key))
            raise
        self._table.remember()
        self._tell(request, before, self._table.items())
        return answer

    def _tell(self, request: Mapping[str, Any], before: Rows, after: Rows) -> None:
        gone = tuple(sorted(key for key in before.keys() - after.keys() if _is_lease(before[key])))
        if gone:
            self._world.journal.add(RowsForgotten(at=now(), who=self._who, shards=gone))
        for key, row in after.items():
            old = before.get(key)
            if row == old:
                continue
            if row["entityType"]["S"] == "LEADER":
                self._tell_lock(old, row)
            elif _is_lease(row) and old is None:
                parents = tuple(sorted(row.get("parentShardId", {}).get("SS", ())))
                self._world.journal.add(
                    RowMade(at=now(), who=self._who, shard=key, parents=parents, position=self._position(row))
                )
            elif _is_lease(row) and old is not None:
                self._tell_lease(key, request, old, row)

    def _tell_lock(self, old: Item | None, row: Item) -> None:
        owner = row["ownerName"]["S"]
        if old is None or old["ownerName"] != row["ownerName"]:
            before = None if old is None else old["ownerName"]["S"]
            self._world.journal.add(LockTaken(at=now(), who=self._who, owner=owner, before=before))

    def _tell_lease(self, shard: str, request: Mapping[str, Any], old: Item, row: Item) -> None:
        sets, drops = _touched(request)
        owner, held = _owner(row), _owner(old)
        if "childShardIds" in sets:
            children = tuple(sorted(row["childShardIds"]["SS"]))
            self._world.journal.add(ChildrenNamed(at=now(), who=self._who, shard=shard, children=children))
            return
        if "checkpointOwner" in sets:
            self._world.journal.add(Asked(at=now(), who=self._who, shard=shard, owner=held, to=row["leaseOwner"]["S"]))
            return
        if "leaseOwner" in sets and "esmUnclaimed" in sets:
            self._world.journal.add(Assigned(at=now(), who=self._who, shard=shard, owner=held, to=row["leaseOwner"]["S"]))
            return
        write = "checkpoint" if "ownerSwitchesSinceCheckpoint" in sets else "renew"
        if "leaseOwner" in sets:
            write = "take"
        elif "leaseOwner" in drops or (held is not None and owner is None):
            write = "release"
        self._world.journal.add(
            RowWritten(
                at=now(),
                who=self._who,
                write=write,
                shard=shard,
                owner_before=held,
                owner=owner,
                before=self._position(old),
                position=self._position(row),
                window=row.get("esmWindow", {}).get("S"),
                counter=int(row["leaseCounter"]["N"]),
            )
        )

    def _position(self, row: Item) -> Any:
        lease = parse_lease(row)
        assert lease is not None
        return position_of(lease, start=self._world.start_time)


def _touched(request: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The attributes that an update sets, and those that it removes."""
    words = request.get("UpdateExpression", "").replace(",", " ").split()
    names = request.get("ExpressionAttributeNames", {})
    section, sets, drops = "", set(), set()
    for number, word in enumerate(words):
        if word in ("SET", "REMOVE", "ADD"):
            section = word
        elif word in names and section == "SET" and words[number + 1] == "=":
            sets.add(names[word])
        elif word in names and section == "REMOVE":
            drops.add(names[word])
    return sets, drops


def _owner(row: Item) -> str | None:
    """Who may work on it."""
    if "checkpointOwner" in row:
        return str(row["checkpointOwner"]["S"])
    if row.get("esmUnclaimed") == row["leaseCounter"] or "leaseOwner" not in row:
        return None
    return str(row["leaseOwner"]["S"])


def _is_lease(row: Item) -> bool:
    return bool(row["entityType"]["S"] == "LEASE")


def table_store(world: World, table: LeaseRows, who: str, worker: str) -> DynamodbStore:
    async def connect(_region: str) -> Any:
        return SimTable(world, table, who)

    numbers = count(1)
    return dynamodb_store(
        DynamodbState(table="esm-{mapping}", create=True),
        connect,
        worker=worker,
        capacity_used=lambda _kind, _operation, _units: None,
        starts={} if world.start_time is None else {"m": world.start_time},
        clock=now,
        tokens=lambda: f"{who}-{next(numbers)}",
    )
