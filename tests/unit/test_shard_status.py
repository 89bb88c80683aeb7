"""What `/mappings` says of a shard, and what the watchdog asks it."""

import anyio

from pollers.errors import SourceUnavailable
from runtime.shard_status import Block, ShardState, ShardStatus
from tests.fakes.virtual_time import virtual_time


def view(status: ShardStatus) -> tuple[ShardState, str | None]:
    return status.state, status.why_not_moving


def test_every_state_says_why_the_shard_is_not_moving() -> None:
    status = ShardStatus(shard="s0")
    assert view(status) == (ShardState.FREE, "no worker has taken its lease yet")
    status.owner = "w2"
    assert view(status) == (ShardState.ELSEWHERE, "lease held by worker w2")
    status.waiting_for = ("s1", "s2")
    assert view(status) == (ShardState.WAITING, "waiting for its parent s1 and s2")
    status.running = True
    assert view(status) == (ShardState.READING, None)
    status.blocks[0] = Block(reason="retrying record 5", since=1763726591.0, attempt=9, detail="ValueError: no")
    assert view(status) == (ShardState.BLOCKED, "retrying record 5 (attempt 9 since 2025-11-21 12:03:11 UTC): ValueError: no")
    status.error = SourceUnavailable("GetRecords on s0: no answer", code="no_answer")
    assert str(status.why_not_moving).endswith("ValueError: no; GetRecords on s0: no answer")
    status.ended = True
    assert view(status) == (ShardState.ENDED, None)


def test_the_lag_of_a_shard_is_that_of_the_oldest_record_known_and_grows_while_it_is_not_read() -> None:
    status = ShardStatus(shard="s0", running=True)
    assert status.lag(100.0, 1000.0) == 0
    status.behind, status.last_read = 0.0, 90.0  # at the tip: nothing is there to get older
    assert status.lag(100.0, 1000.0) == 0
    status.behind = 30.0
    assert status.lag(100.0, 1000.0) == 40
    status.in_flight[0] = 955.0
    assert status.lag(100.0, 1000.0) == 45
    status.in_flight[0] = 970.0
    assert status.lag(100.0, 1000.0) == 40
    status.behind = None  # DynamoDB does not say
    assert status.lag(100.0, 1000.0) == 30


@virtual_time
async def test_what_a_task_may_take_is_not_silence_and_the_longest_of_several_counts() -> None:
    status = ShardStatus(shard="s0", running=True, alive=anyio.current_time())
    with status.busy(900):
        with status.busy(10):
            await anyio.sleep(5)
        await anyio.sleep(890)
        assert status.silent(anyio.current_time()) == 0
        await anyio.sleep(25)
        assert status.silent(anyio.current_time()) == 20
    assert status.silent(anyio.current_time()) == 0
    await anyio.sleep(7)
    assert status.silent(anyio.current_time()) == 7


@virtual_time
async def test_a_shard_that_nobody_works_on_here_or_that_waits_for_an_overdue_handler_is_not_silent() -> None:
    status = ShardStatus(shard="s0", alive=anyio.current_time())
    await anyio.sleep(1000)
    assert status.silent(anyio.current_time()) == 0
    status.running = True
    assert status.silent(anyio.current_time()) == 1000
    status.overdue[0] = anyio.current_time()
    assert status.silent(anyio.current_time()) == 0


def test_a_restart_in_vain_makes_a_shard_stuck() -> None:
    status = ShardStatus(shard="s0", in_vain=1)
    assert not status.stuck
    status.in_vain = 2
    assert status.stuck
