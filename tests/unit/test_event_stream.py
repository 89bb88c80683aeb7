"""Event streams: what the endpoint encodes is what the pollers read, in whatever pieces it comes; anything else is an error."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from zlib import crc32

import anyio
import pytest
from botocore import exceptions as boto
from hypothesis import given
from hypothesis import strategies as st

from pollers.aws.errors import to_source_error
from pollers.aws.event_stream import Event, EventStream
from pollers.errors import SourceUnavailable
from runtime.local.kinesis.event_stream import damaged, event, exception, frame


@dataclass
class Answer:
    """An answer that comes in these pieces; then it ends."""

    pieces: deque[bytes]
    closed: bool = False
    asked: int = field(default=0)

    @property
    def content(self) -> "Answer":
        return self

    async def readany(self) -> bytes:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        return self.pieces.popleft() if self.pieces else b""

    def close(self) -> None:
        self.closed = True


def stream_of(*pieces: bytes) -> EventStream:
    return EventStream(Answer(deque(pieces)), operation="SubscribeToShard")


async def all_of(stream: EventStream) -> list[Event]:
    found = []
    while (one := await stream.next()) is not None:
        found.append(one)
    return found


def cut(whole: bytes, places: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(whole), *(place % (len(whole) + 1) for place in places)})
    return [whole[begin:end] for begin, end in pairwise(edges)]


@given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(0, 10_000), max_size=20))
def test_events_come_whole_and_in_order_in_whatever_pieces_they_arrive(payloads: list[bytes], places: list[int]) -> None:
    frames = [frame({":message-type": "event", ":event-type": f"e{n}"}, payload) for n, payload in enumerate(payloads)]
    found = anyio.run(all_of, stream_of(*cut(b"".join(frames), places)))
    assert found == [Event(f"e{n}", payload) for n, payload in enumerate(payloads)]


@given(st.binary(max_size=100), st.integers(0, 10_000), st.integers(1, 255))
def test_a_frame_with_one_wrong_byte_is_never_taken_for_an_event(payload: bytes, place: int, change: int) -> None:
    whole = bytearray(frame({":message-type": "event", ":event-type": "e"}, payload))
    whole[place % len(whole)] ^= change
    with pytest.raises(Exception, match=r".") as raised:
        anyio.run(all_of, stream_of(bytes(whole)))
    assert isinstance(to_source_error(raised.value, doing="x"), SourceUnavailable)


@given(st.binary(min_size=1, max_size=200))
def test_any_other_bytes_are_an_error_of_the_service(noise: bytes) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        anyio.run(all_of, stream_of(noise))
    assert to_source_error(raised.value, doing="x").code == "malformed_answer"


async def test_a_stream_that_ends_within_a_frame_is_an_error() -> None:
    whole = event("SubscribeToShardEvent", {})
    for kept in (1, 11, 12, len(whole) - 1):
        stream = stream_of(whole, whole[:kept])
        assert (await stream.next()) == Event("SubscribeToShardEvent", b"{}")
        with pytest.raises(ValueError, match=f"ends after {kept} bytes of a frame"):
            await stream.next()


async def test_a_frame_that_promises_too_much_is_refused_before_its_bytes_are_there() -> None:
    prelude = (2**31).to_bytes(4) + (0).to_bytes(4)
    answer = Answer(deque([prelude + crc32(prelude).to_bytes(4), *[b"x" * 1000] * 50]))
    with pytest.raises(Exception, match="Payload"):
        await EventStream(answer, operation="x").next()
    assert answer.asked == 1


async def test_an_exception_in_the_stream_is_that_of_the_service() -> None:
    with pytest.raises(boto.ClientError) as raised:
        await stream_of(exception("ResourceInUseException", "taken")).next()
    assert raised.value.response["Error"] == {"Code": "ResourceInUseException", "Message": "taken"}
    with pytest.raises(boto.ClientError, match="<html>"):
        await stream_of(frame({":message-type": "exception", ":exception-type": "X"}, b"<html>")).next()
    whole = frame({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "sorry"}, b"")
    with pytest.raises(boto.ClientError) as raised:
        await stream_of(whole).next()
    assert raised.value.response["Error"] == {"Code": "InternalFailure", "Message": "sorry"}


async def test_a_checksum_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(Exception, match="Checksum mismatch"):
        await stream_of(damaged(event("SubscribeToShardEvent", {}))).next()


async def test_nothing_is_read_ahead_of_the_event_that_is_asked_for() -> None:
    """So what nobody asks for stays in the buffers of the connection, and then at the service."""
    whole = event("SubscribeToShardEvent", {})
    answer = Answer(deque([whole] * 5))
    stream = EventStream(answer, operation="x")
    for count in (1, 2):
        await stream.next()
        assert answer.asked == count
    stream.close()
    assert answer.closed
