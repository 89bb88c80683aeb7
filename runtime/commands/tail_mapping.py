"""`esm tail NAME`: follows a mapping of a running worker."""

import argparse
import os
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio

from runtime.commands import CommandError, ExitCode
from runtime.config import Config, ConfigError, load_config
from runtime.tail.feed import Gone, NoWorkerError, WorkerFeed
from runtime.tail.mapping_text import MappingText
from runtime.tail.screen import Screen
from runtime.tail.session import run_until_stopped
from runtime.tap_events import InvocationEnded

DEFAULT_CONFIG: Final = "esm.yaml"
_LOOK_EVERY: Final = 1.0
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # who listens everywhere is asked here


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    address: str
    """`http://HOST:PORT` of the worker."""
    sources: dict[str, str]
    """Name of a mapping -> its ARN, as far as the file says."""


async def tail_mapping(arguments: argparse.Namespace, screen: Screen) -> ExitCode:
    place = _place(arguments)
    text = MappingText(verbose=arguments.verbose, address=place.address)
    feed = WorkerFeed(place.address, arguments.target, records=arguments.verbose)

    async def watch() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_show_running, text, screen, name="what runs long")
            try:
                await _follow(feed, text, screen, batches=arguments.batches)
            except NoWorkerError as error:
                raise CommandError(_nobody(place, arguments.target, str(error))) from error
            tasks.cancel_scope.cancel()

    await run_until_stopped(watch, seconds=arguments.seconds)
    screen.note(text.summary(), style="bold")
    return ExitCode.OK


async def _follow(feed: WorkerFeed, text: MappingText, screen: Screen, *, batches: int | None) -> None:
    """For ever, or until so many batches have ended."""
    ended = 0
    async with aclosing(feed.lines()) as lines:
        async for line in lines:
            if isinstance(line, Gone):
                gone = f"the worker is gone: {line.reason}; " if line.reason else ""
                screen.note(f"{gone}waiting until it is back (Ctrl-C ends this)", style="bold")
                continue
            screen.json(line.raw)
            if line.event is None:
                screen.note(f"a line that this version does not know: {line.raw[:200].decode(errors='replace')}")
                continue
            screen.lines(text.told(line.event))
            ended += isinstance(line.event, InvocationEnded)
            if ended == batches:
                return


async def _show_running(text: MappingText, screen: Screen) -> None:
    while True:
        await anyio.sleep(_LOOK_EVERY)
        screen.lines(text.still_running(time.time()))


def _place(arguments: argparse.Namespace) -> _Place:
    """Where the worker is: as said, or as the file says. With --worker the file need not be there."""
    if arguments.worker is not None:
        return _Place(address=_address(arguments.worker), sources={})
    path = arguments.config or DEFAULT_CONFIG
    config = _config(path)
    host, port = _ANYWHERE.get(config.worker.http_host, config.worker.http_host), config.worker.http_port
    if port == 0:
        raise CommandError(
            f"{path}: worker.http has the port 0, so the worker chose one: name it, as in --worker http://{host}:9090"
        )
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return _Place(address=address, sources={mapping.name: mapping.source_arn for mapping in config.mappings})


def _config(path: str) -> Config:
    try:
        return load_config(Path(path), os.environ)
    except ConfigError as error:
        problems = "\n".join(str(problem) for problem in error.problems)
        raise CommandError(f"{problems}\nWithout the file, name the worker: --worker http://HOST:PORT") from error


def _address(text: str) -> str:
    """Raises CommandError."""
    wrong = f"--worker {text}: it must be the address of a worker's metrics and health, as in http://127.0.0.1:9090"
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as error:
        raise CommandError(f"{wrong} ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise CommandError(wrong)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def _nobody(place: _Place, name: str, reason: str) -> str:
    if name in place.sources:
        other = f"esm tail {place.sources[name]}"
    else:
        other = "`esm tail` with the source's ARN"
        if place.sources:
            other += f" (the file has no mapping {name}, but {', '.join(place.sources)})"
    return (
        f"no worker answers at {place.address}: {reason}. Start it with `esm run`, name another with --worker http://HOST:PORT,"
        f" or look at the source itself, which needs no worker: {other}"
    )
