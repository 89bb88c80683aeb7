"""What the state in DynamoDB needs of a server, asked by a client that is not the product's; and the product's stores racing, in
trouble, and at their cost, over HTTP.
"""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest
from botocore.exceptions import ClientError

from pollers.record import LATEST, TRIM_HORIZON, Position
from runtime.config.worker import DynamodbState
from runtime.leases import Lease, StateError
from tests.fakes.stores_on_servers import point_at, store_over_http
from tests.servers.clients import dynamodb_client
from tests.servers.controls import clear_faults, set_fault
from tests.servers.running import Server

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient

SCOPE: Final = "orders arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
INDEX: Final[Any] = {
    "IndexName": "LeaseOwnerToLeaseKeyIndex",
    "KeySchema": [{"AttributeName": "leaseOwner", "KeyType": "HASH"}, {"AttributeName": "leaseKey", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}
BOTH: Final[Any] = [{"AttributeName": name, "AttributeType": "S"} for name in ("leaseKey", "leaseOwner")]
KEY: Final[Any] = [{"AttributeName": "leaseKey", "KeyType": "HASH"}]


def new(number: int = 1) -> Lease:
    return Lease(scope=SCOPE, shard=f"shardId-{number:012}", checkpoint=TRIM_HORIZON)


@asynccontextmanager
async def plain_table(server: Server, *, indexed: bool = True) -> "AsyncIterator[tuple[DynamoDBClient, str]]":
    name = f"esm-{uuid.uuid4().hex}"
    async with dynamodb_client(server) as client:
        more: Any = (
            {"GlobalSecondaryIndexes": [INDEX], "AttributeDefinitions": BOTH} if indexed else {"AttributeDefinitions": BOTH[:1]}
        )
        await client.create_table(TableName=name, KeySchema=KEY, BillingMode="PAY_PER_REQUEST", **more)
        yield client, name


def row(key: str, owner: str | None = None, **more: Any) -> dict[str, Any]:
    return {"leaseKey": {"S": key}, **({"leaseOwner": {"S": owner}} if owner else {}), **more}


# What a server must do


async def test_an_index_shows_keys_of_the_rows_that_have_them_page_by_page(dynamodb_server: Server) -> None:
    async with plain_table(dynamodb_server) as (client, name):
        for key, owner in (("c", "me"), ("a", "me"), ("d", "you"), ("b", "me"), ("e", None)):
            await client.put_item(TableName=name, Item=row(key, owner, other={"SS": ["x", "y"]}))
        query: Any = {
            "TableName": name,
            "IndexName": INDEX["IndexName"],
            "KeyConditionExpression": "leaseOwner = :o",
            "ExpressionAttributeValues": {":o": {"S": "me"}},
        }
        first = await client.query(**query, Limit=2)
        assert first["Items"] == [row("a", "me"), row("b", "me")], "keys only, in their order"
        rest = await client.query(**query, ExclusiveStartKey=first["LastEvaluatedKey"])
        assert rest["Items"] == [row("c", "me")]
        assert "LastEvaluatedKey" not in rest
        await client.update_item(TableName=name, Key=row("a"), UpdateExpression="REMOVE leaseOwner")
        await client.update_item(
            TableName=name, Key=row("b"), UpdateExpression="SET leaseOwner = :o", ExpressionAttributeValues={":o": {"S": "you"}}
        )
        assert (await client.query(**query))["Items"] == [row("c", "me")]


async def test_an_index_comes_later_too_and_is_described(dynamodb_server: Server) -> None:
    async with plain_table(dynamodb_server, indexed=False) as (client, name):
        await client.put_item(TableName=name, Item=row("a", "me"))
        assert not (await client.describe_table(TableName=name))["Table"].get("GlobalSecondaryIndexes")
        await client.update_table(TableName=name, AttributeDefinitions=BOTH, GlobalSecondaryIndexUpdates=[{"Create": INDEX}])
        (shown,) = (await client.describe_table(TableName=name))["Table"]["GlobalSecondaryIndexes"]
        assert {name: shown.get(name) for name in INDEX} == INDEX
        assert shown["IndexStatus"] in ("ACTIVE", "CREATING")
        with pytest.raises(ClientError):
            await client.update_table(TableName=name, AttributeDefinitions=BOTH, GlobalSecondaryIndexUpdates=[{"Create": INDEX}])


async def test_a_condition_that_fails_shows_the_row_it_was_about(dynamodb_server: Server) -> None:
    async with plain_table(dynamodb_server) as (client, name):
        item = row("a", "me", leaseCounter={"N": "3"}, parents={"SS": ["p"]}, state={"B": b"\x00\xff"})
        await client.put_item(TableName=name, Item=item)
        update: Any = {
            "TableName": name,
            "UpdateExpression": "SET #c = :n REMOVE checkpointOwner ADD switches :one",
            "ConditionExpression": "#c = :c AND (checkpointOwner = :me OR (attribute_not_exists(checkpointOwner) AND leaseOwner = :me AND "
            "(attribute_not_exists(esmUnclaimed) OR esmUnclaimed <> #c)))",
            "ExpressionAttributeNames": {"#c": "leaseCounter"},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        values = {":n": {"N": "5"}, ":me": {"S": "me"}, ":one": {"N": "1"}}
        for key, shown in (("a", item), ("missing", None)):
            with pytest.raises(ClientError) as raised:
                await client.update_item(**update, Key=row(key), ExpressionAttributeValues={**values, ":c": {"N": "4"}})
            assert raised.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
            assert raised.value.response.get("Item") == shown
        answer = await client.update_item(
            **update, Key=row("a"), ExpressionAttributeValues={**values, ":c": {"N": "3"}}, ReturnValues="ALL_NEW"
        )
        assert answer["Attributes"] == {**item, "leaseCounter": {"N": "5"}, "switches": {"N": "1"}}


async def test_a_transaction_of_new_rows_is_all_or_nothing_and_tells_what_was_there(dynamodb_server: Server) -> None:
    async with plain_table(dynamodb_server) as (client, name):
        await client.put_item(TableName=name, Item=row("b"))
        condition = "attribute_not_exists(leaseKey)"
        puts: Any = [{"Put": {"TableName": name, "Item": row(key), "ConditionExpression": condition}} for key in "abc"]
        with pytest.raises(ClientError) as raised:
            await client.transact_write_items(TransactItems=puts)
        response: Any = raised.value.response
        assert response["Error"]["Code"] == "TransactionCanceledException"
        codes = [reason["Code"] for reason in response["CancellationReasons"]]
        assert codes == ["None", "ConditionalCheckFailed", "None"]
        assert len((await client.scan(TableName=name))["Items"]) == 1
        await client.transact_write_items(TransactItems=[puts[0], puts[2]])
        assert len((await client.scan(TableName=name, ConsistentRead=True))["Items"]) == 3


@pytest.mark.on_servers("local")
async def test_capacity_units_are_as_the_developer_guide_reckons_them(dynamodb_server: Server) -> None:
    """Others tell units that they do not reckon."""

    async def units(call: Any) -> float:
        consumed = (await call)["ConsumedCapacity"]
        each = consumed if isinstance(consumed, list) else [consumed]
        return sum(float(one["CapacityUnits"]) for one in each)

    async with plain_table(dynamodb_server) as (client, name):
        total: Any = {"TableName": name, "ReturnConsumedCapacity": "TOTAL"}
        big = row("a", text={"S": "x" * 2048})
        assert await units(client.put_item(**total, Item=big)) == 3.0
        assert (
            await units(
                client.update_item(**total, Key=row("a"), UpdateExpression="REMOVE #t", ExpressionAttributeNames={"#t": "text"})
            )
            == 3.0
        )
        owner: Any = {"UpdateExpression": "SET leaseOwner = :o"}
        assert (
            await units(client.update_item(**total, **owner, Key=row("a"), ExpressionAttributeValues={":o": {"S": "me"}})) == 2.0
        )
        assert (
            await units(client.update_item(**total, **owner, Key=row("a"), ExpressionAttributeValues={":o": {"S": "you"}})) == 3.0
        )
        assert (
            await units(client.update_item(**total, **owner, Key=row("a"), ExpressionAttributeValues={":o": {"S": "you"}})) == 1.0
        )
        assert await units(client.get_item(**total, Key=row("a"))) == 0.5
        assert await units(client.get_item(**total, Key=row("a"), ConsistentRead=True)) == 1.0
        await client.put_item(TableName=name, Item=row("b", text={"S": "x" * 9000}))
        assert await units(client.scan(**total)) == 1.5
        assert await units(client.delete_item(**total, Key=row("a"))) == 2.0
        puts: Any = [{"Put": {"TableName": name, "Item": row("c")}}]
        assert await units(client.transact_write_items(TransactItems=puts, ReturnConsumedCapacity="TOTAL")) == 2.0


@pytest.mark.on_servers("local")
async def test_what_this_endpoint_does_not_have_is_refused(dynamodb_server: Server) -> None:
    async with plain_table(dynamodb_server) as (client, name):
        for call in (
            client.scan(TableName=name, IndexName=INDEX["IndexName"]),
            client.scan(TableName=name, FilterExpression="a = b"),
            client.transact_write_items(TransactItems=[{"Delete": {"TableName": name, "Key": row("a")}}]),
            client.put_item(TableName=name, Item=row("a", leaseOwner={"N": "1"})),
            client.put_item(TableName=name, Item=row("a", leaseOwner={"S": ""})),
            client.update_table(
                TableName=name,
                GlobalSecondaryIndexUpdates=[
                    {"Update": {"IndexName": "index", "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}}
                ],
            ),
        ):
            with pytest.raises(ClientError) as raised:
                await call
            assert raised.value.response["Error"]["Code"] == "ValidationException"


@pytest.mark.on_servers("local")
async def test_a_transaction_with_a_token_is_done_once(dynamodb_server: Server) -> None:
    async with plain_table(dynamodb_server) as (client, name):
        puts: Any = [{"Put": {"TableName": name, "Item": row("a"), "ConditionExpression": "attribute_not_exists(leaseKey)"}}]
        for _ in range(2):
            await client.transact_write_items(TransactItems=puts, ClientRequestToken=f"token-{name}"[:36])
        with pytest.raises(ClientError) as raised:
            await client.transact_write_items(TransactItems=puts * 2, ClientRequestToken=f"token-{name}"[:36])
        assert raised.value.response["Error"]["Code"] == "IdempotentParameterMismatchException"


# The product's stores


@pytest.mark.like_aws("atomic_writes")
async def test_of_two_stores_that_race_one_wins_each_time_and_no_write_is_lost(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clients, one row, as fast as they can: every counter value was written by exactly one of them."""
    point_at(dynamodb_server, monkeypatch)
    state, written = DynamodbState(table=f"esm-{uuid.uuid4().hex}"), Counter[int]()
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        stores = [await stack.enter_async_context(store_over_http(state, f"w{number}")) for number in range(2)]
        await stores[0].create([new()])

        async def race(number: int) -> None:
            for _ in range(15):
                (lease,) = await stores[number].load(SCOPE)
                taken = await stores[number].take(lease, f"w{number}")
                if taken is None:
                    continue
                written[taken.counter] += 1
                (renewed,) = await stores[number].renew([taken])
                if isinstance(renewed, Lease):
                    written[renewed.counter] += 1

        async with anyio.create_task_group() as racing:
            for number in range(2):
                racing.start_soon(race, number, name=f"w{number}")
        (last,) = await stores[0].load(SCOPE)
        assert written == Counter(range(1, last.counter + 1))
        tasks.cancel_scope.cancel()


@pytest.mark.like_aws("atomic_writes")
async def test_workers_that_make_their_table_at_once_have_one(dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(dynamodb_server, monkeypatch)
    state = DynamodbState(table=f"esm-{uuid.uuid4().hex}")
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(store_over_http(state, f"w{number}")) for number in range(4)]
        async with anyio.create_task_group() as tasks:
            for number, store in enumerate(stores):
                tasks.start_soon(store.create, [new(each) for each in range(number, number + 3)], name=f"w{number}")
        assert [lease.shard[-1] for lease in await stores[0].load(SCOPE)] == list("012345")
    async with dynamodb_client(dynamodb_server) as client:
        table = (await client.describe_table(TableName=state.table))["Table"]
        assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == [INDEX["IndexName"]]
        version = (await client.get_item(TableName=state.table, Key=row("Migration3.0")))["Item"]
        assert version["cv"] == {"S": "CLIENT_VERSION_3X"}


TROUBLE: Final = [
    ("drop", "before"),
    ("drop", "after"),
    ("error500", "before"),
    ("error500", "after"),
    ("truncate", "after"),
    ("throttle", "before"),
]


@pytest.mark.on_servers("local")
@pytest.mark.parametrize(("fault", "when"), TROUBLE)
async def test_trouble_that_the_client_outlives_is_not_noticed(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch, fault: str, when: str
) -> None:
    """The SDK asks again, also when the first request was carried out: its own write is no loss, and is not made twice."""
    point_at(dynamodb_server, monkeypatch)
    state = DynamodbState(table=f"esm-{uuid.uuid4().hex}")
    async with store_over_http(state) as store:
        await store.create([new()])
        aim: Any = {"service": "dynamodb", "operation": "UpdateItem", "table": state.table, "times": 1, "when": when}
        await set_fault(dynamodb_server, fault, **aim)
        mine = await store.take(new(), "me")
        assert mine is not None
        await set_fault(dynamodb_server, fault, **aim)
        moved = await store.checkpoint(mine, Position.after("7"))
        assert moved is not None
        assert (moved.counter, moved.checkpoint) == (2, Position.after("7"))
        assert await store.load(SCOPE) == [moved]


@pytest.mark.on_servers("local")
@pytest.mark.parametrize(("fault", "when"), TROUBLE)
async def test_trouble_that_lasts_is_an_error_and_costs_no_lease(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch, fault: str, when: str
) -> None:
    """The next call goes on from whatever was done. Of a connection that closes the lean client asks once more by itself."""
    point_at(dynamodb_server, monkeypatch)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    state = DynamodbState(table=f"esm-{uuid.uuid4().hex}")
    async with store_over_http(state) as store:
        await store.create([new()])
        mine = await store.take(new(), "me")
        assert mine is not None
        await set_fault(dynamodb_server, fault, service="dynamodb", operation="UpdateItem", table=state.table, when=when)
        (renewed,) = await store.renew([mine])
        assert isinstance(renewed, StateError)
        with pytest.raises(StateError, match=f"state table {state.table} in eu-west-1: UpdateItem"):
            await store.checkpoint(mine, Position.after("7"))
        await clear_faults(dynamodb_server)
        moved = await store.checkpoint(mine, Position.after("7"))
        assert moved is not None
        assert moved.counter == (3 if when == "after" else 2)
        assert await store.load(SCOPE) == [moved]
        assert await store.release(moved)


@pytest.mark.on_servers("local")
async def test_a_user_without_permission_is_told_which(dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(dynamodb_server, monkeypatch)
    state = DynamodbState(table=f"esm-{uuid.uuid4().hex}")
    aim: Any = {"service": "dynamodb", "operation": "DescribeTable", "table": state.table}
    await set_fault(dynamodb_server, "access_denied", **aim, times=1)
    async with store_over_http(state) as store:
        with pytest.raises(StateError, match=r"DescribeTable: AccessDeniedException: .*: allow dynamodb:DescribeTable on it"):
            await store.check([SCOPE])


@pytest.mark.on_servers("local")
async def test_the_upkeep_of_a_thousand_shards_costs_a_unit_each_and_a_scan(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal is one write unit; a listing of shards reads the table, at a read unit for each 4 KB; an assignment round costs half of that."""
    point_at(dynamodb_server, monkeypatch)
    used: Counter[str] = Counter()
    state = DynamodbState(table=f"esm-{uuid.uuid4().hex}")
    async with store_over_http(state, used=lambda kind, _operation, units: used.update({kind: round(units * 2)})) as store:
        await store.create([Lease(scope=SCOPE, shard=new(number).shard, checkpoint=LATEST) for number in range(200)])
        leases = await store.load(SCOPE)
        mine = [taken for lease in leases if (taken := await store.take(lease, "worker-1.example.org-12345678")) is not None]
        used.clear()
        renewed = await store.renew(mine)
        assert len([each for each in renewed if isinstance(each, Lease)]) == 200
        assert used == {"write": 2 * 200}
        used.clear()
        await store.load(SCOPE)
        assert 2 * 13 <= used["read"] <= 2 * 23, "200 rows of 270 to 450 bytes, consistently"
