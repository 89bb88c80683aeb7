"""The table itself: made on demand by any number of workers, and judged before anything is written into it."""

from collections.abc import Mapping
from typing import Any, Final

import anyio
import pytest

from pollers.record import TRIM_HORIZON
from runtime.leases import Lease, StateError
from runtime.local.dynamodb.call import Call
from runtime.local.dynamodb.service import ITEMS, TABLES
from tests.fakes.dynamodb_table import ME, FakeDynamodb, fake_store
from tests.fakes.virtual_time import virtual_time

SCOPE: Final = "orders arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
NEW: Final = Lease(scope=SCOPE, shard="shard-1", checkpoint=TRIM_HORIZON)
TABLE: Final = "esm-orders"
INDEX: Final = {
    "IndexName": "LeaseOwnerToLeaseKeyIndex",
    "KeySchema": [{"AttributeName": "leaseOwner", "KeyType": "HASH"}, {"AttributeName": "leaseKey", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
    "IndexStatus": "ACTIVE",
    "IndexArn": f"arn:aws:dynamodb:eu-west-1:123456789012:table/{TABLE}/index/LeaseOwnerToLeaseKeyIndex",
}


def ask(client: FakeDynamodb, operation: str, **body: Any) -> dict[str, Any]:
    """As somebody else would."""
    return (TABLES | ITEMS)[operation](Call(store=client.store, caller=ME, operation=operation, body=body))


def make(client: FakeDynamodb, *keys: tuple[str, str, str], name: str = TABLE) -> None:
    """A table; without keys, one for leases."""
    chosen = keys or (("leaseKey", "S", "HASH"),)
    ask(
        client,
        "CreateTable",
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind, _ in chosen],
        KeySchema=[{"AttributeName": key, "KeyType": role} for key, _, role in chosen],
    )


def put(client: FakeDynamodb, item: Mapping[str, Any], *, table: str = TABLE) -> None:
    ask(client, "PutItem", TableName=table, Item=item)


def described(client: FakeDynamodb) -> dict[str, Any]:
    table: dict[str, Any] = ask(client, "DescribeTable", TableName=TABLE)["Table"]
    return table


def version(value: str, key: str = "leaseKey") -> dict[str, Any]:
    return {
        key: {"S": "Migration3.0"},
        "cv": {"S": value},
        "mb": {"S": "java-1"},
        "mts": {"N": "1"},
        "entityType": {"S": "CLIENT_VERSION_MIGRATION"},
    }


LEASE: Final = {"leaseKey": {"S": "shard-9"}, "leaseCounter": {"N": "1"}, "checkpoint": {"S": "5"}}


@virtual_time
async def test_a_table_that_is_not_there_is_made_as_kcl_makes_it() -> None:
    client = FakeDynamodb()
    assert await fake_store(client).load(SCOPE) == []
    table = described(client)
    assert table["KeySchema"] == [{"AttributeName": "leaseKey", "KeyType": "HASH"}]
    assert table["BillingModeSummary"] == {"BillingMode": "PAY_PER_REQUEST"}
    assert table["GlobalSecondaryIndexes"] == [INDEX]
    assert client.items(TABLE)["Migration3.0"]["cv"] == {"S": "CLIENT_VERSION_3X"}


@virtual_time
async def test_workers_that_begin_at_once_make_one_table_and_all_go_on() -> None:
    client = FakeDynamodb()
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(fake_store(client, worker=f"w{number}").create, [NEW], name=f"worker {number}")
    assert client.items(TABLE).keys() == {"Migration3.0", "shard-1"}
    assert client.asked.count("CreateTable") > 1, "they were in each other's way"


@virtual_time
async def test_a_table_that_becomes_active_later_is_waited_for() -> None:
    client = FakeDynamodb()
    until = anyio.current_time() + 10

    def creating(operation: str, answer: Any) -> Any:
        if operation != "DescribeTable" or anyio.current_time() > until:
            return answer
        return {"Table": {**answer["Table"], "TableStatus": "CREATING"}}

    client.alter = creating
    assert await fake_store(client).load(SCOPE) == []
    assert anyio.current_time() > until
    until = anyio.current_time() + 120
    with pytest.raises(StateError, match="it is not active after 60 seconds; it is looked at again"):
        await fake_store(client).load(SCOPE)


@virtual_time
async def test_a_table_that_is_being_deleted_is_refused() -> None:
    client = FakeDynamodb()
    make(client)
    client.alter = lambda _operation, answer: {"Table": {**answer["Table"], "TableStatus": "DELETING"}}
    with pytest.raises(StateError, match="it is DELETING: wait for the end of that, or name another one"):
        await fake_store(client).load(SCOPE)


@virtual_time
async def test_an_older_table_gets_the_index_unless_nothing_is_to_be_made() -> None:
    client = FakeDynamodb()
    make(client)
    await fake_store(client, create=False).load(SCOPE)
    assert "GlobalSecondaryIndexes" not in described(client)
    await fake_store(client).load(SCOPE)
    assert described(client)["GlobalSecondaryIndexes"] == [INDEX]


@virtual_time
async def test_a_table_that_is_not_there_and_not_to_be_made_is_told() -> None:
    client = FakeDynamodb()
    store = fake_store(client, create=False)
    with pytest.raises(
        StateError, match="state table esm-orders in eu-west-1: it is not there: make it with the string key leaseKey"
    ):
        await store.load(SCOPE)
    make(client)
    await store.create([NEW])
    assert await store.load(SCOPE) == [NEW]


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ((("pk", "S", "HASH"),), "pk \\(HASH\\)"),
        ((("leaseKey", "S", "HASH"), ("sk", "S", "RANGE")), "leaseKey \\(HASH\\), sk \\(RANGE\\)"),
        ((("leaseKey", "N", "HASH"),), "leaseKey \\(HASH\\)"),
    ],
)
@virtual_time
async def test_a_table_of_something_else_is_refused_and_stays_as_it_is(
    keys: tuple[tuple[str, str, str], ...], shown: str
) -> None:
    client = FakeDynamodb()
    make(client, *keys)
    with pytest.raises(
        StateError, match=f"its key is {shown}, not leaseKey \\(HASH\\) as a string: it is a table of something else"
    ):
        await fake_store(client).create([NEW])
    assert client.store.table(TABLE, account=ME.account, region=ME.region).size == 0
    assert "GlobalSecondaryIndexes" not in described(client)


# The fleet


@pytest.mark.parametrize(
    "says", ["CLIENT_VERSION_2X", "CLIENT_VERSION_UPGRADE_FROM_2X", "CLIENT_VERSION_3X_WITH_ROLLBACK", "CLIENT_VERSION_INIT"]
)
@pytest.mark.parametrize("legacy", [False, True])
@virtual_time
async def test_a_fleet_that_is_not_wholly_of_kcl_3_is_not_joined(says: str, legacy: bool) -> None:
    client = FakeDynamodb()
    make(client)
    put(client, LEASE)
    if legacy:
        make(client, ("key", "S", "HASH"), name=f"{TABLE}-CoordinatorState")
        put(client, version(says, "key"), table=f"{TABLE}-CoordinatorState")
    else:
        put(client, version(says))
    with pytest.raises(StateError, match=rf"its fleet says {says} .*finish the migration to KCL 3"):
        await fake_store(client).create([NEW])
    assert "shard-1" not in client.items(TABLE)


@virtual_time
async def test_a_fleet_of_kcl_2_which_says_nothing_is_not_joined() -> None:
    client = FakeDynamodb()
    make(client)
    put(client, LEASE)
    with pytest.raises(StateError, match=r"it has rows but none that says CLIENT_VERSION_3X .*a fleet of KCL 1 or 2 uses it"):
        await fake_store(client).create([NEW])
    assert client.items(TABLE).keys() == {"shard-9"}


@pytest.mark.parametrize("says", [None, "TABLE_MIGRATION_STATUS_INIT", "TABLE_MIGRATION_STATUS_PENDING"])
@virtual_time
async def test_a_fleet_whose_leader_has_its_lock_in_another_table_is_not_joined(says: str | None) -> None:
    """KCL 3.0 to 3.4, and 3.5 until it has moved: we would lead in one table, and Java in the other."""
    client = FakeDynamodb()
    make(client)
    put(client, LEASE)
    put(client, version("CLIENT_VERSION_3X"))
    make(client, ("key", "S", "HASH"), name=f"{TABLE}-CoordinatorState")
    put(client, version("CLIENT_VERSION_3X", "key"), table=f"{TABLE}-CoordinatorState")
    if says is not None:
        put(client, {"key": {"S": "TableMigration3.5"}, "tm": {"S": says}}, table=f"{TABLE}-CoordinatorState")
    with pytest.raises(StateError, match=rf"keeps the leader's lock in {TABLE}-CoordinatorState.*name another table"):
        await fake_store(client).create([NEW])


@pytest.mark.parametrize("moved", [False, True])
@virtual_time
async def test_a_fleet_of_kcl_3_is_joined_and_its_version_left_alone(moved: bool) -> None:
    client = FakeDynamodb()
    make(client)
    put(client, LEASE)
    put(client, version("CLIENT_VERSION_3X"))
    if moved:
        make(client, ("key", "S", "HASH"), name=f"{TABLE}-CoordinatorState")
        done = {"key": {"S": "TableMigration3.5"}, "tm": {"S": "TABLE_MIGRATION_STATUS_COMPLETE"}}
        put(client, done, table=f"{TABLE}-CoordinatorState")
    store = fake_store(client)
    assert [lease.shard for lease in await store.load(SCOPE)] == ["shard-9"]
    assert client.items(TABLE).get("Migration3.0") == version("CLIENT_VERSION_3X")


@virtual_time
async def test_a_worker_that_joins_while_another_makes_the_table_is_not_sent_away() -> None:
    """It looked for the version just before the other said it, and for rows just after."""
    client = FakeDynamodb()
    await fake_store(client, worker="w1").create([NEW])
    early = [True]

    def not_yet(operation: str, answer: Any) -> Any:
        return {} if operation == "GetItem" and early and early.pop() else answer

    client.alter = not_yet
    assert await fake_store(client, worker="w2").load(SCOPE) == [NEW]
    assert not early


@virtual_time
async def test_a_version_row_that_cannot_be_read_is_told() -> None:
    client = FakeDynamodb()
    make(client)
    put(client, {**version("x"), "cv": {"N": "3"}})
    with pytest.raises(StateError, match=r"row 'Migration3.0': cv is N '3', not a string: correct it"):
        await fake_store(client).load(SCOPE)


# Looking without touching


@virtual_time
async def test_a_check_makes_and_changes_nothing() -> None:
    client = FakeDynamodb()
    await fake_store(client).check([SCOPE])
    await fake_store(client).check_writable(SCOPE)
    assert client.store.every_table() == []
    make(client)
    await fake_store(client).check_writable(SCOPE)
    assert client.items(TABLE) == {}
    put(client, LEASE)
    with pytest.raises(StateError, match="a fleet of KCL 1 or 2"):
        await fake_store(client).check([SCOPE])
    with pytest.raises(StateError, match="it is not there"):
        await fake_store(client, create=False, table="missing").check([SCOPE])


@virtual_time
async def test_a_check_finds_out_that_a_table_cannot_be_written() -> None:
    client = FakeDynamodb()
    await fake_store(client).create([NEW])
    before = client.items(TABLE)
    await fake_store(client).check_writable(SCOPE)
    assert client.items(TABLE) == before

    async def deny(operation: str, _request: Mapping[str, Any]) -> None:
        if operation == "UpdateItem":
            raise PermissionError("no")  # whatever it is

    client.before = deny
    with pytest.raises(StateError, match="UpdateItem: "):
        await fake_store(client).check_writable(SCOPE)


@virtual_time
async def test_at_the_start_what_passes_by_itself_is_no_reason_to_end() -> None:
    client = FakeDynamodb()

    async def unreachable(_operation: str, _request: Mapping[str, Any]) -> None:
        raise ConnectionError("no route")

    client.before = unreachable
    await fake_store(client).check([SCOPE])
    with pytest.raises(StateError, match="DescribeTable: no answer: no route"):
        await fake_store(client).check_writable(SCOPE)
