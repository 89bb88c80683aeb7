"""The worker of `esm run`, from its configuration to its exit code."""

import os
import sys

import anyio

from handlers.python_function import left_behind
from runtime.app import Worker, watch_signals
from runtime.check import Loaded, check_extras, load_functions
from runtime.collector import leave_to_time, run_collector
from runtime.commands import CommandError, ExitCode
from runtime.commands.event_loop import run_async
from runtime.config import Config
from runtime.drain import Drain
from runtime.telemetry import Telemetry


def work(config: Config) -> ExitCode:
    missing = check_extras(config)
    if missing:
        raise CommandError("\n".join(map(str, missing)))
    loaded = load_functions(config.handlers, config.mappings)
    if loaded.problems:
        raise CommandError("\n".join(map(str, loaded.problems)))
    leave_to_time()
    return run_async(_serve, config, loaded)


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
