"""The collector: what refers to itself is gone after a while, also where the count never sets it off."""

import gc
import weakref
from collections.abc import Iterator

import anyio
import pytest

from runtime.collector import leave_to_time, run_collector
from tests.fakes.virtual_time import virtual_time


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@virtual_time
async def test_garbage_that_refers_to_itself_is_gone_after_a_second_or_so() -> None:
    leave_to_time()
    assert gc.get_threshold()[0] > 100_000
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_collector)
        await anyio.sleep(0.5)
        left = weakref.ref(Knot())
        assert left() is not None
        await anyio.sleep(120)  # a look that took long is followed by a long pause
        assert left() is None
        tasks.cancel_scope.cancel()


@virtual_time
async def test_garbage_that_grew_old_is_found_too() -> None:
    leave_to_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_collector)
        knot = Knot()
        await anyio.sleep(60)
        left = weakref.ref(knot)
        del knot
        await anyio.sleep(20_000)
        assert left() is None
        tasks.cancel_scope.cancel()
