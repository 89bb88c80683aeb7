"""Opens the sources that ARNs name. Nothing is asked of AWS yet."""

import time
from typing import Final

from pollers import STREAMS
from pollers.aws.clients import AwsClients, Observe
from pollers.dynamodb_streams import DynamodbStream
from pollers.errors import SourceError
from pollers.kinesis import KinesisStream
from pollers.kinesis_fan_out import FanOutStream, TellFanOut
from pollers.source import StreamSource, StreamSpec
from runtime.core.mapping import EventSourceMapping

_STREAM_SOURCES: Final[dict[str, type[KinesisStream | DynamodbStream]]] = {"kinesis": KinesisStream, "dynamodb": DynamodbStream}


def open_stream(source: str, arn: str, clients: AwsClients, *, observe: Observe) -> StreamSource:
    """For reading beside whoever else reads: by polling, also where the ARN is that of a consumer.

    `source`: a key of `pollers.STREAMS`.
    """
    return _STREAM_SOURCES[source](clients, arn, observe=observe, clock=time.time)


def open_mapping_stream(source: str, arn: str, clients: AwsClients, *, observe: Observe, tell: TellFanOut) -> StreamSource:
    """For a worker: the records of a consumer are pushed to it, and to nobody else."""
    if is_consumer(arn):
        return FanOutStream(clients, arn, observe=observe, clock=time.time, tell=tell)
    return open_stream(source, arn, clients, observe=observe)


def spec_of(mapping: EventSourceMapping) -> StreamSpec:
    """Of a mapping of a stream. Raises ImportError where it asks for user records and their library is missing."""
    if mapping.stream is not None and mapping.stream.deaggregate:
        from pollers.kinesis_aggregates import AGGREGATES  # noqa: PLC0415  # protobuf comes with it, which is an extra

        return AGGREGATES
    return STREAMS[mapping.source]


def is_consumer(arn: str) -> bool:
    """Whether it is the ARN of a consumer of a Kinesis stream."""
    return "/consumer/" in arn


def not_told(shard: str, error: SourceError | None) -> None:
    """For `tell`, where nothing is read."""


def not_counted(operation: str, outcome: str) -> None:
    """For `observe`, where there are no metrics."""
