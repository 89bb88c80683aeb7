"""`esm demo`: everything at work without an AWS account.

An embedded endpoint, queues and streams with a producer each that never stops, and the real worker on the example handlers.
Shards split, merge and roll over on the way, and some records are poison. At the end every record is accounted for.
"""

import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from rich.console import Console
from rich.live import Live

import handlers.examples
from runtime.app import Running, Worker
from runtime.check import load_functions
from runtime.config import load_config
from runtime.demo.line import DemoClients, Line, Reading, use_only
from runtime.demo.queues import queue_lines
from runtime.demo.show import account, account_as_json, live_table, plain_lines
from runtime.demo.streams import KinesisLine, TableLine
from runtime.drain import Drain
from runtime.local.server import LocalEndpoint
from runtime.logs import configure_logs
from runtime.stop_signals import stop_signals
from runtime.telemetry import Telemetry

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

_SHOW_EVERY_LIVE: Final = 0.25
_SHOW_EVERY_PLAIN: Final = 2.0


def demo_lines(source: str, endpoint: LocalEndpoint) -> list[Line]:
    """`source`: sqs, kinesis, dynamodb or all."""
    lines: list[Line] = [*queue_lines(), KinesisLine(), TableLine(endpoint=endpoint)]
    return [line for line in lines if source in ("all", line.source)]


def config_text(lines: Sequence[Line]) -> str:
    """The `esm.yaml` that the demo runs: the real thing, in a file."""
    folder = json.dumps(str(Path(handlers.examples.__file__).parent))
    functions = "".join(
        f"  {line.name}: {{Handler: {line.handler}.py:handler, CodeUri: {folder}, Timeout: 2}}\n" for line in lines
    )
    mappings = "".join(f"  - name: {line.name}\n    FunctionName: {line.name}\n{line.mapping()}" for line in lines)
    return f"functions:\n{functions}mappings:\n{mappings}worker: {{http: '127.0.0.1:0', state: 'memory://'}}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What lives for the length of the demo."""

    endpoint: LocalEndpoint
    clients: DemoClients
    lines: Sequence[Line]
    telemetry: Telemetry
    drain: Drain


async def run_demo(source: str, seconds: float | None, as_json: bool) -> bool:
    """Run for `seconds`, or until a signal; True when every record was found again at the end."""
    configure_logs(log_format="auto", level="critical")  # poison is part of the show
    with stop_signals() as wait_for_signal:
        async with AsyncExitStack() as stack:
            endpoint = await stack.enter_async_context(LocalEndpoint.start())
            client = use_only(endpoint.url)
            clients = DemoClients(
                sqs=await stack.enter_async_context(client("sqs")),
                kinesis=await stack.enter_async_context(client("kinesis")),
                dynamodb=await stack.enter_async_context(client("dynamodb")),
                streams=await stack.enter_async_context(client("dynamodbstreams")),
            )
            lines = demo_lines(source, endpoint)
            stage = _Stage(endpoint=endpoint, clients=clients, lines=lines, telemetry=Telemetry(), drain=Drain())
            return await _run(stage, wait_for_signal, seconds, as_json=as_json)


async def _run(stage: _Stage, wait_for_signal: Callable[[], Awaitable[None]], seconds: float | None, *, as_json: bool) -> bool:
    for line in stage.lines:
        await line.make(stage.clients)
    async with anyio.create_task_group() as producers:
        async with anyio.create_task_group() as worker:
            running = await worker.start(_work, stage)
            read = Reading(endpoint=stage.endpoint, telemetry=stage.telemetry, statuses=running.statuses)
            for line in stage.lines:
                producers.start_soon(line.produce, stage.clients, name=f"produce {line.name}")
            await _watch(stage.lines, read, running.port, wait_for_signal, seconds, quiet=as_json)
            stage.drain.begin()  # producers go on until the worker has stopped: open long polls end at once and give back
        producers.cancel_scope.cancel()
    for line in stage.lines:
        await line.close_account(stage.clients, read)
    print(account_as_json(stage.lines) if as_json else "\n".join(account(stage.lines)))
    return all(line.counts.balance == 0 for line in stage.lines)


async def _work(stage: _Stage, *, task_status: "TaskStatus[Running]" = anyio.TASK_STATUS_IGNORED) -> None:
    """The worker, from a real `esm.yaml`."""
    with tempfile.TemporaryDirectory(prefix="esm-demo-") as folder:
        path = Path(folder) / "esm.yaml"
        path.write_text(config_text(stage.lines))
        config = load_config(path, {})
    functions = load_functions(config.handlers).functions
    await Worker(config, functions, telemetry=stage.telemetry, drain=stage.drain).run(task_status=task_status)


async def _watch(
    lines: Sequence[Line],
    read: Reading,
    port: int,
    wait_for_signal: Callable[[], Awaitable[None]],
    seconds: float | None,
    *,
    quiet: bool,
) -> None:
    """Show what happens until the time is over or a signal comes."""
    async with anyio.create_task_group() as tasks:

        async def end_on_signal() -> None:
            await wait_for_signal()
            tasks.cancel_scope.cancel()

        tasks.start_soon(end_on_signal, name="signals")
        with anyio.move_on_after(seconds if seconds is not None else float("inf")):
            if quiet:
                await anyio.sleep_forever()
            elif sys.stdout.isatty():
                await _show_live(lines, read, port)
            else:
                await _show_plain(lines, read, port)
        tasks.cancel_scope.cancel()


async def _show_live(lines: Sequence[Line], read: Reading, port: int) -> None:
    console = Console()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            for line in lines:
                line.look(read)
            live.update(live_table(lines, read, port, width=console.width))
            await anyio.sleep(_SHOW_EVERY_LIVE)


async def _show_plain(lines: Sequence[Line], read: Reading, port: int) -> None:
    print(f"endpoint {read.endpoint.url}, metrics http://127.0.0.1:{port}/metrics", flush=True)
    while True:
        for line in lines:
            line.look(read)
        print("\n".join(plain_lines(lines, read)), flush=True)
        await anyio.sleep(_SHOW_EVERY_PLAIN)
