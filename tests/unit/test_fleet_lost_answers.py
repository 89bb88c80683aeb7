"""Calls that the table carried out, and whose answer never came: on fakes in virtual time."""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import anyio
import pytest
from botocore.exceptions import ReadTimeoutError

from handlers.invoker import Outcome, Succeeded
from runtime.stores.dynamodb.lock import LEADER
from tests.fakes.dynamodb_table import FakeDynamodb
from tests.fakes.stream_worker import wait
from tests.fakes.virtual_time import virtual_time
from tests.unit.test_fleet import fleet_of, loads, works_on

Lose = Callable[[FakeDynamodb], None]


def lose_answer(client: FakeDynamodb) -> None:
    """Of the first deletion of the lock; the client gives up."""
    lost = False

    async def lose(operation: str, request: Mapping[str, Any]) -> None:
        nonlocal lost
        await anyio.lowlevel.checkpoint()
        if operation == "DeleteItem" and request["Key"]["leaseKey"]["S"] == LEADER and not lost:
            lost = True
            raise ReadTimeoutError(endpoint_url="http://table")

    client.after = lose


def lose_answer_and_every_further_one(client: FakeDynamodb) -> None:
    """What comes next to the table is a beat of the lock."""
    lose_answer(client)
    lose = client.after

    async def fail(operation: str, _request: Mapping[str, Any]) -> None:
        await anyio.lowlevel.checkpoint()
        if operation == "DeleteItem" and client.asked.count("DeleteItem") > 1:
            raise ReadTimeoutError(endpoint_url="http://table")

    client.asked.clear()
    client.before, client.after = fail, lose


def ask_twice(client: FakeDynamodb) -> None:
    """The client asks again by itself."""
    client.twice = {"DeleteItem"}


@virtual_time
@pytest.mark.parametrize("lose", [lose_answer, lose_answer_and_every_further_one, ask_twice])
async def test_a_leader_that_does_not_learn_that_it_gave_the_lock_back_finishes_its_batches(lose: Lose) -> None:
    """Nobody can have taken the lock from it meanwhile, so its leases are its own."""
    world = fleet_of(4)
    async with anyio.create_task_group() as tasks:
        leader = world.start(tasks, "w1")
        await wait(lambda: len(works_on(leader)) == 4)
        second = world.start(tasks, "w2")
        await wait(lambda: loads(leader, second) == [2, 2], within=60)

        async def slow(_: dict[str, Any]) -> Outcome:
            await anyio.sleep(25)
            return Succeeded(response=None)

        world.function.handler = slow
        for number in range(30):
            world.stream.put(f"key-{number}", 1)
        await wait(lambda: world.function.running == 4, within=10)
        lose(world.client)
        leader.drain.begin()
        await leader.ended.wait()
        assert leader.metric("esm_lease_changes_total", change="lost") == 0
        await wait(lambda: len(set(chain.from_iterable(world.function.invoked))) == 30, within=300)
        second.drain.begin()
    assert set(Counter(chain.from_iterable(world.function.invoked)).values()) == {1}
