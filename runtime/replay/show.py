"""What a person reads of a replay: the closing summary; and the same as JSON."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from statistics import quantiles
from typing import Any, Final

from runtime.replay.comparison import Comparison
from runtime.replay.report import NOT_ALONE, REPORTED, ErrorGroup, Failure, Planned, Report, Trouble

_SHOWN_FAILURES: Final = 20
_SHOWN_ERRORS: Final = 10
_SHOWN_DIFFERENCES: Final = 10
_SHOWN_PROBLEMS: Final = 10
_SHOWN_BATCHES: Final = 20
_HUNDRED: Final = 100

CommandFor = Callable[[Failure], str]
"""Gives a command that replays just that one; empty: there is none."""


def command_for(words: Sequence[str], *, from_stream: bool) -> CommandFor:
    """`words`: the command that was given, without what selects records. Of a stream it reads no more than that one record."""

    def command(failure: Failure) -> str:
        shard = ["--shard", failure.shard] if from_stream and failure.shard else []
        return shlex.join([*words, *shard, "--only", failure.position])

    return command


def summary(report: Report, *, took: float, command: CommandFor | None, comparison: Comparison | None = None) -> list[str]:
    """The lines of the summary. `took`: seconds."""
    lines = [*_account(report), *_speed(report, took)]
    if report.errors:
        lines += ["", "errors, the most frequent first", *(_error(group) for group in report.errors[:_SHOWN_ERRORS])]
        lines += _more(len(report.errors), _SHOWN_ERRORS, "kinds of error")
    if report.failures:
        lines += ["", *_failures(report, command)]
    if comparison is not None:
        lines += ["", *_comparison(comparison)]
    lines += _problems(report)
    if report.stopped:
        lines += ["", "stopped before the end"]
    return lines


def _failures(report: Report, command: CommandFor | None) -> list[str]:
    lines = [f"records that failed{', and how to replay each alone' if command and command(report.failures[0]) else ''}"]
    for failure in _varied(report.failures):
        alone = command(failure) if command else ""
        lines += [_failure(failure), *([f"    {alone}"] if alone else [])]
    lines += _more(report.failed, _SHOWN_FAILURES, "records (--json lists them)")
    together = sum(failure.batch > 1 and failure.trouble.type not in (REPORTED, NOT_ALONE) for failure in report.failures)
    if together:
        options = "--bisect or --batch-size 1 tells" if report.failures[0].shard else "--batch-size 1 tells"
        lines.append(f"  {together:,} of them failed with their whole batch: {options} which are to blame")
    return lines


def _varied(failures: Sequence[Failure]) -> list[Failure]:
    """As many as are shown: of each kind of error in turn, so that a large batch does not hide the others; in their order."""
    turns: dict[Trouble, int] = {}
    ranked = []
    for number, failure in enumerate(failures):
        turn = turns[failure.trouble] = turns.get(failure.trouble, -1) + 1
        ranked.append((turn, number))
    return [failures[number] for number in sorted(number for _, number in sorted(ranked)[:_SHOWN_FAILURES])]


def _problems(report: Report) -> list[str]:
    told = problems(report)
    if not told:
        return []
    return ["", "problems", *(f"  {each}" for each in told[:_SHOWN_PROBLEMS]), *_more(len(told), _SHOWN_PROBLEMS, "problems")]


def problems(report: Report) -> list[str]:
    """All that went wrong beside the records."""
    told = [*map(str, report.flaws), *report.problems]
    if report.overdue:
        what = _counted(report.overdue, "handler")
        told.append(f"{what} ran on past the time limit and could not be stopped: what came next ran beside that")
    return [one_line(each) for each in told]


def _account(report: Report) -> list[str]:
    parts = [f"{report.succeeded:,} succeeded", f"{report.failed:,} failed"]
    parts += [f"{report.filtered_out:,} filtered out"] if report.filtered_out else []
    parts += [f"{report.left_out:,} not selected"] if report.left_out else []
    parts += [f"{report.not_run:,} not run"] if report.not_run else []
    return [f"{_counted(report.read, 'record')} = {' + '.join(parts)}"]


def _speed(report: Report, took: float) -> list[str]:
    if not report.invocations:
        return []
    rate = (report.succeeded + report.failed) / took if took else 0.0
    tries = f"{_counted(report.batches, 'batch', 'batches')} in {_counted(report.invocations, 'invocation')}"
    lines = [f"{tries}, {took:.2f} s, {rate:,.0f} records/s, {report.size / 1e6:.1f} MB of events"]
    if report.first_arrived:
        lines.append(f"arrived from {instant(report.first_arrived)} to {instant(report.last_arrived)}")
    middle, late = percentiles(report.durations)
    lines.append(f"an invocation took {_ms(middle)} (median), {_ms(late)} (99 of 100)")
    lines += ["the slowest batches:"] if report.invocations > 1 else []
    lines += [
        f"  {_ms(slow.seconds):>10}  {_counted(slow.records, 'record')} {_range(slow.shard, slow.first, slow.last)}"
        for slow in report.slowest
        if report.invocations > 1
    ]
    return lines


def percentiles(durations: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    if len(durations) < 2:  # noqa: PLR2004  # of one there is nothing to tell apart
        return (durations[0], durations[0]) if durations else (0.0, 0.0)
    cuts = quantiles(durations, n=_HUNDRED, method="inclusive")
    return cuts[49], cuts[98]


def _error(group: ErrorGroup) -> str:
    first = group.first or "the end of a window"
    what = f"{group.trouble.type}: {one_line(group.trouble.message)}"
    return f"  {_counted(group.invocations, 'invocation')}: {what} (first at {first})"


def _failure(failure: Failure) -> str:
    where = failure.place or failure.shard
    told = f"  {failure.position}{f' ({where})' if where else ''}: {failure.trouble.type}: {one_line(failure.trouble.message)}"
    return told if failure.attempts == 1 else f"{told} ({failure.attempts} attempts)"


def _comparison(comparison: Comparison) -> list[str]:
    kinds = ", ".join(f"{count} by {kind}" for kind, count in sorted(comparison.counts.items())) or "none"
    ours, theirs = comparison.medians
    lines = [
        f"compared {_counted(comparison.invocations, 'invocation')}: differences {kinds}",
        f"median {_ms(ours)} and {_ms(theirs)}; together {sum(comparison.ours):.2f} s and {sum(comparison.theirs):.2f} s",
    ]
    for each in comparison.differences[:_SHOWN_DIFFERENCES]:
        lines += [
            f"  {each.kind} of {_counted(each.records, 'record')} {_range(each.shard, each.first, each.last)}",
            f"    one    {one_line(each.ours)}",
            f"    other  {one_line(each.theirs)}",
        ]
    return lines + _more(sum(comparison.counts.values()), _SHOWN_DIFFERENCES, "differences (--json lists them)")


def planned(report: Report, batches: Sequence[Planned]) -> list[str]:
    """The lines for a replay in which nothing was invoked."""
    records = sum(batch.records for batch in batches)
    lines = [f"{_counted(len(batches), 'batch', 'batches')} of {_counted(records, 'record')} would be invoked"]
    left = [f"{report.filtered_out:,} filtered out"] if report.filtered_out else []
    left += [f"{report.left_out:,} not selected"] if report.left_out else []
    lines += [f"of {_counted(report.read, 'record')} that were read: {', '.join(left)}"] if left else []
    if report.first_arrived:
        lines.append(f"arrived from {instant(report.first_arrived)} to {instant(report.last_arrived)}")
    for each in batches[:_SHOWN_BATCHES]:
        lines.append(
            f"  {_counted(each.records, 'record'):>12}  {each.size:>9,} bytes  {_range(each.shard, each.first, each.last)}"
        )
    lines += _more(len(batches), _SHOWN_BATCHES, "batches (--json lists them)")
    lines += _problems(report)
    return lines + (["", "stopped before the end"] if report.stopped else [])


def planned_json(report: Report, batches: Sequence[Planned]) -> dict[str, Any]:
    """As `planned`."""
    return {
        "right": not (report.flaws or report.problems or report.stopped),
        "stopped": report.stopped,
        "records": {
            "read": report.read,
            "wouldRun": report.succeeded,
            "filteredOut": report.filtered_out,
            "notSelected": report.left_out,
            "notRun": report.not_run,
        },
        "planned": [asdict(each) for each in batches],
        "problems": problems(report),
    }


def as_json(report: Report, *, took: float, command: CommandFor | None, comparison: Comparison | None = None) -> dict[str, Any]:
    """Times in seconds."""
    middle, late = percentiles(report.durations)
    document: dict[str, Any] = {
        "right": report.right and (comparison is None or comparison.alike),
        "stopped": report.stopped,
        "seconds": took,
        "records": {
            "read": report.read,
            "succeeded": report.succeeded,
            "failed": report.failed,
            "filteredOut": report.filtered_out,
            "notSelected": report.left_out,
            "notRun": report.not_run,
        },
        "batches": report.batches,
        "invocations": report.invocations,
        "durations": {"median": middle, "p99": late, "max": max(report.durations, default=0.0)},
        "slowest": [
            {"seconds": each.seconds, "records": each.records, "shard": each.shard, "first": each.first, "last": each.last}
            for each in report.slowest
        ],
        "errors": [
            {**asdict(group.trouble), "invocations": group.invocations, "records": group.records, "first": group.first}
            for group in report.errors
        ],
        "failures": [
            {
                "shard": each.shard,
                "position": each.position,
                **asdict(each.trouble),
                "condition": each.condition,
                "attempts": each.attempts,
                "place": each.place,
                **({"command": alone} if command and (alone := command(each)) else {}),
            }
            for each in report.failures
        ],
        "problems": problems(report),
    }
    if comparison is not None:
        document["comparison"] = {
            "invocations": comparison.invocations,
            "differences": comparison.counts,
            "medians": comparison.medians,
            "seconds": (sum(comparison.ours), sum(comparison.theirs)),
            "examples": [asdict(each) for each in comparison.differences],
        }
    return document


def instant(seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _range(shard: str, first: str, last: str) -> str:
    where = f"of {shard} " if shard else ""
    if not first:
        return f"{where}(the end of a window)"
    return f"{where}{first}" if first == last else f"{where}{first} to {last}"


def _more(number: int, shown: int, what: str) -> list[str]:
    return [f"  and {number - shown:,} more {what}"] if number > shown else []


def _counted(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def one_line(text: str) -> str:
    """On one line, and nothing that a terminal takes for a command."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
