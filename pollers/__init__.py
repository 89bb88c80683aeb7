"""Where records come from. `SPECS` is the table of all sources: a new one adds a row."""

from typing import Final

from pollers.dynamodb_streams import SPEC as DYNAMODB
from pollers.kinesis import SPEC as KINESIS
from pollers.source import QueueSpec, StreamSpec
from pollers.sqs import SPEC as SQS

QUEUES: Final[dict[str, QueueSpec]] = {spec.source: spec for spec in (SQS,)}
STREAMS: Final[dict[str, StreamSpec]] = {spec.source: spec for spec in (KINESIS, DYNAMODB)}
SPECS: Final[dict[str, QueueSpec | StreamSpec]] = {**QUEUES, **STREAMS}
