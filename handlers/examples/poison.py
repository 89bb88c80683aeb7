"""Meets poison: messages that say `{"poison": true}` fail on every delivery, until the queue's redrive policy takes them away.

For a mapping with ReportBatchItemFailures: only the poison is reported, so its neighbours in the batch are not punished.
"""

import json
from typing import Any


class PoisonError(Exception):
    """A message that can never be processed."""


def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """One message after the other; the error of one is that message's alone."""
    failures = []
    for record in event["Records"]:
        try:
            process(record["body"])
        except (PoisonError, ValueError):  # ValueError: a body that is not JSON
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def process(body: str) -> None:
    """Raises PoisonError for poison, ValueError for what is not JSON."""
    message = json.loads(body)
    if isinstance(message, dict) and message.get("poison") is True:
        raise PoisonError(body)
