"""The signals that ask a command to end."""

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals() -> Iterator[Callable[[], Awaitable[None]]]:
    """From here on SIGTERM and SIGINT end nothing by themselves; call what is given to wait for one."""
    with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:

        async def wait() -> None:
            async for _ in signals:
                return

        yield wait
