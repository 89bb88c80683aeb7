"""Counts clicks of a Kinesis stream: an `async def` handler that raises at poison, so that the whole batch fails.

For a mapping with BisectBatchOnFunctionError: the batch is halved until the poison stands alone, and only that is given up.
"""

import base64
import json
from typing import Any

import anyio

WORK_SECONDS = 0.001


class PoisonError(Exception):
    """A click that can never be counted."""


async def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Without ReportBatchItemFailures the answer is ignored: only an exception says that something failed."""
    counted = 0
    for record in event["Records"]:
        await anyio.sleep(WORK_SECONDS)
        click = json.loads(base64.b64decode(record["kinesis"]["data"]))
        if click.get("poison"):
            raise PoisonError(record["kinesis"]["sequenceNumber"])
        counted += 1
    return {"counted": counted}
