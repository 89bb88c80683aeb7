"""Records through a handler by hand: batches, retries, order, windows, and the account that holds over every ending."""

from collections import defaultdict
from typing import Any

import anyio
import hypothesis
from hypothesis import strategies as st

from handlers.invoker import NOT_JSON, FunctionError, NotInvoked, Outcome, Succeeded
from pollers.event_records import EventRecord
from runtime.core.tumbling import MAX_STATE_BYTES
from runtime.replay import calling
from runtime.replay.engine import Replayer
from runtime.replay.order import Blocked
from runtime.replay.pace import Pace
from runtime.replay.report import NOT_ALONE, REPORTED, Report
from runtime.replay.rules import Overrides, rules_of
from tests.fakes.replays import (
    BEGAN,
    STREAM,
    Acts,
    ids_of,
    kinesis_record,
    message,
    queue_mapping,
    raised,
    replay,
    stream_mapping,
)
from tests.fakes.virtual_time import run_virtual, virtual_time


def poisoned(*poison: str) -> Acts:
    """Fails every batch that holds one of them."""

    async def act(event: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        found = set(ids_of(event)) & set(poison)
        return raised(f"poison {min(found)}") if found else Succeeded(response=None)

    return Acts(act)


def naming(*named: str) -> Acts:
    """Reports these as failed."""

    async def act(event: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        return Succeeded(response={"batchItemFailures": [{"itemIdentifier": each} for each in ids_of(event) if each in named]})

    return Acts(act)


def numbers(*spans: range, **more: Any) -> list[EventRecord]:
    return [kinesis_record(number, **more) for span in spans for number in span]


# batches and their rules


@virtual_time
async def test_batches_are_full_and_in_order() -> None:
    acts = Acts()
    replayed = await replay(numbers(range(1, 26)), acts)
    assert acts.invoked == [[str(n) for n in range(a, min(a + 10, 26))] for a in (1, 11, 21)]
    assert replayed.report.batches == replayed.report.invocations == 3


@virtual_time
async def test_a_batch_that_fails_is_given_up_after_the_mappings_attempts_and_the_next_one_goes_on() -> None:
    """COM-71: attempts are retries after the first invocation."""
    acts = poisoned("3")
    replayed = await replay(numbers(range(1, 8)), acts, stream_mapping(records=4, attempts=2))
    assert acts.invoked == [["1", "2", "3", "4"]] * 3 + [["5", "6", "7"]]
    assert replayed.failed == ["1", "2", "3", "4"]
    assert {failure.attempts for failure in replayed.failures} == {3}
    assert replayed.settled == ["5", "6", "7"]


@virtual_time
async def test_without_a_limit_nothing_is_tried_again() -> None:
    acts = poisoned("1")
    await replay(numbers(range(1, 3)), acts, stream_mapping(attempts=-1))
    assert acts.invoked == [["1", "2"]]


@virtual_time
async def test_a_mapping_without_a_limit_gives_up_what_the_handler_named_and_nothing_else() -> None:
    replayed = await replay(numbers(range(1, 7)), naming("2", "5"), stream_mapping(report=True))
    assert replayed.failed == ["2", "5"]
    assert replayed.settled == ["1", "3", "4", "6"]
    assert {failure.trouble.type for failure in replayed.failures} == {REPORTED}


@virtual_time
async def test_a_mapping_with_a_limit_gives_up_all_from_the_first_that_was_named() -> None:
    """KIN-50, COM-73."""
    replayed = await replay(numbers(range(1, 5)), naming("2"), stream_mapping(report=True, attempts=0))
    assert replayed.settled == ["1"]
    assert [(each.position, each.trouble.type) for each in replayed.failures] == [
        ("2", REPORTED),
        ("3", NOT_ALONE),
        ("4", NOT_ALONE),
    ]


@virtual_time
async def test_bisect_finds_the_one() -> None:
    """COM-75."""
    replayed = await replay(numbers(range(1, 9)), poisoned("6"), stream_mapping(bisect=True, attempts=0))
    assert replayed.failed == ["6"]
    assert replayed.report.errors[0].first == "1"


@virtual_time
async def test_an_answer_that_cannot_be_understood_fails_the_whole_batch() -> None:
    async def act(_: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        return Succeeded(response=NOT_JSON)

    replayed = await replay(numbers(range(1, 3)), Acts(act), stream_mapping(report=True))
    assert [(each.trouble.type, each.trouble.message) for each in replayed.failures] == [
        ("InvalidResponse", "the answer is not JSON")
    ] * 2


@virtual_time
async def test_a_throttle_costs_no_retry() -> None:
    left = [3]

    async def act(_: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        left[0] -= 1
        return NotInvoked(reason="no thread") if left[0] >= 0 else Succeeded(response=None)

    replayed = await replay(numbers(range(1, 3)), Acts(act), stream_mapping(attempts=0))
    assert replayed.settled == ["1", "2"]
    assert (replayed.report.throttles, replayed.report.invocations) == (3, 1)


@virtual_time
async def test_what_a_queue_gets_back_is_tried_so_often_as_the_command_says() -> None:
    acts = naming("m2")
    replayed = await replay([message(n) for n in range(1, 4)], acts, queue_mapping(report=True), overrides=Overrides(attempts=2))
    assert acts.invoked == [["m1", "m2", "m3"], ["m2"], ["m2"]]
    assert replayed.settled == ["m1", "m3"]
    assert [(each.position, each.attempts) for each in replayed.failures] == [("m2", 3)]


@virtual_time
async def test_the_event_is_made_anew_for_each_try() -> None:
    async def act(event: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        del event["Records"][0]["kinesis"]
        return raised()

    acts = Acts(act)
    await replay(numbers(range(1, 3)), acts, stream_mapping(attempts=2))
    assert acts.invoked == [["1", "2"]] * 3


# how many at once, and in which order


async def slow(event: dict[str, Any]) -> Outcome:
    await anyio.sleep(1 + len(event["Records"]) % 3)
    return Succeeded(response=None)


@virtual_time
async def test_shards_run_side_by_side_up_to_the_limit() -> None:
    records = [kinesis_record(n, shard=f"s{n % 6}") for n in range(1, 61)]
    for limit, most in ((None, 6), (2, 2), (1, 1)):
        acts = Acts(slow)
        await replay(records, acts, stream_mapping(records=5), concurrency=limit)
        assert acts.most_running == most


@virtual_time
async def test_a_long_stretch_of_a_busy_shard_holds_no_other_shard_up() -> None:
    records = [*numbers(range(1, 31), shard="a"), *numbers(range(31, 61), shard="b")]
    acts = Acts(slow)
    await replay(records, acts)
    assert acts.most_running == 2
    assert [ids[0] for ids in acts.invoked[:2]] == ["1", "31"]


@virtual_time
async def test_a_shard_begins_when_its_parents_are_done() -> None:
    acts = Acts(slow)
    replayer = Replayer(rules_of(stream_mapping(), Overrides()), acts, Report())
    async with replayer.running():
        for record in numbers(range(1, 26), shard="parent"):
            await replayer.feed(record)
        await replayer.finish_shard(STREAM, "parent")
        assert acts.running == 0
        for record in numbers(range(26, 28), shard="child"):
            await replayer.feed(record)
    assert [len(ids) for ids in acts.invoked] == [10, 10, 5, 2]


@virtual_time
async def test_a_group_of_a_fifo_queue_keeps_its_order_and_others_run_beside_it() -> None:
    acts = Acts(slow)
    records = [message(n, group=f"g{n % 7}") for n in range(1, 90)]
    await replay(records, acts, queue_mapping(fifo=True, concurrency=5, records=3))
    assert acts.most_running > 1
    seen = defaultdict(list)
    for ids in acts.invoked:
        for each in ids:
            number = int(each[1:])
            seen[number % 7].append(number)
    assert all(order == sorted(order) for order in seen.values())


@virtual_time
async def test_in_strict_order_nothing_runs_behind_a_failure_in_its_shard() -> None:
    records = [kinesis_record(n, shard=f"s{n % 2}") for n in range(1, 13)]
    replayed = await replay(records, poisoned("3"), stream_mapping(records=2), blocked=Blocked())
    assert replayed.failed == ["1", "3"]
    assert set(replayed.settled) == {str(n) for n in range(2, 13, 2)}
    assert replayed.report.not_run == 4


@virtual_time
async def test_in_strict_order_nothing_runs_behind_a_failure_in_its_group() -> None:
    records = [message(n, group=f"g{n % 2}") for n in range(1, 9)]
    replayed = await replay(records, poisoned("m3"), queue_mapping(fifo=True, records=1), blocked=Blocked())
    assert (replayed.failed, set(replayed.settled)) == (["m3"], {"m1", "m2", "m4", "m6", "m8"})


# its own rhythm


@virtual_time
async def test_records_come_in_their_own_rhythm() -> None:
    """Batching windows then count, in recorded time."""
    times = (0.0, 1.0, 2.0, 20.0, 21.0)
    records = [kinesis_record(n, arrived=BEGAN + at) for n, at in enumerate(times, start=1)]
    for speed in (1.0, 4.0):
        at: list[tuple[float, int]] = []
        began = anyio.current_time()

        async def act(event: dict[str, Any], at: list[tuple[float, int]] = at, began: float = began) -> Outcome:
            await anyio.lowlevel.checkpoint()
            at.append((anyio.current_time() - began, len(event["Records"])))
            return Succeeded(response=None)

        await replay(records, Acts(act), overrides=Overrides(window=5), pace=Pace(speed))
        assert at == [(5 / speed, 3), (21 / speed, 2)]  # the end of the recording ends the last window


@virtual_time
async def test_without_a_rhythm_nothing_waits() -> None:
    began = anyio.current_time()
    await replay(numbers(range(1, 100)), Acts(), overrides=Overrides(window=300))
    assert anyio.current_time() == began


# tumbling windows


async def count(event: dict[str, Any]) -> Outcome:
    """Keeps the number of records in the state."""
    await anyio.lowlevel.checkpoint()
    return Succeeded(response={"state": {"n": event["state"].get("n", 0) + len(event["Records"])}})


@virtual_time
async def test_the_windows_of_a_parent_end_before_its_children_begin() -> None:
    async def act(event: dict[str, Any]) -> Outcome:
        await anyio.sleep(1)
        return await count(event)

    acts = Acts(act)
    replayer = Replayer(rules_of(stream_mapping(tumbling=60), Overrides()), acts, Report())
    async with replayer.running():
        for shard in ("parent", "child"):
            for n in range(10):
                await replayer.feed(kinesis_record(n, arrived=BEGAN + n, shard=shard))
            await anyio.sleep(5)  # its batch is done, and the window still open
            await replayer.finish_shard(STREAM, shard)
    assert [(each["shardId"], each["isFinalInvokeForWindow"], each["state"]) for each in acts.events] == [
        ("parent", False, {}),
        ("parent", True, {"n": 10}),
        ("child", False, {}),
        ("child", True, {"n": 10}),
    ]
    assert acts.most_running == 1


@virtual_time
async def test_a_state_that_is_too_large_ends_its_window_early() -> None:
    """COM-95."""

    async def act(_: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        return Succeeded(response={"state": {"x": "y" * MAX_STATE_BYTES}})

    acts = Acts(act)
    await replay([kinesis_record(1, arrived=BEGAN)], acts, stream_mapping(tumbling=60))
    assert [(each["isFinalInvokeForWindow"], each["isWindowTerminatedEarly"]) for each in acts.events] == [
        (False, False),
        (True, True),
    ]


@virtual_time
async def test_a_last_invocation_that_fails_is_told_and_tried_as_often_as_a_batch() -> None:
    async def act(event: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        return raised() if event["isFinalInvokeForWindow"] else Succeeded(response={"state": {}})

    acts = Acts(act)
    replayed = await replay([kinesis_record(1, arrived=BEGAN)], acts, stream_mapping(tumbling=60, attempts=2))
    assert len(acts.invoked) == 4
    assert len(replayed.report.problems) == 1
    assert replayed.settled == ["1"]


@virtual_time
async def test_a_last_invocation_that_is_throttled_costs_no_try() -> None:
    left = [3]

    async def act(event: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        left[0] -= event["isFinalInvokeForWindow"]
        return NotInvoked(reason="no thread") if 0 <= left[0] < 3 else Succeeded(response={"state": {}})

    replayed = await replay([kinesis_record(1, arrived=BEGAN)], Acts(act), stream_mapping(tumbling=60, attempts=0))
    assert replayed.report.problems == []
    assert replayed.report.throttles == 3


# endings


@virtual_time
async def test_a_stop_finishes_what_runs_and_starts_nothing() -> None:
    acts = Acts(slow)
    replayed = await replay(numbers(range(1, 101)), acts, stop_after=35)
    assert len(acts.invoked) <= 1
    assert replayed.report.not_run == 100 - len(replayed.settled)


@virtual_time
async def test_a_handler_past_its_time_limit_is_waited_for_a_little() -> None:
    events = [anyio.Event(), anyio.Event()]
    began: list[float] = []

    async def act(_: dict[str, Any]) -> Outcome:
        began.append(anyio.current_time())
        await anyio.sleep(3)
        waiting = events[len(began) - 1].wait
        return FunctionError(error_type="Sandbox.Timedout", message="", document={}, timed_out=True, still_running=waiting)

    async with anyio.create_task_group() as tasks:

        async def return_later() -> None:
            await anyio.sleep(4)
            events[0].set()

        tasks.start_soon(return_later)
        replayed = await replay(numbers(range(1, 3)), Acts(act), overrides=Overrides(batch_size=1), concurrency=1)
    assert began[1] - began[0] == 4  # when it returned
    assert anyio.current_time() - began[1] == 3 + calling._OVERDUE_PATIENCE  # this one never does
    assert replayed.report.overdue == 1
    assert replayed.report.errors[0].invocations == 2


class Fates:
    """A handler whose doings are drawn: for each invocation one of a few ways to end."""

    WAYS = ("succeed", "raise", "throttle", "name some", "name unknown", "not json")

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    async def __call__(self, event: dict[str, Any]) -> Outcome:
        ids = ids_of(event)
        await anyio.sleep(self._data.draw(st.sampled_from((0, 0, 1, 3))))
        match self._data.draw(st.sampled_from(self.WAYS)):
            case "raise":
                return raised()
            case "throttle":
                return NotInvoked(reason="throttled")
            case "name some":
                named = self._data.draw(st.sets(st.sampled_from(ids))) if ids else set()
                return Succeeded(response={"state": {}, "batchItemFailures": [{"itemIdentifier": each} for each in named]})
            case "name unknown":
                return Succeeded(response={"state": {}, "batchItemFailures": [{"itemIdentifier": "nobody"}]})
            case "not json":
                return Succeeded(response=NOT_JSON)
            case _:
                return Succeeded(response={"state": {}})


@hypothesis.settings(max_examples=150, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(st.data())
def test_every_record_has_exactly_one_fate(data: st.DataObject) -> None:
    """Whatever handlers do, by all rules, and wherever it is stopped; records of one key come in order."""
    count = data.draw(st.integers(1, 40))
    tumbling = data.draw(st.sampled_from((0, 0, 10)))
    mapping = stream_mapping(
        records=data.draw(st.integers(1, 12)),
        lanes=1 if tumbling else data.draw(st.integers(1, 4)),
        tumbling=tumbling,
        report=data.draw(st.booleans()),
        attempts=data.draw(st.integers(-1, 3)),
        bisect=data.draw(st.booleans()),
    )
    records = [kinesis_record(n, key=f"k{n % 5}", shard=f"s{n % 2}") for n in range(1, count + 1)]
    stop = data.draw(st.none() | st.integers(0, count - 1))
    acts = Acts(Fates(data))
    blocked = Blocked() if data.draw(st.booleans()) else None
    replayed = run_virtual(
        replay(records, acts, mapping, stop_after=stop, concurrency=data.draw(st.none() | st.integers(1, 3)), blocked=blocked)
    )
    if stop is None and blocked is None:
        assert replayed.report.not_run == 0
        assert sorted(replayed.settled + replayed.failed, key=int) == [str(n) for n in range(1, count + 1)]
    first_seen: dict[int, list[int]] = defaultdict(list)
    for ids in acts.invoked:
        for each in map(int, ids):
            if each not in first_seen[each % 10]:
                first_seen[each % 10].append(each)
    assert all(order == sorted(order) for order in first_seen.values())
