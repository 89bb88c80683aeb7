"""Keeping records hidden while a handler works on them, in virtual time."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import pytest

from pollers.record import Record, RecordId
from pollers.source import QueueFacts, Refusal
from runtime.telemetry import MappingTelemetry, Telemetry
from runtime.visibility import LONGEST, Held, VisibilityKeeper
from tests.fakes.virtual_time import START, virtual_time


class ExtensionLog:
    """A queue that notes every extension and refuses what the test tells it to."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, tuple[str, ...], int]] = []
        """Seconds since the start, handles, seconds asked for."""
        self.refuse: Callable[[Record], str | None] = lambda _record: None
        """The code of the refusal, or None."""
        self.hangs: set[str] = set()

    async def describe(self) -> QueueFacts:
        raise AssertionError

    async def receive(self, *, limit: int, wait: int, visibility: int | None) -> list[Record]:
        raise AssertionError((limit, wait, visibility))

    async def delete(self, records: Sequence[Record]) -> list[Refusal]:
        raise AssertionError(records)

    async def extend(self, records: Sequence[Record], seconds: int) -> list[Refusal]:
        self.calls.append((anyio.current_time() - START, tuple(record.handle for record in records), seconds))
        if self.hangs & {record.handle for record in records}:
            await anyio.sleep_forever()
        codes = [(record, self.refuse(record)) for record in records]
        return [Refusal(record=each, code=code, message="m", gone=code == "gone") for each, code in codes if code]


class ToldLog(MappingTelemetry):
    """Notes what the keeper tells."""

    def __init__(self) -> None:
        super().__init__(Telemetry(), "m", "sqs")
        self.lost: list[list[str]] = []
        self.refused: list[tuple[str, int]] = []

    def visibility_lost(self, refused: Sequence[Refusal]) -> None:
        self.lost.append([refusal.record.handle for refusal in refused])

    def extension_refused(self, refusal: Refusal, records: int) -> None:
        self.refused.append((refusal.code, records))


class Scene:
    def __init__(self, jitter: float) -> None:
        self.source = ExtensionLog()
        self.told = ToldLog()
        self.keeper = VisibilityKeeper(self.source, self.told, lambda: jitter)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.keeper.run)
            await anyio.wait_all_tasks_blocked()
            yield
            tasks.cancel_scope.cancel()

    async def work(self, names: str, seconds: float, *, hidden: int = 30) -> Held:
        held = hold(names, hidden=hidden)
        with self.keeper.keep(held):
            await anyio.sleep(seconds)
        return held

    @property
    def times(self) -> list[float]:
        return [at for at, _, _ in self.source.calls]


def hold(names: str, *, hidden: int = 30) -> Held:
    records = [Record(id=RecordId(name), content={}, size=1, arrived=0.0, handle=name) for name in names]
    return Held(records, received=anyio.current_time(), timeout=hidden)


@pytest.mark.parametrize(("jitter", "first"), [(0.0, 15.0), (0.5, 13.5), (1.0, 12.0)])
@virtual_time
async def test_the_first_extension_comes_at_half_the_timeout_less_at_most_a_tenth(jitter: float, first: float) -> None:
    scene = Scene(jitter)
    async with scene.running():
        await scene.work("ab", 16)
    assert scene.source.calls == [(first, ("a", "b"), 30)]


@virtual_time
async def test_short_work_costs_no_request() -> None:
    scene = Scene(0.0)
    async with scene.running():
        await scene.work("a", 14.9)
        await anyio.sleep(1000)
    assert scene.source.calls == []


@virtual_time
async def test_long_work_stays_hidden_without_a_gap() -> None:
    scene = Scene(0.9)
    async with scene.running():
        held = await scene.work("a", 600)
        assert held.until > anyio.current_time()
    assert all(later - earlier <= 15 for earlier, later in pairwise([0.0, *scene.times, 600.0]))


@virtual_time
async def test_batches_due_together_go_in_one_call() -> None:
    scene = Scene(0.0)
    async with scene.running(), anyio.create_task_group() as tasks:
        for names in ("ab", "c", "de"):
            tasks.start_soon(scene.work, names, 20)
    ((at, handles, seconds),) = scene.source.calls
    assert (at, sorted(handles), seconds) == (15.0, list("abcde"), 30)


@virtual_time
async def test_extension_stops_the_moment_the_work_ends() -> None:
    scene = Scene(0.0)
    async with scene.running():
        await scene.work("a", 31)
        before = len(scene.source.calls)
        await anyio.sleep(10_000)
    assert scene.times == [15.0, 30.0]
    assert before == 2


@virtual_time
async def test_extension_stops_when_the_work_fails() -> None:
    scene = Scene(0.0)
    async with scene.running():
        with pytest.raises(LookupError), scene.keeper.keep(hold("a")):
            raise LookupError
        await anyio.sleep(1000)
    assert scene.source.calls == []


@pytest.mark.parametrize("hidden", [10, 30, 3600, 43_200])
@virtual_time
async def test_nothing_is_kept_past_twelve_hours_after_its_receive(hidden: int) -> None:
    """SQS refuses more (ChangeMessageVisibility: at most 12 hours in all since the receive)."""
    scene = Scene(0.3)
    async with scene.running():
        await scene.work("a", LONGEST + 3600, hidden=hidden)
    assert scene.source.calls
    assert all(at + seconds <= LONGEST for at, _, seconds in scene.source.calls)
    assert all(seconds >= 1 for _, _, seconds in scene.source.calls)
    last_at, _, last_seconds = scene.source.calls[-1]
    assert last_at + last_seconds >= LONGEST - 3, "it is kept almost to the end"


@virtual_time
async def test_a_lost_record_is_told_once_and_extended_no_more() -> None:
    scene = Scene(0.0)
    scene.source.refuse = lambda record: "gone" if record.handle == "b" else None
    async with scene.running():
        held = await scene.work("abc", 50)
    assert held.lost == {"b"}
    assert scene.told.lost == [["b"]]
    assert [handles for _, handles, _ in scene.source.calls] == [("a", "b", "c"), ("a", "c"), ("a", "c")]


@virtual_time
async def test_a_batch_that_is_lost_altogether_is_left_alone() -> None:
    scene = Scene(0.0)
    scene.source.refuse = lambda _record: "gone"
    async with scene.running():
        await scene.work("ab", 1000)
    assert len(scene.source.calls) == 1
    assert scene.told.lost == [["a", "b"]]


@virtual_time
async def test_a_refused_extension_is_tried_again_in_time_and_told_once_per_code() -> None:
    scene = Scene(0.0)
    codes = iter(["InternalError", "InternalError", "Throttling", None])
    scene.source.refuse = lambda _record: next(codes)
    async with scene.running():
        await scene.work("a", 28)
    assert scene.times == [15.0, 18.75, 22.5, 26.25]
    assert scene.told.refused == [("InternalError", 1), ("Throttling", 1)]
    assert scene.told.lost == []


@virtual_time
async def test_a_refusal_after_a_success_is_told_again() -> None:
    scene = Scene(0.0)
    codes = iter(["InternalError", None, "InternalError", None])
    scene.source.refuse = lambda _record: next(codes)
    async with scene.running():
        await scene.work("a", 38)
    assert scene.told.refused == [("InternalError", 1), ("InternalError", 1)]


@virtual_time
async def test_a_hanging_extension_does_not_cost_the_others_their_records() -> None:
    scene = Scene(0.0)
    scene.source.hangs = {"a"}
    async with scene.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(scene.work, "a", 60)
        await anyio.sleep(1)
        tasks.start_soon(scene.work, "b", 59)
    assert [at for at, handles, _ in scene.source.calls if handles == ("a",)] == [15.0]
    assert [at for at, handles, _ in scene.source.calls if handles == ("b",)] == [16.0, 31.0, 46.0]


@virtual_time
async def test_a_record_whose_work_ended_during_its_extension_is_no_loss() -> None:
    scene = Scene(0.0)
    slow = anyio.Event()
    extend = scene.source.extend

    async def extend_slowly(records: Sequence[Record], seconds: int) -> list[Refusal]:
        await slow.wait()
        return await extend(records, seconds)

    scene.source.extend = extend_slowly  # type: ignore[method-assign]  # the answer comes when the test says so
    scene.source.refuse = lambda _record: "gone"
    async with scene.running():
        await scene.work("a", 16)
        slow.set()
        await anyio.sleep(1)
    assert len(scene.source.calls) == 1
    assert scene.told.lost == []


@virtual_time
async def test_what_is_due_sooner_wakes_the_keeper() -> None:
    scene = Scene(0.0)
    async with scene.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: scene.work("a", 100, hidden=600))
        await anyio.sleep(1)
        tasks.start_soon(lambda: scene.work("b", 3, hidden=4))
    assert scene.source.calls == [(3.0, ("b",), 4)]


@virtual_time
async def test_a_timeout_of_one_second_is_extended_twice_a_second() -> None:
    scene = Scene(0.0)
    async with scene.running():
        await scene.work("a", 2.2, hidden=1)
    assert scene.times == pytest.approx([0.5, 1.0, 1.5, 2.0])


@virtual_time
async def test_a_timeout_of_zero_hides_nothing_so_nothing_is_kept() -> None:
    scene = Scene(0.0)
    async with scene.running():
        await scene.work("a", 1000, hidden=0)
    assert scene.source.calls == []


@pytest.mark.parametrize(("late", "first"), [(0, 15.0), (20, 25.0), (28, 29.0), (30, 30.0), (40, 40.0)])
@virtual_time
async def test_a_hold_that_is_taken_up_late_is_extended_at_half_of_what_is_left(late: float, first: float) -> None:
    scene = Scene(0.0)
    async with scene.running():
        held = hold("a")
        await anyio.sleep(late)
        with scene.keeper.keep(held):
            await anyio.sleep(first - late + 1)
    assert scene.source.calls == [(first, ("a",), 30)]


@virtual_time
async def test_a_hold_that_is_taken_up_again_goes_on_from_its_last_extension() -> None:
    """A throttled batch is invoked again and again under one hold (SQS-53)."""
    scene = Scene(0.0)
    async with scene.running():
        held = hold("a")
        with scene.keeper.keep(held):
            await anyio.sleep(16)
        await anyio.sleep(4)
        with scene.keeper.keep(held):
            await anyio.sleep(20)
    assert held.until == START + 32.5 + 30
    assert scene.times == [15.0, 32.5]


@virtual_time
async def test_a_hanging_extension_of_one_length_does_not_delay_those_of_another_in_its_round() -> None:
    scene = Scene(0.0)
    scene.source.hangs = {"a"}
    async with scene.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: scene.work("a", 40, hidden=60))
        tasks.start_soon(lambda: scene.work("x", 40, hidden=60))
        await anyio.sleep(15)
        tasks.start_soon(lambda: scene.work("b", 29, hidden=30))  # due at 30 as well
    assert [at for at, handles, _ in scene.source.calls if handles == ("b",)] == [30.0]


@virtual_time
async def test_a_refusal_of_one_batch_is_told_once_while_others_are_extended() -> None:
    scene = Scene(0.0)
    scene.source.refuse = lambda record: "AccessDenied" if record.handle == "a" else None
    async with scene.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: scene.work("a", 100, hidden=30))
        tasks.start_soon(lambda: scene.work("b", 100, hidden=20))
    assert scene.told.refused == [("AccessDenied", 1)]
