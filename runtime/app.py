"""Puts the worker together: the only place that makes clients, files and sockets."""

import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskStatus

from handlers.destinations import open_destination
from handlers.invoker import Invoker
from pollers import QUEUES
from pollers.aws.clients import AwsClients
from pollers.sqs import SqsQueue
from runtime.config import Config, DynamodbState, SqliteState
from runtime.core.cpu_load import CpuLoad
from runtime.core.mapping import EventSourceMapping, MappingState
from runtime.drain import Drain
from runtime.fan_out_telemetry import FanOutTelemetry
from runtime.http import WorkerPages, serve_pages
from runtime.leases import LeaseStore
from runtime.opening import is_consumer, not_told, open_mapping_stream, spec_of
from runtime.queue_mapping import DEFAULT_CONCURRENCY, QueueParts, run_queue_mapping
from runtime.scaling import ScalingProbe, run_scaling
from runtime.slots import Slots
from runtime.status import MappingStatus
from runtime.stop_signals import STOP_SIGNALS
from runtime.stores import open_store
from runtime.stores.dynamodb.client import dynamodb_client
from runtime.stores.dynamodb.store import DynamodbStore
from runtime.stream_mapping import StreamParts, run_stream_mapping
from runtime.stream_parts import scope_of, starts_of
from runtime.supervisor import Supervised, supervise
from runtime.telemetry import MappingTelemetry, Telemetry

_LOAD_WINDOW: Final = 3.0
"""Times the failover time: what a value of the processor's load is about. KCL's half minute, where that is ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What lives as long as the worker."""

    clients: AwsClients
    store: LeaseStore | None
    """None when no mapping is that of a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A worker that has started."""

    statuses: tuple[MappingStatus, ...]
    port: int
    """Of the metrics and health pages."""


class Worker:
    """All mappings of one configuration. `functions` has an invoker for each function that a mapping names."""

    def __init__(
        self,
        config: Config,
        functions: Mapping[str, Invoker],
        *,
        telemetry: Telemetry,
        drain: Drain,
        one_at_a_time: Collection[str] = (),
    ) -> None:
        """`one_at_a_time`: functions of which only one invocation may run at once, whatever the configuration allows."""
        self._config = config
        self._functions = functions
        self._telemetry = telemetry
        self._drain = drain
        limits = {name: spec.reserved_concurrency for name, spec in config.functions.items()} | dict.fromkeys(one_at_a_time, 1)
        self._limiters = {name: anyio.CapacityLimiter(limit) for name, limit in limits.items() if limit}
        self._jitter = random.Random().random  # noqa: S311  # spreads requests; nothing secret
        self._statuses = tuple(self._status(mapping) for mapping in config.mappings)
        self._sharing = Counter(status.mapping.function for status in self._statuses if _polls(status))

    async def run(self, *, task_status: TaskStatus[Running] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until the drain has ended. Raises HttpError if the port cannot be had, StateError if the state cannot be used."""
        worker = self._config.worker
        pages = WorkerPages(self._telemetry, self._statuses, self._drain, worker=worker.id)
        clients = self._aws_clients()
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(self._open_store(clients)) if self._streams else None
            port = await stack.enter_async_context(serve_pages(pages, worker.http_host, worker.http_port))
            opened = _Opened(clients=await stack.enter_async_context(clients), store=store)
            if isinstance(store, DynamodbStore):
                await store.check([scope_of(mapping) for mapping in self._streams if mapping.enabled])
            active = [self._supervised(status, opened) for status in self._statuses if _polls(status)]
            for status in self._statuses:
                if not _polls(status):
                    self._telemetry.of_mapping(status.mapping.name, status.mapping.source).state_changed(status.state)
            self._telemetry.worker_started(worker=worker.id, mappings=len(active), functions=len(self._functions), http=port)
            task_status.started(Running(statuses=self._statuses, port=port))
            probes = [self._probe(each) for each in active]
            async with anyio.create_task_group() as beside:
                beside.start_soon(run_scaling, probes, time.process_time, name="scaling")
                await supervise(active, self._drain, grace=worker.grace, jitter=self._jitter)
                beside.cancel_scope.cancel()
        report = self._drain.report
        self._telemetry.worker_stopped(finished=report.finished, released=report.released, abandoned=report.abandoned)

    @property
    def _streams(self) -> list[EventSourceMapping]:
        return [mapping for mapping in self._config.mappings if mapping.stream]

    @asynccontextmanager
    async def _open_store(self, clients: AwsClients) -> AsyncIterator[LeaseStore]:
        """`clients` may be opened later: what needs them is asked for later."""
        worker = self._config.worker
        path = worker.state.path.absolute() if isinstance(worker.state, SqliteState) else None
        created = path is not None and (not path.exists() or path.stat().st_size == 0)
        opening = open_store(
            worker.state,
            connect=partial(dynamodb_client, clients),
            worker=worker.id,
            capacity_used=self._telemetry.capacity_used,
            starts=starts_of(self._streams),
        )
        async with opening as store:
            table = f"dynamodb://{worker.state.table}" if isinstance(worker.state, DynamodbState) else "memory"
            self._telemetry.state_opened(path=str(path or table), created=created)
            yield store

    def _aws_clients(self) -> AwsClients:
        return AwsClients(lean=self._config.worker.client == "lean", tell_road=self._telemetry.client_chosen)

    def _status(self, mapping: EventSourceMapping) -> MappingStatus:
        none_at_all = self._config.functions[mapping.function].reserved_concurrency == 0
        state = MappingState.CREATING if mapping.enabled and not none_at_all else MappingState.DISABLED
        paused = f"function {mapping.function} has ReservedConcurrentExecutions 0" if none_at_all else None
        return MappingStatus(mapping=mapping, state=state, paused=paused)

    def _supervised(self, status: MappingStatus, opened: _Opened) -> Supervised:
        mapping = status.mapping
        telemetry = self._telemetry.of_mapping(mapping.name, mapping.source)
        telemetry.watch_ready(lambda: status.ready)
        if mapping.stream is None or opened.store is None:
            return Supervised(status=status, telemetry=telemetry, run=partial(self._run_queue, status, telemetry, opened.clients))
        run = partial(self._run_stream, status, telemetry, opened.clients, opened.store)
        return Supervised(status=status, telemetry=telemetry, run=run)

    def _probe(self, supervised: Supervised) -> ScalingProbe:
        status, telemetry = supervised.status, supervised.telemetry
        mapping = status.mapping
        probe = ScalingProbe(
            status,
            places=None if mapping.stream else self._slots(mapping).most,
            function_busy=partial(self._function_busy, mapping.function),
            oldest_age=lambda: telemetry.oldest_age,
            drain=self._drain,
            clock=time.time,
        )
        telemetry.watch_scaling(lag=probe.lag, desired=probe.desired)
        return probe

    def _function_busy(self, function: str) -> float:
        """The part of its reserved concurrency that is in use; 0 when it has none."""
        limiter = self._limiters.get(function)
        running = sum(status.delivering for status in self._statuses if status.mapping.function == function)
        return running / limiter.total_tokens if limiter else 0.0

    async def _run_stream(
        self, status: MappingStatus, telemetry: MappingTelemetry, clients: AwsClients, store: LeaseStore
    ) -> None:
        mapping, worker = status.mapping, self._config.worker
        arn = mapping.stream.destination if mapping.stream else None
        parts = StreamParts(
            mapping=mapping,
            function=self._config.functions[mapping.function],
            spec=spec_of(mapping),
            source=open_mapping_stream(
                mapping.source,
                mapping.source_arn,
                clients,
                observe=telemetry.request_made,
                tell=FanOutTelemetry(telemetry) if is_consumer(mapping.source_arn) else not_told,
            ),
            invoker=self._functions[mapping.function],
            destination=open_destination(arn, clients, region=mapping.region) if arn else None,
            store=store,
            fleet=store.fleet(scope_of(mapping)) if isinstance(store, DynamodbStore) else None,
            worker=worker.id,
            load=CpuLoad(_text_of, time.monotonic, window=worker.failover * _LOAD_WINDOW).percent,
            limiter=self._limiters.get(mapping.function),
            drain=self._drain,
            status=status,
            telemetry=telemetry,
            clock=time.time,
            jitter=self._jitter,
            failover=worker.failover,
            watchdog=worker.watchdog,
            block_on_destination_failure=worker.on_destination_failure == "block",
        )
        await run_stream_mapping(parts)

    async def _run_queue(self, status: MappingStatus, telemetry: MappingTelemetry, clients: AwsClients) -> None:
        mapping = status.mapping
        parts = QueueParts(
            mapping=mapping,
            function=self._config.functions[mapping.function],
            spec=QUEUES[mapping.source],
            source=SqsQueue(clients, mapping.source_arn, windowed=mapping.batch.window > 0, observe=telemetry.request_made),
            invoker=self._functions[mapping.function],
            slots=self._slots(mapping),
            drain=self._drain,
            status=status,
            telemetry=telemetry,
            clock=time.time,
            worked=time.thread_time,
            jitter=self._jitter,
        )
        await run_queue_mapping(parts)

    def _slots(self, mapping: EventSourceMapping) -> Slots:
        maximum = mapping.maximum_concurrency or DEFAULT_CONCURRENCY
        return Slots(maximum, self._limiters.get(mapping.function), sharing=self._sharing[mapping.function])


def _text_of(path: str) -> str | None:
    """Of a small file of the system; None where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return None


def _polls(status: MappingStatus) -> bool:
    return status.mapping.enabled and status.paused is None


async def watch_signals(
    drain: Drain, telemetry: Telemetry, grace: float, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """The first SIGTERM or SIGINT begins the drain, the second cuts it short. Ends when cancelled; started once it listens."""
    with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            if drain.begun:
                telemetry.drain_cut(reason=f"second signal: {signal.Signals(number).name}")
                drain.cut()
            else:
                telemetry.drain_began(signal=signal.Signals(number).name, grace=grace)
                drain.begin()
