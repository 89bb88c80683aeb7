"""Peeking at a queue: each message is shown once, given back at once, and asked for ever more seldom."""

import anyio
import pytest

from pollers.errors import SourceError, SourceRejected, SourceUnavailable
from pollers.record import Record
from pollers.source import Refusal
from runtime.tail.queue_view import QueueView
from runtime.tail.told import Page, Remark
from tests.fakes.queue import FakeQueue
from tests.fakes.virtual_time import virtual_time


async def peeked(queue: FakeQueue, *, seconds: float) -> list[Page | Remark]:
    told: list[Page | Remark] = []
    with anyio.move_on_after(seconds):
        await QueueView(queue, tell=told.append).run()
    return told


def pages(told: list[Page | Remark]) -> list[list[str]]:
    return [[record.id for record in event.records] for event in told if isinstance(event, Page)]


@virtual_time
async def test_each_message_is_shown_once_and_nothing_is_deleted() -> None:
    queue = FakeQueue()
    sent = queue.send(*map(str, range(4)))
    told = await peeked(queue, seconds=300)
    assert pages(told) == [sent]
    assert queue.deleted == []
    assert queue.visible() == sent


@virtual_time
async def test_what_came_is_given_back_before_the_next_look() -> None:
    queue = FakeQueue()
    queue.send("a", "b")
    await peeked(queue, seconds=1)
    assert [(seconds, ids) for _, seconds, ids in queue.extensions] == [(0, ("m2", "m1"))]
    assert queue.asked_visibility == [5]


@virtual_time
async def test_a_look_that_shows_nothing_new_makes_the_next_one_wait_twice_as_long_up_to_a_minute() -> None:
    queue = FakeQueue()
    queue.send("a")
    await peeked(queue, seconds=400)
    pauses = [round(later - earlier) for earlier, later in zip(queue.received_at, queue.received_at[1:], strict=False)]
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert queue.messages[0].receives == len(queue.received_at)


@virtual_time
async def test_something_new_is_looked_for_soon_again() -> None:
    queue = FakeQueue()
    queue.send("a")

    async def send_later() -> None:
        await anyio.sleep(100)
        queue.send("b")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_later)
        told = await peeked(queue, seconds=170)
    assert pages(told) == [["m1"], ["m2"]]
    last = queue.received_at[-2:]
    assert last[1] - last[0] <= 32


@virtual_time
async def test_the_warning_comes_first_and_names_the_dead_letter_queue_where_there_is_one() -> None:
    for redrive in (True, False):
        told = await peeked(FakeQueue(redrive=redrive), seconds=1)
        remarks = [event for event in told if isinstance(event, Remark)]
        assert "counts as a receive" in remarks[1].text
        assert ("dead-letter queue" in remarks[1].text) is redrive


@virtual_time
async def test_messages_that_cannot_be_given_back_are_told() -> None:
    def refuse(_: str, record: Record) -> Refusal:
        return Refusal(record=record, code="InternalError", message="", gone=False)

    queue = FakeQueue(refuse=refuse)
    queue.send("a")
    told = await peeked(queue, seconds=1)
    assert isinstance(told[-1], Remark)
    assert "1 messages could not be given back (InternalError)" in told[-1].text


@virtual_time
async def test_a_queue_that_is_not_there_comes_out_and_later_trouble_is_told_once() -> None:
    missing = FakeQueue(fail=lambda _: SourceRejected("no such queue", code="QueueDoesNotExist"))
    with pytest.raises(SourceRejected, match="no such queue"):
        await QueueView(missing, tell=lambda _: None).run()

    began = anyio.current_time()

    def fail(operation: str) -> SourceError | None:
        away = operation == "receive" and anyio.current_time() - began < 60
        return SourceUnavailable("throttled", code="T") if away else None

    told = await peeked(FakeQueue(fail=fail), seconds=120)
    remarks = [event.text for event in told[2:] if isinstance(event, Remark)]
    assert remarks == ["throttled; it is tried again", "the queue answers again"]
