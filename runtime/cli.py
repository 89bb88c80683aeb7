"""The `esm` command: reads arguments and environment, and turns what goes wrong into lines on stderr."""

import argparse
import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from enum import IntEnum
from importlib import metadata
from pathlib import Path
from typing import Final, NoReturn, TypeVarTuple

import anyio
from anyio.abc import TaskStatus

from handlers.python_function import left_behind
from runtime.app import Worker, stop_signals, watch_signals
from runtime.check import Loaded, check_online, check_state, load_functions
from runtime.collector import leave_to_time, run_collector
from runtime.config import Config, ConfigError, in_order, load_config
from runtime.drain import Drain
from runtime.http import HttpError
from runtime.leases import StateError
from runtime.logs import configure_logs
from runtime.telemetry import Telemetry

_DEFAULT_CONFIG: Final = "esm.yaml"
_HIGHEST_PORT: Final = 65_535
_Arguments = TypeVarTuple("_Arguments")


class ExitCode(IntEnum):
    """How a command ends (INTERFACE: Commands); argparse itself ends with 2 for wrong usage."""

    OK = 0
    FAILED = 1
    ABANDONED = 3
    """Work was abandoned at the end of the grace period."""


class CommandError(Exception):
    """A command failed; the message is for the user, one line per problem."""


def main() -> NoReturn:
    """Run the command of `sys.argv` and exit."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        code = arguments.run(arguments)
    except KeyboardInterrupt:  # before the worker listens for signals
        code = ExitCode.FAILED
    except Exception as error:  # noqa: BLE001  # a bug of ours, or an expected error that a task group has wrapped
        _print_errors(error, debug=arguments.debug)
        code = ExitCode.FAILED
    # A handler past its time limit may hold its thread for ever; such threads are daemons, so this ends the process.
    sys.exit(code)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _print_errors(error: Exception, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    for leaf in _leaves(error):
        expected = isinstance(leaf, CommandError | HttpError | StateError)
        print(leaf if expected else f"unexpected {type(leaf).__name__}: {leaf} (--debug shows where)", file=sys.stderr)


def _run_async(function: Callable[[*_Arguments], Awaitable[ExitCode]], *arguments: *_Arguments) -> ExitCode:
    """Run on uvloop where it exists: it costs a tenth less per request."""
    return anyio.run(function, *arguments, backend_options={"use_uvloop": sys.platform == "linux"})


def _run(arguments: argparse.Namespace) -> ExitCode:
    signal.signal(signal.SIGTERM, _end_at_once)
    config = _config(arguments.config)
    configure_logs(log_format=config.worker.log_format, level=config.worker.log_level)
    loaded = load_functions(config.handlers, config.mappings)
    if loaded.problems:
        raise CommandError("\n".join(map(str, loaded.problems)))
    leave_to_time()
    return _run_async(_serve, config, loaded)


def _end_at_once(*_: object) -> NoReturn:
    """Nothing is in hand before the worker listens for signals itself. As process 1 of a container it would not end otherwise."""
    os._exit(ExitCode.OK)


async def _serve(config: Config, loaded: Loaded) -> ExitCode:
    telemetry, drain = Telemetry(), Drain()
    for warning in config.warnings:
        telemetry.config_warned(str(warning))
    for reason in loaded.one_at_a_time.values():
        telemetry.config_warned(str(reason))
    worker = Worker(config, loaded.functions, telemetry=telemetry, drain=drain, one_at_a_time=loaded.one_at_a_time)
    async with anyio.create_task_group() as tasks:
        await tasks.start(watch_signals, drain, telemetry, config.worker.grace, name="signals")
        tasks.start_soon(run_collector, name="collector")
        await worker.run()
        tasks.cancel_scope.cancel()
    code = ExitCode.ABANDONED if drain.report.abandoned else ExitCode.OK
    if left_behind():  # a loop with such tasks never closes
        sys.stderr.flush()
        os._exit(code)
    return code


def _check(arguments: argparse.Namespace) -> ExitCode:
    try:
        config = load_config(Path(arguments.config), os.environ)
    except ConfigError as error:
        problems, warnings = list(error.problems), []
        if error.handlers is not None:
            problems += load_functions(error.handlers).problems
    else:
        loaded = load_functions(config.handlers, config.mappings)
        problems = [*loaded.problems, *check_state(config)]
        warnings = [*config.warnings, *loaded.one_at_a_time.values()]
        if arguments.online:
            online = anyio.run(check_online, config)
            problems += online.problems
            warnings += online.warnings
    _print_findings(arguments, list(map(str, in_order(problems))), list(map(str, in_order(warnings))))
    return ExitCode.FAILED if problems else ExitCode.OK


def _print_findings(arguments: argparse.Namespace, problems: list[str], warnings: list[str]) -> None:
    if arguments.json:
        print(json.dumps({"problems": problems, "warnings": warnings}, indent=1))
        return
    for problem in problems:
        print(problem, file=sys.stderr)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if not problems:
        print(f"{arguments.config} is right" + (f", with {_counted(len(warnings), 'warning')}" if warnings else ""))
    else:
        print(f"{arguments.config}: {_counted(len(problems), 'problem')}", file=sys.stderr)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _config(path: str) -> Config:
    try:
        return load_config(Path(path), os.environ)
    except ConfigError as error:
        raise CommandError("\n".join(str(problem) for problem in error.problems)) from error


def _demo(arguments: argparse.Namespace) -> ExitCode:
    from runtime.demo import run_demo  # noqa: PLC0415  # the demo brings an endpoint that a worker has no use for

    if arguments.seconds is not None and not (arguments.seconds > 0 and math.isfinite(arguments.seconds)):
        msg = f"--seconds {arguments.seconds}: give a number above 0"
        raise CommandError(msg)
    seconds = arguments.seconds or (None if sys.stdout.isatty() else 20.0)

    async def run() -> ExitCode:
        return ExitCode.OK if await run_demo(arguments.source, seconds, arguments.json) else ExitCode.FAILED

    return _run_async(run)


def _endpoint(arguments: argparse.Namespace) -> ExitCode:
    from runtime.local.server import LocalEndpoint, serve_endpoint  # noqa: PLC0415  # as above

    async def listen(*, task_status: TaskStatus[LocalEndpoint]) -> None:
        try:
            await serve_endpoint(host=arguments.host, port=arguments.port, seed=arguments.seed, task_status=task_status)
        except OSError as error:
            msg = f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror or error}. Take another --port"
            raise CommandError(msg) from error

    async def serve() -> ExitCode:
        with stop_signals() as wait_for_signal:
            async with anyio.create_task_group() as tasks:
                endpoint = await tasks.start(listen)
                print(f"export AWS_ENDPOINT_URL={endpoint.url}", flush=True)
                print(f"faults: {endpoint.url}/_local/faults  state: {endpoint.url}/_local/  (Ctrl-C ends it)", flush=True)
                await wait_for_signal()
                tasks.cancel_scope.cancel()
        return ExitCode.OK

    return _run_async(serve)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _HIGHEST_PORT:
        msg = f"{text!r} is not a port (0 to {_HIGHEST_PORT})"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="esm", description="AWS Lambda's event source mappings as a worker one runs oneself.", epilog="example: esm demo"
    )
    parser.add_argument("--version", action="version", version=f"esm {metadata.version('esm-runtime')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], ExitCode], *, text: str, example: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, epilog=f"example: {example}")
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
        added.set_defaults(run=run)
        return added

    run = command(
        "run", _run, text="run every enabled mapping until SIGTERM or SIGINT, then drain", example="esm run -c esm.yaml"
    )
    check = command("check", _check, text="validate the file and import every handler", example="esm check --online")
    for each in (run, check):
        each.add_argument("-c", "--config", default=_DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
    check.add_argument("--online", action="store_true", help="also ask AWS about every source")
    check.add_argument("--json", action="store_true", help="print the findings as JSON")
    demo = command("demo", _demo, text="see it work: an embedded endpoint, producers, the real worker", example="esm demo")
    demo.add_argument("--seconds", type=float, metavar="N", help="default: until Ctrl-C on a terminal, 20 elsewhere")
    demo.add_argument("--source", choices=("sqs", "kinesis", "dynamodb", "all"), default="all", help="default: %(default)s")
    demo.add_argument("--json", action="store_true", help="print the closing account as JSON")
    endpoint = command(
        "endpoint",
        _endpoint,
        text="the embedded in-memory AWS endpoint alone, with fault injection",
        example="esm endpoint --port 4566",
    )
    endpoint.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: %(default)s, this machine alone")
    endpoint.add_argument("--port", type=_port, default=4566, metavar="N", help="default: %(default)s; 0 takes a free one")
    endpoint.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is random; default: %(default)s")
    return parser
