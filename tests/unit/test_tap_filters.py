"""A tap tells what the filters of a mapping leave out, and why, and gives nothing away of what stood there."""

from runtime.core.filtering import FilterCriteria
from runtime.tap import Tap
from runtime.tap_events import FilteredOut, Invoked, Received, to_line
from tests.fakes.listening import listening
from tests.fakes.queue import FakeQueue
from tests.fakes.stream import STREAM_SPEC
from tests.fakes.stream_worker import World, wait
from tests.fakes.virtual_time import virtual_time
from tests.fakes.worker import FakeInvoker, running

S0 = "shardId-000000000000"
WANTED = '{"kind": "order", "card": "4111"}'
OTHER = '{"kind": "top secret", "card": "4222"}'


@virtual_time
async def test_what_a_queues_filters_leave_out_is_told_after_it_was_received() -> None:
    queue = FakeQueue()
    queue.send(WANTED, OTHER, "no JSON")
    with listening(tap := Tap(), records=True) as heard:
        async with running(queue, FakeInvoker(), filters=['{"body": {"kind": ["order"]}}'], tap=tap) as worker:
            await worker.wait(lambda: not queue.messages)
            events = await heard.hear()
    received = next(event for event in events if isinstance(event, Received))
    filtered = next(event for event in events if isinstance(event, FilteredOut))
    invoked = next(event for event in events if isinstance(event, Invoked))
    assert events.index(received) < events.index(filtered) < events.index(invoked)
    assert (received.records, filtered.records, invoked.records) == (3, 2, 1)
    assert [(detail.id, detail.why) for detail in filtered.details] == [
        ("m2", ('filter 1: body.kind has another value, wanted "order"',)),
        ("m3", ("filter 1: body is no JSON object, and the pattern wants fields of one",)),
    ]
    told = "".join(map(str, map(to_line, events)))
    assert "secret" not in told
    assert "4222" not in told


@virtual_time
async def test_what_a_streams_filters_leave_out_is_told_each_record_of_it() -> None:
    criteria = FilterCriteria.compile(['{"kinesis": {"partitionKey": ["yes"]}}'], data=STREAM_SPEC.filter_view)
    with listening(tap := Tap(), records=True) as heard:
        world = World(criteria=criteria, tap=tap)
        left_out = [*world.stream.put("classified", 3), *world.stream.put("classified", 2)]
        world.stream.put("yes")
        last = world.stream.put("classified")
        async with world.running():
            await wait(lambda: world.checkpoints() == {S0: last[0]})
            events = await heard.hear()
    filtered = [event for event in events if isinstance(event, FilteredOut)]
    assert [detail.id for event in filtered for detail in event.details] == left_out + last
    assert sum(event.records for event in events if isinstance(event, Received)) == 7
    assert "classified" not in "".join(map(str, map(to_line, events)))
