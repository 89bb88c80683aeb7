"""What `esm record` copies, of the fake stream and the fake queue in virtual time."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from pollers import QUEUES
from pollers.errors import SourceError, SourceRejected, SourceUnavailable
from pollers.record import Record
from pollers.recording import Recorded, RecordingReader
from pollers.recording_writer import NotWritten, RecordingFile, RecordingWriter
from pollers.source import QueueFacts, Refusal
from runtime.queue_recorder import QueueRecorder
from runtime.recorder import StreamRecorder
from runtime.stream_reading import Wanted, read_stream
from tests.fakes.queue import FakeQueue
from tests.fakes.stream import STREAM_SPEC, FakeStream
from tests.fakes.virtual_time import virtual_time

QUEUE_ARN: Final = "arn:aws:sqs:eu-west-1:123456789012:orders"
THROTTLED: Final = SourceUnavailable("slow down", code="throttled")


@contextmanager
def recording_at(path: Path) -> Iterator[RecordingWriter]:
    with closing(RecordingFile.create(path, overwrite=False)) as file:
        writer = RecordingWriter(file)
        writer.begin(source="sqs", source_arn=QUEUE_ARN, at=1.0, by="a test")
        yield writer
        writer.end(at=2.0)


def recorded(path: Path) -> list[str]:
    items = list(RecordingReader(path))
    assert all(isinstance(item, Recorded) for item in items), items
    return [item.of.record.id for item in items if isinstance(item, Recorded)]


# streams


@virtual_time
async def test_a_stream_is_recorded_shard_by_shard_with_where_and_when(tmp_path: Path) -> None:
    stream = FakeStream(clock=anyio.current_time)
    stream.put("a", 3)
    stream.split("shardId-000000000000")
    stream.put("a", 2)
    with recording_at(tmp_path / "a") as writer:
        recorder = StreamRecorder(writer=writer, clock=anyio.current_time, spec=STREAM_SPEC)
        await read_stream(stream, STREAM_SPEC, Wanted(), recorder, clock=anyio.current_time)
    lines = [json.loads(line) for line in (tmp_path / "a").read_bytes().splitlines()]
    child = stream.home("5")
    assert [(line["position"], line["shard"], line["arrived"]) for line in lines if "record" in line] == [
        *((str(n), "shardId-000000000000", 1000.0) for n in (1, 2, 3)),
        *((str(n), child, 1000.0) for n in (4, 5)),
    ]
    assert all(line["received"] >= 1000.0 for line in lines if "record" in line)
    begun = [line["shard"] for line in lines if "parents" in line]
    assert begun[0] == "shardId-000000000000"
    assert sorted(begun) == sorted(stream.shards)
    assert (recorder.first_arrived, recorder.last_arrived, recorder.problems, recorder.behind) == (1000.0, 1000.0, [], {})


@virtual_time
async def test_it_is_enough_once_as_many_records_as_were_asked_for_are_written(tmp_path: Path) -> None:
    stream = FakeStream(clock=anyio.current_time, shard_count=2)
    for key in "abcdef":
        stream.put(key, 10)
    with recording_at(tmp_path / "a") as writer:
        recorder = StreamRecorder(writer=writer, clock=anyio.current_time, spec=STREAM_SPEC, most=7)
        await read_stream(stream, STREAM_SPEC, Wanted(page=4), recorder)
        assert recorder.enough.is_set()
    assert len([line for line in (tmp_path / "a").read_bytes().splitlines() if b'"record"' in line]) == 7


@virtual_time
async def test_a_gap_is_told_once_and_the_rest_is_recorded(tmp_path: Path) -> None:
    stream = FakeStream(clock=anyio.current_time)
    stream.put("a", 9)
    with recording_at(tmp_path / "a") as writer:
        recorder = StreamRecorder(writer=writer, clock=anyio.current_time, spec=STREAM_SPEC)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_stream, stream, STREAM_SPEC, Wanted(page=2), recorder)
            await anyio.sleep(0.1)
            stream.trim("shardId-000000000000", 5)
        recorder.tell(recorder.problems[0])
    assert len(recorder.problems) == 1
    assert "recorded from the oldest record that is left" in recorder.problems[0]


@virtual_time
async def test_every_page_is_on_disk_before_the_next_one_is_read(tmp_path: Path) -> None:
    stream = FakeStream(clock=anyio.current_time)
    stream.put("a", 100)
    with recording_at(tmp_path / "a") as writer:
        recorder = StreamRecorder(writer=writer, clock=anyio.current_time, spec=STREAM_SPEC)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_stream, stream, STREAM_SPEC, Wanted(page=10, follow=True), recorder)
            for _ in range(10):
                await anyio.sleep(0.11)
                read = sum(len(page.sequences) for page in stream.reads)
                assert len([1 for line in (tmp_path / "a").read_bytes().splitlines() if b'"record"' in line]) == read
            tasks.cancel_scope.cancel()
    assert read > 30


# queues


@dataclass
class Peeked:
    queue: FakeQueue
    warnings: list[str] = field(default_factory=list)
    facts: QueueFacts | SourceError | None = None

    def recorder(self, writer: RecordingWriter, **more: Any) -> QueueRecorder:
        if self.facts is not None:
            self.queue.describe = self._describe  # type: ignore[method-assign]  # what the fake cannot be told
        return QueueRecorder(
            writer=writer,
            clock=anyio.current_time,
            spec=QUEUES["sqs"],
            queue=self.queue,
            warn=self.warnings.append,
            **{"hide": 60, **more},
        )

    async def _describe(self) -> QueueFacts:
        if isinstance(self.facts, SourceError):
            raise self.facts
        assert self.facts is not None
        return self.facts


def limited(receives: int | None) -> QueueFacts:
    return QueueFacts(visibility_timeout=30, redrive=True, max_receives=receives, waiting=5)


@virtual_time
@pytest.mark.parametrize("fifo", [False, True])
async def test_a_queue_is_peeked_at_and_everything_shows_again_at_once_and_in_order(tmp_path: Path, fifo: bool) -> None:
    queue = FakeQueue(fifo=fifo)
    ids = [queue.send(f"m{n}", group=f"g{n % 40}" if fifo else None)[0] for n in range(35)]
    peeked = Peeked(queue)
    with recording_at(tmp_path / "a") as writer:
        await peeked.recorder(writer).run()
    assert recorded(tmp_path / "a") == ids
    assert queue.visible() == ids
    assert queue.deleted == []
    assert set(queue.asked_visibility) == {60}
    assert {message.receives for message in queue.messages} == {1}
    again = await queue.receive(limit=10, wait=0, visibility=None)
    assert [record.id for record in again] == ids[:10]


@virtual_time
async def test_an_empty_queue_makes_an_empty_recording(tmp_path: Path) -> None:
    peeked = Peeked(FakeQueue())
    with recording_at(tmp_path / "a") as writer:
        await peeked.recorder(writer).run()
    assert recorded(tmp_path / "a") == []
    assert peeked.queue.extensions == [(1001.0, 0, ())]


@virtual_time
async def test_no_more_is_received_than_was_asked_for(tmp_path: Path) -> None:
    queue = FakeQueue()
    queue.send(*map(str, range(30)))
    with recording_at(tmp_path / "a") as writer:
        await Peeked(queue).recorder(writer, most=13).run()
    assert len(recorded(tmp_path / "a")) == 13
    assert queue.limits == [10, 3]
    assert len(queue.visible()) == 30


@virtual_time
async def test_more_messages_than_can_be_copied_while_they_are_hidden_end_it_with_a_word(tmp_path: Path) -> None:
    queue = FakeQueue()
    receive = queue.receive

    async def slow(**asked: Any) -> list[Record]:
        await anyio.sleep(1)
        queue.send("more")
        return await receive(**asked)

    queue.receive = slow  # type: ignore[method-assign]  # as above
    with recording_at(tmp_path / "a") as writer:
        recorder = Peeked(queue).recorder(writer, hide=20)
        await recorder.run()
    assert recorder.problems == [
        "the queue holds more than can be copied while messages are hidden for 20 s (--hide): ended after 11"
    ]
    assert len(recorded(tmp_path / "a")) == 11
    assert len(queue.visible()) == len(queue.messages)


@virtual_time
async def test_one_that_is_cancelled_in_the_middle_gives_everything_back(tmp_path: Path) -> None:
    """Also what a receive brought that was under way: it is not cancelled."""
    queue = FakeQueue()
    queue.send(*map(str, range(12)))
    with recording_at(tmp_path / "a") as writer:
        recorder = Peeked(queue).recorder(writer)
        with anyio.move_on_after(0.5):  # while the second long poll waits
            receive = queue.receive

            async def slow(**asked: Any) -> list[Record]:
                found = await receive(**asked)
                await anyio.sleep(0.3)
                return found

            queue.receive = slow  # type: ignore[method-assign]  # as above
            await recorder.run()
    assert len(queue.visible()) == 12
    assert {message.receives for message in queue.messages} == {1}
    assert len(recorded(tmp_path / "a")) == 10
    assert recorder.problems == []


@virtual_time
async def test_what_is_not_given_back_at_once_is_tried_again_and_then_told(tmp_path: Path) -> None:
    queue = FakeQueue()
    ids = queue.send("a", "b", "c")
    refused = Refusal(record=None, code="x", message="ChangeMessageVisibility: denied", gone=False)  # type: ignore[arg-type]  # set below

    def refuse(_operation: str, record: Record) -> Refusal | None:
        return None if record.id == "m2" else Refusal(record=record, code=refused.code, message=refused.message, gone=False)

    queue.refuse = refuse
    with recording_at(tmp_path / "a") as writer:
        recorder = Peeked(queue).recorder(writer)
        await recorder.run()
    assert recorded(tmp_path / "a") == ids
    assert [sorted(asked) for _, _, asked in queue.extensions] == [ids, ["m1", "m3"], ["m1", "m3"]]
    assert recorder.problems == [
        "2 messages could not be given back at once: they show again within 60 s (ChangeMessageVisibility: denied)"
    ]


@virtual_time
async def test_a_receive_that_is_throttled_is_asked_again(tmp_path: Path) -> None:
    times = iter([THROTTLED, None, THROTTLED, THROTTLED])
    queue = FakeQueue(fail=lambda operation: next(times, None) if operation == "receive" else None)
    ids = queue.send(*map(str, range(15)))
    with recording_at(tmp_path / "a") as writer:
        await Peeked(queue).recorder(writer).run()
    assert recorded(tmp_path / "a") == ids


@virtual_time
async def test_one_that_is_refused_in_the_middle_keeps_what_it_has_and_gives_it_back(tmp_path: Path) -> None:
    over = SourceRejected("too many in flight", code="OverLimit")
    queue = FakeQueue(fail=lambda operation: over if operation == "receive" and len(queue.received_at) > 1 else None)
    queue.send(*map(str, range(15)))
    with recording_at(tmp_path / "a") as writer:
        with pytest.raises(SourceRejected, match="too many in flight"):
            await Peeked(queue).recorder(writer).run()
        assert writer.flushed == 10
    assert len(queue.visible()) == 15


@virtual_time
async def test_a_disk_that_is_full_gives_everything_back(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    queue = FakeQueue()
    queue.send("a", "b")
    writer = RecordingWriter(RecordingFile.create(tmp_path / "full", overwrite=False))
    with pytest.raises(NotWritten):
        await Peeked(queue).recorder(writer).run()
    assert len(queue.visible()) == 2
    with pytest.raises(OSError, match="No space"):
        writer._file.close()


@virtual_time
async def test_messages_that_come_twice_are_recorded_once(tmp_path: Path) -> None:
    queue = FakeQueue()
    ids = queue.send(*map(str, range(15)))
    receive = queue.receive

    async def twice(**asked: Any) -> list[Record]:
        found = await receive(**asked)
        for message in queue.messages:  # at least once: SQS may hand one out again
            message.visible_at = 0.0 if message.id in ("m1", "m2") else message.visible_at
        return found

    queue.receive = twice  # type: ignore[method-assign]  # as above
    with recording_at(tmp_path / "a") as writer:
        await Peeked(queue).recorder(writer).run()
    assert recorded(tmp_path / "a") == ids


Policy = tuple[QueueFacts | SourceError | None, str]
POLICIES: Final[dict[str, Policy]] = {
    "none": (
        QueueFacts(visibility_timeout=30, redrive=False, waiting=5),
        "It has no dead-letter queue, so nothing is moved. About 5 wait",
    ),
    "three": (limited(3), "Its redrive policy (maxReceiveCount 3) moves what was received more often to the dead-letter queue"),
    "unsaid": (limited(None), "Its redrive policy moves messages that were received too often"),
    "denied": (SourceRejected("GetQueueAttributes: denied", code="AccessDenied"), "is not known (GetQueueAttributes: denied)"),
}


@virtual_time
@pytest.mark.parametrize("case", POLICIES)
async def test_before_the_first_receive_it_says_what_that_does_to_the_queue(tmp_path: Path, case: str) -> None:
    facts, told = POLICIES[case]
    queue = FakeQueue()
    queue.send("a")
    peeked = Peeked(queue, facts=facts)
    with recording_at(tmp_path / "a") as writer:
        await peeked.recorder(writer).run()
    assert told in peeked.warnings[0]
    assert "adds one to the receive count of each message" in peeked.warnings[0]
    assert len(peeked.warnings) == 1


@virtual_time
async def test_sqs_55_messages_whose_last_receive_was_used_up_are_counted(tmp_path: Path) -> None:
    queue = FakeQueue()
    queue.send("a", "b", "c")
    for message in queue.messages[:2]:
        message.receives = 2
    peeked = Peeked(queue, facts=limited(3))
    with recording_at(tmp_path / "a") as writer:
        recorder = peeked.recorder(writer)
        await recorder.run()
    assert peeked.warnings[1].startswith(
        "for 2 of these messages that was the last receive which the queue allows (maxReceiveCount 3)"
    )
    assert recorder.problems == []


@virtual_time
async def test_sqs_55_a_queue_that_allows_one_receive_is_not_peeked_at_unless_it_is_asked_for(tmp_path: Path) -> None:
    queue = FakeQueue()
    queue.send("a")
    with recording_at(tmp_path / "a") as writer:
        recorder = Peeked(queue, facts=limited(1)).recorder(writer)
        await recorder.run()
        assert queue.received_at == []
        assert "--last-receives" in recorder.problems[0]
        await Peeked(queue, facts=limited(1)).recorder(writer, last_receives=True).run()
    assert recorded(tmp_path / "a") == ["m1"]


@virtual_time
async def test_a_queue_that_is_not_there_is_an_error_before_anything_is_received(tmp_path: Path) -> None:
    queue = FakeQueue()
    missing = SourceRejected("no such queue", code="AWS.SimpleQueueService.NonExistentQueue")
    with recording_at(tmp_path / "a") as writer, pytest.raises(SourceRejected, match="no such queue"):
        await Peeked(queue, facts=missing).recorder(writer).run()
    assert queue.received_at == []
