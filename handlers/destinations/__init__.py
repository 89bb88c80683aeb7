"""Where the records of a stream go that were given up: on-failure destinations (`spec/destinations.md`).

`failure` says what is sent and who takes it; `aws` has the services that do; `target` is the way to one, with its tries and time
limits; `errors` has the table of what goes wrong on it.
"""

from handlers.destinations.aws import (
    EventBridgeDestination,
    LambdaDestination,
    S3Destination,
    SnsDestination,
    SqsDestination,
)
from handlers.destinations.failure import DestinationError, FailureDestination, FailureRecord, ProbeFinding
from handlers.destinations.target import Clients

__all__ = [
    "Clients",
    "DestinationError",
    "EventBridgeDestination",
    "FailureDestination",
    "FailureRecord",
    "LambdaDestination",
    "ProbeFinding",
    "S3Destination",
    "SnsDestination",
    "SqsDestination",
    "open_destination",
]


def open_destination(arn: str, clients: Clients, *, region: str) -> FailureDestination:
    """The destination that an ARN names; it asks AWS nothing yet. It may be in another region: its ARN decides.

    `region` is the mapping's, for buckets, whose ARNs have none. Raises ValueError for the ARN of anything else.
    """
    match arn.split(":"):
        case ["arn", _, "sqs", _, _, _]:
            return SqsDestination(clients, arn)
        case ["arn", _, "sns", _, _, _]:
            return SnsDestination(clients, arn)
        case ["arn", _, "s3", _, _, _]:
            return S3Destination(clients, arn, region=region)
        case ["arn", _, "lambda", _, _, "function", _] | ["arn", _, "lambda", _, _, "function", _, _]:
            return LambdaDestination(clients, arn)
        case ["arn", _, "events", _, _, bus] if bus.startswith("event-bus/"):
            return EventBridgeDestination(clients, arn)
        case _:
            text = "give the ARN of an SQS queue, SNS topic, S3 bucket, Lambda function or EventBridge bus"
            raise ValueError(f"{arn!r} cannot be an on-failure destination: {text}")
