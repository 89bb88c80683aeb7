"""`esm endpoint`."""

import argparse

import anyio
from anyio.abc import TaskStatus

from runtime.commands import CommandError, ExitCode
from runtime.commands.event_loop import run_async
from runtime.local.server import LocalEndpoint, serve_endpoint
from runtime.stop_signals import stop_signals


def endpoint(arguments: argparse.Namespace) -> ExitCode:
    async def listen(*, task_status: TaskStatus[LocalEndpoint]) -> None:
        try:
            await serve_endpoint(host=arguments.host, port=arguments.port, seed=arguments.seed, task_status=task_status)
        except OSError as error:
            msg = f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror or error}. Take another --port"
            raise CommandError(msg) from error

    async def serve() -> ExitCode:
        with stop_signals() as wait_for_signal:
            async with anyio.create_task_group() as tasks:
                started = await tasks.start(listen)
                print(f"export AWS_ENDPOINT_URL={started.url}", flush=True)
                print(f"faults: {started.url}/_local/faults  state: {started.url}/_local/  (Ctrl-C ends it)", flush=True)
                await wait_for_signal()
                tasks.cancel_scope.cancel()
        return ExitCode.OK

    return run_async(serve)
