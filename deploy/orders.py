"""The handler of `compose.yaml`: works through orders, and reports those that say `{"poison": true}`."""

import json
import time
from typing import Any

WORK_SECONDS = 0.02
"""What one order costs; stands for a call to a database."""


def handler(event: dict[str, Any], _context: Any) -> dict[str, list[dict[str, str]]]:
    """For a mapping with ReportBatchItemFailures: poison comes again until the queue's redrive policy takes it away."""
    failures = []
    for record in event["Records"]:
        time.sleep(WORK_SECONDS)
        if json.loads(record["body"]).get("poison"):
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
