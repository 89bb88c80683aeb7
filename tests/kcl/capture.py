"""`python -m tests.kcl.capture`: writes `golden/` anew from real Java workers. Takes about five minutes; `golden/README.md` says what it holds.

For each form of request that a worker sends (`kinds.py`) the first one is kept, with its answer, in `golden/requests/<kind>.json`, and the
row as this request left it in `golden/<kind>.json`. Rows that no single request shows are read at the right moment.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import anyio

from tests.kcl.java_worker import QUICK, Fleet, JavaWorker, java_worker
from tests.kcl.kinds import kind_of
from tests.kcl.recording import Call, recording
from tests.servers.catalogue import KCL, SERVERS
from tests.servers.clients import dynamodb_client, kinesis_client
from tests.servers.controls import control
from tests.servers.install import install
from tests.servers.running import Server, running
from tests.servers.spec import MavenProject, Program
from tests.servers.streams import StreamHandle
from tests.servers.tables import table_on

GOLDEN: Final = Path(__file__).parent / "golden"
BEFORE_ONE_TABLE: Final = Program(
    name="kcl",
    version="3.3.0",
    install=MavenProject(folder="tests/kcl/java", properties=("kcl.version=3.3.0",)),
    needs=KCL.needs,
)
"""The newest version with three tables that can be had; only for this."""
ADAPTER: Final = Program(name="kcl-adapter", version="2.0.1", install=MavenProject(folder="tests/kcl/adapter"), needs=KCL.needs)
"""The adapter for DynamoDB Streams, which brings KCL 3.1.1; only for this."""
_CLEAN_UP: Final = {"KCL_CLEANUP_MS": "4000"}
_ROUND: Final = 2.5
"""Seconds, a little more than a round of assignment."""


@dataclass(kw_only=True)
class Capture:
    """Where a scenario runs, and what it found: name -> row, name -> request."""

    folder: Path
    kinesis: Server
    dynamodb: Server
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)

    def keep(self, calls: Iterable[Call], *, prefix: str = "", only: Callable[[str], bool] = lambda _kind: True) -> None:
        """The first call of each kind, unless there is one already."""
        for call in calls:
            kind = prefix + kind_of(call)
            if kind in self.requests or not only(kind_of(call)):
                continue
            self.requests[kind] = {
                "operation": call.operation,
                "request": call.request,
                "status": call.status,
                "answer": call.answer,
            }
            if call.after is not None:
                self.rows[kind] = call.after

    async def row(self, table: str, key: str, *, attribute: str = "leaseKey") -> dict[str, Any] | None:
        async with dynamodb_client(self.dynamodb) as client:
            found = await client.get_item(TableName=table, Key={attribute: {"S": key}}, ConsistentRead=True)
        return dict(found["Item"]) if "Item" in found else None

    async def keep_row(self, name: str, table: str, key: str, *, attribute: str = "leaseKey") -> None:
        row = await self.row(table, key, attribute=attribute)
        assert row is not None, f"{table} has no row {key}"
        self.rows[name] = row

    async def description(self, table: str) -> dict[str, Any]:
        """What describes the table in every installation; names, dates and sizes of this one are left out."""
        async with dynamodb_client(self.dynamodb) as client:
            described: dict[str, Any] = dict((await client.describe_table(TableName=table))["Table"])
            arn = described["TableArn"]
            tags = (await client.list_tags_of_resource(ResourceArn=arn)).get("Tags", [])
        kept = ("AttributeDefinitions", "KeySchema", "BillingModeSummary", "DeletionProtectionEnabled")
        indexes = [
            {name: index[name] for name in ("IndexName", "KeySchema", "Projection")}
            for index in described.get("GlobalSecondaryIndexes", [])
        ]
        return {
            "TableName": table,
            **{name: described[name] for name in kept if name in described},
            "GlobalSecondaryIndexes": indexes,
            "Tags": tags,
        }

    @asynccontextmanager
    async def stream(self, name: str, *, shards: int) -> AsyncIterator[StreamHandle]:
        async with kinesis_client(self.kinesis) as client:
            await client.create_stream(StreamName=name, ShardCount=shards)
            arn = (await client.describe_stream_summary(StreamName=name))["StreamDescriptionSummary"]["StreamARN"]
            stream = StreamHandle(server=self.kinesis, name=name, arn=arn, client=client)
            await stream.wait_active()
            yield stream

    @asynccontextmanager
    async def worker(
        self,
        name: str,
        application: str,
        stream: str,
        *,
        calls: list[Call],
        settings: Mapping[str, str] = MappingProxyType({}),
        program: Program = KCL,
    ) -> AsyncIterator[JavaWorker]:
        """Its calls are in `calls` when the block is left. `settings` go on top of `QUICK`."""
        folder = self.folder / f"{application}-{name}-{time.monotonic_ns()}"
        folder.mkdir()
        async with recording(self.dynamodb) as wire:
            fleet = Fleet(
                application=application,
                stream=stream,
                kinesis=self.kinesis.endpoint_url,
                dynamodb=wire.endpoint_url,
                settings={**QUICK, **settings},
                program=program,
            )
            try:
                async with java_worker(folder, name, fleet) as worker:
                    yield worker
            finally:
                calls += wire.calls


async def until(check: Callable[[], bool | Awaitable[bool]], what: str, *, seconds: float = 60.0) -> None:
    deadline = anyio.current_time() + seconds
    while True:
        found = check()
        if not isinstance(found, bool):
            found = await found
        if found:
            return
        assert anyio.current_time() < deadline, f"not within {seconds:g} s: {what}"
        await anyio.sleep(0.1)


async def one_stream(capture: Capture) -> None:
    """The life of a fleet: start, a second worker, hand-offs, a split, a merge, clean-up, a kill, a stop."""
    first: list[Call] = []
    second: list[Call] = []
    async with (
        capture.stream("golden-stream", shards=4) as stream,
        capture.worker("java-1", "golden", stream.name, calls=first, settings=_CLEAN_UP) as one,
    ):
        await stream.put_many(*map(str, range(40)))
        await one.wait("record", count=40)
        await anyio.sleep(2 * _ROUND)
        async with capture.worker("java-2", "golden", stream.name, calls=second, settings=_CLEAN_UP) as two:
            await _put_until(stream, lambda: len({line["shard"] for line in two.events("record")}) >= 2)
            await _reshard(capture, stream, one, two)
            await one.kill()
            await until(lambda: _owned_by(capture, "golden", "java-2"), "the other takes over")
            await two.wait("leader", leader=True)
            await stream.put_many(*map(str, range(20)))
            await anyio.sleep(_ROUND)
            await two.stop()
        await capture.keep_row("after-stop", "golden", (await stream.open_shards())[0])
        assert await capture.row("golden", "Leader") is None, "KCL deletes the lock when it stops"
    capture.keep(sorted(first + second, key=lambda call: call.at))
    capture.requests["tables-of-one-application"] = {"tables": [await capture.description("golden")]}


async def _reshard(capture: Capture, stream: StreamHandle, one: JavaWorker, two: JavaWorker) -> None:
    """Comes back when the leases of the three shards that ended are deleted."""
    shards = await stream.open_shards()
    await stream.split(shards[0])
    await stream.merge(shards[2], shards[3])
    await until(lambda: len(one.events("shardEnded") + two.events("shardEnded")) == 3, "three shards end")
    await _put_until(stream, lambda: _gone(capture, "golden", shards[0], shards[2], shards[3]))


async def _put_until(stream: StreamHandle, check: Callable[[], bool | Awaitable[bool]]) -> None:
    """Balancing goes by throughput, and clean-up by children that were read: both want records."""
    deadline = anyio.current_time() + 90
    while True:
        await stream.put_many(*map(str, range(60)))
        found = check()
        if not isinstance(found, bool):
            found = await found
        if found:
            return
        assert anyio.current_time() < deadline, "nothing came of it within 90 s"
        await anyio.sleep(0.5)


async def _gone(capture: Capture, table: str, *keys: str) -> bool:
    return all([await capture.row(table, key) is None for key in keys])


async def _owned_by(capture: Capture, table: str, owner: str) -> bool:
    async with dynamodb_client(capture.dynamodb) as client:
        items = (await client.scan(TableName=table))["Items"]
    return all(item.get("leaseOwner") == {"S": owner} for item in items if item["entityType"] == {"S": "LEASE"})


async def positions(capture: Capture) -> None:
    """Fresh leases of the other initial positions."""
    async with capture.stream("golden-positions", shards=1) as stream:
        for name, position in {"latest": "LATEST", "timestamp": str(int(time.time() - 60) * 1000)}.items():
            calls: list[Call] = []
            settings = {"KCL_INITIAL_POSITION": position}
            async with capture.worker("java-1", f"golden-{name}", stream.name, calls=calls, settings=settings) as worker:
                await worker.wait("initialized")
            capture.keep(calls, prefix=f"{name}-", only=lambda kind: kind == "create-lease")


async def processor_load(capture: Capture) -> None:
    """A worker that reports its processor's load, as Java workers do by themselves on EC2 and ECS, until the list is full."""
    calls: list[Call] = []
    async with (
        capture.stream("golden-cpu", shards=1) as stream,
        capture.worker("java-1", "golden-cpu", stream.name, calls=calls, settings={"KCL_CPU_METRIC": "on"}) as worker,
    ):
        await worker.wait("initialized")
        await anyio.sleep(30)
    reports = [call for call in calls if kind_of(call) == "report-metrics"]
    capture.keep(reports[-1:], prefix="cpu-")


async def several_streams(capture: Capture) -> None:
    """Multi-stream mode, with rows for the streams themselves."""
    calls: list[Call] = []
    async with capture.stream("golden-a", shards=1) as stream, capture.stream("golden-b", shards=1):
        settings = {"KCL_STREAM_INFO": "TRACK_ONLY"}
        async with capture.worker("java-1", "golden-streams", "golden-a,golden-b", calls=calls, settings=settings) as worker:
            await stream.put("x")
            await worker.wait("record")
            await stream.split((await stream.open_shards())[0])
            await worker.wait("shardEnded")
            await anyio.sleep(3 * _ROUND)
    wanted = ("create-lease", "create-child-lease", "checkpoint", "end-shard", "name-children", "renew", "write-stream-info")
    capture.keep(calls, prefix="streams-", only=lambda kind: kind in wanted)


async def three_tables(capture: Capture) -> None:
    """An application of a version before 3.5, which has tables for leadership and metrics, and 3.5 on the same tables afterwards."""
    names = ("golden-old", "golden-old-CoordinatorState", "golden-old-WorkerMetricStats")
    wanted = (
        "create-table",
        "create-lease",
        "assign",
        "checkpoint",
        "write-client-version",
        "acquire-lock",
        "report-metrics",
        "renew",
    )
    async with capture.stream("golden-old", shards=2) as stream:
        for prefix, program in {"old-": BEFORE_ONE_TABLE, "old-tables-": KCL}.items():
            calls: list[Call] = []
            async with capture.worker("java-1", "golden-old", stream.name, calls=calls, program=program) as worker:
                await worker.wait("initialized", count=2)
                await stream.put_many(*map(str, range(10)))
                await worker.wait("record", count=10)
                await anyio.sleep(3 * _ROUND)
                await worker.stop()
            more = () if program is BEFORE_ONE_TABLE else ("write-table-migration", "get-table-migration-consistently")
            capture.keep(calls, prefix=prefix, only=lambda kind, wanted=(*wanted, *more): kind in wanted)  # type: ignore[misc] # bound now
    capture.requests["tables-of-an-old-application"] = {"tables": [await capture.description(name) for name in names]}


async def table_stream(capture: Capture) -> None:
    """The adapter on a stream of the embedded endpoint, which alone can close a shard that has a child; single-stream and multi-stream."""
    wanted = ("create-lease", "create-child-lease", "checkpoint", "end-shard", "name-children", "renew")
    with running(SERVERS["local"], capture.folder / "local") as local:
        for prefix, comma in {"table-": "", "tables-": ","}.items():
            calls: list[Call] = []
            on_local = replace(capture, kinesis=local, rows=capture.rows, requests=capture.requests)
            async with (
                table_on(local) as table,
                on_local.worker(
                    "java-1", f"golden-{prefix}stream", table.stream_arn + comma, calls=calls, program=ADAPTER
                ) as worker,
            ):
                await table.put("a", "b")
                await worker.wait("record", count=2)
                await control(local, "dynamodb/rollover", table=table.name)
                await worker.wait("shardEnded")
                await table.put("c")
                await worker.wait("record", count=3)
                await anyio.sleep(2 * _ROUND)
            capture.keep(calls, prefix=prefix, only=lambda kind: kind in wanted)


SCENARIOS: Final = (one_stream, positions, processor_load, several_streams, three_tables, table_stream)


async def run(names: list[str]) -> None:
    chosen = [scenario for scenario in SCENARIOS if not names or scenario.__name__ in names]
    with ExitStack() as servers, tempfile.TemporaryDirectory(prefix="kcl-capture-") as folder:
        kinesis, dynamodb = (
            servers.enter_context(running(SERVERS[name], Path(folder) / name)) for name in ("kinesis-mock", "ministack")
        )
        for scenario in chosen:
            began = time.monotonic()
            capture = Capture(folder=Path(folder), kinesis=kinesis, dynamodb=dynamodb)
            await scenario(capture)
            write(capture)
            found = f"{len(capture.rows)} rows, {len(capture.requests)} requests"
            sys.stdout.write(f"{scenario.__name__}: {found}, {time.monotonic() - began:.0f} s\n")


def write(capture: Capture) -> None:
    (GOLDEN / "requests").mkdir(parents=True, exist_ok=True)
    for folder, found in ((GOLDEN, capture.rows), (GOLDEN / "requests", capture.requests)):
        for name, content in found.items():
            (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def main() -> int:
    for program in (KCL, BEFORE_ONE_TABLE, ADAPTER):
        install(program, say=print)
    asyncio.run(run(sys.argv[1:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
