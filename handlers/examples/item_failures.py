"""Reports single messages as failed: an `async def` handler for a mapping with ReportBatchItemFailures.

Every message is reported on its first delivery, every third one on its second too; then it succeeds. What fails is read from the
message alone, so the outcome is the same in every worker and after every restart.
"""

from typing import Any
from zlib import crc32

import anyio

WORK_SECONDS = 0.002


async def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Messages that are not listed in the answer are deleted; listed ones come again after the visibility timeout."""
    failures = []
    for record in event["Records"]:
        await anyio.sleep(WORK_SECONDS)
        delivery = int(record["attributes"]["ApproximateReceiveCount"])
        if delivery <= _failing_deliveries(record["messageId"]):
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def _failing_deliveries(message_id: str) -> int:
    """1 or 2, always the same for a message."""
    return 2 if crc32(message_id.encode()) % 3 == 0 else 1
