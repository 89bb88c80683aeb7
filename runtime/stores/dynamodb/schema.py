"""The table itself: made on demand, waited for, and judged before anything is written into it.

The laws: a table of something else is never written to; the fleet of a table runs KCL 3 without a way back (CLIENT_VERSION_3X),
or the table was empty and we say so in it, as a KCL 3 worker would; and whoever else makes the table at the same moment does no
harm.
"""

from contextlib import suppress
from typing import Any, Final

import anyio
from botocore.exceptions import ClientError

from runtime.leases import StateError
from runtime.stores.dynamodb.calls import TableCalls
from runtime.stores.dynamodb.errors import IN_USE, NOT_FOUND, StateRejected, condition_failed
from runtime.stores.dynamodb.fleet import VERSION_KEY, FleetVersion, parse_version, version_item
from runtime.stores.dynamodb.rows import ENTITY, KEY, LEASE, OWNER
from runtime.stores.dynamodb.values import BadRow, Item, opened

INDEX: Final = "LeaseOwnerToLeaseKeyIndex"
LEGACY_TABLE: Final = "{table}-CoordinatorState"
"""Where KCL 3.0 to 3.4 keeps what is not a lease. An application without one keeps it in the lease table."""
_LEGACY_KEY: Final = "key"
MOVE_KEY: Final = "TableMigration3.5"
MOVED: Final = "tm"
ALL_MOVED: Final = "TABLE_MIGRATION_STATUS_COMPLETE"
_LOOK_EVERY: Final = 1.0
_LONGEST_CREATION: Final = 60.0
"""Seconds; on AWS it takes about ten."""
_INDEX: Final[dict[str, Any]] = {
    "IndexName": INDEX,
    "KeySchema": [{"AttributeName": OWNER, "KeyType": "HASH"}, {"AttributeName": KEY, "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}
_ATTRIBUTES: Final = [{"AttributeName": name, "AttributeType": "S"} for name in (KEY, OWNER)]
_ALREADY: Final = frozenset({IN_USE, "ValidationException", "LimitExceededException"})
"""What a second index of the same name, or one that is being made, is answered with."""


class TableSchema:
    def __init__(self, calls: TableCalls, *, create: bool) -> None:
        self._calls = calls
        self._create = create

    async def describe(self) -> dict[str, Any] | None:
        """None: it is not there. Raises StateError, and StateRejected for a table of something else."""
        try:
            found = dict((await self._calls.call("DescribeTable", {}, expected=frozenset({NOT_FOUND})))["Table"])
        except ClientError:
            return None
        keys = {(each["AttributeName"], each["KeyType"]) for each in found["KeySchema"]}
        kinds = {each["AttributeName"]: each["AttributeType"] for each in found["AttributeDefinitions"]}
        if keys != {(KEY, "HASH")} or kinds.get(KEY) != "S":
            has = ", ".join(f"{name} ({kind})" for name, kind in sorted(keys, key=lambda key: key[1]))
            raise self._rejected(
                f"its key is {has}, not {KEY} (HASH) as a string: it is a table of something else. Name another one"
            )
        return found

    async def ensure(self) -> None:
        """The table is there, active, and fit for leases; its index is there, or being made. Raises StateError."""
        found = await self._wait_active(await self.describe() or await self._make())
        indexes = {each["IndexName"] for each in found.get("GlobalSecondaryIndexes", ())}
        if INDEX not in indexes and self._create:
            await self._add_index()

    def check_missing(self) -> None:
        """Raises StateRejected if a table that is not there will not be made."""
        if not self._create:
            raise self._rejected(f"it is not there: make it with the string key {KEY}, or remove create=false")

    async def _make(self) -> dict[str, Any] | None:
        self.check_missing()
        request = {
            "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
            "AttributeDefinitions": _ATTRIBUTES,
            "GlobalSecondaryIndexes": [_INDEX],
            "BillingMode": "PAY_PER_REQUEST",
        }
        with suppress(ClientError):  # another worker has just made it
            await self._calls.call("CreateTable", request, expected=frozenset({IN_USE}))
        return await self.describe()

    async def _wait_active(self, found: dict[str, Any] | None) -> dict[str, Any]:
        until = anyio.current_time() + _LONGEST_CREATION
        while found is None or found["TableStatus"] not in ("ACTIVE", "UPDATING"):
            if found is not None and found["TableStatus"] != "CREATING":
                raise self._rejected(f"it is {found['TableStatus']}: wait for the end of that, or name another one")
            if anyio.current_time() >= until:
                raise StateError(f"{self._where}: it is not active after {_LONGEST_CREATION:.0f} seconds; it is looked at again")
            await anyio.sleep(_LOOK_EVERY)
            found = await self.describe()
        return found

    async def _add_index(self) -> None:
        """KCL finds the leases that were assigned to a worker by it; nothing waits for it here."""
        request = {"AttributeDefinitions": _ATTRIBUTES, "GlobalSecondaryIndexUpdates": [{"Create": _INDEX}]}
        with suppress(ClientError):  # another worker adds it
            await self._calls.call("UpdateTable", request, expected=_ALREADY)

    # the fleet

    async def join(self, *, worker: str, milliseconds: int) -> None:
        """Raises StateRejected if the fleet of this table is not one that we may join."""
        if await self.check_fleet() is None:
            await self._say_version(worker, milliseconds)
            await self.check_fleet()

    async def check_fleet(self) -> FleetVersion | None:
        """None: the table is empty, and nobody's. Raises StateRejected as `join`."""
        version = await self.version() or await self._legacy_version()
        if version is None or version.joinable:
            await self._check_layout()
        used = version is None and await self._is_used()
        if used:  # perhaps since we asked: whoever joins says so before anything else
            version = await self.version()
        if version is not None and not version.joinable:
            raise self._rejected(refusal(version))
        if used and version is None:
            raise self._rejected(
                f"it has rows but none that says CLIENT_VERSION_3X ({VERSION_KEY}), so a fleet of KCL 1 or 2 uses it: migrate it "
                "to KCL 3 first, or name another table"
            )
        return version

    async def version(self) -> FleetVersion | None:
        answer = await self._calls.call("GetItem", {"Key": {KEY: {"S": VERSION_KEY}}, "ConsistentRead": True})
        return self._read_version(answer.get("Item"))

    async def _legacy_version(self) -> FleetVersion | None:
        """Of an application that was begun with KCL 3.0 to 3.4."""
        return self._read_version(await self._legacy_row(VERSION_KEY))

    async def _check_layout(self) -> None:
        """Raises StateRejected where the leader's lock is in a table of its own: two would lead."""
        moved = await self._legacy_row(MOVE_KEY)
        if moved is None or moved.get(MOVED, {}).get("S") == ALL_MOVED:
            return
        raise self._rejected(
            f"its fleet keeps the leader's lock in {self._legacy.table}, as KCL 3.0 to 3.4 does: let its Java workers finish "
            f"the move to one table ({MOVE_KEY} in there says {ALL_MOVED} then), or name another table"
        )

    @property
    def _legacy(self) -> TableCalls:
        return TableCalls(
            self._calls.connect,
            table=LEGACY_TABLE.format(table=self._calls.table),
            region=self._calls.region,
            capacity_used=self._calls.capacity_used,
        )

    async def _legacy_row(self, key: str) -> Item | None:
        """None: there is no such table. Empty: there is no such row."""
        request = {"Key": {_LEGACY_KEY: {"S": key}}, "ConsistentRead": True}
        try:
            answer = await self._legacy.call("GetItem", request, expected=frozenset({NOT_FOUND}))
        except ClientError:
            return None
        return dict(answer.get("Item") or {})

    def _read_version(self, item: Any) -> FleetVersion | None:
        if not item:
            return None
        try:
            return parse_version(item)
        except BadRow as error:
            raise self._rejected(f"row {VERSION_KEY!r}: {error}: correct it") from error

    async def _is_used(self) -> bool:
        """There are leases. Not that workers are about: theirs are the first rows of a table that was made anew under them."""
        page = await self._calls.call("Scan", {"ConsistentRead": True})
        leases = [item for item in map(opened, page["Items"]) if item.get(ENTITY, {}).get("S") in (None, LEASE)]
        return bool(leases or page.get("LastEvaluatedKey"))

    async def _say_version(self, worker: str, milliseconds: int) -> None:
        request = {
            "Item": version_item(by=worker, milliseconds=milliseconds),
            "ConditionExpression": "attribute_not_exists(#key)",
            "ExpressionAttributeNames": {"#key": KEY},
        }
        try:
            await self._calls.call("PutItem", request)
        except ClientError as error:
            if not condition_failed(error):
                raise
            # another worker was faster

    async def can_write(self) -> None:
        """Find out by a write that cannot succeed. Raises StateError."""
        request = {
            "Key": {KEY: {"S": "esm-check"}},
            "UpdateExpression": "SET #owner = :owner",
            "ConditionExpression": "attribute_exists(#key) AND attribute_not_exists(#key)",
            "ExpressionAttributeNames": {"#key": KEY, "#owner": OWNER},
            "ExpressionAttributeValues": {":owner": {"S": "esm-check"}},
        }
        try:
            await self._calls.call("UpdateItem", request)
        except ClientError as error:
            if not condition_failed(error):
                raise

    @property
    def _where(self) -> str:
        return f"state table {self._calls.table} in {self._calls.region}"

    def _rejected(self, what: str) -> StateRejected:
        return StateRejected(f"{self._where}: {what}")


def refusal(version: FleetVersion) -> str:
    """Why a fleet is not joined."""
    return (
        f"its fleet says {version.version} ({VERSION_KEY}), and this program joins one that says CLIENT_VERSION_3X: let its "
        "Java workers finish the migration to KCL 3 (clientVersionConfig CLIENT_VERSION_CONFIG_3X), or name another table"
    )
