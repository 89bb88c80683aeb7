"""Messages that point at records of a stream: fetched, run, and deleted only when all of their records succeeded."""

import json
from typing import Any

import anyio
import hypothesis
import pytest
from hypothesis import strategies as st

from handlers.invoker import Outcome, Succeeded
from pollers.errors import PositionTrimmed, SourceRejected, SourceUnavailable
from pollers.record import TRIM_HORIZON
from runtime.redrive import fetching
from runtime.redrive.entries import Fate
from tests.fakes.redrives import DeadLetters, RedriveWorld, failure_text, fates, whys
from tests.fakes.replays import Acts, ids_of, raised, stream_mapping
from tests.fakes.stream import STREAM_SPEC, FakeStream
from tests.fakes.stream_worker import wall_clock
from tests.fakes.virtual_time import run_virtual, virtual_time

FIRST = "shardId-000000000000"


@pytest.fixture(autouse=True, scope="module")
def _the_fakes_records() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "STREAMS", {"kinesis": STREAM_SPEC})
        yield


def failing(*poison: str) -> Acts:
    async def act(event: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        return raised() if set(ids_of(event)) & set(poison) else Succeeded(response=None)

    return Acts(act)


def world_of(*groups: int, stream: FakeStream | None = None, **more: Any) -> tuple[RedriveWorld, list[list[str]]]:
    """A message for each of so many records, all of one shard."""
    world = RedriveWorld(stream=stream or FakeStream(wall_clock), **more)
    sequences = [world.stream.put("k", count) for count in groups]
    world.queue.send(*(failure_text(world.stream, each) for each in sequences))
    return world, sequences


@virtual_time
async def test_the_records_of_each_message_are_run_and_the_message_is_deleted() -> None:
    world, sequences = world_of(3, 1, 12)
    found = await world.run()
    assert world.acts.invoked == [sequences[0], sequences[1], sequences[2][:10], sequences[2][10:]]
    assert set(fates(found).values()) == {"done"}
    assert world.queue.messages == []
    world.assert_kept(found)


@virtual_time
async def test_shards_are_run_in_the_order_of_their_records_whatever_order_messages_have() -> None:
    world = RedriveWorld(stream=FakeStream(wall_clock, shard_count=2, first_sequence=95))
    sequences = [world.stream.put(key) for key in "abcdefghij"]
    world.queue.send(*(failure_text(world.stream, each) for each in sequences[::-1]))
    await world.run()
    seen = [ids[0] for ids in world.acts.invoked]
    assert seen == [*world.stream.sequences(FIRST), *world.stream.sequences("shardId-000000000001")]


@virtual_time
async def test_a_message_with_a_record_that_fails_stays_and_the_others_go() -> None:
    world, sequences = world_of(2, 2, 2)
    world.acts = failing(sequences[1][0])
    found = await world.run()
    assert fates(found) == {"m1": "done", "m2": "failed", "m3": "done"}
    assert whys(found)["m2"] == "2 of its records failed"
    assert not found.report.right
    world.assert_kept(found)


@virtual_time
async def test_in_strict_order_messages_of_a_shard_wait_behind_one_that_failed() -> None:
    world, sequences = world_of(1, 1, 1)
    world.acts = failing(sequences[0][0])
    found = await world.run(strict=True)
    assert fates(found) == {"m1": "failed", "m2": "kept", "m3": "kept"}
    assert "--stop-on-failure" in whys(found)["m2"]
    assert len(world.acts.invoked) == 1
    world.assert_kept(found)


@virtual_time
async def test_in_strict_order_the_children_of_a_shard_wait_too_and_other_shards_do_not() -> None:
    world = RedriveWorld(stream=FakeStream(wall_clock, shard_count=2))
    other = world.stream.put("x", shard="shardId-000000000001")
    parent = world.stream.put("x", shard=FIRST)
    children = [world.stream.put("x", shard=each) for each in world.stream.split(FIRST)]
    grandchild = world.stream.put("x", shard=world.stream.roll_over("shardId-000000000002"))
    world.queue.send(*(failure_text(world.stream, each) for each in (other, parent, *children, grandchild)))
    world.acts = failing(parent[0])
    found = await world.run(strict=True)
    assert fates(found) == {"m1": "done", "m2": "failed", "m3": "kept", "m4": "kept", "m5": "kept"}


@virtual_time
async def test_in_strict_order_a_message_whose_records_are_gone_holds_its_shard_up() -> None:
    world, _ = world_of(1, 1)
    world.stream.trim(FIRST, 1)
    assert fates(await world.run(strict=True)) == {"m1": "kept", "m2": "kept"}


# what cannot be fetched, or not surely


@virtual_time
async def test_records_that_have_left_the_stream_keep_their_message_and_tell_how_to_run_the_rest() -> None:
    world, sequences = world_of(3, 4, 2)
    world.stream.trim(FIRST, 5)
    found = await world.run()
    assert fates(found) == {"m1": "kept", "m2": "kept", "m3": "done"}
    first, second = whys(found)["m1"], whys(found)["m2"]
    assert "left the stream" in first
    assert "left the stream" in second
    world.assert_kept(found)
    assert world.acts.invoked == [sequences[2]]


@virtual_time
async def test_a_stream_that_goes_on_at_its_horizon_is_seen_through() -> None:
    """As some servers do, which say nothing of a gap."""
    world, sequences = world_of(3, 2)
    open_shard = world.stream.open_shard

    async def forgiving(shard: str, at: Any) -> Any:
        try:
            return await open_shard(shard, at)
        except PositionTrimmed:
            return await open_shard(shard, TRIM_HORIZON)

    world.stream.open_shard = forgiving  # type: ignore[method-assign]
    world.stream.trim(FIRST, 2)
    found = await world.run()
    why = whys(found)["m1"]
    assert f"--shard {FIRST} --from {sequences[0][2]} --to {sequences[0][2]}" in why
    assert fates(found) == {"m1": "kept", "m2": "done"}


@virtual_time
async def test_a_shard_that_is_gone_and_a_stream_made_anew_are_told() -> None:
    world, _ = world_of(1)
    world.stream.split(FIRST)
    world.stream.forget(FIRST)
    assert "no such shard" in whys(await world.run())["m1"]
    world.stream.fail = lambda operation, _: SourceRejected("x", code="foreign_position") if operation == "open" else None
    assert "deleted and made again" in whys(await world.run())["m1"]


@virtual_time
async def test_a_stream_out_of_reach_is_asked_again_a_few_times() -> None:
    world, _ = world_of(2)
    left = [3]

    def fail(operation: str, _: str) -> SourceUnavailable | None:
        left[0] -= operation == "read"
        return SourceUnavailable("out of reach", code="timeout") if operation == "read" and left[0] >= 0 else None

    world.stream.fail = fail
    assert fates(await world.run()) == {"m1": "done"}
    world, _ = world_of(2)
    world.stream.fail = lambda operation, _: SourceUnavailable("out of reach", code="timeout") if operation == "read" else None
    found = await world.run()
    assert whys(found)["m1"] == "its records cannot be read: out of reach"
    world.assert_kept(found)


@virtual_time
async def test_a_stream_that_is_throttled_again_and_again_is_read_as_long_as_it_answers_in_between() -> None:
    world, _ = world_of(30)
    world.stream.shorten = lambda _, count: min(1, count)
    asked = 0

    def fail(operation: str, _: str) -> SourceUnavailable | None:
        nonlocal asked
        asked += operation == "read"
        return SourceUnavailable("slow down", code="throttled") if operation == "read" and asked % 3 else None

    world.stream.fail = fail
    began = anyio.current_time()
    assert fates(await world.run()) == {"m1": "done"}
    assert anyio.current_time() - began > 12


def keyed(world: RedriveWorld, *keys: str) -> dict[str, list[str]]:
    """One record for each, in turn; gives the sequence numbers by key."""
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(key, []).extend(world.stream.put(key))
    return found


@virtual_time
async def test_records_of_other_lanes_between_a_messages_own_are_left_out() -> None:
    """COM-61: a batch is of one lane."""
    world = RedriveWorld(mapping=stream_mapping(lanes=2))
    found = keyed(world, "a", "c", "a", "c", "a")  # in different lanes
    world.queue.send(failure_text(world.stream, found["a"]))
    assert fates(await world.run()) == {"m1": "done"}
    assert world.acts.invoked == [found["a"]]


@virtual_time
async def test_records_that_the_filters_hold_back_are_left_out() -> None:
    world = RedriveWorld(wanted=lambda record: record.record.group != "b")
    found = keyed(world, "a", "b", "a")
    world.queue.send(failure_text(world.stream, found["a"]))
    await world.run()
    assert world.acts.invoked == [found["a"]]


@virtual_time
async def test_a_range_that_does_not_fit_its_message_is_run_only_when_asked() -> None:
    world = RedriveWorld()  # the mapping had ParallelizationFactor 2 then
    found = keyed(world, "a", "b", "a", "b", "a")
    world.queue.send(failure_text(world.stream, found["a"]))
    kept = await world.run()
    assert "--whole-range" in whys(kept)["m1"]
    assert world.acts.invoked == []
    assert fates(await world.run(whole=True)) == {"m1": "done"}
    assert [len(ids) for ids in world.acts.invoked] == [5]


@virtual_time
async def test_a_count_that_fits_by_chance_runs_nothing_that_is_not_sure() -> None:
    """The lane of the first record has as many records as the message, but the last one is not among them."""
    world = RedriveWorld(mapping=stream_mapping(lanes=2))
    found = keyed(world, "a", "a", "a", "c", "c")
    world.queue.send(failure_text(world.stream, [found["a"][0], *found["c"]]))  # 3 of 5, by other lanes
    assert "--whole-range" in whys(await world.run())["m1"]
    assert world.acts.invoked == []


@virtual_time
async def test_two_records_are_the_ends_of_their_range_whatever_the_lanes_were() -> None:
    world = RedriveWorld()
    found = keyed(world, "a", "c", "a")
    world.queue.send(failure_text(world.stream, found["a"]))
    assert fates(await world.run()) == {"m1": "done"}
    assert world.acts.invoked == [found["a"]]


@virtual_time
async def test_a_long_stretch_of_others_is_read_in_large_pages() -> None:
    world = RedriveWorld(mapping=stream_mapping(lanes=2))
    found = keyed(world, "a", *["b"] * 2500, "a")
    world.queue.send(failure_text(world.stream, found["a"]))
    assert fates(await world.run()) == {"m1": "done"}
    assert len(world.stream.reads) <= 5


@virtual_time
async def test_a_range_without_end_is_left_to_the_user() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "_LONGEST_RANGE", 100)
        world = RedriveWorld(mapping=stream_mapping(lanes=2))
        found = keyed(world, "a", *["b"] * 200, "a")
        world.queue.send(failure_text(world.stream, found["a"]))
        assert "more than 100 records lie between" in whys(await world.run())["m1"]


# which messages


@virtual_time
async def test_garbage_and_messages_of_others_are_kept_and_told() -> None:
    world, sequences = world_of(1)
    other = failure_text(world.stream, sequences[0], function="arn:aws:lambda:eu-west-1:123456789012:function:g")
    world.queue.send("hello", other, json.dumps({"requestContext": {}, "requestPayload": {}}), "{}")
    found = await world.run()
    assert fates(found) == {"m1": "done", "m2": "kept", "m3": "kept", "m4": "kept", "m5": "kept"}
    assert "not JSON" in whys(found)["m2"]
    assert "of function g, not f" in whys(found)["m3"]
    assert "asynchronous invocation" in whys(found)["m4"]
    world.assert_kept(found)
    assert fates(await world.run(function=None))["m3"] == "done"


@virtual_time
async def test_an_empty_queue_is_no_error() -> None:
    found = await RedriveWorld().run()
    assert (found.entries, found.report.right) == ([], True)


@virtual_time
async def test_a_dry_run_lists_and_changes_nothing() -> None:
    world, _ = world_of(2, 2)
    world.stream.trim(FIRST, 3)
    await anyio.sleep(3600)
    found = await world.run(dry_run=True)
    assert fates(found) == {"m1": "kept", "m2": "kept"} or fates(found) == {"m1": "kept", "m2": "listed"}
    assert found.entries[0].left == pytest.approx(23 * 3600, abs=5)
    assert world.acts.invoked == []
    assert world.queue.deleted == []
    world.assert_kept(found)


@virtual_time
async def test_what_is_to_be_kept_is_run_and_not_deleted() -> None:
    world, _ = world_of(2, 2)
    found = await world.run(keep=True)
    assert fates(found) == {"m1": "done", "m2": "done"}
    assert world.queue.deleted == []
    assert len(world.queue.visible()) == 2


@virtual_time
async def test_a_limit_is_kept_and_told() -> None:
    world, _ = world_of(1, 1, 1)
    found = await world.run(limit=2)
    assert len(found.entries) == 2
    assert "--limit" in found.report.problems[0]
    assert len(world.queue.messages) == 1


# long work, and its end


@virtual_time
async def test_handlers_may_take_longer_than_messages_are_hidden() -> None:
    world, _ = world_of(1, 1, 1, hide=6)

    async def slow(_: dict[str, Any]) -> Outcome:
        assert len(world.queue.visible()) == 0
        await anyio.sleep(50)
        assert len(world.queue.visible()) == 0
        return Succeeded(response=None)

    world.acts = Acts(slow)
    found = await world.run()
    assert set(fates(found).values()) == {"done"}


@virtual_time
async def test_a_stop_finishes_what_runs_and_gives_the_rest_back() -> None:
    world, _ = world_of(1, 1, 1)

    async def slow(_: dict[str, Any]) -> Outcome:
        await anyio.sleep(50)
        return Succeeded(response=None)

    world.acts = Acts(slow)
    redriving = world.redriver()
    async with anyio.create_task_group() as tasks:

        async def stop() -> None:
            await anyio.sleep(30)
            redriving.stop()

        tasks.start_soon(stop)
        await redriving.run(100)
    redriving.report.problems += await redriving.place.close()
    assert fates(redriving) == {"m1": "done", "m2": "kept", "m3": "kept"}
    assert whys(redriving)["m3"] == "stopped before its turn"
    world.assert_kept(redriving)


@virtual_time
async def test_a_stop_within_a_message_keeps_it() -> None:
    """Some of its records succeeded and others were not run."""
    world, (sequences,) = world_of(25)

    async def slow(_: dict[str, Any]) -> Outcome:
        await anyio.sleep(50)
        return Succeeded(response=None)

    world.acts = Acts(slow)
    redriving = world.redriver()
    async with anyio.create_task_group() as tasks:

        async def stop() -> None:
            await anyio.sleep(60)
            redriving.stop()

        tasks.start_soon(stop)
        await redriving.run(100)
    await redriving.place.close()
    assert world.acts.invoked == [sequences[:10], sequences[10:20]]
    assert whys(redriving) == {"m1": "stopped before all of its records were run"}
    world.assert_kept(redriving)


@virtual_time
async def test_a_stop_breaks_off_the_waiting_for_a_stream() -> None:
    world, _ = world_of(1, 1)
    world.stream.latency = lambda operation, _: 1000.0 if operation == "read" else 0.0
    redriving = world.redriver()
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:

        async def stop() -> None:
            await anyio.sleep(30)
            redriving.stop()

        tasks.start_soon(stop)
        await redriving.run(100)
    assert anyio.current_time() - began < 40
    await redriving.place.close()
    world.assert_kept(redriving)


# plain dead-letter queues


@virtual_time
async def test_messages_of_a_dead_letter_queue_run_as_events_of_the_queue_where_they_were() -> None:
    world = RedriveWorld(queue=DeadLetters())
    world.queue.send("a", "b", "c")
    found = await world.run()
    assert world.acts.invoked == [["m1", "m2", "m3"]]
    (event,) = world.acts.events
    assert {each["eventSourceARN"] for each in event["Records"]} == {world.queue.origin}  # type: ignore[attr-defined]
    assert "DeadLetterQueueSourceArn" not in event["Records"][0]["attributes"]
    assert set(fates(found).values()) == {"done"}
    world.assert_kept(found)


@virtual_time
async def test_each_dead_letter_goes_as_soon_as_it_succeeded() -> None:
    world = RedriveWorld(queue=DeadLetters(), acts=failing("m2"))
    world.queue.send(*(str(n) for n in range(12)))
    found = await world.run()
    assert {name for name, fate in fates(found).items() if fate == "failed"} == {f"m{n}" for n in range(1, 11)}
    assert whys(found)["m2"] == "ValueError: no"
    world.assert_kept(found)


@virtual_time
async def test_of_a_fifo_queue_the_next_messages_come_when_the_first_were_deleted() -> None:
    queue = DeadLetters(fifo=True)
    for n in range(35):
        queue.send(str(n), group=f"g{n % 3}")
    world = RedriveWorld(queue=queue)
    found = await world.run()
    assert len(found.entries) == 35
    assert queue.messages == []
    for group in range(3):
        order = [int(each[1:]) for ids in world.acts.invoked for each in ids if int(each[1:]) % 3 == group]
        assert order == sorted(order)


@virtual_time
async def test_behind_a_failure_in_a_fifo_group_the_rest_of_the_group_stays() -> None:
    """The queue itself holds it back: its first message stays hidden until the end."""
    queue = DeadLetters(fifo=True)
    for n in range(12):
        queue.send(str(n), group=f"g{n % 2}")
    world = RedriveWorld(queue=queue, acts=failing("m1"), mapping=stream_mapping(records=1))
    found = await world.run(strict=True)
    assert [name for name, fate in fates(found).items() if fate == "failed"]
    world.assert_kept(found)


@virtual_time
async def test_a_handler_that_fails_for_ever_ends_the_rounds() -> None:
    queue = DeadLetters(fifo=True)
    queue.send(*"abc", group="g")

    async def fail(_: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        return raised()

    with anyio.fail_after(3600):
        found = await RedriveWorld(queue=queue, acts=Acts(fail)).run()
    assert set(fates(found).values()) == {"failed"}


@hypothesis.settings(max_examples=60, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(st.data())
def test_a_message_is_deleted_exactly_when_all_of_its_records_succeeded(data: st.DataObject) -> None:
    """Whatever fails, is trimmed, is refused, and wherever it is stopped."""

    async def body() -> None:
        groups = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
        world, sequences = world_of(*groups, mapping=stream_mapping(records=data.draw(st.sampled_from((2, 10)))))
        every = [each for group in sequences for each in group]
        poison = data.draw(st.sets(st.sampled_from(every), max_size=3))
        done: set[str] = set()

        async def act(event: dict[str, Any]) -> Outcome:
            await anyio.sleep(1)
            if set(ids_of(event)) & poison:
                return raised()
            done.update(ids_of(event))
            return Succeeded(response=None)

        world.acts = Acts(act)
        world.stream.trim(FIRST, data.draw(st.sampled_from((0, 0, 1, 3))))
        redriving = world.redriver(strict=data.draw(st.booleans()))
        stop = data.draw(st.none() | st.integers(0, 30))
        async with anyio.create_task_group() as tasks:

            async def stop_later() -> None:
                if stop is not None:
                    await anyio.sleep(stop)
                    redriving.stop()

            tasks.start_soon(stop_later)
            await redriving.run(data.draw(st.sampled_from((3, 100))))
            tasks.cancel_scope.cancel()
        await redriving.place.close()
        world.assert_kept(redriving)
        for entry in redriving.entries:
            number = int(entry.message.name[1:]) - 1
            assert (entry.fate is Fate.DONE) is (set(sequences[number]) <= done)
            assert entry.why or entry.fate is Fate.DONE
        report = redriving.report
        assert report.read == report.succeeded + report.failed + report.not_run
        assert report.not_run >= 0

    run_virtual(body())
