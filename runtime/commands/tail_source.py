"""`esm tail ARN`: looks at a source itself, without a worker."""

import argparse
import os
import time
from datetime import UTC, datetime
from math import inf, isfinite
from pathlib import Path
from typing import Final

import anyio

from pollers import QUEUES, SPECS, STREAMS
from pollers.aws.clients import AwsClients
from pollers.dynamodb_streams import DynamodbStream
from pollers.errors import SourceError
from pollers.kinesis import KinesisStream
from pollers.record import LATEST, TRIM_HORIZON, Position
from pollers.sqs import SqsQueue
from runtime.commands import CommandError, ExitCode
from runtime.commands.tail_mapping import DEFAULT_CONFIG
from runtime.config import Config, ConfigError, load_config
from runtime.config.arns import ArnError, SourceArn, parse_source_arn
from runtime.tail.queue_view import QueueView
from runtime.tail.screen import Screen
from runtime.tail.session import run_until_stopped
from runtime.tail.source_text import SourceText
from runtime.tail.stream_view import StreamView
from runtime.tail.told import Page, Remark, Tell
from runtime.tail.verdicts import judge

_NO_PEEK: Final = (
    "a queue can only be looked at by receiving: each look raises the receive count of what it brings (with a redrive policy,"
    " enough of them send it to the dead-letter queue) and hides it from the worker for a moment. Say --peek if that is all"
    " right. `esm tail NAME`, with the name of a mapping, watches a running worker instead and touches nothing"
)


async def tail_source(arguments: argparse.Namespace, screen: Screen) -> ExitCode:
    arn = _arn(arguments.target)
    spec = next(spec for spec in SPECS.values() if spec.service == arn.service)
    start = _start(arguments.start or LATEST.kind.value)
    _check_options(arguments, arn, queue=spec.source in QUEUES)
    config = _config(arguments, screen)
    mappings = [mapping for mapping in config.mappings if mapping.source_arn == arn.arn] if config else []
    text = SourceText(spec=spec, mappings=mappings, judge=judge, verbose=arguments.verbose)
    screen.note(f"{arn.arn}{_purpose([mapping.name for mapping in mappings])}", style="bold")
    teller = _Teller(text, screen, most=arguments.batches)
    async with AwsClients(lean=config is None or config.worker.client == "lean") as clients:
        view = _view(arn, clients, start, teller.tell)

        async def watch() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(teller.end_when_enough, tasks.cancel_scope, name="until there were enough")
                try:
                    await view.run()
                except SourceError as error:
                    raise CommandError(f"{arn.arn}: {error}") from error

        await run_until_stopped(watch, seconds=arguments.seconds)
    screen.note(text.summary(), style="bold")
    return ExitCode.OK


class _Teller:
    """Shows what a view tells, until there were enough pages."""

    def __init__(self, text: SourceText, screen: Screen, *, most: int | None) -> None:
        self._text = text
        self._screen = screen
        self._most = inf if most is None else most
        self._enough = anyio.Event()

    def tell(self, event: Page | Remark) -> None:
        if isinstance(event, Remark):
            self._screen.remark(self._text.remark(event))
        elif not self._enough.is_set():
            lines, documents = self._text.page(event)
            self._screen.lines(lines)
            for document in documents:
                self._screen.json(document)
            if self._text.pages >= self._most:
                self._enough.set()

    async def end_when_enough(self, scope: anyio.CancelScope) -> None:
        await self._enough.wait()
        scope.cancel()


def _check_options(arguments: argparse.Namespace, arn: SourceArn, *, queue: bool) -> None:
    if queue and not arguments.peek:
        raise CommandError(f"queue {arn.name}: {_NO_PEEK}")
    if queue and arguments.start:
        raise CommandError(f"--from {arguments.start}: a queue has no positions")
    if not queue and arguments.peek:
        raise CommandError("--peek: reading a stream changes nothing in it, so there is nothing to allow")


def _view(arn: SourceArn, clients: AwsClients, start: Position, tell: Tell) -> StreamView | QueueView:
    if arn.service == "sqs":
        return QueueView(SqsQueue(clients, arn.arn, windowed=False, observe=_not_counted), tell=tell)
    stream_type = KinesisStream if arn.service == "kinesis" else DynamodbStream
    stream = stream_type(clients, arn.arn, observe=_not_counted, clock=time.time)
    spec = next(spec for spec in STREAMS.values() if spec.service == arn.service)
    return StreamView(stream, spec, start=start, tell=tell)


def _arn(text: str) -> SourceArn:
    try:
        return parse_source_arn(text)
    except ArnError as error:
        raise CommandError(str(error)) from error


def _start(text: str) -> Position:
    """LATEST, TRIM_HORIZON, or a time: ISO 8601 (UTC unless it says otherwise) or seconds since the epoch."""
    for position in (LATEST, TRIM_HORIZON):
        if text.upper() == position.kind.value:
            return position
    try:
        at = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            at = inf
        else:
            at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not isfinite(at) or at < 0:
        raise CommandError(
            f"--from {text}: it must be LATEST, TRIM_HORIZON, or a time such as 2026-01-31T12:00:00 (UTC, unless it has a zone)"
            " or 1769860800"
        )
    if at > time.time():
        raise CommandError(f"--from {text}: that is in the future")
    return Position.at(at)


def _config(arguments: argparse.Namespace, screen: Screen) -> Config | None:
    """The file, for the filters of its mappings; it need not be there unless it was named."""
    path = Path(arguments.config or DEFAULT_CONFIG)
    if arguments.config is None and not path.exists():
        return None
    try:
        return load_config(path, os.environ)
    except ConfigError as error:
        problems = [str(problem) for problem in error.problems]
        if arguments.config is not None:
            raise CommandError("\n".join(problems)) from error
        screen.note(f"{path} is not used, for it has {len(problems)} problems: {problems[0]}", style="yellow")
        return None


def _purpose(mappings: list[str]) -> str:
    return f", read by {' and '.join(mappings)}" if mappings else ""


def _not_counted(operation: str, outcome: str) -> None:
    """A look has no metrics."""
