"""The `esm` command: reads arguments and environment, and turns what goes wrong into lines on stderr."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

from runtime.commands import ExitCode, options
from runtime.errors import UserError, leaves

_HIGHEST_PORT: Final = 65_535
_ACCOUNT_DIGITS: Final = 12


def main() -> NoReturn:
    """Run the command of `sys.argv` and exit."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:  # before the worker listens for signals
        code = ExitCode.FAILED
    except BrokenPipeError:  # whoever read what we print has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.FAILED
    except Exception as error:  # noqa: BLE001  # a bug of ours, or an expected error that a task group has wrapped
        _print_errors(error, debug=arguments.debug)
        code = ExitCode.FAILED
    # A handler past its time limit may hold its thread for ever; such threads are daemons, so this ends the process.
    sys.exit(code)


def _print_errors(error: Exception, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    for leaf in leaves(error):
        expected = isinstance(leaf, UserError)
        print(leaf if expected else f"unexpected {type(leaf).__name__}: {leaf} (--debug shows where)", file=sys.stderr)


def _run(arguments: argparse.Namespace) -> ExitCode:
    signal.signal(signal.SIGTERM, _end_at_once)
    from runtime.commands.run import run  # noqa: PLC0415  # each command imports what it takes, and no other pays for it

    return run(arguments)


def _end_at_once(*_: object) -> NoReturn:
    """Nothing is in hand before the worker listens for signals itself. As process 1 of a container it would not end otherwise."""
    os._exit(ExitCode.OK)


def _check(arguments: argparse.Namespace) -> ExitCode:
    from runtime.commands.check import check  # noqa: PLC0415  # as above

    return check(arguments)


def _demo(arguments: argparse.Namespace) -> ExitCode:
    from runtime.commands.demo import demo  # noqa: PLC0415  # as above

    return demo(arguments)


def _endpoint(arguments: argparse.Namespace) -> ExitCode:
    from runtime.commands.endpoint import endpoint  # noqa: PLC0415  # as above

    return endpoint(arguments)


def _replay(arguments: argparse.Namespace) -> ExitCode:
    from runtime.commands.replay import replay  # noqa: PLC0415  # as above

    return replay(arguments)


def _record(arguments: argparse.Namespace) -> ExitCode:
    from runtime.commands.record import record  # noqa: PLC0415  # as above

    return record(arguments)


def _redrive(arguments: argparse.Namespace) -> ExitCode:
    from runtime.commands.redrive import redrive  # noqa: PLC0415  # as above

    return redrive(arguments)


def _schema(arguments: argparse.Namespace) -> ExitCode:
    from runtime.commands.schema import schema  # noqa: PLC0415  # as above

    return schema(arguments)


def _import(arguments: argparse.Namespace) -> ExitCode:
    from runtime.commands.import_ import import_  # noqa: PLC0415  # as above

    return import_(arguments)


def _tail(arguments: argparse.Namespace) -> ExitCode:
    from runtime.commands.tail import tail  # noqa: PLC0415  # as above

    return tail(arguments)


class _ShowVersion(argparse.Action):
    """argparse's own wants the text before it knows whether anybody asks for it."""

    def __init__(self, option_strings: list[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **more)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib import metadata  # noqa: PLC0415  # half of the time that `esm --help` takes

        print(f"esm {metadata.version('esm-runtime')}")
        parser.exit()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _HIGHEST_PORT:
        msg = f"{text!r} is not a port (0 to {_HIGHEST_PORT})"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        msg = f"{text!r} is not NAME=VALUE"
        raise argparse.ArgumentTypeError(msg)
    return name, value


def _account(text: str) -> str:
    if len(text) != _ACCOUNT_DIGITS or not (text.isascii() and text.isdecimal()):
        msg = f"{text!r} is not an account (12 digits)"
        raise argparse.ArgumentTypeError(msg)
    return text


def _add_given(parser: argparse.ArgumentParser) -> None:
    """What a template does not say itself."""
    group = parser.add_argument_group("for a template")
    group.add_argument(
        "--parameter", metavar="NAME=VALUE", type=_parameter, action="append", default=[], help="of the template; repeatable"
    )
    group.add_argument("--region", metavar="NAME", help="where it is deployed")
    group.add_argument("--account-id", metavar="DIGITS", type=_account, help="the account that it is deployed to")
    group.add_argument("--stack-name", metavar="NAME", help="under which it is deployed")
    group.add_argument("--stage", metavar="NAME", help="of a serverless.yml")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", metavar="TEMPLATE", help="SAM or CloudFormation (YAML or JSON), or a serverless.yml")
    parser.add_argument("--from-account", action="store_true", help="the mappings of the account that AWS's settings lead to")
    parser.add_argument("--function", metavar="NAME", help="with --from-account: those of one function")
    parser.add_argument("-o", "--output", metavar="FILE", help="default: stdout")
    parser.add_argument("--force", action="store_true", help="write over the file")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, with the text where there is no -o")
    _add_given(parser)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="esm", description="AWS Lambda's event source mappings as a worker one runs oneself.", epilog="example: esm demo"
    )
    parser.add_argument("--version", action=_ShowVersion, help="show program's version number and exit")
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
        each.add_argument(
            "-c", "--config", metavar="FILE", help="default: esm.yaml; with --template only its `worker` part, default: none"
        )
        each.add_argument("--template", metavar="FILE", help="a SAM, CloudFormation or serverless.yml template in its place")
        _add_given(each)
    check.add_argument("--online", action="store_true", help="also ask AWS about every source")
    check.add_argument("--json", action="store_true", help="print the findings as JSON")
    demo = command("demo", _demo, text="see it work: an embedded endpoint, producers, the real worker", example="esm demo")
    demo.add_argument("--seconds", type=float, metavar="N", help="default: until Ctrl-C on a terminal, 20 elsewhere")
    demo.add_argument("--source", choices=("sqs", "kinesis", "dynamodb", "all"), default="all", help="default: %(default)s")
    demo.add_argument("--json", action="store_true", help="print the closing account as JSON")
    _add_import(
        command(
            "import",
            _import,
            text="make an esm.yaml of a template or a live account, and list what could not be carried over; "
            "exits 0 when at least one mapping was",
            example="esm import template.yaml --region eu-west-1 -o esm.yaml",
        )
    )
    command("schema", _schema, text="print the JSON Schema of esm.yaml, for editors", example="esm schema > esm.schema.json")
    endpoint = command(
        "endpoint",
        _endpoint,
        text="the embedded in-memory AWS endpoint alone, with fault injection",
        example="esm endpoint --port 4566",
    )
    endpoint.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: %(default)s, this machine alone")
    endpoint.add_argument("--port", type=_port, default=4566, metavar="N", help="default: %(default)s; 0 takes a free one")
    endpoint.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is random; default: %(default)s")
    record = command(
        "record",
        _record,
        text="copy records of a stream, or peek at a queue, into a recording",
        example="esm record ARN -o orders.jsonl.gz",
    )
    options.add_record(record)
    replay = command(
        "replay",
        _replay,
        text="run recorded or retained records through a handler: no checkpoint moves, nothing is deleted",
        example="esm replay orders.jsonl.gz -f orders --where partitionKey=abc",
    )
    options.add_replay(replay)
    redrive = command(
        "redrive",
        _redrive,
        text="run what failed through a handler again, and delete each message whose records succeeded",
        example="esm redrive arn:aws:sqs:eu-west-1:123456789012:orders-failed -f orders",
    )
    options.add_redrive(redrive)
    tail = command(
        "tail",
        _tail,
        text="watch what a mapping of a running worker receives and what becomes of it, or what comes into a source",
        example="esm tail orders-queue -v",
    )
    tail.add_argument("target", metavar="NAME|ARN", help="a mapping of a running worker, or a source, which needs no worker")
    tail.add_argument("-c", "--config", metavar="FILE", help="says where the worker is, and what is filtered; default: esm.yaml")
    tail.add_argument("--worker", metavar="URL", help="of a worker's metrics and health; default: `worker: {http: ...}` of FILE")
    tail.add_argument("-v", "--verbose", action="store_true", help="also a line for each record")
    tail.add_argument("--from", dest="start", metavar="WHERE", help="of a stream: LATEST (default), TRIM_HORIZON, or a time")
    tail.add_argument("--peek", action="store_true", help="of a queue: look although that counts as a receive")
    tail.add_argument("--seconds", type=float, metavar="N", help="end after so long; default: at Ctrl-C")
    tail.add_argument("--batches", type=int, metavar="N", help="end after so many batches, or pages of a source")
    tail.add_argument("--json", action="store_true", help="print JSON lines")
    return parser
