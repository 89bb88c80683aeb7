"""Calls that follow one another in a task: bounded in time, and not cut off."""

import asyncio
from functools import partial

import anyio
import pytest

from pollers.record import TRIM_HORIZON
from runtime.clock import now
from runtime.leases import Lease, StateError
from runtime.stores.dynamodb.calls import LONGEST_CALL
from runtime.stores.dynamodb.limits import Limits, is_sheltered, sheltered
from runtime.together import MOST_TOGETHER, run_series
from tests.fakes.dynamodb_table import FakeDynamodb, fake_store
from tests.fakes.virtual_time import virtual_time

SCOPE = "orders arn:aws:kinesis:eu-west-1:123456789012:stream/orders"


async def after(seconds: float) -> str:
    await anyio.sleep(seconds)
    return "done"


@virtual_time
async def test_what_takes_longer_than_its_limit_ends_then_and_its_task_goes_on() -> None:
    limits, began = Limits(5.0), now()
    for _ in range(3):
        with pytest.raises(TimeoutError, match="nothing for 5 seconds"):
            await limits.within(anyio.sleep_forever())
        assert await limits.within(after(4.9)) == "done"
    await anyio.sleep(6)  # without a limit
    assert now() - began == pytest.approx(3 * 9.9 + 6)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@virtual_time
async def test_each_call_has_a_limit_of_its_own() -> None:
    """Also those that begin while the timer of others runs, or when theirs has just ended."""
    limits, ends = Limits(5.0), dict[float, float]()

    async def call(begin: float, seconds: float) -> None:
        await anyio.sleep(begin)
        try:
            await limits.within(anyio.sleep(seconds))
        except TimeoutError:
            ends[begin] = now() - zero

    zero = now()
    async with anyio.create_task_group() as tasks:
        for begin, seconds in ((0.0, 60.0), (1.0, 4.0), (2.0, 60.0), (5.0, 60.0), (30.0, 1.0), (31.0, 60.0)):
            tasks.start_soon(call, begin, seconds)
    assert ends == {begin: pytest.approx(begin + 5.0) for begin in (0.0, 2.0, 5.0, 31.0)}


@virtual_time
async def test_a_cancellation_that_is_not_the_limits_is_one() -> None:
    limits = Limits(5.0)
    with anyio.move_on_after(1.0) as scope:
        await limits.within(anyio.sleep_forever())
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        await limits.within(anyio.sleep_forever())


@virtual_time
async def test_what_a_call_raises_is_its_own() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await Limits(5.0).within(fail())


@virtual_time
async def test_a_shelter_is_of_one_task_and_ends() -> None:
    with sheltered():
        assert is_sheltered()
        with anyio.move_on_after(0):
            await anyio.sleep(1)  # a scope inside works as ever
    assert not is_sheltered()


@virtual_time
@pytest.mark.parametrize("at", [0.0, 0.5, 1.5])
async def test_a_series_that_is_cancelled_ends_what_runs_and_begins_nothing(at: float) -> None:
    begun, ended = list[int](), list[int]()

    async def call(number: int) -> None:
        begun.append(number)
        await anyio.sleep(1)
        ended.append(number)

    with anyio.CancelScope(deadline=anyio.current_time() + at) as scope:
        await run_series([partial(call, number) for number in range(70)], within=sheltered)
    assert scope.cancelled_caught
    rounds = 0 if at == 0.0 else int(at) + 1
    assert begun == sorted(ended) == list(range(rounds * MOST_TOGETHER))


@virtual_time
@pytest.mark.parametrize("count", [0, 1, MOST_TOGETHER, 70])
async def test_a_series_does_all_twenty_at_a_time(count: int) -> None:
    done, zero = list[int](), now()

    async def call(number: int) -> None:
        await anyio.sleep(1)
        done.append(number)

    await run_series([partial(call, number) for number in range(count)], within=sheltered)
    assert sorted(done) == list(range(count))
    assert now() - zero == pytest.approx(-(-count // MOST_TOGETHER))


@virtual_time
async def test_a_bug_in_a_series_ends_it() -> None:
    begun = list[int]()

    async def call(number: int) -> None:
        begun.append(number)
        await anyio.sleep(1)
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        await run_series([partial(call, number) for number in range(70)], within=sheltered)
    assert len(begun) == MOST_TOGETHER


@virtual_time
async def test_renewals_that_hang_end_in_time_one_by_one_and_are_known_again() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    new = [Lease(scope=SCOPE, shard=f"shard-{number:02}", checkpoint=TRIM_HORIZON) for number in range(30)]
    await store.create(new)
    mine = [taken for lease in new if (taken := await store.take(lease, "me")) is not None]
    hanging = {"shard-03", "shard-25"}

    async def hang(operation: str, request: object) -> None:
        if isinstance(request, dict) and operation == "UpdateItem" and request["Key"]["leaseKey"]["S"] in hanging:
            await anyio.sleep_forever()

    client.after = hang  # they are carried out, and nobody learns of it
    began = now()
    answers = await store.renew(mine)
    assert now() - began == pytest.approx(LONGEST_CALL)
    assert {lease.shard for lease, answer in zip(mine, answers, strict=True) if isinstance(answer, StateError)} == hanging
    assert "nothing for 5 seconds" in str(answers[3])
    assert sum(isinstance(answer, Lease) and answer.counter == 2 for answer in answers) == 28
    hanging.clear()
    again = await store.renew([mine[3], mine[25]])
    assert [answer.counter for answer in again if isinstance(answer, Lease)] == [3, 3]
