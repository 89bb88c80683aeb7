"""Options of the commands that bring records to a handler by hand. Imported for every `esm`, so it imports next to nothing."""

import argparse
from typing import Final

_TIME: Final = "ISO 8601, seconds since the epoch, or how long ago (90s, 15m, 2h, 1d)"


def _positive(text: str) -> int:
    return _at_least(text, 1)


def _not_negative(text: str) -> int:
    return _at_least(text, 0)


def _at_least(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        msg = f"{text!r} is not a whole number of at least {least}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        msg = f"{text!r} is not a number above 0 (1 is the original rhythm, 10 is ten times as fast)"
        raise argparse.ArgumentTypeError(msg)
    return speed


def add_function(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--function",
        required=True,
        metavar="FUNCTION",
        help="of esm.yaml, or module.attribute, or path/to/file.py:attribute",
    )
    parser.add_argument("-c", "--config", metavar="FILE", help="default: esm.yaml, where it is there")
    parser.add_argument(
        "--mapping", metavar="NAME", help="whose rules hold; default: the function's for this source, else AWS's defaults"
    )
    parser.add_argument("--timeout", type=_positive, metavar="SECONDS", help="of the handler, instead of the function's")


def add_rules(parser: argparse.ArgumentParser) -> None:
    rules = parser.add_argument_group("rules, instead of the mapping's")
    rules.add_argument("--batch-size", type=_positive, metavar="N")
    rules.add_argument("--window", type=_not_negative, metavar="SECONDS", help="batching window; it counts with --speed")
    rules.add_argument(
        "--retries", type=_not_negative, metavar="N", help="of a batch that fails; none where the mapping has no limit"
    )
    rules.add_argument("--bisect", action=argparse.BooleanOptionalAction, default=None, help="split batches that fail")
    rules.add_argument("--item-failures", action=argparse.BooleanOptionalAction, default=None, help="ReportBatchItemFailures")
    rules.add_argument("--parallel", type=_positive, metavar="N", help="batches of a shard, or of a queue, at once")
    rules.add_argument("--concurrency", type=_positive, metavar="N", help="invocations at once, over all shards")


def same_rules(given: argparse.Namespace) -> list[str]:
    """What decides whether one record alone fails, as it was given."""
    words = ["--retries", str(given.retries)] if given.retries is not None else []
    if given.item_failures is not None:
        words.append("--item-failures" if given.item_failures else "--no-item-failures")
    return [*words, *(["--no-filters"] if getattr(given, "no_filters", False) else [])]


def add_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="FILE|ARN",
        help="a recording, a file or folder of Lambda events or on-failure objects, or the ARN of a stream",
    )
    add_function(parser)
    which = parser.add_argument_group("which records")
    which.add_argument("--from", dest="since", metavar="T", help=f"a sequence number or a time: {_TIME}")
    which.add_argument(
        "--to",
        dest="until",
        metavar="T",
        help="likewise; a record of that number is the last, one of that time is none; default of a stream: now",
    )
    which.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="partitionKey=abc, body.kind!=test*, dynamodb.Keys.id.S=7; again for more",
    )
    which.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="POSITION",
        help="the record of this sequence number or message id; again for more",
    )
    which.add_argument("--shard", action="append", default=[], metavar="ID", help="records of this shard; again for more")
    which.add_argument("--no-filters", action="store_true", help="do not keep to the mapping's FilterCriteria")
    add_rules(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--speed", type=_speed, metavar="X", help="1: in the original rhythm; default: as fast as possible")
    how.add_argument("--dry-run", action="store_true", help="show the batches, invoke nothing")
    how.add_argument("--compare", metavar="FUNCTION", help="call this one with the same batches, too, and tell where they differ")
    how.add_argument("--send-failures", action="store_true", help="tell the mapping's on-failure destination of what is given up")
    how.add_argument("--json", action="store_true", help="print the summary as JSON")


def add_record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="ARN", help="of a stream, or of a queue")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="compressed when it ends in .gz or .zst; - is stdout"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE, once there is a record to put in its place")
    parser.add_argument(
        "--from",
        dest="since",
        metavar="T",
        help=f"LATEST (the default), TRIM_HORIZON, a sequence number (with --shard) or a time: {_TIME}",
    )
    parser.add_argument(
        "--to",
        dest="until",
        metavar="T",
        help="end there: a time (it may be to come), a sequence number, or now; default: go on until Ctrl-C",
    )
    parser.add_argument("--shard", action="append", default=[], metavar="ID", help="of a stream; again for more; default: all")
    parser.add_argument("--records", type=_positive, metavar="N", help="end after so many")
    parser.add_argument("--seconds", type=_positive, metavar="N", help="end after so long")
    parser.add_argument(
        "--hide",
        type=_positive,
        default=60,
        metavar="SECONDS",
        help="how long the messages of a queue are hidden from others while they are copied; default: %(default)s",
    )
    parser.add_argument(
        "--last-receives", action="store_true", help="peek also where the queue's redrive policy allows one receive only"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_redrive(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "destination",
        metavar="DESTINATION",
        help="ARN of a queue (on-failure destination or dead-letter queue), s3://bucket/prefix, a file, or a folder",
    )
    add_function(parser)
    add_rules(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="list the messages, the records they point at, and how long those are kept; run nothing",
    )
    parser.add_argument("--keep", action="store_true", help="delete nothing, also not what succeeded")
    parser.add_argument(
        "--stop-on-failure",
        action="store_true",
        help="strict order: what comes behind a failure in its shard (and its children) or message group is not run",
    )
    parser.add_argument("--any-function", action="store_true", help="run messages of other functions, too")
    parser.add_argument(
        "--whole-range",
        action="store_true",
        help="run all records between a message's first and last, also when it speaks of fewer",
    )
    parser.add_argument("--limit", type=_positive, default=10_000, metavar="N", help="messages at most; default: %(default)s")
    parser.add_argument(
        "--hide",
        type=_positive,
        default=120,
        metavar="SECONDS",
        help="how long messages of a queue stay hidden should this end abruptly; default: %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
