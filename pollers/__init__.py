"""Where records come from. `SPECS` is the table of all sources: a new one adds a row."""

from typing import Any, Final

from pollers.dynamodb_streams import SPEC as DYNAMODB
from pollers.filter_view import View
from pollers.kinesis import SPEC as KINESIS
from pollers.record import Record
from pollers.source import QueueSpec, StreamSpec
from pollers.sqs import SPEC as SQS

QUEUES: Final[dict[str, QueueSpec]] = {spec.source: spec for spec in (SQS,)}
STREAMS: Final[dict[str, StreamSpec]] = {spec.source: spec for spec in (KINESIS, DYNAMODB)}
SPECS: Final[dict[str, QueueSpec | StreamSpec]] = {**QUEUES, **STREAMS}


def event_record(source: str, record: Record) -> dict[str, Any]:
    """The record's part of a Lambda event; `source` is a key of `SPECS`."""
    shown: dict[str, Any] = SPECS[source].envelope([record])["Records"][0]
    return shown


def event_view(source: str, shown: dict[str, Any]) -> View:
    """How a record of a Lambda event (one of `Records`) stands before FilterCriteria; `source` is a key of `SPECS`."""
    return SPECS[source].filter_view.of_event(shown)
