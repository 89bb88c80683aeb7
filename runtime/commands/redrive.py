"""`esm redrive`: what failed, through a handler again."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from pollers.aws.clients import AwsClients
from pollers.errors import SourceError
from pollers.event_records import EventRecord
from pollers.sqs import SqsQueue
from runtime.commands import CommandError, ExitCode
from runtime.commands.configuration import read_config
from runtime.commands.event_loop import run_async
from runtime.config import Config
from runtime.config.arns import ArnError, parse_source_arn
from runtime.logs import load_structlog
from runtime.opening import not_counted, open_stream
from runtime.redrive.fetching import Fetching
from runtime.redrive.places import BucketPlace, FilePlace, Place, QueuePlace
from runtime.redrive.redriver import Entry, Fate, Redriver
from runtime.replay import show
from runtime.replay.functions import choose_mapping, find_function, load
from runtime.replay.report import Report
from runtime.replay.rules import Overrides, Rules, rules_of
from runtime.replay.run import Planner, handlers_print_to_stderr
from runtime.stop_signals import STOP_SIGNALS

_HOUR = 3600
_MINUTE = 60


@dataclass(slots=True)
class _Ended:
    """What is printed once handlers print no more."""

    lines: list[str] = field(default_factory=list)
    code: ExitCode = ExitCode.FAILED


def redrive(arguments: argparse.Namespace) -> ExitCode:
    load_structlog(console=False)
    ended = _Ended()
    with handlers_print_to_stderr():
        run_async(_redrive, arguments, ended)
    for line in ended.lines:
        print(line)
    return ended.code


async def _redrive(arguments: argparse.Namespace, ended: _Ended) -> ExitCode:
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(AwsClients())
        place = await _place(arguments.destination, clients)
        redriver = _redriver(arguments, place, clients)
        began = time.perf_counter()
        try:
            await _work(redriver, arguments.limit)
        except* SourceError as errors:
            raise CommandError("\n".join(sorted(set(map(str, errors.exceptions))))) from errors
        finally:
            redriver.report.problems += await place.close()
        _close(arguments, redriver, time.perf_counter() - began, ended)
    return ended.code


async def _place(text: str, clients: AwsClients) -> Place:
    """Raises CommandError."""
    if text.startswith("arn:") and ":s3:::" in text:
        text = f"s3://{text.split(':::', 1)[1]}"
    if text.startswith("s3://"):
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        return BucketPlace(client=await clients.client("s3", "", retries=True), bucket=bucket, prefix=prefix)
    if not text.startswith("arn:"):
        return FilePlace(path=Path(text))
    try:
        service = parse_source_arn(text).service
    except ArnError as error:
        raise CommandError(str(error)) from error
    if service != "sqs":
        msg = (
            f"{text} keeps no messages to redrive: give a queue, s3://bucket/prefix or a file; to run a stream again: esm replay"
        )
        raise CommandError(msg)
    return QueuePlace(queue=SqsQueue(clients, text, windowed=True, observe=not_counted))


def _redriver(arguments: argparse.Namespace, place: Place, clients: AwsClients) -> Redriver:
    config = read_config(arguments.config)
    spec = find_function(arguments.function, config, folder=Path.cwd(), timeout=arguments.timeout)
    loaded, single = load([] if arguments.dry_run else [spec], config)
    known = config is not None and arguments.function in config.functions
    return Redriver(
        place=place,
        fetching=Fetching(open_stream=lambda source, arn: open_stream(source, arn, clients, observe=not_counted)),
        rules_for=_RulesFor(arguments=arguments, config=config, function=spec.name),
        invoker=loaded[0] if loaded else Planner(),
        report=Report(),
        function=spec.name if known and not arguments.any_function else None,
        clock=time.time,
        dry_run=arguments.dry_run,
        keep=arguments.keep,
        whole=arguments.whole_range,
        concurrency=1 if single else arguments.concurrency or spec.reserved_concurrency or None,
    )


@dataclass(slots=True, kw_only=True)
class _RulesFor:
    """A `RulesFor`."""

    arguments: argparse.Namespace
    config: Config | None
    function: str

    def __call__(self, source: str, source_arn: str) -> tuple[Rules, Callable[[EventRecord], bool]]:
        given = self.arguments
        chosen = choose_mapping(self.config, function=self.function, source=source, source_arn=source_arn, name=given.mapping)
        overrides = Overrides(
            batch_size=given.batch_size,
            window=given.window,
            attempts=given.retries,
            bisect=given.bisect,
            report_item_failures=given.item_failures,
            lanes=given.parallel,
        )
        return rules_of(chosen.mapping, overrides), lambda _: True


async def _work(redriver: Redriver, limit: int) -> None:
    """Messages are kept ours beside it; the first signal stops it, the second cuts it short."""
    async with anyio.create_task_group() as tasks:

        async def watch_signals() -> None:
            with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:
                async for _ in signals:
                    if redriver.report.stopped:
                        tasks.cancel_scope.cancel()
                    redriver.stop()

        tasks.start_soon(watch_signals, name="signals")
        tasks.start_soon(redriver.place.keep, name="keep messages")
        if sys.stderr.isatty():
            print("reading messages, then running their records (Ctrl-C stops after the batch in hand)", file=sys.stderr)
        await redriver.run(limit)
        tasks.cancel_scope.cancel()


def _close(arguments: argparse.Namespace, redriver: Redriver, took: float, ended: _Ended) -> None:
    entries, report = redriver.entries, redriver.report
    counts = {fate: sum(entry.fate is fate for entry in entries) for fate in Fate}
    right = not (counts[Fate.FAILED] or counts[Fate.KEPT] or report.problems or report.stopped)
    ended.code = ExitCode.OK if right else ExitCode.FAILED
    if arguments.json:
        document = {
            "right": right,
            "messages": {fate.value: count for fate, count in counts.items()},
            "entries": [_as_json(entry) for entry in entries],
            "replay": show.as_json(report, took=took, command=None),
        }
        ended.lines = [json.dumps(document, indent=1)]
        return
    told = ", ".join(f"{count} {fate}" for fate, count in counts.items() if count) or "none there"
    deleted = " (nothing was deleted: --keep)" if arguments.keep else ""
    ended.lines = [f"{len(entries)} message{'s' * (len(entries) != 1)}: {told}{deleted}"]
    for entry in entries:
        if entry.fate is not Fate.DONE:
            ended.lines.append(_line(entry))
    if report.read:
        ended.lines += ["", *show.summary(report, took=took, command=None)]
    elif report.problems:
        ended.lines += ["", *report.problems]


def _line(entry: Entry) -> str:
    what = f"{entry.records} record{'s' * (entry.records != 1)}"
    if entry.pointed is not None:
        what += f" of {entry.pointed.shard} from {entry.pointed.first}, {entry.pointed.condition}"
        what += f", {_time_left(entry.left)}" if entry.left is not None else ""
    return f"  {entry.fate}  {entry.message.name}: {what if entry.records else ''}{f': {entry.why}' if entry.why else ''}"


def _time_left(seconds: float) -> str:
    if seconds <= 0:
        return f"left the stream about {_duration(-seconds)} ago"
    return f"kept for about {_duration(seconds)} more"


def _duration(seconds: float) -> str:
    return f"{seconds / _HOUR:.1f} hours" if seconds >= _HOUR else f"{seconds / _MINUTE:.0f} minutes"


def _as_json(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"message": entry.message.name, "fate": entry.fate.value, "why": entry.why}
    found |= {"records": entry.records, "secondsLeft": entry.left}
    if entry.pointed is not None:
        found |= {
            "streamArn": entry.pointed.stream_arn,
            "shard": entry.pointed.shard,
            "first": entry.pointed.first,
            "last": entry.pointed.last,
            "condition": entry.pointed.condition,
        }
    return found
