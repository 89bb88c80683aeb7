"""What is measured: one table of scenarios, and the clients that run each of them.

A row of the results is a scenario and a client. Scenarios are compared inside one run only.
"""

from dataclasses import dataclass
from typing import Final, Literal

Source = Literal["sqs", "kinesis", "dynamodb"]
Client = Literal["plain", "sqs-consumer", "sdk", "lean"]
"""`plain`: the loop on aiobotocore. `sdk` and `lean`: the worker with that `worker.client`."""
HandlerKind = Literal["async def", "def"]

CLIENT_NAMES: Final[dict[Client, str]] = {
    "plain": "plain aiobotocore loop",
    "sqs-consumer": "sqs-consumer (Node)",
    "sdk": "worker, client: sdk",
    "lean": "worker, client: lean",
}
_SOURCE_NAMES: Final[dict[Source, str]] = {"sqs": "SQS", "kinesis": "Kinesis", "dynamodb": "DynamoDB Streams"}
_WITHOUT_NODE: Final[tuple[Client, ...]] = ("sdk", "plain", "lean")
_WORKERS: Final[tuple[Client, ...]] = ("sdk", "lean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    key: str
    source: Source
    batch: int
    """BatchSize. For streams also the records of a page."""
    size: int
    """Bytes of a body, of a record's data, or of about an item."""
    in_flight: int = 10
    """SQS: MaximumConcurrency of the worker; receives at once of the others."""
    shards: int = 0
    """Streams. Enough that five reads a second of each (KIN-12) are not the limit."""
    handler: HandlerKind = "async def"
    window: int = 0
    """MaximumBatchingWindowInSeconds."""
    clients: tuple[Client, ...] = _WITHOUT_NODE
    yardstick: str = ""
    """The scenario whose plain loop and sqs-consumer this one is compared with, where it has none itself."""

    def seconds(self, wanted: float) -> float:
        """How long it is measured: long enough for some batches whose window ran out."""
        return max(wanted, 2.0 * self.window)

    @property
    def is_queue(self) -> bool:
        return self.source == "sqs"

    @property
    def name(self) -> str:
        parts = [f"{_SOURCE_NAMES[self.source]} {self.batch:,} x {_bytes(self.size)}"]
        if self.window:
            parts.append(f"window {self.window} s")
        if self.is_queue:
            parts.append(f"{self.in_flight} in flight")
        if self.handler == "def":
            parts.append("def handler")
        return ", ".join(parts)


SCENARIOS: Final[tuple[Scenario, ...]] = (  # rows that are compared run soon after each other: the machine's speed drifts
    Scenario(key="sqs-10", source="sqs", batch=10, size=256, clients=("sqs-consumer", "sdk", "plain", "lean")),
    Scenario(key="sqs-10-def", source="sqs", batch=10, size=256, handler="def", clients=("lean", "plain", "sdk")),
    Scenario(key="sqs-10000-window", source="sqs", batch=10_000, size=256, window=2, clients=("lean", "sdk"), yardstick="sqs-10"),
    Scenario(
        key="sqs-10-at-50", source="sqs", batch=10, size=256, in_flight=50, clients=("sqs-consumer", "sdk", "plain", "lean")
    ),
    Scenario(key="sqs-100-window", source="sqs", batch=100, size=256, window=1, clients=_WORKERS, yardstick="sqs-10"),
    Scenario(key="kinesis-1000x200", source="kinesis", batch=1000, size=200, shards=140),
    Scenario(key="kinesis-100x200", source="kinesis", batch=100, size=200, shards=700),
    Scenario(key="kinesis-100x1000", source="kinesis", batch=100, size=1000, shards=600),
    Scenario(
        key="kinesis-100x1000-def", source="kinesis", batch=100, size=1000, shards=600, handler="def", clients=("lean",),
        yardstick="kinesis-100x1000",
    ),
    Scenario(key="dynamodb-100x1000", source="dynamodb", batch=100, size=1000, shards=600),
)  # fmt: skip
_BY_KEY: Final = {scenario.key: scenario for scenario in SCENARIOS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    scenario: Scenario
    client: Client

    @property
    def key(self) -> str:
        return f"{self.scenario.key}/{self.client}"

    @property
    def name(self) -> str:
        return f"{self.scenario.name}: {CLIENT_NAMES[self.client]}"


def scenario_of(key: str) -> Scenario:
    """Raises KeyError."""
    return _BY_KEY[key]


def rows_of(scenarios: tuple[Scenario, ...], *, without: frozenset[Client] = frozenset()) -> tuple[Row, ...]:
    return tuple(
        Row(scenario=scenario, client=client) for scenario in scenarios for client in scenario.clients if client not in without
    )


def yardstick(row: Row, client: Client) -> str | None:
    """The key of the row that shows what `client` costs for the work of `row`; None where nothing shows that."""
    scenario = row.scenario
    if client not in scenario.clients and scenario.yardstick:
        scenario = scenario_of(scenario.yardstick)
    return Row(scenario=scenario, client=client).key if client in scenario.clients else None


def _bytes(size: int) -> str:
    return f"{size // 1000:,} kB" if size % 1000 == 0 else f"{size:,} B"
