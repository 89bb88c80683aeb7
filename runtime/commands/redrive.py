"""`esm redrive`: what failed, through a handler again."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from pollers.aws.clients import AwsClients
from pollers.errors import SourceError
from pollers.event_records import EventRecord
from pollers.sqs import SqsQueue
from runtime.commands import CommandError, ExitCode
from runtime.commands.configuration import read_config
from runtime.commands.options import same_rules
from runtime.commands.output import Ended, run_beside_handlers, shows_bar
from runtime.config import Config
from runtime.config.arns import ArnError, parse_source_arn
from runtime.logs import load_structlog
from runtime.opening import not_counted, open_stream
from runtime.redrive.bucket_place import BucketPlace
from runtime.redrive.fetching import Fetching
from runtime.redrive.file_place import FilePlace
from runtime.redrive.places import Place
from runtime.redrive.queue_place import QueuePlace
from runtime.redrive.redriver import Redriver
from runtime.redrive.show import Summary
from runtime.replay import show
from runtime.replay.feeding import told
from runtime.replay.filtering import passes
from runtime.replay.functions import choose_mapping, find_function, load
from runtime.replay.order import Blocked
from runtime.replay.progress import Showing, load_bar, progress
from runtime.replay.report import Failure, Report
from runtime.replay.rules import Overrides, Rules, rules_of
from runtime.replay.run import Planner, stopping


def redrive(arguments: argparse.Namespace) -> ExitCode:
    load_structlog(console=False)
    if shows_bar(arguments):
        load_bar()
    return run_beside_handlers(partial(_redrive, arguments))


async def _redrive(arguments: argparse.Namespace) -> Ended:
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(AwsClients())
        redriver = _redriver(arguments, await _place(arguments, clients), clients)
        _warn(arguments, redriver.place)
        began = time.perf_counter()
        try:
            await _work(arguments, redriver)
        except* SourceError as errors:
            raise CommandError("\n".join(told(errors))) from errors
        finally:
            redriver.report.problems += await redriver.place.close()
        summary = Summary(redriver, took=time.perf_counter() - began, command=_command_for(arguments))
        lines = [json.dumps(summary.document, indent=1)] if arguments.json else summary.lines
        return Ended(lines=lines, code=ExitCode.OK if summary.right else ExitCode.FAILED)


async def _place(arguments: argparse.Namespace, clients: AwsClients) -> Place:
    """Raises CommandError."""
    text: str = arguments.destination
    if text.startswith("arn:") and ":s3:::" in text:
        text = f"s3://{text.split(':::', 1)[1]}"
    if text.startswith("s3://"):
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        return BucketPlace(await clients.client("s3", "", retries=True), bucket=bucket, prefix=prefix)
    if not text.startswith("arn:"):
        return FilePlace(Path(text))
    try:
        source = parse_source_arn(text)
    except ArnError as error:
        raise CommandError(str(error)) from error
    if source.service != "sqs":
        msg = (
            f"{text} keeps no messages to redrive: give a queue, s3://bucket/prefix or a file; to run a stream again: esm replay"
        )
        raise CommandError(msg)
    return QueuePlace(SqsQueue(clients, text, windowed=True, observe=not_counted), fifo=source.fifo, hide=arguments.hide)


def _warn(arguments: argparse.Namespace, place: Place) -> None:
    if isinstance(place, QueuePlace) and (arguments.dry_run or arguments.keep):
        text = "messages can only be seen by receiving: the receive count of each goes up by one"
        print(f"warning: {text}{f', and {place.partial}' if place.partial else ''}", file=sys.stderr)


def _redriver(arguments: argparse.Namespace, place: Place, clients: AwsClients) -> Redriver:
    config = read_config(arguments.config)
    spec = find_function(arguments.function, config, folder=Path.cwd(), timeout=arguments.timeout)
    own = [mapping for mapping in config.mappings if mapping.function == spec.name] if config is not None else []
    function = None if arguments.dry_run else load(spec, config, own)
    known = config is not None and arguments.function in config.functions
    limits = [arguments.concurrency, function.concurrency if function is not None else None]
    return Redriver(
        place=place,
        fetching=Fetching(open_stream=lambda source, arn: open_stream(source, arn, clients, observe=not_counted)),
        rules_for=_RulesFor(arguments=arguments, config=config, function=spec.name),
        invoker=function.invoker if function is not None else Planner(),
        report=Report(),
        function=spec.name if known and not arguments.any_function else None,
        clock=time.time,
        dry_run=arguments.dry_run,
        keep=arguments.keep,
        whole=arguments.whole_range,
        blocked=Blocked() if arguments.stop_on_failure else None,
        concurrency=min((limit for limit in limits if limit is not None), default=None),
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
        return rules_of(chosen.mapping, overrides), partial(passes, chosen.mapping.criteria)


async def _work(arguments: argparse.Namespace, redriver: Redriver) -> None:
    """Messages are kept ours beside it; the first signal stops it, the second cuts it short."""
    showing = None
    if shows_bar(arguments):
        showing = Showing(
            what=lambda: "running" if redriver.entries else "reading messages",
            done=lambda: redriver.finished,
            total=lambda: len(redriver.entries) or None,
            report=redriver.report,
        )
    async with stopping(redriver.report, redriver.stop), anyio.create_task_group() as beside:
        beside.start_soon(redriver.place.keep, name="keep messages")
        async with progress(showing):
            await redriver.run(arguments.limit)
        beside.cancel_scope.cancel()


def _command_for(given: argparse.Namespace) -> show.CommandFor:
    def command(failure: Failure) -> str:
        """Of what a stream still holds; the others are in their message, which is kept."""
        if not failure.shard:
            return ""
        words = ["esm", "replay", failure.source_arn, "-f", given.function]
        for option, value in (("-c", given.config), ("--mapping", given.mapping), ("--timeout", given.timeout)):
            words += [option, str(value)] if value is not None else []
        return show.command_for([*words, *same_rules(given)], from_stream=True)(failure)

    return command
