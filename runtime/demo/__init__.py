"""`esm demo`: everything at work without an AWS account.

An embedded endpoint, three queues with dead-letter queues, a producer for each that never stops, and the real worker on the
example handlers. At the end an account in which every record that was produced is found again.
"""

import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
from aiobotocore.session import get_session
from rich.console import Console
from rich.live import Live
from rich.table import Table

import handlers.examples
from runtime.app import Running, Worker, stop_signals
from runtime.check import load_functions
from runtime.config import load_config
from runtime.drain import Drain
from runtime.local.server import LocalEndpoint
from runtime.logs import configure_logs
from runtime.telemetry import Telemetry

if TYPE_CHECKING:
    from anyio.abc import TaskStatus
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

_ACCOUNT: Final = "000000000000"
_REGION: Final = "eu-west-1"
_VISIBILITY: Final = 2
_PRODUCE_EVERY: Final = 0.25
_SHOW_EVERY_LIVE: Final = 0.25
_SHOW_EVERY_PLAIN: Final = 2.0


@dataclass(slots=True, kw_only=True)
class _Line:
    """One queue of the demo: what is produced into it, and what became of that."""

    queue: str
    shows: str
    handler: str
    max_receives: int
    poison_every: int = 0
    """Every so many messages one is poison."""
    produced: int = 0
    serial: int = 0
    waiting: int = 0
    in_flight: int = 0
    dead: int = 0
    succeeded: int = 0
    failed: int = 0

    @property
    def balance(self) -> int:
        """Records that were produced and cannot be found: 0 unless something was lost, below 0 if something was doubled."""
        return self.produced - self.succeeded - self.dead - self.waiting - self.in_flight

    def body(self) -> str:
        self.serial += 1
        if self.poison_every and self.serial % self.poison_every == 0:
            return json.dumps({"id": self.serial, "poison": True})
        return json.dumps({"id": self.serial, "quantity": 1 + self.serial % 5})

    def shown(self) -> dict[str, Any]:
        return {
            "queue": self.queue,
            "produced": self.produced,
            "succeeded": self.succeeded,
            "dead_lettered": self.dead,
            "in_queue": self.waiting + self.in_flight,
            "failed_attempts": self.failed,
            "unaccounted": self.balance,
        }


def _lines() -> list[_Line]:
    return [
        _Line(queue="orders", shows="succeeds", handler="orders", max_receives=5),
        _Line(queue="shipments", shows="reports item failures", handler="item_failures", max_receives=5),
        _Line(queue="payments", shows="meets poison", handler="poison", max_receives=2, poison_every=20),
    ]


def _config_text(lines: list[_Line]) -> str:
    """The `esm.yaml` that the demo runs: the real thing, in a file."""
    folder = Path(handlers.examples.__file__).parent
    functions = "".join(
        f"  {line.queue}: {{Handler: {line.handler}.py:handler, CodeUri: {json.dumps(str(folder))}, Timeout: 2}}\n"
        for line in lines
    )
    mappings = "".join(
        f"  - FunctionName: {line.queue}\n"
        f"    EventSourceArn: arn:aws:sqs:{_REGION}:{_ACCOUNT}:{line.queue}\n"
        f"    FunctionResponseTypes: [ReportBatchItemFailures]\n"
        for line in lines
    )
    return f"functions:\n{functions}mappings:\n{mappings}worker: {{http: '127.0.0.1:0', state: 'memory://'}}\n"


@dataclass(slots=True)
class _Demo:
    """What runs together for the length of the demo."""

    endpoint: LocalEndpoint
    telemetry: Telemetry
    lines: list[_Line] = field(default_factory=_lines)

    async def make_queues(self, client: "SQSClient") -> None:
        for line in self.lines:
            await client.create_queue(QueueName=f"{line.queue}-dead")
            dead_arn = f"arn:aws:sqs:{_REGION}:{_ACCOUNT}:{line.queue}-dead"
            redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": line.max_receives})
            attributes: Any = {"VisibilityTimeout": str(_VISIBILITY), "RedrivePolicy": redrive}
            await client.create_queue(QueueName=line.queue, Attributes=attributes)

    async def produce(self, client: "SQSClient", line: _Line) -> None:
        """Send until cancelled; a request that was sent is counted, whenever it ends."""
        url = f"{self.endpoint.url}/{_ACCOUNT}/{line.queue}"
        while True:
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(number), "MessageBody": line.body()} for number in range(1 + line.serial % 8)
            ]
            with anyio.CancelScope(shield=True):
                answer = await client.send_message_batch(QueueUrl=url, Entries=entries)
                line.produced += len(answer.get("Successful", ()))
            await anyio.sleep(_PRODUCE_EVERY)

    def look(self) -> None:
        """Read the queues from the endpoint and the outcomes from the worker's own metrics: two independent accounts."""
        queues = {queue["name"]: queue for queue in self.endpoint.state.inspect()["queues"]}
        for line in self.lines:
            line.waiting = queues[line.queue]["visible"] + queues[line.queue]["delayed"]
            line.in_flight = queues[line.queue]["inFlight"]
            line.dead = queues[f"{line.queue}-dead"]["visible"]
            labels = {"mapping": f"{line.queue}-{line.queue}", "source": "sqs"}
            line.succeeded = self._metric("esm_deleted_events_total", labels)
            line.failed = self._metric("esm_failed_invoke_events_total", labels)

    def _metric(self, name: str, labels: dict[str, str]) -> int:
        return int(self.telemetry.registry.get_sample_value(name, labels) or 0)


async def run_demo(seconds: float | None, as_json: bool) -> bool:
    """Run for `seconds`, or until a signal; True when every record was found again at the end."""
    telemetry, drain = Telemetry(), Drain()
    configure_logs(log_format="auto", level="error")
    with stop_signals() as wait_for_signal:
        return await _run_demo(telemetry, drain, wait_for_signal, seconds, as_json=as_json)


async def _run_demo(
    telemetry: Telemetry, drain: Drain, wait_for_signal: Callable[[], Awaitable[None]], seconds: float | None, *, as_json: bool
) -> bool:
    async with LocalEndpoint.start() as endpoint, _client(endpoint.url) as client:
        demo = _Demo(endpoint, telemetry)
        await demo.make_queues(client)
        async with anyio.create_task_group() as producers:
            async with anyio.create_task_group() as worker:
                running = await worker.start(_work, demo.lines, telemetry, drain)
                for line in demo.lines:
                    producers.start_soon(demo.produce, client, line, name=f"produce {line.queue}")
                await _watch(demo, running, wait_for_signal, seconds, quiet=as_json)
                drain.begin()  # producers go on until the worker has stopped: open long polls end at once and give back
            producers.cancel_scope.cancel()
        demo.look()
        _print_account(demo.lines, as_json=as_json)
        return all(line.balance == 0 for line in demo.lines)


async def _work(
    lines: list[_Line], telemetry: Telemetry, drain: Drain, *, task_status: "TaskStatus[Running]" = anyio.TASK_STATUS_IGNORED
) -> None:
    """The worker, from a real `esm.yaml`."""
    with tempfile.TemporaryDirectory(prefix="esm-demo-") as folder:
        path = Path(folder) / "esm.yaml"
        path.write_text(_config_text(lines))
        config = load_config(path, {})
    worker = Worker(config, load_functions(config.handlers).functions, telemetry=telemetry, drain=drain)
    await worker.run(task_status=task_status)


def _client(url: str) -> Any:
    """Nothing of the user's own AWS settings may reach the demo, and nothing of the demo a real account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": _ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return get_session().create_client("sqs", region_name=_REGION)


async def _watch(
    demo: _Demo, running: Running, wait_for_signal: Callable[[], Awaitable[None]], seconds: float | None, *, quiet: bool
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
                await _show_live(demo, running)
            else:
                await _show_plain(demo, running)
        tasks.cancel_scope.cancel()


async def _show_live(demo: _Demo, running: Running) -> None:
    with Live(console=Console(), refresh_per_second=4) as live:
        while True:
            demo.look()
            live.update(_table(demo, running))
            await anyio.sleep(_SHOW_EVERY_LIVE)


async def _show_plain(demo: _Demo, running: Running) -> None:
    print(f"endpoint {demo.endpoint.url}, metrics http://127.0.0.1:{running.port}/metrics", flush=True)
    while True:
        demo.look()
        for line in demo.lines:
            print(
                f"{line.queue:<10} produced={line.produced} succeeded={line.succeeded} in_queue={line.waiting}"
                f" in_flight={line.in_flight} failed_attempts={line.failed} dead_lettered={line.dead}",
                flush=True,
            )
        await anyio.sleep(_SHOW_EVERY_PLAIN)


def _table(demo: _Demo, running: Running) -> Table:
    table = Table(
        title="esm demo: three SQS queues, one worker, no AWS account",
        caption=f"endpoint {demo.endpoint.url} · metrics http://127.0.0.1:{running.port}/metrics · Ctrl-C ends it",
    )
    table.add_column("queue")
    table.add_column("its handler")
    for name in ("produced", "succeeded", "waiting", "in flight", "failed attempts", "dead-lettered"):
        table.add_column(name, justify="right")
    for line in demo.lines:
        counts = (line.produced, line.succeeded, line.waiting, line.in_flight, line.failed, line.dead)
        table.add_row(line.queue, line.shows, *(f"{count:,}" for count in counts))
    return table


def _print_account(lines: list[_Line], *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps(
                {"queues": [line.shown() for line in lines], "balanced": not any(line.balance for line in lines)}, indent=1
            )
        )
        return
    print("\nproduced = succeeded + dead-lettered + still in the queue")
    for line in lines:
        verdict = "accounted for" if line.balance == 0 else f"{line.balance} UNACCOUNTED FOR"
        in_queue = line.waiting + line.in_flight
        print(f"{line.queue:<10} {line.produced} = {line.succeeded} + {line.dead} + {in_queue}: {verdict}")
