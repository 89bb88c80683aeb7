"""The store over DynamoDB where the contract of all stores ends: lost answers, trouble, rows of Java, tables of others."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import anyio
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from msgspec.structs import replace

from pollers.record import LATEST, TRIM_HORIZON, Position
from runtime.leases import Lease, LeaseStore, StateError
from runtime.local.dynamodb.call import Call
from runtime.local.dynamodb.service import ITEMS
from tests.fakes.dynamodb_table import ME, FakeDynamodb, Step, fake_store, nothing
from tests.fakes.virtual_time import virtual_time

ARN: Final = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
SCOPE: Final = f"orders {ARN}"
TABLE: Final = "esm-orders"
NEW: Final = Lease(scope=SCOPE, shard="shard-1", checkpoint=TRIM_HORIZON)


def failing(
    operation: str, error: Exception, *, times: int = 1, of: Callable[[Mapping[str, Any]], bool] = lambda _: True
) -> Step:
    """The next calls of an operation end like this."""
    left = [times]

    async def fail(asked: str, request: Mapping[str, Any]) -> None:
        if asked == operation and left[0] and of(request):
            left[0] -= 1
            raise error

    return fail


def lost() -> Exception:
    error: Exception = ConnectionClosedError(endpoint_url="http://dynamodb")
    return error


def refused(code: str) -> Exception:
    error: Exception = ClientError({"Error": {"Code": code, "Message": "so it is"}}, "UpdateItem")
    return error


def put(client: FakeDynamodb, **attributes: Any) -> None:
    """A row as somebody else writes it."""
    item = {"leaseCounter": {"N": "3"}, "checkpoint": {"S": "5"}, "entityType": {"S": "LEASE"}, **attributes}
    ITEMS["PutItem"](Call(store=client.store, caller=ME, operation="PutItem", body={"TableName": TABLE, "Item": item}))


async def held(store: LeaseStore, lease: Lease = NEW, owner: str = "me") -> Lease:
    await store.create([lease])
    taken = await store.take(lease, owner)
    assert taken is not None
    return taken


async def only(store: LeaseStore) -> Lease:
    (row,) = await store.load(SCOPE)
    return row


async def renewed(store: LeaseStore, lease: Lease) -> Lease | StateError | None:
    (answer,) = await store.renew([lease])
    return answer


# Answers that were lost


Act = Callable[[LeaseStore, Lease], Awaitable[object]]
ACTS: Final[dict[str, Act]] = {
    "renew": renewed,
    "checkpoint": lambda store, lease: store.checkpoint(lease, Position.after("7"), window="{}"),
    "release": lambda store, lease: store.release(lease),
    "take": lambda store, lease: store.take(lease, "me"),
    "want": lambda store, lease: store.want(lease, "you"),
}


@pytest.mark.parametrize("name", ACTS)
@virtual_time
async def test_what_the_client_sent_twice_is_done_once_and_counts_as_done(name: str) -> None:
    """The SDK asks again after a lost answer; the condition then fails on what it has written itself."""
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store)
    client.twice = {"UpdateItem"}
    assert await ACTS[name](store, mine)
    assert (await only(store)).counter == (1 if name == "want" else 2)


@pytest.mark.parametrize("name", ["renew", "checkpoint", "release"])
@pytest.mark.parametrize("first", ["renew", "checkpoint"])
@virtual_time
async def test_a_write_without_an_answer_that_was_done_is_no_loss_for_the_next(first: str, name: str) -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store)
    client.after = failing("UpdateItem", lost())
    with pytest.raises(StateError, match="no answer") if first == "checkpoint" else anyio.CancelScope():
        answer = await ACTS[first](store, mine)
        assert isinstance(answer, StateError)
    assert (await only(fake_store(client, worker="w2"))).counter == 2, "it was done"
    assert await ACTS[name](store, mine)
    row = await only(store)
    assert row.counter == 3
    assert row.owner == (None if name == "release" else "me")
    assert row.checkpoint == (Position.after("7") if "checkpoint" in (first, name) else TRIM_HORIZON)


@virtual_time
async def test_several_writes_in_a_row_without_an_answer_are_no_loss() -> None:
    """Each goes on from the last that was done, whichever of them it was."""
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store)
    client.after = failing("UpdateItem", lost(), times=3)
    for _ in range(2):
        assert isinstance(await renewed(store, mine), StateError)
    with pytest.raises(StateError):
        await store.checkpoint(mine, Position.after("7"))
    moved = await store.checkpoint(mine, Position.after("7"))
    assert moved == replace(mine, checkpoint=Position.after("7"), counter=5)
    assert await only(store) == moved


@virtual_time
async def test_a_write_that_never_arrived_is_made_by_the_next() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store)
    client.before = failing("UpdateItem", lost())
    assert isinstance(await renewed(store, mine), StateError)
    assert await renewed(store, mine) == replace(mine, counter=2)


@virtual_time
async def test_a_lease_that_was_taken_after_a_write_without_an_answer_is_lost() -> None:
    client = FakeDynamodb()
    mine, yours = fake_store(client, worker="w1"), fake_store(client, worker="w2")
    seen = await held(mine)
    client.after = failing("UpdateItem", lost())
    assert isinstance(await renewed(mine, seen), StateError)
    assert await yours.take(await only(yours), "you") is not None
    assert await renewed(mine, seen) is None
    assert await mine.checkpoint(seen, Position.after("7")) is None
    assert (await only(mine)).owner == "you"


@virtual_time
async def test_a_lease_that_java_moved_after_a_write_without_an_answer_is_lost() -> None:
    """Java knows nothing of our token and leaves it where it is."""
    client = FakeDynamodb()
    store = fake_store(client)
    seen = await held(store)
    client.after = failing("UpdateItem", lost())
    assert isinstance(await renewed(store, seen), StateError)
    row = client.items(TABLE)["shard-1"]
    put(client, **{**row, "leaseOwner": {"S": "java-1"}, "leaseCounter": {"N": "3"}})
    assert await renewed(store, seen) is None


@virtual_time
async def test_a_lease_that_was_assigned_anew_after_a_write_without_an_answer_is_lost_even_to_the_same_worker() -> None:
    """Somebody has moved the counter, and may have thought the owner dead."""
    client = FakeDynamodb()
    store = fake_store(client)
    seen = await held(store)
    client.after = failing("UpdateItem", lost())
    assert isinstance(await renewed(store, seen), StateError)
    put(client, **{**client.items(TABLE)["shard-1"], "leaseCounter": {"N": "5"}})
    assert await renewed(store, seen) is None


@virtual_time
async def test_a_lease_that_was_released_without_an_answer_is_not_renewed() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    seen = await held(store)
    client.after = failing("UpdateItem", lost())
    with pytest.raises(StateError):
        await store.release(seen)
    assert await renewed(store, seen) is None
    assert (await only(store)).counter == 2


@virtual_time
async def test_nothing_is_remembered_of_writes_whose_fate_is_known() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    seen = await held(store)
    for _ in range(3):
        client.after = failing("UpdateItem", lost())
        assert isinstance(await renewed(store, seen), StateError)
        answer = await renewed(store, seen)
        assert isinstance(answer, Lease)
        seen = answer
        assert store._tables[SCOPE]._unanswered == {}


@virtual_time
async def test_a_lease_taken_without_an_answer_is_free_for_its_new_owner_and_for_nobody_else() -> None:
    """It would otherwise wait for the failover time of an owner that does not know of it."""
    client = FakeDynamodb()
    mine, yours = fake_store(client, worker="w1"), fake_store(client, worker="w2")
    await mine.create([NEW])
    client.after = failing("UpdateItem", lost())
    with pytest.raises(StateError):
        await mine.take(NEW, "me")
    assert (await only(yours)).owner == "me"
    found = await only(mine)
    assert (found.owner, found.wanted_by, found.counter) == (None, "me", 1)
    assert await mine.take(found, "me") == replace(NEW, owner="me", counter=2)
    assert (await only(mine)).owner == "me"


@virtual_time
async def test_new_leases_without_an_answer_are_made_once() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    await store.load(SCOPE)
    client.after = failing("TransactWriteItems", lost())
    with pytest.raises(StateError):
        await store.create([NEW, replace(NEW, shard="shard-2")])
    await store.create([replace(NEW, checkpoint=LATEST), replace(NEW, shard="shard-3")])
    assert [str(row.checkpoint) for row in await store.load(SCOPE)] == ["TRIM_HORIZON"] * 3


@virtual_time
async def test_one_lease_that_cannot_be_renewed_keeps_no_other_from_it() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    mine = [await held(store, replace(NEW, shard=f"shard-{number}")) for number in range(30)]
    throttled = refused("ProvisionedThroughputExceededException")
    client.before = failing("UpdateItem", throttled, of=lambda request: request["Key"]["leaseKey"]["S"] == "shard-7")
    answers = await store.renew(mine)
    assert isinstance(answers[7], StateError)
    assert "give the table more capacity" in str(answers[7])
    assert [answer.counter for answer in answers if isinstance(answer, Lease)] == [2] * 29
    assert await renewed(store, mine[7]) == replace(mine[7], counter=2)


@virtual_time
async def test_at_most_twenty_writes_are_on_their_way_at_once() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    mine = [await held(store, replace(NEW, shard=f"shard-{number}")) for number in range(50)]
    running, most = 0, 0

    async def watch(_operation: str, _request: Mapping[str, Any]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.1)
        running -= 1

    client.before = watch
    began = anyio.current_time()
    await store.renew(mine)
    assert most == 20
    assert anyio.current_time() - began == pytest.approx(0.3)


# Trouble


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused("AccessDeniedException"), "UpdateItem: AccessDeniedException: so it is: allow dynamodb:UpdateItem on it"),
        (refused("ResourceNotFoundException"), "it is not there (any more): make it"),
        (refused("ThrottlingException"), "give the table more capacity, or on-demand billing"),
        (refused("InternalServerError"), "UpdateItem: InternalServerError: so it is"),
        (lost(), "UpdateItem: no answer: Connection was closed"),
        (KeyError("garbage"), "the answer could not be understood"),
    ],
)
@virtual_time
async def test_an_error_names_table_operation_and_what_to_do(error: Exception, words: str) -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store)
    client.before = failing("UpdateItem", error)
    with pytest.raises(StateError) as raised:
        await store.checkpoint(mine, Position.after("7"))
    assert str(raised.value).startswith("state table esm-orders in eu-west-1: UpdateItem: ")
    assert words in str(raised.value)


@virtual_time
async def test_a_call_that_hangs_ends_in_time_for_another_try() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store)

    async def hang(_operation: str, _request: Mapping[str, Any]) -> None:
        await anyio.sleep_forever()

    client.before = hang
    began = anyio.current_time()
    with pytest.raises(StateError, match="UpdateItem: no answer: nothing for 5 seconds"):
        await store.checkpoint(mine, Position.after("7"))
    assert anyio.current_time() - began == pytest.approx(5.0)
    client.before = nothing
    assert await renewed(store, mine) == replace(mine, counter=2)


@virtual_time
async def test_a_call_that_has_begun_is_not_cut_off_by_cancellation() -> None:
    """Nobody would know what it did, and the lease could not even be released."""
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store)

    async def slow(_operation: str, _request: Mapping[str, Any]) -> None:
        await anyio.sleep(1.0)

    client.after = slow
    answers = []
    with anyio.move_on_after(0.5):
        answers.append(await store.checkpoint(mine, Position.after("7")))
    assert answers == [replace(mine, checkpoint=Position.after("7"), counter=2)]
    assert await store.release(answers[0] or mine)


# A worker asked for a lease while its owner wrote it


@pytest.mark.parametrize("name", ["renew", "checkpoint", "release"])
@virtual_time
async def test_whoever_wants_a_lease_is_in_nobodys_way(name: str) -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store)
    assert await store.want(mine, "you")
    assert await ACTS[name](store, mine), "as last seen, before it was wanted"
    row = await only(store)
    assert (row.owner, row.wanted_by, row.counter) == (None if name == "release" else "me", "you", 2)
    item = client.items(TABLE)["shard-1"]
    assert item["leaseOwner"] == {"S": "you"}, "which is what a Java worker of that name waits for"
    assert ("checkpointOwner" in item) is (name != "release")


@virtual_time
async def test_a_lease_that_was_handed_to_a_java_worker_is_its_own_once_it_has_renewed() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store)
    assert await store.want(mine, "java-1")
    assert await store.release(mine)
    item = client.items(TABLE)["shard-1"]
    put(client, **{**item, "leaseCounter": {"N": "3"}})
    row = await only(store)
    assert (row.owner, row.wanted_by, row.counter) == ("java-1", None, 3)


# Positions


@virtual_time
async def test_latest_that_was_pinned_to_a_time_is_still_latest_for_java() -> None:
    """AT_TIMESTAMP would send a Java worker to the time in its own settings."""
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store, replace(NEW, checkpoint=LATEST))
    pinned = await store.checkpoint(mine, Position.at(5.5))
    assert pinned is not None
    again = await store.checkpoint(pinned, Position.at(5.5), window="{}")
    item = client.items(TABLE)["shard-1"]
    assert (item["checkpoint"], item["esmStart"]) == ({"S": "LATEST"}, {"S": "5.5"})
    assert await only(store) == again
    assert again is not None
    assert again.checkpoint == Position.at(5.5)
    moved = await store.checkpoint(again, Position.after("7"))
    assert "esmStart" not in client.items(TABLE)["shard-1"]
    assert await only(store) == moved


@virtual_time
async def test_a_record_that_java_left_in_its_middle_stays_so_until_it_is_done() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    await store.load(SCOPE)
    put(client, leaseKey={"S": "shard-1"}, checkpointSubSequenceNumber={"N": "4"}, pendingCheckpointState={"B": "AAE="})
    mine = await store.take(await only(store), "me")
    assert mine is not None
    assert mine.checkpoint == Position.at_record("5")
    again = await store.checkpoint(mine, mine.checkpoint, window="{}")
    assert again is not None
    assert client.items(TABLE)["shard-1"]["checkpointSubSequenceNumber"] == {"N": "4"}
    assert await store.checkpoint(again, Position.after("5")) is not None
    item = client.items(TABLE)["shard-1"]
    assert (item["checkpoint"], item["checkpointSubSequenceNumber"]) == ({"S": "5"}, {"N": "0"})
    assert "pendingCheckpointState" not in item, "it belonged to a checkpoint that was never made"


@virtual_time
async def test_owner_switches_are_counted_as_java_counts_them() -> None:
    client = FakeDynamodb()
    mine, yours = fake_store(client, worker="w1"), fake_store(client, worker="w2")

    def switches() -> int:
        return int(client.items(TABLE)["shard-1"]["ownerSwitchesSinceCheckpoint"]["N"])

    await held(mine)
    assert switches() == 0, "nobody had it"
    seen = await yours.take(await only(yours), "you")
    assert switches() == 1
    assert seen is not None
    await yours.checkpoint(seen, Position.after("7"))
    assert switches() == 0


# Whose table it is


@virtual_time
async def test_a_table_of_another_stream_is_refused_as_long_as_its_rows_are_there() -> None:
    client = FakeDynamodb()
    await fake_store(client).create([NEW])
    other = fake_store(client)
    with pytest.raises(StateError, match=r"row shard-1 is of .*stream/orders, but the mapping reads .*stream/others: give"):
        await other.load("orders arn:aws:kinesis:eu-west-1:123456789012:stream/others")


@virtual_time
async def test_java_rows_of_a_table_of_one_stream_are_the_mappings() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    await store.load(SCOPE)
    put(client, leaseKey={"S": "shard-1"}, leaseOwner={"S": "java-1"})
    assert await only(store) == replace(NEW, checkpoint=Position.after("5"), owner="java-1", counter=3)


@virtual_time
async def test_in_a_table_of_several_streams_only_the_mappings_rows_count() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    await store.load(SCOPE)
    for stream in ("123456789012:orders:1500", "123456789012:others:1500"):
        put(client, leaseKey={"S": f"{stream}:shard-1"}, streamName={"S": stream}, shardId={"S": "shard-1"})
    mine = await store.take(await only(store), "me")
    assert mine is not None
    await store.create([replace(NEW, shard="shard-2")])
    rows = client.items(TABLE)
    assert rows["123456789012:orders:1500:shard-1"]["leaseOwner"] == {"S": "me"}
    assert "leaseOwner" not in rows["123456789012:others:1500:shard-1"]
    assert rows["123456789012:orders:1500:shard-2"]["shardId"] == {"S": "shard-2"}
    assert [lease.shard for lease in await store.load(SCOPE)] == ["shard-1", "shard-2"]


@virtual_time
async def test_a_table_of_several_other_streams_is_refused() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    await store.load(SCOPE)
    stream = "123456789012:others:1500"
    put(client, leaseKey={"S": f"{stream}:shard-1"}, streamName={"S": stream}, shardId={"S": "shard-1"})
    with pytest.raises(StateError, match="it is a table of several streams"):
        await store.load(SCOPE)


@virtual_time
async def test_a_fleet_that_goes_back_to_kcl_2_is_left() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    await store.create([NEW])
    row = {**client.items(TABLE)["Migration3.0"], "cv": {"S": "CLIENT_VERSION_2X"}}
    ITEMS["PutItem"](Call(store=client.store, caller=ME, operation="PutItem", body={"TableName": TABLE, "Item": row}))
    with pytest.raises(StateError, match="its fleet says CLIENT_VERSION_2X"):
        await store.load(SCOPE)


@virtual_time
async def test_a_table_that_went_away_is_not_made_again_behind_everybodys_back() -> None:
    """All positions would begin anew; to start the worker again is for somebody to decide."""
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await held(store)
    client.store.delete(client.store.table(TABLE, account=ME.account, region=ME.region))
    with pytest.raises(StateError, match="it is not there"):
        await store.load(SCOPE)
    assert isinstance(await renewed(store, mine), StateError)
    assert client.store.every_table() == []
