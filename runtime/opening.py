"""Opens the sources that ARNs name. Nothing is asked of AWS yet."""

import time
from typing import Final

from pollers.aws.clients import AwsClients, Observe
from pollers.dynamodb_streams import DynamodbStream
from pollers.kinesis import KinesisStream
from pollers.source import StreamSource

_STREAM_SOURCES: Final[dict[str, type[KinesisStream | DynamodbStream]]] = {"kinesis": KinesisStream, "dynamodb": DynamodbStream}


def open_stream(source: str, arn: str, clients: AwsClients, *, observe: Observe) -> StreamSource:
    """`source`: a key of `pollers.STREAMS`."""
    return _STREAM_SOURCES[source](clients, arn, observe=observe, clock=time.time)


def not_counted(operation: str, outcome: str) -> None:
    """For `observe`, where there are no metrics."""
