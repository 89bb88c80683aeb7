"""A handler that cannot be asked to stop."""

import asyncio
from typing import Any


async def handler(event: dict[str, Any], context: Any) -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue
