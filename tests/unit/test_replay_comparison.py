"""Two handlers over the same batches."""

import math
from typing import Any

import anyio
import pytest

from handlers.invoker import NOT_JSON, FunctionError, NotInvoked, Outcome, Succeeded
from runtime.replay.comparison import Comparison
from tests.fakes.replays import FUNCTION, Acts, Replayed, kinesis_record, raised, replay, stream_mapping
from tests.fakes.virtual_time import virtual_time


def acting(outcome: Outcome) -> Acts:
    async def act(_: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        return outcome

    return Acts(act)


async def compared(one: Acts, other: Acts, *, count: int = 2) -> tuple[Comparison, Replayed]:
    comparison = Comparison(other=other, function_arn=FUNCTION)
    records = [kinesis_record(number) for number in range(1, count + 1)]
    return comparison, await replay(records, one, stream_mapping(records=2), beside=comparison)


def timed_out(request: str) -> FunctionError:
    text = f"RequestId: {request * 36} Error: Task timed out after 3.00 seconds"
    return FunctionError(error_type="Sandbox.Timedout", message=text, document={}, timed_out=True)


LIKE = [
    (Succeeded(response=None), Succeeded(response=None)),
    (Succeeded(response={"a": 1, "b": [2]}), Succeeded(response={"b": [2], "a": 1})),
    (Succeeded(response=NOT_JSON), Succeeded(response=NOT_JSON)),
    (Succeeded(response=[math.nan]), Succeeded(response=[float("nan")])),
    (raised("a"), raised("a")),
    (timed_out("a"), timed_out("b")),
]
UNLIKE = [
    ("result", Succeeded(response=None), Succeeded(response={})),
    ("result", Succeeded(response={"ok": True}), Succeeded(response={"ok": 1})),
    ("result", Succeeded(response=NOT_JSON), Succeeded(response="NOT_JSON")),
    ("error", raised("a"), raised("b")),
    ("error", raised("a"), raised("a", "KeyError")),
    ("outcome", Succeeded(response=None), raised("a")),
    ("outcome", raised("a"), Succeeded(response=None)),
    ("outcome", Succeeded(response=None), NotInvoked(reason="no thread")),
]


@pytest.mark.parametrize(("one", "other"), LIKE)
def test_these_are_alike(one: Outcome, other: Outcome) -> None:
    @virtual_time
    async def body() -> None:
        comparison, _ = await compared(acting(one), acting(other))
        assert comparison.alike
        assert comparison.counts == {}

    body()


@pytest.mark.parametrize(("kind", "one", "other"), UNLIKE)
def test_these_differ(kind: str, one: Outcome, other: Outcome) -> None:
    @virtual_time
    async def body() -> None:
        comparison, _ = await compared(acting(one), acting(other))
        assert not comparison.alike
        assert comparison.counts == {kind: 1}
        (difference,) = comparison.differences
        assert (difference.kind, difference.first, difference.last, difference.records) == (kind, "1", "2", 2)
        assert difference.ours != difference.theirs

    body()


@virtual_time
async def test_each_handler_gets_an_event_of_its_own() -> None:
    async def spoil(event: dict[str, Any]) -> Outcome:
        await anyio.lowlevel.checkpoint()
        seen = event["Records"].pop()["kinesis"]["partitionKey"]
        return Succeeded(response=[seen, len(event["Records"])])

    comparison, _ = await compared(Acts(spoil), Acts(spoil))
    assert comparison.alike
    assert comparison.invocations == 1


@virtual_time
async def test_what_is_tried_again_the_first_one_decides() -> None:
    comparison, replayed = await compared(acting(Succeeded(response=None)), acting(raised()), count=6)
    assert replayed.report.succeeded == 6
    assert comparison.counts == {"outcome": 3}


async def compare_times(ours: float, theirs: float, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    monkeypatch.setattr("runtime.replay.calling.perf_counter", anyio.current_time)

    def sleeping(seconds: float) -> Acts:
        async def act(_: dict[str, Any]) -> Outcome:
            await anyio.sleep(seconds)
            return Succeeded(response=None)

        return Acts(act)

    return (await compared(sleeping(ours), sleeping(theirs)))[0]


@virtual_time
async def test_a_duration_that_differs_is_told_but_decides_nothing() -> None:
    with pytest.MonkeyPatch.context() as patch:
        comparison = await compare_times(1.0, 2.5, patch)
        assert (comparison.counts, comparison.alike) == ({"duration": 1}, True)
        assert (comparison.differences[0].ours, comparison.differences[0].theirs) == ("1.000 s", "2.500 s")
        assert comparison.medians == (1.0, 2.5)
        assert (await compare_times(1.0, 1.9, patch)).counts == {}
        assert (await compare_times(0.001, 0.009, patch)).counts == {}, "too short to say"
