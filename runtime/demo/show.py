"""What the demo shows while it runs, and the account at its end."""

import json
from collections.abc import Sequence

from rich.table import Table

from runtime.demo.line import Line, Reading

_GIVEN_UP = {"sqs": "dead-lettered", "kinesis": "sent away", "dynamodb": "sent away"}
_WIDE = 110
"""Columns of a terminal."""
_WAITING = {"sqs": "in the queue", "kinesis": "in the stream", "dynamodb": "in the stream"}


def plain_lines(lines: Sequence[Line], read: Reading) -> list[str]:
    return [
        f"{line.name:<10} produced={line.counts.produced} succeeded={line.counts.succeeded} waiting={line.counts.waiting}"
        f" failed_attempts={line.counts.failed} given_up={line.counts.given_up}{_shards(line, read, ' shards=')}"
        for line in lines
    ]


def live_table(lines: Sequence[Line], read: Reading, port: int, *, width: int) -> Table:
    """Names and numbers, and what a handler does where the terminal is wide enough for it."""
    table = Table(
        title="esm demo: queues and streams, one worker, no AWS account",
        caption=f"endpoint {read.endpoint.url} · metrics http://127.0.0.1:{port}/metrics\nCtrl-C ends it",
    )
    for name in ("source", "its handler") if width >= _WIDE else ("source",):
        table.add_column(name, no_wrap=True)
    for name in ("made", "done", "waiting", "failed tries", "given up"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("shards", no_wrap=True)
    for line in lines:
        counts = line.counts
        numbers = (counts.produced, counts.succeeded, counts.waiting, counts.failed, counts.given_up)
        about = (line.name, line.shows) if width >= _WIDE else (line.name,)
        table.add_row(*about, *(f"{number:,}" for number in numbers), _shards(line, read, ""))
    return table


def account_as_json(lines: Sequence[Line]) -> str:
    sources = [
        {
            "name": line.name,
            "source": line.source,
            "produced": line.counts.produced,
            "succeeded": line.counts.succeeded,
            "given_up": line.counts.given_up,
            "waiting": line.counts.waiting,
            "failed_attempts": line.counts.failed,
            "unaccounted": line.counts.balance,
        }
        for line in lines
    ]
    return json.dumps({"sources": sources, "balanced": not any(line.counts.balance for line in lines)}, indent=1)


def account(lines: Sequence[Line]) -> list[str]:
    told = ["", "made = done + given up (dead-lettered, or sent to a destination) + still waiting"]
    for line in lines:
        counts = line.counts
        verdict = "accounted for" if counts.balance == 0 else f"{counts.balance} UNACCOUNTED FOR"
        parts = f"{counts.succeeded} + {counts.given_up} {_GIVEN_UP[line.source]} + {counts.waiting} {_WAITING[line.source]}"
        told.append(f"{line.name:<10} {counts.produced} = {parts}: {verdict}")
    return told


def _shards(line: Line, read: Reading, label: str) -> str:
    """How many are worked on, how many were read to their end."""
    states = read.shard_states(line)
    return f"{label}{sum(state != 'ended' for state in states)} open, {states.count('ended')} done" if states else ""
