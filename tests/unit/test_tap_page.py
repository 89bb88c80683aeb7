"""The lines of one reader: how the mapping stands, signs of life, and the last line."""

from msgspec import structs

from pollers.errors import SourceRejected
from runtime.core.batching import Batch
from runtime.core.mapping import BatchLimits, EventSourceMapping, MappingState
from runtime.shard_status import Block, ShardStatus
from runtime.status import MappingStatus
from runtime.tap_events import Alive, Closed, Invoked, Standing, Told, Watching
from runtime.tap_page import ALIVE_EVERY, _changes, _Page, _watching, standing_of
from tests.fakes.virtual_time import virtual_time

MAPPING = EventSourceMapping(
    name="orders",
    function="f",
    function_arn="arn:aws:lambda:eu-west-1:123456789012:function:f",
    source="sqs",
    source_arn="arn:aws:sqs:eu-west-1:123456789012:orders",
    batch=BatchLimits(records=10, window=2),
)


def a_status(state: MappingState = MappingState.ENABLED) -> MappingStatus:
    return MappingStatus(mapping=MAPPING, state=state)


def shard(name: str, *, running: bool = True) -> ShardStatus:
    return ShardStatus(shard=name, running=running, clock=lambda: 0.0)


def without_time(events: list[Told]) -> list[Told]:
    return [structs.replace(event, at=0.0) for event in events]


@virtual_time
async def test_the_first_lines_say_what_is_watched_and_how_it_stands() -> None:
    status = a_status()
    with status.tap.listen(records=False) as listener:
        page = _Page(status, listener, began=_watching(MAPPING, "w1"))
        first, second = without_time(await page.next_lines())
    assert first == Watching(
        at=0.0, mapping="orders", source="sqs", arn=MAPPING.source_arn, function="f", worker="w1", batch_size=10, window=2
    )
    assert second == Standing(at=0.0, state="Enabled")


@virtual_time
async def test_what_happens_is_sent_and_how_it_stands_only_when_that_changes() -> None:
    status = a_status()
    with status.tap.listen(records=False) as listener:
        page = _Page(status, listener, began=_watching(MAPPING, "w1"))
        await page.next_lines()
        status.tap.invoked(Batch(()), "request-1")
        (line,) = await page.next_lines()
        assert isinstance(line, Invoked)
        assert await page.next_lines() == []
        status.error = SourceRejected("ReceiveMessage on orders: AccessDenied: no", code="AccessDenied")
        assert without_time(await page.next_lines()) == [
            Standing(at=0.0, state="Enabled", why=("ReceiveMessage on orders: AccessDenied: no",))
        ]


@virtual_time
async def test_a_quiet_mapping_gives_a_sign_of_life() -> None:
    status = a_status()
    with status.tap.listen(records=False) as listener:
        page = _Page(status, listener, began=_watching(MAPPING, "w1"))
        await page.next_lines()
        looks = [await page.next_lines() for _ in range(2 * int(ALIVE_EVERY))]
    told = [lines for lines in looks if lines]
    assert [type(line) for lines in told for line in lines] == [Alive, Alive]


@virtual_time
async def test_the_last_line_says_why_there_are_no_more() -> None:
    status = a_status()
    with status.tap.listen(records=False) as listener:
        page = _Page(status, listener, began=_watching(MAPPING, "w1"))
        await page.next_lines()
        status.tap.close("the worker has stopped")
        (line,) = await page.next_lines()
        assert isinstance(line, Closed)
        assert (line.reason, page.ended) == ("the worker has stopped", True)


def test_a_retry_is_no_change_and_other_obstacles_are() -> None:
    status = a_status()
    status.shards = {"s0": shard("s0")}
    status.shards["s0"].blocks[0] = Block(reason="retrying 3 records", since=0.0, attempt=2, detail="ValueError: no")
    assert standing_of(status, at=0.0) == Standing(at=0.0, state="Enabled", shards={"s0": "reading"})
    status.shards["s0"].blocks[1] = Block(reason="the on-failure destination takes nothing", since=0.0, detail="denied")
    assert standing_of(status, at=0.0).why == ("s0: the on-failure destination takes nothing",)


def test_everything_that_holds_a_mapping_up_is_said() -> None:
    status = a_status(MappingState.DISABLED)
    status.paused, status.state_error, status.overdue = "function f has ReservedConcurrentExecutions 0", "the disk is full", 3
    assert standing_of(status, at=0.0).why == (
        "function f has ReservedConcurrentExecutions 0",
        "the disk is full",
        "handlers run on past their time limit, each on a slot",
    )


def test_of_the_shards_only_those_that_changed_are_told() -> None:
    before = Standing(at=0.0, state="Enabled", shards={"s0": "reading", "s1": "reading", "s2": "ended"})
    after = Standing(at=1.0, state="Enabled", shards={"s0": "ended", "s1": "reading", "s3": "waiting"})
    assert _changes(before, after) == [Standing(at=1.0, state="Enabled", shards={"s0": "ended", "s2": "gone", "s3": "waiting"})]
    assert _changes(after, structs.replace(after, at=2.0)) == []
