"""`esm replay`: recorded or retained records through a local handler."""

import argparse
import json
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from handlers.destinations import open_destination
from handlers.invoker import FunctionSpec
from pollers.aws.clients import AwsClients
from runtime.commands import CommandError, ExitCode
from runtime.commands.configuration import read_config
from runtime.commands.options import same_rules
from runtime.commands.output import Ended, run_beside_handlers, shows_bar
from runtime.commands.replay_input import Input, NoRecord, open_input
from runtime.config import Config
from runtime.logs import load_structlog
from runtime.replay import show
from runtime.replay.choosing import Choosing
from runtime.replay.comparison import Comparison
from runtime.replay.engine import Discarded, Replayer
from runtime.replay.filtering import criteria_of
from runtime.replay.functions import choose_mapping, find_function, load
from runtime.replay.pace import Pace
from runtime.replay.progress import Showing, load_bar, progress
from runtime.replay.report import Report
from runtime.replay.rules import Overrides, Rules, rules_of
from runtime.replay.run import Planner, run_replay
from runtime.replay.selection import Selection, SelectionError, parse_bound, parse_condition
from runtime.replay.sending import FailureSender


def replay(arguments: argparse.Namespace) -> ExitCode:
    load_structlog(console=False)  # nothing is logged; handlers are to find the same libraries as in a worker
    if shows_bar(arguments):
        load_bar()
    return run_beside_handlers(partial(_replay, arguments))


async def _replay(arguments: argparse.Namespace) -> Ended:
    try:
        async with AsyncExitStack() as stack:
            return await _Replay(arguments, await stack.enter_async_context(AwsClients())).run()
    except SelectionError as error:
        raise CommandError(str(error)) from error


class _Replay:
    def __init__(self, arguments: argparse.Namespace, clients: AwsClients) -> None:
        self._given = arguments
        self._clients = clients
        self._report = Report()
        self._planner = Planner() if arguments.dry_run else None
        self._pace = Pace(arguments.speed) if arguments.speed is not None and not arguments.dry_run else None

    async def run(self) -> Ended:
        given = self._given
        if given.dry_run and given.compare is not None:
            msg = "--compare calls two handlers and --dry-run none: leave one of them out"
            raise CommandError(msg)
        config = read_config(given.config)
        selection = _selection(given, time.time())
        spec = find_function(given.function, config, folder=Path.cwd(), timeout=given.timeout)
        try:
            found = open_input(given.source, selection, self._clients, self._report, self._pace)
        except NoRecord:
            return self._ended(0.0, None, show.command_for([], from_stream=False))
        chosen = choose_mapping(config, function=spec.name, source=found.source, source_arn=found.source_arn, name=given.mapping)
        rules = rules_of(chosen.mapping, _overrides(given))
        replayer, comparison = self._replayer(rules, spec, config)
        criteria = criteria_of(chosen.mapping) if rules.filtered else None
        choosing = Choosing(found.selection, criteria, self._report, source=found.source)
        if shows_bar(given):
            print(f"{found.source_arn} through {given.function}, {chosen.told}", file=sys.stderr)
        feed = partial(found.feed, replayer, choosing)
        took = await run_replay(replayer, feed, self._report, progress=progress(self._showing(found)))
        return self._ended(took, comparison, show.command_for(_words(given), from_stream=found.is_stream))

    def _replayer(self, rules: Rules, spec: FunctionSpec, config: Config | None) -> tuple[Replayer, Comparison | None]:
        given, mapping = self._given, rules.mapping
        sender = self._sender(rules) if given.send_failures else None
        if self._planner is not None:
            return Replayer(rules, self._planner, self._report, beside=self._planner), None
        function = load(spec, config, [mapping])
        limits = [function.concurrency, given.concurrency]
        comparison = None
        if given.compare is not None:
            second = find_function(given.compare, config, folder=Path.cwd(), timeout=given.timeout, option="--compare")
            other = load(second, config, [mapping])
            comparison = Comparison(other=other.invoker, function_arn=mapping.function_arn)
            limits.append(other.concurrency)
        concurrency = min((limit for limit in limits if limit is not None), default=None)
        replayer = Replayer(
            rules,
            function.invoker,
            self._report,
            concurrency=concurrency,
            pace=self._pace,
            beside=comparison,
            discarded=sender,
        )
        return replayer, comparison

    def _sender(self, rules: Rules) -> Discarded:
        mapping = rules.mapping
        arn = mapping.stream.destination if mapping.stream is not None else None
        if arn is None:
            msg = f"--send-failures: mapping {mapping.name} has no on-failure destination: give it one, or leave this out"
            raise CommandError(msg)
        destination = open_destination(arn, self._clients, region=mapping.region)
        return FailureSender(mapping, destination, rules, self._report).send

    # what is shown

    def _showing(self, found: Input) -> Showing | None:
        if not shows_bar(self._given):
            return None
        report = self._report

        def finished() -> float:
            """The part of what was read: much may wait for busy lanes."""
            return (report.succeeded + report.failed) / report.chosen if report.chosen else 1.0

        what = "planning" if self._given.dry_run else "replaying"
        return Showing(what=lambda: what, done=lambda: found.done() * finished(), total=found.total, report=report)

    def _ended(self, took: float, comparison: Comparison | None, command: show.CommandFor) -> Ended:
        report, planner = self._report, self._planner
        if planner is not None:
            document, lines = show.planned_json(report, planner.batches), show.planned(report, planner.batches)
        else:
            document = show.as_json(report, took=took, command=command, comparison=comparison)
            lines = show.summary(report, took=took, command=command, comparison=comparison)
        code = ExitCode.OK if document["right"] else ExitCode.FAILED
        return Ended(lines=[json.dumps(document, indent=1)] if self._given.json else lines, code=code)


def _selection(given: argparse.Namespace, now: float) -> Selection:
    return Selection(
        since=parse_bound(given.since, name="--from", now=now) if given.since else None,
        until=parse_bound(given.until, name="--to", now=now) if given.until else None,
        conditions=[parse_condition(text) for text in given.where],
        only=frozenset(given.only),
        shards=frozenset(given.shard),
    )


def _overrides(given: argparse.Namespace) -> Overrides:
    return Overrides(
        batch_size=given.batch_size,
        window=given.window,
        attempts=given.retries,
        bisect=given.bisect,
        report_item_failures=given.item_failures,
        lanes=given.parallel,
        filtered=not given.no_filters,
    )


def _words(given: argparse.Namespace) -> list[str]:
    """The command that was given, without what selects records and what only many have."""
    words = ["esm", "replay", given.source, "-f", given.function]
    for option, value in (("-c", given.config), ("--mapping", given.mapping), ("--timeout", given.timeout)):
        words += [option, str(value)] if value is not None else []
    return words + same_rules(given)
