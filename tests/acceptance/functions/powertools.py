"""The documented pattern of Powertools' batch processor: one processor in a module global."""

import json
import time
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

processor = BatchProcessor(event_type=EventType.SQS)


def work(record: SQSRecord) -> None:
    time.sleep(0.002)  # lets other threads run in the middle of a batch
    if json.loads(record.body)["n"] % 3 == 0:
        raise ValueError("every third fails")


def handler(event: dict[str, Any], context: Any) -> Any:
    return process_partial_response(event=event, record_handler=work, processor=processor, context=context)
