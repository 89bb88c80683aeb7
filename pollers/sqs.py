"""SQS, standard and FIFO (`spec/sqs.md`)."""

from collections.abc import Sequence
from typing import Any, Final

from pollers.record import Record
from pollers.source import QueueSpec


def envelope(records: Sequence[Record]) -> dict[str, Any]:
    """The Lambda event (SQS-20). A record of a queue is invoked at most once per receive, so nothing is copied."""
    return {"Records": [record.event for record in records]}


SPEC: Final = QueueSpec(
    source="sqs",
    service="sqs",
    parameters=frozenset({
        "EventSourceArn", "FunctionName", "BatchSize", "Enabled", "FilterCriteria", "KMSKeyArn", "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds", "MetricsConfig", "ProvisionedPollerConfig", "ScalingConfig", "Tags",
    }),
    default_batch_size=10,
    envelope=envelope,
)  # fmt: skip
