"""The two event loops that a worker may run on. A test that is marked with `both_loops` runs once on each, to its very end."""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import Parameter, signature
from typing import Any, Final

import pytest

LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {"asyncio": asyncio.new_event_loop}
if sys.platform == "linux":  # where the worker runs on it
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


def both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """An `async def` test. What it leaves open shows as a ResourceWarning, which is an error."""

    @wraps(test)
    def run(*args: Any, event_loop_kind: str, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[event_loop_kind]) as runner:
            runner.run(test(*args, **kwargs))
        gc.collect()

    asked = signature(test)
    kind = Parameter("event_loop_kind", Parameter.KEYWORD_ONLY)
    run.__signature__ = asked.replace(parameters=[*asked.parameters.values(), kind])  # type: ignore[attr-defined]  # pytest reads it
    marked: Callable[..., None] = pytest.mark.parametrize("event_loop_kind", LOOPS)(run)
    return marked
