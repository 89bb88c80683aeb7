"""The loop whose clock jumps."""

import inspect
import socket
import time

import anyio
import pytest

from tests.fakes.virtual_time import LONGEST, START, WaitsForever, run_virtual, virtual_time


@pytest.mark.timeout(10)
def test_twelve_hours_take_no_time() -> None:
    async def sleep_long() -> float:
        await anyio.sleep(12 * 3600)
        return anyio.current_time()

    began = time.process_time()
    assert run_virtual(sleep_long) == START + 12 * 3600
    assert time.process_time() - began < 5


def test_arguments_and_ready_made_coroutines_are_run() -> None:
    async def add(left: int, right: int) -> int:
        return left + right

    assert run_virtual(add, 1, 2) == 3
    assert run_virtual(add(1, 2)) == 3


@virtual_time
async def test_timers_fire_in_order_at_their_times() -> None:
    fired: list[tuple[str, float]] = []

    async def fire(name: str, seconds: float) -> None:
        await anyio.sleep(seconds)
        fired.append((name, anyio.current_time() - START))

    async with anyio.create_task_group() as tasks:
        for name, seconds in (("c", 3600), ("a", 0.001), ("b", 7.5), ("never late", 3600)):
            tasks.start_soon(fire, name, seconds)

    assert [name for name, _ in fired] == ["a", "b", "c", "never late"]
    assert [at for _, at in fired] == pytest.approx([0.001, 7.5, 3600, 3600])


@virtual_time
async def test_the_clock_stands_still_while_anything_can_run() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 50)
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
            assert anyio.current_time() == START


@virtual_time
async def test_deadlines_of_cancel_scopes_are_timers() -> None:
    with anyio.move_on_after(90) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert anyio.current_time() == START + 90
    with pytest.raises(TimeoutError):
        with anyio.fail_after(10):
            await anyio.Event().wait()


@virtual_time
async def test_capacity_limiters_work() -> None:
    limiter = anyio.CapacityLimiter(2)

    async def work() -> None:
        async with limiter:
            await anyio.sleep(10)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(work)
    assert anyio.current_time() == START + 30


def test_a_deadlock_is_an_error_that_names_who_waits() -> None:
    async def wait() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.Event().wait, name="the one that waits")

    with pytest.raises(WaitsForever, match=r"no timer is set(.|\n)*the one that waits at .+\.py:\d+"):
        run_virtual(wait)


def test_a_deadlock_still_runs_the_cleanup_of_those_who_wait() -> None:
    cleaned: list[float] = []

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)
            cleaned.append(anyio.current_time() - START)

    with pytest.raises(WaitsForever):
        run_virtual(wait)
    assert cleaned == [5]


def test_what_repeats_itself_for_ever_is_an_error() -> None:
    cleaned: list[bool] = []

    async def repeat() -> None:
        try:
            while True:
                with anyio.move_on_after(3600):
                    await anyio.Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)
            cleaned.append(True)

    with pytest.raises(WaitsForever, match=f"{LONGEST:.0f} seconds"):
        run_virtual(repeat)
    assert cleaned


@virtual_time
async def test_what_a_socket_already_holds_is_seen_before_the_clock_jumps() -> None:
    left, right = socket.socketpair()
    with left, right:
        right.setblocking(False)
        left.send(b"x")
        with anyio.move_on_after(1000):
            await anyio.wait_readable(right)
    assert anyio.current_time() == START


def test_an_error_of_the_test_comes_out() -> None:
    @virtual_time
    async def fails() -> None:
        await anyio.sleep(1)
        raise LookupError

    with pytest.raises(LookupError):
        fails()


@pytest.fixture
def three() -> int:
    return 3


@pytest.mark.parametrize("seconds", [1, 2])
@virtual_time
async def test_fixtures_and_parameters_reach_a_decorated_test(three: int, seconds: int) -> None:
    await anyio.sleep(seconds)
    assert anyio.current_time() - START == seconds < three


def test_a_decorated_test_is_a_plain_function_to_pytest() -> None:
    assert not inspect.iscoroutinefunction(test_fixtures_and_parameters_reach_a_decorated_test)


class TestInAClass:
    @virtual_time
    async def test_methods_can_be_decorated(self) -> None:
        await anyio.sleep(5)
        assert anyio.current_time() == START + 5
