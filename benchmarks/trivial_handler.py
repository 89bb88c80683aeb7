"""The handlers of the benchmark: they touch the event and do nothing, so that what is left is the cost of getting it to them."""

from typing import Any


async def on_loop(event: dict[str, Any], context: object) -> None:  # noqa: ARG001  Lambda's signature
    _count = len(event["Records"])


def in_thread(event: dict[str, Any], context: object) -> None:  # noqa: ARG001  Lambda's signature
    _count = len(event["Records"])
