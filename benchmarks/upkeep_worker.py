"""A worker as far as the upkeep of leases goes: `python -m benchmarks.upkeep_worker`.

The mapping, the fleet, the lease keeper, the state, the client and the pages are the worker's own. Only its stream is not: its
shards are there, never end, and never bring a record, so that all that this process does is to keep their leases.
"""

import argparse
import time
from pathlib import Path
from typing import Any, Final, NoReturn

import anyio

from benchmarks.stub_streams import KINESIS_ARN, kinesis_shard
from handlers.invoker import FunctionSpec, MakeEvent
from pollers.aws.clients import AwsClients
from pollers.kinesis import SPEC
from pollers.record import TRIM_HORIZON, Position, Shard, ShardPage
from pollers.source import StreamFacts
from runtime.app import watch_signals
from runtime.collector import leave_to_time, run_collector
from runtime.commands import ExitCode
from runtime.commands.event_loop import run_async
from runtime.config.worker import DynamodbState
from runtime.core.mapping import BatchLimits, EventSourceMapping, MappingState, StreamSettings
from runtime.drain import Drain
from runtime.http import WorkerPages, serve_pages
from runtime.leases import Lease
from runtime.logs import configure_logs
from runtime.status import MappingStatus
from runtime.stores.dynamodb.client import dynamodb_client
from runtime.stores.dynamodb.opening import dynamodb_store
from runtime.stream_mapping import StreamParts, run_stream_mapping
from runtime.telemetry import Telemetry

_DIGITS: Final = 56
"""Of a sequence number of Kinesis."""


class _SilentStream:
    """A `StreamSource`, and of each shard its `ShardReader`."""

    def __init__(self, shards: int) -> None:
        self._shards = [Shard(id=kinesis_shard(number)) for number in range(shards)]

    async def describe(self) -> StreamFacts:
        return StreamFacts(retention=86_400.0)

    async def list_shards(self) -> list[Shard]:
        return self._shards

    async def open_shard(self, shard: str, at: Position) -> "_SilentStream":  # noqa: ARG002  of the Protocol
        return self

    async def read(self, *, limit: int) -> ShardPage:  # noqa: ARG002  of the Protocol
        await anyio.sleep_forever()
        raise AssertionError

    def close(self) -> None:
        """There is nothing."""


class _NeverInvoked:
    async def invoke(self, make_event: MakeEvent, *, request_id: str, function_arn: str) -> NoReturn:  # noqa: ARG002
        raise AssertionError


def _mapping() -> EventSourceMapping:
    return EventSourceMapping(
        name="bench",
        function="bench",
        function_arn="arn:aws:lambda:eu-west-1:123456789012:function:bench",
        source="kinesis",
        source_arn=KINESIS_ARN,
        batch=BatchLimits(records=100),
        stream=StreamSettings(start=TRIM_HORIZON),
    )


async def _run(arguments: argparse.Namespace) -> ExitCode:
    telemetry, drain = Telemetry(), Drain()
    mapping = _mapping()
    status = MappingStatus(mapping=mapping, state=MappingState.CREATING)
    pages = WorkerPages(telemetry, [status], drain, worker="bench")
    async with AwsClients(lean=arguments.client == "lean") as clients, serve_pages(pages, "127.0.0.1", arguments.port):

        async def connect(region: str) -> Any:
            return await dynamodb_client(clients, region)

        store = dynamodb_store(
            DynamodbState(table="esm-{mapping}", create=True),
            connect,
            worker="bench",
            capacity_used=telemetry.capacity_used,
            starts={},
        )
        scope = f"{mapping.name} {KINESIS_ARN}"
        parts = StreamParts(
            mapping=mapping,
            function=FunctionSpec(name="bench", handler="a.b", code_root=Path("/"), timeout=30),
            spec=SPEC,
            source=_SilentStream(arguments.leases),
            invoker=_NeverInvoked(),
            destination=None,
            store=store,
            fleet=store.fleet(scope),
            worker="bench",
            limiter=None,
            drain=drain,
            status=status,
            telemetry=telemetry.of_mapping(mapping.name, mapping.source),
            clock=time.time,
            jitter=lambda: 0.5,
            failover=arguments.failover,
        )
        leases = [
            Lease(scope=scope, shard=kinesis_shard(number), checkpoint=Position.after(f"49{number:0{_DIGITS - 2}d}"))
            for number in range(arguments.leases)
        ]
        await store.create(leases)
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch_signals, drain, telemetry, 25.0)
            tasks.start_soon(run_collector)
            await run_stream_mapping(parts)
            tasks.cancel_scope.cancel()
    return ExitCode.OK


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--client", choices=("lean", "sdk"), default="lean")
    parser.add_argument("--leases", type=int, default=1000)
    parser.add_argument("--failover", type=float, default=10.0, help="seconds")
    parser.add_argument("--port", type=int, default=0, help="of the metrics")
    arguments = parser.parse_args(argv)
    configure_logs(log_format="json", level="warning")
    leave_to_time()
    return run_async(_run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
