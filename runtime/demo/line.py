"""What every source of the demo has: a line of the table, an account at the end."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiobotocore.session import get_session

from runtime.local.server import LocalEndpoint
from runtime.status import MappingStatus
from runtime.telemetry import Telemetry

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_dynamodbstreams import DynamoDBStreamsClient
    from types_aiobotocore_kinesis import KinesisClient
    from types_aiobotocore_sqs import SQSClient

ACCOUNT: Final = "000000000000"
REGION: Final = "eu-west-1"


@dataclass(slots=True, kw_only=True)
class Counts:
    """Records."""

    produced: int = 0
    succeeded: int = 0
    given_up: int = 0
    """In the dead-letter queue, or told to the on-failure destination."""
    waiting: int = 0
    """Still in the queue or the stream, those in flight with them."""
    failed: int = 0
    """Attempts."""

    @property
    def balance(self) -> int:
        """Records that were produced and cannot be found: 0 unless something was lost, below 0 if something was doubled."""
        return self.produced - self.succeeded - self.given_up - self.waiting


class Line(Protocol):
    """One source of the demo with its producer, its mapping and its example handler."""

    name: str
    source: str
    shows: str
    handler: str
    counts: Counts

    def mapping(self) -> str:
        """The keys of its mapping in `esm.yaml` beside FunctionName, indented by four."""
        ...

    async def make(self, clients: "DemoClients") -> None: ...

    async def produce(self, clients: "DemoClients") -> None:
        """Until cancelled; what was sent is counted, whenever it ends."""
        ...

    def look(self, read: "Reading") -> None:
        """How it stands now."""
        ...

    async def close_account(self, clients: "DemoClients", read: "Reading") -> None:
        """Count everything again from the source, once the worker has stopped."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoClients:
    """Of the producers: ordinary clients, not the worker's."""

    sqs: "SQSClient"
    kinesis: "KinesisClient"
    dynamodb: "DynamoDBClient"
    streams: "DynamoDBStreamsClient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the account is made from: the endpoint's state and the worker's own metrics and checkpoints."""

    endpoint: LocalEndpoint
    telemetry: Telemetry
    statuses: tuple[MappingStatus, ...]

    def metric(self, name: str, line: Line) -> int:
        labels = {"mapping": line.name, "source": line.source}
        return int(self.telemetry.registry.get_sample_value(name, labels) or 0)

    def checkpoints(self, line: Line) -> dict[str, str]:
        """By shard."""
        (status,) = (status for status in self.statuses if status.mapping.name == line.name)
        return {shard.shard: shard.checkpoint for shard in status.shards.values()}

    def shard_states(self, line: Line) -> list[str]:
        (status,) = (status for status in self.statuses if status.mapping.name == line.name)
        return [shard.state.value for shard in status.shards.values()]


def use_only(url: str) -> Callable[[str], Any]:
    """Makes clients by service. Nothing of the user's own AWS settings may reach the demo, nothing of the demo a real account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    session = get_session()
    return lambda service: session.create_client(service, region_name=REGION)
