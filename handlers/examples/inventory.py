"""Follows the changes of a DynamoDB table: a plain handler, run in a thread, that reports the first record it cannot process.

For a mapping with ReportBatchItemFailures: what comes before the reported record is done, and the stream goes on from there.
"""

from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Attribute values stay DynamoDB JSON: `{"N": "12"}`."""
    for record in event["Records"]:
        change = record["dynamodb"]
        image = change.get("NewImage") or change.get("OldImage") or {}
        if image.get("poison", {}).get("BOOL"):
            return {"batchItemFailures": [{"itemIdentifier": change["SequenceNumber"]}]}
    return {"batchItemFailures": []}
