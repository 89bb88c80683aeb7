"""`esm replay`: recorded or retained records through a local handler."""

import argparse
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path

from handlers.destinations import open_destination
from handlers.invoker import FunctionSpec, Invoker
from pollers import QUEUES, STREAMS
from pollers.aws.clients import AwsClients
from pollers.errors import SourceError
from pollers.recording import Flaw, Recorded, RecordingReader
from runtime.commands import CommandError, ExitCode
from runtime.commands.configuration import read_config
from runtime.commands.event_loop import run_async
from runtime.config import Config
from runtime.config.arns import ArnError, parse_source_arn
from runtime.config.candidate import SPEC_OF
from runtime.core.mapping import EventSourceMapping
from runtime.logs import load_structlog
from runtime.opening import not_counted, open_stream
from runtime.replay import show
from runtime.replay.choosing import Choosing
from runtime.replay.comparison import Comparison
from runtime.replay.engine import Replayer
from runtime.replay.feeding import FeedStream, feed_recording
from runtime.replay.functions import choose_mapping, find_function, load
from runtime.replay.report import Report
from runtime.replay.rules import Overrides, rules_of
from runtime.replay.run import Planner, Showing, handlers_print_to_stderr, run_replay
from runtime.replay.selection import Selection, SelectionError, parse_bound, parse_condition
from runtime.replay.sending import FailureSender
from runtime.replay.viewing import view_of
from runtime.stream_reading import Wanted, read_stream


def replay(arguments: argparse.Namespace) -> ExitCode:
    load_structlog(console=False)  # nothing is logged; handlers are to find the same libraries as in a worker
    with handlers_print_to_stderr():
        ended = _Ended()
        run_async(_replay, arguments, ended)
    for line in ended.lines:
        print(line)
    return ended.code


@dataclass(slots=True)
class _Ended:
    """What is printed once handlers print no more."""

    lines: list[str] = field(default_factory=list)
    code: ExitCode = ExitCode.FAILED


async def _replay(arguments: argparse.Namespace, ended: _Ended) -> ExitCode:
    try:
        async with AsyncExitStack() as stack:
            await _Replay(arguments, stack).run(ended)
    except SelectionError as error:
        raise CommandError(str(error)) from error
    return ended.code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Input:
    """Where records come from."""

    source: str
    source_arn: str
    feed: Callable[[Replayer, Choosing], Awaitable[None]]
    done: Callable[[], float]
    total: Callable[[], float | None]


class _Replay:
    def __init__(self, arguments: argparse.Namespace, stack: AsyncExitStack) -> None:
        self._given = arguments
        self._stack = stack
        self._now = time.time()
        self._report = Report()
        self._planner = Planner() if arguments.dry_run else None

    async def run(self, ended: _Ended) -> None:
        given = self._given
        config = read_config(given.config)
        selection = self._selection()
        specs = [
            find_function(name, config, folder=Path.cwd(), timeout=given.timeout)
            for name in (given.function, given.compare)
            if name is not None
        ]
        clients = await self._stack.enter_async_context(AwsClients())
        found = self._open(clients, selection)
        if found is None:
            ended.lines = self._close(0.0, None)
            return
        chosen = choose_mapping(
            config, function=specs[0].name, source=found.source, source_arn=found.source_arn, name=given.mapping
        )
        replayer, comparison, choosing = self._replayer(chosen.mapping, specs, config, selection, clients)
        if sys.stderr.isatty() and not given.json:
            print(f"{found.source_arn} through {given.function}, {chosen.told}", file=sys.stderr)
        took = await run_replay(replayer, lambda: found.feed(replayer, choosing), self._report, show=lambda: self._showing(found))
        ended.lines = self._close(took, comparison)
        right = self._report.right or (given.dry_run and not (self._report.flaws or self._report.problems))
        ended.code = ExitCode.OK if right and (comparison is None or comparison.alike) else ExitCode.FAILED

    def _replayer(
        self,
        mapping: EventSourceMapping,
        specs: list[FunctionSpec],
        config: Config | None,
        selection: Selection,
        clients: AwsClients,
    ) -> tuple[Replayer, Comparison | None, Choosing]:
        given, report = self._given, self._report
        overrides = Overrides(
            batch_size=given.batch_size,
            window=given.window,
            attempts=given.retries,
            bisect=given.bisect,
            report_item_failures=given.item_failures,
            lanes=given.parallel,
            filtered=not given.no_filters,
        )
        rules = rules_of(mapping, overrides)
        invokers: list[Invoker]
        single: list[str] = []
        if self._planner is not None:
            invokers = [self._planner]
        else:
            loaded, single = load(specs, config)
            invokers = [*loaded]
        comparison = None
        if len(invokers) > 1:
            comparison = Comparison(other=invokers[1], function_arn=mapping.function_arn)
        sender = None
        if given.send_failures:
            arn = mapping.stream.destination if mapping.stream is not None else None
            if arn is None:
                msg = f"--send-failures: mapping {mapping.name} has no on-failure destination: give it one, or leave this out"
                raise CommandError(msg)
            sender = FailureSender(mapping, open_destination(arn, clients, region=mapping.region), rules, report).send
        reserved = specs[0].reserved_concurrency or None
        replayer = Replayer(
            rules,
            invokers[0],
            report,
            concurrency=1 if single else given.concurrency or reserved,
            speed=given.speed,
            beside=self._planner or comparison,
            discarded=sender,
        )
        criteria = None
        return replayer, comparison, Choosing(selection, criteria, report, source=mapping.source, view=view_of)

    # what is read

    def _selection(self) -> Selection:
        given = self._given
        return Selection(
            since=parse_bound(given.since, name="--from", now=self._now) if given.since else None,
            until=parse_bound(given.until, name="--to", now=self._now) if given.until else None,
            conditions=[parse_condition(text) for text in given.where],
            only=frozenset(given.only),
        )

    def _open(self, clients: AwsClients, selection: Selection) -> _Input | None:
        """None: there is not one record; why stands in the report."""
        text: str = self._given.source
        if text.startswith("arn:"):
            return self._open_stream(text, clients, selection)
        return self._open_file(Path(text))

    def _open_file(self, path: Path) -> _Input | None:
        try:
            reader = RecordingReader(path)
        except OSError as error:
            msg = f"{path}: the recording cannot be read: {error.strerror or error}"
            raise CommandError(msg) from error
        items, before = iter(reader), []
        for item in items:
            before.append(item)
            if isinstance(item, Recorded):
                return _Input(
                    source=item.of.source,
                    source_arn=item.of.source_arn,
                    feed=lambda replayer, choosing: feed_recording(chain(before, items), replayer, choosing, self._report),
                    done=lambda: reader.read_bytes,
                    total=lambda: reader.total_bytes,
                )
        self._report.flaws += [item for item in before if isinstance(item, Flaw)]
        return None

    def _open_stream(self, arn: str, clients: AwsClients, selection: Selection) -> _Input:
        try:
            source = SPEC_OF[parse_source_arn(arn).service].source
        except ArnError as error:
            raise CommandError(str(error)) from error
        if source in QUEUES:
            msg = f"{arn} is a queue, which keeps nothing of what it gave: record it (esm record), or redrive it (esm redrive)"
            raise CommandError(msg)
        spec = STREAMS[source]
        wanted = Wanted(
            since=selection.since or Wanted().since,
            until=selection.until or parse_bound("now", name="--to", now=self._now),
            shards=frozenset(self._given.shard),
        )
        behind: list[FeedStream] = []

        async def feed(replayer: Replayer, choosing: Choosing) -> None:
            taker = FeedStream(spec=spec, source_arn=arn, replayer=replayer, choosing=choosing, report=self._report)
            behind.append(taker)
            try:
                await read_stream(open_stream(source, arn, clients, observe=not_counted), spec, wanted, taker)
            except* SourceError as errors:
                self._report.problems += sorted(set(map(str, errors.exceptions)))

        return _Input(source=source, source_arn=arn, feed=feed, done=lambda: 0.0, total=lambda: None)

    # what is shown

    def _showing(self, found: _Input) -> Showing | None:
        if self._given.json or not sys.stderr.isatty():
            return None
        what = "planning" if self._given.dry_run else "replaying"
        return Showing(what=what, done=found.done, total=found.total, report=self._report)

    def _close(self, took: float, comparison: Comparison | None) -> list[str]:
        given, command = self._given, show.command_for(self._words())
        if given.json:
            document = show.as_json(self._report, took=took, command=command, comparison=comparison)
            if self._planner is not None:
                document["planned"] = [asdict(each) for each in self._planner.batches]
            return [json.dumps(document, indent=1)]
        if self._planner is not None:
            return show.planned(self._report, self._planner.batches)
        return show.summary(self._report, took=took, command=command, comparison=comparison)

    def _words(self) -> list[str]:
        """The command that was given, without what selects records and what judges many."""
        given = self._given
        words = ["esm", "replay", given.source, "-f", given.function]
        for option, value in (("-c", given.config), ("--mapping", given.mapping), ("--timeout", given.timeout)):
            words += [option, str(value)] if value is not None else []
        return words
