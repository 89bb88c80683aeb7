"""`esm record`: from a stream, or a queue that is peeked at, into a file."""

import argparse
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

import anyio

from pollers import QUEUES, STREAMS
from pollers.aws.clients import AwsClients
from pollers.errors import SourceError
from pollers.record import LATEST, PositionKind
from pollers.recording import RecordingWriter, create_recording
from pollers.sqs import SqsQueue
from runtime.commands import CommandError, ExitCode
from runtime.commands.event_loop import run_async
from runtime.config.arns import ArnError, parse_source_arn
from runtime.config.candidate import SPEC_OF
from runtime.logs import load_structlog
from runtime.opening import not_counted, open_stream
from runtime.recorder import QueueRecorder, Recorder, StreamRecorder
from runtime.replay.selection import SelectionError, parse_bound
from runtime.replay.show import instant
from runtime.stop_signals import stop_signals
from runtime.stream_reading import Wanted, read_stream

_TELL_EVERY: Final = 1.0


def record(arguments: argparse.Namespace) -> ExitCode:
    load_structlog(console=False)
    try:
        source = SPEC_OF[parse_source_arn(arguments.source).service].source
        wanted = _wanted(arguments, time.time())
    except (ArnError, SelectionError) as error:
        raise CommandError(str(error)) from error
    if source in QUEUES:
        _refuse_positions(arguments)
    return run_async(_record, arguments, source, wanted)


def _wanted(arguments: argparse.Namespace, now: float) -> Wanted:
    """Raises SelectionError."""
    since = parse_bound(arguments.since, name="--from", now=now) if arguments.since else LATEST
    until = parse_bound(arguments.until, name="--to", now=now) if arguments.until else None
    for bound, name in ((since, "--from"), (until, "--to")):
        if bound is not None and bound.kind is PositionKind.AT_SEQUENCE_NUMBER and len(arguments.shard) != 1:
            raise SelectionError(f"{name} is a sequence number, which is of one shard: say of which, with --shard")
    return Wanted(since=since, until=until, shards=frozenset(arguments.shard), follow=until is None)


def _refuse_positions(arguments: argparse.Namespace) -> None:
    for name in ("since", "until", "shard"):
        if getattr(arguments, name):
            option = {"since": "--from", "until": "--to"}.get(name, "--shard")
            msg = f"{option} is for streams: a queue has neither positions nor shards"
            raise CommandError(msg)
    print(
        "warning: a queue can only be peeked at by receiving: every message's receive count goes up by one, which may move it to "
        f"the dead-letter queue, and while it is copied (at most {arguments.hide} s) nobody else gets it. Of a FIFO group only "
        "the first messages show",
        file=sys.stderr,
    )


async def _record(arguments: argparse.Namespace, source: str, wanted: Wanted) -> ExitCode:
    path = Path(arguments.output)
    try:
        file = create_recording(path, overwrite=arguments.force)
    except FileExistsError:
        msg = f"{path} is there already: give another -o, or --force to write over it"
        raise CommandError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}"
        raise CommandError(msg) from error
    async with AsyncExitStack() as stack:
        stack.callback(file.close)
        clients = await stack.enter_async_context(AwsClients())
        writer = RecordingWriter(file)
        by = f"esm-runtime {metadata.version('esm-runtime')}"
        writer.begin(source=source, source_arn=arguments.source, at=time.time(), by=by)
        recorder, work = _recorder(arguments, source, wanted, clients, writer)
        try:
            await _until_stopped(work, recorder, arguments.seconds, path, quiet=arguments.json)
        except* SourceError as errors:
            recorder.problems += sorted(set(map(str, errors.exceptions)))
        writer.end(at=time.time())
    _tell(recorder, path, as_json=arguments.json)
    return ExitCode.FAILED if recorder.problems else ExitCode.OK


def _recorder(
    arguments: argparse.Namespace, source: str, wanted: Wanted, clients: AwsClients, writer: RecordingWriter
) -> tuple[Recorder, Callable[[], Awaitable[None]]]:
    arn = arguments.source
    if source in QUEUES:
        queue = SqsQueue(clients, arn, windowed=True, observe=not_counted)
        peeking = QueueRecorder(
            writer=writer, clock=time.time, most=arguments.records, spec=QUEUES[source], queue=queue, hide=arguments.hide
        )
        return peeking, peeking.run
    spec = STREAMS[source]
    copying = StreamRecorder(writer=writer, clock=time.time, most=arguments.records, spec=spec)
    stream = open_stream(source, arn, clients, observe=not_counted)
    return copying, partial(read_stream, stream, spec, wanted, copying)


async def _until_stopped(
    work: Callable[[], Awaitable[None]], recorder: Recorder, seconds: int | None, path: Path, *, quiet: bool
) -> None:
    """Until the work is done, it is enough, the time is over, or a signal comes."""
    with stop_signals() as wait_for_signal:
        async with anyio.create_task_group() as tasks:

            async def end_after(wait: Callable[[], Awaitable[None]]) -> None:
                await wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(end_after, wait_for_signal, name="signals")
            tasks.start_soon(end_after, recorder.enough.wait, name="enough")
            if seconds is not None:
                tasks.start_soon(end_after, partial(anyio.sleep, seconds), name="time")
            if not quiet and sys.stderr.isatty():
                tasks.start_soon(_show, recorder, path, name="show")
            await work()
            tasks.cancel_scope.cancel()


async def _show(recorder: Recorder, path: Path) -> None:
    while True:
        print(f"\r{recorder.writer.records:,} records in {path} (Ctrl-C ends it) ", end="", file=sys.stderr, flush=True)
        await anyio.sleep(_TELL_EVERY)


def _tell(recorder: Recorder, path: Path, *, as_json: bool) -> None:
    written = recorder.writer.records
    if as_json:
        arrived = {"first": recorder.first_arrived, "last": recorder.last_arrived} if written else {}
        print(json.dumps({"file": str(path), "records": written, "arrived": arrived, "problems": recorder.problems}, indent=1))
        return
    if sys.stderr.isatty():
        print(file=sys.stderr)
    since = (
        f", arrived from {instant(recorder.first_arrived)} to {instant(recorder.last_arrived)}" if recorder.first_arrived else ""
    )
    print(f"{written:,} record{'s' * (written != 1)} in {path}{since}")
    for problem in recorder.problems:
        print(problem, file=sys.stderr)
