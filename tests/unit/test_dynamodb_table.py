"""Every operation on a table: what real Java workers left in the same case (`kcl_rows.json`), and whom its condition keeps out."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from runtime.leases import Lease, StateError
from runtime.local.dynamodb.call import Call
from runtime.local.dynamodb.service import ITEMS
from runtime.stores.dynamodb import changes
from runtime.stores.dynamodb.calls import TableCalls
from runtime.stores.dynamodb.fleet import WorkerRow
from runtime.stores.dynamodb.leases import lease_of
from runtime.stores.dynamodb.lock import LockRow
from runtime.stores.dynamodb.rows import LeaseRow, parse_lease
from runtime.stores.dynamodb.schema import TableSchema
from runtime.stores.dynamodb.table import LeaseTable, Refused
from tests.fakes.dynamodb_table import ME, FakeDynamodb
from tests.fakes.virtual_time import virtual_time

JAVA: Final[dict[str, dict[str, Any]]] = json.loads((Path(__file__).parent / "kcl_rows.json").read_text())
NAME: Final = "app"
Item = dict[str, Any]


class Site:
    """A table with an index, and whoever else is in it."""

    def __init__(self) -> None:
        self.client = FakeDynamodb()
        self.used: list[tuple[str, str, float]] = []
        calls = TableCalls(self._connect, table=NAME, region=ME.region, capacity_used=lambda *used: self.used.append(used))
        self.schema = TableSchema(calls, create=True)
        self.table = LeaseTable(calls, tokens=iter(map(str, range(1000))).__next__)

    async def _connect(self) -> Any:
        return self.client

    def place(self, item: Item) -> None:
        """As somebody else would, whatever is there."""
        request = {"TableName": NAME, "Item": item}
        ITEMS["PutItem"](Call(store=self.client.store, caller=ME, operation="PutItem", body=request))

    def put(self, item: Item) -> LeaseRow:
        """A lease, as somebody else would."""
        self.place(item)
        row = parse_lease(item)
        assert row is not None
        return row

    def item(self, key: str) -> Item:
        """What Java sees of a row: without our own attributes, its sets sorted."""
        item = self.client.items(NAME)[key]
        return sorted_sets({name: value for name, value in item.items() if not name.startswith("esm")})


async def site() -> Site:
    made = Site()
    await made.schema.ensure()
    return made


def sorted_sets(item: Item) -> Item:
    return {name: {"SS": sorted(value["SS"])} if "SS" in value else value for name, value in item.items()}


def before(name: str, *, without: tuple[str, ...] = (), **change: str | int) -> Item:
    """The row before Java's request: its row after it, with some attributes back."""
    item = {attribute: value for attribute, value in JAVA[name].items() if attribute not in without}
    return item | {attribute: {"N": str(v)} if isinstance(v, int) else {"S": v} for attribute, v in change.items()}


def lease(row: LeaseRow) -> Lease:
    return lease_of(row, "m", start=None)


async def renew(table: LeaseTable, row: LeaseRow, *, throughput: float | None = None) -> LeaseRow | Refused:
    token = table.tokens()
    change = changes.renew(replace(lease(row), throughput=throughput), token)
    return await table.write(row.key, change, token=token, counter=row.counter + 1)


async def give(table: LeaseTable, row: LeaseRow, worker: str) -> LeaseRow | Refused:
    token = table.tokens()
    return await table.write(row.key, changes.give(lease(row), token, worker), token=token, counter=row.counter + 1)


async def take(table: LeaseTable, row: LeaseRow, worker: str) -> LeaseRow | Refused:
    token = table.tokens()
    return await table.write(row.key, changes.take(lease(row), token, worker), token=token, counter=row.counter + 1)


async def want(table: LeaseTable, row: LeaseRow, worker: str) -> LeaseRow | Refused:
    token = table.tokens()
    change = changes.want(lease(row), token, worker, counter=row.counter)
    return await table.write(row.key, change, token=token, counter=None)


async def release(table: LeaseTable, row: LeaseRow) -> LeaseRow | Refused:
    token = table.tokens()
    return await table.write(row.key, changes.release(lease(row), token), token=token, counter=row.counter + 1)


Act = Callable[[LeaseTable, LeaseRow], Awaitable[object]]
CASES: Final[dict[str, tuple[Item, Act]]] = {
    "renew": (
        before("renew", leaseCounter=5, throughputKBps=1),
        lambda table, row: renew(table, row, throughput=0.0160260004),
    ),
    "renew-in-handoff": (
        before("renew-in-handoff", leaseCounter=30, throughputKBps=1),
        lambda table, row: renew(table, row, throughput=0.047657),
    ),
    "start-handoff": (
        before("start-handoff", without=("checkpointOwner",), leaseOwner="java-1"),
        lambda table, row: want(table, row, "java-2"),
    ),
    "finish-handoff": (JAVA["renew-in-handoff"], release),
    "assign": (before("assign", without=("leaseOwner",), leaseCounter=0), lambda table, row: give(table, row, "java-1")),
    "assign-owned": (
        before("assign-owned", leaseOwner="java-1", leaseCounter=69, ownerSwitchesSinceCheckpoint=0),
        lambda table, row: give(table, row, "java-2"),
    ),
    "name-children": (
        before("name-children", without=("childShardIds",)),
        lambda table, row: table.name_children(row.key, ("shardId-000000000006",)),
    ),
    "create-child-lease": (
        JAVA["create-lease"],
        lambda table, _row: table.create([lease_row("create-child-lease")]),
    ),
}


def lease_row(name: str) -> LeaseRow:
    row = parse_lease(JAVA[name])
    assert row is not None
    return row


@pytest.mark.parametrize("name", CASES)
@virtual_time
async def test_an_operation_leaves_what_java_leaves(name: str) -> None:
    made, (item, act) = await site(), CASES[name]
    outcome = await act(made.table, made.put(item))
    assert not isinstance(outcome, Refused)
    assert made.item(JAVA[name]["leaseKey"]["S"]) == sorted_sets(JAVA[name])


@pytest.mark.parametrize("name", [name for name in CASES if name != "create-child-lease"])
@virtual_time
async def test_an_operation_done_twice_for_want_of_an_answer_is_done_once(name: str) -> None:
    """The client asks again when the answer was lost, and its own first write is in the way of its second."""
    made, (item, act) = await site(), CASES[name]
    row = made.put(item)
    made.client.twice = {"UpdateItem"}
    assert not isinstance(await act(made.table, row), Refused)
    assert made.item(row.key) == sorted_sets(JAVA[name])


REFUSALS: Final[dict[str, tuple[dict[str, Any], Act]]] = {
    "renew: the counter moved": ({"leaseCounter": {"N": "9"}}, renew),
    "renew: it has another owner": ({"leaseOwner": {"S": "you"}}, renew),
    "give: the owner lives": ({"leaseCounter": {"N": "4"}}, lambda table, row: give(table, row, "third")),
    "give: it has another owner": ({"leaseOwner": {"S": "you"}}, lambda table, row: give(table, row, "third")),
    "give: a hand-off began": ({"checkpointOwner": {"S": "me"}}, lambda table, row: give(table, row, "third")),
    "want: it has another owner": ({"leaseOwner": {"S": "you"}}, lambda table, row: want(table, row, "third")),
    "want: one began": ({"checkpointOwner": {"S": "me"}}, lambda table, row: want(table, row, "third")),
    "release: it has another owner": ({"leaseOwner": {"S": "you"}}, release),
    "release: a hand-off began": ({"checkpointOwner": {"S": "me"}}, release),
}
MINE: Final[Item] = {**JAVA["create-lease"], "leaseOwner": {"S": "me"}, "leaseCounter": {"N": "3"}}
KEY: Final = MINE["leaseKey"]["S"]


@pytest.mark.parametrize("name", REFUSALS)
@virtual_time
async def test_a_condition_that_does_not_hold_shows_the_row_and_changes_nothing(name: str) -> None:
    made, (change, act) = await site(), REFUSALS[name]
    seen = made.put(MINE)
    now = made.put({**MINE, **change})
    assert await act(made.table, seen) == Refused(now)
    assert made.item(KEY) == {**MINE, **change}


@pytest.mark.parametrize("name", REFUSALS)
@virtual_time
async def test_a_row_that_is_gone_is_not_made_again(name: str) -> None:
    made = await site()
    row = made.put(MINE)
    assert await made.table.delete(row.key, changes.delete(lease(row)))
    assert await REFUSALS[name][1](made.table, row) == Refused(None)
    assert made.client.items(NAME) == {}


@virtual_time
async def test_who_leaves_completes_a_hand_off_that_was_asked_for() -> None:
    made = await site()
    row = made.put({**MINE, "leaseOwner": {"S": "you"}, "checkpointOwner": {"S": "me"}})
    await release(made.table, row)
    assert made.item(KEY) == {**MINE, "leaseOwner": {"S": "you"}, "leaseCounter": {"N": "4"}}
    row = made.put(MINE)
    await release(made.table, row)
    assert made.item(KEY) == {**JAVA["create-lease"], "leaseCounter": {"N": "4"}}


@virtual_time
async def test_a_lease_that_goes_back_to_the_worker_asked_to_stop_counts_as_a_switch() -> None:
    made = await site()
    row = made.put({**MINE, "checkpointOwner": {"S": "me"}})
    await take(made.table, row, "me")
    assert made.item(KEY) == {**MINE, "leaseCounter": {"N": "4"}, "ownerSwitchesSinceCheckpoint": {"N": "1"}}


@virtual_time
async def test_our_own_write_counts_as_done_only_while_nobody_has_written_since() -> None:
    """Java leaves our token where it is."""
    made = await site()
    seen = made.put(MINE)
    now = made.put({**MINE, "leaseCounter": {"N": "5"}, "esmWrite": {"S": "t"}})
    assert await made.table.write(KEY, changes.renew(lease(seen), "t"), token="t", counter=4) == Refused(now)


@virtual_time
async def test_what_others_keep_in_a_row_stays() -> None:
    made = await site()
    row = made.put({**MINE, "theirs": {"B": "AAE="}, "pendingCheckpoint": {"S": "9"}})
    await renew(made.table, row)
    assert made.item(KEY) == {**MINE, "theirs": {"B": "AAE="}, "pendingCheckpoint": {"S": "9"}, "leaseCounter": {"N": "4"}}


@virtual_time
async def test_of_several_new_rows_those_that_exist_stay_and_the_others_are_made_together() -> None:
    made = await site()
    made.put(MINE)
    new = [LeaseRow(key=f"shard-{number:03}", checkpoint="LATEST") for number in range(205)]
    await made.table.create([lease_row("create-lease"), *new])
    assert made.item(KEY) == MINE
    snapshot = await made.table.scan()
    assert [row.key for row in snapshot.leases] == sorted([KEY, *(row.key for row in new)])
    assert made.client.asked.count("TransactWriteItems") == 4, "one of them twice"
    await made.table.create(new)
    assert len((await made.table.scan()).leases) == 206


@virtual_time
async def test_a_scan_reads_every_page() -> None:
    made = await site()
    for number in range(7):
        made.put({**MINE, "leaseKey": {"S": f"shard-{number}"}, "padding": {"S": "x" * 399_000}})
    assert len((await made.table.scan()).leases) == 7
    assert made.client.asked.count("Scan") == 3


@virtual_time
async def test_the_index_finds_the_leases_of_a_worker() -> None:
    made = await site()
    made.put(MINE)
    made.put({**MINE, "leaseKey": {"S": "other"}, "leaseOwner": {"S": "you"}})
    assert await made.table.keys_of("me") == [KEY]
    assert await made.table.keys_of("nobody") == []
    assert (await made.table.get(KEY)) == parse_lease(MINE)
    assert await made.table.get("missing") is None


@virtual_time
@pytest.mark.parametrize(
    "why", ["The table does not have the specified index", "Cannot read from backfilling global secondary index"]
)
async def test_without_an_index_that_can_be_read_the_leases_of_a_worker_are_found_all_the_same(why: str) -> None:
    made = await site()
    made.put(MINE)
    made.put({**MINE, "leaseKey": {"S": "other"}, "leaseOwner": {"S": "you"}})
    asked = made.client.asked
    filling = True

    async def refuse(operation: str, _request: Mapping[str, Any]) -> None:
        if operation == "Query" and filling:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": f"{why}: x"}}, operation)

    made.client.before = refuse
    for _ in range(30):
        assert await made.table.keys_of("me") == [KEY]
        await anyio.sleep(1)
    assert asked.count("Query") == 1, "it is not asked for in vain each time"
    filling = False
    await anyio.sleep(60)
    asked.clear()
    assert await made.table.keys_of("me") == [KEY]
    assert asked == ["Query"]


@virtual_time
async def test_a_row_that_cannot_be_read_is_named_with_its_table() -> None:
    made = await site()
    made.place({**MINE, "leaseCounter": {"S": "x"}})
    with pytest.raises(StateError, match=f"state table app in eu-west-1: row '{KEY}': leaseCounter is S 'x'.*: correct it"):
        await made.table.get(KEY)


# The lock


@virtual_time
async def test_the_lock_goes_from_hand_to_hand_as_the_lock_client_has_it() -> None:
    made = await site()
    mine = LockRow(owner="java-1", version="250ae838-7589-42b8-b5c4-f8971932408d", lasts=6.0)
    assert await made.table.acquire_lock(None, mine)
    assert made.item("Leader") == JAVA["acquire-lock"]
    assert await made.table.lock() == mine
    other = LockRow(owner="java-2", version="c7e1743b-94c4-4fa4-88c8-1eaf3c03e7dd", lasts=6.0)
    assert not await made.table.acquire_lock(None, other), "there is one"
    beaten = await made.table.beat_lock(mine, version=made.table.tokens())
    assert beaten is not None
    assert not await made.table.acquire_lock(mine, other), "a sign of life since"
    assert await made.table.beat_lock(mine, version=made.table.tokens()) is None
    assert await made.table.acquire_lock(beaten, other), "it stood still"
    assert made.item("Leader") == JAVA["acquire-lock-again"]
    assert await made.table.beat_lock(beaten, version=made.table.tokens()) is None
    assert not await made.table.release_lock(beaten)
    assert await made.table.release_lock(other)
    assert await made.table.lock() is None


@virtual_time
async def test_a_lock_that_was_given_back_by_a_mark_is_taken_without_it() -> None:
    made = await site()
    made.place({**JAVA["acquire-lock"], "isReleased": {"S": "1"}})
    seen = await made.table.lock()
    assert seen is not None
    mine = LockRow(owner="java-2", version="c7e1743b-94c4-4fa4-88c8-1eaf3c03e7dd", lasts=6.0)
    assert await made.table.acquire_lock(seen, mine)
    assert made.item("Leader") == JAVA["acquire-lock-again"]


@virtual_time
async def test_a_lock_written_twice_for_want_of_an_answer_is_ours() -> None:
    made = await site()
    made.client.twice = {"UpdateItem"}
    mine = LockRow(owner="me", version="v", lasts=120.0)
    assert await made.table.acquire_lock(None, mine)
    beaten = await made.table.beat_lock(mine, version=made.table.tokens())
    assert beaten is not None
    assert await made.table.lock() == beaten == msgspec.structs.replace(mine, version=beaten.version)
    assert beaten.version != "v"


# Workers


@virtual_time
async def test_a_worker_tells_that_it_lives_and_is_forgotten_when_it_was_not_heard_of() -> None:
    made = await site()
    first = WorkerRow(worker="java-1", updated=5)
    await made.table.report_worker(first)
    await made.table.report_worker(WorkerRow(worker="java-1", updated=1795676221))
    java = {name: value for name, value in JAVA["report-metrics"].items() if name not in ("sup", "slu")}
    assert made.item("java-1") == java
    assert not await made.table.forget_worker(first), "it was heard of since"
    (row,) = (await made.table.scan()).workers
    assert await made.table.forget_worker(row)
    assert (await made.table.scan()).workers == ()


@virtual_time
async def test_a_worker_that_is_called_like_a_shard_does_not_write_over_its_lease() -> None:
    made = await site()
    made.put(MINE)
    with pytest.raises(StateError, match=f"the worker {KEY} is called like another row"):
        await made.table.report_worker(WorkerRow(worker=KEY, updated=5))
    assert made.item(KEY) == MINE


# What it costs


@virtual_time
async def test_capacity_units_are_counted_also_of_writes_that_were_refused() -> None:
    made = await site()
    row = made.put(MINE)
    made.used.clear()
    await renew(made.table, row)
    await renew(made.table, row)
    await made.table.scan()
    await made.table.scan(consistent=True)
    await made.table.keys_of("me")
    await made.table.create([LeaseRow(key="new", checkpoint="LATEST")])
    assert made.used == [
        ("write", "UpdateItem", 1.0),
        ("write", "UpdateItem", 1.0),
        ("read", "Scan", 0.5),
        ("read", "Scan", 1.0),
        ("read", "Query", 0.5),
        ("write", "TransactWriteItems", 2.0),
    ]
