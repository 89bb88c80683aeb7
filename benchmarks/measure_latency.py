"""How long a record takes from the put to the handler when nothing else happens: the worker on the embedded endpoint.

Each source has one mapping. A record is put at a random moment, into a random shard where there are several, and holds the time
just before; the handler tells its age.
"""

import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import botocore.session

from benchmarks.bench import Bench
from benchmarks.measure_streams import StreamSource, new_state, stream_mapping
from benchmarks.processes import Child, RunFailed, sleep_beside, started
from benchmarks.stream_handlers import AGES
from benchmarks.stub_queues import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_INTERVALS: Final[dict[StreamSource, float]] = {"kinesis": 1.0, "dynamodb": 0.25}
"""Seconds (KIN-10, DDB-10): what the median should be under."""
_SHARDS: Final = 8
"""Of the Kinesis stream: puts may follow each other while the shard of each has been idle for some seconds."""
_LONGEST_PAUSE: Final = 1.0
"""Seconds between two puts, at most."""
_START_SECONDS: Final = 30.0
_ARRIVE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    source: StreamSource
    seconds: list[float]
    """From just before the put to the handler, of each record."""


class _Sources:
    """The stream and the table on the embedded endpoint."""

    def __init__(self, url: str) -> None:
        keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "not-a-secret"}
        session = botocore.session.get_session()
        self._kinesis: Any = session.create_client("kinesis", region_name=REGION, endpoint_url=url, **keys)
        self._dynamodb: Any = session.create_client("dynamodb", region_name=REGION, endpoint_url=url, **keys)
        self._hash_keys: list[str] = []

    def make(self) -> dict[StreamSource, str]:
        """Their ARNs."""
        self._kinesis.create_stream(StreamName="idle", ShardCount=_SHARDS)
        self._kinesis.get_waiter("stream_exists").wait(StreamName="idle", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        shards = self._kinesis.list_shards(StreamName="idle")["Shards"]
        self._hash_keys = [shard["HashKeyRange"]["StartingHashKey"] for shard in shards]
        table = self._dynamodb.create_table(
            TableName="idle",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        self._dynamodb.get_waiter("table_exists").wait(TableName="idle", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        summary = self._kinesis.describe_stream_summary(StreamName="idle")["StreamDescriptionSummary"]
        return {"kinesis": summary["StreamARN"], "dynamodb": table["TableDescription"]["LatestStreamArn"]}

    def put(self, source: StreamSource, rng: random.Random) -> None:
        if source == "kinesis":
            key = rng.choice(self._hash_keys)
            data = repr(time.time()).encode()
            self._kinesis.put_record(StreamName="idle", Data=data, PartitionKey="key", ExplicitHashKey=key)
        else:
            item = {"id": {"S": f"{rng.random()}"}, "at": {"S": repr(time.time())}}
            self._dynamodb.put_item(TableName="idle", Item=item)


def measure_latency(bench: Bench, *, samples: int, seed: int) -> list[Latency]:
    """`samples` records of each source. Raises RunFailed."""
    rng, ages = random.Random(seed), bench.folder / "ages"  # noqa: S311  # nothing secret
    with _started_endpoint(bench) as url:
        sources = _Sources(url)
        arns = sources.make()
        mappings = [stream_mapping(source, arn, batch=100) for source, arn in arns.items()]
        ages.unlink(missing_ok=True)
        ages.touch()
        environment = {AGES: str(ages), "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": ACCOUNT}
        worker = bench.start_worker(
            "lean", "stream_handlers.tell_age", mappings, state=new_state(bench.folder), environment=environment
        )
        with worker as client:
            for source in arns:  # the first record only shows that the mapping works
                sources.put(source, rng)
            _wait(lambda: len(_told(ages)) >= len(arns), client, _START_SECONDS, "was given its first records")
            for _ in range(samples):
                for source in arns:
                    sleep_beside(client, rng.uniform(0, _LONGEST_PAUSE))
                    sources.put(source, rng)
            expected = len(arns) * (samples + 1)
            _wait(lambda: len(_told(ages)) >= expected, client, _ARRIVE_SECONDS, f"was given all of {expected} records")
            client.stop()
        told = _told(ages)[len(arns) :]
    return [Latency(source=source, seconds=[age for name, age in told if name == source]) for source in arns]


@contextmanager
def _started_endpoint(bench: Bench) -> Iterator[str]:
    """Its URL. It runs on the core of the stub, which has nothing to do meanwhile."""
    command = [sys.executable, "-u", "-m", "runtime", "endpoint", "--port", "0"]
    with started("endpoint", command, folder=bench.folder, core=bench.stub_core) as child:
        mark = "AWS_ENDPOINT_URL="
        _wait(lambda: mark in child.output.read_text() and "\n" in child.output.read_text(), child, _START_SECONDS, "started")
        yield child.output.read_text().partition(mark)[2].split()[0]


def _told(file: Path) -> list[tuple[str, float]]:
    lines = file.read_text().splitlines()
    return [(source, float(age)) for source, age in (line.split() for line in lines)]


def _wait(condition: "Callable[[], bool]", child: Child, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        child.check_alive()
        if time.monotonic() > deadline:
            raise RunFailed(f"within {seconds:.0f} s it was not so that {child.name} {what}\n{child.tail()}")
        time.sleep(0.05)
