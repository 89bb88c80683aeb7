"""Calls that follow one another in a task: bounded in time, and not cut off."""

import asyncio
from functools import partial

import anyio
import pytest

from pollers.record import TRIM_HORIZON
from runtime.clock import now
from runtime.leases import Lease, StateError
from runtime.stores.dynamodb.calls import LONGEST_CALL
from runtime.stores.dynamodb.limits import Limits, Series, current_series
from runtime.stores.dynamodb.store import DynamodbStore
from runtime.together import MOST_TOGETHER, run_series
from tests.fakes.dynamodb_table import FakeDynamodb, fake_store
from tests.fakes.virtual_time import virtual_time

SCOPE = "orders arn:aws:kinesis:eu-west-1:123456789012:stream/orders"


async def thirty_leases(store: DynamodbStore) -> list[Lease]:
    new = [Lease(scope=SCOPE, shard=f"shard-{number:02}", checkpoint=TRIM_HORIZON) for number in range(30)]
    await store.create(new)
    return [taken for lease in new if (taken := await store.take(lease, "me")) is not None]


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
    series = Series()
    with series.joined():
        assert current_series() is series
        with anyio.move_on_after(0):
            await anyio.sleep(1)  # a scope inside works as ever
    assert current_series() is None


@virtual_time
@pytest.mark.parametrize("at", [0.0, 0.5, 1.5])
async def test_a_series_that_is_cancelled_ends_what_runs_and_begins_nothing(at: float) -> None:
    begun, ended = list[int](), list[int]()

    async def call(number: int) -> None:
        begun.append(number)
        await anyio.sleep(1)
        ended.append(number)

    with anyio.CancelScope(deadline=anyio.current_time() + at) as scope:
        await run_series([partial(call, number) for number in range(70)], within=Series().joined)
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

    await run_series([partial(call, number) for number in range(count)], within=Series().joined)
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
        await run_series([partial(call, number) for number in range(70)], within=Series().joined)
    assert len(begun) == MOST_TOGETHER


@virtual_time
async def test_renewals_that_hang_end_in_time_one_by_one_and_are_known_again() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await thirty_leases(store)
    hanging = {"shard-03", "shard-25"}

    async def hang(operation: str, request: object) -> None:
        if isinstance(request, dict) and operation == "UpdateItem" and request["Key"]["leaseKey"]["S"] in hanging:
            await anyio.sleep_forever()

    client.after = hang  # they are carried out, and nobody learns of it
    began = now()
    answers = await store.renew(mine)
    assert now() - began == pytest.approx(LONGEST_CALL, abs=0.1)  # others waited a moment for each of the two, and went on
    assert {lease.shard for lease, answer in zip(mine, answers, strict=True) if isinstance(answer, StateError)} == hanging
    assert "nothing for 5 seconds" in str(answers[3])
    assert sum(isinstance(answer, Lease) and answer.counter == 2 for answer in answers) == 28
    hanging.clear()
    again = await store.renew([mine[3], mine[25]])
    assert [answer.counter for answer in again if isinstance(answer, Lease)] == [3, 3]


@virtual_time
async def test_in_a_series_answers_are_taken_in_hand_together() -> None:
    """All at the same moment, when the last has come; for one that comes much later nobody waits long."""
    series, taken, zero = Series(), dict[float, float](), now()

    async def call(seconds: float) -> None:
        await anyio.sleep(seconds)
        await series.gathered()
        taken[seconds] = now() - zero

    left = [0.001, 0.002, 0.004, 1.001, 1.002, 1.9, 2.5]
    await run_series([partial(call, seconds) for seconds in left[:3]], within=series.joined)
    assert taken == {seconds: pytest.approx(0.004) for seconds in left[:3]}
    zero = now()
    await run_series([partial(call, seconds) for seconds in left[3:]], within=series.joined)
    assert taken == {
        **{seconds: taken[seconds] for seconds in left[:3]},
        **{seconds: pytest.approx(1.011) for seconds in (1.001, 1.002)},
        1.9: pytest.approx(1.91),
        2.5: pytest.approx(2.5),
    }
    assert not asyncio.all_tasks() - {asyncio.current_task()}


@virtual_time
async def test_who_ends_is_not_waited_for() -> None:
    series, zero = Series(), now()

    async def end() -> None:
        await anyio.sleep(0.002)

    async def call() -> None:
        await anyio.sleep(0.001)
        await series.gathered()
        assert now() - zero == pytest.approx(0.002)

    await run_series([end, call], within=series.joined)


@virtual_time
async def test_the_end_of_one_that_waits_is_not_that_of_the_others() -> None:
    series, taken = Series(), list[int]()

    async def wait(number: int) -> None:
        await series.gathered()
        taken.append(number)

    with series.joined(), series.joined(), series.joined(), series.joined():
        waiting = [asyncio.ensure_future(wait(number)) for number in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert taken == [0, 2]


@virtual_time
async def test_the_next_answers_have_a_time_of_their_own() -> None:
    series, taken, zero = Series(), list[float](), now()

    async def call(*pauses: float) -> None:
        for pause in pauses:
            await anyio.sleep(pause)
            await series.gathered()
            taken.append(now() - zero)

    await run_series([partial(call, 0.001, 0.005), partial(call, 0.004, 0.009)], within=series.joined)
    assert taken == pytest.approx([0.004, 0.004, 0.013, 0.013])


@virtual_time
async def test_of_renewals_twenty_are_asked_together_as_the_last_of_those_before_is_answered() -> None:
    client = FakeDynamodb()
    store = fake_store(client)
    mine = await thirty_leases(store)
    asked = list[float]()

    async def answer_late(operation: str, _: object) -> None:
        if operation == "UpdateItem":
            asked.append(now() - began)
            await anyio.sleep(len(asked) % 5 / 1000)

    client.after = answer_late
    began = now()
    answers = await store.renew(mine)
    assert asked == pytest.approx([0.0] * 20 + [0.004] * 10)
    assert sum(isinstance(answer, Lease) for answer in answers) == 30
