"""`esm record`: from a stream, or a queue that is peeked at, into a file."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

import anyio

from pollers import QUEUES, STREAMS
from pollers.aws.clients import AwsClients
from pollers.errors import SourceError
from pollers.record import LATEST, Position, PositionKind
from pollers.recording_writer import NotWritten, RecordingFile, RecordingWriter
from pollers.sqs import SqsQueue
from runtime.commands import CommandError, ExitCode
from runtime.commands.event_loop import run_async
from runtime.config.arns import ArnError, parse_source_arn
from runtime.config.candidate import SPEC_OF
from runtime.errors import leaves
from runtime.logs import load_structlog
from runtime.opening import not_counted, open_stream
from runtime.patience import Patience
from runtime.queue_recorder import QueueRecorder
from runtime.recorder import Recorder, StreamRecorder
from runtime.replay.selection import SelectionError, parse_bound
from runtime.replay.show import instant
from runtime.stop_signals import stop_signals
from runtime.stream_reading import Wanted, read_stream

_TELL_EVERY: Final = 1.0
_CLEAR: Final = "\r\033[K"
"""Of a terminal's line."""
_PATIENCE: Final = 300.0
"""Seconds that AWS may be out of reach: the stream keeps what comes in the meantime."""
_LONGEST_HIDE: Final = 12 * 3600


def record(arguments: argparse.Namespace) -> ExitCode:
    load_structlog(console=False)
    try:
        source = SPEC_OF[parse_source_arn(arguments.source).service].source
        wanted = _wanted(arguments, time.time())
    except (ArnError, SelectionError) as error:
        raise CommandError(str(error)) from error
    if source in QUEUES:
        _check_queue_options(arguments)
    file = _create(arguments)  # before signals are listened for: a pipe waits for its reader, and that must be possible to end
    return run_async(_record, arguments, source, wanted, file)


def _wanted(arguments: argparse.Namespace, now: float) -> Wanted:
    """Raises SelectionError."""
    since = parse_bound(arguments.since, name="--from", now=now) if arguments.since else LATEST
    until = parse_bound(arguments.until, name="--to", now=now) if arguments.until else None
    for bound, name in ((since, "--from"), (until, "--to")):
        if bound is not None and bound.kind is PositionKind.AT_SEQUENCE_NUMBER and len(arguments.shard) != 1:
            raise SelectionError(f"{name} is a sequence number, which is of one shard: say of which, with --shard")
    if since.kind is PositionKind.AT_TIMESTAMP and since.timestamp > now:
        raise SelectionError(f"--from {arguments.since} is still to come: records from now on are those of --from LATEST")
    if until is not None:
        _check_order(since, until, arguments, now)
    return Wanted(since=since, until=until, shards=frozenset(arguments.shard), follow=until is None)


def _check_order(since: Position, until: Position, arguments: argparse.Namespace, now: float) -> None:
    """Raises SelectionError."""
    if until.kind not in (PositionKind.AT_TIMESTAMP, PositionKind.AT_SEQUENCE_NUMBER):
        raise SelectionError(f"--to {arguments.until}: give a time, a sequence number, or now")
    begin = now if since == LATEST else since.timestamp
    both_times = until.kind is PositionKind.AT_TIMESTAMP and since.kind is not PositionKind.AT_SEQUENCE_NUMBER
    both_numbers = until.kind is since.kind is PositionKind.AT_SEQUENCE_NUMBER
    if (both_times and until.timestamp <= begin) or (both_numbers and int(until.sequence) < int(since.sequence)):
        begins = f"--from {arguments.since}" if arguments.since else "--from LATEST, which is the default,"
        raise SelectionError(f"nothing lies between {begins} and --to {arguments.until}")


def _check_queue_options(arguments: argparse.Namespace) -> None:
    for name in ("since", "until", "shard"):
        if getattr(arguments, name):
            option = {"since": "--from", "until": "--to"}.get(name, "--shard")
            msg = f"{option} is for streams: a queue has neither positions nor shards"
            raise CommandError(msg)
    if arguments.hide > _LONGEST_HIDE:
        msg = f"--hide {arguments.hide}: SQS hides a message for {_LONGEST_HIDE} seconds at most"
        raise CommandError(msg)


async def _record(arguments: argparse.Namespace, source: str, wanted: Wanted, file: RecordingFile) -> ExitCode:
    with stop_signals() as wait_for_signal:
        try:
            async with AwsClients() as clients:
                recorder, work = _recorder(arguments, source, wanted, clients, RecordingWriter(file))
                await _run(work, recorder, arguments, source, wait_for_signal)
        except BaseException:
            with contextlib.suppress(OSError):
                file.close()
            raise
        try:
            file.close()
        except OSError as error:
            if not recorder.problems:  # else it is the same once more
                recorder.tell(_not_written(arguments, recorder.writer, error.strerror or str(error)))
    _tell(recorder, arguments)
    return ExitCode.FAILED if recorder.problems else ExitCode.OK


def _create(arguments: argparse.Namespace) -> RecordingFile:
    path = Path(arguments.output)
    try:
        return RecordingFile.create(path, overwrite=arguments.force)
    except FileExistsError:
        msg = f"{path} is there already: give another -o, or --force to replace it"
        raise CommandError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}"
        raise CommandError(msg) from error


async def _run(
    work: Callable[[], Awaitable[None]],
    recorder: Recorder,
    arguments: argparse.Namespace,
    source: str,
    wait_for_signal: Callable[[], Awaitable[None]],
) -> None:
    """To the end; what went wrong is among the problems. The recording has no last line where it failed without a record."""
    writer = recorder.writer
    try:
        by = f"esm-runtime {metadata.version('esm-runtime')}"
        writer.begin(source=source, source_arn=arguments.source, at=time.time(), by=by)
        try:
            await _until_stopped(work, recorder, arguments, wait_for_signal)
        except* SourceError as errors:
            for text in sorted(set(map(str, leaves(errors)))):
                recorder.tell(text)
        if writer.records or not recorder.problems:
            writer.end(at=time.time())
    except* NotWritten as errors:
        recorder.tell(_not_written(arguments, writer, str(leaves(errors)[0])))


def _not_written(arguments: argparse.Namespace, writer: RecordingWriter, why: str) -> str:
    kept = (
        f"the first {_counted(writer.flushed)} {'is' if writer.flushed == 1 else 'are'} in it"
        if writer.flushed
        else "nothing is in it"
    )
    return f"{arguments.output} cannot be written on: {why}; {kept}"


def _recorder(
    arguments: argparse.Namespace, source: str, wanted: Wanted, clients: AwsClients, writer: RecordingWriter
) -> tuple[Recorder, Callable[[], Awaitable[None]]]:
    arn = arguments.source
    if source in QUEUES:
        if arn.endswith(".fifo"):
            _say("warning: of a FIFO group only the first messages show, ten at most: the rest waits for those")
        peeking = QueueRecorder(
            writer=writer,
            clock=time.time,
            most=arguments.records,
            spec=QUEUES[source],
            queue=SqsQueue(clients, arn, windowed=True, observe=not_counted),
            hide=arguments.hide,
            warn=lambda text: _say(f"warning: {text}"),
            last_receives=arguments.last_receives,
        )
        return peeking, peeking.run
    spec = STREAMS[source]
    copying = StreamRecorder(writer=writer, clock=time.time, most=arguments.records, spec=spec)
    stream = open_stream(source, arn, clients, observe=not_counted)
    opened = partial(_tell_opened, arguments, wanted)
    return copying, partial(read_stream, stream, spec, wanted, copying, opened=opened, waiting=lambda _: Patience(_PATIENCE))


async def _until_stopped(
    work: Callable[[], Awaitable[None]],
    recorder: Recorder,
    arguments: argparse.Namespace,
    wait_for_signal: Callable[[], Awaitable[None]],
) -> None:
    """Until the work is done, it is enough, the time is over, or a signal comes."""
    async with anyio.create_task_group() as tasks:

        async def end_after(wait: Callable[[], Awaitable[None]]) -> None:
            await wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(end_after, wait_for_signal, name="signals")
        tasks.start_soon(end_after, recorder.enough.wait, name="enough")
        if arguments.seconds is not None:
            tasks.start_soon(end_after, partial(anyio.sleep, arguments.seconds), name="time")
        if not arguments.json and sys.stderr.isatty():
            tasks.start_soon(_show, recorder, arguments.output, name="show")
        await work()
        tasks.cancel_scope.cancel()


# what is shown


def _say(line: str) -> None:
    print(f"{_CLEAR}{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def _tell_opened(arguments: argparse.Namespace, wanted: Wanted, shards: int) -> None:
    """Scripts wait for this line: what is put after it is recorded."""
    since = {PositionKind.LATEST: "now", PositionKind.TRIM_HORIZON: "the oldest record"}.get(wanted.since.kind, arguments.since)
    _say(f"recording {arguments.source} from {since} on: {shards} shard{'s' * (shards != 1)} open")


async def _show(recorder: Recorder, output: str) -> None:
    while True:
        behind = max(recorder.behind.values(), default=0.0) if isinstance(recorder, StreamRecorder) else 0.0
        late = f", {behind:,.0f} s behind" if behind >= 1 else ""
        print(
            f"\r\033[K{_counted(recorder.writer.records)} in {output}{late} (Ctrl-C ends it) ",
            end="",
            file=sys.stderr,
            flush=True,
        )
        await anyio.sleep(_TELL_EVERY)


def _tell(recorder: Recorder, arguments: argparse.Namespace) -> None:
    """On stdout, unless that is where the recording went."""
    out = sys.stderr if arguments.output == "-" else sys.stdout
    written = recorder.writer.flushed
    if arguments.json:
        arrived = {"first": recorder.first_arrived, "last": recorder.last_arrived} if recorder.first_arrived else {}
        result = {"file": arguments.output, "records": written, "arrived": arrived, "problems": recorder.problems}
        print(json.dumps(result, indent=1), file=out)
        return
    if sys.stderr.isatty():
        print(_CLEAR, end="", file=sys.stderr, flush=True)
    if written or not recorder.problems:
        between = f"{instant(recorder.first_arrived)} to {instant(recorder.last_arrived)}" if recorder.first_arrived else ""
        print(f"{_counted(written)} in {arguments.output}{', arrived from ' * bool(between)}{between}", file=out)
    for problem in recorder.problems:
        print(problem, file=sys.stderr)
    if not written and recorder.problems:
        print("nothing was recorded", file=sys.stderr)


def _counted(records: int) -> str:
    return f"{records:,} record{'s' * (records != 1)}"
