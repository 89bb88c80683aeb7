"""When Python looks for garbage that refers to itself.

Events are thousands of dicts, none of them such garbage, and a shard more in hand must not set the collector off: by its own
count it takes a third of a busy worker's CPU. So it is left to a count that only a leak reaches, and to time: what handlers leave
behind (an exception that holds its frames, and they a page) is gone after a second or so, whatever it weighs.
"""

import gc
from time import perf_counter
from typing import Final

import anyio

_COUNT: Final = 300_000
"""Containers made and not freed since the last look at the youngest, about 70 MiB of small dicts."""
_SHORTEST: Final = 1.0
_SHARE: Final = 100
"""The pause after a look is at least so many times as long as it took."""
_OLDER: Final = 20
"""Every so many looks go one generation further."""


def leave_to_time() -> None:
    """Before `run_collector`; what the imports made is never looked at again."""
    gc.set_threshold(_COUNT, _OLDER, _OLDER)
    gc.freeze()


async def run_collector() -> None:
    """Until cancelled."""
    looks, pause = 0, _SHORTEST
    while True:
        await anyio.sleep(pause)
        looks += 1
        began = perf_counter()
        gc.collect(2 if looks % _OLDER**2 == 0 else 1 if looks % _OLDER == 0 else 0)
        pause = max(_SHORTEST, (perf_counter() - began) * _SHARE)
