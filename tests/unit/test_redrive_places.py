"""Where messages lie, and what may be deleted there."""

import os
import stat
from pathlib import Path

import anyio
import pytest

from pollers.errors import SourceRejected
from pollers.record import Record
from pollers.source import Refusal
from runtime.errors import UserError
from runtime.redrive.file_place import FilePlace
from runtime.redrive.places import LARGEST, Place, Unreadable
from runtime.redrive.queue_place import QueuePlace
from tests.fakes.queue import FakeQueue
from tests.fakes.virtual_time import virtual_time


async def texts(place: Place, limit: int = 100) -> list[str]:
    return [await place.read(message) for message in await place.fetch(limit)]


async def take_out(path: Path, *numbers: int) -> list[str]:
    """Removes those messages, counted from 0."""
    place = FilePlace(path)
    messages = await place.fetch(100)
    await place.remove([messages[number] for number in numbers])
    return await place.close()


# files


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a":1}\n{"b":2}\n', ['{"a":1}\n', '{"b":2}\n']),
        (b'{"a":1}\r\n\r\n{"b":2}', ['{"a":1}\r\n', '{"b":2}']),
        (b'{\n "a": 1\n}\n', ['{\n "a": 1\n}\n']),
        ('{"a":"\u2028\x0b"}\n{"b":2}'.encode(), ['{"a":"\u2028\x0b"}\n', '{"b":2}']),
        (b"", []),
        (b"\n\n", []),
    ],
)
def test_what_a_file_holds(content: bytes, expected: list[str], tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_bytes(content)

    @virtual_time
    async def body() -> None:
        assert await texts(FilePlace(file)) == expected

    body()


@virtual_time
async def test_a_file_loses_what_succeeded_and_nothing_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("m")
    file, link = folder / "f.jsonl", folder / "link"
    file.write_bytes(b"one\r\n\n two\nthree")
    file.chmod(0o640)
    link.symlink_to(file)
    assert await take_out(link, 0) == []
    assert file.read_bytes() == b"\n two\nthree"
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(each.name for each in folder.iterdir()) == ["f.jsonl", "link"]


@virtual_time
async def test_a_file_that_was_named_stays_when_it_is_empty_and_one_of_a_folder_goes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("m")
    for name in ("a", "b"):
        (folder / name).write_text("{}\n")
    assert await take_out(folder / "a", 0) == []
    assert (folder / "a").read_bytes() == b""
    assert await take_out(folder, 0) == []
    assert [each.name for each in folder.iterdir()] == ["a"]


@virtual_time
async def test_what_others_wrote_meanwhile_is_kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("m") / "f"
    file.write_text("one\ntwo\n")
    place = FilePlace(file)
    await place.remove((await place.fetch(9))[:1])
    with file.open("a") as more:
        more.write("three\n")
    assert await place.close() == []
    assert file.read_text() == "two\nthree\n"


@virtual_time
async def test_a_file_that_was_changed_is_left_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("m") / "f"
    file.write_text("one\ntwo\n")
    place = FilePlace(file)
    await place.remove((await place.fetch(9))[:1])
    file.write_text("two\n")
    assert "changed meanwhile" in (await place.close())[0]
    assert file.read_text() == "two\n"


@virtual_time
async def test_a_crash_while_a_file_is_written_leaves_the_old_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("m")
    (folder / "f").write_text("one\ntwo\n")

    def crash(_: int) -> None:
        raise OSError(5, "the disk is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        assert "the disk is gone" in (await take_out(folder / "f", 0))[0]
    assert (folder / "f").read_text() == "one\ntwo\n"
    assert [each.name for each in folder.iterdir()] == ["f"]


@virtual_time
async def test_files_that_cannot_be_read_are_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("m")
    (folder / "bytes").write_bytes(b"\xff\xfe\n{}\n")
    place = FilePlace(folder)
    messages = await place.fetch(9)
    with pytest.raises(Unreadable, match="not UTF-8"):
        await place.read(messages[0])
    assert await place.read(messages[1]) == "{}\n"
    with pytest.raises(UserError, match="cannot be read: No such file"):
        await FilePlace(folder / "none").fetch(1)
    os.truncate(folder / "bytes", LARGEST + 1)  # sparse: nothing is written
    place = FilePlace(folder)
    (message,) = await place.fetch(9)
    with pytest.raises(Unreadable, match="on-failure objects are smaller"):
        await place.read(message)


# queues


@virtual_time
async def test_a_queue_is_read_until_it_shows_nothing_more_and_hides_what_was_read() -> None:
    queue = FakeQueue()
    queue.send(*(f"body {n}" for n in range(25)))
    place = QueuePlace(queue, fifo=False, hide=60)
    messages = await place.fetch(100)
    assert [await place.read(message) for message in messages] == [f"body {n}" for n in range(25)]
    assert queue.visible() == []
    assert set(queue.asked_visibility) == {60}
    assert await place.fetch(100) == []


@virtual_time
async def test_no_more_are_received_than_wanted() -> None:
    queue = FakeQueue()
    queue.send(*("x" * 25))
    assert len(await QueuePlace(queue, fifo=False, hide=60).fetch(13)) == 13
    assert len(queue.visible()) == 12


@virtual_time
async def test_messages_are_kept_hidden_for_as_long_as_it_takes() -> None:
    queue = FakeQueue()
    queue.send("a", "b")
    place = QueuePlace(queue, fifo=False, hide=6)
    await place.fetch(9)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place.keep)
        for _ in range(100):
            await anyio.sleep(1)
            assert queue.visible() == []
        tasks.cancel_scope.cancel()
    assert await place.close() == []
    assert queue.visible() == ["m1", "m2"]


@virtual_time
async def test_what_is_not_given_back_shows_by_itself() -> None:
    """As after kill -9."""
    queue = FakeQueue()
    queue.send("a")
    await QueuePlace(queue, fifo=False, hide=6).fetch(9)
    await anyio.sleep(6.1)
    assert queue.visible() == ["m1"]


@virtual_time
async def test_messages_go_back_the_last_first() -> None:
    queue = FakeQueue()
    queue.send(*"abc")
    place = QueuePlace(queue, fifo=False, hide=60)
    messages = await place.fetch(9)
    await place.remove(messages[1:2])
    assert await place.close() == []
    assert queue.extensions[-1][1:] == (0, ("m3", "m1"))
    assert queue.deleted == ["m2"]


@virtual_time
async def test_a_delete_that_is_refused_is_tried_once_more_and_then_told() -> None:
    left = {"m1": 1, "m2": 9}

    def refuse(operation: str, record: Record) -> Refusal | None:
        if operation == "delete" and left.get(record.id, 0) > 0:
            left[record.id] -= 1
            return Refusal(record=record, code="InternalError", message="try later", gone=False)
        return None

    queue = FakeQueue(refuse=refuse)
    queue.send(*"abc")
    place = QueuePlace(queue, fifo=False, hide=60)
    problems = await place.remove(await place.fetch(9))
    assert len(problems) == 1
    assert "m2 succeeded but could not be deleted" in problems[0]
    assert sorted(queue.deleted) == ["m1", "m3"]


@virtual_time
async def test_messages_that_others_may_have_got_are_told() -> None:
    queue = FakeQueue()
    queue.send("a")
    place = QueuePlace(queue, fifo=False, hide=6)
    await place.fetch(9)
    queue.messages[0].handle = "of somebody else"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place.keep)
        await anyio.sleep(10)
        tasks.cancel_scope.cancel()
    assert await place.close() == ["1 messages could not be kept hidden: others may have got them"]


@virtual_time
async def test_a_queue_that_gives_no_more_is_left_with_what_there_is() -> None:
    """Too many in flight, say; but one that gives nothing at all is an error."""
    queue = FakeQueue()
    queue.send(*("x" * 25))
    queue.fail = lambda _: SourceRejected("OverLimit", code="OverLimit") if len(queue.received_at) > 2 else None
    assert len(await QueuePlace(queue, fifo=False, hide=60).fetch(100)) == 20
    with pytest.raises(SourceRejected):
        await QueuePlace(queue, fifo=False, hide=60).fetch(100)


@virtual_time
async def test_a_break_while_reading_swallows_no_message() -> None:
    """A receive that is under way is finished, and what it brings goes back."""
    queue = FakeQueue()
    place = QueuePlace(queue, fifo=False, hide=60)
    async with anyio.create_task_group() as tasks:

        async def send_late() -> None:
            await anyio.sleep(0.7)
            queue.send("late")

        tasks.start_soon(send_late)
        with anyio.move_on_after(0.5) as broken_off:
            await place.fetch(9)
    assert broken_off.cancelled_caught
    assert queue.messages[0].receives == 1
    assert await place.close() == []
    assert queue.visible() == ["m1"]
